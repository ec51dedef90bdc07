"""The embedders that ship with the package, for the default gallery of birds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load

from dmlviz.embedder.birdnet import POOLINGS, BirdNet, BirdPooling
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.linear_head import LinearHead
from dmlviz.images import Preprocess

WEIGHTS: Final = Path(__file__).parent / "weights"
"""The folder of the shipped weights and their cards."""
_CARD_TELLS: Final = frozenset({"bytes", "geometry", "preprocessing", "recipe", "sha256"})


def birds_embedder(pooling: BirdPooling = "avg") -> Embedder:
    """Load the embedder of the default gallery.

    Args:
        pooling: "avg" or "max"; one network was trained with each.

    Returns:
        An embedder of 96 × 96 images with 12 × 12 cells and 64 numbers, in float32 on the CPU.

    Raises:
        ValueError: There is no such pooling, or the weights are not the ones the card describes.
        FileNotFoundError: The weights are missing.

    Example:
        >>> birds_embedder().dim
        64
    """
    if pooling not in POOLINGS:
        raise ValueError(f"The birds' embedders pool by 'avg' or 'max'; got {pooling!r}.")
    return read_embedder(WEIGHTS / f"birds_{pooling}.safetensors")


def birds_card(pooling: BirdPooling = "avg") -> dict[str, Any]:
    """Return the card of a shipped embedder: how it was trained and what it reaches on held-out species.

    Raises:
        ValueError: There is no such pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"The birds' embedders pool by 'avg' or 'max'; got {pooling!r}.")
    return _card_of(WEIGHTS / f"birds_{pooling}.safetensors")


def read_embedder(path: Path) -> Embedder:
    """Load an embedder written by the recipe ``dmlviz.learning.train_birds``.

    Args:
        path: The ``.safetensors`` file; its ``.json`` card lies beside it.

    Returns:
        The embedder, float32.

    Raises:
        FileNotFoundError: The weights or the card are missing.
        ValueError: The weights' checksum is not the card's, or the card is broken.
    """
    card = _card_of(path)
    if not path.exists():
        raise FileNotFoundError(f"The weights {path} are missing. {_MEND}")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise ValueError(
            f"The weights {path} are not the ones its card describes: expected sha256 {card['sha256']}, "
            f"got {found} ({len(data)} bytes instead of {card['bytes']}). {_MEND}"
        )
    net = BirdNet(card["recipe"]["pooling"], folded=True)
    net.load_state_dict({name: value.float() for name, value in load(data).items()})
    net.eval().requires_grad_(False)
    net.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker where convolutions use several threads
    place = card["geometry"]
    height, width = place["input"]
    return Embedder(
        net.trunk,
        LinearHead(net.pooling, net.linear),
        Preprocess.stretch(
            (height, width), mean=card["preprocessing"]["mean"], std=card["preprocessing"]["std"]
        ),
        geometry=CellGeometry(
            stride=(place["stride"],) * 2,
            first=(place["first"],) * 2,
            receptive_field=(place["receptive_field"],) * 2,
        ),
        name=f"birds, {net.pooling} pooling",
    )


_MEND = "Install the package again, or make them anew: python -m dmlviz.learning.train_birds --pooling avg --out DIR."


def _card_of(path: Path) -> dict[str, Any]:
    card = path.with_suffix(".json")
    if not card.exists():
        raise FileNotFoundError(f"The card {card} is missing, and with it the weights' checksum. {_MEND}")
    try:
        read = json.loads(card.read_text(encoding="utf-8"))
    except ValueError:
        read = {}
    if not isinstance(read, dict) or not read.keys() >= _CARD_TELLS:
        raise ValueError(
            f"The card {card} is not a whole card: it must tell {', '.join(sorted(_CARD_TELLS))}. {_MEND}"
        )
    return read
