"""Does the map find the object? The box round its strongest region, held against the known box."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.explanation import Side
from dmlviz.faithfulness.connected import components, overlap
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate, rows_of
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import enlarged
from dmlviz.faithfulness.maps_of_one_side import judging_maps_of, known_of
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.pointing import energy_on
from dmlviz.faithfulness.truth import Box, Truth

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

LEAST_OVERLAP = 0.5
_LOW = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04)
THRESHOLDS: tuple[float, ...] = (*_LOW, *(i / 20 for i in range(1, 20)))
"""What the best threshold is chosen from, in shares of the maximum: 0.05, 0.10, ... 0.95, and seven lower ones."""

EVALUATOR = Evaluator(
    name="localisation",
    title="localisation",
    question="Does the box round the map's strongest region fit the object's known box?",
    figures=("IoU ≥ 0.5", "IoU ≥ 0.5, best threshold", "mean IoU", "energy inside"),
    rates=("IoU ≥ 0.5", "IoU ≥ 0.5, best threshold"),
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", "random"),
    needs=("boxes",),
    caution=(
        "does not separate methods where objects fill the view or stand in its middle: the whole view (uniform), the "
        "same network untrained, a Gaussian in the centre and the length of the features score as high as a true "
        "map, or higher where the map is true to a few small parts; read it beside them. The best threshold is "
        "chosen on the very pairs that are judged, which flatters every map, and may be so low that the box is the "
        "whole view"
    ),
    source=(
        "Zhou et al. 2016, §3.2 (threshold at 20 % of the maximum, largest component, its box), with IoU ≥ 0.5 as in "
        "Shen et al., Dist-CAM, §3, which states no threshold; best threshold: MaxBoxAcc, Choe et al. 2020, here of "
        "the positive part and 26 thresholds, where they rescale each map to 0 to 1; energy inside: Chen et al. "
        "2020. Maps are enlarged through the geometry of the cells, bilinear, not resized"
    ),
)


def localisation(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    truth: Any = None,
    side: Side = "query",
    threshold: float = 0.2,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether the overall map of one image finds the box of what the image shows.

    The map is enlarged to the pixels of the view through the geometry of its cells. Pixels of at least `threshold`
    times the map's maximum are kept; the box round the largest 8-connected component (the mean over those that tie)
    is held against the known box.

    What special maps give: a constant map above 0 keeps every pixel, so its box is the whole view. A map without a
    value above 0 says of nothing that it speaks for the match: it has no box, is a miss with an IoU of 0, and its
    energy is left out. A map that is not finite, or an image whose box was cropped away, is left out.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: What is known of the pictures; see `truth_of`.
        side: Whose map and box: "query" or "gallery".
        threshold: Share of the map's maximum, above 0, at most 1.
        baselines: Names of `BASELINES`; None for all of them.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "IoU ≥ 0.5", the rate of boxes whose intersection with the known one is at least half their union, at
        `threshold`; "IoU ≥ 0.5, best threshold", the same at the one threshold, of `threshold` and `THRESHOLDS`,
        that is best over all pairs, for each method its own (optimistic: its interval does not cover the choice);
        "mean IoU" at `threshold`; "energy inside", the positive values inside the known box over all positive ones.

    Raises:
        ValueError: If no boxes are known on that side, the method is unknown or does not suit the gallery or has no
            map of that side, or the side or threshold is impossible.

    Examples:
        >>> import dmlviz as dv
        >>> found = localisation(dv.demo_gallery(), pairs=5, baselines=["uniform"], progress=False)
        >>> 0 <= found.headline.value <= 1
        True
    """
    known = known_of(gallery, truth, side)
    thresholds = thresholds_with(threshold)
    box_of = cache(known.box)

    def judge(image: int, values: np.ndarray, geometry: CellGeometry | None) -> list[float]:
        pixels, box = enlarged(values, known.embedder.input_size, geometry), box_of(image)
        overlaps = overlaps_at(pixels, thresholds, box)
        return [float(overlaps[0].mean()), _energy_inside(pixels, box), *map(hit, overlaps)]

    trial = judging_maps_of(side, judge)

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        rows = rows_of(trial, explained, chosen, step)
        shared, energy, hits = rows[:, 0], rows[:, 1], rows[:, 2:]
        return dict(zip(EVALUATOR.figures, (hits[:, 0], best_column(hits), shared, energy), strict=True))

    said = {"side": side, "threshold": threshold}
    asked = Truth(known, known)
    return evaluate(EVALUATOR, measure, gallery, method, pairs, asked, baselines, seed, progress, **said)


def thresholds_with(threshold: float) -> np.ndarray:
    """The threshold that was asked for, then `THRESHOLDS`: (T,), shares of a map's maximum.

    Raises:
        ValueError: If it is none.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a share of the map's maximum, above 0 and at most 1; got {threshold}")
    return np.array([threshold, *THRESHOLDS])


def overlaps_at(pixels: np.ndarray, thresholds: np.ndarray, box: Box | None) -> list[np.ndarray]:
    """How well the map's box fits at each threshold.

    Args:
        pixels: (H, W) map in the pixels of the view.
        thresholds: (T,), shares of its maximum.
        box: The known box; None where it is not on the view.

    Returns:
        For each threshold the IoU of each largest component's box: one, more where several tie, 0 where the map has
        no value above 0; NaN where there is no box or the map is not finite.
    """
    highest = pixels.max()
    if box is None or not np.isfinite(pixels).all():
        return [np.array([np.nan])] * len(thresholds)
    if highest <= 0:
        return [np.zeros(1)] * len(thresholds)
    found = components(pixels >= (thresholds * highest)[:, None, None])
    return [overlap(found.largest(layer), box) for layer in range(len(thresholds))]


def best_column(hits: np.ndarray) -> np.ndarray:
    """Of (n, T) hits by threshold the column with the highest mean, the first of those that tie; NaN is left out."""
    counts = np.isfinite(hits[:, 0])
    rates = hits[counts].mean(axis=0) if counts.any() else np.zeros(hits.shape[1])
    return np.asarray(hits[:, int(np.argmax(rates))])


def hit(ious: np.ndarray) -> float:
    """The share of boxes that fit by at least a half; NaN where an IoU is."""
    return float((ious >= LEAST_OVERLAP).mean()) if np.isfinite(ious).all() else float("nan")


def _energy_inside(pixels: np.ndarray, box: Box | None) -> float:
    if box is None:
        return float("nan")
    inside = np.zeros(pixels.shape, dtype=bool)
    inside[box[0] : box[2], box[1] : box[3]] = True
    return energy_on(pixels, inside)
