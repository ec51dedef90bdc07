"""The full ranking of every query, read in blocks and never held whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dmlviz.index.exact import pair_distances
from dmlviz.index.metrics import Metric
from dmlviz.retrieval.metrics import PerQuery, average_precision_at_r, r_precision

_CELLS = 2**22  # similarities held at once
_NUMBERS = 2**22  # float64 numbers of the rows compared with at once
_CANCELLED = 2e-3  # of a squared length: a squared distance below that has lost three of sixteen digits


def per_query(
    asking: np.ndarray,
    vectors: np.ndarray,
    of_query: np.ndarray,
    of_row: np.ndarray,
    left_out: list[np.ndarray],
    metric: Metric = "ip",
) -> PerQuery:
    """Ask with every query for all rows, exactly, and keep what the metrics and the failures need.

    Similarities are summed in float64 and rounded to float32, as the index does; equal ones are ordered by
    row. Memory stays near 100 MB whatever the size of the gallery.

    Args:
        asking: (m, D) float32, the queries as they are compared.
        vectors: (n, D) float32, the rows as they are indexed.
        of_query: (m,) int64, class of each query, numbered from 0.
        of_row: (n,) int64, class of each row, in the same numbers.
        left_out: for each query, the rows that it must not find, each once.
        metric: how they are compared, "ip" or "l2".

    Returns:
        `PerQuery` with m entries; `right` and `wrong` are row numbers.
    """
    m, n = len(asking), len(vectors)
    members = _members(of_row, of_query)
    relevant = count_relevant(of_query, of_row, left_out)
    found = PerQuery(
        evaluated=relevant > 0,
        relevant=relevant,
        first_hit_rank=np.zeros(m, dtype=np.int64),
        r_precision=np.full(m, np.nan),
        average_precision_at_r=np.full(m, np.nan),
        right=np.full(m, -1, dtype=np.int64),
        right_similarity=np.full(m, np.nan, dtype=np.float32),
        wrong=np.full(m, -1, dtype=np.int64),
        wrong_similarity=np.full(m, np.nan, dtype=np.float32),
    )
    findable = np.array([n - len(rows) for rows in left_out], dtype=np.int64)
    # Queries are taken in the order of their class sizes, so that those of one block need a like depth.
    order = np.argsort(relevant, kind="stable")
    for block, scores in scored_blocks(asking, vectors, left_out, order, metric):
        _read_block(scores, of_query[block], of_row, members, block, findable[block], found)
    return found


class RowsAt(Protocol):
    """Rows that belong to the query at a place: a list of arrays, or something that finds them when asked."""

    def __getitem__(self, place: int, /) -> np.ndarray: ...


def scored_blocks(
    asking: np.ndarray, vectors: np.ndarray, left_out: RowsAt, order: np.ndarray, metric: Metric = "ip"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The similarities of all rows to a few queries at a time.

    Args:
        asking: (m, D) float32.
        vectors: (n, D) float32.
        left_out: for each query, the rows that it must not find.
        order: (m,) int64, the queries in the order in which to take them.
        metric: "ip" or "l2".

    Yields:
        Queries (B,) int64, ascending, and their similarities (B, n) float32; -inf for a row that is left out.
    """
    step = max(1, min(256, _CELLS // max(len(vectors), 1)))
    compared: Callable[[np.ndarray, np.ndarray], np.ndarray] = (
        _similarities if metric == "ip" else Distances.from_middle_of(vectors)
    )
    for start in range(0, len(order), step):
        block = np.sort(order[start : start + step])
        scores = compared(asking[block], vectors)
        for line, query in enumerate(block.tolist()):
            scores[line, left_out[query]] = -np.inf
        yield block, scores


def count_relevant(of_query: np.ndarray, of_row: np.ndarray, left_out: list[np.ndarray]) -> np.ndarray:
    """(m,) int64, R: how many rows of each query's class it may find."""
    if len(of_query) == 0:
        return np.zeros(0, dtype=np.int64)
    sizes = np.bincount(of_row, minlength=int(of_query.max()) + 1)
    taken = [int((of_row[rows] == own).sum()) for own, rows in zip(of_query, left_out, strict=True)]
    return sizes[of_query].astype(np.int64) - np.array(taken, dtype=np.int64)


def _members(of_row: np.ndarray, of_query: np.ndarray) -> list[np.ndarray]:
    """Rows of each class, ascending."""
    count = int(max(of_row.max(initial=-1), of_query.max(initial=-1))) + 1
    order = np.argsort(of_row, kind="stable")
    return np.split(order, np.cumsum(np.bincount(of_row, minlength=count))[:-1]) if count else []


def _read_block(
    scores: np.ndarray,
    classes: np.ndarray,
    of_row: np.ndarray,
    members: list[np.ndarray],
    block: np.ndarray,
    findable: np.ndarray,
    found: PerQuery,
) -> None:
    """Write down what the rankings of one block of queries say.

    Args:
        scores: (B, n) float32, -inf where a row is left out.
        classes: (B,) int64, class of each query.
        of_row: (n,) int64, class of each row.
        members: rows of each class.
        block: (B,) int64, the queries' places in `found`.
        findable: (B,) int64, how many rows are not left out.
        found: where to write.
    """
    lines = np.arange(len(block))
    relevant = found.relevant[block]
    depth = min(int(relevant.max()) + 1, int(findable.max()))  # beyond R by one: a wrong image is among them
    if depth < 1:
        return
    top = _best(scores, depth)
    # What is left out comes last: behind the first R of a query that has R to find, and behind its best wrong one.
    hits = of_row[top] == classes[:, None]

    has_wrong = relevant < findable
    first_wrong = (~hits).argmax(axis=1)
    found.wrong[block[has_wrong]] = top[lines, first_wrong][has_wrong]
    found.wrong_similarity[block[has_wrong]] = scores[lines, top[lines, first_wrong]][has_wrong]

    asks = relevant > 0
    found.r_precision[block[asks]] = r_precision(hits[asks], relevant[asks])
    found.average_precision_at_r[block[asks]] = average_precision_at_r(hits[asks], relevant[asks])
    for line in lines[asks]:
        query = block[line]
        if hits[line].any():
            rank = int(hits[line].argmax())
            right = top[line, rank]
        else:
            own = members[classes[line]]
            right = own[scores[line, own].argmax()]  # argmax: the lowest row among equals
            best = scores[line, right]
            rank = int((scores[line] > best).sum() + (scores[line, :right] == best).sum())
        found.right[query] = right
        found.right_similarity[query] = scores[line, right]
        found.first_hit_rank[query] = rank + 1


def _similarities(asking: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(B, n) float32: inner products of the block's queries with all rows, summed in float64."""
    scores = np.empty((len(asking), len(vectors)), dtype=np.float32)
    asking = asking.astype(np.float64)
    step = max(256, _NUMBERS // vectors.shape[1])
    for start in range(0, len(vectors), step):
        columns = slice(start, start + step)
        scores[:, columns] = asking @ vectors[columns].astype(np.float64).T
    return scores


@dataclass(frozen=True, eq=False)
class Distances:
    """Minus the squared distances of some queries to all rows, by one matrix product a block.

    d² = ‖q‖² + ‖v‖² − 2⟨q, v⟩ with the rows' mean taken off both, in float64. Where that cancels, because two rows
    lie near each other, the differences themselves are squared and summed as the index does: a row's distance to
    itself is 0.

    Attributes:
        middle: (D,) float64, the mean of the rows.
    """

    middle: np.ndarray

    @classmethod
    def from_middle_of(cls, vectors: np.ndarray) -> "Distances":
        """Measure from the mean of the rows, (n, D) float32."""
        return cls(vectors.mean(axis=0, dtype=np.float64) if len(vectors) else np.zeros(vectors.shape[1]))

    def __call__(self, asking: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(B, n) float32, never positive: of the block's queries (B, D) to all rows (n, D)."""
        scores = np.empty((len(asking), len(vectors)), dtype=np.float32)
        queries = asking.astype(np.float64) - self.middle
        of_query = np.einsum("nd,nd->n", queries, queries)[:, None]
        queries = np.hstack([queries, np.ones((len(queries), 1))])
        step = max(256, _NUMBERS // vectors.shape[1])
        for start in range(0, len(vectors), step):
            columns = slice(start, start + step)
            rows = vectors[columns].astype(np.float64) - self.middle
            of_row = np.einsum("nd,nd->n", rows, rows)[:, None]
            found = queries @ np.hstack([2.0 * rows, -of_row]).T
            found -= of_query
            scores[:, columns] = found
            line, row = np.nonzero(found >= -_CANCELLED * of_query)  # so near, both lengths are much the same
            scores[line, start + row] = pair_distances(asking, vectors, line, start + row)
        return scores


def _best(scores: np.ndarray, depth: int) -> np.ndarray:
    """(B, depth) int64: columns of the largest scores of each line, equal ones by lower column."""
    lines, n = scores.shape
    if 4 * depth >= n:
        return np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    lowest = np.partition(scores, n - depth, axis=1)[:, n - depth]
    line, column = np.nonzero(scores >= lowest[:, None])
    order = np.lexsort((column, -scores[line, column], line))
    first = np.searchsorted(line, np.arange(lines))
    return column[order[first[:, None] + np.arange(depth)]]
