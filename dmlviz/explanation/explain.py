"""Explain a pair, or a whole ranking, of a gallery."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dmlviz.explanation.decomposition import (
    Decomposition,
    Similarity,
    decompose_similarity,
    rounding_tolerance,
)

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

METHODS: tuple[str, ...] = ("decomposition",)


def explain(gallery: "Gallery", query: Any, item: int, method: str = "decomposition") -> Decomposition:
    """Say why a gallery image matches a query, in parts that add up to the score that ranked it.

    Args:
        gallery: The gallery that was searched.
        query: An image id of the gallery, or whatever else `Gallery.search` takes as a query.
        item: The id of the gallery image to explain.
        method: How; one of `METHODS`.

    Returns:
        A `Decomposition` in float32 whose `similarity` is the number that the index ranks by and whose
        `residual` is measured against it.

    Raises:
        IndexError: If an id is not in the gallery.
        ValueError: If the method is unknown.

    Examples:
        >>> import dmlviz as dv
        >>> gallery = dv.demo_gallery()
        >>> best = gallery.search(0, k=1).ids[0]
        >>> why = dv.explain(gallery, 0, best)
        >>> why.adds_up
        True
        >>> abs(why.pairs + why.offsets - why.similarity) < 1e-5
        True
    """
    return explain_ranking(gallery, query, [item], method)[0]


def explain_ranking(
    gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, method: str = "decomposition"
) -> list[Decomposition]:
    """Explain several gallery images against one query; the forward passes still missing go in one batch.

    Args:
        gallery: The gallery that was searched.
        query: As for `explain`.
        ids: (k,) ids of gallery images.
        method: One of `METHODS`.

    Returns:
        A `Decomposition` per id, in their order.

    Raises:
        IndexError: If an id is not in the gallery.
        ValueError: If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
    ids = [int(i) for i in ids]
    if not ids:
        return []
    scores = gallery.score(query, np.asarray(ids, dtype=np.int64))
    query_local = gallery.query_local(query)
    embedder = gallery.embedder
    explained = []
    for score, local in zip(scores, gallery.local_embeddings_of(ids), strict=True):
        why = decompose_similarity(query_local, local, cast(Similarity, gallery.similarity))
        undefined = not np.isfinite(why.similarity)
        explained.append(
            replace(
                why,
                similarity=why.similarity if undefined else float(score),
                tolerance=rounding_tolerance(why.contributions.dtype, float(score)),
                note="; ".join(filter(None, (why.note, embedder.note))),
                query_geometry=embedder.geometry,
                gallery_geometry=embedder.geometry,
            )
        )
    return explained
