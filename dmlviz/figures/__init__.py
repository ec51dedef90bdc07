"""Plotly figures of maps and scores: pure functions from arrays to `plotly.graph_objects.Figure`."""

from dmlviz.figures.maps import map_figure, pair_figure
from dmlviz.figures.score import score_figure
from dmlviz.figures.trust import trust_figure

__all__ = ["map_figure", "pair_figure", "score_figure", "trust_figure"]
