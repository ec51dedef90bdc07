"""K-means: rows put into groups around their means."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.index import engine as _engine
from dmlviz.index.checks import as_count, as_float32, as_rows
from dmlviz.index.threads import search_threads, threads_for

faiss: Any = _engine.faiss  # its type stubs lack what its Python layer adds


@dataclass(frozen=True, eq=False)
class Clustering:
    """Rows in groups.

    Attributes:
        cluster: (N,) int64, the group of each row, from 0 to k - 1: that of the nearest centre.
        centres: (k, D) float32, the mean of each group as the last iteration left it.
        error: mean squared distance of a row to its centre.
    """

    cluster: np.ndarray
    centres: np.ndarray
    error: float


def kmeans(rows: Any, k: int, seed: int = 0, iterations: int = 20) -> Clustering:
    """Put rows into k groups by Lloyd's iterations from k rows drawn at random (FAISS).

    All rows take part in every iteration. An empty group takes over half of a large one. The rows are centred first,
    as FAISS's distances lose their digits far from the origin.

    Args:
        rows: (N, D) finite real numbers.
        k: number of groups, from 1 to N.
        seed: of the k rows drawn at first; the same seed gives the same groups on one machine.
        iterations: at least 1.

    Returns:
        The groups.

    Raises:
        ValueError: rows of another shape or with NaN or infinity, k not from 1 to N, iterations below 1.
        TypeError: rows that are no numbers, or k, seed or iterations that are no whole numbers.

    Example:
        >>> kmeans([[0, 0], [9, 9], [0, 1], [9, 8]], k=2).error
        0.25
    """
    given = as_rows(rows, "rows")
    if given.ndim != 2 or 0 in given.shape:
        raise ValueError(f"rows must be of shape (N, D) with N and D at least 1, got {given.shape}")
    k, iterations = as_count(k), _whole(iterations, "iterations")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    kept = as_float32(given, "rows")
    count, dim = kept.shape
    if k > count:
        raise ValueError(f"k must be at most the number of rows, {count}; got {k}")
    mean = kept.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = np.ascontiguousarray(kept - mean)
    with search_threads(threads_for(count)):
        engine = faiss.Kmeans(
            dim,
            k,
            niter=iterations,
            seed=_whole(seed, "seed") % 2**31,
            verbose=False,
            min_points_per_centroid=1,
            max_points_per_centroid=count // k + 1,
        )
        engine.train(centred)
        cluster = np.asarray(engine.index.search(centred, 1)[1][:, 0], dtype=np.int64)
    centres = np.asarray(engine.centroids, dtype=np.float32).reshape(k, dim)
    error = sum(
        float(np.square(centred[i : i + 4096].astype(np.float64) - centres[cluster[i : i + 4096]]).sum())
        for i in range(0, count, 4096)
    )
    return Clustering(cluster, centres + mean, error / count)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what} must be a whole number, got {value!r}")
    return int(value)
