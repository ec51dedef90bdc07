"""dmlviz: why two images match, in numbers that add up to the score.

The names below are the public surface. Each is loaded when it is first used, so that
`import dmlviz` is quick and `dmlviz.explanation` needs neither Plotly nor ipywidgets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmlviz._version import __version__

if TYPE_CHECKING:
    from dmlviz.embedder import CellGeometry, Embedder, LinearHead, LocalEmbeddings
    from dmlviz.explanation import Decomposition, decompose_similarity, explain, margin_map
    from dmlviz.images import ImageSet, Preprocess, birds
    from dmlviz.index import GalleryIndex
    from dmlviz.retrieval import Gallery, Ranking, demo_gallery
    from dmlviz.widgets import Explorer

_ROOM_OF = {
    "CellGeometry": "embedder",
    "Decomposition": "explanation",
    "Embedder": "embedder",
    "Explorer": "widgets",
    "Gallery": "retrieval",
    "GalleryIndex": "index",
    "ImageSet": "images",
    "LinearHead": "embedder",
    "LocalEmbeddings": "embedder",
    "Preprocess": "images",
    "Ranking": "retrieval",
    "birds": "images",
    "decompose_similarity": "explanation",
    "demo_gallery": "retrieval",
    "explain": "explanation",
    "margin_map": "explanation",
}

__all__ = [
    "CellGeometry",
    "Decomposition",
    "Embedder",
    "Explorer",
    "Gallery",
    "GalleryIndex",
    "ImageSet",
    "LinearHead",
    "LocalEmbeddings",
    "Preprocess",
    "Ranking",
    "__version__",
    "birds",
    "decompose_similarity",
    "demo_gallery",
    "explain",
    "margin_map",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room when it is first asked for."""
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'dmlviz' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"dmlviz.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
