"""Protocols as one writes them first: the matrix of all similarities in float32, sorted whole."""

from collections.abc import Callable

import numpy as np

Figures = dict[str, float]


def judged_naively(protocol: str, rows: np.ndarray, labels: np.ndarray, cameras: np.ndarray) -> Figures:
    """The figures of a protocol, every image asking all others.

    Args:
        protocol: one of `NAIVE`.
        rows: (N, D) float32, of length one.
        labels: (N,) int64.
        cameras: (N,) int64.

    Returns:
        Name of a figure -> its mean over the queries that have something to find, as `Gallery.evaluate` names them.
    """
    similarities = rows @ rows.T
    if protocol == "market1501":
        taken = (labels[:, None] == labels) & (cameras[:, None] == cameras)
    else:
        taken = np.eye(len(rows), dtype=bool)
    similarities[taken] = -np.inf
    order = np.argsort(-similarities, axis=1)
    del similarities
    hits = labels[order] == labels[:, None]
    del order
    left = len(rows) - taken.sum(axis=1)
    hits[np.arange(len(rows)) >= left[:, None]] = False  # what was taken out comes last
    hits = hits[hits.any(axis=1)]
    return NAIVE[protocol](hits)


def _recalls(hits: np.ndarray) -> Figures:
    first = hits.argmax(axis=1)
    return {f"recall@{k}": float((first < k).mean()) for k in (1, 2, 4, 8, 16, 32)}


def _map_at_r(hits: np.ndarray) -> Figures:
    average, share = [], []
    for line in hits:
        within = line[: int(line.sum())]
        precision = within.cumsum() / np.arange(1, len(within) + 1)
        average.append((precision * within).sum() / len(within))
        share.append(within.mean())
    return {
        "MAP@R": float(np.mean(average)),
        "R-precision": float(np.mean(share)),
        "precision@1": float(hits[:, 0].mean()),
    }


def _persons(hits: np.ndarray) -> Figures:
    first = hits.argmax(axis=1)
    rectangles, trapezoids, hardest = [], [], []
    for line in hits:
        ranks = np.flatnonzero(line) + 1
        count = np.arange(1, len(ranks) + 1)
        before = np.where(ranks == 1, 1.0, (count - 1) / np.maximum(ranks - 1, 1))
        rectangles.append((count / ranks).mean())
        trapezoids.append(((before + count / ranks) / 2).mean())
        hardest.append(len(ranks) / ranks[-1])
    found = {f"CMC@{k}": float((first < k).mean()) for k in (1, 5, 10, 20)}
    means = {"mAP": rectangles, "mAP (trapezoid)": trapezoids, "mINP": hardest}
    return found | {name: float(np.mean(values)) for name, values in means.items()}


NAIVE: dict[str, Callable[[np.ndarray], Figures]] = {
    "cub": _recalls,
    "map@r": _map_at_r,
    "market1501": _persons,
}
