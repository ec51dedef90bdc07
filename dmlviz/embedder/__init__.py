"""The embedder room: an image goes in, an embedding and its parts come out.

An `Embedder` is a trunk (image -> feature map) and a head (feature map -> embedding). The head is a sum over
the cells of the feature map plus an offset, so the embedding can be taken apart exactly: `LocalEmbeddings`.
`CellGeometry` says where those cells lie on the image.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlviz.embedder.birdnet import BirdNet
    from dmlviz.embedder.embedder import Embedder
    from dmlviz.embedder.embedding_a_set import EmbeddedSet, embed_images
    from dmlviz.embedder.geometry import CellGeometry, cell_of_pixel, half_pixel
    from dmlviz.embedder.head_error import HeadError
    from dmlviz.embedder.kept_cells import embed_kept_cells
    from dmlviz.embedder.linear_head import LinearHead
    from dmlviz.embedder.local_embeddings import LocalEmbeddings
    from dmlviz.embedder.published.door import published_embedder
    from dmlviz.embedder.random_weights import parametrised_layers, randomised
    from dmlviz.embedder.shipped import birds_embedder
    from dmlviz.embedder.shipped_people import faces_embedder, persons_embedder
    from dmlviz.embedder.shipped_places import places_embedders
    from dmlviz.embedder.smallnet import SmallNet
    from dmlviz.embedder.xcos import XCos
    from dmlviz.embedder.xcos_file import read_xcos, use_xcos, xcos_of

_MODULE_OF = {
    "BirdNet": "birdnet",
    "CellGeometry": "geometry",
    "EmbeddedSet": "embedding_a_set",
    "Embedder": "embedder",
    "HeadError": "head_error",
    "LinearHead": "linear_head",
    "LocalEmbeddings": "local_embeddings",
    "SmallNet": "smallnet",
    "XCos": "xcos",
    "birds_embedder": "shipped",
    "cell_of_pixel": "geometry",
    "embed_images": "embedding_a_set",
    "embed_kept_cells": "kept_cells",
    "faces_embedder": "shipped_people",
    "half_pixel": "geometry",
    "parametrised_layers": "random_weights",
    "persons_embedder": "shipped_people",
    "places_embedders": "shipped_places",
    "published_embedder": "published.door",
    "randomised": "random_weights",
    "read_xcos": "xcos_file",
    "use_xcos": "xcos_file",
    "xcos_of": "xcos_file",
}

__all__ = [
    "BirdNet",
    "CellGeometry",
    "EmbeddedSet",
    "Embedder",
    "HeadError",
    "LinearHead",
    "LocalEmbeddings",
    "SmallNet",
    "XCos",
    "birds_embedder",
    "cell_of_pixel",
    "embed_images",
    "embed_kept_cells",
    "faces_embedder",
    "half_pixel",
    "parametrised_layers",
    "persons_embedder",
    "places_embedders",
    "published_embedder",
    "randomised",
    "read_xcos",
    "use_xcos",
    "xcos_of",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its file when it is first asked for."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(
            f"module 'dmlviz.embedder' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    value = getattr(import_module(f"dmlviz.embedder.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
