"""Pair tensors small enough for a page: rounded, then balanced so that their sums stay exact.

*Steps*: each tensor as int16 or int8 times a step. *Factors*: the local
embeddings of every image once, rotated into the principal axes of all exported images and rounded with one step, so
that the many small components compress well; a pair is their product. `balanced` then spreads what rounding
took evenly, so that every row and column sums to the exact overall map less its offset term.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.explanation import Decomposition, Side


@dataclass(frozen=True, eq=False)
class Factors:
    """Rounded local embeddings of a page's images.

    Attributes:
        cells: By key (n, rank) int16, one row per cell in row-major order.
        step: What one unit stands for.
        rank: Number of principal axes kept; the others round to zero everywhere.
    """

    cells: dict[Any, np.ndarray]
    step: float
    rank: int

    def pairs(self, query: Hashable, item: Hashable, scale: float) -> np.ndarray:
        """(nq, ng) float32, the rounded pair tensor before it is balanced."""
        q, g = self.cells[query].astype(np.int64), self.cells[item].astype(np.int64)
        return ((q @ g.T) * (scale * self.step * self.step)).astype(np.float32)


def factors_of(vectors: Mapping[Any, np.ndarray], bits: int = 8) -> Factors:
    """Round local embeddings in the principal axes of all of them.

    Args:
        vectors: By any key (h, w, D), finite; all of one D.
        bits: How many the largest component gets, 2 to 16; each more halves the error.

    Returns:
        Their `Factors`; with vectors of zero length only, one axis of zeros.
    """
    flat = {item: v.reshape(-1, v.shape[-1]).astype(np.float64) for item, v in vectors.items()}
    every = np.concatenate(list(flat.values()))
    _, axes = np.linalg.eigh(every.T @ every)
    axes = axes[:, ::-1]  # the largest first
    largest = float(np.abs(every @ axes).max(initial=0.0))
    step = largest / (2 ** (bits - 1) - 1) if largest > 0 else 1.0
    rounded = {item: np.rint(v @ axes / step).astype(np.int16) for item, v in flat.items()}
    used = np.flatnonzero(np.any([r.any(axis=0) for r in rounded.values()], axis=0))
    rank = int(used[-1]) + 1 if len(used) else 1
    return Factors({item: np.ascontiguousarray(r[:, :rank]) for item, r in rounded.items()}, step, rank)


def stepped(tensor: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """A pair tensor as int8 or int16 and the step that one unit stands for."""
    largest, most = float(np.abs(tensor).max(initial=0.0)), 2 ** (bits - 1) - 1
    step = largest / most if largest > 0 else 1.0
    return np.rint(tensor.reshape(-1) / step).astype(np.int8 if bits == 8 else np.int16), step


def balanced(rounded: np.ndarray, why: Decomposition) -> np.ndarray:
    """What the page makes of a rounded tensor; the slow twin of the page's own balance.

    Args:
        rounded: (nq, ng) float32.
        why: The exact decomposition.

    Returns:
        (nq, ng) float32 whose rows and columns sum to the exact overall maps less their offset terms.
    """
    rows, cols = _without_offset(why, "query"), _without_offset(why, "gallery")
    nq, ng = rounded.shape
    tensor = rounded.astype(np.float64)
    by_row, by_col = rows - tensor.sum(1), cols - tensor.sum(0)
    return (tensor + by_row[:, None] / ng + by_col[None] / nq - by_row.sum() / (nq * ng)).astype(np.float32)


def largest_error(rounded: Sequence[np.ndarray], why: Sequence[Decomposition]) -> float:
    """How far any balanced tensor lies from its exact one, in units of the similarity."""
    return max(
        float(np.abs(balanced(tensor, exact) - exact.contributions.reshape(tensor.shape)).max(initial=0.0))
        for tensor, exact in zip(rounded, why, strict=True)
        if exact.contributions is not None
    )


def _without_offset(why: Decomposition, side: Side) -> np.ndarray:
    offset = why.query_offset if side == "query" else why.gallery_offset
    overall = why.overall_map(side).astype(np.float64)
    return (overall if offset is None else overall - offset).reshape(-1)
