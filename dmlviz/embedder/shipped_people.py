"""The embedders that ship with the package for the drawn faces and the drawn persons."""

from __future__ import annotations

from typing import Any, Literal

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.shipped import WEIGHTS
from dmlviz.embedder.smallnet import read_small, small_card


def faces_embedder() -> Embedder:
    """Load the embedder of the drawn faces (`dmlviz.images.faces`).

    Returns:
        An embedder of 96 × 96 images with 12 × 12 cells and 64 numbers, in float32 on the CPU.

    Raises:
        ValueError: The weights are not the ones the card describes.
        FileNotFoundError: The weights are missing.

    Example:
        >>> faces_embedder().map_size
        (12, 12)
    """
    return read_small(WEIGHTS / "faces.safetensors")


def persons_embedder() -> Embedder:
    """Load the embedder of the drawn persons (`dmlviz.images.persons`).

    Returns:
        An embedder of 128 × 64 images with 16 × 8 cells and 64 numbers, in float32 on the CPU.

    Raises:
        ValueError: The weights are not the ones the card describes.
        FileNotFoundError: The weights are missing.

    Example:
        >>> persons_embedder().map_size
        (16, 8)
    """
    return read_small(WEIGHTS / "persons.safetensors")


def people_card(what: Literal["faces", "persons"]) -> dict[str, Any]:
    """Return the card of a shipped embedder: how it was trained and what it reaches on people it has not seen.

    Raises:
        ValueError: There is no such embedder.
    """
    if what not in ("faces", "persons"):
        raise ValueError(f"There are embedders of 'faces' and of 'persons'; got {what!r}.")
    return small_card(WEIGHTS / f"{what}.safetensors")
