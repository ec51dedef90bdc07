"""The retrieval room: a gallery that can be searched, judged and asked for its failures.

A `Gallery` holds an image set, its embeddings, an index and the embedder; a `Ranking` is what a search
returns. Metrics follow their published definitions. NumPy only: torch stays inside the embedder.
"""

from dmlviz.retrieval.demo import demo_gallery
from dmlviz.retrieval.gallery import Gallery
from dmlviz.retrieval.hashing import HashingEvaluation, hashing_evaluation
from dmlviz.retrieval.judgements import Judgements
from dmlviz.retrieval.metrics import Evaluation
from dmlviz.retrieval.protocols import PROTOCOLS, Protocol, ProtocolEvaluation
from dmlviz.retrieval.ranking import Ranking
from dmlviz.retrieval.storage import GalleryError
from dmlviz.retrieval.verification import Verification, verification, verify

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "Gallery",
    "GalleryError",
    "HashingEvaluation",
    "Judgements",
    "Protocol",
    "ProtocolEvaluation",
    "Ranking",
    "Verification",
    "demo_gallery",
    "hashing_evaluation",
    "verification",
    "verify",
]
