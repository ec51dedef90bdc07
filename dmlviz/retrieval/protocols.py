"""Published protocols by name: what is left out, what is counted, and by what it is divided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from dmlviz.retrieval.full_ranking import count_relevant, ranks_of_relevant
from dmlviz.retrieval.judging import classes_of
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.metrics import average_precision, average_precision_trapezoid, check_recall_at
from dmlviz.retrieval.side import Side


@dataclass(frozen=True, eq=False)
class ProtocolEvaluation:
    """What a published protocol says of a gallery.

    Attributes:
        protocol: its name.
        values: name of a number -> the number, in [0, 1]; read-only, in the order in which papers print them.
        definition: what was left out and counted, and by what it was divided, in words.
        query_ids: (Q,) int64, ids of the queries that were evaluated.
        per_query: name -> (Q,) one value per query of `query_ids`; always `first_hit_rank` (int64, from 1) and
            `relevant` (int64, R).
        dropped: number of queries that have nothing to find, or an embedding of length zero.
        tied: number of queries for which a wrong image has exactly the score of a right one, so that their
            order (by id) is chance.
    """

    protocol: str
    values: Mapping[str, float]
    definition: str
    query_ids: np.ndarray
    per_query: Mapping[str, np.ndarray]
    dropped: int
    tied: int

    def __repr__(self) -> str:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in self.values.items())
        notes = [f"{len(self.query_ids)} queries"]
        notes += [f"{self.dropped} left out"] if self.dropped else []
        notes += [f"{self.tied} with ties"] if self.tied else []
        return f"{self.protocol}: {', '.join(notes)}\n  {numbers}\n  {self.definition}"


def evaluate_by(
    protocol: str, queries: Side, items: Side, recall_at: Sequence[int] | None
) -> ProtocolEvaluation:
    """Judge a gallery by a protocol; see `Gallery.evaluate`.

    Raises:
        ValueError: unknown protocol, or what it needs is not there.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(map(repr, PROTOCOLS))}; got {protocol!r}")
    return PROTOCOLS[protocol](queries, items, recall_at)


def market1501(queries: Side, items: Side, recall_at: Sequence[int] | None = None) -> ProtocolEvaluation:
    """Person re-identification across cameras (Zheng et al., ICCV 2015).

    For each query, images of the same person from the same camera and images labelled "-1" are removed; images
    labelled "0000" (distractors) stay and are wrong for everyone. With hits at the ranks t_1 < ... < t_R of what
    remains:

    - CMC@k: share of queries with t_1 <= k.
    - mAP: mean of (1/R) sum_j j / t_j, the area under the precision-recall curve by rectangles, as torchreid and
      fast-reid compute it.
    - mAP (trapezoid): mean of (1/R) sum_j (1/2) [(j - 1) / (t_j - 1) + j / t_j], the first fraction being 1 for
      t_1 = 1 (and 0 else where t_j - 1 holds no hit): the area by trapezoids, as the data set's own MATLAB code
      computes it. It is lower; do not compare one with the other.
    - mINP: mean of R / t_R, what it costs to find the hardest (Ye et al., Deep learning for person
      re-identification: a survey and outlook, TPAMI 2021).

    Queries without anything to find are dropped and counted; every mean is over the others.

    Args:
        queries: the side that asks.
        items: the side that is ranked.
        recall_at: the values of k; 1, 5, 10 and 20 by default.

    Raises:
        ValueError: labels or the column `camera` are lacking, or no query has anything to find.
    """
    ks = check_recall_at((1, 5, 10, 20) if recall_at is None else recall_at)
    answers = _ask(
        queries,
        items,
        LeavingOut("same-camera", queries, items),
        average_precision=average_precision,
        average_precision_trapezoid=average_precision_trapezoid,
        inverse_negative_penalty=lambda ranks: len(ranks) / ranks[-1],
    )
    values = {f"CMC@{k}": answers.share_within(k) for k in ks}
    values["mAP"] = answers.mean("average_precision")
    values["mAP (trapezoid)"] = answers.mean("average_precision_trapezoid")
    values["mINP"] = answers.mean("inverse_negative_penalty")
    return answers.as_result(
        "market1501",
        values,
        'Images of the query\'s label and camera, and those labelled "-1", are removed. CMC@k: queries with a hit '
        "among the first k. mAP: (1/R) sum of the precisions at the hits; by trapezoids as in the data set's own "
        "code. mINP: R / rank of the last hit. All are means over the queries that have something to find.",
    )


def cvusa(queries: Side, items: Side, recall_at: Sequence[int] | None = None) -> ProtocolEvaluation:
    """Where was this taken? Views from the ground ask for the aerial view of their place (CVUSA, CVACT).

    Nothing is left out. With t the rank of the query's own place (of the best one, should there be several) and
    M the number of images that are ranked:

    - recall@k: share of queries with t <= k.
    - recall@1%: share with t <= M // 100, but at least 1: 88 of CVUSA's 8884 (as in TransGeo's code).
    - recall@1%+1: share with t <= M // 100 + 1: 89 of 8884 (as in CVM-Net's code).

    Published code counts images that are nearer than the right one, so that a tie is always won; here ties
    go by id, and queries with a tie are counted in `tied`.

    Args:
        queries: the side that asks, a query set of its own.
        items: the side that is ranked.
        recall_at: the values of k; 1, 5 and 10 by default.

    Raises:
        ValueError: there is no separate query set, labels are lacking, or no query has anything to find.
    """
    if queries.images is items.images:
        raise ValueError(
            "the protocol 'cvusa' needs a query set: build the gallery of aerial views with queries= the views from "
            "the ground, labelled by their place"
        )
    ks = check_recall_at((1, 5, 10) if recall_at is None else recall_at)
    answers = _ask(queries, items, LeavingOut(None, queries, items))
    percent = len(items.ids) // 100
    values = {f"recall@{k}": answers.share_within(k) for k in ks}
    values["recall@1%"] = answers.share_within(max(percent, 1))
    values["recall@1%+1"] = answers.share_within(percent + 1)
    return answers.as_result(
        "cvusa",
        values,
        "recall@k: queries whose place is among the first k. recall@1%: among the first "
        f"{max(percent, 1)} of {len(items.ids)} (1 %, rounded down, at least 1); recall@1%+1: among the first "
        f"{percent + 1}, as CVM-Net counts. All are means over the queries whose place is in the gallery; ties go by "
        "id.",
    )


PROTOCOLS: dict[str, Callable[[Side, Side, Sequence[int] | None], ProtocolEvaluation]] = {
    "market1501": market1501,
    "cvusa": cvusa,
}
"""Protocols by name, as `Gallery.evaluate` takes them."""


@dataclass(frozen=True, eq=False)
class _Answers:
    """What is known of every query that has something to find; see `ProtocolEvaluation`."""

    query_ids: np.ndarray
    per_query: dict[str, np.ndarray]
    tied: int
    dropped: int

    def share_within(self, k: int) -> float:
        """Share of queries with a hit among the first k."""
        return float((self.per_query["first_hit_rank"] <= k).mean())

    def mean(self, name: str) -> float:
        return float(self.per_query[name].mean())

    def as_result(self, protocol: str, values: dict[str, float], definition: str) -> ProtocolEvaluation:
        return ProtocolEvaluation(
            protocol=protocol,
            values=MappingProxyType(values),
            definition=definition,
            query_ids=self.query_ids,
            per_query=MappingProxyType(self.per_query),
            dropped=self.dropped,
            tied=self.tied,
        )


def _ask(
    queries: Side, items: Side, left_out: LeavingOut, **numbers: Callable[[np.ndarray], float]
) -> _Answers:
    """Read the full ranking of every query.

    Args:
        queries: the side that asks.
        items: the side that is ranked.
        left_out: what is neither found nor counted.
        numbers: name -> what to make of the ranks of a query's hits, ascending from 1.

    Raises:
        ValueError: labels are lacking, or no query has anything to find.
    """
    of_query, of_item = classes_of(queries.images, items.images)
    of_query, of_item = of_query[queries.ids], of_item[items.ids]
    barred = [left_out.rows_of(query) for query in queries.ids.tolist()]
    relevant = count_relevant(of_query, of_item, barred)
    asked = np.flatnonzero(relevant)
    if len(asked) == 0:
        raise ValueError(
            "no query has an image of its label to find in the gallery"
            + (" from another camera" if left_out.rule == "same-camera" else "")
            + "; look at gallery.query_labels and gallery.labels"
        )
    first = np.zeros(len(queries.ids), dtype=np.int64)
    found = {name: np.zeros(len(queries.ids)) for name in numbers}
    tied = 0
    for one in ranks_of_relevant(queries.rows, items.rows, of_query, of_item, barred):
        first[one.query] = one.ranks[0]
        tied += one.tied
        for name, number in numbers.items():
            found[name][one.query] = number(one.ranks)
    per_query = {"first_hit_rank": first, "relevant": relevant} | found
    return _Answers(
        query_ids=queries.ids[asked],
        per_query={name: values[asked] for name, values in per_query.items()},
        tied=tied,
        dropped=len(queries.images) - len(asked),
    )
