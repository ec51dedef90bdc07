"""Does the margin map peak on the one part in which two images differ?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.margin import margin_between
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate, with_own_baselines
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import cell_pixels, dilated, enlarged, peak_share
from dmlviz.faithfulness.opponents import AGAINST, Against, Opponents, siblings, swapped
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import SideTruth, truth_of
from dmlviz.faithfulness.variants import variant

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_FIGURES = ("peak", "part")
OWN_BASELINES = ("overall map",)
"""Baselines that are measured along with the method."""

EVALUATOR = Evaluator(
    name="margin-pointing",
    title="margin pointing, sibling",
    question=(
        "Asked why the right one and not a sibling that differs in one part, does the margin map point at that part?"
    ),
    figures=_FIGURES,
    rates=_FIGURES,
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform"),
    needs=("parts", "kin in the gallery", "linear"),
    caution=(
        "a network may tell two images apart by more than the part in which they differ, or not at all: then an "
        "exact map misses, too. Maps of one image only (feature norm, centre, uniform) have no margin and are taken "
        "as they are"
    ),
    headline=True,
    source=(
        "after the contrastivity of FunnyBirds (Hesse, Schaub-Meyer and Roth 2023) and the pointing game (Zhang et "
        "al. 2016), for the margin of two similarities; the part of most mass counts the map's positive values alone"
    ),
    own_baselines=OWN_BASELINES,
)
SWAPPED = replace(
    EVALUATOR,
    name="margin-pointing-swapped",
    title="margin pointing, swapped part",
    question=(
        "Asked why the right one and not the same picture with one part swapped, does the margin map point at it?"
    ),
    needs=("parts of both sides", "redrawing the gallery", "linear"),
)


def margin_pointing(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    truth: Any = None,
    against: Against = "sibling",
    grown: int = 2,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask "why the right one and not the other?", where the other differs from the right one in one known part.

    Of a pair (query q, right item g) the other, n, is the image that q ranks best among those of siblings of g that
    differ from it in exactly one part ("sibling"), or g itself drawn again with one part swapped ("swapped"). The map
    of S(q, g) − S(q, n) on q should point at that part of q.

    Left out, and counted by `left_out`, is a pair whose query hides that part (or whose g, where it is swapped), one
    of two labels, and one without a sibling.

    Args:
        gallery: A gallery of pictures whose parts are known on the queries' side, and in which parts two images
            differ on the other: the drawn ones, say. Of places the parts are the objects; one that stands elsewhere
            is looked for where the query has it.
        method: A method of `METHODS` whose maps may be subtracted (`Method.linear`), or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: See `truth_of`.
        against: "sibling" or "swapped".
        grown: By how many pixels of the view the part's mask is grown to each side before it counts as hit.
        baselines: Names of baselines to ask as well: of `BASELINES`, and "overall map"; by default random weights,
            feature norm, centre, uniform and overall map.
        seed: Of the choice of pairs, and of the parts that are swapped.
        progress: Whether to show a progress bar.

    Returns:
        Figures "peak", the share of pairs whose margin map is highest on the part, and "part", the share where the
        part is the one with most of the map's positive mass; equals share a hit. Baselines: "overall map", the
        method's map of (q, g), which does not know the other image; "random weights", the margin by the exact
        decomposition of the untrained network; the others know no more than the query, so that their margin is zero
        everywhere: each is held against the truth as the map that it is, and "uniform" gives the chance of a random
        peak, and how often the part is the largest.

    Raises:
        ValueError: If `against` is neither, `grown` is negative, the truth or the method does not suit, or no pair
            can be swapped.
        TypeError: If `grown` is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> flock = dv.birds(families=1, per_class=3)
        >>> gallery = dv.Gallery.build(flock, birds_embedder(), progress=False)
        >>> found = margin_pointing(gallery, pairs=18, progress=False)
        >>> found.headline.value > 4 * found.baselines["uniform"]["peak"].value
        True
    """
    one_of(against, "against", AGAINST)
    whole_number(grown, "grown", 0)
    known = truth_of(gallery, truth)

    @cache
    def opponents(chosen: Pairs) -> Opponents:
        if against == "sibling":
            return siblings(gallery, chosen, known.gallery)
        return swapped(gallery, chosen, known.gallery, seed)

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        return _measure(explained, chosen, opponents(chosen), known.query, grown, step)

    own = [name for name in OWN_BASELINES if baselines is None or name in baselines]
    others = None if baselines is None else [name for name in baselines if name not in OWN_BASELINES]
    found = evaluate(
        EVALUATOR if against == "sibling" else SWAPPED,
        measure,
        gallery,
        method,
        pairs,
        known,
        others,
        seed,
        progress,
        against=against,
        grown=grown,
    )
    return with_own_baselines(found, OWN_BASELINES, keep=own)


margin_pointing_swapped = variant(
    margin_pointing,
    "margin_pointing_swapped",
    "`margin_pointing` against the right image itself, drawn again with one part swapped.",
    against="swapped",
)


def part_with_most(values: np.ndarray, masks: Mapping[str, np.ndarray], part: str) -> float:
    """Whether a part holds more of a map's positive values than any other.

    Args:
        values: (H, W) map in pixels, signed.
        masks: (H, W) bool of each part that is visible.
        part: One of them.

    Returns:
        1 or 0; where several parts hold most, one over their number. NaN where the map is not finite.
    """
    if not np.isfinite(values).all():
        return float("nan")
    positive = np.clip(values, 0, None)
    held = {name: float(positive[mask].sum()) for name, mask in masks.items()}
    most = [name for name, mass in held.items() if mass == max(held.values())]
    return 1 / len(most) if part in most else 0.0


def _measure(
    explained: Explained,
    pairs: Pairs,
    opponents: Opponents,
    truth: SideTruth,
    grown: int,
    step: Callable[[], object],
) -> Measured:
    rival = explained
    if opponents.gallery is not explained.gallery:
        rival = Explained(opponents.gallery, explained.name, **explained.options)
    one_image = explained.is_baseline and not explained.method.pairwise
    names = _FIGURES if explained.is_baseline else (*_FIGURES, *(f"overall map: {f}" for f in _FIGURES))
    rows = []
    for (query, right), (other, part) in zip(pairs, opponents, strict=True):
        row = [float("nan")] * len(names)
        masks = {name: truth.mask(query, name) for name in truth.parts} if part else {}
        masks = {name: dilated(mask, grown) for name, mask in masks.items() if mask.any()}
        if part in masks:
            why = explained.of(query, right)
            overall = why.overall_map("query")
            lead = overall if one_image else margin_between(why, rival.of(query, other), right, other).map
            row = [*_pointing(lead, why, masks, part)]
            if not explained.is_baseline:
                row += _pointing(overall, why, masks, part)
        rows.append(row)
        step()
    if rival is not explained:
        explained.seconds += rival.seconds
        explained.computed += rival.computed
    return dict(zip(names, np.asarray(rows, np.float64).T, strict=True))


def _pointing(
    values: np.ndarray, why: Decomposition, masks: Mapping[str, np.ndarray], part: str
) -> tuple[float, float]:
    """Peak and part of one map of the query."""
    h, w = values.shape
    size = masks[part].shape
    pixels = cell_pixels((h, w), (size[0], size[1]), why.query_geometry)
    drawn = enlarged(values, (size[0], size[1]), why.query_geometry)
    return peak_share(values, masks[part], pixels), part_with_most(drawn, masks, part)
