"""The same pictures in another gallery: seen by a network with random weights, or asked the other way round."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np

from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.retrieval import Gallery

Depth = int | Literal["head", "all"]
_CACHE_BYTES = 64 * 2**20
_KEPT = 2  # per gallery: after the head, after all layers
_Key = tuple[Depth, int, bytes, bytes]
_kept: "WeakKeyDictionary[Gallery, OrderedDict[_Key, Gallery]]" = WeakKeyDictionary()


def untrained_twin(gallery: "Gallery", pairs: Pairs, depth: Depth, seed: int) -> "Gallery":
    """The images of some pairs in a gallery of their own, embedded with random weights.

    Images and queries are numbered anew, in ascending order of their ids (see `places_in_twin`). Where queries have a
    network of their own, it gets other weights. The last two twins are kept as long as the gallery lives, for the
    methods that are asked about next.

    Args:
        gallery: The gallery.
        pairs: Whose images.
        depth: How many layers of each network are drawn anew, from the head downwards (all, where it has fewer);
            "head": those down to the first linear map or convolution; "all".
        seed: Of the weights.
    """
    queries, items = np.unique(pairs.queries), np.unique(pairs.items)
    key = (depth, seed, queries.tobytes(), items.tobytes())
    kept = _kept.setdefault(gallery, OrderedDict())
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    given = _untrained(gallery.embedder, depth, seed)
    same = gallery.query_embedder is gallery.embedder
    asked = given if same else _untrained(gallery.query_embedder, depth, seed + 1)
    images, asking = gallery.images.subset(items), gallery.queries.subset(queries)
    made = type(gallery)(
        images,
        given,
        given.embed(images),
        gallery.similarity,
        cache_bytes=_CACHE_BYTES,
        queries=asking,
        query_embedder=asked,
        query_embeddings=asked.embed(asking),
        leave_out=None,
    )
    kept[key] = made
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return made


def places_in_twin(pairs: Pairs) -> list[tuple[int, int]]:
    """Ids of query and gallery image of each pair in `untrained_twin`."""
    queries = np.searchsorted(np.unique(pairs.queries), pairs.queries)
    items = np.searchsorted(np.unique(pairs.items), pairs.items)
    return list(zip(queries.tolist(), items.tolist(), strict=True))


def reversed_gallery(gallery: "Gallery") -> "Gallery":
    """The gallery whose images are the queries, asked by the images; itself, where the images ask each other."""
    if gallery.queries is gallery.images and gallery.query_embedder is gallery.embedder:
        return gallery
    return type(gallery)(
        gallery.queries,
        gallery.query_embedder,
        gallery.query_embeddings,
        gallery.similarity,
        queries=gallery.images,
        query_embedder=gallery.embedder,
        query_embeddings=gallery.embeddings,
        leave_out=None,
    )


def explained_there(explained: Explained, gallery: "Gallery", what: str) -> Explained:
    """The same method with the same options, of another gallery.

    Args:
        explained: The explanations so far.
        gallery: The other gallery.
        what: What that is, for the error.

    Raises:
        ValueError: If the method does not suit it.
    """
    there = Explained(gallery, explained.name, **explained.options)
    if reason := there.unsuited:
        raise ValueError(f"the method {explained.name!r} does not suit {what}: {reason}")
    return there


def _untrained(embedder: "Embedder", depth: Depth, seed: int) -> "Embedder":
    from dmlviz.embedder import parametrised_layers, randomised
    from dmlviz.embedder.random_weights import head_layers

    if depth == "all":
        return randomised(embedder, seed=seed)
    count = head_layers(embedder) if depth == "head" else min(depth, len(parametrised_layers(embedder)))
    return randomised(embedder, count, seed)
