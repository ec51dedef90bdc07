"""How good a gallery's rankings are, each number by its published definition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RECALL_AT = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class PerQuery:
    """What the full ranking of every query says, one entry per query (N; by default the gallery's own images).

    Entries of queries that were not evaluated are 0, -1 or NaN as said below.

    Attributes:
        evaluated: (N,) bool; False for a query that has no image of its class to find, or no embedding to ask by.
        relevant: (N,) int64, R: how many ranked images are of the query's class, those left out not counted.
        first_hit_rank: (N,) int64, rank of the best image of the query's class, from 1; 0 where not evaluated.
        r_precision: (N,) float64 in [0, 1]; NaN where not evaluated.
        average_precision_at_r: (N,) float64 in [0, 1]; NaN where not evaluated.
        right: (N,) int64, id of the best image of the query's class; -1 where there is none.
        right_similarity: (N,) float32; NaN where there is none.
        wrong: (N,) int64, id of the best image of another class; -1 where there is none.
        wrong_similarity: (N,) float32; NaN where there is none.
    """

    evaluated: np.ndarray
    relevant: np.ndarray
    first_hit_rank: np.ndarray
    r_precision: np.ndarray
    average_precision_at_r: np.ndarray
    right: np.ndarray
    right_similarity: np.ndarray
    wrong: np.ndarray
    wrong_similarity: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """(N,) float64, best right minus best wrong similarity; negative for a miss, NaN where undefined."""
        return self.right_similarity.astype(np.float64) - self.wrong_similarity.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well the queries find their own classes.

    By default every image of the gallery asks, and never finds itself. With a query set every query asks, and
    nothing is left out. Under the rule "same-camera" images of the query's label and camera are removed from
    its ranking. With r_i = 1 where the image at rank i of what remains is of the query's class, else 0, and R
    the number of images of that class that remain:

    - recall@k: share of queries with at least one hit among the first k (Jégou et al., Product quantization
      for nearest neighbor search, TPAMI 2011; for classes as Oh Song et al., Deep metric learning via lifted
      structured feature embedding, CVPR 2016). With a query set as for In-shop retrieval (Liu et al.,
      DeepFashion, CVPR 2016).
    - precision@1: share of queries whose first image is a hit (equal to recall@1).
    - R-precision: mean of (1/R) sum_{i<=R} r_i.
    - mAP@R: mean of (1/R) sum_{i<=R} r_i P(i), P(i) = (1/i) sum_{j<=i} r_j (Musgrave, Belongie and Lim, A
      metric learning reality check, ECCV 2020, section 3.2). Not the same as mAP: ranks beyond R count
      nothing.

    Queries with no image of their class to find (R = 0) cannot be answered: they are left out and counted. So
    are, under cosine, queries whose embedding has length zero; images with such an embedding are never found
    and do not count in R.

    Attributes:
        recall: k -> recall@k in [0, 1], read-only.
        precision_at_1: in [0, 1].
        r_precision: in [0, 1].
        map_at_r: mAP@R in [0, 1].
        query_ids: (Q,) int64, ids of the queries that were evaluated; the arrays below follow them.
        first_hit_rank: (Q,) int64, from 1.
        r_precision_per_query: (Q,) float64.
        average_precision_at_r_per_query: (Q,) float64.
        dropped: number of queries left out.
    """

    recall: Mapping[int, float]
    precision_at_1: float
    r_precision: float
    map_at_r: float
    query_ids: np.ndarray
    first_hit_rank: np.ndarray
    r_precision_per_query: np.ndarray
    average_precision_at_r_per_query: np.ndarray
    dropped: int

    def __repr__(self) -> str:
        recalls = "  ".join(f"recall@{k} {value:.4f}" for k, value in self.recall.items())
        left_out = f", {self.dropped} left out" if self.dropped else ""
        return (
            f"Evaluation of {len(self.query_ids)} queries{left_out}\n  {recalls}\n"
            f"  precision@1 {self.precision_at_1:.4f}  R-precision {self.r_precision:.4f}  "
            f"mAP@R {self.map_at_r:.4f}"
        )


def r_precision(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Share of hits among the first R of each ranking.

    Args:
        hits: (Q, n) bool, r_i in rank order, n >= max(relevant).
        relevant: (Q,) int, R of each query, at least 1.

    Returns:
        (Q,) float64 in [0, 1].

    Example:
        >>> r_precision(np.array([[True, False, True]]), np.array([2]))
        array([0.5])
    """
    within = np.arange(hits.shape[1]) < relevant[:, None]
    return (hits & within).sum(axis=1) / relevant


def average_precision_at_r(hits: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """(1/R) sum over the first R ranks of r_i P(i), for each ranking (Musgrave et al. 2020).

    Args:
        hits: (Q, n) bool, r_i in rank order, n >= max(relevant).
        relevant: (Q,) int, R of each query, at least 1.

    Returns:
        (Q,) float64 in [0, 1].

    Example:
        >>> average_precision_at_r(np.array([[False, True, True]]), np.array([2]))
        array([0.25])
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    counted = hits & (ranks <= relevant[:, None])
    return (counted * hits.cumsum(axis=1) / ranks).sum(axis=1) / relevant


def r_precision_of_ranks(ranks: np.ndarray) -> float:
    """`r_precision` of one query whose hits lie at these ranks.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.

    Returns:
        In [0, 1].

    Example:
        >>> r_precision_of_ranks(np.array([1, 2, 4, 7]))
        0.75
    """
    return int(np.searchsorted(ranks, len(ranks), side="right")) / len(ranks)


def precision_at_r_of_ranks(ranks: np.ndarray) -> float:
    """`average_precision_at_r` of one query whose hits lie at these ranks.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.

    Returns:
        In [0, 1].

    Example:
        >>> precision_at_r_of_ranks(np.array([1, 2, 4, 7])) == (1 + 1 + 3 / 4) / 4
        True
    """
    return precision_sum_within(ranks, len(ranks)) / len(ranks)


def precision_sum_within(ranks: np.ndarray, k: int) -> float:
    """Sum of the precisions j / t_j at the hits among the first k.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.
        k: how many of the ranking count, at least 1.

    Returns:
        From 0 to the lesser of k and R.

    Example:
        >>> precision_sum_within(np.array([1, 4, 9]), 4)
        1.5
    """
    within = ranks[: int(np.searchsorted(ranks, k, side="right"))]
    return float((np.arange(1, len(within) + 1) / within).sum())


def average_precision(ranks: np.ndarray) -> float:
    """Area under the precision-recall curve by rectangles: (1/R) sum_j j / t_j over the ranks t_j of all hits.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.

    Returns:
        In (0, 1].

    Example:
        >>> round(average_precision(np.array([1, 2, 4, 7])), 6)
        0.830357
    """
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def average_precision_trapezoid(ranks: np.ndarray) -> float:
    """The same area by trapezoids: (1/R) sum_j ((j - 1) / (t_j - 1) + j / t_j) / 2.

    The first fraction is 1 for t_j = 1. So it is computed by the code that came with Oxford5k (Philbin et al.,
    CVPR 2007) and with Market-1501.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.

    Returns:
        In (0, 1].

    Example:
        >>> round(average_precision_trapezoid(np.array([1, 2, 4, 7])), 6)
        0.811012
    """
    hits = np.arange(1, len(ranks) + 1)
    before = np.divide(hits - 1, ranks - 1, out=np.ones(len(ranks)), where=ranks > 1)
    return float(((before + hits / ranks) / 2).mean())


def precision_at_reachable(ranks: np.ndarray, k: int) -> float:
    """mP@k of the revisited Oxford and Paris: precision of the first k, or of as many as reach the last hit.

    With kq = min(t_R, k): |{t_j <= kq}| / kq. So the denominator shrinks where all hits come before rank k.

    Args:
        ranks: (R,) int, ranks of all R hits from 1, ascending.
        k: at least 1.

    Returns:
        In [0, 1].

    Example:
        >>> precision_at_reachable(np.array([1, 2, 4]), 10), precision_at_reachable(np.array([1, 2, 20]), 10)
        (0.75, 0.2)
    """
    reach = min(int(ranks[-1]), k)
    return int(np.searchsorted(ranks, reach, side="right")) / reach


def check_recall_at(recall_at: Sequence[int]) -> tuple[int, ...]:
    """Values of k as whole numbers.

    Raises:
        ValueError: one is none, or below 1.
    """
    if any(int(k) != k or k < 1 for k in recall_at):
        raise ValueError(f"recall_at must hold whole numbers of at least 1, got {tuple(recall_at)}")
    return tuple(int(k) for k in recall_at)
