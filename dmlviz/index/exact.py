"""Inner products and squared distances in double precision, added up in one fixed order.

The order of the additions depends on the number of dimensions and on nothing else: not on how many
queries come together, not on how many threads run, not on which other rows are scored beside. That is
what makes the answer to a query one answer.
"""

import numpy as np

_PAIRS_PER_BLOCK = 256
_ROWS_PER_BLOCK = 1024


def pair_products(
    queries: np.ndarray, vectors: np.ndarray, query_of: np.ndarray, row_of: np.ndarray
) -> np.ndarray:
    """Inner product of chosen pairs: <queries[query_of[n]], vectors[row_of[n]]> for every n.

    Args:
        queries: (Q, D) float32.
        vectors: (N, D) float32.
        query_of: (P,) int64, the query of each pair.
        row_of: (P,) int64, the row of each pair.

    Returns:
        (P,) float32, each rounded once from a float64 sum.
    """
    exact_queries = queries.astype(np.float64)
    products = np.empty(len(row_of), dtype=np.float32)
    for start in range(0, len(row_of), _PAIRS_PER_BLOCK):
        block = slice(start, start + _PAIRS_PER_BLOCK)
        left = exact_queries[query_of[block]]
        right = vectors[row_of[block]].astype(np.float64)
        products[block] = np.einsum("nd,nd->n", left, right)
    return products


def some_products(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner product of one query with a few rows, bit for bit the numbers of `pair_products`.

    Args:
        query: (1, D) float32.
        rows: (n, D) float32.

    Returns:
        (n,) float32.
    """
    return np.einsum("d,nd->n", query[0].astype(np.float64), rows.astype(np.float64)).astype(np.float32)


def all_products(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Inner product of every query with every row, bit for bit the numbers of `pair_products`.

    Args:
        queries: (Q, D) float32.
        vectors: (N, D) float32.

    Returns:
        (Q, N) float32.
    """
    products = np.empty((len(queries), len(vectors)), dtype=np.float32)
    exact_queries = queries.astype(np.float64)
    for start in range(0, len(vectors), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)
        right = vectors[block].astype(np.float64)
        for number, query in enumerate(exact_queries):
            products[number, block] = np.einsum("d,nd->n", query, right)
    return products


def pair_distances(
    queries: np.ndarray, vectors: np.ndarray, query_of: np.ndarray, row_of: np.ndarray
) -> np.ndarray:
    """Minus the squared distance of chosen pairs; arguments as for `pair_products`.

    Returns:
        (P,) float32, never positive, each rounded once from a float64 sum of squared differences.
    """
    exact_queries = queries.astype(np.float64)
    found = np.empty(len(row_of), dtype=np.float32)
    for start in range(0, len(row_of), _PAIRS_PER_BLOCK):
        block = slice(start, start + _PAIRS_PER_BLOCK)
        apart = exact_queries[query_of[block]] - vectors[row_of[block]].astype(np.float64)
        found[block] = -np.einsum("nd,nd->n", apart, apart)
    return found


def some_distances(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Minus the squared distance of one query to a few rows, bit for bit the numbers of `pair_distances`.

    Args:
        query: (1, D) float32.
        rows: (n, D) float32.

    Returns:
        (n,) float32, never positive.
    """
    apart = query.astype(np.float64) - rows.astype(np.float64)
    return (-np.einsum("nd,nd->n", apart, apart)).astype(np.float32)


def all_distances(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Minus the squared distance of every query to every row, bit for bit the numbers of `pair_distances`.

    Args:
        queries: (Q, D) float32.
        vectors: (N, D) float32.

    Returns:
        (Q, N) float32, never positive.
    """
    found = np.empty((len(queries), len(vectors)), dtype=np.float32)
    exact_queries = queries.astype(np.float64)
    for start in range(0, len(vectors), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)
        right = vectors[block].astype(np.float64)
        for number, query in enumerate(exact_queries):
            apart = query - right
            found[number, block] = -np.einsum("nd,nd->n", apart, apart)
    return found


def lengths(rows: np.ndarray) -> np.ndarray:
    """Euclidean length of each row: (N, D) float32 -> (N,) float64."""
    if len(rows) == 1:
        row = rows[0].astype(np.float64)
        return np.sqrt(np.einsum("d,d->", row, row)).reshape(1)
    squares = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS_PER_BLOCK):
        block = rows[start : start + _ROWS_PER_BLOCK].astype(np.float64)
        squares[start : start + _ROWS_PER_BLOCK] = np.einsum("nd,nd->n", block, block)
    return np.sqrt(squares)


def rounding_bound(query_lengths: np.ndarray, longest: float, dim: int) -> np.ndarray:
    """How far a float32 inner product, added in any order, may lie from the true one.

    The usual bound, |fl(<q, x>) - <q, x>| <= (D u / (1 - D u)) |q| |x| with u = 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd ed., section 3.1), with a little room for the final rounding to
    float32 and for products too small for float32.

    Args:
        query_lengths: (Q,) float64, length of each query.
        longest: length of the longest row.
        dim: number of dimensions D.

    Returns:
        (Q,) float64, not negative.
    """
    unit = (dim + 8) * 2.0**-24
    relative = unit / (1.0 - unit) if unit < 0.5 else np.inf
    return relative * query_lengths * longest + dim * 2.0**-126


def distance_bound(query_lengths: np.ndarray, longest: float, dim: int) -> np.ndarray:
    """How far FAISS's squared distance of two centred rows may lie from the true one of the rows as they are.

    FAISS adds up |x|² + |q|² - 2 <q, x> in float32 in some cases and the squared differences in others; both lie
    within D u / (1 - D u) · (|q| + |x|)² of the truth. Taking the mean off in float32 moves each number by one
    rounding more, which the room in the factor holds.

    Args:
        query_lengths: (Q,) float64, length of each centred query.
        longest: length of the longest centred row.
        dim: number of dimensions D.

    Returns:
        (Q,) float64, not negative.
    """
    unit = (dim + 32) * 2.0**-24
    relative = unit / (1.0 - unit) if unit < 0.5 else np.inf
    return relative * (query_lengths + longest) ** 2 + dim * 2.0**-126
