"""Random masks: their arithmetic against torch, the maps by loops and by hand, and what seeds and budgets do."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for patch_network, which tests of this room share

import patch_network as patches

from dmlviz.explanation.black_box import Scores
from dmlviz.explanation.random_masks import RandomMasks
from dmlviz.explanation.rise_maps import corr_rise, correlations, expectation, kept_less_all, rise

QUIET = {"progress": False}
# four masks over two pixels, and the similarities under them
BY_HAND = patches.Fixed([[[1, 0]], [[0, 1]], [[1, 1]], [[0, 0]]])


def scores(whole, covered, used=None):
    covered = np.atleast_2d(np.asarray(covered, dtype=float))
    used = np.ones(covered.shape[1]) if used is None else np.asarray(used, dtype=float)
    return Scores(np.atleast_1d(np.asarray(whole, dtype=float)), covered, used, np.full(len(covered), 1e-6))


@pytest.mark.parametrize(
    ("view", "grid"), [((14, 14), (7, 7)), ((9, 16), (3, 5)), ((5, 7), (5, 2)), ((6, 4), (1, 2))]
)
def test_masks_equal_torch_upsampling_and_a_cut(view, grid):
    masks = RandomMasks.draw(view, 6, grid, 0.5, seed=3)
    tiles = [-(-size // n) for size, n in zip(view, grid, strict=True)]
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(masks.grids).double()[:, None],
        size=[(n + 1) * tile for n, tile in zip(grid, tiles, strict=True)],
        mode="bilinear",
        align_corners=False,
    )[:, 0].numpy()
    for i, (down, across) in enumerate(masks.shifts):
        assert 0 <= down < tiles[0]
        assert 0 <= across < tiles[1]
        piece = enlarged[i, down : down + view[0], across : across + view[1]]
        np.testing.assert_allclose(masks.keep(i, i + 1)[0], piece, atol=1e-6)
    np.testing.assert_array_equal(masks.keep(2, 5), masks.keep(0, 6)[2:5])


def test_masks_are_seeded_and_more_of_them_begin_alike():
    few, many = (RandomMasks.draw((20, 20), count, (4, 4), 0.5, seed=1) for count in (5, 50))
    np.testing.assert_array_equal(few.keep(0, 5), many.keep(0, 5))
    other = RandomMasks.draw((20, 20), 5, (4, 4), 0.5, seed=2)
    assert (few.keep(0, 5) != other.keep(0, 5)).any()
    often = RandomMasks.draw((20, 20), 400, (4, 4), 0.8, seed=1).keep(0, 400)
    assert often.mean() == pytest.approx(0.8, abs=0.02)
    assert many.keep(0, 50).min() >= 0
    assert many.keep(0, 50).max() <= 1


def test_by_hand():
    found = scores(9, [4, 2, 6, 0])
    # kept: (4 + 6)/2 and (2 + 6)/2, the mean of all is 3
    assert kept_less_all(BY_HAND, found).tolist() == [[[2, 1]]]
    assert expectation(BY_HAND, found, 0.5).tolist() == [[[5, 4]]]
    # deviations 1, −1, 3, −3: Σ dev·M = 4 and 2, Σ dev² = 20, Σ (M − ½)² = 1
    np.testing.assert_allclose(correlations(BY_HAND, found), [[[4 / 20**0.5, 2 / 20**0.5]]])


def test_masks_that_are_not_used_do_not_count():
    found = scores(9, [4, 0, 6, 2], used=[1, 0, 1, 1])
    assert kept_less_all(BY_HAND, found).tolist() == [[[1, 2]]]
    assert expectation(BY_HAND, found, 0.5).tolist() == [[[10 / 1.5, 6 / 1.5]]]
    np.testing.assert_allclose(
        correlations(BY_HAND, found)[0, 0],
        [np.corrcoef([1, 1, 0], [4, 6, 2])[0, 1], np.corrcoef([0, 1, 0], [4, 6, 2])[0, 1]],
    )


def slow_maps(masks, of_masks):
    """From the formulas, one pixel and one mask at a time."""
    count, (height, width) = len(masks), masks[0].shape
    mean = sum(of_masks) / count
    found = np.zeros((3, height, width))
    for row in range(height):
        for col in range(width):
            kept = [float(mask[row, col]) for mask in masks]
            mean_kept = sum(kept) / count
            found[0, row, col] = sum(m * s for m, s in zip(kept, of_masks, strict=True)) / sum(kept) - mean
            found[1, row, col] = sum(m * s for m, s in zip(kept, of_masks, strict=True)) / (0.4 * count)
            covariance = sum((m - mean_kept) * (s - mean) for m, s in zip(kept, of_masks, strict=True))
            of_m = sum((m - mean_kept) ** 2 for m in kept)
            of_s = sum((s - mean) ** 2 for s in of_masks)
            found[2, row, col] = covariance / (of_m * of_s) ** 0.5
    return found


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_the_methods_equal_the_loops(kind):
    embedder = patches.patch_embedder(seed=2)
    query, item = patches.pictures(2, seed=2)
    options = {
        "masks": 25,
        "grid": (2, 3),
        "keep": 0.4,
        "seed": 7,
        "fill": (50, 90, 200),
        "resolution": "pixels",
    }
    masks = RandomMasks.draw((8, 12), 25, (2, 3), 0.4, seed=7).keep(0, 25)
    rows = embedder.embed([query, item]).astype(float)
    for side, view, other in (("query", query, rows[1]), ("gallery", item, rows[0])):
        of_masks = []
        for mask in masks:
            mixed = np.zeros_like(view)
            for channel, colour in enumerate((50, 90, 200)):
                mixed[..., channel] = np.rint(colour + mask * (view[..., channel] - np.float32(colour)))
            row = embedder.embed(mixed)[0].astype(float)
            lengths = np.linalg.norm(row) * np.linalg.norm(other) if kind == "cosine" else 1.0
            of_masks.append(float(row @ other) / lengths)
        slow = slow_maps(masks, of_masks)
        asked = {"similarity": kind, "sides": [side], **options, **QUIET}
        found = [
            rise(embedder, query, item, **asked),
            rise(embedder, query, item, published=True, **asked),
            corr_rise(embedder, query, item, **asked),
        ]
        for why, expected in zip(found, slow, strict=True):
            np.testing.assert_allclose(why.overall_map(side), expected, atol=1e-5)
            assert np.abs(expected).max() > 2e-3


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.1, 5))
def test_what_shifting_and_scaling_the_similarity_does(count, seed, shift, scale):
    random = np.random.default_rng(seed)
    masks = patches.Fixed(random.random((count, 3, 4)))
    values = random.normal(size=(2, count))
    of, changed = scores([1, 1], values), scores([1, 1], scale * values + shift)
    np.testing.assert_allclose(
        kept_less_all(masks, changed), scale * kept_less_all(masks, of), atol=1e-9, rtol=1e-9
    )
    np.testing.assert_allclose(correlations(masks, changed), correlations(masks, of), atol=1e-6)
    assert np.abs(correlations(masks, of)).max() <= 1
    # a map of a sum of similarities is the sum of the maps
    both = scores(2, values.sum(axis=0))
    np.testing.assert_allclose(kept_less_all(masks, both)[0], kept_less_all(masks, of).sum(axis=0), atol=1e-9)


def test_pearson_is_numpys():
    random = np.random.default_rng(0)
    masks, values = patches.Fixed(random.random((30, 2, 2))), random.normal(size=30)
    found = correlations(masks, scores(1, values))[0]
    for row in range(2):
        for col in range(2):
            expected = np.corrcoef(masks.values[:, row, col].astype(float), values)[0, 1]
            assert found[row, col] == pytest.approx(expected, abs=1e-9)


def test_without_differences_there_is_no_correlation():
    random = np.random.default_rng(0)
    masks = patches.Fixed(random.random((30, 2, 2)))
    assert (correlations(masks, scores(1, np.full(30, 0.7))) == 0).all()
    by_rounding = 0.7 + 1e-8 * random.normal(size=30)
    assert (correlations(masks, scores(1, by_rounding)) == 0).all()
    masks.values[:, 0, 0] = 0.25
    masks.values[:, 0, 1] = 0
    found = correlations(masks, scores(1, random.normal(size=30)))[0]
    assert (found[0] == 0).all()
    assert (found[1] != 0).all()
    assert kept_less_all(masks, scores(1, random.normal(size=30)))[0, 0, 1] == 0  # no mask keeps this pixel


def test_finds_the_only_patch_that_matters():
    """A red patch on grey, and a network that sees the mean colour of each patch: the more red, the more alike."""
    embedder = patches.patch_embedder(seed=0, bias=False)
    with torch.no_grad():
        weight = embedder.trunk[0].weight
        weight.copy_(weight.mean(dim=(2, 3), keepdim=True).expand_as(weight))
    query = np.full((8, 12, 3), 128, np.uint8)
    query[4:8, 8:12] = (255, 0, 0)
    asked = {"masks": 200, "grid": (4, 6), "fill": "grey", "similarity": "dot", **QUIET}
    for method in (rise, corr_rise):
        found = method(embedder, query, query, **asked).query_map
        assert np.unravel_index(found.argmax(), found.shape) == (1, 2)
        assert found[1, 2] > 2 * np.delete(found, 5).max()
    assert found[1, 2] > 0.5


@pytest.mark.parametrize("method", [rise, corr_rise])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"masks": 0}, ValueError, "masks must be at least 2, got 0"),
        ({"masks": 10.0}, TypeError, "masks must be a whole number"),
        ({"grid": 1}, ValueError, "grid must be at least 2"),
        ({"grid": (2, 2, 2)}, ValueError, r"grid must be one number or \(rows, cols\)"),
        ({"grid": 13}, ValueError, "a grid of 13 × 13 is finer than the view of 8 × 12 pixels"),
        ({"grid": 4, "keep": 1.0}, ValueError, "keep is a chance between 0 and 1"),
        ({"grid": 4, "keep": float("nan")}, ValueError, "keep is a chance between 0 and 1"),
        ({"grid": 4, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"grid": 4, "budget": 3}, ValueError, "the budget allows 1 masks for each picture"),
    ],
)
def test_what_cannot_be_is_refused(method, options, error, words):
    query, item = patches.pictures(2)
    with pytest.raises(error, match=words):
        method(patches.patch_embedder(), query, item, **options, **QUIET)
