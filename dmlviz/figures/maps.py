"""Signed maps over images. Here, and only here, (row, col) becomes Plotly's (y, x)."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dmlviz.embedder import half_pixel

if TYPE_CHECKING:
    from dmlviz.embedder import CellGeometry
    from dmlviz.explanation import Decomposition

FOR, AGAINST = (
    "221, 73, 14",
    "33, 97, 171",
)  # orange speaks for, blue against: apart for every kind of colour vision
SIGNED_COLOURS = [[t, f"rgba({AGAINST}, {1 - 2 * t:.2f})"] for t in (0.0, 0.25, 0.5)] + [
    [t, f"rgba({FOR}, {2 * t - 1:.2f})"] for t in (0.5, 0.75, 1.0)
]


def map_figure(
    values: np.ndarray,
    view: np.ndarray,
    geometry: "CellGeometry | None" = None,
    limit: float | None = None,
    title: str = "",
) -> go.Figure:
    """Draw one signed map over the image that it belongs to.

    Args:
        values: (h, w) float, signed; zero is transparent.
        view: (H, W, 3) uint8, the image as the network saw it. It is drawn nearly grey.
        geometry: Where the cells lie on the view; None for the half-pixel rule.
        limit: The value drawn in full colour, > 0; the largest magnitude in the map if None. Give the same limit
            to maps that are compared.
        title: Shown above.

    Returns:
        A figure with the scale beside it.

    Raises:
        ValueError: If the map or the image has another shape.
    """
    figure = go.Figure()
    for trace in _traces(values, view, geometry, limit or _limit(values), with_scale=True):
        figure.add_trace(trace)
    _square_axes(figure, view.shape, 1)
    return figure.update_layout(_layout(title))


def pair_figure(
    why: "Decomposition",
    query_view: np.ndarray,
    gallery_view: np.ndarray,
    point: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw a pair: both overall maps, or a point of the query and its point map on the other image.

    Args:
        why: The pair's decomposition.
        query_view: (H, W, 3) uint8, the query as the network saw it.
        gallery_view: (H, W, 3) uint8, the gallery image likewise.
        point: (row, col) on the query in *cells*; `dmlviz.explanation.cell_of_pixel` turns pixels into cells.

    Returns:
        A figure with one scale per map.

    Raises:
        ValueError: If the point lies outside the map or an image has another shape.
    """
    right = why.overall_map("gallery") if point is None else why.point_map("query", *point)
    sides = (
        (why.overall_map("query"), query_view, why.query_geometry),
        (right, gallery_view, why.gallery_geometry),
    )
    named = ("query, overall map", "match, overall map" if point is None else "match, point map")
    figure = make_subplots(rows=1, cols=2, subplot_titles=named, horizontal_spacing=0.03)
    shared = max(_limit(values) for values, _, _ in sides) if point is None else None
    for column, (values, view, geometry) in enumerate(sides, start=1):
        traces = _traces(values, view, geometry, shared or _limit(values), with_scale=column == 2)
        for trace in traces:
            figure.add_trace(trace, row=1, col=column)
        _square_axes(figure, view.shape, column)
    if point is not None:
        placed = why.query_geometry or half_pixel(query_view.shape[:2], why.grid("query"))
        row, col = placed.pixel_of_cell(*point)
        ring = go.Scatter(
            x=[col],
            y=[row],
            mode="markers",
            marker={"symbol": "circle-open", "size": 16, "color": "white", "line": {"width": 3}},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_trace(ring, row=1, col=1)
    title = f"{why.kind} {why.similarity:+.3f} = pairs {why.pairs:+.3f} + offsets {why.offsets:+.3f}"
    return figure.update_layout(_layout(title))


def _limit(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) or 1.0


def _traces(
    values: np.ndarray, view: np.ndarray, geometry: "CellGeometry | None", limit: float, *, with_scale: bool
) -> list[go.Image | go.Heatmap]:
    values, view = np.asarray(values), np.asarray(view)
    if values.ndim != 2:
        raise ValueError(f"a map has two axes (height, width); got an array of shape {values.shape}")
    if view.ndim != 3 or view.shape[2] != 3 or view.dtype != np.uint8:
        raise ValueError(
            f"an image is (H, W, 3) uint8; got {view.shape} {view.dtype}. Take it from gallery.view(id)"
        )
    grey = (view.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    muted = (0.3 * view + 0.7 * grey).round().astype(np.uint8)
    # one more ring of cells repeats the edge, so that smoothing reaches the image's border
    placed = geometry or half_pixel(view.shape[:2], values.shape)
    rows, cols = placed.pixel_of_cell(*(np.arange(-1, size + 1) for size in values.shape))
    heat = go.Heatmap(
        z=np.pad(values.astype(np.float64), 1, mode="edge"),
        x=cols,
        y=rows,
        zmin=-limit,
        zmax=limit,
        colorscale=SIGNED_COLOURS,
        zsmooth="best",
        showscale=with_scale,
        colorbar={"title": "contribution", "thickness": 12, "outlinewidth": 0, "tickformat": "+.2~g"},
        hovertemplate="row %{y:.0f}, col %{x:.0f}: %{z:+.4f}<extra></extra>",
    )
    return [go.Image(z=muted, hoverinfo="skip"), heat]


def _square_axes(figure: go.Figure, shape: tuple[int, ...], column: int) -> None:
    hidden = {"showgrid": False, "zeroline": False, "visible": False}
    name = "" if column == 1 else str(column)
    figure.update_layout(
        {
            f"xaxis{name}": {"range": [-0.5, shape[1] - 0.5], "constrain": "domain", **hidden},
            f"yaxis{name}": {
                "range": [shape[0] - 0.5, -0.5],
                "scaleanchor": f"x{name}",
                "constrain": "domain",
                **hidden,
            },
        }
    )


def _layout(title: str) -> dict[str, object]:
    return {
        "title": {"text": title, "font": {"size": 15}},
        "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "height": 420,
    }
