"""Cover a box of an image: does the similarity fall by what the map says lies there?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.correlations import levelled, pearson, spearman
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.masked_pairs import COVERED, Covered, Level
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.predicted_against_real import Kept, kept_of, predicted_against_real
from dmlviz.faithfulness.variants import variant

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="cover-up",
    title="cover-up, of pixels",
    question="When a box of the picture is covered, does the similarity fall by what the map says lies there?",
    figures=("correlation", "rank correlation", "mean error"),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    caution=(
        "a covered picture is unlike any the network was trained on, and a cell sees beyond its own pixels: part of "
        "what a map misses here is context that leaks and the fill itself; larger boxes take away more, so "
        "'uniform' does well by area alone (size= makes them alike); on drawn birds and places "
        "the feature norm comes near"
    ),
    source=(
        "cover-up of Zhu et al. 2021 (Visual Explanation for Deep Metric Learning), read as predicted against real: "
        "boxes of cells drawn at random, the correlation taken over the boxes of one pair and averaged over pairs"
    ),
)
EVALUATOR_OF_FEATURES = replace(
    EVALUATOR,
    name="cover-up-features",
    title="cover-up, of features",
    question="When a box of features is set to zero, does the similarity fall by what the map says lies there?",
    caution=(
        "no picture looks like this: it asks of the head alone. For average pooling and the dot product the exact "
        "decomposition is right by construction; the cosine divides by a length that changes, and a squared distance "
        "counts the cells of one picture with each other, which no sum of parts foresees; larger boxes take away "
        "more, so 'uniform' does well by area alone (size= makes them alike)"
    ),
)


def cover_up(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    level: Level = "pixels",
    boxes: int = 16,
    side: Covered = "query",
    size: int | None = None,
    fill: Any = "mean",
    batch_size: int = 64,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether what a map loses in a box is what the similarity loses when the box is covered.

    Boxes are drawn by a seeded rule, the same for every method whose cells lie alike: each side from 1 to half the
    map, rounded up, anywhere. Predicted is the fall that the map states, the sum of its parts in the box. Under the
    cosine the lengths of the embeddings change too, and under "l2" what is taken away is missing from the other
    cells' share of the own length; the prediction does not foresee that, since the map does not say it. Real is
    the fall of the similarity when the network is run.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        level: "pixels": the pixels nearest to the box's cells are covered and the picture goes through the whole
            network; "features": the box's cells of the last feature map are set to zero (see `embed_kept_cells`).
        boxes: How many for each pair, at least 3.
        side: Which picture is covered: "query", "gallery", or "both", a box on each. A method without pairs
            predicts for both as `kept_parts` says.
        size: None: boxes of all sizes, so that a map does well by knowing the area alone; a number: boxes of so many
            cells to each side (at most the map's), so that only the place tells them apart.
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur" or a colour
            of three numbers from 0 to 255. Features are set to zero.
        batch_size: Pictures (masked feature maps) per forward pass.
        baselines: None: of random weights, the feature norm, the centre, uniform and random maps.
        seed: Of the choice of pairs and of the boxes.
        progress: Whether to show a progress bar.

    Returns:
        Figures "correlation" (Pearson's of predicted and real falls over the boxes of a pair, from −1 to 1), "rank
        correlation" (Spearman's; falls that are equal to 5 digits of the largest are ties) and "mean error" (mean
        |predicted − real| in units of the similarity, ≥ 0; NaN for methods whose parts promise no sum to this
        similarity). NaN where all boxes fall alike; boxes without a defined cosine are left out of a pair.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery, has no map of that side, or (features) has
            other cells than the last feature map; or an option is unknown.
        TypeError: If a count is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> found = cover_up(dv.demo_gallery(), pairs=4, baselines=["random"], progress=False)
        >>> found.headline.value > found.baselines["random"]["correlation"].value > 0.3  # by area alone
        True
    """
    whole_number(boxes, "boxes", 3)
    one_of(side, "side", COVERED)
    if size is not None:
        whole_number(size, "size", 1)

    def draw(why: Decomposition, seeds: Sequence[int]) -> Kept:
        rng = np.random.default_rng(seeds)
        return kept_of(why, side, lambda grid: whole_and_without(random_boxes(grid, boxes, rng, size)))

    return predicted_against_real(
        {"pixels": EVALUATOR, "features": EVALUATOR_OF_FEATURES},
        draw,
        lambda left, real, promised: agreement(left[0] - left[1:], real[0] - real[1:], promised),
        gallery,
        method,
        pairs,
        level=level,
        boxes=boxes,
        side=side,
        size=size,
        fill=fill,
        batch_size=batch_size,
        baselines=baselines,
        seed=seed,
        progress=progress,
    )


cover_up_features = variant(
    cover_up,
    "cover_up_features",
    """`cover_up` at level "features": boxes of the last feature map are set to zero.

    For average pooling and the dot product the exact decomposition has correlation 1 and error 0 up to rounding.

    Examples:
        >>> import dmlviz as dv
        >>> found = cover_up_features(dv.demo_gallery(), pairs=4, baselines=[], progress=False)
        >>> found.headline.value > 0.8
        True
    """,
    level="features",
    fill="mean",
)


def whole_and_without(boxes: np.ndarray) -> np.ndarray:
    """Which cells are kept, (1 + N, h, w) bool: first all of them, then those outside each of N boxes."""
    return np.concatenate([np.ones_like(boxes[:1]), ~boxes])


def random_boxes(
    grid: tuple[int, int], count: int, rng: np.random.Generator, size: int | None = None
) -> np.ndarray:
    """Draw boxes of cells.

    Args:
        grid: (h, w) in cells.
        count: How many.
        rng: Where the random numbers come from.
        size: Cells to each side, at most the map's; None to draw each side from 1 to half the map, rounded up.

    Returns:
        (count, h, w) bool, True inside. Sizes and places are uniform.
    """
    inside = []
    for n in grid:
        length = rng.integers(1, -(-n // 2) + 1, size=count) if size is None else np.full(count, min(size, n))
        start = rng.integers(0, n - length + 1)
        along = np.arange(n)
        inside.append((along >= start[:, None]) & (along < (start + length)[:, None]))
    return np.asarray(inside[0][:, :, None] & inside[1][:, None, :])


def agreement(predicted: np.ndarray, real: np.ndarray, promised: bool) -> tuple[float, float, float]:
    """Pearson's and Spearman's correlation, and the mean error where a sum was promised; fewer than 3 say nothing."""
    defined = np.isfinite(real) & np.isfinite(predicted)
    if defined.sum() < 3:
        return (float("nan"),) * 3
    told, seen = predicted[defined], real[defined]
    error = float(np.abs(told - seen).mean()) if promised else float("nan")
    return pearson(told, seen), spearman(levelled(told, 5), levelled(seen, 5)), error
