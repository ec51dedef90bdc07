"""The index room: nearest rows by inner product or distance, behind a face that cannot be held wrongly.

FAISS lives here and nowhere else. NumPy goes in, NumPy comes out; the room knows nothing of images,
networks or cosine (whoever wants cosine gives it rows of length one).
"""

from dmlviz.index.binary_index import BinaryIndex
from dmlviz.index.bits import hamming_distances, pack_bits, sign_bits, unpack_bits
from dmlviz.index.gallery_index import GalleryIndex
from dmlviz.index.kinds import KINDS, Choice, choose_kind
from dmlviz.index.linear_maps import LinearMap, learned_whitening, mahalanobis, pca
from dmlviz.index.metrics import METRICS
from dmlviz.index.recall import RecallCheck
from dmlviz.index.stored_codes import BINARY_KINDS
from dmlviz.index.threads import search_threads

__all__ = [
    "BINARY_KINDS",
    "KINDS",
    "METRICS",
    "BinaryIndex",
    "Choice",
    "GalleryIndex",
    "LinearMap",
    "RecallCheck",
    "choose_kind",
    "hamming_distances",
    "learned_whitening",
    "mahalanobis",
    "pack_bits",
    "pca",
    "search_threads",
    "sign_bits",
    "unpack_bits",
]
