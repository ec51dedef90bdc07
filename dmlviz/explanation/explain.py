"""Explain a pair, or a whole ranking, of a gallery."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.decomposition import Decomposition
from dmlviz.explanation.methods import method_named

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


def explain(
    gallery: "Gallery", query: Any, item: int, method: str = "decomposition", **options: Any
) -> Decomposition:
    """Say why a gallery image matches a query, in parts that add up to the score that ranked it.

    Args:
        gallery: The gallery that was searched.
        query: The id of a query of the gallery, or whatever else `Gallery.search` takes as a query.
        item: The id of the gallery image to explain.
        method: How; one of `METHODS`.
        **options: What the method takes beside the pair; see its own function.

    Returns:
        A `Decomposition` in float32 whose `similarity` is the number that the index ranks by and whose
        `residual` is measured against it.

    Raises:
        IndexError: If an id is not in the gallery.
        ValueError: If the method is unknown, or does not suit the gallery.
        TypeError: If the method has no such option.

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
    return explain_ranking(gallery, query, [item], method, **options)[0]


def explain_ranking(
    gallery: "Gallery",
    query: Any,
    ids: Sequence[int] | np.ndarray,
    method: str = "decomposition",
    **options: Any,
) -> list[Decomposition]:
    """Explain several gallery images against one query; the forward passes still missing go in one batch.

    Args:
        gallery: The gallery that was searched.
        query: As for `explain`.
        ids: (k,) ids of gallery images.
        method: One of `METHODS`.
        **options: What the method takes beside the pair.

    Returns:
        A `Decomposition` per id, in their order.

    Raises:
        IndexError: If an id is not in the gallery.
        ValueError: If the method is unknown, or does not suit the gallery.
        TypeError: If the method has no such option.
    """
    chosen = method_named(method)
    supplied = any(options.get(option) is not None for option in chosen.supplied_by)
    if not supplied and (reason := chosen.unsuited(gallery)):
        raise ValueError(f"the method {method!r} does not suit this gallery: {reason}")
    ids = [int(i) for i in ids]
    if not ids:
        return []
    return chosen.of_ranking(gallery, query, ids, **options)
