"""How many pairs a budget of seconds allows for, and which questions it leaves out."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

LEAST = 20  # pairs; with fewer an interval says nothing

Asked = TypeVar("Asked", bound=tuple[str, str])


def within_budget(
    blocks: Sequence[Sequence[Asked]],
    costs: Mapping[str, float],
    counts: Mapping[Asked, int],
    budget: float,
) -> tuple[dict[Asked, int], dict[Asked, float]]:
    """Choose the questions that fit with 20 pairs each, then as many pairs for all of them as fit.

    Explanations are shared by the questions about one method, and so is their cost. Where the first block of an
    evaluator does not fit, no other one of it is asked: it holds the baselines, without which a figure says nothing.

    Args:
        blocks: Questions (evaluator, method) that are asked together or not at all, the most worth first; a block is
            of one evaluator.
        costs: Seconds per pair, of each evaluator and of each method's explanation.
        counts: For each question how many pairs it is to be asked about at most.
        budget: Seconds.

    Returns:
        For each question that fits its number of pairs; for the others the seconds that their block needs at least.

    Examples:
        >>> cells = [("quick", "a"), ("slow", "a")]
        >>> within_budget([cells[:1], cells[1:]], {"quick": 0.1, "slow": 9, "a": 0.1}, dict.fromkeys(cells, 200), 10)
        ({('quick', 'a'): 50}, {('slow', 'a'): 180.0})
    """
    chosen: list[Asked] = []
    without: dict[Asked, float] = {}
    spent = 0.0
    dropped: set[str] = set()
    for block in blocks:
        evaluator = block[0][0]
        needs = _seconds([*chosen, *block], costs, counts, LEAST) - spent
        if evaluator not in dropped and spent + needs <= budget:
            chosen += block
            spent += needs
        else:
            without |= dict.fromkeys(block, float(needs))
            if not any(cell[0] == evaluator for cell in chosen):
                dropped.add(evaluator)
    low, high = LEAST, max((counts[cell] for cell in chosen), default=LEAST)
    while low < high:
        middle = (low + high + 1) // 2
        fits = _seconds(chosen, costs, counts, middle) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return {cell: min(low, counts[cell]) for cell in chosen}, without


def _seconds(
    cells: Sequence[Asked], costs: Mapping[str, float], counts: Mapping[Asked, int], pairs: int
) -> float:
    explained: dict[str, int] = {}
    seconds = 0.0
    for cell in cells:
        evaluator, method = cell
        count = min(pairs, counts[cell])
        seconds += count * costs[evaluator]
        explained[method] = max(explained.get(method, 0), count)
    return seconds + sum(count * costs[method] for method, count in explained.items())
