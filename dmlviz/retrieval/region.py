"""From a mask to a weight for each cell."""

from typing import Any

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.embedder.cell_means import cell_means


def cell_weights(
    mask: Any, map_size: tuple[int, int], view_size: tuple[int, int], geometry: CellGeometry | None
) -> np.ndarray:
    """Weight of each cell under a mask.

    A mask over cells is taken as it is. A mask over the pixels of the view gives each cell the mean of the
    mask over its pixels (see `dmlviz.embedder.cell_means`). So every pixel belongs to one cell, and a mask that
    covers the view gives every cell the weight 1.

    Args:
        mask: (h, w) over cells or (H, W) over view pixels; bool, or numbers from 0 to 1.
        map_size: (h, w), the grid of cells.
        view_size: (H, W), the view in pixels.
        geometry: where the cells lie on the view; None for the half-pixel rule.

    Returns:
        (h, w) float64 in [0, 1], at least one above 0.

    Raises:
        TypeError: the mask holds no numbers.
        ValueError: wrong shape, values outside 0 to 1, or nothing chosen.
    """
    values = np.asarray(mask)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"a mask must be bool or numbers from 0 to 1, got dtype {values.dtype}")
    if values.shape not in (tuple(map_size), tuple(view_size)):
        raise ValueError(
            f"a mask must have one value per cell, shape {map_size}, or one per pixel of the view, "
            f"shape {view_size}; got {values.shape}"
        )
    values = values.astype(np.float64)
    if not ((values >= 0) & (values <= 1)).all():  # also false for NaN
        raise ValueError(
            "a mask must be bool or hold numbers from 0 to 1, got values from "
            f"{values.min():.3g} to {values.max():.3g}"
        )
    if not values.any():
        raise ValueError("the mask is empty: choose at least one cell or pixel of the query")
    if values.shape == tuple(map_size):
        return values
    return np.clip(cell_means(values, map_size, geometry), 0.0, 1.0)
