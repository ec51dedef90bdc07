"""Embeddings as a gallery holds them: checked, and scaled to length one for the cosine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dmlviz.index.metrics import Metric

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

Similarity = Literal["cosine", "dot", "l2"]
SIMILARITIES: tuple[str, ...] = get_args(Similarity)

_NAMED = 3
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Embeddings that were checked when they were written, so that they need not be read again to be used.

    Attributes:
        rows: (N, D) float32; on disk, perhaps.
        lengths: (N,) float64, their lengths.
    """

    rows: np.ndarray
    lengths: np.ndarray


def check_similarity(similarity: Any) -> None:
    """Refuse a similarity that is not known.

    Raises:
        ValueError: it is not one of `SIMILARITIES`.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"similarity must be one of {', '.join(map(repr, SIMILARITIES))}; got {similarity!r}"
        )


def metric_of(similarity: str) -> Metric:
    """How an index compares the rows of a gallery: "l2" for squared distances, "ip" for everything else."""
    return "l2" if similarity == "l2" else "ip"


def check_dimensions(embedder: "Embedder", query_embedder: "Embedder") -> None:
    """Refuse two embedders whose embeddings cannot be compared.

    Raises:
        ValueError: their dimensions differ.
    """
    if query_embedder.dim != embedder.dim:
        raise ValueError(
            f"queries and images can only be compared in one space: the query embedder {query_embedder.name!r} "
            f"gives {query_embedder.dim} dimensions, the gallery's {embedder.name!r} gives {embedder.dim}. "
            "Use two networks that were trained together"
        )


def as_embeddings(embeddings: Any, names: tuple[str, ...], dim: int) -> KeptRows:
    """Check embeddings against the images and the embedder they belong to.

    Args:
        embeddings: (N, D) real numbers; or `KeptRows`, of which only the shape is checked.
        names: names of the N images, for messages.
        dim: dimension D that the embedder says it has.

    Returns:
        (N, D) float32, C-contiguous, read-only, and their lengths.

    Raises:
        ValueError: wrong shape, or NaN or infinity (named by image).
    """
    kept = isinstance(embeddings, KeptRows)
    rows = np.ascontiguousarray(embeddings.rows if kept else embeddings, dtype=np.float32)
    if rows.shape != (len(names), dim):
        raise ValueError(
            f"expected embeddings of shape ({len(names)}, {dim}), one row per image and the embedder's "
            f"{dim} dimensions; got {rows.shape}"
        )
    lengths = embeddings.lengths if kept else lengths_of(rows)
    bad = np.flatnonzero(
        ~np.isfinite(lengths)
    )  # a sum in float64 over float32 numbers has room for all of them
    if len(bad):
        raise ValueError(
            f"embeddings must be finite; NaN or infinity came out for {named(bad, names)}. "
            "Look at these images and at the network's weights, or leave them out with images.subset(ids)"
        )
    rows = rows.view()
    rows.flags.writeable = False
    return KeptRows(rows, lengths)


def lengths_of(rows: np.ndarray) -> np.ndarray:
    """Euclidean length of each row: (N, D) float32 -> (N,) float64."""
    lengths = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        lengths[start : start + _ROWS] = np.linalg.norm(
            rows[start : start + _ROWS].astype(np.float64), axis=1
        )
    return lengths


def unit_rows(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows scaled to length one; divided in float64, rounded once.

    Args:
        rows: (N, D) float32.
        lengths: (N,) float64, all above 0.

    Returns:
        (N, D) float32.
    """
    scaled = np.empty_like(rows)
    for start in range(0, len(rows), _ROWS):
        block = slice(start, start + _ROWS)
        scaled[block] = rows[block] / lengths[block, None]
    return scaled


def named(ids: np.ndarray, names: tuple[str, ...]) -> str:
    """'image 3 ('x.jpg')', or the first few of many and how many there are."""
    listed = ", ".join(f"{i} ({names[i]!r})" for i in ids[:_NAMED])
    if len(ids) == 1:
        return f"image {listed}"
    return f"images {listed}" + (f", ... ({len(ids)} in all)" if len(ids) > _NAMED else "")
