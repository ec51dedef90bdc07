"""Models that return several things at once, as those of Hugging Face do: which one is the embedding."""

from typing import Any

from torch import Tensor, nn

FIELDS = ("image_embeds", "pooler_output")
"""Fields that hold an embedding, the likeliest first."""


class OutputError(TypeError):
    """A model returned something else than one tensor.

    Attributes:
        output: What it returned.
    """

    def __init__(self, output: Any) -> None:
        self.output = output
        fields = [str(key) for key in output] if isinstance(output, dict) else []
        held = f" with {', '.join(fields)}" if fields else ""
        super().__init__(
            f"the model must return one tensor (N, D) of embeddings, or an object with one of "
            f"{' and '.join(FIELDS)}; it returned {type(output).__name__}{held}; wrap it in an nn.Module whose "
            f"forward returns the embedding alone, or take the model without its classifier"
        )


def embedding_field(output: Any) -> str | None:
    """The field of a model's output that holds the embedding, one row per image; None if there is none."""
    for field in FIELDS:
        if isinstance(getattr(output, field, None), Tensor):
            return field
    return None


class FieldOf(nn.Module):
    """A model that returns one field of what another returns.

    Args:
        model: The model, shared.
        field: Name of the field.
    """

    def __init__(self, model: nn.Module, field: str) -> None:
        super().__init__()
        self.model, self.field = model, field

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        return f"field={self.field!r}"

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> that field."""
        found: Tensor = getattr(self.model(images), self.field)
        return found
