"""The two similarities of rows: inner product, and minus the squared distance; in float64, in one fixed order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dmlviz.index.exact import (
    all_distances,
    all_products,
    distance_bound,
    pair_distances,
    pair_products,
    rounding_bound,
    some_distances,
    some_products,
)

Metric = Literal["ip", "l2"]
METRICS: tuple[str, ...] = get_args(Metric)


@dataclass(frozen=True)
class Exact:
    """How rows are compared; higher is nearer. All sums in float64, rounded once to float32.

    Attributes:
        pairs: (queries, vectors, query_of, row_of) -> (P,), chosen pairs.
        some: (query (1, D), rows (n, D)) -> (n,).
        every: (queries, vectors) -> (Q, N).
        bound: (query_lengths (Q,), longest, dim) -> (Q,) how far FAISS may be off.
        greatest: (query_lengths (Q,), longest) -> (Q,) the largest magnitude possible.
    """

    pairs: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    some: Callable[[np.ndarray, np.ndarray], np.ndarray]
    every: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bound: Callable[[np.ndarray, float, int], np.ndarray]
    greatest: Callable[[np.ndarray, float], np.ndarray]


EXACT: dict[str, Exact] = {
    "ip": Exact(
        pair_products, some_products, all_products, rounding_bound, lambda lengths, longest: lengths * longest
    ),
    "l2": Exact(
        pair_distances,
        some_distances,
        all_distances,
        distance_bound,
        lambda lengths, longest: (lengths + longest) ** 2,
    ),
}
