"""Overall maps on the query for a whole ranking, from the gallery's embeddings alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dmlviz.embedder import LocalEmbeddings
    from dmlviz.retrieval import Gallery


def ranking_maps(gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """What each cell of the query contributes to its similarity with each of many gallery images.

    Row sums of the pair tensor need no feature map of the gallery image: Σⱼ Dᵢⱼ + rᵢ = s·⟨xᵢ, e_g⟩, so one
    matrix product with the embeddings gives all the maps. Of a gallery that ranks by "l2" they are ⟨xᵢ, 2·e_g − e_q⟩:
    twice a cell's product with the image, less its share of the query's own squared length.

    Args:
        gallery: The gallery that was searched.
        query: The id of a query of the gallery, or whatever else `Gallery.search` takes as a query.
        ids: (k,) ids of gallery images.

    Returns:
        (k, hq, wq) float32, signed, in units of the similarity; map r equals
        `explain(gallery, query, ids[r]).overall_map("query")` up to rounding.

    Raises:
        IndexError: If an id is not in the gallery.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.explanation import ranking_maps
        >>> gallery = dv.demo_gallery()
        >>> ranking_maps(gallery, 0, gallery.search(0, k=50).ids).shape
        (50, 12, 12)
    """
    ids = np.asarray(ids, dtype=np.int64).reshape(-1)
    local = gallery.query_local(query)
    if gallery.similarity == "l2":
        return maps_from_embeddings(local.vectors, nearing(gallery, local, ids), np.ones(len(ids)))
    scale = gallery.scale(local.embedding, ids)
    return maps_from_embeddings(local.vectors, gallery.embeddings[ids], scale)


def nearing(gallery: "Gallery", query: "LocalEmbeddings", ids: np.ndarray) -> np.ndarray:
    """2·e_g − e_q of each gallery image, whose product with a cell of the query is its part of −‖e_q − e_g‖².

    Args:
        gallery: One that ranks by "l2".
        query: The query's local embeddings.
        ids: (k,) ids of gallery images.

    Returns:
        (k, D), the dtype of the query's vectors; taken in float64 and rounded once.

    Raises:
        IndexError: If an id is not in the gallery.
    """
    embeddings = gallery.embeddings[gallery.images.check_ids(ids)].astype(np.float64)
    own = query.vectors.sum((0, 1), dtype=np.float64) + query.offset
    return (2.0 * embeddings - own).astype(query.vectors.dtype)


def maps_from_embeddings(vectors: np.ndarray, embeddings: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The arithmetic of `ranking_maps` on plain arrays.

    Args:
        vectors: (h, w, D), a query's local embeddings.
        embeddings: (k, D), un-normalised gallery embeddings.
        scale: (k,), s of each pair: 1 for the dot product, 1/(‖e_q‖‖e_g‖) for the cosine, 1 for what `nearing`
            gives in the place of embeddings.

    Returns:
        (k, h, w), the dtype of `vectors`.
    """
    h, w, dimension = vectors.shape
    maps = embeddings @ vectors.reshape(-1, dimension).T
    maps *= np.asarray(scale, dtype=maps.dtype)[:, None]
    return maps.reshape(len(embeddings), h, w)
