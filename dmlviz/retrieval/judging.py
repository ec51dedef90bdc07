"""Every image of a labelled gallery asked as a query: metrics, misses, margins."""

from collections.abc import Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.full_ranking import per_query
from dmlviz.retrieval.metrics import Evaluation, PerQuery

if TYPE_CHECKING:
    import pandas as pd

SORTED_BY = "margin (right_similarity - wrong_similarity), most negative first; then query"


def judge(vectors: np.ndarray, ids: np.ndarray, images: ImageSet) -> PerQuery:
    """Read the full ranking of every image.

    Args:
        vectors: (n, D) float32, the rows as they are ranked.
        ids: (n,) int64, ascending, the image of each row.
        images: the gallery's N images.

    Returns:
        `PerQuery` with N entries, in ids of images.

    Raises:
        ValueError: the images have no labels.
    """
    if images.labels is None:
        raise ValueError(
            "this gallery has no labels, so hits and misses are not known; build it from an image set with labels "
            "(a folder per class, or a label column)"
        )
    classes = np.unique(images.labels, return_inverse=True)[1].reshape(-1)
    found = per_query(vectors, classes[ids])
    return PerQuery(
        **{
            field.name: _spread(
                getattr(found, field.name), ids, len(images), field.name in ("right", "wrong")
            )
            for field in fields(PerQuery)
        }
    )


def _spread(of_rows: np.ndarray, ids: np.ndarray, count: int, holds_rows: bool) -> np.ndarray:
    """From one entry per ranked row to one per image; row numbers become ids."""
    if of_rows.dtype.kind == "f":
        spread = np.full(count, np.nan, dtype=of_rows.dtype)
    else:
        spread = np.full(count, -1 if holds_rows else 0, dtype=of_rows.dtype)
    if holds_rows and len(ids):
        of_rows = np.where(of_rows >= 0, ids[of_rows], -1)
    spread[ids] = of_rows
    spread.flags.writeable = False
    return spread


def evaluation(judged: PerQuery, recall_at: Sequence[int]) -> Evaluation:
    """Average over the queries that can be answered.

    Raises:
        ValueError: there is none, or a k is below 1.
    """
    if any(int(k) != k or k < 1 for k in recall_at):
        raise ValueError(f"recall_at must hold whole numbers of at least 1, got {tuple(recall_at)}")
    queries = np.flatnonzero(judged.evaluated)
    if len(queries) == 0:
        raise ValueError(
            "no image of this gallery has another one of its class, so there is nothing to find; "
            "look at gallery.labels"
        )
    rank = judged.first_hit_rank[queries]
    precision = judged.r_precision[queries]
    average = judged.average_precision_at_r[queries]
    return Evaluation(
        recall=MappingProxyType({int(k): float((rank <= k).mean()) for k in recall_at}),
        precision_at_1=float((rank == 1).mean()),
        r_precision=float(precision.mean()),
        map_at_r=float(average.mean()),
        query_ids=queries,
        first_hit_rank=rank,
        r_precision_per_query=precision,
        average_precision_at_r_per_query=average,
        dropped=len(judged.evaluated) - len(queries),
    )


def per_query_frame(judged: PerQuery, images: ImageSet) -> "pd.DataFrame":
    """See `Gallery.per_query`."""
    import pandas as pd

    index = pd.RangeIndex(len(images), name="id")
    return pd.DataFrame(
        {
            "name": pd.Series(images.names, index=index, dtype=object),
            "label": pd.Series(images.labels.tolist(), index=index, dtype=object),  # type: ignore[union-attr]
            "evaluated": judged.evaluated,
            "hit": judged.first_hit_rank == 1,
            "first_hit_rank": judged.first_hit_rank,
            "margin": judged.margin,
            "right": judged.right,
            "wrong": judged.wrong,
        },
        index=index,
    )


def failures_frame(judged: PerQuery, images: ImageSet) -> "pd.DataFrame":
    """See `Gallery.failures`."""
    import pandas as pd

    missed = np.flatnonzero(judged.evaluated & (judged.first_hit_rank > 1))
    missed = missed[np.argsort(judged.margin[missed], kind="stable")]
    labels = images.labels
    frame = pd.DataFrame(
        {
            "query": missed,
            "name": pd.Series([images.names[i] for i in missed], dtype=object),
            "label": pd.Series([labels[i] for i in missed], dtype=object),  # type: ignore[index]
            "first_hit_rank": judged.first_hit_rank[missed],
            "wrong": judged.wrong[missed],
            "wrong_label": pd.Series([labels[i] for i in judged.wrong[missed]], dtype=object),  # type: ignore[index]
            "wrong_similarity": judged.wrong_similarity[missed],
            "right": judged.right[missed],
            "right_similarity": judged.right_similarity[missed],
            "margin": judged.margin[missed],
        }
    )
    frame.attrs["sorted_by"] = SORTED_BY
    return frame
