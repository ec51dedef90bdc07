"""Asking the questions of a comparison: which are left, how many pairs a budget allows for, in which order."""

import time
from collections.abc import Mapping, Sequence

from tqdm.auto import tqdm

from dmlviz.explanation.options import whole_number
from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.comparison_budget import within_budget
from dmlviz.faithfulness.comparison_cells import Cell, Questions, Skipped
from dmlviz.faithfulness.comparison_file import KeptFindings
from dmlviz.faithfulness.evaluation import Evaluation
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import Truth

TRIED = 3  # pairs on which costs are tried out where there is a budget
DEAR = 20  # an explanation that takes more than this part of the budget is tried once
PLANNED = 0.8  # of the budget; what was tried out on three pairs is no more than a guess


def ask_all(
    questions: Questions,
    truth: Truth,
    pairs: Pairs,
    at_most: Mapping[str, int],
    budget: float | None,
    kept: KeptFindings,
    seed: int,
    progress: bool,
) -> tuple[list[Evaluation], list[Skipped]]:
    """Ask the questions, method by method so that each pair is explained once; arguments as `compare`.

    Returns:
        What was found, method by method; what was skipped.

    Raises:
        ValueError: If `at_most` names something that is not asked for, or less than one pair.
        TypeError: If it gives no whole number.
    """
    ends = None if budget is None else time.perf_counter() + budget
    counts = _counts(questions, at_most, len(pairs))
    found: dict[Cell, Evaluation] = {}
    for cell in questions.cells:
        described = questions.asked[cell.evaluator][0]
        before = kept.evaluation(described, cell.method, questions.asked_with(cell), pairs)
        if before is not None and (budget is not None or len(before.pairs) == counts[cell]):
            found[cell] = before
    left = [cell for cell in questions.cells if cell not in found]
    skipped = list(questions.skipped)
    if budget is not None and ends is not None and left:
        costs = _tried(questions, left, truth, pairs, budget, seed, progress)
        untried = f"the budget of {budget:g} s left no time to try out what it costs"
        skipped += [Skipped(*cell, untried) for cell in left if not costs.keys() >= set(cell)]
        left = [cell for cell in left if costs.keys() >= set(cell)]
        blocks = _by_worth(questions, left, costs)
        counts, without = within_budget(blocks, costs, counts, PLANNED * (ends - time.perf_counter()))
        rest = f"with what else is left of the budget of {budget:g} s"
        skipped += [Skipped(*cell, f"it needs about {needs:.1f} s {rest}") for cell, needs in without.items()]
        left = [cell for cell in left if cell in counts]
    explaining = {
        method: max(counts[cell] for cell in left if cell.method == method)
        for method in dict.fromkeys(cell.method for cell in _in_turn(left))
    }
    total = sum(explaining.values()) + sum(counts[cell] for cell in left)
    with tqdm(total=total, unit="pair", disable=not progress) as bar:
        for method, count in explaining.items():
            problem = _explain(questions, method, pairs.take(count), ends, bar)
            for cell in (cell for cell in left if cell.method == method):
                bar.set_description(f"{method}: {questions.asked[cell.evaluator][0].title}")
                reason = problem or _spent(ends)
                if not reason:
                    try:
                        found[cell] = questions.ask(cell, pairs.take(counts[cell]), truth, seed)
                        kept.add(found[cell], questions.asked_with(cell))
                    except ValueError as error:  # what an evaluator cannot do may show only when it tries
                        reason = str(error)
                if reason:
                    skipped.append(Skipped(*cell, reason))
                bar.update(counts[cell])
            questions.explained.pop(method)  # explanations are large; nobody asks for them again
    return [found[cell] for cell in questions.cells if cell in found], skipped


def _explain(questions: Questions, method: str, pairs: Pairs, ends: float | None, bar: "tqdm[None]") -> str:
    """Explain the pairs, and say why not where that fails."""
    bar.set_description(method)
    if reason := _spent(ends):
        return reason
    try:
        questions.explained[method].prepare(pairs, bar.update)
    except ValueError as error:
        return str(error)
    return ""


def _spent(ends: float | None) -> str:
    return "the budget was spent before its turn" if ends is not None and time.perf_counter() > ends else ""


def _counts(questions: Questions, at_most: Mapping[str, int], pairs: int) -> dict[Cell, int]:
    for name, count in at_most.items():
        if name not in questions.asked and name not in questions.explained:
            raise ValueError(f"at_most names {name!r}, which is not asked for")
        whole_number(count, f"at_most[{name!r}]", 1)
    return {cell: min(pairs, *(at_most.get(name, pairs) for name in cell)) for cell in questions.cells}


def _in_turn(cells: Sequence[Cell]) -> list[Cell]:
    """The first method, then the baselines, then the other methods: what is stopped early still says something."""
    first = next((cell.method for cell in cells), "")

    def turn(cell: Cell) -> int:
        return 0 if cell.method == first else 1 if cell.method in BASELINES else 2

    return sorted(cells, key=turn)


def _by_worth(questions: Questions, cells: Sequence[Cell], costs: Mapping[str, float]) -> list[list[Cell]]:
    """Headline tests first, then the cheap ones; of each the first method with the baselines, then the others."""

    def worth(name: str) -> tuple[bool, float]:
        return not questions.asked[name][0].headline, costs[name]

    blocks = []
    for name in sorted(dict.fromkeys(cell.evaluator for cell in cells), key=worth):
        of_it = _in_turn([cell for cell in cells if cell.evaluator == name])
        together = [cell for cell in of_it if cell.method in (of_it[0].method, *BASELINES)]
        blocks += [together, *([cell] for cell in of_it if cell not in together)]
    return blocks


def _tried(
    questions: Questions,
    cells: Sequence[Cell],
    truth: Truth,
    pairs: Pairs,
    budget: float,
    seed: int,
    progress: bool,
) -> dict[str, float]:
    """Seconds per pair of each evaluator and of each method's explanation, tried on the first pairs.

    The first method and headline tests are tried first. Methods that a sixth of the budget is not enough to come to
    are not in it, nor are evaluators that a third is not enough for.
    """
    costs: dict[str, float] = {}
    began = time.perf_counter()
    methods = list(dict.fromkeys(cell.method for cell in _in_turn(cells)))
    evaluators = list(dict.fromkeys(cell.evaluator for cell in cells))
    evaluators.sort(key=lambda name: not questions.asked[name][0].headline)
    with tqdm(
        total=len(methods) + len(evaluators), desc="trying out", leave=False, disable=not progress
    ) as bar:
        for method in methods:
            if not costs or time.perf_counter() - began < budget / 6:
                costs[method] = _explaining_costs(questions, method, pairs, budget)
            bar.update()
        for evaluator in evaluators:
            of_it = [cell for cell in cells if cell.evaluator == evaluator and cell.method in costs]
            if of_it and time.perf_counter() - began < budget / 3:
                cell = min(of_it, key=lambda cell: costs[cell.method])
                costs[evaluator] = _asking_costs(questions, cell, truth, pairs, budget, seed)
            bar.update()
    return costs


def _asking_costs(
    questions: Questions, cell: Cell, truth: Truth, pairs: Pairs, budget: float, seed: int
) -> float:
    tried = pairs.take(1)
    try:
        for more in (pairs.take(TRIED), None):
            start = time.perf_counter()
            questions.ask(cell, tried, truth, seed)
            seconds = (time.perf_counter() - start) / len(tried)
            if more is None or seconds * DEAR > budget:
                break
            tried = more  # the first one may have loaded things
    except ValueError:
        return 0.0  # the reason is given when its turn comes
    return seconds


def _explaining_costs(questions: Questions, method: str, pairs: Pairs, budget: float) -> float:
    explained = questions.explained[method]
    try:
        explained.prepare(pairs.take(1))
        first = explained.seconds
        if first * DEAR < budget:
            explained.prepare(pairs.take(TRIED))  # the first one may have loaded things
    except ValueError:
        return 0.0  # the reason is given when its turn comes
    after = explained.computed - 1
    return (explained.seconds - first) / after if after else first
