"""Published protocols by name: what is left out, what is counted, and by what it is divided."""

from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.registry import PROTOCOLS, evaluate_by

__all__ = ["PROTOCOLS", "Protocol", "ProtocolEvaluation", "evaluate_by"]
