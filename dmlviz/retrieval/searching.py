"""The nearest rows of an index, or those of largest product, without those that are left out."""

import numpy as np

from dmlviz.index import GalleryIndex
from dmlviz.index.checks import as_count

_NUMBERS = 2**22  # float64 numbers held at once


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


def largest_products(
    vectors: np.ndarray, asking: np.ndarray, less: float, k: int, left_out: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of largest inner product with one, best first, ties by lower row; all rows are read.

    Args:
        vectors: (n, D) float32, the rows.
        asking: (D,) float64, what to multiply with.
        less: what is taken off every product.
        k: as for `nearest`.
        left_out: as for `nearest`.

    Returns:
        rows (k,) int64 and products less that number (k,) float32, rounded once from float64.

    Raises:
        TypeError: k is no whole number.
        ValueError: k is below 1.
    """
    wanted = as_count(k)
    products = np.empty(len(vectors), dtype=np.float32)
    step = max(256, _NUMBERS // vectors.shape[1])
    for start in range(0, len(vectors), step):
        rows = vectors[start : start + step].astype(np.float64)
        products[start : start + step] = np.einsum("nd,d->n", rows, asking) - less
    found = np.arange(len(vectors)) if left_out is None else np.delete(np.arange(len(vectors)), left_out)
    best = found[np.argsort(-products[found], kind="stable")[:wanted]]
    return best, products[best]
