"""`Gallery`: an image set, its embeddings, an index and the embedder that made them."""

import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.images import ImageSet
from dmlviz.index import GalleryIndex
from dmlviz.retrieval.building import (
    ON_ERROR,
    check_embedder,
    embed,
    forget_unfinished,
    images_again,
    same_gallery,
)
from dmlviz.retrieval.embeddings import SIMILARITIES, as_embeddings, lengths_of, named, unit_rows
from dmlviz.retrieval.judging import evaluation, failures_frame, judge, per_query_frame
from dmlviz.retrieval.metrics import RECALL_AT, Evaluation, PerQuery
from dmlviz.retrieval.network import Network
from dmlviz.retrieval.query import Query, as_query
from dmlviz.retrieval.ranking import Ranking
from dmlviz.retrieval.region import cell_weights
from dmlviz.retrieval.storage import StoredGallery, check_target, holds_gallery, read_gallery, write_gallery

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.embedder import Embedder

CACHE_BYTES = 512 * 2**20


class Gallery:
    """Images that can be searched, and asked why.

    Made by `Gallery.build` or `Gallery.open`; this constructor takes embeddings that are already there.

    **Similarity.** "cosine" ranks by the cosine of the embeddings, "dot" by their dot product; higher is
    nearer. Under cosine an image whose embedding has length zero cannot be ranked: it is named in a warning,
    listed in `unranked` and never found.

    **Self-match** (leave-one-out). A query given by its id does not find itself, unless
    `exclude_self=False`. It is left out by its id, not by its similarity: an exact duplicate of it under
    another id is found. An image given as pixels or as a path is a new image: nothing is left out.

    **Threads.** Every method may be called from any thread; the network runs one call at a time.

    Args:
        images: the image set; ids are positions in it.
        embedder: the embedder that made the embeddings.
        embeddings: (N, D) real numbers, un-normalised, one row per image.
        similarity: "cosine" or "dot".
        index: the ranked rows where they are already indexed; made from the embeddings otherwise.
        skipped: (id, name, reason) of images that were left out because they could not be read.
        cache_bytes: how much memory local embeddings may be kept in.

    Raises:
        ValueError: unknown similarity, embeddings of a wrong shape, or with NaN or infinity.

    Warns:
        UserWarning: under cosine, images whose embedding has length zero.
    """

    def __init__(
        self,
        images: ImageSet,
        embedder: "Embedder",
        embeddings: Any,
        similarity: str = "cosine",
        *,
        index: GalleryIndex | None = None,
        skipped: Sequence[tuple[int, str, str]] = (),
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        _check_similarity(similarity)
        self.images = images
        self.embedder = embedder
        self.similarity = similarity
        self.skipped = tuple(skipped)
        self.embeddings = as_embeddings(embeddings, images.names, embedder.dim)
        self._lengths = lengths_of(self.embeddings)
        ranked = self._lengths > 0 if similarity == "cosine" else np.ones(len(images), dtype=bool)
        self._ids = np.flatnonzero(ranked).astype(np.int64)
        self._row_of = np.where(ranked, np.cumsum(ranked) - 1, -1).astype(np.int64)
        if len(self.unranked):
            warnings.warn(
                f"the embedding of {named(np.array(self.unranked), images.names)} has length zero, so its cosine "
                "is undefined: not ranked (see gallery.unranked)",
                stacklevel=2,
            )
        self.index = GalleryIndex.build(self._rows_to_rank()) if index is None else index
        self._network = Network(images, embedder, cache_bytes)
        self._judged: PerQuery | None = None
        self._judging = threading.Lock()

    # --- made, kept and found again -----------------------------------------------------------------

    @classmethod
    def build(
        cls,
        images: ImageSet,
        embedder: "Embedder",
        path: str | os.PathLike[str] | None = None,
        similarity: str = "cosine",
        batch_size: int = 64,
        workers: int = 0,
        progress: bool = True,
        on_error: str = "raise",
    ) -> "Gallery":
        """Embed an image set and index it.

        With a path, the gallery is kept in that folder, written whole at the end. What is embedded until an
        interruption is kept beside it (`<path>.unfinished`), and the next call goes on from there. Where the
        very same gallery lies there already, it is opened instead of being built again.

        Args:
            images: the image set.
            embedder: the embedder.
            path: folder to keep the gallery in; None keeps it in memory only.
            similarity: "cosine" or "dot".
            batch_size: images per forward pass.
            workers: processes that read images; 0 reads in this one.
            progress: show a progress bar.
            on_error: "raise" stops at an image that cannot be read, "skip" leaves it out: it is listed in
                `skipped` and the other images are renumbered.

        Raises:
            ValueError: no images, unknown option, embeddings that are not finite.
            ImageReadError: an image cannot be read and `on_error` is "raise".
            FileNotFoundError: the folder that should hold `path` does not exist.
            GalleryError: something else, or another gallery, lies at `path`.
        """
        _check_similarity(similarity)
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        if len(images) == 0:
            raise ValueError("the image set is empty; a gallery needs at least one image")
        folder = None if path is None else Path(os.fsdecode(path))
        if folder is not None:
            check_target(folder)
            if holds_gallery(folder):
                stored = same_gallery(folder, images, embedder, similarity, on_error)
                if stored is not None:
                    return cls._from_stored(stored, embedder, images_again(stored, images))
        embedded = embed(
            images,
            embedder,
            folder,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
            on_error=on_error,
        )
        kept = images.subset(embedded.ids) if embedded.failed else images
        gallery = cls(kept, embedder, embedded.embeddings, similarity, skipped=embedded.failed)
        if folder is not None:
            write_gallery(
                folder,
                gallery.embeddings,
                gallery.index,
                kept,
                similarity=similarity,
                embedder_name=embedder.name,
                embedder_fingerprint=embedder.fingerprint,
                images_fingerprint=images.fingerprint,
                skipped=gallery.skipped,
            )
            forget_unfinished(folder)
        return gallery

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], embedder: "Embedder", images: ImageSet | None = None
    ) -> "Gallery":
        """Open a gallery that `build` kept on disk.

        Args:
            path: its folder.
            embedder: the embedder that built it; another one is refused.
            images: the image set that it was built from. Not needed where the images were files: they are
                found again where they lay, or at the same place relative to the gallery's folder.

        Raises:
            FileNotFoundError: there is no gallery, or its image files are gone.
            GalleryError: it is half-written or was changed, or belongs to another embedder or other images.
        """
        stored = read_gallery(Path(os.fsdecode(path)))
        check_embedder(stored, embedder)
        return cls._from_stored(stored, embedder, images_again(stored, images))

    @classmethod
    def _from_stored(cls, stored: StoredGallery, embedder: "Embedder", images: ImageSet) -> "Gallery":
        return cls(
            images,
            embedder,
            stored.embeddings,
            stored.sidecar["similarity"],
            index=stored.index,
            skipped=stored.skipped,
        )

    # --- what is in it --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray | None:
        """Class labels (N,), text; None for an unlabelled gallery."""
        return self.images.labels

    @property
    def unranked(self) -> tuple[int, ...]:
        """Ids of images that cannot be ranked: under cosine, those whose embedding has length zero."""
        return tuple(np.flatnonzero(self._row_of < 0).tolist())

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        return (
            f"Gallery({len(self)} images, {classes}, {self.embedder.dim} dimensions, {self.similarity}, "
            f"embedder {self.embedder.name!r})"
        )

    @property
    def query_embedder(self) -> "Embedder":
        """The embedder of queries."""
        return self.embedder

    def image(self, query: Any) -> np.ndarray:
        """A query's picture as it came, (h, w, 3) uint8: an image id, or any image that `search` takes."""
        return self._network.image(as_query(query, self.images))

    def view(self, query: Any) -> np.ndarray:
        """An image as the network sees it, (H, W, 3) uint8: resized and cropped, before normalisation.

        Args:
            query: image id, or any image that `search` takes.
        """
        return self._network.view(as_query(query, self.images))

    # --- searched -------------------------------------------------------------------------------------

    def search(self, query: Any, k: int = 10, exclude_self: bool = True) -> Ranking:
        """Rank the gallery's images by their similarity to a query.

        Args:
            query: image id, (H, W, 3) uint8 array, Pillow image, or path of an image file.
            k: how many images to return, at least 1; cut to how many there are.
            exclude_self: whether a query given by its id is left out of its own ranking.

        Raises:
            IndexError: an id that is not in the gallery.
            TypeError: a query or k of another type.
            ValueError: k below 1, or, under cosine, a query whose embedding has length zero.
            FileNotFoundError: there is no such file.
        """
        asked = as_query(query, self.images)
        return self._rank(asked, self._asking(asked), k, exclude_self, "similarity")

    def search_region(self, query: Any, mask: Any, k: int = 10, exclude_self: bool = True) -> Ranking:
        """Rank the gallery's images by what a region of the query contributes to the similarity.

        The region's local embeddings, summed with the weights of the mask (and divided by the length of the
        query's embedding under cosine), are searched for. So the similarity reported is exactly that
        region's part of the full similarity: the sum of the query's overall map over the region. Parts may
        be negative.

        Args:
            query: as for `search`.
            mask: (h, w) over the query's cells, or (H, W) over the pixels of its view; bool, or weights from
                0 to 1. A mask over pixels gives each cell the mean over the pixels nearest to its centre.
            k: as for `search`.
            exclude_self: as for `search`.

        Raises:
            ValueError: a mask of another shape, with values outside 0 to 1, or empty; else as `search`.
        """
        asked = as_query(query, self.images)
        local = self.query_local(asked)
        weights = cell_weights(mask, local.grid, self.embedder.input_size, self.embedder.geometry)
        asking = np.einsum("hw,hwd->d", weights, local.vectors, dtype=np.float64)
        if self.similarity == "cosine":
            asking = asking / self._length_of(asked)
        return self._rank(asked, asking.astype(np.float32), k, exclude_self, "region")

    def score(self, query: Any, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The similarity of a query to chosen images: the very numbers that `search` ranks by.

        Args:
            query: as for `search`.
            ids: (k,) image ids.

        Returns:
            (k,) float32; NaN where a cosine is undefined, because an embedding has length zero.

        Raises:
            IndexError: an id that is not in the gallery.
        """
        asked = as_query(query, self.images)
        rows = self._row_of[self.images.check_ids(ids)]
        scores = np.full(len(rows), np.nan, dtype=np.float32)
        if self.similarity == "dot" or np.any(self.query_embedding(asked)):
            scores[rows >= 0] = self.index.similarity(self._asking(asked), rows[rows >= 0])[0]
        return scores

    def scale(self, query_embedding: np.ndarray, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The factor s that turns dot products of embeddings into similarities, for each pair.

        Args:
            query_embedding: (D,), un-normalised.
            ids: (k,) image ids.

        Returns:
            (k,) float64: 1 for "dot"; 1/(‖e_q‖‖e_g‖) for "cosine", 0 where a length is zero.

        Raises:
            IndexError: an id that is not in the gallery.
        """
        chosen = self.images.check_ids(ids)
        if self.similarity == "dot":
            return np.ones(len(chosen))
        products = (
            float(np.linalg.norm(np.asarray(query_embedding, dtype=np.float64))) * self._lengths[chosen]
        )
        return np.divide(1.0, products, out=np.zeros(len(chosen)), where=products > 0)

    # --- judged ---------------------------------------------------------------------------------------

    def evaluate(self, recall_at: Sequence[int] = RECALL_AT) -> Evaluation:
        """Let every image ask for its class: recall@k, precision@1, R-precision, mAP@R.

        Each by its published definition, on the full ranking of every query; see `Evaluation`. The work is
        done once and remembered.

        Args:
            recall_at: the values of k.

        Raises:
            ValueError: the gallery has no labels, no class has two images, or a k is below 1.
        """
        return evaluation(self._per_query(), recall_at)

    def per_query(self) -> "pd.DataFrame":
        """One row per image of the gallery, asked as a query.

        Columns: name, label, evaluated (False: alone in its class, or unranked), hit (bool, whether the
        first image found is right), first_hit_rank (from 1; 0 where not evaluated), margin (similarity of the
        best right image minus that of the best wrong one; negative for a miss, NaN where one is lacking), right
        and wrong (ids of those two, -1 where lacking). The index is the id.

        Raises:
            ValueError: the gallery has no labels.
        """
        return per_query_frame(self._per_query(), self.images)

    def failures(self) -> "pd.DataFrame":
        """One row per missed query: its first image is of another class.

        Sorted by margin, most negative (worst) first, then by query; `frame.attrs["sorted_by"]` says so.
        Columns: query, name, label, first_hit_rank, wrong (id of the image found first), wrong_label,
        wrong_similarity, right (id of the best image of the query's class), right_similarity, margin
        (right_similarity - wrong_similarity, never positive).

        Raises:
            ValueError: the gallery has no labels.
        """
        return failures_frame(self._per_query(), self.images)

    def _per_query(self) -> PerQuery:
        with self._judging:
            if self._judged is None:
                self._judged = judge(self.index.vectors, self._ids, self.images)
            return self._judged

    # --- taken apart ----------------------------------------------------------------------------------

    def local_embeddings(self, i: int) -> LocalEmbeddings:
        """Local embeddings of one image of the gallery, remembered.

        Raises:
            IndexError: an id that is not in the gallery.
        """
        return self.local_embeddings_of([i])[0]

    def local_embeddings_of(self, ids: Sequence[int] | np.ndarray) -> list[LocalEmbeddings]:
        """Local embeddings of several images, those not remembered in one batch through the network.

        Args:
            ids: (k,) image ids.

        Returns:
            k local embeddings, in the order of the ids.

        Raises:
            IndexError: an id that is not in the gallery.
        """
        return self._network.local_embeddings(
            [Query(i, None, i) for i in self.images.check_ids(ids).tolist()]
        )

    def query_local(self, query: Any) -> LocalEmbeddings:
        """Local embeddings of a query: an image id, or any image that `search` takes."""
        return self._network.local_embeddings([as_query(query, self.images)])[0]

    def query_embedding(self, query: Any) -> np.ndarray:
        """Embedding of a query, (D,) float32, un-normalised: the stored one for an image id."""
        asked = as_query(query, self.images)
        if asked.id is not None:
            return self.embeddings[asked.id]
        return self._network.embedding(asked)

    # --- inside ---------------------------------------------------------------------------------------

    def _rows_to_rank(self) -> np.ndarray:
        if self.similarity == "dot":
            return self.embeddings
        return unit_rows(self.embeddings[self._ids], self._lengths[self._ids])

    def _length_of(self, asked: Query) -> float:
        embedding = self.query_embedding(asked)
        length = float(lengths_of(embedding[None])[0])
        if length == 0:
            what = "this image" if asked.id is None else named(np.array([asked.id]), self.images.names)
            raise ValueError(
                f"the embedding of {what} has length zero, so its cosine to anything is undefined; "
                "ask with another image, or build the gallery with similarity='dot'"
            )
        return length

    def _asking(self, asked: Query) -> np.ndarray:
        """(D,) float32, the row to search with; for an image of the gallery, the very row that is indexed."""
        if asked.id is not None and self._row_of[asked.id] >= 0:
            return self.index.vectors[self._row_of[asked.id]]
        embedding = self.query_embedding(asked)
        if self.similarity == "dot":
            return embedding
        return unit_rows(embedding[None], np.array([self._length_of(asked)]))[0]

    def _rank(self, asked: Query, row: np.ndarray, k: int, exclude_self: bool, ranked_by: str) -> Ranking:
        leave_out = asked.id is not None and exclude_self
        exclude = np.array([self._row_of[asked.id]]) if leave_out else None
        rows, similarities = self.index.search(row, k, exclude)
        ids = self._ids[rows[0]]
        labels = label = hits = None
        if self.labels is not None:
            labels = self.labels[ids]
            if asked.id is not None:
                label = str(self.labels[asked.id])
                hits = np.asarray(labels == label)
        return Ranking(
            query=asked.id,
            query_label=label,
            ids=ids,
            similarities=similarities[0],
            labels=labels,
            hits=hits,
            names=tuple(self.images.names[i] for i in ids),
            ranked_by=ranked_by,
        )


def _check_similarity(similarity: str) -> None:
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"similarity must be one of {', '.join(map(repr, SIMILARITIES))}; got {similarity!r}"
        )
