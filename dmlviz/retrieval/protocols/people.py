"""Persons seen by several cameras: Market-1501 and data sets judged like it."""

from dmlviz.retrieval.metrics import average_precision, average_precision_trapezoid
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.reading import read_by_label
from dmlviz.retrieval.side import Side


def market1501(name: str, queries: Side, items: Side, ks: tuple[int, ...]) -> ProtocolEvaluation:
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
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        ks: the values of k.

    Raises:
        ValueError: labels or the column `camera` are lacking, or no query has anything to find.
    """
    answers = read_by_label(
        queries,
        items,
        "same-camera",
        average_precision=average_precision,
        average_precision_trapezoid=average_precision_trapezoid,
        inverse_negative_penalty=lambda ranks: len(ranks) / ranks[-1],
    )
    values = {f"CMC@{k}": answers.share_within(k) for k in ks}
    values["mAP"] = answers.mean("average_precision")
    values["mAP (trapezoid)"] = answers.mean("average_precision_trapezoid")
    values["mINP"] = answers.mean("inverse_negative_penalty")
    return answers.as_result(
        name,
        values,
        'Images of the query\'s label and camera, and those labelled "-1", are removed. CMC@k: queries with a hit '
        "among the first k. mAP: (1/R) sum of the precisions at the hits; by trapezoids as in the data set's own "
        "code. mINP: R / rank of the last hit. All are means over the queries that have something to find.",
    )


PROTOCOLS = (
    Protocol(
        "market1501",
        "persons across cameras: CMC@k, mAP by rectangles and by trapezoids, mINP",
        market1501,
        worst_by="average_precision",
        ks=(1, 5, 10, 20),
        source="Zheng et al., Scalable person re-identification: a benchmark, ICCV 2015",
    ),
)
