"""Two ways of doing the same thing, timed in turns."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Duel:
    """One line of the results.

    Attributes:
        what: the part that is measured.
        baseline: what it is measured against.
        ours_ms: median time of a call, milliseconds.
        baseline_ms: the same of the baseline.
        ratio: median over the rounds of ours / baseline; below 1 is faster than the baseline.
        low, high: quartiles of that ratio over the rounds.
        goal: what design.md asks for, as the largest ratio allowed; None where it asks for nothing.
        rounds: how many rounds were timed.
    """

    what: str
    baseline: str
    ours_ms: float
    baseline_ms: float
    ratio: float
    low: float
    high: float
    goal: float | None
    rounds: int

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.ratio <= self.goal


def duel(
    what: str,
    baseline_is: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    *,
    goal: float | None = None,
    rounds: int = 31,
    seconds_per_round: float = 0.02,
) -> Duel:
    """Time both in turns, after one call each to warm up, the garbage collector off.

    A quick call is repeated within a round, so that a round takes about `seconds_per_round`. Which of the two
    goes first changes from round to round.
    """
    times = in_turns([ours, baseline], rounds, seconds_per_round)
    middle, low, high = ratio_of(*times)
    return Duel(
        what,
        baseline_is,
        1e3 * statistics.median(times[0]),
        1e3 * statistics.median(times[1]),
        middle,
        low,
        high,
        goal,
        rounds,
    )


def in_turns(
    calls: Sequence[Callable[[], object]], rounds: int, seconds_per_round: float = 0.02
) -> list[list[float]]:
    """Seconds of each call, one number per round: after one call each to warm up, the garbage collector off.

    Each round begins with another of the calls. A quick one is repeated within a round.
    """
    repeats = [_repeats(call, seconds_per_round) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            for turn in range(len(calls)):
                which = (number + turn) % len(calls)
                times[which].append(_time(calls[which], repeats[which]))
    finally:
        gc.enable()
    return times


def ratio_of(ours: Sequence[float], baseline: Sequence[float]) -> tuple[float, float, float]:
    """Median over the rounds of ours / baseline, and its quartiles; one round is its own quartiles."""
    ratios = [a / b for a, b in zip(ours, baseline, strict=True)]
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def _repeats(call: Callable[[], object], seconds: float) -> int:
    call()
    return max(1, min(1000, round(seconds / max(_time(call, 1), 1e-7))))


def _time(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
