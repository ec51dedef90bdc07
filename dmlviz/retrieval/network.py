"""The embedder at work for a gallery: one call at a time, and nothing computed twice while it is remembered."""

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.images import ImageSet
from dmlviz.retrieval.local_cache import LocalCache
from dmlviz.retrieval.query import Query

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

_ONE_AT_A_TIME = threading.RLock()  # for all galleries: they may share a network
_EMBEDDINGS_KEPT = 64


class Network:
    """Local embeddings of a gallery's images and of queries, embeddings of queries.

    Args:
        images: the gallery's images.
        embedder: the embedder.
        cache_bytes: how much memory local embeddings may be kept in.
    """

    def __init__(self, images: ImageSet, embedder: "Embedder", cache_bytes: int) -> None:
        self._images = images
        self._embedder = embedder
        self._locals = LocalCache(cache_bytes)
        self._embeddings: OrderedDict[int | bytes, np.ndarray] = OrderedDict()

    def image(self, asked: Query) -> np.ndarray:
        """The picture, (H, W, 3) uint8."""
        if asked.image is not None:
            return asked.image
        assert asked.id is not None  # noqa: S101  # a query without a picture is an id
        return self._images[asked.id]

    def view(self, asked: Query) -> np.ndarray:
        """The picture as the network sees it, (H, W, 3) uint8."""
        return self._embedder.view(self.image(asked))

    def local_embeddings(self, asked: list[Query]) -> list[LocalEmbeddings]:
        """Local embeddings of each, those not remembered in one call of the network."""
        with _ONE_AT_A_TIME:
            found: dict[int | bytes, LocalEmbeddings] = {}
            missing: dict[int | bytes, Query] = {}
            for query in asked:
                local = self._locals.get(query.key)
                if local is None:
                    missing[query.key] = query
                else:
                    found[query.key] = local
            if missing:
                images = [self.image(query) for query in missing.values()]
                for key, local in zip(missing, self._embedder.local_embeddings(images), strict=True):
                    found[key] = local
                    self._locals.put(key, local)
        return [found[query.key] for query in asked]

    def embedding(self, asked: Query) -> np.ndarray:
        """Embedding (D,) float32 of a picture."""
        with _ONE_AT_A_TIME:
            embedding = self._embeddings.get(asked.key)
            if embedding is None:
                embedding = np.asarray(self._embedder.embed([self.image(asked)])[0], dtype=np.float32)
                self._embeddings[asked.key] = embedding
            self._embeddings.move_to_end(asked.key)
            while len(self._embeddings) > _EMBEDDINGS_KEPT:
                self._embeddings.popitem(last=False)
        return embedding
