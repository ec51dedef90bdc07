"""The full ranking of every query, read in blocks and never held whole."""

import numpy as np

from dmlviz.retrieval.metrics import PerQuery, average_precision_at_r, r_precision

_CELLS = 2**22  # similarities held at once
_NUMBERS = 2**22  # float64 numbers of the rows compared with at once


def per_query(vectors: np.ndarray, classes: np.ndarray) -> PerQuery:
    """Ask with every row for all others, exactly, and keep what the metrics and the failures need.

    Similarities are summed in float64 and rounded to float32, as the index does; equal ones are ordered by
    id. Memory stays near 100 MB whatever the size of the gallery.

    Args:
        vectors: (n, D) float32, the rows as they are indexed.
        classes: (n,) int64, class of each row, numbered from 0.

    Returns:
        `PerQuery` with n entries; ids are row numbers.
    """
    n = len(vectors)
    members = _members(classes)
    relevant = np.bincount(classes, minlength=1)[classes] - 1 if n else np.zeros(0, dtype=np.int64)
    found = PerQuery(
        evaluated=relevant > 0,
        relevant=relevant,
        first_hit_rank=np.zeros(n, dtype=np.int64),
        r_precision=np.full(n, np.nan),
        average_precision_at_r=np.full(n, np.nan),
        right=np.full(n, -1, dtype=np.int64),
        right_similarity=np.full(n, np.nan, dtype=np.float32),
        wrong=np.full(n, -1, dtype=np.int64),
        wrong_similarity=np.full(n, np.nan, dtype=np.float32),
    )
    # Queries are taken in the order of their class sizes, so that those of one block need a like depth.
    order = np.argsort(relevant, kind="stable")
    step = max(1, min(256, _CELLS // max(n, 1)))
    for start in range(0, n, step):
        block = np.sort(order[start : start + step])
        _read_block(vectors, classes, members, block, found)
    return found


def _members(classes: np.ndarray) -> list[np.ndarray]:
    """Rows of each class, ascending."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(classes))[:-1]) if len(classes) else []


def _read_block(
    vectors: np.ndarray, classes: np.ndarray, members: list[np.ndarray], block: np.ndarray, found: PerQuery
) -> None:
    n = len(vectors)
    scores = _similarities(vectors, block)
    lines = np.arange(len(block))
    scores[lines, block] = -np.inf
    relevant = found.relevant[block]
    depth = min(int(relevant.max()) + 1, n - 1)  # one more than R, so that a wrong image is among them
    if depth < 1:
        return
    top = _best(scores, depth)
    hits = classes[top] == classes[block][:, None]

    has_wrong = relevant < n - 1
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
            of_class = members[classes[query]]
            right = of_class[scores[line, of_class].argmax()]  # argmax: the lowest id among equals
            best = scores[line, right]
            rank = int((scores[line] > best).sum() + (scores[line, :right] == best).sum())
        found.right[query] = right
        found.right_similarity[query] = scores[line, right]
        found.first_hit_rank[query] = rank + 1


def _similarities(vectors: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(B, n) float32: inner products of the block's rows with all rows, summed in float64."""
    scores = np.empty((len(block), len(vectors)), dtype=np.float32)
    asking = vectors[block].astype(np.float64)
    step = max(256, _NUMBERS // vectors.shape[1])
    for start in range(0, len(vectors), step):
        columns = slice(start, start + step)
        scores[:, columns] = asking @ vectors[columns].astype(np.float64).T
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
