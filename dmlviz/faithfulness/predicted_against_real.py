"""Take cells of a pair away, many times over: is what a map says is left what the network says?"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import SIDES, Decomposition
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, evaluate, of_each_pair
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.kept_parts import adds_over_both, kept_parts
from dmlviz.faithfulness.masked_pairs import Covered, Level, MaskedPairs
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import truth_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Kept = tuple[np.ndarray | None, np.ndarray | None]
"""Which cells are kept, (N, h, w) bool of the query and of the gallery image; None for one that stays whole."""


def predicted_against_real(
    evaluators: Mapping[Level, Evaluator],
    draw: Callable[[Decomposition, Sequence[int]], Kept],
    figures: Callable[[np.ndarray, np.ndarray, bool], Sequence[float]],
    gallery: "Gallery",
    method: "str | Explained",
    pairs: "int | Pairs | Sequence[tuple[int, int]]",
    *,
    level: Level,
    fill: Any,
    batch_size: int,
    baselines: Sequence[str] | None,
    seed: int,
    progress: bool,
    **options: Any,
) -> Evaluation:
    """Hold what a method predicts for masked pairs against the similarity of the masked pairs.

    Args:
        evaluators: What is asked at each level.
        draw: (why, seeds) -> which cells are kept, N times; `seeds` are of the question and the pair.
        figures: (predicted (N,), real (N,), promised) -> the evaluator's figures of one pair. Predictions are those
            of `kept_parts`, real similarities those of `MaskedPairs`; promised is whether the parts that are left are
            meant to add up to the very similarity that the gallery ranks by.
        gallery: The gallery.
        method: A method's name, or explanations that are there already.
        pairs: Which pairs; a number chooses so many by the usual rule.
        level: See `MaskedPairs`.
        fill: See `MaskedPairs`.
        batch_size: See `MaskedPairs`.
        baselines: Names of baselines to ask as well; None for those of the evaluator.
        seed: Of the choice of pairs and of the masks.
        progress: Whether to show a progress bar.
        **options: What else was asked for; kept with the result.

    Raises:
        ValueError: If the question cannot be asked of this gallery or method, or an option is unknown.
        TypeError: If a count is no whole number.
    """
    runs = MaskedPairs(gallery, level, fill, batch_size)
    evaluator = evaluators[level]

    def trial(explained: Explained, query: int, item: int) -> Sequence[float]:
        why = explained.of(query, item)
        kept = draw(why, [seed, query, item])
        promised = why.promises and not explained.is_baseline and why.kind == gallery.similarity
        promised = promised and (adds_over_both(why) or any(side is None for side in kept))
        return figures(kept_parts(why, *kept), runs.similarities(why, query, item, *kept), promised)

    measure = of_each_pair(evaluator.figures, trial)
    said = {"level": level, **options, "fill": fill}
    truth = truth_of(gallery)
    return evaluate(evaluator, measure, gallery, method, pairs, truth, baselines, seed, progress, **said)


def kept_of(why: Decomposition, side: Covered, draw: Callable[[tuple[int, int]], np.ndarray]) -> Kept:
    """Draw which cells are kept of one side or of both, the query first.

    Args:
        why: The pair's explanation, whose cells are meant.
        side: Which picture loses cells.
        draw: From the (h, w) of a map to (N, h, w) bool.
    """
    kept = [draw(why.grid(own)) if side in (own, "both") else None for own in SIDES]  # type: ignore[arg-type]
    return kept[0], kept[1]
