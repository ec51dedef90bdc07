"""Fewer, larger cells: local embeddings pooled to a coarser grid, and where that grid lies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.embedder import CellGeometry, LocalEmbeddings
from dmlviz.embedder.cell_means import cell_means
from dmlviz.explanation.options import whole_number

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder


def pooled(local: LocalEmbeddings, grid: int | tuple[int, int] | None) -> LocalEmbeddings:
    """Pool local embeddings to a coarser grid by area; they still sum to the same embedding.

    Raises:
        ValueError: If the grid is below 1.
        TypeError: If it is no whole number.
    """
    if grid is None:
        return local
    sides = tuple(grid) if isinstance(grid, Sequence) else (grid, grid)
    if len(sides) != 2:
        raise ValueError(f"grid must be one number, (rows, cols) or None, got {grid!r}")
    rows, cols = (min(whole_number(side, "grid", 1), n) for side, n in zip(sides, local.grid, strict=True))
    if (rows, cols) == local.grid:
        return local
    means = cell_means(np.moveaxis(local.vectors, 2, 0), (rows, cols), None)
    share = local.grid[0] * local.grid[1] / (rows * cols)
    return LocalEmbeddings(
        np.moveaxis(share * means, 0, 2).astype(local.vectors.dtype), local.offset, local.note
    )


def coarser_geometry(embedder: "Embedder", grid: tuple[int, int]) -> CellGeometry | None:
    """Where pooled cells lie: in the middle of the cells that they pool; None as long as that is not known."""
    fine = embedder.geometry
    if fine is None or grid == embedder.map_size:
        return fine
    ratio = [n / m for n, m in zip(embedder.map_size, grid, strict=True)]
    return CellGeometry(
        stride=(fine.stride[0] * ratio[0], fine.stride[1] * ratio[1]),
        first=(
            fine.first[0] + fine.stride[0] * (ratio[0] - 1) / 2,
            fine.first[1] + fine.stride[1] * (ratio[1] - 1) / 2,
        ),
        receptive_field=(
            fine.receptive_field[0] + fine.stride[0] * (ratio[0] - 1),
            fine.receptive_field[1] + fine.stride[1] * (ratio[1] - 1),
        ),
        note=fine.note,
    )
