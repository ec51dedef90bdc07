"""`Gallery`: images that can be searched, by each other or by a query set, and the embedders that see them."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.images import ImageSet
from dmlviz.index import GalleryIndex, RecallCheck
from dmlviz.retrieval.building import Plan, build_gallery
from dmlviz.retrieval.embeddings import check_dimensions, check_similarity
from dmlviz.retrieval.index_choice import as_options, indexed
from dmlviz.retrieval.judged import Judged
from dmlviz.retrieval.kept import Kept
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.opening import open_gallery
from dmlviz.retrieval.query import Query
from dmlviz.retrieval.ranking import Ranking
from dmlviz.retrieval.region import cell_weights
from dmlviz.retrieval.searching import largest_products, nearest
from dmlviz.retrieval.side import Side

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

CACHE_BYTES = 512 * 2**20
Find = Callable[[np.ndarray | None], tuple[np.ndarray, np.ndarray]]  # rows left out -> rows and similarities


class Gallery(Judged, Kept):
    """Images that can be searched, and asked why.

    Made by `Gallery.build` or `Gallery.open`; this constructor takes embeddings that are already there.

    **Similarity.** "cosine" ranks by the cosine of the embeddings, "dot" by their dot product, "l2" by minus the
    squared Euclidean distance of the embeddings as they are, un-normalised; higher is nearer. Under cosine an
    image whose embedding has length zero cannot be ranked: it is named in a warning, listed in `unranked` and
    never found.

    **Queries.** By default the gallery's images ask for each other. With `queries=`, another image set asks
    (a query set, or views from the ground of places seen from the air), through `query_embedder` where it is
    another network; both networks must give embeddings of one dimension. A query's id is a position in
    `gallery.queries`. Ids of queries are taken by `search`, `search_region`, `score` (its first argument)
    and everything called `query_...`; all other ids are those of gallery images. Pictures and paths that
    are asked with go through the query embedder.

    **Left out.** The rule `leave_out` says what a query given by its id does not find, and is not judged by:

    - "self": itself, where the queries are the gallery's own images; with a query set nothing. An image is
      left out by its id, not by its similarity: an exact duplicate of it under another id is found.
    - "same-camera": images of its label from its camera, itself among them, and images labelled "-1" (the
      junk of Market-1501). Cameras are the column `camera` of the image sets' tables.
    - None: nothing.

    A picture or a path is a new image: nothing is left out.

    **Index.** `kind` says how rows are found: "flat" compares all of them and misses none. "hnsw", "ivf", "ivf-pq",
    "sq8" and FAISS's factory strings look at some of the rows, or at short codes of them, and may miss one; "auto"
    chooses by the number of images, and `gallery.index.reason` says why. A similarity that is reported is computed
    from the rows in float64 whatever the kind, so that every explanation adds up to it. A ranking by such a kind
    says that it is `approximate`, and `recall` says how often a neighbour is missed. `evaluate`, `per_query` and
    `failures` read the full ranking of all rows, exactly, whatever the kind: they judge the embeddings, not the
    index.

    **Ids.** An id is a position in the image set, so it holds for one gallery: `subset` and `extended` make other
    galleries, and images of a subset are numbered anew. What stays is the name (`gallery.images.names`). Ids that
    stay while rows come and go are those of `GalleryIndex`.

    **Threads.** Every method may be called from any thread; the network runs one call at a time.

    Args:
        images: the image set; ids are positions in it.
        embedder: the embedder that made the embeddings.
        embeddings: (N, D) real numbers, un-normalised, one row per image.
        similarity: "cosine", "dot" or "l2".
        index: the ranked rows where they are already indexed; made from the embeddings otherwise.
        skipped: (id, name, reason) of images that were left out because they could not be read.
        cache_bytes: how much memory local embeddings may be kept in.
        queries: the image set that asks; the gallery's own images by default.
        query_embedder: the embedder of queries; the gallery's by default.
        query_embeddings: (Nq, D) real numbers, un-normalised, one row per query; to be given exactly where
            the queries or their embedder are others than the gallery's.
        skipped_queries: as `skipped`, of the queries.
        leave_out: "self", "same-camera" or None.
        kind: of the index: "flat" by default; one of `dmlviz.index.KINDS`, "auto", or a text for FAISS's
            index_factory. With `index`, how that was made.
        index_options: what else `GalleryIndex.build` takes for it: parameters of the kind, `seed`, and `memory`
            for "auto".

    Attributes:
        images: the gallery's N images.
        embedder: their embedder.
        embeddings: (N, D) float32, un-normalised, read-only.
        queries: the Nq images that ask; `images` itself by default.
        query_embedder: their embedder; `embedder` itself by default.
        query_embeddings: (Nq, D) float32, un-normalised, read-only; `embeddings` itself by default.
        similarity: "cosine", "dot" or "l2".
        index: the rows that are ranked.
        leave_out: the rule's name, or None.
        kind: the kind of index as it was asked for; `index.kind` is what it came to.
        index_options: as given.
        skipped, skipped_queries: what could not be read, as given.

    Raises:
        TypeError: the kind of index takes no such option.
        ValueError: unknown similarity, rule or kind of index, an index of another metric, embeddings of a wrong
            shape, or with NaN or infinity; embedders of different dimensions; query embeddings lacking, or given
            where there is no use for them; "same-camera" without labels or cameras; too few images for the kind of
            index.

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
        queries: ImageSet | None = None,
        query_embedder: "Embedder | None" = None,
        query_embeddings: Any = None,
        skipped_queries: Sequence[tuple[int, str, str]] = (),
        leave_out: str | None = "self",
        kind: str | None = None,
        index_options: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        check_similarity(similarity)
        self.similarity = similarity
        self.images = images
        self.embedder = embedder
        self.queries = images if queries is None else queries
        self.query_embedder = embedder if query_embedder is None else query_embedder
        check_dimensions(embedder, self.query_embedder)
        asks_itself = self.queries is images and self.query_embedder is embedder
        if asks_itself != (query_embeddings is None):
            raise ValueError(
                "query_embeddings must be given exactly where queries or query_embedder are not the gallery's own; "
                f"got {'none' if query_embeddings is None else 'some'}"
            )
        room = cache_bytes if asks_itself else cache_bytes // 2
        self._item_side = Side(
            images, embedder, embeddings, similarity, room, "not ranked (see gallery.unranked)"
        )
        self.kind = kind if kind is not None else "flat" if index is None else index.kind
        self.index_options = as_options(index_options)
        if index is None:
            side = self._item_side
            index = indexed(side.rows, self.kind, self.index_options, side.metric)
        elif index.metric != self._item_side.metric:
            raise ValueError(
                f"a gallery that ranks by {similarity!r} needs an index with metric={self._item_side.metric!r}, got "
                f"one with metric={index.metric!r}"
            )
        self.index = index
        self._item_side.rows = self.index.vectors
        self._query_side = self._item_side
        if not asks_itself:
            useless = "they cannot be asked with"
            self._query_side = Side(
                self.queries, self.query_embedder, query_embeddings, similarity, room, useless
            )
        self.embeddings = self._item_side.embeddings
        self.query_embeddings = self._query_side.embeddings
        self.skipped, self.skipped_queries = tuple(skipped), tuple(skipped_queries)
        self.leave_out = leave_out
        self._left_out = LeavingOut(leave_out, self._query_side, self._item_side)
        self._built_from: tuple[str, str | None] | None = None

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
        queries: ImageSet | None = None,
        query_embedder: "Embedder | None" = None,
        leave_out: str | None = "self",
        kind: str = "flat",
        index_options: Mapping[str, int] | None = None,
    ) -> "Gallery":
        """Embed an image set, and a query set where there is one, and index it.

        With a path, the gallery is kept in that folder, written whole at the end. What is embedded until an
        interruption is kept beside it (`<path>.unfinished`), and the next call goes on from there. Where the
        very same gallery lies there already, it is opened instead of being built again.

        Args:
            images: the image set.
            embedder: the embedder.
            path: folder to keep the gallery in; None keeps it in memory only.
            similarity: "cosine", "dot" or "l2".
            batch_size: images per forward pass.
            workers: processes that read images; 0 reads in this one.
            progress: show a progress bar.
            on_error: "raise" stops at an image that cannot be read, "skip" leaves it out: it is listed in
                `skipped` (or `skipped_queries`) and the other images are renumbered.
            queries: the image set that asks; the gallery's own images by default.
            query_embedder: the embedder of queries; the gallery's by default.
            leave_out: "self", "same-camera" or None, what a query does not find; see `Gallery`.
            kind: of the index, "flat" by default; see `Gallery`. `gallery.index.reason` says what "auto" chose, and
                why.
            index_options: what else `GalleryIndex.build` takes for it, such as `{"neighbours": 16}`.

        Raises:
            TypeError: the kind of index takes no such option.
            ValueError: no images, unknown option or kind of index, too few images for it, embeddings that are not
                finite, embedders of different dimensions, "same-camera" without labels or cameras.
            ImageReadError: an image cannot be read and `on_error` is "raise".
            FileNotFoundError: the folder that should hold `path` does not exist.
            GalleryError: something else, or another gallery, lies at `path`.
            OSError: the disk is full, say; what is embedded is kept.
        """
        options = as_options(index_options)
        plan = Plan(images, embedder, similarity, queries, query_embedder, leave_out, on_error, kind, options)
        return build_gallery(cls, plan, path, batch_size=batch_size, workers=workers, progress=progress)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        embedder: "Embedder",
        images: ImageSet | None = None,
        queries: ImageSet | None = None,
        query_embedder: "Embedder | None" = None,
        *,
        mapped: bool = False,
    ) -> "Gallery":
        """Open a gallery that `build` or `save` kept on disk.

        A process may open it while another one writes it anew: it gets the older gallery or the newer one, whole.

        Args:
            path: its folder.
            embedder: the embedder that built it; another one is refused.
            images: the image set that it was built from. Not needed where the images were files: they are
                found again where they lay, or at the same place relative to the gallery's folder.
            queries: the query set that it was built with, if it was; as `images`.
            query_embedder: the embedder of its queries, if that was another one.
            mapped: leave embeddings, rows and the tables of images on disk and read of them what is asked for, for a
                gallery larger than the memory. The checksums of embeddings and rows are then not compared (their
                sizes are, and the checksums of all other files): bits that flipped in them go unnoticed, or make
                other similarities and rankings. Names and lengths are read into memory all the same. A flat index
                reads all rows for every query, so each is as fast as the disk; `evaluate` reads them all too, and
                with a separate query set under cosine it holds the queries' rows in memory. A gallery that an
                earlier version wrote is read through once.

        Raises:
            FileNotFoundError: there is no gallery, or its image files are gone.
            GalleryError: it is half-written or was changed, or belongs to another embedder, other images or
                other queries.
        """
        return open_gallery(cls, path, embedder, images, queries, query_embedder, mapped)

    # --- what is in it --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> np.ndarray | None:
        """Class labels (N,) of the images, text; None for an unlabelled gallery."""
        return self.images.labels

    @property
    def query_labels(self) -> np.ndarray | None:
        """Class labels (Nq,) of the queries, text; None for unlabelled queries."""
        return self.queries.labels

    @property
    def unranked(self) -> tuple[int, ...]:
        """Ids of images that cannot be ranked: under cosine, those whose embedding has length zero."""
        return self._item_side.without_row

    @property
    def unranked_queries(self) -> tuple[int, ...]:
        """Ids of queries that cannot be asked: under cosine, those whose embedding has length zero."""
        return self._query_side.without_row

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        parts = [f"{len(self)} images, {classes}, {self.embedder.dim} dimensions, {self.similarity}"]
        parts.append(f"embedder {self.embedder.name!r}")
        if self.queries is not self.images:
            parts.append(f"{len(self.queries)} queries")
        if self.query_embedder is not self.embedder:
            parts.append(f"query embedder {self.query_embedder.name!r}")
        if not self.index.exact:
            parts.append(f"index {self.index.kind!r}")
        if self.leave_out != "self":
            parts.append(f"leave_out {self.leave_out!r}")
        return f"Gallery({', '.join(parts)})"

    def image(self, item: Any) -> np.ndarray:
        """A picture as it came, (h, w, 3) uint8: the id of a gallery image, or any image that `search` takes."""
        return self._item_side.image(item)

    def view(self, item: Any) -> np.ndarray:
        """An image as the gallery's network sees it, (H, W, 3) uint8: resized and cropped, before normalisation.

        Args:
            item: id of a gallery image, or any image that `search` takes.
        """
        return self._item_side.view(item)

    def query_image(self, query: Any) -> np.ndarray:
        """A query's picture as it came, (h, w, 3) uint8: the id of a query, or any image that `search` takes."""
        return self._query_side.image(query)

    def query_view(self, query: Any) -> np.ndarray:
        """A query as the query embedder's network sees it, (H, W, 3) uint8; see `view`.

        Args:
            query: id of a query, or any image that `search` takes.
        """
        return self._query_side.view(query)

    # --- searched -------------------------------------------------------------------------------------

    def search(self, query: Any, k: int = 10, exclude_self: bool = True) -> Ranking:
        """Rank the gallery's images by their similarity to a query.

        Args:
            query: id of a query, (H, W, 3) uint8 array, Pillow image, or path of an image file.
            k: how many images to return, at least 1; cut to how many there are, and the ranking says by how many
                (`too_few`).
            exclude_self: whether the gallery's rule `leave_out` holds; False leaves nothing out. The ranking
                says which rule it was made by.

        Raises:
            IndexError: an id that is not among the queries.
            TypeError: a query or k of another type.
            ValueError: k below 1, or, under cosine, a query whose embedding has length zero.
            FileNotFoundError: there is no such file.
        """
        asked = self._query_side.asked(query)
        find = partial(nearest, self.index, self._query_side.row(asked), k)
        return self._rank(asked, find, k, exclude_self, "similarity", not self.index.exact)

    def search_region(self, query: Any, mask: Any, k: int = 10, exclude_self: bool = True) -> Ranking:
        """Rank the gallery's images by what a region of the query contributes to the similarity.

        The region's local embeddings, summed with the weights of the mask (and divided by the length of the
        query's embedding under cosine), are searched for. So the similarity reported is exactly that
        region's part of the full similarity: the sum of the query's overall map over the region. Parts may
        be negative.

        Under "l2" that part is ⟨x_R, 2·e_g − e_q⟩ with x_R the region's sum: twice its product with the image, less
        its share of the query's own squared length. The image's squared length belongs to no region of the query,
        so this is a ranking by products: of two images that point the same way the longer one comes first, even
        where the region is the whole query. All rows are read, whatever the kind of index.

        Args:
            query: as for `search`.
            mask: (h, w) over the query's cells, or (H, W) over the pixels of its view; bool, or weights from
                0 to 1. A mask over pixels gives each cell the mean over the pixels nearest to its centre.
            k: as for `search`.
            exclude_self: as for `search`.

        Raises:
            ValueError: a mask of another shape, with values outside 0 to 1, or empty; else as `search`.
        """
        asked = self._query_side.asked(query)
        local = self.query_local(asked)
        network = self.query_embedder
        weights = cell_weights(mask, local.grid, network.input_size, network.geometry)
        asking = np.einsum("hw,hwd->d", weights, local.vectors, dtype=np.float64)
        if self.similarity == "l2":
            own = local.vectors.sum((0, 1), dtype=np.float64) + local.offset
            products = partial(largest_products, self.index.vectors, 2.0 * asking, float(asking @ own), k)
            return self._rank(asked, products, k, exclude_self, "region", False)
        if self.similarity == "cosine":
            asking = asking / self._query_side.length(asked)
        find = partial(nearest, self.index, asking.astype(np.float32), k)
        return self._rank(asked, find, k, exclude_self, "region", not self.index.exact)

    def score(self, query: Any, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The similarity of a query to chosen images: the very numbers that `search` ranks by.

        Args:
            query: as for `search`.
            ids: (k,) ids of gallery images.

        Returns:
            (k,) float32; NaN where a cosine is undefined, because an embedding has length zero.

        Raises:
            IndexError: an id that is not in the gallery.
        """
        asked = self._query_side.asked(query)
        rows = self._item_side.row_of[self.images.check_ids(ids)]
        scores = np.full(len(rows), np.nan, dtype=np.float32)
        if self.similarity != "cosine" or np.any(self.query_embedding(asked)):
            scores[rows >= 0] = self.index.similarity(self._query_side.row(asked), rows[rows >= 0])[0]
        return scores

    def scale(self, query_embedding: np.ndarray, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The factor s that turns dot products of embeddings into similarities, for each pair.

        Minus a squared distance is no multiple of a dot product: a gallery that ranks by "l2" has no such factor.

        Args:
            query_embedding: (D,), un-normalised.
            ids: (k,) ids of gallery images.

        Returns:
            (k,) float64: 1 for "dot"; 1/(‖e_q‖‖e_g‖) for "cosine", 0 where a length is zero.

        Raises:
            IndexError: an id that is not in the gallery.
            ValueError: the gallery ranks by "l2".
        """
        chosen = self.images.check_ids(ids)
        if self.similarity == "l2":
            raise ValueError(
                "minus a squared distance is no multiple of a dot product, so this gallery has no scale; "
                "dmlviz.explanation.ranking_maps makes maps from embeddings alone for every similarity"
            )
        if self.similarity == "dot":
            return np.ones(len(chosen))
        length = float(np.linalg.norm(np.asarray(query_embedding, dtype=np.float64)))
        products = length * self._item_side.lengths[chosen]
        return np.divide(1.0, products, out=np.zeros(len(chosen)), where=products > 0)

    # --- the index ------------------------------------------------------------------------------------

    def recall(self, k: int = 10, sample: int = 100, seed: int = 0) -> RecallCheck:
        """How many of the true neighbours the index finds: 1 for "flat", less for kinds that may miss some.

        Some of the gallery's images ask for their neighbours, each without itself, and the answer is held against the
        exact one. This is about the index; whether neighbours are of the right class is for `evaluate`.

        Args:
            k: how many neighbours of each.
            sample: how many images ask, chosen at random.
            seed: of the choice.

        Returns:
            The share found, with a 95 % interval.

        Raises:
            ValueError: fewer than two images are ranked, or a number is below 1.
        """
        return self.index.recall(k, sample, seed)

    def quantised_gap(self, query: Any, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """How far the index's own codes are off: their similarity less the one that is reported and explained.

        Kinds with short codes ("sq8", "ivf-pq", ...) look for candidates by the similarity to a decoded row, a rough
        one. Reported, ranked by and explained is the similarity to the row itself; so an image whose gap is far
        below 0 may be missed.

        Args:
            query: as for `search`.
            ids: (k,) ids of gallery images.

        Returns:
            (k,) float64, rough less reported similarity, in the similarity's unit, signed; 0 for kinds that keep the
            rows as they are; NaN where a cosine is undefined, because an embedding has length zero.

        Raises:
            IndexError: an id that is not in the gallery.
            ValueError: the kind of index cannot read its codes back.
        """
        asked = self._query_side.asked(query)
        rows = self._item_side.row_of[self.images.check_ids(ids)]
        gaps = np.full(len(rows), np.nan)
        ranked = rows >= 0
        if ranked.any() and (self.similarity != "cosine" or np.any(self.query_embedding(asked))):
            asking = self._query_side.row(asked)
            rough = self.index.rough_similarity(asking, rows[ranked])[0].astype(np.float64)
            gaps[ranked] = rough - self.index.similarity(asking, rows[ranked])[0]
        return gaps

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
        return self._item_side.local([Query(i, None, i) for i in self.images.check_ids(ids).tolist()])

    def query_local(self, query: Any) -> LocalEmbeddings:
        """Local embeddings of a query, by the query embedder: its id, or any image that `search` takes."""
        return self._query_side.local([self._query_side.asked(query)])[0]

    def query_embedding(self, query: Any) -> np.ndarray:
        """Embedding of a query, (D,) float32, un-normalised: the stored one for an id."""
        return self._query_side.embedding(self._query_side.asked(query))

    # --- inside ---------------------------------------------------------------------------------------

    def _rank(
        self, asked: Query, find: Find, k: int, exclude_self: bool, ranked_by: str, approximate: bool
    ) -> Ranking:
        rule = self._left_out.applied_to(asked.id) if exclude_self else None
        left_out = None if rule is None or asked.id is None else self._left_out.rows_of(asked.id)
        rows, similarities = find(left_out)
        ids = self._item_side.ids[rows]
        labels = label = hits = None
        if asked.id is not None and self.query_labels is not None:
            label = str(self.query_labels[asked.id])
        if self.labels is not None:
            labels = self.labels[ids]
            hits = None if label is None else np.asarray(labels == label)
        return Ranking(
            query=asked.id,
            query_label=label,
            ids=ids,
            similarities=similarities,
            labels=labels,
            hits=hits,
            names=tuple(self.images.names[i] for i in ids),
            ranked_by=ranked_by,
            left_out=rule,
            approximate=approximate,
            too_few=int(k) - len(ids),
        )
