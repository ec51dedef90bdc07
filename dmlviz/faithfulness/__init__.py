"""Does a map tell the truth? Tests of explanations, each with its baselines beside it.

Every test is one call over (gallery, method, pairs) and returns an `Evaluation`: estimates with intervals, baselines,
how to read them.
"""

from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.completeness import completeness
from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.margin_pointing import margin_pointing
from dmlviz.faithfulness.pairs import Pairs, choose_pairs
from dmlviz.faithfulness.part_transfer import part_transfer
from dmlviz.faithfulness.truth import KnownBoxes, KnownParts, Truth, truth_of

__all__ = [
    "BASELINES",
    "Estimate",
    "Evaluation",
    "Evaluator",
    "Explained",
    "KnownBoxes",
    "KnownParts",
    "Pairs",
    "Truth",
    "choose_pairs",
    "completeness",
    "margin_pointing",
    "part_transfer",
    "truth_of",
]
