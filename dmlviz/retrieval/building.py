"""Embed images and queries into a gallery, and keep it in a folder."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmlviz.images import ImageSet
from dmlviz.retrieval.embeddings import check_dimensions, check_similarity
from dmlviz.retrieval.folders import discard_folder
from dmlviz.retrieval.index_choice import check_choice
from dmlviz.retrieval.leave_out import check_rule, label_and_camera
from dmlviz.retrieval.opening import from_stored
from dmlviz.retrieval.storage import (
    GalleryError,
    StoredGallery,
    check_target,
    holds_gallery,
    read_gallery,
    skipped_of,
    write_gallery,
)

if TYPE_CHECKING:
    from dmlviz.embedder import EmbeddedSet, Embedder
    from dmlviz.retrieval.gallery import Gallery

ON_ERROR = ("raise", "skip")


@dataclass(frozen=True, eq=False)
class Plan:
    """What to build a gallery of; see `Gallery.build`."""

    images: ImageSet
    embedder: "Embedder"
    similarity: str
    queries: ImageSet | None
    query_embedder: "Embedder | None"
    leave_out: str | None
    on_error: str
    kind: str
    index_options: dict[str, int]

    def __post_init__(self) -> None:
        check_similarity(self.similarity)
        check_rule(self.leave_out)
        check_choice(self.kind, self.index_options, len(self.images), self.embedder.dim)
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'skip', got {self.on_error!r}")
        if len(self.images) == 0:
            raise ValueError("the image set is empty; a gallery needs at least one image")
        if self.other_queries is not None and len(self.other_queries) == 0:
            raise ValueError("the query set is empty; leave queries= away to let the gallery's images ask")
        if self.other_queries is not None and self.other_queries.fingerprint == self.images.fingerprint:
            warnings.warn(
                "queries and images have the same names, labels and sizes. If they are the same pictures, leave "
                "queries= away: of a separate query set nothing is left out, so every query would find itself",
                stacklevel=4,
            )
        if self.query_embedder is not None:
            check_dimensions(self.embedder, self.query_embedder)
        if self.leave_out == "same-camera":
            label_and_camera(self.images, "images")
            label_and_camera(self.images if self.queries is None else self.queries, "queries")

    @property
    def other_queries(self) -> ImageSet | None:
        """The query set; None where the gallery's own images ask."""
        return None if self.queries is self.images else self.queries

    @property
    def other_embedder(self) -> "Embedder | None":
        """The embedder of queries; None where it is the gallery's own, or the same by its fingerprint."""
        other = self.query_embedder
        if other is None or other is self.embedder or other.fingerprint == self.embedder.fingerprint:
            return None
        return other

    @property
    def fingerprints(self) -> tuple[str, str | None]:
        """Of the images as given, and of the query set as given; None for the latter where there is none."""
        queries = self.other_queries
        return self.images.fingerprint, None if queries is None else queries.fingerprint


def build_gallery(
    gallery_type: "type[Gallery]", plan: Plan, path: str | os.PathLike[str] | None, **options: Any
) -> "Gallery":
    """See `Gallery.build`; options are batch_size, workers and progress of `embed_images`."""
    folder = None if path is None else Path(os.fsdecode(path))
    if folder is not None:
        check_target(folder)
        if holds_gallery(folder):
            stored = same_gallery(folder, plan)
            if stored is not None:
                discard_folder(unfinished(folder))
                return from_stored(
                    gallery_type, stored, plan.embedder, plan.images, plan.other_queries, plan.other_embedder
                )
    embedded = embed(plan.images, plan.embedder, folder, "embeddings", on_error=plan.on_error, **options)
    images = plan.images.subset(embedded.ids) if embedded.failed else plan.images
    asking: dict[str, Any] = {}
    queries, other = plan.other_queries, plan.other_embedder
    if queries is not None or other is not None:
        own = queries is None
        queries = images if queries is None else queries
        embedder = plan.embedder if other is None else other
        # What the gallery's own network could read, the other one reads too: nothing may be skipped twice.
        on_error = "raise" if own else plan.on_error
        found = embed(queries, embedder, folder, "query_embeddings", on_error=on_error, **options)
        asking = {
            "queries": queries.subset(found.ids) if found.failed else queries,
            "query_embedder": embedder,
            "query_embeddings": found.embeddings,
            "skipped_queries": found.failed,
        }
    gallery = gallery_type(
        images,
        plan.embedder,
        embedded.embeddings,
        plan.similarity,
        skipped=embedded.failed,
        leave_out=plan.leave_out,
        kind=plan.kind,
        index_options=plan.index_options,
        **asking,
    )
    gallery._built_from = plan.fingerprints
    if folder is not None:
        images_fingerprint, queries_fingerprint = plan.fingerprints
        write_gallery(
            folder, gallery, images_fingerprint=images_fingerprint, queries_fingerprint=queries_fingerprint
        )
        discard_folder(unfinished(folder))
    return gallery


def embed(
    images: ImageSet, embedder: "Embedder", path: Path | None, name: str, **options: Any
) -> "EmbeddedSet":
    """Embed all images; what is done is kept beside the gallery's path until the gallery stands.

    Args:
        images: the image set.
        embedder: the embedder.
        path: the gallery's folder; None keeps nothing on disk.
        name: what to call the file that is kept, without its ending.
        options: batch_size, workers, progress and on_error of `embed_images`.

    Raises:
        ValueError: none of the images could be read.
    """
    from dmlviz.embedder import embed_images

    kept = None if path is None else unfinished(path) / f"{name}.npy"
    embedded = embed_images(embedder, images, path=kept, **options)
    if len(embedded.ids) == 0:
        first = f"; the first, {embedded.failed[0][1]!r}: {embedded.failed[0][2]}" if embedded.failed else ""
        raise ValueError(f"none of the {len(images)} images could be read{first}")
    return embedded


def unfinished(path: Path) -> Path:
    """The folder in which embeddings are kept until a gallery at `path` is complete."""
    return path.with_name(f"{path.name}.unfinished")


def same_gallery(path: Path, plan: Plan) -> StoredGallery | None:
    """The gallery at `path` if it is the one that would be built, None if it is broken.

    Raises:
        GalleryError: it is complete, but another one.
    """
    try:
        stored = read_gallery(path)
    except GalleryError:
        return None
    sidecar, asking = stored.sidecar, stored.queries
    differs = []
    if sidecar["embedder"]["fingerprint"] != plan.embedder.fingerprint:
        differs.append(f"another embedder ({sidecar['embedder']['name']})")
    if sidecar["images_fingerprint"] != plan.images.fingerprint:
        differs.append("other images or labels")
    if sidecar["similarity"] != plan.similarity:
        differs.append(f"similarity {sidecar['similarity']!r}")
    built = None if asking is None else asking["images_fingerprint"]
    if built != (None if plan.other_queries is None else plan.other_queries.fingerprint):
        differs.append("no query set" if built is None else "other queries")
    own = stored.query_embedder["fingerprint"] == sidecar["embedder"]["fingerprint"]
    other = plan.other_embedder
    if (other is None) != own or (
        other is not None and stored.query_embedder["fingerprint"] != other.fingerprint
    ):
        name = stored.query_embedder["name"]
        differs.append("no query embedder of its own" if own else f"another query embedder ({name})")
    if stored.leave_out != plan.leave_out:
        differs.append(f"leave_out {stored.leave_out!r}")
    skipped = len(stored.skipped) + (0 if asking is None else len(skipped_of(asking)))
    if skipped and plan.on_error == "raise":
        differs.append(f"{skipped} unreadable images left out")
    if (stored.kind, stored.index_options) != (plan.kind, plan.index_options):
        options = f" and index_options {stored.index_options}" if stored.index_options else ""
        differs.append(f"an index of kind {stored.kind!r}{options}")
    if differs:
        raise GalleryError(
            f"{path} already holds a gallery, built with {' and '.join(differs)}; nothing was written. "
            "Choose another path, or remove that folder"
        )
    return stored
