"""`dmlviz index`, `search` and `evaluate`: their options and their help texts."""

from pathlib import Path
from typing import Any

import click

LAYOUTS = ("folder", "cub", "cars196", "sop", "in-shop", "market1501", "lfw", "oxford")

_INDEX = """Embed a folder of images into a gallery that `search` and `evaluate` open.

One folder of images per class gives labels; --layout reads a data set as it unpacks. Ctrl-C keeps what is done, and
the same command goes on from there. Where the very same gallery stands already, nothing is done.

The network is one of torchvision's. Which one, its weights and its seed are noted in the gallery (model.json), so
that `search` and `evaluate` find it again. Galleries of your own modules are built and opened from Python:
Gallery.build(images, embedder, path=...), Gallery.open(path, embedder).

\b
dmlviz index photos --out photos.gallery
dmlviz index photos --out photos.gallery --model resnet18 --weights mine.pth
dmlviz index CUB_200_2011 --layout cub --out cub.gallery --json
"""

_SEARCH = """Rank the images of a gallery by their similarity to one image.

\b
dmlviz search photos.gallery --query 17
dmlviz search photos.gallery --query new.jpg -k 50 --out found.csv
dmlviz search photos.gallery --query 17 --json
"""

_EVALUATE = """Say how well a gallery finds the class of each query.

Without --protocol: recall@k, precision@1, R-precision and mAP@R. A protocol is called by its name; an unknown name is
answered with the list of those there are.

\b
dmlviz evaluate photos.gallery
dmlviz evaluate market.gallery --protocol market1501 --per-query queries.csv
dmlviz evaluate photos.gallery --json
"""

_gallery = click.argument("gallery", type=click.Path(path_type=Path))
_weights_now = click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the file of weights lies now, if it was moved since the gallery was made.",
)
_as_json = click.option(
    "--json", "as_json", is_flag=True, help="JSON on standard output, and nothing else there."
)


@click.command(help=_INDEX)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Folder of the gallery, X.gallery.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="folder",
    show_default=True,
    help="How the data set is laid out; the part that results are reported on is taken.",
)
@click.option(
    "--model", default="resnet50", show_default=True, metavar="NAME", help="A network of torchvision's."
)
@click.option(
    "--weights",
    default="default",
    show_default=True,
    metavar="default|random|FILE",
    help="torchvision's best (downloaded once), random ones, or a file (.safetensors, .pth).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random weights.")
@click.option(
    "--similarity",
    type=click.Choice(["cosine", "dot", "l2"]),
    default="cosine",
    show_default=True,
    help="Higher is nearer; l2 is minus the squared distance.",
)
@click.option(
    "--kind",
    default="flat",
    show_default=True,
    metavar="KIND",
    help="Of the index: flat (exact), hnsw, ivf, ivf-pq, sq8, auto, or a factory string of FAISS's.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Images at a time."
)
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read images."
)
@click.option("--skip-unreadable", is_flag=True, help="Leave images out that cannot be read, and name them.")
@_as_json
def index(**asked: Any) -> None:
    """Embed a folder into a gallery."""
    from dmlviz.cli.indexing import index_folder

    index_folder(**asked)


@click.command(help=_SEARCH)
@_gallery
@click.option(
    "--query",
    required=True,
    metavar="ID|FILE",
    help="The id of a query of the gallery, or an image file (write ./17 for a file called 17).",
)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many images.")
@_weights_now
@_as_json
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the ranking into a file that ends in .csv, .json or .parquet.",
)
def search(**asked: Any) -> None:
    """Rank images by one."""
    from dmlviz.cli.asking import search_gallery

    search_gallery(**asked)


@click.command(help=_EVALUATE)
@_gallery
@click.option("--protocol", metavar="NAME", help="A published protocol, such as market1501.")
@_weights_now
@_as_json
@click.option(
    "--per-query",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the values of each query into a file that ends in .csv, .json or .parquet.",
)
def evaluate(**asked: Any) -> None:
    """Judge a gallery."""
    from dmlviz.cli.asking import evaluate_gallery

    evaluate_gallery(**asked)
