"""From a mask to a weight for each cell."""

from typing import Any

import numpy as np

from dmlviz.embedder import CellGeometry, half_pixel


def cell_weights(
    mask: Any, map_size: tuple[int, int], view_size: tuple[int, int], geometry: CellGeometry | None
) -> np.ndarray:
    """Weight of each cell under a mask.

    A mask over cells is taken as it is. A mask over the pixels of the view gives each cell the mean of the
    mask over the pixels that lie nearer to this cell's centre than to any other's: a rectangle of one stride
    by one stride, which for the outermost cells reaches to the edge of the view. So every pixel belongs to
    one cell, and a mask that covers the view gives every cell the weight 1.

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
    geometry = geometry or half_pixel(view_size, map_size)
    down = _shares(map_size[0], view_size[0], geometry.first[0], geometry.stride[0])
    across = _shares(map_size[1], view_size[1], geometry.first[1], geometry.stride[1])
    return np.clip(down @ values @ across.T, 0.0, 1.0)


def _shares(cells: int, pixels: int, first: float, stride: float) -> np.ndarray:
    """(cells, pixels): share of each pixel in each cell's mean along one axis; each row sums to 1 (or 0)."""
    inner = np.clip(first + stride * (np.arange(1, cells) - 0.5), -0.5, pixels - 0.5)
    edges = np.concatenate([[-0.5], inner, [pixels - 0.5]])
    pixel = np.arange(pixels)
    starts = np.maximum(edges[:-1, None], pixel - 0.5)
    stops = np.minimum(edges[1:, None], pixel + 0.5)
    overlap = np.maximum(stops - starts, 0.0)
    total = overlap.sum(axis=1, keepdims=True)
    return np.divide(overlap, total, out=np.zeros_like(overlap), where=total > 0)
