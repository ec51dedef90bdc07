"""Keep random cells of both images: is their similarity the sum of the parts that are left?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.correlations import kendall, levelled, pearson, r_squared, spearman
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.masked_pairs import COVERED, Covered, Level
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.predicted_against_real import Kept, kept_of, predicted_against_real
from dmlviz.faithfulness.variants import variant

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
        "decomposition is right by construction; a cosine keeps its size when all cells shrink alike, and a squared "
        "distance counts the cells of one picture with each other, which no sum of parts does; methods without pairs "
        "are asked for the sum of their two maps"
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
    whole_number(count, "count", 3)
    one_of(side, "side", COVERED)
    if not 0 < p < 1:
        raise ValueError(f"p is the chance that a cell is kept, above 0 and below 1; got {p!r}")

    def draw(why: Decomposition, seeds: Sequence[int]) -> Kept:
        rng = np.random.default_rng(seeds)
        return kept_of(why, side, lambda grid: rng.random((count, *grid)) < p)

    return predicted_against_real(
        {"pixels": EVALUATOR, "features": EVALUATOR_OF_FEATURES},
        draw,
        faithfulness,
        gallery,
        method,
        pairs,
        level=level,
        count=count,
        p=p,
        side=side,
        fill=fill,
        batch_size=batch_size,
        baselines=baselines,
        seed=seed,
        progress=progress,
    )


coalitions_features = variant(
    coalitions,
    "coalitions_features",
    """`coalitions` at level "features": the cells of the last feature map that are not kept are set to zero.

    For average pooling and the dot product the exact decomposition has R2 and correlations of 1 up to rounding.

    Examples:
        >>> import dmlviz as dv
        >>> found = coalitions_features(dv.demo_gallery(), pairs=3, count=16, baselines=[], progress=False)
        >>> -1 <= found.headline.value <= 1
        True
    """,
    level="features",
    fill="mean",
)


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
