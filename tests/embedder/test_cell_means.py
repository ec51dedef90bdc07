"""Means over the pixels nearest to each cell's centre: by loops, and against the rule of the region search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.embedder import CellGeometry
from dmlviz.embedder.cell_means import cell_means
from dmlviz.retrieval.region import cell_weights


def by_loops(values, map_size, geometry):
    """Each pixel cut into 20 × 20 points, each point given to the nearest centre."""
    found, weight = np.zeros(map_size), np.zeros(map_size)
    inside = (np.arange(20) + 0.5) / 20 - 0.5
    for row in range(values.shape[0]):
        for col in range(values.shape[1]):
            for down in inside:
                for across in inside:
                    i, j = geometry.cell_of_pixel(row + down, col + across)
                    i = min(max(round(i), 0), map_size[0] - 1)
                    j = min(max(round(j), 0), map_size[1] - 1)
                    found[i, j] += values[row, col]
                    weight[i, j] += 1
    return found / weight


@pytest.mark.parametrize("first", [(0.0, 0.0), (1.5, 1.5), (-0.5, 2.3)])
def test_equals_the_loops(first):
    values = np.random.default_rng(0).normal(size=(9, 8))
    geometry = CellGeometry(stride=(4, 4), first=first, receptive_field=(4, 4))
    found = cell_means(values, (2, 2), geometry)
    np.testing.assert_allclose(found, by_loops(values, (2, 2), geometry), atol=0.02)


def test_by_hand():
    values = np.array([[1.0, 2.0, 3.0, 10.0]])
    assert cell_means(values, (1, 2), None).tolist() == [[1.5, 6.5]]
    shifted = CellGeometry(stride=(1, 2), first=(0, 0), receptive_field=(1, 1))  # the border lies at pixel 1
    np.testing.assert_allclose(cell_means(values, (1, 2), shifted), [[(1 + 1) / 1.5, (1 + 3 + 10) / 2.5]])


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.floats(-2, 6), st.floats(-2, 6)),
    st.integers(0, 99),
)
def test_is_the_rule_by_which_a_region_chooses_cells(view, grid, first, seed):
    mask = np.random.default_rng(seed).random(view) + 1e-3
    geometry = CellGeometry(stride=(2.0, 3.0), first=first, receptive_field=(5, 5))
    if view != grid:
        expected = cell_weights(mask.clip(0, 1), grid, view, geometry)
        np.testing.assert_allclose(cell_means(mask.clip(0, 1), grid, geometry), expected, atol=1e-12)


def test_several_maps_at_once_and_a_constant_stays():
    values = np.random.default_rng(1).normal(size=(3, 6, 6))
    together = cell_means(values, (2, 3), None)
    np.testing.assert_allclose(together[1], cell_means(values[1], (2, 3), None))
    np.testing.assert_allclose(cell_means(np.full((7, 5), 2.5), (3, 2), None), 2.5)
    with pytest.raises(ValueError, match=r"values lie over pixels, \(\.\.\., H, W\); got shape \(3,\)"):
        cell_means(np.zeros(3), (1, 1), None)
