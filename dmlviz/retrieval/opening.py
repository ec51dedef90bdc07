"""Find a gallery in its folder again, with the images and the embedders that it was built from, and no others."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.embeddings import KeptRows
from dmlviz.retrieval.image_table import ImageTable, images_of
from dmlviz.retrieval.storage import GalleryError, Skipped, StoredGallery, read_gallery, skipped_of

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.retrieval.gallery import Gallery


def open_gallery(
    gallery_type: "type[Gallery]",
    path: str | os.PathLike[str],
    embedder: "Embedder",
    images: ImageSet | None,
    queries: ImageSet | None,
    query_embedder: "Embedder | None",
    mapped: bool,
) -> "Gallery":
    """See `Gallery.open`."""
    stored = read_gallery(Path(os.fsdecode(path)), mapped)
    check_embedder(stored.path, stored.sidecar["embedder"], embedder, "embedder")
    asks_with = embedder if query_embedder is None else query_embedder
    check_embedder(stored.path, stored.query_embedder, asks_with, "query embedder")
    if queries is not None and queries is not images and stored.query_table is None:
        raise GalleryError(
            f"{stored.path} was built without a query set: its own images ask. Open it without queries=, or build "
            "another gallery with them"
        )
    return from_stored(gallery_type, stored, embedder, images, queries, query_embedder)


def from_stored(
    gallery_type: "type[Gallery]",
    stored: StoredGallery,
    embedder: "Embedder",
    images: ImageSet | None,
    queries: ImageSet | None,
    query_embedder: "Embedder | None",
) -> "Gallery":
    """The gallery of a folder that was read and found to belong to these embedders; arguments as `open_gallery`."""
    sidecar = stored.sidecar
    images = images_again(
        stored.path, stored.images, stored.skipped, sidecar["images_fingerprint"], images, "images"
    )
    asking: dict[str, Any] = {}
    if stored.queries is not None:
        own = stored.query_embedder["fingerprint"] == sidecar["embedder"]["fingerprint"]
        asking = {
            "query_embedder": None if own else query_embedder,
            "query_embeddings": _kept(stored.query_embeddings, stored.query_lengths),
            "skipped_queries": skipped_of(stored.queries),
        }
        if stored.query_table is not None:
            asking["queries"] = images_again(
                stored.path,
                stored.query_table,
                skipped_of(stored.queries),
                stored.queries["images_fingerprint"],
                queries,
                "queries",
            )
    gallery = gallery_type(
        images,
        embedder,
        _kept(stored.embeddings, stored.lengths),
        sidecar["similarity"],
        index=stored.index,
        skipped=stored.skipped,
        leave_out=stored.leave_out,
        kind=stored.kind,
        index_options=stored.index_options,
        **asking,
    )
    queries_fingerprint = None if stored.queries is None else stored.queries["images_fingerprint"]
    gallery._built_from = sidecar["images_fingerprint"], queries_fingerprint
    return gallery


def _kept(rows: np.ndarray | None, lengths: np.ndarray | None) -> Any:
    """Rows with their lengths; rows alone, to be read and checked, where an older format did not keep them."""
    return rows if rows is None or lengths is None else KeptRows(rows, lengths)


def check_embedder(path: Path, built: dict[str, Any], embedder: "Embedder", which: str) -> None:
    """Refuse an embedder that did not build the gallery.

    Args:
        path: the gallery's folder.
        built: name and fingerprint of the embedder that built it.
        embedder: the one that was given.
        which: "embedder" or "query embedder".

    Raises:
        GalleryError: its fingerprint is another.
    """
    if built["fingerprint"] != embedder.fingerprint:
        raise GalleryError(
            f"{path} was built with the {which} {built['name']!r} (fingerprint "
            f"{built['fingerprint'][:12]}), got {embedder.name!r} ({embedder.fingerprint[:12]}): its weights, "
            f"head or preprocessing differ. Open the gallery with the {which} that built it, or build another"
        )


def images_again(
    path: Path,
    table: ImageTable,
    left_out: Skipped,
    built_from: str,
    images: ImageSet | None,
    which: str,
) -> ImageSet:
    """A gallery's images or queries: those given, if they are the same, otherwise those of its files.

    Args:
        path: the gallery's folder.
        table: what it remembers of them.
        left_out: those that could not be read.
        built_from: the fingerprint of the image set that was given then.
        images: the image set that it was built from (with or without the images that were skipped), or None.
        which: "images" or "queries".

    Raises:
        FileNotFoundError: None was given and the images were not files, or the files are gone.
        GalleryError: the names of the images given are others, or what is remembered of them was changed.

    Warns:
        UserWarning: labels, or the sizes of the files, are not those that the gallery was built from.
    """
    skipped = {i for i, _, _ in left_out}
    if images is None:
        try:
            images = images_of(table, path, which)
        except ValueError as error:
            raise GalleryError(
                f"what {path} remembers of its {which} cannot be read: {error}. Build it again, or give the image "
                f"set: Gallery.open(path, embedder, {which}=...)"
            ) from error
        comparable = not skipped
    else:
        comparable = True
    fingerprint = images.fingerprint if comparable else ""
    names = table.names
    if images.names != names and skipped and len(images) == len(names) + len(skipped):
        images = images.subset([i for i in range(len(images)) if i not in skipped])
    elif skipped:
        comparable = False
    if images.names != names:
        raise GalleryError(_names_differ(path, names, images.names, which))
    if comparable and fingerprint != built_from:
        warnings.warn(
            f"the {which} are not quite those that {path} was built from: labels or the sizes of files "
            "differ. Its embeddings are of the earlier ones; build it again if pictures changed",
            stacklevel=5,
        )
    return images


def _names_differ(path: Path, built: tuple[str, ...], given: tuple[str, ...], which: str) -> str:
    if len(built) != len(given):
        what = f"{len(built)} {which}, got {len(given)}"
    else:
        first = next(i for i, (a, b) in enumerate(zip(built, given, strict=True)) if a != b)
        what = f"image {first} named {built[first]!r}, got {given[first]!r}"
    return (
        f"{path} was built from other {which}: expected {what}. Give the image set that it was built from, "
        "in the same order"
    )
