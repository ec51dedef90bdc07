"""What each evaluator of explanations costs for one pair, in forward passes of one image."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature

from benchmarks.measuring import duel
from benchmarks.methods import one_pass
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import Explained, truth_of
from dmlviz.faithfulness.evaluators import EVALUATORS, evaluator_named
from dmlviz.images import birds
from dmlviz.retrieval import Gallery

VARIANTS: dict[str, tuple[dict, ...]] = {
    "insertion": ({}, {"unit": "cells", "fill": "mean"}, {"fill": "road"}),
}
"""Evaluators that are measured with other options as well as they come."""


@dataclass(frozen=True)
class EvaluatorCost:
    """One line of the results.

    Attributes:
        evaluator: its name, and the options it was run with.
        milliseconds: median time of one pair, its explanation at hand, without baselines.
        passes: the same in forward passes of one image, timed in turns with it; median over the rounds.
        low, high: quartiles over the rounds.
        unbatched: how many times as long one picture per forward pass takes; None where it has no batches.
        said: why it was not run; "" where it was.
        rounds: how many rounds were timed; 0 where it was not run.
    """

    evaluator: str
    milliseconds: float
    passes: float
    low: float
    high: float
    unbatched: float | None
    said: str
    rounds: int


def evaluator_costs(quick: bool) -> Iterator[EvaluatorCost]:
    """Every registered evaluator, asked of the exact decomposition on birds and the shipped network."""
    gallery = Gallery.build(birds(families=2, per_class=4), birds_embedder(), progress=False)
    explained, truth = Explained(gallery), truth_of(gallery)
    chosen = [(0, 1), (5, 6)] if quick else [(0, 1), (5, 6), (10, 11), (15, 14)]
    rounds = 3 if quick else 7
    forward = one_pass(gallery.embedder, gallery.images[0])
    for name in EVALUATORS:
        evaluator, ask = evaluator_named(name)
        for options in VARIANTS.get(name, ({},)):
            asked = ", ".join((name, *(f"{key} = {value}" for key, value in options.items())))
            if why := evaluator.inapplicable(truth, explained):
                yield EvaluatorCost(asked, 0.0, 0.0, 0.0, 0.0, None, why, 0)
                continue

            def once(ask=ask, options=options, **more):
                return ask(gallery, explained, chosen, baselines=(), progress=False, **options, **more)

            found = duel(asked, "", once, forward, rounds=rounds)
            unbatched = None
            if "batch_size" in signature(ask).parameters:
                unbatched = duel(asked, "", lambda once=once: once(batch_size=1), once, rounds=3).ratio
            per_pair = [x / len(chosen) for x in (found.ours_ms, found.ratio, found.low, found.high)]
            yield EvaluatorCost(asked, *per_pair, unbatched, "", found.rounds)
