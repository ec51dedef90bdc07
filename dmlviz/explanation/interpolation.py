"""Reading a map between its cells."""

import numpy as np


def between_cells(values: np.ndarray, row: float, col: float) -> np.ndarray:
    """Mix the four cells round a point bilinearly; beyond the outermost centres the edge is repeated.

    Args:
        values: (h, w, ...), any float dtype.
        row: In cells, centres on integers, from −0.5 to h − 0.5.
        col: The same along the width.

    Returns:
        (...), the dtype of `values`.

    Raises:
        ValueError: If the point lies outside the map.

    Examples:
        >>> import numpy as np
        >>> float(between_cells(np.array([[0.0, 1.0], [2.0, 3.0]]), 0.5, 0.5))
        1.5
    """
    h, w = values.shape[:2]
    for name, value, size in (("row", row, h), ("col", col, w)):
        if not -0.5 <= value <= size - 0.5:  # also refuses NaN
            raise ValueError(
                f"{name} must lie on the map, from -0.5 to {size - 0.5} cells; got {value}. "
                "Turn pixels into cells with dmlviz.explanation.cell_of_pixel"
            )
    row, col = min(max(row, 0.0), h - 1.0), min(max(col, 0.0), w - 1.0)
    top, left = int(row), int(col)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    down, across = row - top, col - left
    mixed = (
        (1 - down) * (1 - across) * values[top, left]
        + (1 - down) * across * values[top, right]
        + down * (1 - across) * values[bottom, left]
        + down * across * values[bottom, right]
    )
    return np.asarray(mixed, dtype=values.dtype)
