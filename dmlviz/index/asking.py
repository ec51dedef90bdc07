"""Asking a state of an index: candidates from FAISS, scores in float64, ties in the order of ids."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.index.kinds import search_parameters
from dmlviz.index.metrics import EXACT
from dmlviz.index.stored import Stored, centred

_SPARE = 7
_SPARE_AGAIN = 500
_PAIRS_AT_ONCE = 2**21
_SCAN_UP_TO = 1024

Answer = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Question:
    """Checked queries, and what they may find.

    Attributes:
        queries: (Q, D) float32.
        k: How many rows each wants; each may find as many.
        barred: (Q,) int64, one row that each must not find, -1 for none; None where no query bars any.
        allowed: (S,) bool, the rows that may be found; None for all.
        possible: How many rows are allowed.
        bound: (Q,) how far FAISS may be off.
    """

    queries: np.ndarray
    k: int
    barred: np.ndarray | None
    allowed: np.ndarray | None
    possible: int
    bound: np.ndarray

    def of(self, chosen: Any) -> "Question":
        """The same for some of the queries."""
        barred = None if self.barred is None else self.barred[chosen]
        return Question(self.queries[chosen], self.k, barred, self.allowed, self.possible, self.bound[chosen])

    @property
    def step(self) -> int:
        """How many queries go together."""
        return max(1, _PAIRS_AT_ONCE // (self.k + 1 + _SPARE_AGAIN))


def ask_every_row(state: Stored, asked: Question) -> Answer:
    """The exact answer of an engine that compares every row.

    FAISS proposes candidates; those that could belong to the answer by the bound of its rounding are scored again in
    float64. A query left uncertain is asked again, wider, and at last scored against every row.

    Returns:
        rows (Q, k) int64 and similarities (Q, k) float32.
    """
    if len(asked.queries) == 1 and asked.allowed is None:
        answer = _one_query(state, asked)
        if answer is not None:
            return answer
    rows = np.empty((len(asked.queries), asked.k), dtype=np.int64)
    similarities = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), asked.step):
        block = slice(start, start + asked.step)
        rows[block], similarities[block] = _wider_and_wider(state, asked.of(block))
    return rows, similarities


def ask_some_rows(state: Stored, asked: Question) -> Answer:
    """The answer of an engine that looks at some of the rows only.

    What it proposes (k and 50 rows more at least) is scored again in float64. A query for which it proposes fewer
    rows than wanted is scored against every row, so that none goes without.

    Returns:
        rows (Q, k) int64 and similarities (Q, k) float32.
    """
    k, spare = asked.k, max(50, 3 * asked.k)
    width = min(k + 1 + spare, len(state.vectors))
    if asked.possible <= max(2 * k, _SCAN_UP_TO):
        return scan(state, asked)
    rows = np.empty((len(asked.queries), k), dtype=np.int64)
    similarities = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), asked.step):
        block = slice(start, start + asked.step)
        part = asked.of(block)
        found, _ = _propose(state, part, width)
        query_of, column = (found >= 0).nonzero()
        kept = found[query_of, column]
        if part.allowed is not None:
            may = part.allowed[kept]
            query_of, kept = query_of[may], kept[may]
        if part.barred is not None:
            may = kept != part.barred[query_of]
            query_of, kept = query_of[may], kept[may]
        short = np.bincount(query_of, minlength=len(found)) < k
        done = ~short[query_of]
        rows[block][~short], similarities[block][~short] = _best(state, part, query_of[done], kept[done])
        if short.any():
            rows[block][short], similarities[block][short] = scan(state, part.of(short))
    return rows, similarities


def scan(state: Stored, asked: Question) -> Answer:
    """Score every row that may be found, for every query: the slow path that needs no candidates."""
    exact = EXACT[state.metric]
    allowed = None if asked.allowed is None else np.flatnonzero(asked.allowed)
    vectors = state.vectors if allowed is None else state.vectors[allowed]
    order_of = state.ids.order
    rows = np.empty((len(asked.queries), asked.k), dtype=np.int64)
    similarities = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _PAIRS_AT_ONCE // max(len(vectors), 1))
    for start in range(0, len(rows), step):
        for number, of_query in enumerate(exact.every(asked.queries[start : start + step], vectors), start):
            row_of = np.arange(len(of_query)) if allowed is None else allowed
            if order_of is None:
                order = np.argsort(-of_query, kind="stable")  # stable: ties stay in the order of rows
            else:
                order = np.lexsort((order_of[row_of], -of_query))
            order_rows = row_of[order]
            if asked.barred is not None and asked.barred[number] >= 0:
                order = order[order_rows != asked.barred[number]]
            rows[number] = row_of[order[: asked.k]]
            similarities[number] = of_query[order[: asked.k]]
    return rows, similarities


def _propose(state: Stored, asked: Question, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates (Q, width), -1 where FAISS has no more, and their rough similarities, higher nearer."""
    parameters = None
    if asked.allowed is not None:
        parameters = search_parameters(state.engine, asked.allowed)
        if parameters is None:  # this engine cannot be told what it may find: ask for more, and choose
            share = asked.possible / len(state.vectors)
            width = min(len(state.vectors), int(width / max(share, 1e-9)) + 1)
    queries = centred(asked.queries, state.centre)
    rough, rows = state.engine.search(queries, width, params=parameters)
    return rows, rough if state.metric == "ip" else -rough


def _one_query(state: Stored, asked: Question) -> Answer | None:
    """`_certain` for a single query, without the bookkeeping; None where it is not certain."""
    k, barred = asked.k, -1 if asked.barred is None else int(asked.barred[0])
    width = k + 1 + _SPARE
    if 2 * width > len(state.vectors):
        return None
    candidates, rough = _propose(state, asked, width)
    last = k - 1 if barred < 0 else k
    inside = int(np.count_nonzero(rough[0] >= rough[0, last] - 2 * asked.bound[0]))
    if inside == width:
        return None
    row_of = candidates[0, :inside]
    if barred >= 0:
        row_of = row_of[row_of != barred]
    scores = EXACT[state.metric].some(asked.queries, state.vectors[row_of])
    by = row_of if state.ids.order is None else state.ids.order[row_of]
    order = np.lexsort((by, -scores))[:k]
    return row_of[None, order], scores[None, order]


def _wider_and_wider(state: Stored, asked: Question) -> Answer:
    """Answer a block of queries; those left uncertain by their candidates are asked again, wider."""
    rows = np.empty((len(asked.queries), asked.k), dtype=np.int64)
    similarities = np.empty(rows.shape, dtype=np.float32)
    todo = np.arange(len(rows))
    for spare in (_SPARE, _SPARE_AGAIN, asked.possible):
        part = asked if len(todo) == len(rows) else asked.of(todo)
        width = min(asked.k + 1 + spare, asked.possible)
        if 2 * width > asked.possible:  # nearly everything is a candidate: score everything
            rows[todo], similarities[todo] = scan(state, part)
            break
        found, scores, complete = _certain(state, part, width)
        done = todo[complete]
        rows[done], similarities[done] = found, scores
        todo = todo[~complete]
        if len(todo) == 0:
            break
    return rows, similarities


def _certain(state: Stored, asked: Question, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ask FAISS for `width` candidates and order those that could belong to the answer.

    Returns:
        rows and similarities (done, k) of the queries whose answer is certain, and which those are, (Q,) bool.
    """
    candidates, rough = _propose(state, asked, width)
    # A row of the true top k lies at most 2 bounds below the k-th rough score (one for that score's own
    # error, one for the row's), and so does a row that ties with it.
    last = asked.k - 1 if asked.barred is None else asked.k
    inside = rough >= (rough[:, last] - 2 * asked.bound)[:, None]
    complete = ~inside[:, -1]
    inside[~complete] = False
    query_of, column = inside.nonzero()
    row_of = candidates[query_of, column]
    if asked.barred is not None:
        kept = row_of != asked.barred[query_of]
        query_of, row_of = query_of[kept], row_of[kept]
    rows, scores = _best(state, asked, query_of, row_of)
    return rows, scores, complete


def _best(state: Stored, asked: Question, query_of: np.ndarray, row_of: np.ndarray) -> Answer:
    """The k best of the candidates of each query that has any; every such query has k at least.

    Args:
        state: The rows.
        asked: The question.
        query_of: (P,) int64 ascending, the query of each candidate.
        row_of: (P,) int64, its row.

    Returns:
        rows (done, k) and similarities (done, k).
    """
    scores = EXACT[state.metric].pairs(asked.queries, state.vectors, query_of, row_of)
    by = row_of if state.ids.order is None else state.ids.order[row_of]
    order = np.lexsort((by, -scores, query_of))
    # query_of is sorted, so query_of[order] is query_of itself
    first = np.flatnonzero(np.diff(query_of, prepend=-1))
    taken = (
        order[first[:, None] + np.arange(asked.k)] if len(first) else np.empty((0, asked.k), dtype=np.int64)
    )
    return row_of[taken], scores[taken]
