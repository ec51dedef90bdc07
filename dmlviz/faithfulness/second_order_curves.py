"""Take cells away from both images, in the order of their importance together: how fast does the similarity fall?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.options import whole_number
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained, as_explained
from dmlviz.faithfulness.kept_parts import kept_parts
from dmlviz.faithfulness.masked_pairs import Level, MaskedPairs
from dmlviz.faithfulness.pairs import Pairs, as_pairs
from dmlviz.faithfulness.predicted_against_real import predicted_against_real
from dmlviz.faithfulness.removal import kept_along, removal_order
from dmlviz.faithfulness.variants import variant

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="second-order-curves",
    title="second-order curves, of pixels",
    question="Does the similarity fall faster when the most important cells of both pictures go first than last?",
    figures=("area in similarity", "area", "predicted area"),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    caution=(
        "a picture with squares missing is unlike any the network was trained on; two pictures of which nothing is "
        "left look alike, so the curves may end above where they start: 'area' and 'predicted area' leave such pairs "
        "out and count them; only the order of the cells is asked about, not the map's values, and a method with "
        "pairs may empty one picture first: random weights show what that alone earns"
    ),
    source=(
        "FIxLIP (Baniecki et al. 2025), insertion/deletion of both inputs, there of image and text: the area "
        "between the curves of least and most important first. Here cells go one by one by greedy choice; the "
        "headline is not normalised, since between two images the empty pair need not be less similar than the whole"
    ),
)
EVALUATOR_OF_FEATURES = replace(
    EVALUATOR,
    name="second-order-curves-features",
    title="second-order curves, of features",
    question="Does the similarity fall faster when the most important features of both images go first than last?",
    caution=(
        "no picture looks like this: it asks of the head alone; two feature maps of which nothing is left are both "
        "the head's offset, at no distance and of cosine 1, or (without an offset) 0 by convention: 'area' and "
        "'predicted area' leave out pairs that end above where they start, and count them; only the order of the "
        "cells is asked about, and a method with pairs may empty one image first: random weights show what that "
        "alone earns"
    ),
)


@dataclass(frozen=True, eq=False)
class RemovalCurves:
    """How the similarity of a pair falls as cells of both images go.

    Attributes:
        gone: (n,) float64, the share of both images' cells that is gone, from 0 to 1.
        most_first: (n,) float64, the real similarity, the most important cells first.
        least_first: (n,) float64, the same, the least important first.
        predicted_most_first: (n,) float64, the sum of the parts left, in units of the explained similarity.
        predicted_least_first: (n,) float64, the same.
    """

    gone: np.ndarray
    most_first: np.ndarray
    least_first: np.ndarray
    predicted_most_first: np.ndarray
    predicted_least_first: np.ndarray

    @property
    def area(self) -> float:
        """The area between the real curves, least first above most first: positive where the order is right."""
        return area_between(self.gone, self.least_first, self.most_first)

    @property
    def normalised_area(self) -> float:
        """`area` over the whole pair's lead on the empty one; NaN where it leads by less than 5 % of itself."""
        return self.area / lead(self.most_first[0], self.most_first[-1])

    @property
    def normalised_predicted_area(self) -> float:
        """The same of the predicted curves."""
        told = area_between(self.gone, self.predicted_least_first, self.predicted_most_first)
        return told / lead(self.predicted_most_first[0], self.predicted_most_first[-1])


def removal_curves(
    gallery: "Gallery",
    query: int,
    item: int,
    method: "str | Explained" = "decomposition",
    *,
    level: Level = "pixels",
    steps: int = 12,
    fill: Any = "mean",
    batch_size: int = 64,
    seed: int = 0,
) -> RemovalCurves:
    """The curves of one pair, predicted beside real.

    Args:
        gallery: The gallery.
        query: Id of a query.
        item: Id of a gallery image.
        method: A name of `METHODS` or `BASELINES`, or an `Explained`.
        level: As for `second_order_curves`.
        steps: As for `second_order_curves`.
        fill: As for `second_order_curves`.
        batch_size: As for `second_order_curves`.
        seed: Decides between cells that are worth exactly as much.

    Returns:
        The four curves.

    Raises:
        ValueError: As `second_order_curves`.
        TypeError: As `second_order_curves`.
        IndexError: If an id is not in the gallery.

    Examples:
        >>> import dmlviz as dv
        >>> curves = removal_curves(dv.demo_gallery(), 0, 1, steps=4)
        >>> curves.gone.tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        >>> bool(curves.least_first[0] == curves.most_first[0] > curves.most_first[1])
        True
    """
    whole_number(steps, "steps", 2)
    ((query, item),) = as_pairs(gallery, [(query, item)])
    runs = MaskedPairs(gallery, level, fill, batch_size)
    why = as_explained(gallery, method).of(query, item)
    kept = both_orders(why, steps, [seed, query, item])
    return curves_of(kept_parts(why, *kept), runs.similarities(why, query, item, *kept))


def second_order_curves(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    level: Level = "pixels",
    steps: int = 12,
    fill: Any = "mean",
    batch_size: int = 64,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether the similarity falls faster when the cells that a method calls important go first.

    Cells of both images together go one after the other, each time the one whose loss leaves the smallest sum of
    parts (most important first) or the largest (least important first); see `removal_order`. The network is run at
    even steps. The area between the two curves is the mean lead of the second over the first.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        level: "pixels": the pixels nearest to the cells that are gone are covered and the picture goes through the
            whole network; "features": these cells of the last feature map are set to zero (see `embed_kept_cells`).
        steps: In how many even steps the cells go, at least 2.
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur" or a colour
            of three numbers from 0 to 255. Features are set to zero.
        batch_size: Pictures (masked feature maps) per forward pass.
        baselines: None: of random weights, the feature norm, the centre, uniform and random maps.
        seed: Of the choice of pairs and between cells that are worth exactly as much.
        progress: Whether to show a progress bar.

    Returns:
        Figures "area in similarity", the area between the real curves over the share of cells gone, in units of the
        similarity: 0 by chance, negative where the order is wrong; "area", the same over the whole pair's lead on
        the empty one, (p − p_empty)/(p_full − p_empty); and "predicted area", the same of the curves that the parts
        left predict. The last two are NaN where that lead is below 5 % of the larger of both values, which are left
        out and counted. An image of which nothing is left has no cosine where its head has no offset; it counts as 0.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery, has no map of one side, or (features) has
            other cells than the last feature map; or an option is unknown.
        TypeError: If a count is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> found = second_order_curves(dv.demo_gallery(), pairs=4, baselines=["uniform"], progress=False)
        >>> found.headline.value > found.baselines["uniform"]["area in similarity"].value
        True
    """
    whole_number(steps, "steps", 2)

    def areas(predicted: np.ndarray, real: np.ndarray, promised: bool) -> tuple[float, float, float]:
        found = curves_of(predicted, real)
        return found.area, found.normalised_area, found.normalised_predicted_area

    return predicted_against_real(
        {"pixels": EVALUATOR, "features": EVALUATOR_OF_FEATURES},
        lambda why, seeds: both_orders(why, steps, seeds),
        areas,
        gallery,
        method,
        pairs,
        level=level,
        steps=steps,
        fill=fill,
        batch_size=batch_size,
        baselines=baselines,
        seed=seed,
        progress=progress,
    )


second_order_curves_features = variant(
    second_order_curves,
    "second_order_curves_features",
    """`second_order_curves` at level "features": cells of the last feature maps are set to zero.

    For average pooling and the dot product the predicted curves of the exact decomposition are the real ones up to
    rounding.

    Examples:
        >>> import dmlviz as dv
        >>> found = second_order_curves_features(dv.demo_gallery(), pairs=4, baselines=[], progress=False)
        >>> found.headline.value > 0
        True
    """,
    level="features",
    fill="mean",
)


def area_between(x: np.ndarray, above: np.ndarray, below: np.ndarray) -> float:
    """Area between two curves by trapezoids, negative where `above` lies below.

    Examples:
        >>> import numpy as np
        >>> area_between(np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))
        0.5
    """
    gap = np.asarray(above - below, np.float64)
    return float(((gap[1:] + gap[:-1]) / 2 * np.diff(x)).sum())


def lead(full: float, empty: float, least: float = 0.05) -> float:
    """By how much the whole pair leads on the empty one; NaN where not by `least` of the larger of both."""
    by = float(full - empty)
    return by if by > least * max(abs(full), abs(empty)) else float("nan")


def both_orders(why: Decomposition, steps: int, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of both images, most important first and then least: (2·(steps + 1), h, w) bool each."""
    kept = [
        kept_along(
            removal_order(why, first, np.random.default_rng(seeds)),
            steps,
            why.grid("query"),
            why.grid("gallery"),
        )
        for first in (True, False)
    ]
    return np.concatenate([one[0] for one in kept]), np.concatenate([one[1] for one in kept])


def curves_of(predicted: np.ndarray, real: np.ndarray) -> RemovalCurves:
    """The curves of a pair from its similarities under the masks of `both_orders`, predicted and real."""
    told = predicted.reshape(2, -1)
    seen = np.where(np.isnan(real), 0.0, real).reshape(2, -1)  # nothing left: no direction, nothing in common
    steps = told.shape[1] - 1
    return RemovalCurves(np.arange(steps + 1) / steps, seen[0], seen[1], told[0], told[1])
