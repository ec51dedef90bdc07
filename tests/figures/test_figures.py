"""Figures carry the arrays they were given, where the geometry puts them."""

import numpy as np
import pytest

from dmlviz.embedder import CellGeometry, LocalEmbeddings
from dmlviz.explanation import decompose_similarity
from dmlviz.figures import map_figure, pair_figure, score_figure


@pytest.fixture
def view():
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


@pytest.fixture
def why():
    rng = np.random.default_rng(0)
    sides = (
        LocalEmbeddings(rng.normal(size=grid).astype(np.float32), rng.normal(size=5).astype(np.float32))
        for grid in ((2, 3, 5), (4, 4, 5))
    )
    return decompose_similarity(*sides)


def heat(figure, nth=0):
    return [trace for trace in figure.data if trace.type == "heatmap"][nth]


def test_a_map_is_drawn_on_its_cells_around_zero(view):
    values = np.array([[1.0, -3.0, 0.5], [0, 0, 2.0]])
    geometry = CellGeometry(stride=(32, 32), first=(0, 0), receptive_field=(99, 99))
    drawn = heat(map_figure(values, view, geometry))
    assert np.array_equal(np.asarray(drawn.z)[1:-1, 1:-1], values)
    assert list(drawn.x)[1:-1] == [0, 32, 64]  # columns run along x
    assert list(drawn.y)[1:-1] == [0, 32]
    assert (drawn.zmin, drawn.zmax) == (-3, 3)
    without = heat(map_figure(values, view))
    assert list(without.x)[1:-1] == [15.5, 47.5, 79.5]
    assert heat(map_figure(np.zeros((2, 3)), view)).zmax == 1


def test_a_pair_shares_its_scale_and_a_point_shows_its_map(why, view):
    overall = pair_figure(why, view, view)
    assert heat(overall, 0).zmax == heat(overall, 1).zmax
    pointed = pair_figure(why, view, view, point=(1, 2))
    np.testing.assert_allclose(np.asarray(heat(pointed, 1).z)[1:-1, 1:-1], why.point_map("query", 1, 2))
    ring = pointed.data[-1]
    assert (ring.x[0], ring.y[0]) == (79.5, 47.5)


def test_the_score_is_a_sum(why):
    bars = score_figure(why).data[0]
    assert sum(bars.y[:-1]) == pytest.approx(bars.y[-1], abs=1e-6)
    assert bars.y[-1] == pytest.approx(why.similarity, abs=1e-5)


def test_bad_arrays_are_refused(view):
    with pytest.raises(
        ValueError, match=r"a map has two axes \(height, width\); got an array of shape \(4,\)"
    ):
        map_figure(np.zeros(4), view)
    with pytest.raises(ValueError, match=r"an image is \(H, W, 3\) uint8; got \(2, 2\) float64"):
        map_figure(np.zeros((2, 2)), np.zeros((2, 2)))
