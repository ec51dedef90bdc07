"""Landmarks judged by lists: Oxford5k and Paris6k as they came, and revisited in three grades of difficulty."""

from collections.abc import Callable

import numpy as np

from dmlviz.retrieval.judgement_lists import CLASSIC, REVISITED
from dmlviz.retrieval.judgements import Judgements
from dmlviz.retrieval.metrics import average_precision_trapezoid, precision_at_reachable
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.reading import Answers, read
from dmlviz.retrieval.side import Side

GRADES = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Grade -> the lists that are right, the lists that are removed."""


def classic(name: str, queries: Side, items: Side, ks: None, judgements: Judgements) -> ProtocolEvaluation:
    """Oxford5k and Paris6k as the program that came with them judges (Philbin et al., CVPR 2007 and 2008).

    Images on the lists good and ok are right, those on junk are removed without penalty, all others are wrong. The
    picture in which a query was marked stays in the gallery; it is on its own list of good ones, so it counts as
    found, which it nearly always is at rank 1. AP is the area under the precision-recall curve by trapezoids.

    Args:
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        ks: None.
        judgements: lists good, ok and junk per query.

    Raises:
        TypeError: judgements of another type.
        ValueError: judgements without these lists, or of queries or images that are not there; nothing to find.
    """
    answers = _answers(
        name,
        queries,
        items,
        judgements,
        CLASSIC,
        ("good", "ok"),
        ("junk",),
        False,
        average_precision_trapezoid,
    )
    return answers.as_result(
        name,
        {"mAP": answers.mean("average_precision")},
        "Right are the images on the lists good and ok, the query's own picture among them; those on junk are "
        "removed without penalty. AP: the area under the precision-recall curve by trapezoids, divided by the number "
        "of right images; mean over the queries that have one.",
    )


def revisited(
    name: str, queries: Side, items: Side, ks: tuple[int, ...], judgements: Judgements
) -> ProtocolEvaluation:
    """The revisited Oxford and Paris (Radenović et al., Revisiting Oxford and Paris, CVPR 2018).

    Easy: right are the easy ones, removed junk and hard. Medium: right are easy and hard, removed junk. Hard: right
    are the hard ones, removed junk and easy. AP by trapezoids. mP@k: with kq = min(rank of the last right image, k),
    the share of right ones among the first kq. Queries without anything right are dropped and counted.

    The queries are no images of the gallery. Where they are nevertheless its own images, each is removed from its own
    ranking.

    Args:
        name: the protocol's, which ends in the grade.
        queries: the side that asks.
        items: the side that is ranked.
        ks: the values of k of mP@k.
        judgements: lists easy, hard and junk per query.

    Raises:
        TypeError: judgements of another type.
        ValueError: judgements without these lists, or of queries or images that are not there; nothing to find.
    """
    right, removed = GRADES[name.rpartition("-")[2]]
    precisions = {f"precision@{k}": _reachable(k) for k in ks}
    answers = _answers(
        name,
        queries,
        items,
        judgements,
        REVISITED,
        right,
        removed,
        queries.images is items.images,
        average_precision_trapezoid,
        **precisions,
    )
    values = {"mAP": answers.mean("average_precision")}
    values |= {f"mP@{k}": answers.mean(f"precision@{k}") for k in ks}
    own = " and the query itself" if queries.images is items.images else ""
    return answers.as_result(
        name,
        values,
        f"Right are the images on {_and(right)}; those on {_and(removed)}{own} are removed without penalty. AP: the "
        "area under the precision-recall curve by trapezoids, divided by the number of right images. mP@k: right "
        "ones among the first kq, divided by kq, the lesser of k and the rank of the last right one. Means over the "
        "queries that have a right image.",
    )


def _answers(
    name: str,
    queries: Side,
    items: Side,
    judgements: Judgements,
    needed: tuple[str, ...],
    right: tuple[str, ...],
    removed: tuple[str, ...],
    without_itself: bool,
    area: Callable[[np.ndarray], float],
    **numbers: Callable[[np.ndarray], float],
) -> Answers:
    if not isinstance(judgements, Judgements):
        raise TypeError(
            f"judgements must be Judgements, such as Judgements.from_json(path); got {type(judgements).__name__}"
        )
    lacking = [query for query, lists in judgements.lists.items() if not set(needed) <= set(lists)]
    if lacking:
        raise ValueError(
            f"the protocol {name!r} needs the lists {', '.join(needed)} of every query; {lacking[0]!r} has "
            f"{', '.join(judgements.lists[lacking[0]]) or 'none'}"
        )
    lists = judgements.ids(queries.images, items.images)

    def rows(query: int, kinds: tuple[str, ...], more: tuple[int, ...] = ()) -> np.ndarray:
        ids = np.concatenate([*(lists[query][kind] for kind in kinds), np.array(more, dtype=np.int64)])
        found = items.row_of[np.unique(ids)]
        return found[found >= 0]

    answers = read(
        queries,
        items,
        np.array(list(lists), dtype=np.int64),
        lambda query: rows(query, right),
        lambda query: rows(query, removed, (query,) if without_itself else ()),
        average_precision=area,
        **numbers,
    )
    if len(answers.query_ids) == 0:
        raise ValueError(
            f"under the protocol {name!r} none of the {len(judgements)} judged queries has an image on the list "
            f"{_and(right)}, so there is nothing to find"
        )
    return answers


def _reachable(k: int) -> Callable[[np.ndarray], float]:
    return lambda ranks: precision_at_reachable(ranks, k)


def _and(kinds: tuple[str, ...]) -> str:
    return " and ".join(kinds)


_CITIES = (("oxford5k", "Oxford5k", "CVPR 2007"), ("paris6k", "Paris6k", "CVPR 2008"))
PROTOCOLS = (
    *(
        Protocol(
            name,
            f"{title} as its own program judges: mAP by trapezoids, junk removed, the query kept",
            classic,
            worst_by="average_precision",
            needs=("judgements",),
            source=f"Philbin et al., {where}",
        )
        for name, title, where in _CITIES
    ),
    *(
        Protocol(
            f"{name}-{grade}",
            f"revisited {title}, {grade}: mAP by trapezoids and mP@k",
            revisited,
            worst_by="average_precision",
            ks=(1, 5, 10),
            needs=("judgements",),
            source="Radenović et al., Revisiting Oxford and Paris, CVPR 2018",
        )
        for name, title in (("roxford", "Oxford5k"), ("rparis", "Paris6k"))
        for grade in GRADES
    ),
)
