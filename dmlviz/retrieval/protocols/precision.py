"""Average precision in its several definitions: MAP@R, the full one, and three that stop at k."""

from collections.abc import Callable

import numpy as np

from dmlviz.retrieval.metrics import (
    average_precision,
    precision_at_r_of_ranks,
    precision_sum_within,
    r_precision_of_ranks,
)
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.reading import read_by_label
from dmlviz.retrieval.side import Side


def map_at_r(name: str, queries: Side, items: Side, ks: None) -> ProtocolEvaluation:
    """MAP@R, R-precision and precision@1 (Musgrave, Belongie and Lim, ECCV 2020, section 3.2).

    With hits at the ranks t_1 < ... < t_R: MAP@R is the mean of (1/R) sum over t_j <= R of j / t_j, R-precision
    the mean of |{t_j <= R}| / R, precision@1 the share of queries with t_1 = 1. The very numbers of
    `Gallery.evaluate()` under the rule "self".

    Args:
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        ks: None.

    Raises:
        ValueError: labels are lacking, or no query has anything to find.
    """
    answers = read_by_label(
        queries,
        items,
        "self",
        average_precision_at_r=precision_at_r_of_ranks,
        r_precision=r_precision_of_ranks,
    )
    values = {
        "MAP@R": answers.mean("average_precision_at_r"),
        "R-precision": answers.mean("r_precision"),
        "precision@1": answers.share_within(1),
    }
    return answers.as_result(
        name,
        values,
        f"{_left_out(queries, items)} MAP@R: (1/R) sum of the precisions at the hits among the first R; R-precision: "
        "hits among the first R, divided by R; precision@1: queries whose first image is a hit. R is the number of "
        "images of the query's label. All are means over the queries with R > 0, without interpolation.",
    )


def full_map(name: str, queries: Side, items: Side, ks: None) -> ProtocolEvaluation:
    """Mean average precision over the whole ranking, by rectangles: (1/R) sum_j j / t_j.

    Args:
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        ks: None.

    Raises:
        ValueError: labels are lacking, or no query has anything to find.
    """
    answers = read_by_label(queries, items, "self", average_precision=average_precision)
    return answers.as_result(
        name,
        {"mAP": answers.mean("average_precision")},
        f"{_left_out(queries, items)} mAP: (1/R) sum of the precisions at all R hits of the whole ranking, the area "
        "by rectangles (no interpolation), R being the number of images of the query's label; mean over the queries "
        "with R > 0.",
    )


def map_at_k(name: str, queries: Side, items: Side, ks: tuple[int, ...]) -> ProtocolEvaluation:
    """The average precision of the first k, divided in the three ways in which public code divides it.

    The sum over t_j <= k of j / t_j is divided

    - "of R": by R, as pytorch-metric-learning's mean_average_precision does; a perfect ranking scores k / R if
      R > k;
    - "of min(R, k)": by what could be found, as earlier versions of OML do; a perfect ranking scores 1;
    - "of hits": by the hits among the first k, as the hashing literature (CalcTopMap) and later versions of OML do;
      one hit at rank 1 scores 1 whatever R is, and a query without a hit scores 0. It is much higher than the others:
      never compare it with them.

    Args:
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        ks: the values of k.

    Raises:
        ValueError: labels are lacking, or no query has anything to find.
    """
    divided: dict[str, tuple[int, Callable[[np.ndarray, int], float]]] = {}
    for k in ks:
        divided[f"mAP@{k} (of R)"] = (k, lambda ranks, k: len(ranks))
        divided[f"mAP@{k} (of min(R, {k}))"] = (k, lambda ranks, k: min(len(ranks), k))
        divided[f"mAP@{k} (of hits)"] = (k, lambda ranks, k: max(int((ranks <= k).sum()), 1))
    answers = read_by_label(
        queries,
        items,
        "self",
        average_precision=average_precision,
        **{label: _divided(k, by) for label, (k, by) in divided.items()},
    )
    return answers.as_result(
        name,
        {label: answers.mean(label) for label in divided},
        f"{_left_out(queries, items)} mAP@k: the sum of the precisions at the hits among the first k, divided by R "
        "(the number of images of the query's label), by the lesser of R and k, or by the number of those hits (0 "
        "where there is none), as the name says; mean over the queries with R > 0, without interpolation.",
    )


def _divided(k: int, by: Callable[[np.ndarray, int], float]) -> Callable[[np.ndarray], float]:
    return lambda ranks: precision_sum_within(ranks, k) / by(ranks, k)


def _left_out(queries: Side, items: Side) -> str:
    own = queries.images is items.images
    return "Every image asks, and is itself left out by its id." if own else "Nothing is left out."


PROTOCOLS = (
    Protocol(
        "map@r",
        "MAP@R, R-precision and precision@1 of metric learning",
        map_at_r,
        worst_by="average_precision_at_r",
        source="Musgrave, Belongie and Lim, A metric learning reality check, ECCV 2020, section 3.2",
    ),
    Protocol(
        "map",
        "mean average precision over the whole ranking",
        full_map,
        worst_by="average_precision",
        source="Manning, Raghavan and Schütze, Introduction to information retrieval, 2008, section 8.4",
    ),
    Protocol(
        "map@k",
        "mean average precision of the first k, by each of the three denominators in use",
        map_at_k,
        worst_by="average_precision",
        ks=(10, 100),
        source="the public code of pytorch-metric-learning, of OML, and of deep hashing",
    ),
)
