"""Masks and cells by hand."""

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.faithfulness.map_pixels import cell_pixels, cell_with_most, dilated, peak_share


def test_dilation_equals_the_loops():
    rng = np.random.default_rng(0)
    mask = rng.random((9, 7)) < 0.1
    slow = np.zeros_like(mask)
    for r in range(9):
        for c in range(7):
            slow[r, c] = mask[max(0, r - 2) : r + 3, max(0, c - 2) : c + 3].any()
    np.testing.assert_array_equal(dilated(mask, 2), slow)


def test_cells_fall_where_the_geometry_puts_them():
    assert cell_pixels((2, 2), (4, 4), None)[:, 0, 0].tolist() == [0, 2]  # 0.5 and 2.5, rounded to even
    placed = CellGeometry(stride=(2, 2), first=(1, 0), receptive_field=(3, 3))
    assert cell_pixels((2, 2), (4, 4), placed).tolist() == [[[1, 0], [1, 2]], [[3, 0], [3, 2]]]


def test_the_peak_is_read_at_its_cells_centre():
    placed = CellGeometry(stride=(2, 2), first=(1, 0), receptive_field=(3, 3))
    pixels = cell_pixels((2, 2), (4, 4), placed)
    mask = np.zeros((4, 4), bool)
    mask[3, 2] = True
    assert peak_share(np.array([[0, 1], [2, 9]]), mask, pixels)
    assert not peak_share(np.array([[9, 1], [2, 3]]), mask, pixels)
    assert cell_with_most(mask, pixels) == (1, 1)
