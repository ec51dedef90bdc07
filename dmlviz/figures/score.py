"""The score as a sum: what speaks for, what against, what no cell accounts for."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dmlviz.figures.maps import AGAINST, FOR

if TYPE_CHECKING:
    from dmlviz.explanation import Decomposition


def score_figure(why: "Decomposition") -> go.Figure:
    """Draw a similarity as a waterfall of its parts, with the residual said.

    Args:
        why: The pair's decomposition.

    Returns:
        A figure whose last bar is the score that was ranked by.
    """
    parts = {
        "pairs that speak for": why.speaks_for,
        "pairs that speak against": why.speaks_against,
        "offsets": why.offsets,
    }
    figure = go.Figure(
        go.Waterfall(
            x=[*parts, why.kind],
            y=[*parts.values(), why.total],
            measure=["relative"] * len(parts) + ["total"],
            text=[f"{value:+.3f}" for value in (*parts.values(), why.total)],
            increasing={"marker": {"color": f"rgb({FOR})"}},
            decreasing={"marker": {"color": f"rgb({AGAINST})"}},
            totals={"marker": {"color": "rgb(110, 110, 110)"}},
            hoverinfo="skip",
        )
    )
    verdict = "adds up" if why.adds_up else "DOES NOT ADD UP"
    return figure.update_layout(
        title={
            "text": f"{verdict}: residual {why.residual:.1e} against {why.similarity:+.4f}",
            "font": {"size": 15},
        },
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        height=360,
        showlegend=False,
    )
