"""Keep random cells of both images: is their similarity the sum of the parts that are left?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.correlations import kendall, levelled, pearson, r_squared, spearman
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.kept_parts import adds_over_both, kept_parts
from dmlviz.faithfulness.masked_pairs import COVERED, Covered, Level, MaskedPairs, promises_score
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import truth_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="coalitions",
    title="coalitions, of pixels",
    question="Of two pictures of which only random cells are kept, is the similarity the sum of the parts left?",
    figures=("Pearson", "Spearman", "Kendall", "R2", "fitted R2", "MAE"),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    caution=(
        "half a picture in scattered squares is unlike any the network was trained on, and a cell sees beyond its "
        "own pixels; a cosine keeps its size when all cells shrink alike, which no sum of parts does; "
        "methods without pairs know nothing of the interplay and are asked for the sum of their two maps"
    ),
    source=(
        "FIxLIP (Baniecki et al. 2025), coalition faithfulness with p = 0.5: R², MAE and correlations of the sum "
        "over the coalition with its actual value; unweighted here (no Shapley or Banzhaf weights). The headline is "
        "Pearson's correlation: it asks for the linear agreement that a sum of parts states, knows its direction, "
        "and is the same question for methods whose parts have a unit and for those whose parts have none"
    ),
)
EVALUATOR_OF_FEATURES = replace(
    EVALUATOR,
    name="coalitions-features",
    title="coalitions, of features",
    question="Of two feature maps of which only random cells are kept, is the similarity the sum of the parts left?",
    caution=(
        "no picture looks like this: it asks of the head alone. For average pooling and the dot product the exact "
        "decomposition is right by construction; a cosine keeps its size when all cells shrink alike, which no sum "
        "of parts does; methods without pairs are asked for the sum of their two maps"
    ),
)


def coalitions(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    level: Level = "pixels",
    count: int = 64,
    p: float = 0.5,
    side: Covered = "both",
    fill: Any = "mean",
    batch_size: int = 64,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether the similarity of what is kept of two images is the sum of the parts that are left.

    Coalitions are drawn by a seeded rule, the same for every method whose cells lie alike: each cell is kept with
    probability p. Predicted is Σ_{i∈A, j∈B} Dᵢⱼ and the offsets of what is kept; see `kept_parts` for methods without
    pairs. Real is the similarity when the network is run on what is kept.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        level: "pixels": the pixels nearest to the other cells are covered and the picture goes through the whole
            network; "features": the other cells of the last feature map are set to zero (see `embed_kept_cells`).
        count: How many coalitions of each pair, at least 3.
        p: The chance that a cell is kept, above 0 and below 1.
        side: "both": coalitions of cells of both images, so that every method is asked the same question; "query"
            or "gallery": of one, the other image whole, which a method without pairs can answer by one map.
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur" or a colour
            of three numbers from 0 to 255. Features are set to zero.
        batch_size: Pictures (masked feature maps) per forward pass.
        baselines: None: of random weights, the feature norm, the centre, uniform and random maps.
        seed: Of the choice of pairs and of the coalitions.
        progress: Whether to show a progress bar.

    Returns:
        Figures over the coalitions of a pair: "Pearson", "Spearman" and "Kendall" (tau-b), from −1 to 1; "R2", the
        plain share of the variance that the prediction explains, at most 1 and often below 0, and "MAE", the mean
        absolute error in units of the similarity: both NaN for methods whose parts promise no sum to this
        similarity; "fitted R2", after the best straight line, from 0 to 1, for every method. NaN where a pair says
        nothing; coalitions without a defined cosine are left out of their pair.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery, has no map of that side, or (features) has
            other cells than the last feature map; or an option is unknown or out of range.
        TypeError: If a count is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> found = coalitions(dv.demo_gallery(), pairs=3, count=16, baselines=["random"], progress=False)
        >>> found.headline.value > found.baselines["random"]["Pearson"].value
        True
    """
    evaluator = EVALUATOR if level == "pixels" else EVALUATOR_OF_FEATURES
    runs = MaskedPairs(gallery, level, fill, batch_size)
    whole_number(count, "count", 3)
    one_of(side, "side", COVERED)
    if not 0 < p < 1:
        raise ValueError(f"p is the chance that a cell is kept, above 0 and below 1; got {p!r}")

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        rows = []
        for query, item in chosen:
            why = explained.of(query, item)
            kept = random_coalitions(why, side, count, p, np.random.default_rng([seed, query, item]))
            real = runs.once(why, (query, item), partial(runs.similarities, why, query, item, *kept))
            known = promises_score(why, gallery, explained.is_baseline) and (
                side != "both" or adds_over_both(why)
            )
            rows.append(faithfulness(kept_parts(why, *kept), real, known))
            step()
        return dict(zip(evaluator.figures, np.array(rows).T, strict=True))

    options = {"level": level, "count": count, "p": p, "side": side, "fill": fill}
    truth = truth_of(gallery)
    return evaluate(evaluator, measure, gallery, method, pairs, truth, baselines, seed, progress, **options)


def coalitions_features(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    count: int = 64,
    p: float = 0.5,
    side: Covered = "both",
    batch_size: int = 64,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """`coalitions` at level "features": the cells of the last feature map that are not kept are set to zero.

    Args:
        gallery: As for `coalitions`.
        method: As for `coalitions`.
        pairs: As for `coalitions`.
        count: As for `coalitions`.
        p: As for `coalitions`.
        side: As for `coalitions`.
        batch_size: Masked feature maps through the head at once.
        baselines: As for `coalitions`.
        seed: As for `coalitions`.
        progress: As for `coalitions`.

    Returns:
        As `coalitions`. For average pooling and the dot product the exact decomposition has R2 and correlations of 1
        up to rounding.

    Raises:
        ValueError: As `coalitions`.
        TypeError: As `coalitions`.

    Examples:
        >>> import dmlviz as dv
        >>> found = coalitions_features(dv.demo_gallery(), pairs=3, count=16, baselines=[], progress=False)
        >>> -1 <= found.headline.value <= 1
        True
    """
    return coalitions(
        gallery,
        method,
        pairs,
        level="features",
        count=count,
        p=p,
        side=side,
        batch_size=batch_size,
        baselines=baselines,
        seed=seed,
        progress=progress,
    )


def random_coalitions(
    why: Decomposition, side: Covered, count: int, p: float, rng: np.random.Generator
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Masks of the query's and of the gallery image's kept cells, (count, h, w) bool; None for a whole side."""
    masks = [
        rng.random((count, *why.grid(own))) < p if side in (own, "both") else None  # type: ignore[arg-type]
        for own in ("query", "gallery")
    ]
    return masks[0], masks[1]


def faithfulness(predicted: np.ndarray, real: np.ndarray, promised: bool) -> tuple[float, ...]:
    """Pearson, Spearman, Kendall, R2, fitted R2, MAE of what is defined; fewer than 3 coalitions say nothing."""
    defined = np.isfinite(real) & np.isfinite(predicted)
    if defined.sum() < 3:
        return (float("nan"),) * 6
    told, seen = predicted[defined], real[defined]
    return (
        pearson(told, seen),
        spearman(levelled(told, 5), levelled(seen, 5)),
        kendall(levelled(told, 5), levelled(seen, 5)),
        r_squared(seen, told) if promised else float("nan"),
        r_squared(seen, told, fitted=True),
        float(np.abs(told - seen).mean()) if promised else float("nan"),
    )
