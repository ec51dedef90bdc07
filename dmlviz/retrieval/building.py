"""Embed an image set into a gallery's folder, and find a gallery there again."""

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmlviz.images import ImageSet
from dmlviz.retrieval.image_table import images_of
from dmlviz.retrieval.storage import GalleryError, StoredGallery, read_gallery

if TYPE_CHECKING:
    from dmlviz.embedder import EmbeddedSet, Embedder

ON_ERROR = ("raise", "skip")


def embed(images: ImageSet, embedder: "Embedder", path: Path | None, **options: Any) -> "EmbeddedSet":
    """Embed all images; what is done is kept beside the gallery's path until the gallery stands.

    Args:
        images: the image set.
        embedder: the embedder.
        path: the gallery's folder; None keeps nothing on disk.
        options: batch_size, workers, progress and on_error of `embed_images`.

    Raises:
        ValueError: none of the images could be read.
    """
    from dmlviz.embedder import embed_images

    kept = None if path is None else unfinished(path) / "embeddings.npy"
    embedded = embed_images(embedder, images, path=kept, **options)
    if len(embedded.ids) == 0:
        first = f"; the first, {embedded.failed[0][1]!r}: {embedded.failed[0][2]}" if embedded.failed else ""
        raise ValueError(f"none of the {len(images)} images could be read{first}")
    return embedded


def unfinished(path: Path) -> Path:
    """The folder in which embeddings are kept until a gallery at `path` is complete."""
    return path.with_name(f"{path.name}.unfinished")


def forget_unfinished(path: Path) -> None:
    """Remove what was kept for a gallery that is now complete."""
    shutil.rmtree(unfinished(path), ignore_errors=True)


def same_gallery(
    path: Path, images: ImageSet, embedder: "Embedder", similarity: str, on_error: str
) -> StoredGallery | None:
    """The gallery at `path` if it is the one that would be built, None if it is broken.

    Raises:
        GalleryError: it is complete, but another one.
    """
    try:
        stored = read_gallery(path)
    except GalleryError:
        return None
    sidecar = stored.sidecar
    differs = []
    if sidecar["embedder"]["fingerprint"] != embedder.fingerprint:
        differs.append(f"another embedder ({sidecar['embedder']['name']})")
    if sidecar["images_fingerprint"] != images.fingerprint:
        differs.append("other images or labels")
    if sidecar["similarity"] != similarity:
        differs.append(f"similarity {sidecar['similarity']!r}")
    if stored.skipped and on_error == "raise":
        differs.append(f"{len(stored.skipped)} unreadable images left out")
    if differs:
        raise GalleryError(
            f"{path} already holds a gallery, built with {' and '.join(differs)}; nothing was written. "
            "Choose another path, or remove that folder"
        )
    return stored


def check_embedder(stored: StoredGallery, embedder: "Embedder") -> None:
    """Refuse an embedder that did not build the gallery.

    Raises:
        GalleryError: its fingerprint is another.
    """
    built = stored.sidecar["embedder"]
    if built["fingerprint"] != embedder.fingerprint:
        raise GalleryError(
            f"{stored.path} was built with the embedder {built['name']!r} (fingerprint "
            f"{built['fingerprint'][:12]}), got {embedder.name!r} ({embedder.fingerprint[:12]}): its weights, "
            "head or preprocessing differ. Open the gallery with the embedder that built it, or build another"
        )


def images_again(stored: StoredGallery, images: ImageSet | None) -> ImageSet:
    """The gallery's images: those given, if they are the same, otherwise those of the files it was built from.

    Args:
        stored: the gallery's folder, read.
        images: the image set that it was built from (with or without the images that were skipped), or None.

    Raises:
        FileNotFoundError: None was given and the images were not files, or the files are gone.
        GalleryError: the names of the images given are others.

    Warns:
        UserWarning: labels, or the sizes of the files, are not those that the gallery was built from.
    """
    skipped = {i for i, _, _ in stored.skipped}
    if images is None:
        images = images_of(stored.images, stored.path)
        comparable = not skipped
    else:
        comparable = True
    fingerprint = images.fingerprint if comparable else ""
    names = tuple(stored.images["names"])
    if images.names != names and skipped and len(images) == len(names) + len(skipped):
        images = images.subset([i for i in range(len(images)) if i not in skipped])
    elif skipped:
        comparable = False
    if images.names != names:
        raise GalleryError(_names_differ(stored.path, names, images.names))
    if comparable and fingerprint != stored.sidecar["images_fingerprint"]:
        warnings.warn(
            f"the images are not quite those that {stored.path} was built from: labels or the sizes of files "
            "differ. Its embeddings are of the earlier ones; build it again if pictures changed",
            stacklevel=3,
        )
    return images


def _names_differ(path: Path, built: tuple[str, ...], given: tuple[str, ...]) -> str:
    if len(built) != len(given):
        what = f"{len(built)} images, got {len(given)}"
    else:
        first = next(i for i, (a, b) in enumerate(zip(built, given, strict=True)) if a != b)
        what = f"image {first} named {built[first]!r}, got {given[first]!r}"
    return (
        f"{path} was built from other images: expected {what}. Give the image set that it was built from, "
        "in the same order"
    )
