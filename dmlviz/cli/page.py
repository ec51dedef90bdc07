"""`dmlviz demo --html`: the Explorer on the default gallery, written into one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_MISSES, _HITS = 6, 4


def write_page(path: Path) -> None:
    """Write the page and say where it is.

    Raises:
        click.ClickException: if the file cannot be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise click.ClickException(f"expected a name that ends in .html, got {str(path)!r}.")
    folder = path.parent
    if not folder.is_dir():
        raise click.ClickException(
            f"there is no folder {str(folder)!r} to write {path.name!r} into; make it first."
        )
    click.echo("Drawing the birds and embedding them ...")
    import dmlviz as dv

    gallery = dv.demo_gallery()
    queries = telling_queries(gallery)
    explorer = dv.Explorer(gallery)
    try:
        explorer.to_html(path, queries=queries)
    except OSError as error:
        raise click.ClickException(f"{str(path)!r} cannot be written ({error.strerror or error}).") from None
    size = path.stat().st_size / 1e6
    click.echo(
        f"Wrote {path} ({size:.1f} MB, {len(queries)} queries). Open it in any browser; it needs no network."
    )


def telling_queries(gallery: "Gallery", misses: int = _MISSES, hits: int = _HITS) -> list[int]:
    """Queries worth looking at: the worst misses, and hits of different families.

    Args:
        gallery: a gallery with labels.
        misses: how many misses at most.
        hits: how many hits at most.

    Returns:
        Ids of images, misses first.
    """
    from dmlviz.retrieval.judging import misses as misses_of

    missed = misses_of(gallery._per_query()).tolist()
    hit = np.setdiff1d(np.arange(len(gallery.images)), missed)
    spread = hit[np.linspace(0, len(hit) - 1, min(hits, len(hit)), dtype=int)] if len(hit) else hit
    return [*missed[:misses], *(int(i) for i in spread)]
