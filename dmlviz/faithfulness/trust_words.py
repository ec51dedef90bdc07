"""What figures say, in plain words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.comparison_cells import Skipped
from dmlviz.faithfulness.comparison_tables import evaluators_of, in_words
from dmlviz.faithfulness.estimate import Estimate, short
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator

FEW = 20  # trials
ROUNDING = 1e-6  # below it a difference says nothing
Standing = Literal["better", "open", "alike", "worse", "alone"]


@dataclass(frozen=True)
class Verdict:
    """How a method stands in one test.

    Attributes:
        standing: "better" than every baseline, or not told apart from the best one ("alike"), or "worse"; "open"
            where it is better than those that there was time for; "alone" without any.
        baseline: The best baseline's name; "" without any.
        beside: Its estimate.
    """

    standing: Standing
    baseline: str = ""
    beside: Estimate | None = None


def verdict(found: Evaluation, baselines: Mapping[str, Estimate]) -> Verdict:
    """Hold a method's headline figure against the best of the baselines, without those that pass trivially.

    Where both have the same trials, the difference is taken trial by trial, and its 95 % interval decides; otherwise
    the two intervals do.

    Args:
        found: Of the method.
        baselines: Their estimates of the same figure.
    """
    sign = 1.0 if found.evaluator.better == "higher" else -1.0
    told = {name: e for name, e in baselines.items() if e.trials and name not in found.evaluator.passed_by}
    mine = found.headline
    if not told or not mine.trials:
        return Verdict("alone")
    best = max(told, key=lambda name: sign * told[name].value)
    low, high = sorted(sign * end for end in lead_over(mine, told[best]))
    standing: Standing = "better" if low > ROUNDING else "worse" if high < -ROUNDING else "alike"
    return Verdict(standing, best, told[best])


def lead_over(mine: Estimate, other: Estimate) -> tuple[float, float]:
    """The 95 % interval of how far a figure lies above another one: mine − other.

    Where both have the same trials, the difference is taken trial by trial; otherwise the two intervals decide. They
    do so, too, for two rates whose difference is the same in every trial, of which a bootstrap would be certain.
    """
    if len(mine.values) == len(other.values) and np.array_equal(mine.clusters, other.clusters):
        difference = Estimate("difference", mine.values - other.values, mine.clusters)
        ends = difference.interval()
        if difference.trials and (ends[0] < ends[1] or not (mine.rate and other.rate)):
            return ends
    (low, high), (other_low, other_high) = mine.interval(), other.interval()
    return low - other_high, high - other_low


def said_of(method: str, evaluations: Sequence[Evaluation], skipped: Iterable[Skipped]) -> Iterator[str]:
    """What was found about a method: a summary, one sentence per evaluator, and what was not asked of it."""
    of_method = [
        e
        for evaluator in evaluators_of(evaluations)
        for e in evaluations
        if e.evaluator is evaluator and e.method == method
    ]
    skipped = list(skipped)
    missing = [_missing_baselines(e.evaluator, skipped) for e in of_method]
    verdicts = [verdict(e, _baselines(e, evaluations)) for e in of_method]
    verdicts = [
        replace(v, standing="open") if v.standing == "better" and names else v
        for v, names in zip(verdicts, missing, strict=True)
    ]
    yield _summary(of_method, verdicts)
    for found, stands, names in zip(of_method, verdicts, missing, strict=True):
        yield _sentence(found, stands, names)
    late: list[str] = []
    for evaluator, of, reason in skipped:
        if of == method and evaluator and "budget" in reason:
            late.append(evaluator)
        elif of == method and evaluator:
            yield f"Not asked: {evaluator}, because {reason}."
    if late:
        yield f"Not asked, for lack of time: {', '.join(late)}."


def _baselines(found: Evaluation, evaluations: Sequence[Evaluation]) -> dict[str, Estimate]:
    figure = found.evaluator.figures[0]
    shared = {
        e.method: e.figures[figure]
        for e in evaluations
        if e.evaluator.name == found.evaluator.name and e.method in BASELINES and figure in e.figures
    }
    return shared | {name: of[figure] for name, of in found.baselines.items() if figure in of}


def _missing_baselines(evaluator: Evaluator, skipped: Sequence[Skipped]) -> list[str]:
    """Baselines that there was no time for, and that might have been the best."""
    return [
        of
        for name, of, reason in skipped
        if name == evaluator.name and of in BASELINES and of not in evaluator.passed_by and "budget" in reason
    ]


def _summary(found: Sequence[Evaluation], verdicts: Sequence[Verdict]) -> str:
    """Headline tests apart from the others, which do not tell good maps from bad ones by themselves."""
    parts = []
    for headline, words in ((True, "In the headline tests"), (False, "In the other tests")):
        held = [
            (e.evaluator.name, v.standing)
            for e, v in zip(found, verdicts, strict=True)
            if v.standing != "alone" and e.evaluator.headline == headline
        ]
        if held:
            parts.append(f"{words}: {'; '.join(_standings(held))}.")
        elif headline:
            parts.append("No headline test could be asked, so nothing here tells whether the map is right.")
    return " ".join(parts)


def _standings(held: Sequence[tuple[str, Standing]]) -> Iterator[str]:
    for standing, words in (
        ("better", "better than every baseline in"),
        ("open", "better than those baselines that there was time for in"),
        ("alike", "not told apart from the best baseline in"),
        ("worse", "worse than a baseline in"),
    ):
        names = [name for name, stands in held if stands == standing]
        if names:
            yield f"{words} {len(names)} of {len(held)} ({', '.join(names)})"


def _sentence(found: Evaluation, stands: Verdict, missing: Sequence[str]) -> str:
    evaluator, mine = found.evaluator, found.headline
    if not mine.trials:
        return f"{evaluator.name}: none of the {len(mine.values)} trials says anything."
    said = f"{evaluator.name}: {mine.name} {in_words(mine)}, {evaluator.better} is better"
    if stands.beside is not None:
        beside = f"{stands.baseline}, has {short(stands.beside.value)}"
        said += {
            "better": f"; the best baseline, {beside}: the map is better than all of them.",
            "open": f"; the best baseline that there was time for, {beside}, and the map is better. It is open how "
            f"the others do: {', '.join(missing)}.",
            "alike": f"; the best baseline, {beside}, and the difference may be chance: this speaks for nothing.",
            "worse": f"; the best baseline, {beside}: the map is worse.",
        }[stands.standing]
    elif evaluator.baselines or evaluator.own_baselines:
        said += "; its baselines were not measured, so this speaks for nothing."
    else:
        said += "; there is no baseline to it."
    return said + (f" Only {mine.trials} trials." if mine.trials < FEW else "")


def cautions(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """What each test does not tell, once."""
    for evaluator in evaluators_of(evaluations):
        if evaluator.caution:
            yield f"{evaluator.name}: {evaluator.caution.rstrip('.')}."


def cannot_be_said(evaluations: Sequence[Evaluation], skipped: Sequence[Skipped]) -> Iterator[str]:
    """What was asked of no method, by reason, and what would have to be known."""
    said = {e.method for e in evaluations}
    for method in dict.fromkeys(s.method for s in skipped if s.evaluator and s.method):
        if method not in said and method not in BASELINES:
            reasons = dict.fromkeys(s.reason for s in skipped if s.evaluator and s.method == method)
            yield f"Nothing could be asked about {method}: {'; '.join(reasons)}."
    by_reason: dict[str, list[str]] = {}
    late: list[str] = []
    for evaluator, method, reason in skipped:
        if evaluator and not method:
            by_reason.setdefault(reason, []).append(evaluator)
        elif evaluator and "budget" in reason:
            late.append(evaluator)
        elif method and not evaluator and method not in BASELINES:
            yield f"{method} cannot explain this gallery: {reason}."
    for reason, names in by_reason.items():
        yield f"It cannot be said here how the maps do in {', '.join(names)}: {reason}."
    if any("no parts" in reason for reason in by_reason):
        yield (
            "Where you know parts or boxes of the pictures, pass them as truth=KnownParts(...) or KnownBoxes(...): "
            "only then can it be asked whether a map points at the right place."
        )
    if late:
        yield f"The budget left out some or all of {', '.join(dict.fromkeys(late))}; a larger one asks them."
