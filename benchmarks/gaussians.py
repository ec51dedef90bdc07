"""Clustered Gaussian rows and codes, their true neighbours, and how many of those an answer holds."""

from dataclasses import dataclass

import numpy as np

_PER_CLUSTER = 20
_LATENT = 64
_NOISE = 0.5
_ROWS_AT_ONCE = 16384
_OFF_CENTRE = 20.0


@dataclass(frozen=True, eq=False)
class Asked:
    """A gallery and what is asked of it.

    Attributes:
        rows: (N, D) float32; or (N, W) uint8, packed codes.
        queries: (Q, D) float32, drawn like the rows but none of them; or (Q, W) uint8.
    """

    rows: np.ndarray
    queries: np.ndarray


def clustered_rows(count: int, dim: int, queries: int, *, off_centre: bool = False) -> Asked:
    """Twenty rows to a cluster; the same for the same arguments.

    Centres are Gaussian in 64 dimensions, turned into D by one random matrix (variance 1 in each); a row is its
    centre and Gaussian noise of 0.5 in each dimension, scaled to length one; a query is made in the same way. Rows
    that follow each other are of different clusters. Off centre: not scaled, and 20 is added to every number.
    """
    random = np.random.default_rng(0)
    clusters = max(1, count // _PER_CLUSTER)
    turned = random.standard_normal((_LATENT, dim), dtype=np.float32) / np.float32(_LATENT**0.5)
    centres = random.standard_normal((clusters, _LATENT), dtype=np.float32)

    def drawn(of_cluster: np.ndarray) -> np.ndarray:
        some = centres[of_cluster] @ turned
        some += np.float32(_NOISE) * random.standard_normal(some.shape, dtype=np.float32)
        if off_centre:
            return some + np.float32(_OFF_CENTRE)
        return some / np.linalg.norm(some, axis=1, keepdims=True)

    asking = drawn(random.integers(0, clusters, queries))
    rows = np.empty((count, dim), dtype=np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, count)
        rows[start:stop] = drawn(np.arange(start, stop) % clusters)
    return Asked(rows, asking)


def clustered_codes(count: int, bits: int, queries: int) -> Asked:
    """The signs of `clustered_rows`, eight to a byte."""
    made = clustered_rows(count, bits, queries)
    return Asked(*(np.packbits(part > 0, axis=1, bitorder="little") for part in (made.rows, made.queries)))


def recall(asked: Asked, found: np.ndarray, metric: str, k: int) -> float:
    """The share of the true k nearest that was found, over all queries.

    The truth is every row's similarity in float64. A row that is as near as the k-th counts as one of the k nearest.

    Args:
        asked: Rows and queries.
        found: (Q, k) int64, places of rows, each once; -1 for none.
        metric: "ip", "l2" or "bits".
        k: How many.
    """
    least = true_similarities(asked, metric, k)[:, -1:]
    held = np.empty(found.shape)
    for number, query in enumerate(asked.queries):
        held[number] = _similarities(query[None], asked.rows[found[number]], metric)[0]
    near = held >= least - 1e-9 * np.abs(least)
    return float((near & (found >= 0)).mean())


def true_similarities(asked: Asked, metric: str, k: int) -> np.ndarray:
    """(Q, k) float64, those of the k nearest rows, nearest first."""
    best = np.full((len(asked.queries), k), -np.inf)
    for start in range(0, len(asked.rows), _ROWS_AT_ONCE):
        block = _similarities(asked.queries, asked.rows[start : start + _ROWS_AT_ONCE], metric)
        best = np.sort(np.concatenate([best, block], axis=1), axis=1)[:, -k:]
    return best[:, ::-1]


def _similarities(queries: np.ndarray, rows: np.ndarray, metric: str) -> np.ndarray:
    """(Q, n) float64: inner products, or minus squared distances, or minus the number of bits that differ."""
    if metric == "bits":
        signs, others = _signs(queries), _signs(rows)
        return (
            signs @ others.T - np.float64(signs.shape[1])
        ) / 2  # whole numbers below 2^24: float32 is exact
    exact_queries, exact_rows = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "ip":
        return exact_queries @ exact_rows.T
    middle = queries[0].astype(np.float64)  # near to all rows, so that little is lost in the difference below
    exact_queries, exact_rows = exact_queries - middle, exact_rows - middle
    squares = np.einsum("nd,nd->n", exact_queries, exact_queries)[:, None] + np.einsum(
        "nd,nd->n", exact_rows, exact_rows
    )
    return 2 * (exact_queries @ exact_rows.T) - squares


def _signs(codes: np.ndarray) -> np.ndarray:
    """(n, 8 W) float32, each bit as 1 or -1."""
    return np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
