"""Local embeddings as the page needs them: which cells look alike, whatever they weigh."""

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation import Decomposition

_ROWS = 8  # of the pair tensor, that are held against products


def product_scale(why: Decomposition) -> float | None:
    """The s for which every pair contributes s·⟨xᵢ, yⱼ⟩, the product of its two local embeddings.

    The page computes cosines of local embeddings from the pairs themselves, and packs pairs as products; both
    hold only where this is so. A few rows of the tensor are looked at.

    Returns:
        s; None where the pairs are no such products, or there are no pairs or local embeddings.
    """
    if why.contributions is None or why.query_local is None or why.gallery_local is None:
        return None
    q, g = (
        local.vectors.reshape(-1, local.vectors.shape[-1]) for local in (why.query_local, why.gallery_local)
    )
    shares = why.contributions.reshape(-1, why.contributions.shape[2] * why.contributions.shape[3])
    if q.shape[1] != g.shape[1] or shares.shape != (len(q), len(g)):
        return None
    rows = np.unique(np.linspace(0, len(q) - 1, min(_ROWS, len(q))).astype(int))
    products, seen = (q[rows] @ g.T).astype(np.float64), shares[rows].astype(np.float64)
    size = float(np.sum(products * products))
    scale = float(np.sum(products * seen)) / size if size > 0 else 0.0
    missed = float(np.abs(seen - scale * products).max(initial=0.0))
    return scale if missed <= 1e-4 * float(np.abs(seen).max(initial=0.0)) else None


def gram(local: LocalEmbeddings) -> np.ndarray:
    """(5, h, w) float32: each cell's product with itself, its right, lower, lower-right and lower-left neighbour.

    Enough for the length of any bilinear mix of neighbouring local embeddings, so that the page computes the
    cosines of `Decomposition.likeness_map` from shares of the similarity. Zero where there is no neighbour.
    """
    x = local.vectors.astype(np.float64)
    out = np.zeros((5, *local.grid), np.float32)
    out[0] = np.einsum("ijd,ijd->ij", x, x)
    out[1, :, :-1] = np.einsum("ijd,ijd->ij", x[:, :-1], x[:, 1:])
    out[2, :-1] = np.einsum("ijd,ijd->ij", x[:-1], x[1:])
    out[3, :-1, :-1] = np.einsum("ijd,ijd->ij", x[:-1, :-1], x[1:, 1:])
    out[4, :-1, 1:] = np.einsum("ijd,ijd->ij", x[:-1, 1:], x[1:, :-1])
    return out
