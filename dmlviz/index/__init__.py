"""The index room: nearest rows by inner product, behind a face that cannot be held wrongly.

FAISS lives here and nowhere else. NumPy goes in, NumPy comes out; the room knows nothing of images,
networks or cosine (whoever wants cosine gives it rows of length one).
"""

from dmlviz.index.gallery_index import KINDS, GalleryIndex
from dmlviz.index.threads import search_threads

__all__ = ["KINDS", "GalleryIndex", "search_threads"]
