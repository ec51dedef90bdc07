"""The same person, or another? Pairs judged by their similarity, as on Labeled Faces in the Wild."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery

FAR = (0.1, 0.01, 0.001)
FOLDS = 10
PUBLISHED_THRESHOLDS = 1.0 - np.arange(0, 4, 0.01) / 2
"""Cosines that stand for squared distances 0, 0.01, ..., 3.99 of unit embeddings, the grid of FaceNet's code."""


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
    similarities: np.ndarray
    same: np.ndarray
    definition: str

    def __repr__(self) -> str:
        rates = "  ".join(f"TAR@FAR={far:g} {tar:.4f}" for far, tar in self.tar.items())
        return (
            f"Verification of {len(self.same)} pairs, {int(self.same.sum())} of them of one class\n"
            f"  accuracy {self.accuracy:.4f} ± {self.accuracy_std:.4f} over {len(self.fold_accuracy)} folds, "
            f"threshold {self.threshold:.4f}\n  AUC {self.auc:.4f}  EER {self.eer:.4f}  {rates}"
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
        pairs: (P, 2) whole numbers: id of a query, id of a gallery image. Their order makes the folds.
        same: (P,) bool, whether the two are of one class; by their labels if None.
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
    chosen = np.asarray(pairs)
    if chosen.ndim != 2 or chosen.shape[1] != 2 or len(chosen) == 0:
        raise ValueError(f"pairs must be rows of (query id, image id), shape (P, 2); got {chosen.shape}")
    query_ids = gallery.queries.check_ids(chosen[:, 0])
    item_ids = gallery.images.check_ids(chosen[:, 1])
    if same is None:
        if gallery.query_labels is None or gallery.labels is None:
            raise ValueError(
                "nothing is known of the images' classes; give same=, one truth value per pair, or labels"
            )
        same = gallery.query_labels[query_ids] == gallery.labels[item_ids]
    similarities = np.empty(len(chosen))
    order = np.argsort(query_ids, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(query_ids[order])) + 1):
        similarities[group] = gallery.score(int(query_ids[group[0]]), item_ids[group])
    undefined = np.flatnonzero(np.isnan(similarities))
    if len(undefined):
        raise ValueError(
            f"the cosine of {len(undefined)} pairs is undefined, as an embedding has length zero; the first is pair "
            f"{undefined[0]}: query {query_ids[undefined[0]]}, image {item_ids[undefined[0]]}"
        )
    thresholds = PUBLISHED_THRESHOLDS if gallery.similarity == "cosine" else None
    return verify(similarities, same, folds, far, thresholds)


def verify(
    similarities: Any,
    same: Any,
    folds: int = FOLDS,
    far: Sequence[float] = FAR,
    thresholds: Any = None,
) -> Verification:
    """Judge similarities of pairs.

    Args:
        similarities: (P,) finite numbers, higher is nearer; their order makes the folds.
        same: (P,) bool, whether a pair is of one class; some must be, and some not.
        folds: how many folds, from 2 to P; the first P mod folds of them are longer by one.
        far: the rates of false acceptance to report, each in [0, 1].
        thresholds: (T,) candidates for the folds' thresholds, the first of several equally good ones is taken;
            if None, the middles between neighbouring similarities, and one beyond each end, highest first.

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
    candidates = _middles(values) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    fold_accuracy, fold_threshold = _by_folds(values, truth, candidates, int(folds))
    accepted_wrongly, accepted_rightly, at = _curve(values, truth)
    eer, eer_threshold = _equal_error(accepted_wrongly, accepted_rightly, at)
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
        similarities=values,
        same=truth,
        definition=(
            f"accuracy: mean over {folds} folds in the order of the pairs, each judged by the threshold that is best "
            f"on the others, out of {len(candidates)}"
            + (" between the similarities" if thresholds is None else " given ones")
            + "; AUC: ties counted half; EER: linear between points of the ROC curve; TAR@FAR: the largest at a "
            f"false acceptance of at most that rate, {int((~truth).sum())} pairs of two classes, no interpolation"
        ),
    )


def _by_folds(
    values: np.ndarray, truth: np.ndarray, candidates: np.ndarray, folds: int
) -> tuple[np.ndarray, np.ndarray]:
    """(F,) accuracies and (F,) thresholds."""
    right = np.empty(
        (folds, len(candidates)), dtype=np.int64
    )  # pairs of a fold judged rightly by a threshold
    parts = np.array_split(np.arange(len(values)), folds)
    for number, part in enumerate(parts):
        same, different = np.sort(values[part][truth[part]]), np.sort(values[part][~truth[part]])
        accepted = len(same) - np.searchsorted(same, candidates, side="right")
        right[number] = accepted + np.searchsorted(different, candidates, side="right")
    best = (right.sum(axis=0) - right).argmax(axis=1)  # on all other folds
    accuracy = right[np.arange(folds), best] / [len(part) for part in parts]
    return accuracy, candidates[best]


def _middles(values: np.ndarray) -> np.ndarray:
    """One threshold between any two neighbouring similarities and one beyond each end, highest first."""
    levels = np.unique(values)[::-1]
    return np.concatenate([[levels[0] + 1.0], (levels[1:] + levels[:-1]) / 2, [levels[-1] - 1.0]])


def _curve(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve from nothing accepted to all.

    Returns:
        Counts of pairs accepted wrongly and rightly, int64, and the least similarity accepted.
    """
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))  # the last pair of each similarity
    rightly = np.cumsum(truth[order], dtype=np.int64)[last]
    wrongly = last + 1 - rightly
    return np.append(0, wrongly), np.append(0, rightly), np.append(np.inf, values[order][last])


def _equal_error(wrongly: np.ndarray, rightly: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Where the rate of false acceptance meets that of false refusal, and the similarity there."""
    same, different = int(rightly[-1]), int(wrongly[-1])
    excess = (
        wrongly * same - (same - rightly) * different
    )  # in whole numbers, so that equal is equal; never falls
    after = int((excess >= 0).argmax())
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    met = wrongly[after - 1] + share * (wrongly[after] - wrongly[after - 1])
    return float(met / different), float(at[after])
