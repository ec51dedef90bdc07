"""The two embedders that ship for the drawn places: one for panoramas, one for aerial views."""

from __future__ import annotations

from typing import Any, Final

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.shipped import WEIGHTS
from dmlviz.embedder.smallnet import read_small, small_card

_VIEWS: Final = ("ground", "aerial")


def places_embedders() -> tuple[Embedder, Embedder]:
    """Load the embedders of the drawn places (`dmlviz.images.places`).

    They share no weight, only the space that they embed into: a panorama's embedding is held against those of aerial
    views. Every cell has its own columns of the linear map, so that a match is of things in the same direction; the
    networks were trained on panoramas with north in the middle and need them so.

    Returns:
        The embedder of the panoramas (64 × 192 pixels, 8 × 24 cells) and that of the aerial views (96 × 96 pixels,
        12 × 12 cells), both in float32 on the CPU.

    Raises:
        FileNotFoundError: The weights or a card are missing.
        ValueError: The weights are not the ones their card describes.

    Example:
        >>> ground, aerial = places_embedders()
        >>> ground.map_size, aerial.map_size, ground.dim == aerial.dim
        ((8, 24), (12, 12), True)
    """
    ground, aerial = (read_small(WEIGHTS / f"places_{view}.safetensors") for view in _VIEWS)
    return ground, aerial


def places_card() -> dict[str, Any]:
    """Return the card of the two embedders: how they were trained and what they reach on places never seen.

    Raises:
        FileNotFoundError: There is no card.
        ValueError: It is not a whole card.
    """
    return small_card(WEIGHTS / "places_ground.safetensors")
