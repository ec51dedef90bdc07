"""Does a map tell the truth? Tests of explanations, each with its baselines beside it.

Every test is one call over (gallery, method, pairs) and returns an `Evaluation`: estimates with intervals, baselines,
how to read them.
"""

from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.coalitions import coalitions, coalitions_features
from dmlviz.faithfulness.comparison import Comparison, compare
from dmlviz.faithfulness.completeness import completeness
from dmlviz.faithfulness.cover_up import cover_up, cover_up_features
from dmlviz.faithfulness.covered_curves import Curves, insertion_deletion_curves
from dmlviz.faithfulness.drawn_galleries import drawn_gallery
from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.insertion_deletion import deletion, insertion
from dmlviz.faithfulness.localisation import localisation
from dmlviz.faithfulness.localisation_table import localisation_table
from dmlviz.faithfulness.margin_pointing import margin_pointing, margin_pointing_swapped
from dmlviz.faithfulness.pairs import Pairs, choose_pairs
from dmlviz.faithfulness.part_removal import part_removal, part_swap
from dmlviz.faithfulness.part_transfer import part_transfer
from dmlviz.faithfulness.pointing import pointing
from dmlviz.faithfulness.randomisation import randomisation
from dmlviz.faithfulness.sanity import reference_swap, symmetry
from dmlviz.faithfulness.second_order_curves import (
    RemovalCurves,
    removal_curves,
    second_order_curves,
    second_order_curves_features,
)
from dmlviz.faithfulness.trust import Trust, trust
from dmlviz.faithfulness.truth import KnownBoxes, KnownParts, Truth, truth_of

__all__ = [
    "BASELINES",
    "Comparison",
    "Curves",
    "Estimate",
    "Evaluation",
    "Evaluator",
    "Explained",
    "KnownBoxes",
    "KnownParts",
    "Pairs",
    "RemovalCurves",
    "Trust",
    "Truth",
    "choose_pairs",
    "coalitions",
    "coalitions_features",
    "compare",
    "completeness",
    "cover_up",
    "cover_up_features",
    "deletion",
    "drawn_gallery",
    "insertion",
    "insertion_deletion_curves",
    "localisation",
    "localisation_table",
    "margin_pointing",
    "margin_pointing_swapped",
    "part_removal",
    "part_swap",
    "part_transfer",
    "pointing",
    "randomisation",
    "reference_swap",
    "removal_curves",
    "second_order_curves",
    "second_order_curves_features",
    "symmetry",
    "trust",
    "truth_of",
]
