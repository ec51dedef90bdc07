"""Precision where items tie: what any order of the ties could give, and the mean over all of them.

A ranking with ties is a row of levels, nearest first: n items at a level, r of them hits, b items and F hits before
it. Within a level every order is as good as another. All sums over ranks are differences of harmonic numbers
H_t = 1 + 1/2 + ... + 1/t, so that a query costs as many steps as there are levels, however many items there are.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class OverOrders:
    """A number for the worst and the best order of ties, and its mean over all orders; each (Q,) float64."""

    worst: np.ndarray
    expected: np.ndarray
    best: np.ndarray


class Sums:
    """Harmonic numbers and logarithms of factorials up to a number of items.

    Args:
        count: How many items there are at most.
    """

    def __init__(self, count: int) -> None:
        numbers = np.arange(1, count + 1, dtype=np.longdouble)
        self._harmonic = np.append(np.longdouble(0), np.cumsum(1 / numbers))
        self._log_factorial = np.append(np.longdouble(0), np.cumsum(np.log(numbers)))

    def over(self, after: np.ndarray, last: np.ndarray) -> np.ndarray:
        """1/(after + 1) + ... + 1/last, float64."""
        return np.asarray(self._harmonic[last] - self._harmonic[after], dtype=np.float64)

    def log_choose(self, count: int | np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Logarithm of the number of ways to choose some of `count`."""
        logs = self._log_factorial
        return np.asarray(logs[count] - logs[chosen] - logs[count - chosen], dtype=np.float64)


def average_precision_over_orders(sizes: np.ndarray, hits: np.ndarray, upto: int, sums: Sums) -> OverOrders:
    """(1/R) sum of the precisions at the hits among the first ranks, over all orders of ties.

    With m ranks of a level within the first ones (all n but at the last level that is reached), the mean over orders
    (McSherry and Najork, Computing information retrieval performance measures efficiently in the presence of tied
    scores, ECIR 2008, their average precision; here cut off at any rank) is

        (1/R) Σ_levels (r/n) Σ_{j=1..m} [F + 1 + (j − 1)(r − 1)/(n − 1)] / (b + j) .

    The best order has the hits of each level first, the worst has them last.

    Args:
        sizes: (Q, L) int64, n of each level, nearest first; 0 for a level that is not there.
        hits: (Q, L) int64, r of each level.
        upto: How many ranks count, at least 1; the number of items for all.
        sums: For as many items as there are.

    Returns:
        Three numbers of each query, in [0, 1]; NaN where R = 0.
    """
    before, found, ranks = _levels(sizes, hits, upto)
    relevant = hits.sum(axis=1)
    return OverOrders(
        *(
            np.divide(total.sum(axis=1), relevant, out=np.full(len(sizes), np.nan), where=relevant > 0)
            for total in _precision_sums(sizes, hits, before, found, ranks, sums)
        )
    )


def average_precision_of_found(sizes: np.ndarray, hits: np.ndarray, upto: int, sums: Sums) -> OverOrders:
    """Mean of the precisions at the hits among the first ranks, over all orders of ties; 0 without a hit.

    The divisor is the number h of hits among the first ranks, which at the level that is cut depends on the order:
    how many of its r hits fall on its m ranks follows the hypergeometric distribution. Given that number every place
    is as likely, so that the mean over orders is a sum over it of the formula of `average_precision_over_orders`.
    More hits do not make a better mean: the best and the worst order are looked for over all possible numbers.

    Args:
        sizes: As for `average_precision_over_orders`.
        hits: The same.
        upto: The same.
        sums: The same.

    Returns:
        Three numbers of each query, in [0, 1].
    """
    before, found, ranks = _levels(sizes, hits, upto)
    whole = np.where(ranks == sizes, ranks, 0)
    worst, expected, best = (
        total.sum(axis=1)
        for total in _precision_sums(sizes, np.where(whole > 0, hits, 0), before, found, whole, sums)
    )
    hits_of_whole = np.where(whole > 0, hits, 0).sum(axis=1)
    answers = np.zeros((3, len(sizes)))
    for query, cut in enumerate(((ranks > 0) & (ranks < sizes)).argmax(axis=1)):
        parts = worst[query], expected[query], best[query]
        f = int(hits_of_whole[query])
        if not 0 < ranks[query, cut] < sizes[query, cut]:  # no level is cut
            answers[:, query] = [part / f if f else 0.0 for part in parts]
            continue
        size, own, above, rank = (int(values[query, cut]) for values in (sizes, hits, before, ranks))
        answers[:, query] = _at_cut(size, own, above, rank, f, parts, sums)
    return OverOrders(*answers)


def precision_over_orders(sizes: np.ndarray, hits: np.ndarray, upto: int) -> OverOrders:
    """Share of hits among the first ranks, over all orders of ties.

    Args:
        sizes: As for `average_precision_over_orders`.
        hits: The same.
        upto: How many ranks, from 1 to the number of items.

    Returns:
        Three numbers of each query, in [0, 1].
    """
    _, _, ranks = _levels(sizes, hits, upto)
    fewest, most = np.maximum(0, ranks - (sizes - hits)), np.minimum(ranks, hits)
    likely = ranks * np.divide(hits, sizes, out=np.zeros(sizes.shape), where=sizes > 0)
    return OverOrders(*(count.sum(axis=1) / upto for count in (fewest, likely, most)))


def _levels(sizes: np.ndarray, hits: np.ndarray, upto: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Q, L) each: items and hits before a level, and how many of its ranks are among the first."""
    before = sizes.cumsum(axis=1) - sizes
    return before, hits.cumsum(axis=1) - hits, np.clip(upto - before, 0, sizes)


def _precision_sums(
    sizes: np.ndarray, hits: np.ndarray, before: np.ndarray, found: np.ndarray, ranks: np.ndarray, sums: Sums
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Q, L) each: the sum of a level's precisions at its hits; for the worst order, the mean, the best."""
    last = before + ranks
    fewest, most = np.maximum(0, ranks - (sizes - hits)), np.minimum(ranks, hits)
    # (F + j) / (b + j) = 1 - (b - F) / (b + j), and so on with other places
    best = most - (before - found) * sums.over(before, before + most)
    worst = fewest - (last - fewest - found) * sums.over(last - fewest, last)
    share = np.divide(hits, sizes, out=np.zeros(sizes.shape), where=sizes > 0)
    slope = np.divide(hits - 1, sizes - 1, out=np.zeros(sizes.shape), where=(sizes > 1) & (hits > 0))
    expected = share * (slope * ranks + (found + 1 - slope * (before + 1)) * sums.over(before, last))
    return worst, expected, best


def _at_cut(
    n: int, r: int, b: int, m: int, f: int, parts: tuple[float, float, float], sums: Sums
) -> tuple[float, float, float]:
    """Worst, mean and best of a query whose first ranks end within a level of n items, r of them hits.

    Args:
        n: Items of the level.
        r: Hits among them.
        b: Items before it.
        m: Ranks of the level among the first ones, fewer than n.
        f: Hits before it.
        parts: The sums of the precisions at those, for the worst order, the mean, the best.
        sums: As elsewhere.
    """
    h = np.arange(max(0, m - (n - r)), min(m, r) + 1)
    divisor = np.maximum(f + h, 1)  # without any hit the sums are 0
    log_chance = sums.log_choose(r, h) + sums.log_choose(n - r, m - h)
    chance = np.exp(log_chance - log_chance.max())
    over_level = sums.over(np.array(b), np.array(b + m))
    slope = (h - 1) / max(m - 1, 1)
    likely = h / m * ((f + 1) * over_level + slope * (m - (b + 1) * over_level))
    best = h - (b - f) * sums.over(np.full(len(h), b), b + h)
    worst = h - (b + m - h - f) * sums.over(b + m - h, np.full(len(h), b + m))
    return (
        float(((parts[0] + worst) / divisor).min()),
        float((chance * (parts[1] + likely) / divisor).sum() / chance.sum()),
        float(((parts[2] + best) / divisor).max()),
    )
