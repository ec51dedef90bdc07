"""Does a map depend on the other image, and not on which of the two asks?"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.explanation import Decomposition, Side
from dmlviz.faithfulness.correlations import spearman
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, evaluate, of_each_pair
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import truth_of
from dmlviz.faithfulness.twin_galleries import explained_there, reversed_gallery

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

REFERENCE_SWAP = Evaluator(
    name="reference-swap",
    title="reference swap",
    question="Does the map of the query change when it is held against another image?",
    figures=("map kept",),
    better="lower",
    baselines=("random weights", "feature norm", "centre", "random"),
    caution=(
        "a map that does not know the other image keeps 1, but a low figure proves nothing: random numbers keep 0. "
        "Two images of other labels have parts in common, and their maps may rightly agree on those"
    ),
    passed_by=("random",),
    source="after Adebayo et al. 2018, with the reference image in the place of the weights: Spearman of two maps",
)
SYMMETRY = Evaluator(
    name="symmetry",
    title="symmetry",
    question="Is the explanation the same when the two images change places, as the similarity is?",
    figures=("map changed", "pairs changed"),
    better="lower",
    baselines=("feature norm", "random"),
    caution="maps that do not know the pair at all are symmetric, too; asymmetry is a flaw, symmetry no merit",
    passed_by=("feature norm", "centre", "uniform"),
    source="‖M(A, B) − M(B, A)‖/‖M(A, B)‖ over both images' overall maps; ‖D(A, B) − D(B, A)ᵀ‖/‖D(A, B)‖ over pairs",
)
_TURNED: tuple[tuple[Side, Side], ...] = (("query", "gallery"), ("gallery", "query"))


def reference_swap(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask how much of a query's map stays when it is held against an image of another label instead.

    For a pair (q, g) an image h is drawn from those whose label is not q's (any other image where there are no
    labels); which one depends on the seed and the pair alone.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`; it must have a map of the query.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        baselines: Names of `BASELINES`; None for random weights, feature norm, centre and random.
        seed: Of the choice of pairs and of the other images.
        progress: Whether to show a progress bar.

    Returns:
        Figure "map kept", Spearman's correlation of the query's overall maps against g and against h: from −1 to 1, 1
        where they are equal. Constant maps that differ, maps that are not finite, and queries without an image of
        another label are left out.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery or has no map of the query.

    Examples:
        >>> import dmlviz as dv
        >>> found = reference_swap(dv.demo_gallery(), pairs=5, baselines=["centre"], progress=False)
        >>> found.baselines["centre"]["map kept"].value
        1.0
    """

    def trial(explained: Explained, query: int, item: int) -> tuple[float]:
        other = other_item(gallery, query, item, seed)
        return (float("nan") if other is None else _maps_agree(explained, query, item, other),)

    measure = of_each_pair(REFERENCE_SWAP.figures, trial)
    truth = truth_of(gallery)
    return evaluate(REFERENCE_SWAP, measure, gallery, method, pairs, truth, baselines, seed, progress)


def symmetry(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 100,
    *,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask whether a method explains S(A, B) as it explains S(B, A), which is the same number.

    Each picture keeps its network. Where the images of the gallery do not ask each other, the pair is asked the other
    way round in a gallery of the queries.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        baselines: Names of `BASELINES`; None for feature norm and random.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "map changed", the length of the difference between the overall maps of the two pictures asked one way
        and the other, over their length, of the sides that the method has maps of both ways; "pairs changed", the
        same of the contributions of pairs of cells. Both >= 0, 0 where nothing changes; left out where there are
        none, a value is not finite, or all are zero.

    Raises:
        ValueError: If the method is unknown, or does not suit the gallery or its reverse.

    Examples:
        >>> import dmlviz as dv
        >>> symmetry(dv.demo_gallery(), pairs=5, progress=False).headline.value < 1e-5
        True
    """
    back = reversed_gallery(gallery)

    @cache
    def turned(explained: Explained) -> Explained:
        return (
            explained
            if back is gallery
            else explained_there(explained, back, "the pairs the other way round")
        )

    def trial(explained: Explained, query: int, item: int) -> tuple[float, float]:
        return asymmetry(explained.of(query, item), turned(explained).of(item, query))

    measure = of_each_pair(SYMMETRY.figures, trial)
    truth = truth_of(gallery)
    return evaluate(SYMMETRY, measure, gallery, method, pairs, truth, baselines, seed, progress)


def asymmetry(one: Decomposition, turned: Decomposition) -> tuple[float, float]:
    """How far the explanation of (A, B) lies from that of (B, A): by both images' overall maps, by pairs of cells.

    Returns:
        Two lengths of differences over the lengths of the first explanation's; NaN where there is nothing to compare.
    """
    here, there = [], []
    for side, opposite in _TURNED:
        if one.has_map(side) and turned.has_map(opposite):
            here.append(one.overall_map(side).ravel())
            there.append(turned.overall_map(opposite).ravel())
    maps = _change(np.concatenate(here), np.concatenate(there)) if here else float("nan")
    if one.contributions is None or turned.contributions is None:
        return maps, float("nan")
    return maps, _change(one.contributions, turned.contributions.transpose(2, 3, 0, 1))


def other_item(gallery: "Gallery", query: int, item: int, seed: int) -> int | None:
    """An image of another label than the query's, chosen by the seed and the pair alone; None where there is none.

    Neither the query itself nor its pair's gallery image, nor one that cannot be ranked.
    """
    allowed = np.ones(len(gallery.images), dtype=bool)
    allowed[[item, *gallery.unranked]] = False
    if gallery.queries is gallery.images:
        allowed[query] = False
    if gallery.labels is not None and gallery.query_labels is not None:
        allowed &= np.asarray(gallery.labels) != np.asarray(gallery.query_labels)[query]
    left = np.flatnonzero(allowed)
    return int(np.random.default_rng([seed, query, item]).choice(left)) if len(left) else None


def _maps_agree(explained: Explained, query: int, item: int, other: int) -> float:
    one, swapped = (explained.of(query, i).overall_map("query") for i in (item, other))
    return correlation_of(one, swapped)


def correlation_of(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation over all entries of two arrays of one shape.

    Returns:
        From −1 to 1; 1 where the two are equal, constant or not; NaN where one is constant and the other differs, or
        a value is not finite.

    Examples:
        >>> import numpy as np
        >>> correlation_of(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [9.0, 16.0]]))
        1.0
        >>> correlation_of(np.ones((2, 2)), np.ones((2, 2)))
        1.0
    """
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    return 1.0 if np.array_equal(one, other) else spearman(one.ravel(), other.ravel())


def _change(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    length = float(np.linalg.norm(one))
    if not (np.isfinite(length) and np.isfinite(other).all()) or length == 0:
        return float("nan")
    return float(np.linalg.norm(one - other)) / length
