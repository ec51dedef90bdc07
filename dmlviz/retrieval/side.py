"""One side of a gallery: its images, or its queries, with their embedder and their embeddings."""

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.images import ImageSet
from dmlviz.index.metrics import Metric
from dmlviz.retrieval.embeddings import as_embeddings, lengths_of, metric_of, named, unit_rows
from dmlviz.retrieval.network import Network
from dmlviz.retrieval.query import Query, as_query

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder


class Side:
    """Images and what their embedder makes of them; ids are positions in the image set.

    Args:
        images: the N images.
        embedder: the embedder that made the embeddings.
        embeddings: (N, D) real numbers, un-normalised; or `KeptRows`.
        similarity: "cosine", "dot" or "l2".
        cache_bytes: how much memory local embeddings may be kept in.
        useless: what an image whose embedding has length zero cannot do, for the warning.

    Attributes:
        embeddings: (N, D) float32, read-only.
        lengths: (N,) float64.
        ids: (n,) int64, ascending: the images that have a row to be compared by.
        row_of: (N,) int64, the row of each image; -1 where it has none.

    Raises:
        ValueError: embeddings of a wrong shape, or with NaN or infinity.

    Warns:
        UserWarning: under cosine, images whose embedding has length zero.
    """

    def __init__(
        self,
        images: ImageSet,
        embedder: "Embedder",
        embeddings: Any,
        similarity: str,
        cache_bytes: int,
        useless: str,
    ) -> None:
        self.images = images
        self.embedder = embedder
        self.similarity = similarity
        checked = as_embeddings(embeddings, images.names, embedder.dim)
        self.embeddings, self.lengths = checked.rows, checked.lengths
        usable = self.lengths > 0 if similarity == "cosine" else np.ones(len(images), dtype=bool)
        self.ids = np.flatnonzero(usable).astype(np.int64)
        self.row_of = np.where(usable, np.cumsum(usable) - 1, -1).astype(np.int64)
        self.network = Network(images, embedder, cache_bytes)
        if not usable.all():
            warnings.warn(
                f"the embedding of {named(np.flatnonzero(~usable), images.names)} has length zero, so its cosine "
                f"is undefined: {useless}",
                stacklevel=3,
            )

    @cached_property
    def rows(self) -> np.ndarray:
        """(n, D) float32, what is compared: the embeddings, under cosine scaled to length one."""
        if self.similarity != "cosine":
            return self.embeddings
        return unit_rows(self.embeddings[self.ids], self.lengths[self.ids])

    @property
    def metric(self) -> Metric:
        """How rows are compared: "ip", or "l2" where the similarity is minus a squared distance."""
        return metric_of(self.similarity)

    @property
    def without_row(self) -> tuple[int, ...]:
        """Ids of images that have no row."""
        return tuple(np.flatnonzero(self.row_of < 0).tolist())

    def asked(self, query: Any) -> Query:
        """Recognise an id of this side, or another picture; see `as_query`."""
        return as_query(query, self.images)

    def image(self, query: Any) -> np.ndarray:
        """The picture as it came, (h, w, 3) uint8."""
        return self.network.image(self.asked(query))

    def view(self, query: Any) -> np.ndarray:
        """The picture as this side's network sees it, (H, W, 3) uint8."""
        return self.network.view(self.asked(query))

    def local(self, queries: list[Query]) -> list[LocalEmbeddings]:
        """Local embeddings of several, those not remembered in one batch through the network."""
        return self.network.local_embeddings(queries)

    def embedding(self, asked: Query) -> np.ndarray:
        """(D,) float32, un-normalised: the one that is kept for an id."""
        return self.network.embedding(asked) if asked.id is None else self.embeddings[asked.id]

    def length(self, asked: Query) -> float:
        """Length of the embedding of a picture that is asked with under cosine.

        Raises:
            ValueError: it is zero.
        """
        length = float(
            lengths_of(self.embedding(asked)[None])[0] if asked.id is None else self.lengths[asked.id]
        )
        if length == 0:
            what = "this image" if asked.id is None else named(np.array([asked.id]), self.images.names)
            raise ValueError(
                f"the embedding of {what} has length zero, so its cosine to anything is undefined; "
                "ask with another image, or build the gallery with similarity='dot' or 'l2'"
            )
        return length

    def row(self, asked: Query) -> np.ndarray:
        """(D,) float32, the row to compare with: the very one that is kept for an id.

        Raises:
            ValueError: under cosine, an embedding of length zero.
        """
        if asked.id is not None and self.row_of[asked.id] >= 0 and "rows" in self.__dict__:
            return np.asarray(self.rows[self.row_of[asked.id]])
        embedding = self.embedding(asked)
        if self.similarity != "cosine":
            return embedding
        return unit_rows(embedding[None], np.array([self.length(asked)]))[0]
