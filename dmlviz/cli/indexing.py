"""`dmlviz index`: images in a folder become a gallery on disk."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmlviz.cli.model_file import RANDOM, Model, model_of
from dmlviz.cli.telling import as_json as json_of
from dmlviz.cli.telling import told

if TYPE_CHECKING:
    from dmlviz.images import ImageSet
    from dmlviz.retrieval import Gallery

_NAMED = 5


def index_folder(
    folder: Path,
    out: Path,
    layout: str,
    model: str,
    weights: str,
    seed: int,
    similarity: str,
    kind: str,
    batch_size: int,
    workers: int,
    skip_unreadable: bool,
    as_json: bool,
) -> None:
    """Build the gallery, note its model and say what it holds.

    Raises:
        click.ClickException: Something is wrong with what was given; the message says what.
    """
    on = f"What is embedded is kept beside {out}: the same command goes on from there."
    with told(on):
        images, queries, leave_out = images_of(folder, layout)
        network = model_of(model, weights, seed)
        if network.weights == RANDOM:
            click.echo("Note: random weights make a gallery to try things on, not to trust.", err=True)
        gallery = _built(
            network,
            images,
            out,
            similarity=similarity,
            kind=kind,
            batch_size=batch_size,
            workers=workers,
            on_error="skip" if skip_unreadable else "raise",
            queries=queries,
            leave_out=leave_out,
        )
        network.write(out, gallery.embedder.fingerprint)
    if as_json:
        click.echo(json_of(_said(gallery, network, out)))
        return
    click.echo(f"{out}: {len(gallery)} images, {gallery.embedder.dim} dimensions, by {network.said}.")
    if gallery.index.reason:
        click.echo(f"Index: {gallery.index.kind}. {gallery.index.reason}.")
    for which, skipped in (("images", gallery.skipped), ("queries", gallery.skipped_queries)):
        if skipped:
            click.echo(f"{len(skipped)} {which} could not be read and were left out:", err=True)
            for _, name, reason in skipped[:_NAMED]:
                click.echo(f"  {name}: {reason}", err=True)
    click.echo(f"Ask it: dmlviz search {out} --query 0")


def images_of(folder: Path, layout: str) -> "tuple[ImageSet, ImageSet | None, str | None]":
    """The images of a data set, its queries where they are others, and the rule of leaving out."""
    from dmlviz.images import ImageSet

    if layout == "market1501":
        return (
            ImageSet.from_market1501(folder, "gallery"),
            ImageSet.from_market1501(folder, "query"),
            "same-camera",
        )
    if layout == "in-shop":
        return ImageSet.from_in_shop(folder, "gallery"), ImageSet.from_in_shop(folder, "query"), "self"
    read: dict[str, Callable[[Path], ImageSet]] = {
        "folder": ImageSet.from_folder,
        "cub": ImageSet.from_cub,
        "cars196": ImageSet.from_cars196,
        "sop": ImageSet.from_sop,
        "lfw": ImageSet.from_lfw,
        "oxford": ImageSet.from_oxford,
    }
    return read[layout](folder), None, "self"


def _built(model: Model, images: "ImageSet", out: Path, **options: Any) -> "Gallery":
    from dmlviz.retrieval import Gallery

    return Gallery.build(images, model.embedder(), out, progress=sys.stderr.isatty(), **options)


def _said(gallery: "Gallery", model: Model, out: Path) -> dict[str, Any]:
    return {
        "gallery": str(out),
        "images": len(gallery),
        "queries": len(gallery.queries),
        "classes": None if gallery.labels is None else len(set(gallery.labels.tolist())),
        "dim": gallery.embedder.dim,
        "similarity": gallery.similarity,
        "kind": gallery.index.kind,
        "reason": gallery.index.reason,
        "leave_out": gallery.leave_out,
        "model": {
            "network": model.network,
            "weights": model.weights,
            "seed": model.seed,
            "sha256": model.sha256,
        },
        "skipped": [{"id": i, "name": name, "reason": reason} for i, name, reason in gallery.skipped],
        "skipped_queries": [
            {"id": i, "name": name, "reason": reason} for i, name, reason in gallery.skipped_queries
        ],
        "unranked": list(gallery.unranked),
    }
