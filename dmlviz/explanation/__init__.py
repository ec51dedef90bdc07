"""Why two images match: similarities taken apart into contributions that add up to the score.

One result type, `Decomposition`, and the functions that make or read it. NumPy in every result; torch only
inside the embedder that computes the local embeddings.
"""

from dmlviz.embedder import cell_of_pixel
from dmlviz.explanation.decomposition import (
    SIDES,
    SIMILARITIES,
    Decomposition,
    Side,
    decompose_similarity,
)
from dmlviz.explanation.explain import explain, explain_ranking
from dmlviz.explanation.margin import MarginMap, margin_map
from dmlviz.explanation.method import Method
from dmlviz.explanation.methods import METHODS, method_named, methods_for
from dmlviz.explanation.ranking_maps import ranking_maps

__all__ = [
    "METHODS",
    "SIDES",
    "SIMILARITIES",
    "Decomposition",
    "MarginMap",
    "Method",
    "Side",
    "cell_of_pixel",
    "decompose_similarity",
    "explain",
    "explain_ranking",
    "margin_map",
    "method_named",
    "methods_for",
    "ranking_maps",
]
