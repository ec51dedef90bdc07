"""Does a map tell the truth? Tests of explanations against parts that are known, with their baselines."""

from dmlviz.faithfulness.completeness import completeness
from dmlviz.faithfulness.margin_pointing import margin_pointing
from dmlviz.faithfulness.part_transfer import part_transfer
from dmlviz.faithfulness.rates import Rate

__all__ = ["Rate", "completeness", "margin_pointing", "part_transfer"]
