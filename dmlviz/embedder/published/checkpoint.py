"""Reading a published file, and holding its names and shapes against a network's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts put the weights
_COUNTER = "num_batches_tracked"  # files written before PyTorch 0.4.1 have none, and no result depends on it
_SHOWN = 10


def read_checkpoint(path: str | Path) -> State:
    """The tensors of a file by name, float32, without a wrapper and without the prefix "module.".

    Args:
        path: .safetensors, or anything that `torch.save` wrote (.pth, .pt, .pkl, .pth.tar). Read with
            `weights_only=True`: no code in the file is run.

    Raises:
        FileNotFoundError: No file at that path.
        ValueError: It cannot be read so, or holds something else than tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file of weights at {path}; pass the path of the published .pth, .pt or .safetensors file, "
            f"or weights=None for random weights"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            held: Any = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as weights alone ({type(error).__name__}: {_reason(error)}); if it holds more "
            f"than tensors, such as a whole pickled model, and you trust it, load it where its own code is "
            f"installed and save model.state_dict() with torch.save"
        ) from error
    return _plain(_unwrapped(held), path)


def _reason(error: Exception) -> str:
    """The sentence of a long message that says what stood in the way."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in lines if "nsupported" in line), lines[0]).split(". ")[0]


def _unwrapped(held: Any) -> Any:
    for key in _WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            return held[key]
    return held


def _plain(held: Any, path: Path) -> State:
    if not isinstance(held, Mapping) or not held:
        raise ValueError(f"{path} must hold tensors by name (a state dict), it holds {type(held).__name__}")
    odd = [key for key, value in held.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        raise ValueError(
            f"{path} must hold tensors by name (a state dict); {len(odd)} of its {len(held)} entries are none: "
            f"{_listed([f'{key!r} is {type(held[key]).__name__}' for key in odd])}. Save model.state_dict()"
        )
    prefix = "module." if all(key.startswith("module.") for key in held) else ""
    return {
        key.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for key, value in held.items()
    }


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor by name, counters of batches left out."""
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_COUNTER)}


@dataclass(frozen=True)
class Mismatch:
    """Where the names and shapes of a file differ from those of a network.

    Attributes:
        missing: Names that the network has and the file has not.
        unexpected: Names that the file has and the network has not.
        reshaped: Names in both whose shapes differ, with both shapes in words.
        held: How many names the file has.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    held: int

    @classmethod
    def between(cls, wanted: Shapes, given: Shapes) -> "Mismatch":
        """Compare what a network wants with what a file gives."""
        reshaped = tuple(
            f"{key} is {given[key]}, expected {shape}"
            for key, shape in wanted.items()
            if key in given and given[key] != shape
        )
        return cls(
            tuple(key for key in wanted if key not in given),
            tuple(key for key in given if key not in wanted),
            reshaped,
            len(given),
        )

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def in_words(self) -> str:
        """The three lists, the first ten of each, and how many there are."""
        kinds = (
            (self.missing, "missing"),
            (self.unexpected, "not expected"),
            (self.reshaped, "of another shape"),
        )
        return "; ".join(f"{len(names)} {kind}: {_listed(names)}" for names, kind in kinds if names)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def give_weights(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a file's tensors in the place of a network's own (which may be on the meta device), without a copy."""
    counters = {
        key: torch.zeros((), dtype=torch.long)
        for key in net.state_dict()
        if key.endswith(_COUNTER) and key not in state
    }
    net.load_state_dict({**state, **counters}, strict=True, assign=True)
