"""In which order a map takes the pixels of its view, or its cells: what deletion and insertion read of a map."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dmlviz.embedder import CellGeometry, half_pixel
from dmlviz.explanation.options import one_of
from dmlviz.faithfulness.map_pixels import enlarged

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

Unit = Literal["pixels", "cells"]
UNITS: tuple[str, ...] = get_args(Unit)
_DECIMALS = 9  # values this near to each other, in shares of the largest, are told apart by rounding alone


def ranks(
    values: np.ndarray,
    view_size: tuple[int, int],
    geometry: CellGeometry | None,
    unit: Unit,
    random: np.random.Generator,
    network: "Embedder | None" = None,
) -> np.ndarray:
    """When each pixel of a view has its turn, highest value first.

    Equal values come in the order of a map of random numbers over the network's cells, enlarged as the map is. So a
    map that says nothing gets exactly what a random map gets. Equal pixels are not scattered one by one: single
    pixels strewn over a picture destroy it sooner than any map does, and what leaves most pixels equal would win.

    Args:
        values: (h, w) map of cells, finite, signed.
        view_size: (H, W).
        geometry: Where the map's cells lie; None for the half-pixel rule.
        unit: "pixels": the map is enlarged by the geometry and each pixel has a turn of its own; "cells": a cell's
            turn is that of all pixels nearest to its centre.
        random: Draws the order of equal values.
        network: The embedder whose cells equal pixels are drawn by; None: the map's own cells.

    Returns:
        (H, W) int64, 0 first; up to H·W − 1 for pixels, up to h·w − 1 for cells.

    Raises:
        ValueError: If the unit is neither.

    Examples:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> ranks(np.array([[1.0, 5.0], [-2.0, 3.0]]), (2, 4), None, "cells", draw).tolist()
        [[2, 2, 0, 0], [3, 3, 1, 1]]
    """
    one_of(unit, "unit", UNITS)
    grid = (values.shape[0], values.shape[1])
    if unit == "cells":
        rows, cols = nearest_cells(grid, view_size, geometry)
        return np.asarray(_turns(values, random.random(grid))[rows[:, None], cols[None, :]])
    cells, placed = (grid, geometry) if network is None else (network.map_size, network.geometry)
    ties = enlarged(random.random(cells), view_size, placed)
    return _turns(enlarged(values, view_size, geometry), ties)


def nearest_cells(
    grid: tuple[int, int], view_size: tuple[int, int], geometry: CellGeometry | None
) -> tuple[np.ndarray, np.ndarray]:
    """The cell whose centre is nearest to each row and to each column of pixels: (H,) and (W,) int64."""
    placed = geometry or half_pixel(view_size, grid)
    found = placed.cell_of_pixel(np.arange(view_size[0]), np.arange(view_size[1]))
    rows, cols = (np.clip(np.floor(at + 0.5), 0, n - 1) for at, n in zip(found, grid, strict=True))
    return rows.astype(np.int64), cols.astype(np.int64)


def _turns(values: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """The place of each value in descending order; equal ones in descending order of `ties`, then row by row."""
    flat = values.astype(np.float64).ravel()
    largest = np.abs(flat).max()
    if largest > 0:  # enlarging a flat map leaves differences of rounding, which are no order
        flat = np.round(flat / largest, _DECIMALS)
    order = np.lexsort((-np.round(ties.ravel(), _DECIMALS), -flat))
    turns = np.empty(len(flat), dtype=np.int64)
    turns[order] = np.arange(len(flat))
    return turns.reshape(values.shape)
