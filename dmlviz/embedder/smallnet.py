"""The small networks behind the drawn faces, persons and places, and how they are written down and read back.

Like the birds' network: six convolutions, of which three halve the picture. The strided ones are 4 × 4 with padding
1, so that cell i is centred at pixel 8·i + 3.5 and sees 30 × 30 pixels, at every size of image. Widths, pooling,
length of the embedding and size of the image are free.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from dmlviz.embedder.birdnet import (
    CELL_STRIDE,
    FIRST_CELL,
    PIXEL_MEAN,
    PIXEL_STD,
    RECEPTIVE_FIELD,
    fold_trunk,
)
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.shipped import embedder_of_card, read_card, read_weights

SmallPooling = Literal["avg", "max", "flatten"]
SMALL_POOLINGS: Final = ("avg", "max", "flatten")
WIDTHS: Final = (24, 48, 64, 96, 112, 112)
"""Channels after each of the six convolutions, unless told otherwise."""
CARD_MUST_TELL: Final = ("command", "recipe")
"""What the card given to `write_small` has to hold at least."""

_ALSO_TELLS: Final = ("command", "name", "network")
_MEND: Final = "Install the package again"
# (kernel, stride, padding)
_CONVOLUTIONS: Final = ((4, 2, 1), (4, 2, 1), (3, 1, 1), (4, 2, 1), (1, 1, 0), (1, 1, 0))
_STRIDE: Final = 8


class SmallNet(nn.Module):
    """Trunk, pooling and linear map of a small embedder.

    Args:
        widths: Channels after each of the six convolutions.
        pooling: "avg" or "max" over all cells, or "flatten": every cell has its own columns of the linear map.
        dim: Length of the embedding.
        size: (height, width) of the images in pixels, multiples of 8. Only "flatten" is bound to it.
        folded: Whether each batch normalisation has been folded into the convolution before it. A network that is
            to be trained is not folded.

    Raises:
        ValueError: The pooling has no such name, there are not six widths, or a number is out of range.

    Example:
        >>> net = SmallNet(size=(128, 64)).eval()
        >>> net.trunk(torch.zeros(1, 3, 128, 64)).shape
        torch.Size([1, 112, 16, 8])
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        pooling: SmallPooling = "avg",
        dim: int = 64,
        size: tuple[int, int] = (96, 96),
        folded: bool = False,
    ) -> None:
        super().__init__()
        _check(widths, pooling, dim, size)
        self.widths = tuple(int(width) for width in widths)
        self.pooling, self.dim, self.folded = pooling, int(dim), folded
        self.size = (int(size[0]), int(size[1]))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for number, (out, step) in enumerate(zip(self.widths, _CONVOLUTIONS, strict=True), start=1):
            layers[f"conv{number}"] = nn.Conv2d(channels, out, *step, bias=folded)
            if not folded:
                layers[f"norm{number}"] = nn.BatchNorm2d(out)
            layers[f"relu{number}"] = nn.ReLU()
            channels = out
        self.trunk = nn.Sequential(layers)
        cells = self.map_size[0] * self.map_size[1] if pooling == "flatten" else 1
        self.linear = nn.Linear(channels * cells, self.dim, bias=False)

    @property
    def map_size(self) -> tuple[int, int]:
        """(h, w) of the feature map of an image of `size`, in cells."""
        return self.size[0] // _STRIDE, self.size[1] // _STRIDE

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (N, 3, H, W) float, normalised by ``PIXEL_MEAN`` and ``PIXEL_STD`` of `dmlviz.embedder.birdnet`
                (`images_to_input` there does it).

        Returns:
            (N, dim) float embeddings, not normalised.
        """
        return self.embed_cells(self.trunk(images))

    def embed_cells(self, cells: Tensor) -> Tensor:
        """Pool feature maps (N, C, h, w) and embed them: (N, dim), not normalised."""
        embedded: Tensor = self.linear(self.pool(cells))
        return embedded

    def pool(self, cells: Tensor) -> Tensor:
        """Pool feature maps (N, C, h, w) to (N, C); "flatten" gives (N, C·h·w), channels first."""
        if self.pooling == "flatten":
            return cells.flatten(1)
        return cells.mean((2, 3)) if self.pooling == "avg" else cells.amax((2, 3))

    def like(self, folded: bool) -> SmallNet:
        """Make a network of the same shape with weights of its own."""
        return SmallNet(self.widths, self.pooling, self.dim, self.size, folded)


@torch.no_grad()
def fold_small(net: SmallNet) -> SmallNet:
    """Return the same function with every batch normalisation folded into its convolution.

    As `dmlviz.embedder.birdnet.fold_batch_norms`.

    Args:
        net: A network that is not folded yet. It is left as it is.

    Returns:
        A folded network in eval mode, float32.

    Raises:
        ValueError: The network is folded already.
    """
    if net.folded:
        raise ValueError("This SmallNet has no batch normalisation left to fold; it is folded already.")
    folded = net.like(folded=True)
    fold_trunk(net.trunk, folded.trunk, len(_CONVOLUTIONS))
    folded.linear.weight.copy_(net.linear.weight)
    return folded.eval()


def rounded_small(net: SmallNet) -> SmallNet:
    """Return a copy of a folded network, in eval mode, with every weight rounded to float16 and kept in float32."""
    copied = net.like(folded=True).eval()
    copied.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    return copied


def write_small(net: SmallNet, folder: str | Path, name: str, card: Mapping[str, Any]) -> Path:
    """Write a network: folded, in float16, with its card beside it.

    Args:
        net: The trained network, folded or not. It is left as it is.
        folder: Where ``{name}.safetensors`` and ``{name}.json`` go. Made if missing.
        name: What to call the embedder, such as "faces".
        card: What is known of the network: at least ``command`` (the line that makes it anew) and ``recipe``;
            whatever else fits JSON. Name, checksum, size, shape, geometry and preprocessing are added.

    Returns:
        The path of the weights.

    Raises:
        ValueError: The card does not tell the command or the recipe.
    """
    missing = [key for key in CARD_MUST_TELL if key not in card]
    if missing:
        raise ValueError(
            f"The card of {name!r} must tell {' and '.join(CARD_MUST_TELL)}; {missing} is missing."
        )
    folded = net if net.folded else fold_small(net)
    halves = {key: value.half().contiguous() for key, value in folded.state_dict().items()}
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.safetensors"
    data = save(halves, metadata={"name": name})
    path.write_bytes(data)
    whole = {
        "name": name,
        "what": "SmallNet of dmlviz.embedder.smallnet, batch normalisation folded, float16",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "network": {"widths": list(net.widths), "pooling": net.pooling, "dim": net.dim},
        "geometry": {
            "input": list(net.size),
            "stride": CELL_STRIDE,
            "first": FIRST_CELL,
            "receptive_field": RECEPTIVE_FIELD,
        },
        "preprocessing": {"mean": list(PIXEL_MEAN), "std": list(PIXEL_STD)},
        **card,
    }
    path.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return path


def read_small(path: str | Path) -> Embedder:
    """Load an embedder written by `write_small`.

    Args:
        path: The ``.safetensors`` file; its ``.json`` card lies beside it.

    Returns:
        The embedder, float32, on the CPU.

    Raises:
        FileNotFoundError: The weights or the card are missing.
        ValueError: The weights' checksum is not the card's, or the card is broken.
    """
    path = Path(path)
    card = small_card(path)
    shape, size = card["network"], card["geometry"]["input"]
    net = SmallNet(shape["widths"], shape["pooling"], shape["dim"], size, folded=True)
    net.load_state_dict(read_weights(path, card, f"{_MEND}, or make them anew: {card['command']}."))
    return embedder_of_card(net.eval(), card, card["name"])


def small_card(path: str | Path) -> dict[str, Any]:
    """Read the card beside a ``.safetensors`` file that `write_small` wrote.

    Raises:
        FileNotFoundError: There is no card.
        ValueError: It is not a whole card.
    """
    path = Path(path)
    return read_card(
        path, f"{_MEND}, or train the network anew with the commands of dmlviz.learning.", _ALSO_TELLS
    )


def _check(widths: Sequence[int], pooling: str, dim: int, size: tuple[int, int]) -> None:
    if pooling not in SMALL_POOLINGS:
        raise ValueError(f"SmallNet pools by 'avg', 'max' or 'flatten'; got {pooling!r}.")
    if len(widths) != len(_CONVOLUTIONS) or min(widths) < 1:
        raise ValueError(f"SmallNet needs six widths of at least 1; got {tuple(widths)}.")
    if dim < 1:
        raise ValueError(f"SmallNet needs dim of at least 1; got {dim}.")
    if len(size) != 2 or any(side < _STRIDE or side % _STRIDE for side in size):
        raise ValueError(f"SmallNet needs a size (height, width) of multiples of 8 pixels; got {size!r}.")
