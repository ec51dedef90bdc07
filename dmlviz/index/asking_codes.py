"""Asking a state of a binary index: candidates from FAISS, whole ties, in the order of ids."""

import numpy as np

from dmlviz.index.asking import Answer, Question
from dmlviz.index.bits import pair_bit_distances
from dmlviz.index.stored_codes import StoredCodes, flat_codes

_SPARE = 50
_SCAN_UP_TO = 1024
_REACHED_AT_ONCE = 2**22


def ask_every_code(state: StoredCodes, asked: Question) -> Answer:
    """The k nearest by (distance, id), exactly.

    Distances are small whole numbers, so many codes tie, and FAISS keeps any of those that tie at the end of what it
    returns. It is asked for more than k; where the tie at the k-th distance goes on beyond that, it is asked for
    every code up to that distance.

    Returns:
        rows (Q, k) int64 and distances (Q, k) int32.
    """
    row_of = None if asked.allowed is None else np.flatnonzero(asked.allowed)
    flat = state.flat if row_of is None else flat_codes(state.codes[row_of])
    count = asked.possible
    width = min(asked.k + 1 + _SPARE, count)
    last = asked.k - 1 if asked.barred is None else asked.k
    order_of = state.ids.order
    rows = np.empty((len(asked.queries), asked.k), dtype=np.int64)
    distances = np.empty(rows.shape, dtype=np.int32)
    for start in range(0, len(rows), asked.step):
        part = asked.of(slice(start, start + asked.step))
        far, places = flat.search(part.queries, width)
        reach = far[:, last]
        whole = np.full(len(far), width == count) | (far[:, -1] > reach)
        query_of, column = ((far <= reach[:, None]) & whole[:, None]).nonzero()
        found = places[query_of, column]
        found = found if row_of is None else row_of[found]
        chosen = start + np.flatnonzero(whole)
        rows[chosen], distances[chosen] = _nearest(part, order_of, query_of, found, far[query_of, column])
        for radius in np.unique(reach[~whole]):
            tied = np.flatnonzero(~whole & (reach == radius))
            step = max(1, _REACHED_AT_ONCE // count)
            for some in np.split(tied, range(step, len(tied), step)):
                query_of, found, within = _reached(flat, part.queries[some], int(radius))
                found = found if row_of is None else row_of[found]
                answer = _nearest(part.of(some), order_of, query_of, found, within)
                rows[start + some], distances[start + some] = answer
    return rows, distances


def ask_some_codes(state: StoredCodes, asked: Question) -> Answer:
    """The k nearest of what an engine looks at that does not look at every code.

    A query for which it proposes fewer codes than wanted is compared with every code, so that none goes without.

    Returns:
        rows (Q, k) int64 and distances (Q, k) int32.
    """
    k, total = asked.k, len(state.codes)
    if asked.possible <= max(2 * k, _SCAN_UP_TO):
        return ask_every_code(state, asked)
    width = min(total, k + 1 + max(_SPARE, 3 * k))
    if asked.allowed is not None:
        width = min(total, int(width * total / asked.possible) + 1)
    rows = np.empty((len(asked.queries), k), dtype=np.int64)
    distances = np.empty(rows.shape, dtype=np.int32)
    for start in range(0, len(rows), asked.step):
        part = asked.of(slice(start, start + asked.step))
        _, places = state.engine.search(part.queries, width)
        may = places >= 0  # FAISS fills up with −1
        if part.allowed is not None:
            may &= part.allowed[places]
        if part.barred is not None:
            may &= places != part.barred[:, None]
        short = may.sum(axis=1) < k
        may[short] = False
        query_of, column = may.nonzero()
        found = places[query_of, column]
        within = pair_bit_distances(part.queries, state.codes, query_of, found)
        done = start + np.flatnonzero(~short)
        rows[done], distances[done] = _nearest(part, state.ids.order, query_of, found, within)
        if short.any():
            answer = ask_every_code(state, part.of(short))
            rows[start + np.flatnonzero(short)], distances[start + np.flatnonzero(short)] = answer
    return rows, distances


def codes_within(
    state: StoredCodes, queries: np.ndarray, radius: int, allowed: np.ndarray | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every code up to a distance, for each query: rows int64 and distances int32, by (distance, id)."""
    row_of = None if allowed is None else np.flatnonzero(allowed)
    flat = state.flat if row_of is None else flat_codes(state.codes[row_of])
    order_of = state.ids.order
    answers: list[tuple[np.ndarray, np.ndarray]] = []
    step = max(1, _REACHED_AT_ONCE // max(int(flat.ntotal), 1))
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        query_of, found, within = _reached(flat, some, radius)
        found = found if row_of is None else row_of[found]
        by = found if order_of is None else order_of[found]
        order = np.lexsort((by, within, query_of))
        ends = np.cumsum(np.bincount(query_of, minlength=len(some)))[:-1]
        answers += zip(np.split(found[order], ends), np.split(within[order], ends), strict=True)
    return answers


def _reached(flat: object, queries: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every code at a distance of at most `radius`: whose it is (ascending), its place, and how far it is."""
    limits, within, places = flat.range_search(queries, radius + 1)  # type: ignore[attr-defined]  # it keeps < radius
    query_of = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
    return query_of, places, within.astype(np.int32)


def _nearest(
    asked: Question, order_of: np.ndarray | None, query_of: np.ndarray, row_of: np.ndarray, far: np.ndarray
) -> Answer:
    """The k nearest of the candidates of each query that has any; every such query has k at least.

    Args:
        asked: The question.
        order_of: What ties are ordered by; None for the rows themselves.
        query_of: (P,) ascending, the query of each candidate.
        row_of: (P,) its row.
        far: (P,) its distance.

    Returns:
        rows (done, k) int64 and distances (done, k) int32.
    """
    if asked.barred is not None:
        kept = row_of != asked.barred[query_of]
        query_of, row_of, far = query_of[kept], row_of[kept], far[kept]
    by = row_of if order_of is None else order_of[row_of]
    order = np.lexsort((by, far, query_of))
    first = np.flatnonzero(np.diff(query_of, prepend=-1))
    taken = order[first[:, None] + np.arange(asked.k)]
    return row_of[taken], far[taken].astype(np.int32)
