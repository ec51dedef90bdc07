"""The nearest rows of an index, without those that are left out."""

import numpy as np

from dmlviz.index import GalleryIndex
from dmlviz.index.checks import as_count


def nearest(
    index: GalleryIndex, row: np.ndarray, k: int, left_out: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows most similar to one, best first, ties by lower row.

    Args:
        index: the index.
        row: (D,) float32, what to search with.
        k: how many, at least 1; cut to how many there are.
        left_out: (m,) int64, rows that must not be found; None for none.

    Returns:
        rows (k,) int64 and similarities (k,) float32.

    Raises:
        TypeError: k is no whole number.
        ValueError: k is below 1.
    """
    wanted = as_count(k)
    left_out = np.zeros(0, dtype=np.int64) if left_out is None else left_out
    if len(left_out) <= 1:
        rows, similarities = index.search(row, wanted, left_out if len(left_out) else None)
        return rows[0], similarities[0]
    # So many more that what is left out can fill the first places and still k are found.
    rows, similarities = index.search(row, wanted + len(left_out))
    kept = np.flatnonzero(~np.isin(rows[0], left_out))[:wanted]
    return rows[0][kept], similarities[0][kept]
