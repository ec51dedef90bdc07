"""The embedded default: drawn birds, embedded by the network that ships with the package."""

from functools import lru_cache
from typing import Literal

from dmlviz.retrieval.gallery import Gallery


@lru_cache(maxsize=4)
def demo_gallery(pooling: Literal["avg", "max"] = "avg") -> Gallery:
    """The gallery to try things on: 48 species of drawn birds, 20 images each, ready to search.

    It needs no file and no network, and takes a few seconds the first time it is called; later calls return
    the same gallery. The network never saw these species while it was trained.

    Args:
        pooling: "avg" or "max", which of the two shipped embedders to use.

    Returns:
        A gallery of 960 images in memory, ranked by cosine.

    Raises:
        ValueError: there is no shipped embedder with that pooling.

    Example:
        >>> import dmlviz as dv
        >>> gallery = dv.demo_gallery()
        >>> len(gallery), len(gallery.search(0, k=5))
        (960, 5)
    """
    from dmlviz.images.drawn_elsewhere import birds_drawn_elsewhere

    drawn = (
        birds_drawn_elsewhere()
    )  # begun before torch is imported, which takes longer than to draw the birds
    from dmlviz.embedder import birds_embedder

    return Gallery.build(drawn(), birds_embedder(pooling), progress=False)
