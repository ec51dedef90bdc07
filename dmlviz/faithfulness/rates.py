"""A rate with its confidence interval."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Rate:
    """How often something held, and how sure that is.

    Attributes:
        name: What was counted.
        hits: (n,) float in [0, 1], one per trial; bool for yes and no, a probability for a baseline whose chance
            of a hit is known exactly.
        clusters: (n,) int, which trials belong together (images of one class are no independent trials).
    """

    name: str
    hits: np.ndarray
    clusters: np.ndarray

    @property
    def value(self) -> float:
        """The mean over trials; NaN without any."""
        return float(np.mean(self.hits)) if len(self.hits) else float("nan")

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
            >>> Rate("always", np.ones(6), np.array([0, 0, 1, 1, 2, 2])).interval()
            (1.0, 1.0)
        """
        if not len(self.hits):
            return float("nan"), float("nan")
        _, cluster = np.unique(self.clusters, return_inverse=True)
        sums = np.bincount(cluster, weights=np.asarray(self.hits, dtype=np.float64))
        counts = np.bincount(cluster)
        drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.interval()
        return f"Rate({self.name}: {self.value:.3f} [{low:.3f}, {high:.3f}], n = {len(self.hits)})"
