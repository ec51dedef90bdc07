"""The same person, or another? Pairs judged by their similarity, as on Labeled Faces in the Wild."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.index.metrics import EXACT
from dmlviz.retrieval.side import Side
from dmlviz.retrieval.thresholds import (
    accepted_counts,
    equal_error,
    judged_by_folds,
    middles,
    validated_by_folds,
)

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery

FAR = (0.1, 0.01, 0.001)
FOLDS = 10
PUBLISHED_THRESHOLDS = 1.0 - np.arange(0, 4, 0.01) / 2
"""Cosines that stand for squared distances 0, 0.01, ..., 3.99 of unit embeddings, the grid of FaceNet's code."""
FINE_THRESHOLDS = 1.0 - np.arange(0, 4, 0.001) / 2
"""The finer grid of the same code, on which it looks for the threshold of VAL@FAR."""


@dataclass(frozen=True, eq=False)
class Verification:
    """How well a threshold on the similarity tells pairs of one class from pairs of two.

    A pair is accepted where its similarity lies above the threshold.

    - accuracy (Huang et al., Labeled faces in the wild, 2007, "view 2"): the pairs are cut into folds in the order
      in which they come; for each fold the threshold that is best on all the others judges it. The mean over
      the folds.
    - AUC: chance that a pair of one class is more similar than a pair of two, ties counted half.
    - EER: error where as many pairs of one class are refused as pairs of two are accepted, linear between the
      points of the ROC curve.
    - TAR@FAR f: the largest share of pairs of one class that a threshold accepts while it accepts at most the
      share f of pairs of two. No interpolation: with n different pairs shares below 1/n are not measured.
    - VAL@FAR f (Schroff et al., FaceNet, CVPR 2015, section 4, as its public code computes it): for each fold the
      threshold that accepts the share f of the pairs of two on all the others, by linear interpolation between
      candidates, is applied to it; the mean over the folds of the share of pairs of one class that it accepts.
      Where no candidate accepts so many, nothing is accepted. NaN for f = 0.

    Attributes:
        accuracy: mean over the folds, in [0, 1].
        accuracy_std: standard deviation over the folds, divided by their number (as public code prints it; the
            standard error of LFW's report is this divided by sqrt(folds - 1)).
        threshold: mean of the folds' thresholds, a similarity.
        fold_accuracy: (F,) float64.
        fold_threshold: (F,) float64.
        auc: in [0, 1].
        eer: in [0, 1].
        eer_threshold: similarity from which the error of accepting is at least that of refusing.
        tar: f -> TAR@FAR f in [0, 1], read-only.
        val: f -> VAL@FAR f in [0, 1], read-only.
        val_std: f -> standard deviation of VAL@FAR f over the folds, read-only.
        val_far: f -> mean over the folds of the share of pairs of two classes that were accepted in fact, read-only.
        false_acceptance: (T,) float64, the ROC curve from (0, 0) to (1, 1): share of pairs of two classes accepted.
        true_acceptance: (T,) float64, the same of pairs of one class.
        curve_thresholds: (T,) float64, the least similarity that is accepted at that point, infinity at the first.
        similarities: (P,) float64, of the pairs in their order.
        same: (P,) bool, whether a pair is of one class.
        definition: in words.
    """

    accuracy: float
    accuracy_std: float
    threshold: float
    fold_accuracy: np.ndarray
    fold_threshold: np.ndarray
    auc: float
    eer: float
    eer_threshold: float
    tar: Mapping[float, float]
    val: Mapping[float, float]
    val_std: Mapping[float, float]
    val_far: Mapping[float, float]
    false_acceptance: np.ndarray
    true_acceptance: np.ndarray
    curve_thresholds: np.ndarray
    similarities: np.ndarray
    same: np.ndarray
    definition: str

    def __repr__(self) -> str:
        rates = "  ".join(f"TAR@FAR={far:g} {tar:.4f}" for far, tar in self.tar.items())
        validation = "  ".join(
            f"VAL@FAR={far:g} {val:.4f} ± {self.val_std[far]:.4f}" for far, val in self.val.items()
        )
        return (
            f"Verification of {len(self.same)} pairs, {int(self.same.sum())} of them of one class\n"
            f"  accuracy {self.accuracy:.4f} ± {self.accuracy_std:.4f} over {len(self.fold_accuracy)} folds, "
            f"threshold {self.threshold:.4f}\n  AUC {self.auc:.4f}  EER {self.eer:.4f}  {rates}\n  {validation}"
        )


def verification(
    gallery: "Gallery",
    pairs: Any,
    same: Any = None,
    folds: int = FOLDS,
    far: Sequence[float] = FAR,
) -> Verification:
    """Judge a gallery's similarity on pairs of its images.

    Args:
        gallery: the gallery; with a query set, a pair is a query and an image.
        pairs: (P, 2) whole numbers: id of a query, id of a gallery image. Or what `dmlviz.images.lfw_pairs` and the
            `pairs` of drawn faces give: P numbers each under the names a and b, and truth values under same. Their
            order makes the folds.
        same: (P,) bool, whether the two are of one class; if None as the pairs say, or else by their labels.
        folds: how many folds, from 2 to P.
        far: the rates of false acceptance to report.

    Raises:
        ValueError: pairs of another shape; nothing known of classes; a cosine that is undefined; else as
            `verify`.
        IndexError: an id that is not there.
        TypeError: ids that are no whole numbers.

    Example:
        >>> import numpy as np
        >>> from dmlviz.retrieval import demo_gallery, verification
        >>> gallery = demo_gallery()
        >>> pairs = [(i, (i + step) % 960) for i in range(0, 960, 2) for step in (1, 480)]
        >>> bool(verification(gallery, pairs).auc > 0.9)
        True
    """
    return verify_pairs(gallery._query_side, gallery._item_side, pairs, same, folds, far)


def verify_pairs(
    queries: Side,
    items: Side,
    pairs: Any,
    same: Any = None,
    folds: int = FOLDS,
    far: Sequence[float] = FAR,
) -> Verification:
    """`verification` of the two sides of a gallery; arguments and errors are the same."""
    query_ids, item_ids = as_pairs(queries, items, pairs)
    same = getattr(pairs, "same", None) if same is None else same
    if same is None:
        of_query, of_item = queries.images.labels, items.images.labels
        if of_query is None or of_item is None:
            raise ValueError(
                "nothing is known of the images' classes; give same=, one truth value per pair, or labels"
            )
        same = of_query[query_ids] == of_item[item_ids]
    query_rows, item_rows = queries.row_of[query_ids], items.row_of[item_ids]
    undefined = np.flatnonzero((query_rows < 0) | (item_rows < 0))
    if len(undefined):
        raise ValueError(
            f"the cosine of {len(undefined)} pairs is undefined, as an embedding has length zero; the first is pair "
            f"{undefined[0]}: query {query_ids[undefined[0]]}, image {item_ids[undefined[0]]}"
        )
    similarities = EXACT[items.metric].pairs(queries.rows, items.rows, query_rows, item_rows)
    cosine = items.similarity == "cosine"
    return verify(
        similarities,
        same,
        folds,
        far,
        PUBLISHED_THRESHOLDS if cosine else None,
        FINE_THRESHOLDS if cosine else None,
    )


def as_pairs(queries: Side, items: Side, pairs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Ids of queries and of images, (P,) int64 each.

    Raises:
        ValueError: pairs of another shape.
        IndexError: an id that is not there.
        TypeError: ids that are no whole numbers.
    """
    named = hasattr(pairs, "a") and hasattr(pairs, "b")
    chosen = np.column_stack([pairs.a, pairs.b]) if named else np.asarray(pairs)
    if chosen.ndim != 2 or chosen.shape[1] != 2 or len(chosen) == 0:
        raise ValueError(f"pairs must be rows of (query id, image id), shape (P, 2); got {chosen.shape}")
    return queries.images.check_ids(chosen[:, 0]), items.images.check_ids(chosen[:, 1])


def verify(
    similarities: Any,
    same: Any,
    folds: int = FOLDS,
    far: Sequence[float] = FAR,
    thresholds: Any = None,
    fine_thresholds: Any = None,
) -> Verification:
    """Judge similarities of pairs.

    Args:
        similarities: (P,) finite numbers, higher is nearer; their order makes the folds.
        same: (P,) bool, whether a pair is of one class; some must be, and some not.
        folds: how many folds, from 2 to P; the first P mod folds of them are longer by one.
        far: the rates of false acceptance to report, each in [0, 1].
        thresholds: (T,) candidates for the folds' thresholds, the first of several equally good ones is taken;
            if None, the middles between neighbouring similarities, and one beyond each end, highest first.
        fine_thresholds: (T,) falling candidates for VAL@FAR; as `thresholds` if None.

    Raises:
        ValueError: another length, numbers that are not finite, only pairs of one sort, or folds or far out of
            range.
        TypeError: `same` holds no truth values.

    Example:
        >>> judged = verify([0.9, 0.2, 0.8, 0.1], [True, False, True, False], folds=2)
        >>> judged.auc, judged.eer
        (1.0, 0.0)
    """
    values = np.asarray(similarities, dtype=np.float64)
    truth = np.asarray(same)
    if truth.dtype != bool:
        raise TypeError(f"same must hold truth values, one per pair; got dtype {truth.dtype}")
    if values.ndim != 1 or truth.shape != values.shape:
        raise ValueError(
            f"expected one similarity and one truth value per pair, got shapes {values.shape} and {truth.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"similarities must be finite; pair {np.flatnonzero(~np.isfinite(values))[0]} is not"
        )
    if not 0 < truth.sum() < len(truth):
        raise ValueError(
            f"there must be pairs of one class and pairs of two, got {int(truth.sum())} of one class among "
            f"{len(truth)}"
        )
    if isinstance(folds, bool) or int(folds) != folds or not 2 <= folds <= len(values):
        raise ValueError(
            f"folds must be a whole number from 2 to the number of pairs, {len(values)}; got {folds}"
        )
    if any(not 0 <= f <= 1 for f in far):
        raise ValueError(f"far must hold rates from 0 to 1, got {tuple(far)}")
    candidates = middles(values) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    fold_accuracy, fold_threshold = judged_by_folds(values, truth, candidates, int(folds))
    finer = candidates if fine_thresholds is None else np.asarray(fine_thresholds, dtype=np.float64)
    finer = np.sort(finer)[::-1]
    validated = {
        float(f): validated_by_folds(values, truth, finer, int(folds), f) if f > 0 else (_NONE, _NONE)
        for f in far
    }
    accepted_wrongly, accepted_rightly, at = accepted_counts(values, truth)
    eer, eer_threshold = equal_error(accepted_wrongly, accepted_rightly, at)
    false_rate, true_rate = accepted_wrongly / accepted_wrongly[-1], accepted_rightly / accepted_rightly[-1]
    return Verification(
        accuracy=float(fold_accuracy.mean()),
        accuracy_std=float(fold_accuracy.std()),
        threshold=float(fold_threshold.mean()),
        fold_accuracy=fold_accuracy,
        fold_threshold=fold_threshold,
        auc=float(np.trapezoid(true_rate, false_rate)),
        eer=eer,
        eer_threshold=eer_threshold,
        tar=MappingProxyType({float(f): float(true_rate[false_rate <= f].max()) for f in far}),
        val=MappingProxyType({f: _mean(val) for f, (val, _) in validated.items()}),
        val_std=MappingProxyType({f: _mean(val, np.std) for f, (val, _) in validated.items()}),
        val_far=MappingProxyType({f: _mean(false) for f, (_, false) in validated.items()}),
        false_acceptance=false_rate,
        true_acceptance=true_rate,
        curve_thresholds=at,
        similarities=values,
        same=truth,
        definition=(
            f"accuracy: mean over {folds} folds in the order of the pairs, each judged by the threshold that is best "
            f"on the others, out of {len(candidates)}"
            + (" between the similarities" if thresholds is None else " given ones")
            + "; AUC: ties counted half; EER: linear between points of the ROC curve; TAR@FAR: the largest at a "
            f"false acceptance of at most that rate, {int((~truth).sum())} pairs of two classes, no "
            "interpolation; VAL@FAR: mean over the folds, each accepted "
            f"from the threshold that reaches that rate on the others, linear between {len(finer)} candidates"
        ),
    )


_NONE = np.full(1, np.nan)


def _mean(values: np.ndarray, of: Callable[[np.ndarray], Any] = np.mean) -> float:
    """Of the folds that have a value; NaN where none has."""
    there = values[~np.isnan(values)]
    return float(of(there)) if len(there) else float("nan")
