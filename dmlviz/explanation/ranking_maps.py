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
    local = gallery.query_local(query)
    held, _ = held_against(gallery, local, np.asarray(ids, dtype=np.int64).reshape(-1))
    return overall_maps(local, held)


def held_against(
    gallery: "Gallery", query: "LocalEmbeddings", ids: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the query's cells are multiplied by to give their parts of a similarity, and what is in no cell.

    S = ⟨e_q, v⟩ + c with v and c of each gallery image: v = s·e_g and c = 0 for products (s = 1 for the dot product,
    1/(‖e_q‖‖e_g‖) for the cosine, 0 where that is undefined); v = 2·e_g − e_q and c = −‖e_g‖² for "l2", the query's
    own squared length lying on its own cells.

    Args:
        gallery: The gallery that was searched.
        query: The query's local embeddings.
        ids: (k,) ids of gallery images.

    Returns:
        v (k, D) and c (k,), float64.

    Raises:
        IndexError: If an id is not in the gallery.
    """
    if gallery.similarity == "l2":
        embeddings = gallery.embeddings[gallery.images.check_ids(ids)].astype(np.float64)
        own = query.vectors.sum((0, 1), dtype=np.float64) + query.offset
        return 2.0 * embeddings - own, -np.square(embeddings).sum(1)
    scale = gallery.scale(query.embedding, ids)
    return scale[:, None] * gallery.embeddings[ids].astype(np.float64), np.zeros(len(scale))


def overall_maps(query: "LocalEmbeddings", held: np.ndarray) -> np.ndarray:
    """⟨xᵢ, v⟩ of each cell of the query with each of some vectors (k, D): (k, h, w), the dtype of the cells."""
    h, w, dimension = query.vectors.shape
    maps = held.astype(query.vectors.dtype) @ query.vectors.reshape(-1, dimension).T
    return np.asarray(maps.reshape(len(held), h, w))
