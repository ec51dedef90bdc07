"""Thresholds on similarities of pairs: chosen on some folds, applied to another; and the curve of all."""

import numpy as np


def judged_by_folds(
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


def middles(values: np.ndarray) -> np.ndarray:
    """One threshold between any two neighbouring similarities and one beyond each end, highest first."""
    levels = np.unique(values)[::-1]
    return np.concatenate([[levels[0] + 1.0], (levels[1:] + levels[:-1]) / 2, [levels[-1] - 1.0]])


def accepted_counts(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve from nothing accepted to all.

    Returns:
        Counts of pairs accepted wrongly and rightly, int64, and the least similarity accepted.
    """
    order = np.argsort(-values, kind="stable")
    last = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))  # the last pair of each similarity
    rightly = np.cumsum(truth[order], dtype=np.int64)[last]
    wrongly = last + 1 - rightly
    return np.append(0, wrongly), np.append(0, rightly), np.append(np.inf, values[order][last])


def equal_error(wrongly: np.ndarray, rightly: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Where the rate of false acceptance meets that of false refusal, and the similarity there."""
    same, different = int(rightly[-1]), int(wrongly[-1])
    excess = (
        wrongly * same - (same - rightly) * different
    )  # in whole numbers, so that equal is equal; never falls
    after = int((excess >= 0).argmax())
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    met = wrongly[after - 1] + share * (wrongly[after] - wrongly[after - 1])
    return float(met / different), float(at[after])


def validated_by_folds(
    values: np.ndarray, truth: np.ndarray, candidates: np.ndarray, folds: int, far: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each fold the share of its pairs accepted by the threshold that accepts the share `far` on all others.

    The threshold lies on the line between the last candidate that accepts less than `far` of the others' different
    pairs and the first that accepts as much; where all accept less, nothing is accepted.

    Args:
        values: (P,) float64 similarities.
        truth: (P,) bool.
        candidates: (T,) float64, falling.
        folds: how many.
        far: the rate, above 0.

    Returns:
        (F,) float64 share of its pairs of one class that are accepted, and (F,) that of its pairs of two; NaN where a
        fold has none, and for both where the others have no pair of two classes to choose by.
    """
    val, false = np.full(folds, np.nan), np.full(folds, np.nan)
    parts = np.array_split(np.arange(len(values)), folds)
    wrongly = np.array([_accepted(values[part][~truth[part]], candidates) for part in parts])
    for number, part in enumerate(parts):
        different = int((~truth).sum() - (~truth[part]).sum())
        if different == 0:
            continue
        threshold = _threshold_at((wrongly.sum(axis=0) - wrongly[number]) / different, candidates, far)
        for shares, those in ((val, truth[part]), (false, ~truth[part])):
            if those.any():
                shares[number] = (values[part][those] > threshold).mean()
    return val, false


def _accepted(values: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(T,) int64: how many of the values lie above each candidate."""
    return len(values) - np.searchsorted(np.sort(values), candidates, side="right")


def _threshold_at(rates: np.ndarray, candidates: np.ndarray, far: float) -> float:
    if rates.max() < far:
        return np.inf
    first = int((rates >= far).argmax())
    if first == 0:
        return float(candidates[0])
    share = (far - rates[first - 1]) / (rates[first] - rates[first - 1])
    return float(candidates[first - 1] + share * (candidates[first] - candidates[first - 1]))
