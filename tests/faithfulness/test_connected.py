"""Components by runs against a slow flood fill, and boxes by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmlviz.faithfulness.connected import components, overlap

masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def flood(mask, connectivity):
    """(area, box) of each component, found pixel by pixel."""
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    if connectivity == 8:
        steps += [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    found = []
    while left:
        waiting, seen = [min(left)], set()
        while waiting:
            pixel = waiting.pop()
            if pixel in left:
                left.remove(pixel)
                seen.add(pixel)
                waiting += [(pixel[0] + dr, pixel[1] + dc) for dr, dc in steps]
        rows, cols = zip(*seen, strict=True)
        found.append((len(seen), (min(rows), min(cols), max(rows) + 1, max(cols) + 1)))
    return found


def of(found, layer=0):
    here = found.layers == layer
    return [(int(a), tuple(b)) for a, b in zip(found.areas[here], found.boxes[here].tolist(), strict=True)]


@settings(deadline=None, max_examples=25)
@given(masks, st.sampled_from([4, 8]))
def test_components_equal_the_flood_fill(mask, connectivity):
    assert of(components(mask, connectivity)) == flood(mask, connectivity)


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("share", [0.35, 0.5, 0.6])
def test_large_masks_at_the_share_where_components_are_most_tangled(share, connectivity):
    mask = np.random.default_rng(3).random((61, 47)) < share
    assert of(components(mask, connectivity)) == flood(mask, connectivity)


def test_a_spiral_and_a_comb_are_one():
    spiral = np.zeros((41, 41), bool)
    row, col, turn, length = 20, 20, 0, 1
    spiral[row, col] = True
    while length < 40:
        for _ in range(2):
            for _ in range(length):
                row, col = row + (0, 1, 0, -1)[turn], col + (1, 0, -1, 0)[turn]
                spiral[row, col] = True
            turn = (turn + 1) % 4
            length += 2 * (turn % 2 == 0)
    assert of(components(spiral, 4)) == flood(spiral, 4)
    assert len(components(spiral, 4)) == 1
    comb = np.ones((30, 31), bool)
    comb[:-1, 1::2] = False  # teeth that only meet in the last row
    assert of(components(comb, 4)) == [(int(comb.sum()), (0, 0, 30, 31))]


@settings(deadline=None, max_examples=15)
@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))))
def test_a_stack_gives_what_its_masks_give_one_by_one(stack):
    found = components(stack)
    for layer, mask in enumerate(stack):
        assert of(found, layer) == flood(mask, 8)
        assert found.largest(layer).tolist() == components(mask).largest().tolist()


def test_pixels_do_not_touch_round_the_edge_of_the_mask():
    ends = np.zeros((3, 4), bool)
    ends[0, 3] = ends[1, 0] = ends[2, 3] = True
    assert len(components(ends)) == 3
    full = np.ones((2, 2, 2), bool)  # neither from one mask of a stack to the next
    assert len(components(full)) == 2


def test_the_largest_ones_are_all_that_tie():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], bool)
    assert components(mask).largest().tolist() == [[0, 0, 1, 2], [0, 3, 2, 4]]
    assert components(np.zeros((3, 3), bool)).largest().shape == (0, 4)


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [4, 4, 5, 5], [1, 1, 3, 3]])
    np.testing.assert_allclose(overlap(boxes, (0, 0, 4, 4)), [1, 4 / 28, 0, 4 / 16])


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="connectivity must be 4 or 8; got 6"):
        components(np.ones((2, 2), bool), 6)
    with pytest.raises(
        ValueError, match=r"masks must be bool of shape \(H, W\) or \(T, H, W\); got int64 of shape \(2,\)"
    ):
        components(np.array([0, 1]))
