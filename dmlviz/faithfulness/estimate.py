"""A mean over trials with its confidence interval."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from dmlviz.explanation.options import whole_number


def short(value: float) -> str:
    """Three decimals, or one and a power of ten where there would be none left or far too many before them."""
    small = value != 0 and abs(value) < 0.0005
    return f"{value:.1e}" if small or abs(value) >= 1000 else f"{value:.3f}"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure over trials, and how sure it is.

    Attributes:
        name: What was measured.
        values: (n,) float64, one per trial. For a rate 1 and 0, or the chance of a hit where that is known exactly.
            NaN (or infinite) where a trial says nothing: it is left out of the figure and counted by `left_out`.
        clusters: (n,) int, which trials belong together (images of one class are no independent trials).
        rate: Whether the figure is a rate of hits, each value from 0 to 1; see `interval`.

    Raises:
        ValueError: If there is not one cluster per trial, or a value of a rate is not from 0 to 1.
    """

    name: str
    values: np.ndarray
    clusters: np.ndarray
    rate: bool = False

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        clusters = np.asarray(self.clusters, dtype=np.int64)
        if values.ndim != 1 or values.shape != clusters.shape:
            raise ValueError(
                f"an estimate needs one cluster per trial: got values {values.shape}, clusters {clusters.shape}"
            )
        counted = values[np.isfinite(values)]
        if self.rate and not ((counted >= 0) & (counted <= 1)).all():
            raise ValueError(
                f"the trials of a rate lie from 0 to 1; {self.name!r} has some from {counted.min():g} to "
                f"{counted.max():g}. Leave rate=False for a figure that is no rate"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "clusters", clusters)

    @property
    def trials(self) -> int:
        """How many trials count."""
        return int(np.isfinite(self.values).sum())

    @property
    def left_out(self) -> int:
        """How many trials say nothing."""
        return len(self.values) - self.trials

    @property
    def value(self) -> float:
        """The mean over the trials that count; NaN without any."""
        counted = np.where(np.isfinite(self.values), self.values, np.nan)
        return float(np.nanmean(counted)) if self.trials else float("nan")

    def interval(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
        """Percentile bootstrap over clusters; Wilson's interval for a rate that the bootstrap cannot tell about.

        Where all clusters have the same mean, as in 20 hits of 20, every draw gives that mean again, and the
        bootstrap says "1 to 1". For a rate it is then Wilson's interval (see `wilson`) with one trial for each
        cluster, as if the trials of a cluster said the same thing over and over: wide rather than narrow. A rate
        whose values are all chances that are known exactly, none of them 0 or 1, keeps its interval of no width, and
        so does a figure that is no rate: of those nothing is known beyond what was seen.

        Args:
            level: The interval's coverage, above 0 and below 1.
            draws: How often the clusters are drawn anew, ≥ 1.
            seed: Of the draws.

        Returns:
            (low, high); NaN without trials.

        Raises:
            ValueError: If `level` or `draws` is out of range.
            TypeError: If `draws` is no whole number.

        Examples:
            >>> import numpy as np
            >>> hits = Estimate("hits", np.ones(20), np.arange(20), rate=True)
            >>> "{:.2f} to {:.2f}".format(*hits.interval())
            '0.84 to 1.00'
            >>> Estimate("correlation", np.ones(20), np.arange(20)).interval()
            (1.0, 1.0)
        """
        if not 0 < level < 1:
            raise ValueError(f"level is the interval's coverage, above 0 and below 1; got {level!r}")
        whole_number(draws, "draws", 1)
        if not self.trials:
            return float("nan"), float("nan")
        counted = np.isfinite(self.values)
        values = self.values[counted]
        _, cluster = np.unique(self.clusters[counted], return_inverse=True)
        sums = np.bincount(cluster, weights=values)
        counts = np.bincount(cluster)
        if self.rate and np.isin(values, (0, 1)).any() and np.ptp(sums / counts) == 0:
            return wilson(self.value, len(sums), level)
        drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.interval()
        return f"Estimate({self.name}: {short(self.value)} [{short(low)}, {short(high)}], n = {self.trials})"


def wilson(rate: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate of hits (Wilson 1927), which knows that the next trial may be a miss.

    Args:
        rate: The share of hits, from 0 to 1.
        trials: Of how many independent trials, ≥ 1.
        level: The interval's coverage, above 0 and below 1.

    Returns:
        (low, high), from 0 to 1, the rate between them.

    Examples:
        >>> low, high = wilson(1.0, 20)
        >>> round(low, 3), high
        (0.839, 1.0)
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = rate + z * z / (2 * trials)
    half = z * sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    low, high = ((middle + by) / (1 + z * z / trials) for by in (-half, half))
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))
