"""Reading a peak against a part's mask."""

import numpy as np

from dmlviz.embedder import CellGeometry, half_pixel


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


def peak_inside(values: np.ndarray, mask: np.ndarray, pixels: np.ndarray) -> bool:
    """Whether the map's highest cell has its centre inside the mask.

    Args:
        values: (h, w) map; bilinear enlargement has its maximum at a cell's centre, so cells suffice.
        mask: (H, W) bool.
        pixels: (h, w, 2) from `cell_pixels`.

    Returns:
        True or False.
    """
    row, col = pixels.reshape(-1, 2)[int(np.argmax(values))]
    return bool(mask[row, col])


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
