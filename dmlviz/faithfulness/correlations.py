"""How far predicted numbers agree with real ones: four correlations and a mean error, in plain NumPy."""

from collections.abc import Sequence

import numpy as np

Numbers = Sequence[float] | np.ndarray


def pearson(x: Numbers, y: Numbers) -> float:
    """Pearson's correlation: how near the points lie to a straight line.

    Args:
        x: (n,) real numbers, finite.
        y: (n,) real numbers, finite.

    Returns:
        From −1 to 1; NaN where either side is constant, or n < 2: a constant has no direction to agree with.
        "Constant" allows for rounding: a spread below 1e-12 of the largest magnitude.

    Raises:
        ValueError: If the two are not equally long rows, or a value is not finite.

    Examples:
        >>> round(pearson([1, 2, 3], [2, 4, 7]), 4)
        0.9934
    """
    x, y = _checked(x, y)
    if len(x) < 2 or _constant(x) or _constant(y):
        return float("nan")
    u, v = (a / np.abs(a).max() for a in (x - x.mean(), y - y.mean()))
    return float(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1.0, 1.0))


def ranks(x: Numbers) -> np.ndarray:
    """Ranks from 1, lowest first; equal values share the mean of their ranks.

    Args:
        x: (n,) real numbers.

    Returns:
        (n,) float64.

    Examples:
        >>> ranks([3.0, 1.0, 3.0]).tolist()
        [2.5, 1.0, 2.5]
    """
    _, which, counts = np.unique(np.asarray(x, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which])


def spearman(x: Numbers, y: Numbers) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank.

    Args:
        x: (n,) real numbers, finite. What differs by rounding alone (1e-12 of the largest magnitude) is a tie.
        y: (n,) real numbers, finite; the same.

    Returns:
        From −1 to 1; NaN where either side is constant, or n < 2.

    Raises:
        ValueError: If the two are not equally long rows, or a value is not finite.

    Examples:
        >>> spearman([1, 2, 3], [10, 100, 1000])
        1.0
    """
    x, y = _checked(x, y)
    if _constant(x) or _constant(y):
        return float("nan")
    return pearson(ranks(levelled(x)), ranks(levelled(y)))


def kendall(x: Numbers, y: Numbers) -> float:
    """Kendall's tau-b: how many more pairs of values agree in their order than disagree, ties corrected.

    (agreeing − disagreeing) / √((pairs not tied in x)·(pairs not tied in y)).

    Args:
        x: (n,) real numbers, finite. What differs by rounding alone (1e-12 of the largest magnitude) is a tie.
        y: (n,) real numbers, finite; the same. All n² pairs are compared at once: best below a few thousands.

    Returns:
        From −1 to 1; NaN where either side is constant, or n < 2.

    Raises:
        ValueError: If the two are not equally long rows, or a value is not finite.

    Examples:
        >>> round(kendall([1, 2, 3], [1, 3, 2]), 4)
        0.3333
    """
    x, y = _checked(x, y)
    if len(x) < 2 or _constant(x) or _constant(y):
        return float("nan")
    signs_x, signs_y = (np.sign(a[:, None] - a[None, :]) for a in (levelled(x), levelled(y)))
    agreeing = float((signs_x * signs_y).sum())
    return agreeing / float(np.sqrt(np.abs(signs_x).sum() * np.abs(signs_y).sum()))


def r_squared(real: Numbers, predicted: Numbers, fitted: bool = False) -> float:
    """The share of the real numbers' variance that the predictions explain: 1 − Σ(real − predicted)²/Σ(real − mean)².

    Args:
        real: (n,) real numbers, finite.
        predicted: (n,) real numbers, finite.
        fitted: Whether the best straight line through the points is laid first (least squares), so that scale and
            offset of the predictions do not count. Then it is the square of Pearson's correlation, and a prediction
            that runs the wrong way explains as much as one that runs the right way.

    Returns:
        Up to 1; below 0 where the mean of the real numbers predicts better. Fitted: from 0 to 1, 0 where the
        predictions are constant. NaN where the real numbers are constant, or n < 2.

    Raises:
        ValueError: If the two are not equally long rows, or a value is not finite.

    Examples:
        >>> r_squared([1, 2, 3], [1, 2, 3]), r_squared([1, 2, 3], [2, 4, 6])
        (1.0, -6.0)
        >>> r_squared([1, 2, 3], [2, 4, 6], fitted=True)
        1.0
    """
    real, predicted = _checked(real, predicted)
    if len(real) < 2 or _constant(real):
        return float("nan")
    if fitted:
        r = pearson(real, predicted)
        return 0.0 if np.isnan(r) else r * r
    return float(1.0 - ((real - predicted) ** 2).sum() / ((real - real.mean()) ** 2).sum())


def levelled(x: Numbers, digits: int = 12) -> np.ndarray:
    """Numbers in units of the largest of them, rounded, so that what differs by rounding alone is equal.

    Args:
        x: (n,) real numbers, finite.
        digits: Decimals kept: 12 for sums in float64 taken in another order, 5 for what a float32 network gives.

    Returns:
        (n,) float64, from −1 to 1.

    Examples:
        >>> levelled([0.1 + 0.2 - 0.3, 2.0, 4.0]).tolist()
        [0.0, 0.5, 1.0]
    """
    values = np.asarray(x, np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    return np.asarray(np.round(values / largest, digits) if largest > 0 else values)


def _constant(x: np.ndarray) -> bool:
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max()) if len(x) else True


def _checked(x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two equally long rows of numbers; got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(
            "expected finite numbers; got NaN or infinity. Leave out the trials that say nothing first"
        )
    return x, y
