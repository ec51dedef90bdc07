"""The full ranking of every query of a protocol, read in blocks and never held whole."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from dmlviz.retrieval.full_ranking import scored_blocks
from dmlviz.retrieval.judging import classes_of
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.protocols.evaluation import ProtocolEvaluation
from dmlviz.retrieval.side import Side

_COUNTED = 24  # up to so many ranks are counted one by one; beyond, sorting is quicker

Rows = Callable[[int], np.ndarray]
"""Rows of the items' side that belong to a query, given by its id: (n,) int64, ascending."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What is known of every query that has something to find; see `ProtocolEvaluation`."""

    query_ids: np.ndarray
    per_query: dict[str, np.ndarray]
    dropped: int

    def share_within(self, k: int) -> float:
        """Share of queries with a hit among the first k."""
        return float((self.per_query["first_hit_rank"] <= k).mean())

    def mean(self, name: str) -> float:
        """Mean of a per-query value."""
        return float(self.per_query[name].mean())

    def as_result(self, protocol: str, values: dict[str, float], definition: str) -> ProtocolEvaluation:
        """Names and words put to the numbers."""
        for array in (self.query_ids, *self.per_query.values()):
            array.flags.writeable = False
        return ProtocolEvaluation(
            protocol=protocol,
            values=MappingProxyType(values),
            definition=definition,
            query_ids=self.query_ids,
            per_query=MappingProxyType(self.per_query),
            dropped=self.dropped,
            tied=int(self.per_query["tied"].sum()),
        )


def read_by_label(
    queries: Side, items: Side, rule: str | None, **numbers: Callable[[np.ndarray], float]
) -> Answers:
    """Every query asks for the images of its label.

    Args:
        queries: the side that asks.
        items: the side that is ranked.
        rule: what is neither found nor counted; see `LeavingOut`.
        numbers: name -> what to make of the ranks of a query's hits, (R,) int64 ascending from 1.

    Raises:
        ValueError: labels are lacking, or no query has anything to find.
    """
    left_out = LeavingOut(rule, queries, items)
    of_query, of_item = classes_of(queries.images, items.images)
    of_row = of_item[items.ids]
    order = np.argsort(of_row, kind="stable")
    count = int(max(of_query.max(initial=-1), of_item.max(initial=-1))) + 1
    starts = np.concatenate([[0], np.cumsum(np.bincount(of_row, minlength=count))])

    def wanted(query: int) -> np.ndarray:
        return order[starts[of_query[query]] : starts[of_query[query] + 1]]

    answers = read(queries, items, np.arange(len(queries.images)), wanted, left_out.rows_of, **numbers)
    if len(answers.query_ids) == 0:
        raise ValueError(
            "no query has an image of its label to find in the gallery"
            + (" from another camera" if rule == "same-camera" else "")
            + "; look at gallery.query_labels and gallery.labels"
        )
    return answers


def read(
    queries: Side,
    items: Side,
    asked: np.ndarray,
    wanted: Rows,
    left_out: Rows,
    **numbers: Callable[[np.ndarray], float],
) -> Answers:
    """Read the full ranking of some queries. Memory stays near 100 MB beside the embeddings.

    Similarities are summed in float64 and rounded to float32, as the index does; equal ones are ordered by id.

    Args:
        queries: the side that asks.
        items: the side that is ranked.
        asked: ids of the queries that ask, ascending. Those without a row of their own are dropped.
        wanted: the rows that are right for a query; those that are left out do not count.
        left_out: the rows that are neither found nor counted.
        numbers: name -> what to make of the ranks of a query's hits, (R,) int64 ascending from 1.

    Returns:
        One entry per query that has something to find; there may be none.
    """
    able = asked[queries.row_of[asked] >= 0].astype(np.int64)
    whole = {name: np.zeros(len(able), dtype=np.int64) for name in ("first_hit_rank", "relevant")}
    best = {name: np.full(len(able), -1, dtype=np.int64) for name in ("right", "wrong")}
    tied = np.zeros(len(able), dtype=bool)
    found = {name: np.zeros(len(able)) for name in numbers}
    asking = queries.rows[queries.row_of[able]] if len(able) < len(queries.rows) else queries.rows
    rest, order = _Lazily(left_out, able), np.arange(len(able))
    for block, scores in scored_blocks(asking, items.rows, rest, order, items.metric):
        for line, place in enumerate(block):
            own = wanted(int(able[place]))
            own = own[scores[line, own] > -np.inf]
            if len(own) == 0:
                continue
            ranks, tied[place] = ranks_of(scores[line], own)
            whole["relevant"][place], whole["first_hit_rank"][place] = len(own), ranks[0]
            for name, number in numbers.items():
                found[name][place] = number(ranks)
            best["right"][place] = items.ids[own[scores[line, own].argmax()]]  # the lowest among equals
            scores[line, own] = -np.inf
            wrong = int(scores[line].argmax())
            if scores[line, wrong] > -np.inf:
                best["wrong"][place] = items.ids[wrong]
    answered = np.flatnonzero(whole["relevant"])
    per_query = {**whole, "tied": tied, **best, **found}
    return Answers(
        query_ids=able[answered],
        per_query={name: values[answered] for name, values in per_query.items()},
        dropped=len(asked) - len(answered),
    )


def ranks_of(scores: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, bool]:
    """Ranks of chosen rows, and whether one of them has exactly the score of another row.

    Args:
        scores: (n,) float32, higher is nearer; -inf for a row that is left out.
        own: (R,) int64, the chosen rows, ascending, none of them left out; R is at least 1.

    Returns:
        (R,) int64, ascending from 1, equal scores in the order of their rows; and bool.

    Example:
        >>> ranks_of(np.array([0.5, 0.9, 0.5, 0.1], dtype=np.float32), np.array([2, 3]))
        (array([3, 4]), True)
    """
    values = scores[own]
    near = scores[scores >= values.min()]
    if len(own) <= _COUNTED:
        before = np.array([np.count_nonzero(near > value) for value in values], dtype=np.int64)
        equal = np.array([np.count_nonzero(near == value) for value in values], dtype=np.int64)
    else:
        near.sort()
        up_to = np.searchsorted(near, values, side="right")
        before = len(near) - up_to
        equal = up_to - np.searchsorted(near, values, side="left")
    if (equal == 1).all():
        return np.sort(before) + 1, False
    rows = np.flatnonzero(scores >= values.min())
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    places = np.zeros(len(scores), dtype=bool)
    places[own] = True
    levels, ours = np.unique(values, return_counts=True)
    return np.flatnonzero(places[rows]) + 1, bool((equal != ours[np.searchsorted(levels, values)]).any())


class _Lazily:
    """What is left out for the query at a place, found when it is needed."""

    def __init__(self, left_out: Rows, ids: np.ndarray) -> None:
        self._left_out = left_out
        self._ids = ids

    def __getitem__(self, place: int, /) -> np.ndarray:
        return self._left_out(int(self._ids[place]))
