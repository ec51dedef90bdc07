"""The exact decomposition of a gallery's similarities, from the local embeddings that it remembers."""

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
from dmlviz.explanation.method import Method, against_index, suits_all
from dmlviz.explanation.offset_modes import Offsets, with_offsets
from dmlviz.explanation.squared_distances import against_float32

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


def decompose_ranking(
    gallery: "Gallery",
    query: Any,
    ids: Sequence[int] | np.ndarray,
    *,
    offsets: Offsets = "separate",
    published: bool = False,
) -> list[Decomposition]:
    """Decompose the similarities of a query to several gallery images; see `decompose_similarity`.

    Of a gallery that ranks by "l2" the score is minus the squared distance, and each image's own squared length
    stands among the offsets: "spread" lays it over the cells as an even plate, "drop" leaves twice the products of
    the cells alone.

    Args:
        gallery: The gallery that was searched.
        query: The id of a query of the gallery, or whatever else `Gallery.search` takes as a query.
        ids: (k,) ids of gallery images.
        offsets: "separate", "spread" (over the cells) or "drop"; see `with_offsets`.
        published: Do the arithmetic of the published code instead, which drops the offsets whatever `offsets`
            says: the same as the method "published-decomposition".

    Raises:
        ValueError: If the mode of the offsets is unknown, or the published arithmetic does not suit the gallery.
    """
    if published:
        from dmlviz.explanation.explain import explain_ranking

        return explain_ranking(gallery, query, ids, "published-decomposition")
    chosen = [int(i) for i in ids]
    query_local = gallery.query_local(query)
    kind = cast(Similarity, gallery.similarity)
    whys = [decompose_similarity(query_local, local, kind) for local in gallery.local_embeddings_of(chosen)]
    if kind == "l2":
        whys = [against_float32(why) for why in whys]
    held = against_index(gallery, query, chosen, [with_offsets(why, offsets) for why in whys])
    if kind == "l2":
        return held
    return [replace(why, tolerance=rounding_tolerance(np.dtype(np.float32), why.similarity)) for why in held]


OFFERED = (
    Method(
        name="decomposition",
        title="decomposition",
        says="Every pair of cells by its exact share. The shares and the offsets (of a squared distance also each "
        "image's own length) add up to the score.",
        cost="1 forward pass of each image, none once they are remembered",
        of_ranking=decompose_ranking,
        unsuited=suits_all,
        pairwise=True,
        linear=True,
    ),
)
