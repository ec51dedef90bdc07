"""In which order cells of two images go, most important first or last, and what is left at each step."""

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.faithfulness.kept_parts import pair_form


def removal_order(why: Decomposition, most_first: bool, rng: np.random.Generator) -> np.ndarray:
    """Order the cells of both images for removal, one by one, each time by what would be left.

    The least important first: each time the cell goes whose loss leaves the largest sum of parts, Σ_{i∈A, j∈B} Dᵢⱼ +
    Σ_{i∈A} rᵢ + Σ_{j∈B} cⱼ over what is kept; the most important first: the smallest. What a cell is worth changes
    as its partners go: that is what tells pairs of cells from two maps. A method without pairs has each cell's value
    on its own map, both maps brought to one scale (see `kept_parts`), and the order is simply theirs.

    Args:
        why: The explanation, with pairs or with maps of both sides.
        most_first: Whether the most important cell goes first.
        rng: Decides between cells that are worth exactly as much.

    Returns:
        (nq + ng,) int64, cells in the order in which they go: the query's row by row from 0, then the gallery
        image's from nq.

    Raises:
        ValueError: If the method has no map of one side.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings, decompose_similarity
        >>> query = LocalEmbeddings(np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.zeros(2))
        >>> gallery = LocalEmbeddings(np.array([[[3.0, 1.0]]]), np.zeros(2))
        >>> why = decompose_similarity(query, gallery, similarity="dot")          # pairs 3 and 2
        >>> [int(removal_order(why, most_first, np.random.default_rng(0))[0]) for most_first in (True, False)]
        [2, 1]
    """
    pairs, query, gallery, _ = pair_form(why)
    n = len(query)
    worth = np.concatenate([query, gallery])
    if pairs is not None:
        worth = worth + np.concatenate([pairs.sum(1), pairs.sum(0)])
    worth = worth if most_first else -worth
    shuffled = rng.permutation(len(worth))
    if pairs is None:
        return np.asarray(shuffled[np.argsort(-worth[shuffled], kind="stable")])
    sign = 1.0 if most_first else -1.0
    left = worth[shuffled]
    order = np.empty(len(worth), np.int64)
    for step in range(len(worth)):
        at = int(np.argmax(left))
        order[step] = cell = int(shuffled[at])
        loss = np.zeros(len(worth))
        if cell < n:
            loss[n:] = pairs[cell]
        else:
            loss[:n] = pairs[:, cell - n]
        left = left - sign * loss[shuffled]
        left[at] = -np.inf
    return order


def kept_along(
    order: np.ndarray, steps: int, query: tuple[int, int], gallery: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of both images as cells go in an order, in even steps from all to none.

    Args:
        order: (nq + ng,) from `removal_order`.
        steps: How many steps; after step s, s/steps of the cells are gone, rounded to whole cells.
        query: (hq, wq).
        gallery: (hg, wg).

    Returns:
        (steps + 1, hq, wq) and (steps + 1, hg, wg) bool, True for cells that are kept.
    """
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    gone = np.round(np.arange(steps + 1) * len(order) / steps).astype(np.int64)
    kept = place[None, :] >= gone[:, None]
    n = query[0] * query[1]
    return kept[:, :n].reshape(-1, *query), kept[:, n:].reshape(-1, *gallery)
