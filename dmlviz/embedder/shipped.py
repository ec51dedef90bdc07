"""The embedders that ship with the package, for the default gallery of birds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load
from torch import Tensor

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
    return read_card(WEIGHTS / f"birds_{pooling}.safetensors", _MEND)


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
    card = read_card(path, _MEND)
    net = BirdNet(card["recipe"]["pooling"], folded=True)
    net.load_state_dict(read_weights(path, card, _MEND))
    return embedder_of_card(net.eval(), card, f"birds, {net.pooling} pooling")


def embedder_of_card(net: Any, card: dict[str, Any], name: str) -> Embedder:
    """Make an embedder of a network in eval mode, fed and placed as its card tells; gradients are switched off.

    Args:
        net: A network with `trunk`, `pooling` and `linear`; it is shared.
        card: What lies beside its weights.
        name: What to call the embedder.
    """
    net.requires_grad_(False)
    net.trunk.to(memory_format=torch.channels_last)  # quicker where convolutions use several threads
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
        name=name,
    )


_MEND = "Install the package again, or make them anew: python -m dmlviz.learning.train_birds --pooling avg --out DIR."


def read_card(path: Path, mend: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the card beside a file of weights.

    Args:
        path: The ``.safetensors`` file.
        mend: What to do about a missing or broken card, said in every error.
        also: What this card must tell beside what every card does.

    Raises:
        FileNotFoundError: There is no card.
        ValueError: It is not a whole card.
    """
    card = path.with_suffix(".json")
    if not card.exists():
        raise FileNotFoundError(f"The card {card} is missing, and with it the weights' checksum. {mend}")
    try:
        read = json.loads(card.read_text(encoding="utf-8"))
    except ValueError:
        read = {}
    needed = _CARD_TELLS.union(also)
    if not isinstance(read, dict) or not read.keys() >= needed:
        raise ValueError(
            f"The card {card} is not a whole card: it must tell {', '.join(sorted(needed))}. {mend}"
        )
    return read


def read_weights(path: Path, card: dict[str, Any], mend: str) -> dict[str, Tensor]:
    """Read the weights that a card describes, as float32, and hold their checksum against the card's.

    Raises:
        FileNotFoundError: The weights are missing.
        ValueError: They are not the card's.
    """
    if not path.exists():
        raise FileNotFoundError(f"The weights {path} are missing. {mend}")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise ValueError(
            f"The weights {path} are not the ones its card describes: expected sha256 {card['sha256']}, "
            f"got {found} ({len(data)} bytes instead of {card['bytes']}). {mend}"
        )
    return {name: value.float() for name, value in load(data).items()}
