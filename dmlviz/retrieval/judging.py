"""Every query of a labelled gallery asked: metrics, misses, margins."""

from collections.abc import Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.full_ranking import per_query
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.metrics import Evaluation, PerQuery, check_recall_at
from dmlviz.retrieval.side import Side

if TYPE_CHECKING:
    import pandas as pd

SORTED_BY = "margin (right_similarity - wrong_similarity), most negative first; then query"


def judge(queries: Side, items: Side, left_out: LeavingOut) -> PerQuery:
    """Read the full ranking of every query.

    Args:
        queries: the side that asks.
        items: the side that is ranked.
        left_out: what each query neither finds nor is judged by.

    Returns:
        `PerQuery` with one entry per query, in ids of queries; `right` and `wrong` are ids of images.

    Raises:
        ValueError: images or queries have no labels.
    """
    of_query, of_item = classes_of(queries.images, items.images)
    asking, ranked = queries.ids, items.ids
    found = per_query(
        queries.rows,
        items.rows,
        of_query[asking],
        of_item[ranked],
        [left_out.rows_of(query) for query in asking.tolist()],
        items.metric,
    )
    judged = {}
    for field in fields(PerQuery):
        of_rows = getattr(found, field.name)
        if field.name in ("right", "wrong") and len(ranked):
            of_rows = np.where(of_rows >= 0, ranked[of_rows], -1)
        judged[field.name] = _spread(of_rows, asking, len(queries.images), field.name in ("right", "wrong"))
    return PerQuery(**judged)


def classes_of(queries: ImageSet, items: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Classes of queries and of images, numbered together from 0: (Nq,) and (N,) int64.

    Raises:
        ValueError: one of them has no labels.
    """
    for images, what in ((items, "this gallery has"), (queries, "the queries of this gallery have")):
        if images.labels is None:
            raise ValueError(
                f"{what} no labels, so hits and misses are not known; build it from an image set with labels "
                "(a folder per class, or a label column)"
            )
    both = np.concatenate([queries.labels, items.labels])  # type: ignore[list-item]
    classes = np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return classes[: len(queries)], classes[len(queries) :]


def _spread(of_rows: np.ndarray, ids: np.ndarray, count: int, holds_ids: bool) -> np.ndarray:
    """From one entry per query that was asked to one per query."""
    if of_rows.dtype.kind == "f":
        spread = np.full(count, np.nan, dtype=of_rows.dtype)
    else:
        spread = np.full(count, -1 if holds_ids else 0, dtype=of_rows.dtype)
    spread[ids] = of_rows
    spread.flags.writeable = False
    return spread


def evaluation(judged: PerQuery, recall_at: Sequence[int], own: bool) -> Evaluation:
    """Average over the queries that can be answered.

    Args:
        judged: what the rankings say.
        recall_at: the values of k.
        own: whether the queries are the gallery's own images.

    Raises:
        ValueError: there is none, or a k is below 1.
    """
    ks = check_recall_at(recall_at)
    queries = np.flatnonzero(judged.evaluated)
    if len(queries) == 0:
        raise ValueError(
            "no image of this gallery has another one of its class, so there is nothing to find; "
            "look at gallery.labels"
            if own
            else "no query has an image of its class in the gallery (left out ones do not count), so there is "
            "nothing to find; look at gallery.query_labels, gallery.labels and gallery.leave_out"
        )
    rank = judged.first_hit_rank[queries]
    precision = judged.r_precision[queries]
    average = judged.average_precision_at_r[queries]
    return Evaluation(
        recall=MappingProxyType({k: float((rank <= k).mean()) for k in ks}),
        precision_at_1=float((rank == 1).mean()),
        r_precision=float(precision.mean()),
        map_at_r=float(average.mean()),
        query_ids=queries,
        first_hit_rank=rank,
        r_precision_per_query=precision,
        average_precision_at_r_per_query=average,
        dropped=len(judged.evaluated) - len(queries),
    )


def per_query_frame(judged: PerQuery, queries: ImageSet) -> "pd.DataFrame":
    """See `Gallery.per_query`."""
    import pandas as pd

    index = pd.RangeIndex(len(queries), name="id")
    return pd.DataFrame(
        {
            "name": pd.Series(queries.names, index=index, dtype=object),
            "label": pd.Series(queries.labels.tolist(), index=index, dtype=object),  # type: ignore[union-attr]
            "evaluated": judged.evaluated,
            "hit": judged.first_hit_rank == 1,
            "first_hit_rank": judged.first_hit_rank,
            "margin": judged.margin,
            "right": judged.right,
            "wrong": judged.wrong,
        },
        index=index,
    )


def misses(judged: PerQuery) -> np.ndarray:
    """(M,) int64, queries whose first image is of another class: most negative margin first, then by id."""
    missed = np.flatnonzero(judged.evaluated & (judged.first_hit_rank > 1))
    return missed[np.argsort(judged.margin[missed], kind="stable")]


def failures_frame(judged: PerQuery, queries: ImageSet, images: ImageSet) -> "pd.DataFrame":
    """See `Gallery.failures`."""
    import pandas as pd

    missed = misses(judged)
    frame = pd.DataFrame(
        {
            "query": missed,
            "name": pd.Series([queries.names[i] for i in missed], dtype=object),
            "label": pd.Series([queries.labels[i] for i in missed], dtype=object),  # type: ignore[index]
            "first_hit_rank": judged.first_hit_rank[missed],
            "wrong": judged.wrong[missed],
            "wrong_label": pd.Series([images.labels[i] for i in judged.wrong[missed]], dtype=object),  # type: ignore[index]
            "wrong_similarity": judged.wrong_similarity[missed],
            "right": judged.right[missed],
            "right_similarity": judged.right_similarity[missed],
            "margin": judged.margin[missed],
        }
    )
    frame.attrs["sorted_by"] = SORTED_BY
    return frame
