"""How far to trust each method: one panel per evaluator, methods as dots with intervals, baselines as grey ticks."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("evaluator", "figure", "method", "kind", "value", "low", "high", "trials", "better")
_METHOD, _BASELINE, _TEXT, _GRID = (
    "rgb(54, 132, 212)",
    "rgb(140, 140, 140)",
    "rgb(128, 128, 128)",
    "128, 128, 128",
)
_ACROSS = 3  # panels side by side
_ROW, _HEAD = 20, 70  # pixels: of one method, and of a panel's title with its axis
_LEFT, _RIGHT, _TOP = 190, 20, 60


def trust_figure(frame: "pd.DataFrame") -> go.Figure:
    """Draw what evaluators found: for each one panel with the headline figure of every method and baseline.

    Args:
        frame: From `dmlviz.faithfulness.trust(...).to_frame()`, `compare(...).to_frame()` or of one `Evaluation`:
            a row per figure; columns evaluator, figure, method, kind ("method" or "baseline"), value, low, high,
            trials, better ("higher" or "lower"). The first figure of each evaluator is drawn.

    Returns:
        A figure, headline tests first. A dot is a method's value, its bar the 95 % interval, a grey tick a baseline.
        A tick in a method's own row is a baseline that was read off the method itself; the pointer says which.

    Raises:
        ValueError: If a column is missing, or there is no row.
    """
    if missing := [name for name in _NEEDED if name not in frame]:
        raise ValueError(
            f"trust_figure needs the columns {', '.join(_NEEDED)}; {', '.join(missing)} is missing. "
            "dmlviz.faithfulness.trust(gallery).to_frame() has them"
        )
    if not len(frame):
        raise ValueError("there is no figure to draw: the frame has no row")
    first = frame.groupby("evaluator", sort=False)["figure"].transform("first")
    shown = frame[frame["figure"] == first]
    own = shown[shown["beside"] != ""] if "beside" in shown else shown[:0]
    shown = shown.drop(own.index)
    evaluators = list(dict.fromkeys(shown["evaluator"]))
    if "headline_test" in shown:
        tests = dict(zip(shown["evaluator"], shown["headline_test"], strict=True))
        evaluators.sort(key=lambda name: not tests[name])
    kinds = dict(zip(shown["method"], shown["kind"], strict=True))
    rows = sorted(kinds, key=lambda name: kinds[name] == "baseline")
    down, across = -(-len(evaluators) // _ACROSS), min(len(evaluators), _ACROSS)
    height = down * (_ROW * len(rows) + _HEAD) + _TOP
    figure = make_subplots(
        rows=down,
        cols=across,
        shared_yaxes=True,
        subplot_titles=[_title(shown[shown["evaluator"] == name]) for name in evaluators],
        horizontal_spacing=0.03,
        vertical_spacing=_HEAD / height if down > 1 else 0.0,
    )
    for at, name in enumerate(evaluators):
        row, col = at // _ACROSS + 1, at % _ACROSS + 1
        found = shown[shown["evaluator"] == name].drop_duplicates("method")
        beside = own[own["evaluator"] == name]
        for kind in ("baseline", "method"):
            figure.add_trace(_dots(found[found["kind"] == kind], kind), row=row, col=col)
        if len(beside):
            figure.add_trace(_dots(beside, "read off the method"), row=row, col=col)
        figure.update_xaxes(range=_range(found), row=row, col=col)
    lines = {"gridcolor": f"rgba({_GRID}, 0.25)", "zerolinecolor": f"rgba({_GRID}, 0.6)", "automargin": False}
    figure.update_yaxes(
        categoryorder="array", categoryarray=rows[::-1], range=[-0.5, len(rows) - 0.5], **lines
    )
    figure.update_xaxes(nticks=5, **lines)
    figure.update_annotations(font={"size": 12, "color": _TEXT})
    return figure.update_layout(
        height=height,
        margin={"l": _LEFT, "r": _RIGHT, "t": _TOP, "b": 30},
        font={"color": _TEXT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
    )


def _title(found: "pd.DataFrame") -> str:
    name = str(found["title"].iloc[0] if "title" in found else found["evaluator"].iloc[0])
    better = "more is better →" if found["better"].iloc[0] == "higher" else "← less is better"
    bold = "headline_test" in found and bool(found["headline_test"].iloc[0])
    said = f"<span style='font-size:10px'>{found['figure'].iloc[0]}, {better}</span>"
    return f"{f'<b>{name}</b>' if bold else name}<br>{said}"


def _dots(found: "pd.DataFrame", kind: str) -> go.Scatter:
    own, method = kind == "read off the method", kind == "method"
    tick = {"color": _BASELINE, "size": 11, "symbol": "line-ns-open", "line": {"width": 2}}
    low, high = found["value"] - found["low"], found["high"] - found["value"]
    return go.Scatter(
        x=found["value"],
        y=found["beside"] if own else found["method"],
        mode="markers",
        marker={"color": _METHOD, "size": 9} if method else tick,
        error_x={
            "type": "data",
            "array": high,
            "arrayminus": low,
            "thickness": 2 if method else 1,
            "width": 0,
            "color": _METHOD if method else _BASELINE,
        },
        customdata=found[["method", "low", "high", "trials"]],
        hovertemplate="%{customdata[0]}: %{x:.3~g} [%{customdata[1]:.3~g}, %{customdata[2]:.3~g}], "
        "%{customdata[3]} trials<extra></extra>",
        name=kind,
    )


def _range(found: "pd.DataFrame") -> list[float]:
    """0 to 1 for shares, −1 to 1 for correlations, else round what is there; a little room at both ends."""
    ends = found[["value", "low", "high"]].stack().dropna()
    if not len(ends):
        return [-0.04, 1.04]
    low, high = float(min(ends.min(), 0.0)), float(max(ends.max(), 0.0))
    for scale in ((0.0, 1.0), (-1.0, 1.0)):
        if scale[0] <= low and high <= scale[1] and max(-low, high) > 0.05:
            low, high = scale
            break
    room = 0.04 * (high - low or 1.0)
    return [low - room, high + room]
