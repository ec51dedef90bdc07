"""A map of cells read in the pixels of its view, through the geometry of the cells."""

import numpy as np

from dmlviz.embedder import CellGeometry, half_pixel
from dmlviz.explanation import Decomposition, Side


def dilated(mask: np.ndarray, by: int = 2) -> np.ndarray:
    """Grow a mask by a square of `by` pixels to each side.

    Args:
        mask: (H, W) bool.
        by: In pixels, ≥ 0.

    Returns:
        (H, W) bool.

    Examples:
        >>> import numpy as np
        >>> dilated(np.array([[0, 0, 0], [0, 0, 1]], bool), 1).astype(int).tolist()
        [[0, 1, 1], [0, 1, 1]]
    """
    grown = mask.copy()
    for step in range(1, by + 1):
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    across = grown.copy()
    for step in range(1, by + 1):
        across[:, step:] |= grown[:, :-step]
        across[:, :-step] |= grown[:, step:]
    return across


def geometry_of(why: Decomposition, side: Side) -> CellGeometry | None:
    """Where the cells of one side of an explanation lie on its view; None for the half-pixel rule."""
    return why.query_geometry if side == "query" else why.gallery_geometry


def cell_pixels(
    grid: tuple[int, int], view_size: tuple[int, int], geometry: CellGeometry | None
) -> np.ndarray:
    """The pixel on which each cell's centre falls, kept inside the view.

    Args:
        grid: (h, w) of the map.
        view_size: (H, W).
        geometry: Of the trunk; None for the half-pixel rule.

    Returns:
        (h, w, 2) int64, (row, col).
    """
    placed = geometry or half_pixel(view_size, grid)
    centres = placed.pixel_of_cell(np.arange(grid[0]), np.arange(grid[1]))
    rows, cols = (np.clip(np.round(c), 0, size - 1) for c, size in zip(centres, view_size, strict=True))
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).astype(np.int64)


def peak_share(values: np.ndarray, mask: np.ndarray, pixels: np.ndarray) -> float:
    """Whether the map's highest cell has its centre inside the mask.

    Bilinear enlargement has its maximum at a cell's centre, so cells suffice.

    Args:
        values: (h, w) map, finite.
        mask: (H, W) bool.
        pixels: (h, w, 2) from `cell_pixels`.

    Returns:
        1 or 0; where several cells are equally high the share of them inside, so that a map that says nothing gets
        what chance gives. NaN where the map is not finite.
    """
    if not np.isfinite(values).all():
        return float("nan")
    rows, cols = pixels[values == values.max()].T
    return float(mask[rows, cols].mean())


def enlarged(values: np.ndarray, view_size: tuple[int, int], geometry: CellGeometry | None) -> np.ndarray:
    """A map in the pixels of its view: bilinear between the centres of its cells, the edge repeated beyond them.

    Args:
        values: (h, w) map, any float.
        view_size: (H, W).
        geometry: Of the trunk; None for the half-pixel rule.

    Returns:
        (H, W) float64; nothing in it is finite where one of the values is not.

    Examples:
        >>> import numpy as np
        >>> enlarged(np.array([[0.0, 1.0]]), (1, 4), None).tolist()
        [[0.0, 0.25, 0.75, 1.0]]
    """
    h, w = values.shape
    placed = geometry or half_pixel(view_size, (h, w))
    rows, cols = placed.cell_of_pixel(np.arange(view_size[0]), np.arange(view_size[1]))
    down, across = (_weights(np.asarray(at, np.float64), n) for at, n in ((rows, h), (cols, w)))
    with np.errstate(invalid="ignore"):
        return np.asarray(down @ values.astype(np.float64) @ across.T)


def _weights(at: np.ndarray, n: int) -> np.ndarray:
    """(len(at), n): how much each of n cells counts at each place, in cells."""
    at = np.clip(at, 0, n - 1)
    low = np.minimum(at.astype(np.int64), max(n - 2, 0))
    weights = np.zeros((len(at), n))
    here = np.arange(len(at))
    weights[here, low] = 1 - (at - low)
    weights[here, np.minimum(low + 1, n - 1)] += at - low
    return weights


def cell_with_most(mask: np.ndarray, pixels: np.ndarray) -> tuple[int, int]:
    """The cell whose own square (half a stride to each side of its centre) holds most of a part.

    Args:
        mask: (H, W) bool.
        pixels: (h, w, 2) from `cell_pixels`.

    Returns:
        (row, col) in cells.
    """
    h, w = pixels.shape[:2]
    rows = np.argmin(np.abs(np.arange(mask.shape[0])[:, None] - pixels[None, :, 0, 0]), axis=1)
    cols = np.argmin(np.abs(np.arange(mask.shape[1])[:, None] - pixels[None, 0, :, 1]), axis=1)
    held = np.zeros((h, w))
    np.add.at(held, (rows[:, None], cols[None, :]), mask)
    row, col = np.unravel_index(int(np.argmax(held)), held.shape)
    return int(row), int(col)
