"""Does the similarity come and go with the pixels that the map says it comes from?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.decomposition import Side
from dmlviz.faithfulness.covered_curves import (
    Recipe,
    Way,
    curves_of,
    full_similarities,
    mean_height,
    normalised,
)
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.pixel_order import Unit
from dmlviz.faithfulness.truth import truth_of
from dmlviz.faithfulness.variants import variant

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

INSERTION = Evaluator(
    name="insertion",
    title="insertion",
    question="Does the similarity come back soon, when the pixels come back in the order of the map?",
    figures=("auc", "raw", "relative"),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    caution=(
        "only the order of the pixels counts, not the size of the map's values; covered pictures are unlike any that "
        "the network has seen; maps that know nothing of the pair come close, so alone it does not separate methods; "
        "under max pooling the runner-up takes over where the maximum is deleted"
    ),
    source=(
        "protocol: Plummer et al. 2020 (SANE), insertion and deletion after Petsiuk et al. 2018 (RISE), for a "
        "similarity; fill 'road': Rong et al. 2022. Here areas run from 0 to 1, not to 100; equal pixels come in the "
        "order of a seeded random map; raw and relative means stand beside the normalised area"
    ),
)
DELETION = replace(
    INSERTION,
    name="deletion",
    title="deletion",
    question="Does the similarity go soon, when the pixels are taken away in the order of the map?",
    better="lower",
)


def _with_pixels_moved(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    way: Way = "insertion",
    steps: int | None = None,
    fill: Any = "white",
    side: Side = "query",
    unit: Unit = "pixels",
    batch_size: int = 64,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask how soon a similarity comes or goes with the pixels of a picture, highest value of the map first.

    Args:
        gallery: The gallery.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        way: "insertion" or "deletion".
        steps: How many thresholds; None: 101 for pixels, 13 for cells (12 equal steps), 11 for the fill "road".
        fill: What covered pixels become: "white" (as published), "mean" (the mean colour of the view), "blur",
            "grey", a colour of three numbers from 0 to 255, or "road", noisy linear imputation from the pixels that
            are left (`dmlviz.faithfulness.noisy_linear`): it leaves no edges, and takes about ten times as
            long as the forward passes of small pictures.
        side: Whose picture is covered, "query" or "gallery".
        unit: "pixels", or "cells": whole cells come or go, each pixel with the cell whose centre is nearest.
        batch_size: Pictures per forward pass.
        baselines: Names of `BASELINES` to ask as well; None for all of them.
        seed: Of the choice of pairs, of the order of equal values and of the noise of "road".
        progress: Whether to show a progress bar.

    Returns:
        Figures "auc", the area under the pair's curve (trapezoids) after its minimum is taken away and it is divided
        by its maximum, 0 to 1, NaN where the curve is flat; "raw", the area under the curve as it is, in units of the
        similarity; "relative", the same over the similarity of the whole pictures, NaN where that is not positive
        (so of minus a squared distance always).
        The normalised area says nothing of how far the similarity moved; the raw one does.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery or has no map of that side; if an option is
            unknown; if a covered picture's embedding is not finite.
        TypeError: If a count is no whole number.
    """
    recipe = Recipe(steps, fill, side, unit, batch_size, seed)

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        curves = curves_of(explained, chosen, way, recipe, step)
        full, raw = full_similarities(gallery, chosen), mean_height(curves, recipe.thresholds)
        return {
            "auc": mean_height(normalised(curves), recipe.thresholds),
            "raw": raw,
            "relative": np.divide(raw, full, out=np.full_like(raw, np.nan), where=full > 0),
        }

    evaluator = INSERTION if way == "insertion" else DELETION
    said = {"steps": len(recipe.thresholds), "fill": fill, "side": side, "unit": unit}
    truth = truth_of(gallery)
    return evaluate(evaluator, measure, gallery, method, pairs, truth, baselines, seed, progress, **said)


insertion = variant(
    _with_pixels_moved,
    "insertion",
    """Ask how soon a similarity comes back when pixels come back, highest value of the map first.

    The other picture stays whole; its embedding is the reference. At each threshold t from 0 to 1 the
    n = max(round(t·N), 1) pixels of highest value are kept and all others covered; the similarity of that picture
    to the reference is a point of the pair's curve. So the first point keeps one pixel, and the last all.

    The map is enlarged to the view's pixels by the geometry of the cells, and signs are kept. Equal values come in
    the order of a random map drawn for each pair, so that a map that says nothing gets what a random map gets (and
    not what pixels strewn one by one get: on the birds they bring deletion down to .13 by their specks alone, as far
    as the best maps do).

    Examples:
        >>> import dmlviz as dv
        >>> found = insertion(dv.demo_gallery(), pairs=4, steps=11, baselines=["random"], progress=False)
        >>> found.headline.value > found.baselines["random"]["auc"].value
        True
    """,
    way="insertion",
)
deletion = variant(
    _with_pixels_moved,
    "deletion",
    """Ask how soon a similarity goes when pixels are covered, highest value of the map first.

    As `insertion`, with the n pixels of highest value covered and all others kept: the first point lacks one pixel,
    the last one all of them. Lower is better.

    Examples:
        >>> import dmlviz as dv
        >>> found = deletion(dv.demo_gallery(), pairs=4, steps=11, baselines=["random"], progress=False)
        >>> found.headline.value < found.baselines["random"]["auc"].value
        True
    """,
    way="deletion",
)
