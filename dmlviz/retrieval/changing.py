"""Galleries made from a gallery: the same on disk, with more images, or of some of them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.images.joining import joined
from dmlviz.retrieval.building import ON_ERROR, embed, unfinished
from dmlviz.retrieval.folders import discard_folder
from dmlviz.retrieval.index_choice import check_choice
from dmlviz.retrieval.leave_out import label_and_camera
from dmlviz.retrieval.storage import check_target, write_gallery

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery


def save_gallery(gallery: "Gallery", path: str | os.PathLike[str]) -> None:
    """See `Gallery.save`."""
    folder = Path(os.fsdecode(path))
    check_target(folder)
    if gallery._built_from is None:
        separate = gallery.queries is not gallery.images
        gallery._built_from = (
            gallery.images.fingerprint,
            gallery.queries.fingerprint if separate else None,
        )
    images_fingerprint, queries_fingerprint = gallery._built_from
    write_gallery(
        folder, gallery, images_fingerprint=images_fingerprint, queries_fingerprint=queries_fingerprint
    )


def extended_gallery(
    gallery: "Gallery", images: ImageSet, path: str | os.PathLike[str] | None, **options: Any
) -> "Gallery":
    """See `Gallery.extended`; options are those of `embed_images`."""
    folder = None if path is None else Path(os.fsdecode(path))
    if folder is not None:
        check_target(folder)
    if len(images) == 0:
        raise ValueError("the image set is empty; give at least one image to put behind those of the gallery")
    if options["on_error"] not in ON_ERROR:
        raise ValueError(f"on_error must be 'raise' or 'skip', got {options['on_error']!r}")
    given = joined(gallery.images, images)
    if gallery.leave_out == "same-camera":
        label_and_camera(given, "images")
    check_choice(gallery.kind, gallery.index_options, len(given), gallery.embedder.dim)
    embedded = embed(images, gallery.embedder, folder, "embeddings", **options)
    more = images.subset(embedded.ids) if embedded.failed else images
    everything = joined(gallery.images, more) if embedded.failed else given
    asking = _asking(gallery)
    if gallery.queries is gallery.images:
        asking.pop("queries", None)
        if asking:  # the same images ask, by another network
            found = embed(
                more, gallery.query_embedder, folder, "query_embeddings", **{**options, "on_error": "raise"}
            )
            asking["query_embeddings"] = np.concatenate([gallery.query_embeddings, found.embeddings])
    extended = type(gallery)(
        everything,
        gallery.embedder,
        np.concatenate([gallery.embeddings, embedded.embeddings]),
        gallery.similarity,
        skipped=[(len(gallery) + i, name, reason) for i, name, reason in embedded.failed],
        leave_out=gallery.leave_out,
        kind=gallery.kind,
        index_options=gallery.index_options,
        **asking,
    )
    extended._built_from = (given.fingerprint, _queries_given(gallery))
    if folder is not None:
        save_gallery(extended, folder)
        discard_folder(unfinished(folder))
    return extended


def subset_of_gallery(gallery: "Gallery", ids: Any) -> "Gallery":
    """See `Gallery.subset`."""
    chosen = gallery.images.check_ids(ids)
    if len(chosen) == 0:
        raise ValueError("a gallery needs at least one image; no id was given")
    images = gallery.images.subset(chosen)
    asking = _asking(gallery)
    if gallery.queries is gallery.images:
        asking.pop("queries", None)
        if asking:
            asking["query_embeddings"] = gallery.query_embeddings[chosen]
    subset = type(gallery)(
        images,
        gallery.embedder,
        gallery.embeddings[chosen],
        gallery.similarity,
        leave_out=gallery.leave_out,
        kind=gallery.kind,
        index_options=gallery.index_options,
        **asking,
    )
    subset._built_from = (images.fingerprint, _queries_given(gallery))
    return subset


def _asking(gallery: "Gallery") -> dict[str, Any]:
    """What a gallery of other images takes over of the queries; nothing where its own images ask by its embedder."""
    if gallery.query_embeddings is gallery.embeddings:
        return {}
    return {
        "queries": gallery.queries,
        "query_embedder": gallery.query_embedder,
        "query_embeddings": gallery.query_embeddings,
        "skipped_queries": gallery.skipped_queries if gallery.queries is not gallery.images else (),
    }


def _queries_given(gallery: "Gallery") -> str | None:
    """The fingerprint of a separate query set as it was given; None without one."""
    if gallery.queries is gallery.images:
        return None
    return gallery.queries.fingerprint if gallery._built_from is None else gallery._built_from[1]
