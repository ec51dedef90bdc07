"""Hover a part of one image: does the map peak on the same part of the other?"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.explanation.decomposition import SIDES, Side
from dmlviz.explanation.options import whole_number
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate, with_own_baselines
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import cell_pixels, cell_with_most, dilated, geometry_of, peak_share
from dmlviz.faithfulness.opponents import same_label
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import Truth, truth_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_FIGURES = ("contribution", "likeness")
OWN_BASELINES = ("overall map", "same position")
"""Baselines that are measured along with the method."""

EVALUATOR = Evaluator(
    name="part-transfer",
    title="part transfer",
    question="Hover a part of one image: does the map of that point peak on the same part of the other?",
    figures=_FIGURES,
    rates=_FIGURES,
    better="higher",
    baselines=("random weights", "centre", "uniform"),
    needs=("parts of both sides", "point maps"),
    caution=(
        "the contribution is a share of the score and need not be the best correspondence: two parts may be alike "
        "and weigh little. Where images are aligned, the same position alone finds many parts"
    ),
    headline=True,
    source=(
        "point-specific maps of Zhu et al. 2021, §3.3, under the pointing game (Zhang et al. 2016): the point is the "
        "cell that holds most of the part, a hit is a peak on its mask grown by two pixels"
    ),
    own_baselines=OWN_BASELINES,
)


def part_transfer(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    truth: Any = None,
    sides: Sequence[Side] = ("query",),
    grown: int = 2,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Point at each part of one image of a pair, and look where the other lights up.

    The point is the cell that holds most of the part; a hit is a point map whose peak lies on the same part of the
    other image. There is one trial for each pair, side and part. One whose part is hidden in either image is left
    out and counted by `left_out`, and so are all those of a pair of two labels.

    Args:
        gallery: A gallery of pictures whose parts are known on both sides by the same names: the drawn ones, say.
            Of places the parts are the objects (one that a place does not have counts as hidden), and the two views
            differ in size and cells.
        method: A method of `METHODS` with contributions of pairs of cells (`Method.pairwise`), or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: See `truth_of`.
        sides: The images to point at: "query", "gallery" or both.
        grown: By how many pixels of the view the part's mask is grown to each side before it counts as hit.
        baselines: Names of baselines to ask as well: of `BASELINES`, "overall map" and "same position"; by default
            random weights, centre, uniform and the last two.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "contribution" and "likeness", the two readings of hover, as shares of hits (equal peaks share one);
        "likeness" is NaN where the method has no local embeddings. For each part "contribution: beak" and so on.
        Baselines, the same under both readings: "overall map", the method's map of the other image, which knows the
        pair and not the point; "same position" peaks where the pointer stands, at the same place relative to the
        view's height and width; "random weights", the decomposition of the untrained network, has readings of its
        own; the others have no pairs of cells, and the map that they make of the other image stands for every point.

    Raises:
        ValueError: If a side is none, `grown` is negative, or the truth or the method does not suit.
        TypeError: If `grown` is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> flock = dv.birds(families=1, per_class=2)
        >>> gallery = dv.Gallery.build(flock, birds_embedder(), progress=False)
        >>> found = part_transfer(gallery, pairs=12, progress=False)
        >>> found.headline.value > 4 * found.baselines["uniform"]["contribution"].value
        True
    """
    if not sides or any(side not in SIDES for side in sides):
        raise ValueError(f"sides must be some of {', '.join(map(repr, SIDES))}; got {sides!r}")
    whole_number(grown, "grown", 0)
    known = truth_of(gallery, truth)

    def measure(
        explained: Explained, chosen: Pairs, step: Callable[[], object]
    ) -> tuple[Measured, np.ndarray]:
        return _measure(explained, chosen, known, tuple(dict.fromkeys(sides)), grown, step)

    own = [name for name in OWN_BASELINES if baselines is None or name in baselines]
    others = None if baselines is None else [name for name in baselines if name not in OWN_BASELINES]
    found = evaluate(
        EVALUATOR,
        measure,
        gallery,
        method,
        pairs,
        known,
        others,
        seed,
        progress,
        sides=tuple(sides),
        grown=grown,
    )
    return with_own_baselines(found, OWN_BASELINES, keep=own)


def _measure(
    explained: Explained,
    pairs: Pairs,
    truth: Truth,
    sides: tuple[Side, ...],
    grown: int,
    step: Callable[[], object],
) -> tuple[Measured, np.ndarray]:
    shared = [part for part in truth.query.parts if part in truth.gallery.parts]
    names = [*_FIGURES]
    if not explained.is_baseline:
        names += [f"{baseline}: {figure}" for baseline in OWN_BASELINES for figure in _FIGURES]
    rows, parts, clusters = [], [], []
    for pair, cluster, fits in zip(pairs, pairs.clusters, same_label(explained.gallery, pairs), strict=True):
        asked = shared if fits else []
        masks: dict[Side, dict[str, np.ndarray]] = {
            "query": {part: truth.query.mask(pair[0], part) for part in asked},
            "gallery": {part: truth.gallery.mask(pair[1], part) for part in asked},
        }
        for side in sides:
            other: Side = "gallery" if side == "query" else "query"
            for part in shared:
                row = None
                if fits and masks[side][part].any() and masks[other][part].any():
                    there = dilated(masks[other][part], grown)
                    row = _trial(explained.of(*pair), side, other, masks[side][part], there)
                rows.append([float("nan")] * len(names) if row is None else row[: len(names)])
                parts.append(part)
                clusters.append(cluster)
        step()
    values = dict(zip(names, np.asarray(rows, np.float64).reshape(-1, len(names)).T, strict=True))
    cluster_of, part_of = np.asarray(clusters, np.int64), np.asarray(parts)
    by_part = {
        f"contribution: {part}": EVALUATOR.estimate(
            f"contribution: {part}", values["contribution"][part_of == part], cluster_of[part_of == part]
        )
        for part in shared
    }
    return {**values, **by_part}, cluster_of


def _trial(why: Decomposition, side: Side, other: Side, here: np.ndarray, there: np.ndarray) -> list[float]:
    """Contribution, likeness, and twice each of `OWN_BASELINES`, for a part that is here and there."""
    own, pixels = _pixels(why, side, here), _pixels(why, other, there)
    row, col = cell_with_most(here, own)
    overall = peak_share(why.overall_map(other), there, pixels)
    if not why.pairwise:
        return [overall, overall]
    contribution = peak_share(why.point_map(side, row, col), there, pixels)
    likeness = float("nan")
    if why.query_local is not None and why.gallery_local is not None:
        likeness = peak_share(why.likeness_map(side, row, col), there, pixels)
    stays = float(there[same_place(own[row, col], here.shape, there.shape)])
    return [contribution, likeness, overall, overall, stays, stays]


def same_place(
    pixel: np.ndarray | tuple[int, int], size: tuple[int, ...], other: tuple[int, ...]
) -> tuple[int, int]:
    """The pixel of another view at the same place relative to its height and width.

    Args:
        pixel: (row, col) of the one view, centres on integers.
        size: (H, W) of the one view.
        other: (H, W) of the other.

    Returns:
        (row, col), inside the other view; the same pixel where the views are of one size.

    Examples:
        >>> same_place((0, 191), (64, 192), (96, 96))
        (0, 95)
    """
    row, col = (
        int(np.clip(np.round((at + 0.5) * b / a - 0.5), 0, b - 1))
        for at, a, b in zip(pixel, size, other, strict=True)
    )
    return row, col


def _pixels(why: Decomposition, side: Side, mask: np.ndarray) -> np.ndarray:
    return cell_pixels(why.grid(side), (mask.shape[0], mask.shape[1]), geometry_of(why, side))
