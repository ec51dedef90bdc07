"""From values over the pixels of a view to values over cells."""

import numpy as np

from dmlviz.embedder.geometry import CellGeometry, half_pixel


def cell_means(values: np.ndarray, map_size: tuple[int, int], geometry: CellGeometry | None) -> np.ndarray:
    """The mean of each cell over the pixels that lie nearer to its centre than to any other's.

    These pixels form a rectangle of one stride by one stride, which for the outermost cells reaches to the edge
    of the view: every pixel belongs to one cell, pixels on a border in parts. It is the rule by which a region of
    pixels chooses cells in `Gallery.search_region`.

    Args:
        values: (..., H, W) over the pixels of the view, finite.
        map_size: (h, w), the grid of cells.
        geometry: Where the cells lie on the view; None for the half-pixel rule.

    Returns:
        (..., h, w) float64; 0 for a cell that no pixel belongs to.

    Raises:
        ValueError: If there are fewer than two axes.

    Examples:
        >>> import numpy as np
        >>> cell_means(np.arange(8.0).reshape(2, 4), (1, 2), None).tolist()
        [[2.5, 4.5]]
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim < 2:
        raise ValueError(f"values lie over pixels, (..., H, W); got shape {values.shape}")
    height, width = values.shape[-2:]
    where = geometry or half_pixel((height, width), map_size)
    down = _shares(map_size[0], height, where.first[0], where.stride[0])
    across = _shares(map_size[1], width, where.first[1], where.stride[1])
    return np.asarray(down @ values @ across.T)


def _shares(cells: int, pixels: int, first: float, stride: float) -> np.ndarray:
    """(cells, pixels): each pixel's share in each cell's mean along one axis; a row sums to 1, or to 0."""
    borders = np.clip(first + stride * (np.arange(1, cells) - 0.5), -0.5, pixels - 0.5)
    begin = np.concatenate([[-0.5], borders])[:, None]
    end = np.concatenate([borders, [pixels - 0.5]])[:, None]
    pixel = np.arange(pixels)
    inside = np.clip(np.minimum(end, pixel + 0.5) - np.maximum(begin, pixel - 0.5), 0.0, None)
    length = inside.sum(axis=1, keepdims=True)
    return np.divide(inside, length, out=np.zeros_like(inside), where=length > 0)
