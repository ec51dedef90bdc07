"""Does the map's peak lie on the object? The pointing game."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.explanation import Side
from dmlviz.explanation.options import whole_number
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, evaluate, of_each_pair
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import cell_pixels, dilated, enlarged, peak_share
from dmlviz.faithfulness.maps_of_one_side import judging_maps_of, known_of
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import Truth

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="pointing",
    title="pointing game",
    question="Does the map's peak lie on the object, and not on the background?",
    figures=("peak on the object", "energy on the object"),
    rates=("peak on the object",),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    needs=("boxes",),
    caution=(
        "does not separate methods where objects stand in the middle: the same network untrained, the length of the "
        "features and a Gaussian in the centre point at the object nearly as often; to tell methods apart ask for "
        "one part (margin pointing, part transfer). The energy does tell a trained network from an untrained one"
    ),
    source=(
        "Zhang et al. 2018, pointing game: the peak within 15 pixels of the object, here within a square of "
        "`tolerance` pixels to each side, and cells that tie get their share; energy on the object: relevance mass "
        "accuracy, Arras et al. 2022, of the positive part. Both read the map through the geometry of the cells"
    ),
)


def pointing(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    truth: Any = None,
    side: Side = "query",
    tolerance: int = 2,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether the overall map of one image peaks on what the image shows.

    The object is all that is known to be visible of it: the whole subject of a drawn image, else the union of the
    known parts, else the known box. The peak is the centre of the highest cell, whatever its sign, placed by the
    geometry of the cells; where several are equally high, the share of them that lie on the object counts, so that a
    constant map gets the object's area in cells. Left out are maps that are not finite and images on which nothing of
    the object is seen.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: What is known of the pictures; see `truth_of`.
        side: Whose map and object: "query" or "gallery".
        tolerance: By how many pixels of the view to each side the object is grown for the peak, ≥ 0.
        baselines: Names of `BASELINES`; None for all of them.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "peak on the object", a rate; "energy on the object", the map's positive values on the object (not
        grown) over all positive ones, left out where there are none.

    Raises:
        ValueError: If neither parts nor boxes are known on that side, the method is unknown or does not suit the
            gallery or has no map of that side, or the side or tolerance is impossible.
        TypeError: If the tolerance is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> found = pointing(dv.demo_gallery(), pairs=5, baselines=["uniform"], progress=False)
        >>> 0 <= found.headline.value <= 1
        True
    """
    known = known_of(gallery, truth, side)
    tolerance = whole_number(tolerance, "tolerance", 0)

    @cache
    def object_on(image: int) -> tuple[np.ndarray, np.ndarray]:
        whole = known.whole(image)
        return whole, dilated(whole, tolerance)

    def judge(image: int, values: np.ndarray, geometry: CellGeometry | None) -> tuple[float, float]:
        whole, grown = object_on(image)
        if not whole.any():
            return float("nan"), float("nan")
        size = (whole.shape[0], whole.shape[1])
        pixels = cell_pixels((values.shape[0], values.shape[1]), size, geometry)
        return peak_share(values, grown, pixels), energy_on(enlarged(values, size, geometry), whole)

    measure = of_each_pair(EVALUATOR.figures, judging_maps_of(side, judge))
    said = {"side": side, "tolerance": tolerance}
    asked = Truth(known, known)
    return evaluate(EVALUATOR, measure, gallery, method, pairs, asked, baselines, seed, progress, **said)


def energy_on(pixels: np.ndarray, mask: np.ndarray) -> float:
    """The positive values of a map under a mask over all its positive values, 0 to 1.

    Args:
        pixels: (H, W) map in the pixels of the view.
        mask: (H, W) bool.

    Returns:
        NaN where no value is positive, or one is not finite.

    Examples:
        >>> import numpy as np
        >>> energy_on(np.array([[3.0, -5.0], [1.0, 0.0]]), np.array([[True, True], [False, False]]))
        0.75
    """
    positive = np.clip(pixels, 0, None)
    total = positive.sum()
    return float(positive[mask].sum() / total) if np.isfinite(pixels).all() and total > 0 else float("nan")
