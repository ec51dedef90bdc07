"""A mean over trials with its confidence interval."""

from dataclasses import dataclass

import numpy as np


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
            NaN where a trial says nothing: it is left out of the figure and counted by `left_out`.
        clusters: (n,) int, which trials belong together (images of one class are no independent trials).
    """

    name: str
    values: np.ndarray
    clusters: np.ndarray

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        clusters = np.asarray(self.clusters, dtype=np.int64)
        if values.ndim != 1 or values.shape != clusters.shape:
            raise ValueError(
                f"an estimate needs one cluster per trial: got values {values.shape}, clusters {clusters.shape}"
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
        return float(np.nanmean(self.values)) if self.trials else float("nan")

    def interval(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
        """Percentile bootstrap over clusters.

        Args:
            level: The interval's coverage, between 0 and 1.
            draws: How often the clusters are drawn anew.
            seed: Of the draws.

        Returns:
            (low, high); NaN without trials.

        Examples:
            >>> import numpy as np
            >>> Estimate("always", np.ones(6), np.array([0, 0, 1, 1, 2, 2])).interval()
            (1.0, 1.0)
        """
        if not self.trials:
            return float("nan"), float("nan")
        counts_here = np.isfinite(self.values)
        _, cluster = np.unique(self.clusters[counts_here], return_inverse=True)
        sums = np.bincount(cluster, weights=self.values[counts_here])
        counts = np.bincount(cluster)
        drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.interval()
        return f"Estimate({self.name}: {short(self.value)} [{short(low)}, {short(high)}], n = {self.trials})"
