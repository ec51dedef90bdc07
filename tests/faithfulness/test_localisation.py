"""Localisation: planted maps, by hand, by loops, and what must not change it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for known_boxes, which tests of this room share

from known_boxes import Planted, gallery_of, inside, slow_enlarged, some_boxes, two_networks
from test_connected import flood

import dmlviz as dv
from dmlviz.embedder import CellGeometry, birds_embedder
from dmlviz.faithfulness import KnownBoxes, KnownParts, choose_pairs, truth_of
from dmlviz.faithfulness.localisation import THRESHOLDS, best_column, hit, localisation, overlaps_at
from dmlviz.images import ImageSet, Preprocess

SIZE, COUNT = 24, 40
FIXED, BEST, MEAN, ENERGY = "IoU ≥ 0.5", "IoU ≥ 0.5, best threshold", "mean IoU", "energy inside"


@pytest.fixture(scope="module")
def fine():
    """A gallery whose cells are pixels, so that a map can be perfect."""
    return gallery_of(SIZE, 1, COUNT), some_boxes(SIZE, COUNT)


def figures(gallery, known, of_image, pairs=COUNT, **options):
    found = localisation(
        gallery, Planted(gallery, of_image), pairs, truth=known, baselines=[], progress=False, **options
    )
    return found.figures


def test_a_perfect_map_scores_one_and_an_inverted_one_nothing(fine):
    gallery, known = fine
    perfect = figures(gallery, known, lambda i: inside(known, i, SIZE))
    assert [perfect[name].value for name in (FIXED, BEST, MEAN, ENERGY)] == [1, 1, 1, 1]
    inverted = figures(gallery, known, lambda i: 1 - inside(known, i, SIZE))
    assert inverted[FIXED].value == inverted[ENERGY].value == 0
    assert inverted[MEAN].value < 0.2


def test_a_random_map_holds_as_much_energy_as_the_boxes_area(fine):
    gallery, known = fine
    found = figures(gallery, known, lambda i: np.random.default_rng(i).random((SIZE, SIZE)))
    area = np.mean([inside(known, i, SIZE).mean() for i in range(COUNT)])
    low, high = found[ENERGY].interval()
    assert low < area < high
    assert found[FIXED].value == 0  # its largest component reaches all over the view


def test_a_constant_map_is_the_whole_view(fine):
    gallery, known = fine
    found = figures(gallery, known, lambda i: np.full((SIZE, SIZE), 0.3))
    areas = np.array([inside(known, int(q), SIZE).mean() for q in choose_pairs(gallery, COUNT).queries])
    np.testing.assert_allclose(found[MEAN].values, areas)
    np.testing.assert_allclose(found[ENERGY].values, areas)


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_a_map_that_speaks_for_nothing_misses_and_has_no_energy(fine, value):
    gallery, known = fine
    found = figures(gallery, known, lambda i: np.full((SIZE, SIZE), value))
    assert found[FIXED].value == found[BEST].value == found[MEAN].value == 0
    assert found[ENERGY].trials == 0


def test_a_map_that_is_not_finite_is_left_out(fine):
    gallery, known = fine
    broken = np.full((SIZE, SIZE), np.nan)
    found = figures(gallery, known, lambda i: broken if i < 3 else inside(known, i, SIZE))
    for estimate in found.values():
        assert (estimate.left_out, estimate.value) == (3, 1)


def test_by_hand():
    gallery = gallery_of(4, 2, 2)
    # pixels along a side lie at 0, 0.25, 0.75 and 1 of the way from one cell to the other: rows and columns weigh
    # 1, 0.75, 0.25 and 0; at half of the maximum the pixels (0..1, 0..1) stay
    known = KnownBoxes([(0, 0, 2, 3), (0, 0, 2, 3)])
    found = figures(gallery, known, lambda i: np.array([[1.0, 0], [0, 0]]), 2, threshold=0.5)
    np.testing.assert_allclose(found[MEAN].value, 4 / 6)
    np.testing.assert_allclose(found[ENERGY].value, (1 + 0.75) * 2 / 4)
    assert found[FIXED].value == 1
    # [[1, −1], [−1, 1]] is 1, 0.5, −0.5, −1 along each side, multiplied: at half of the maximum three pixels of the
    # corner (0..1, 0..1) stay and three of the corner (2..3, 2..3), which meets the known box nowhere
    twice = figures(gallery, known, lambda i: np.array([[1.0, -1], [-1, 1]]), 2, threshold=0.5)
    np.testing.assert_allclose(twice[MEAN].value, (4 / 6 + 0) / 2)
    assert twice[FIXED].value == 0.5


@pytest.mark.parametrize(("first", "top"), [(0, 4), (3.5, 8), (7, 11)])
def test_the_box_lies_where_the_geometry_puts_the_cells(first, top):
    """One cell (1, 1) at pixel first + 8; half of its tent reaches 4 pixels to each side."""
    geometry = CellGeometry((8, 8), (first, first), (8, 8))
    gallery = gallery_of(32, 8, 2, geometry=geometry)
    bottom = int(np.floor(first + 8 + 4)) + 1
    known = KnownBoxes([(top, top, bottom, bottom)] * 2)
    hot = np.zeros((4, 4))
    hot[1, 1] = 1
    found = figures(gallery, known, lambda i: hot, 2, threshold=0.5)
    assert found[MEAN].value == 1


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.2, 0.45]))
def test_it_equals_the_loops(seed, threshold):
    geometry = CellGeometry((5, 6), (1, 2.5), (6, 6))
    rng = np.random.default_rng(seed)
    maps = rng.normal(0.3, 1, (4, 3, 3))
    known = some_boxes(18, 4, seed, 5, 14)
    gallery = gallery_of(18, 6, 4, geometry=geometry)
    pairs = [(0, 1), (2, 3), (3, 0)]
    found = figures(gallery, known, lambda i: maps[i], pairs, threshold=threshold)
    hits, shared, energy = [], [], []
    for query, _ in pairs:
        pixels, box = slow_enlarged(maps[query], 18, geometry), known.box(query)
        overlaps = [slow_overlaps(pixels, t, box) for t in (threshold, *THRESHOLDS)]
        hits.append([sum(o >= 0.5 for o in of) / len(of) for of in overlaps])
        shared.append(sum(overlaps[0]) / len(overlaps[0]))
        positive, held = 0.0, 0.0
        for r in range(18):
            for c in range(18):
                value = max(pixels[r, c], 0)
                positive += value
                held += value * (box[0] <= r < box[2] and box[1] <= c < box[3])
        energy.append(held / positive)
    np.testing.assert_allclose(found[MEAN].values, shared)
    np.testing.assert_allclose(found[ENERGY].values, energy)
    np.testing.assert_allclose(found[FIXED].values, [of[0] for of in hits])
    assert found[BEST].value == pytest.approx(
        max(np.mean([of[t] for of in hits]) for t in range(len(hits[0])))
    )


def slow_overlaps(pixels, threshold, box):
    """IoU of the box of each largest component, pixel by pixel."""
    parts = flood(pixels >= threshold * pixels.max(), 8)
    most = max(area for area, _ in parts)
    found = []
    for area, (top, left, bottom, right) in parts:
        if area == most:
            one = {(r, c) for r in range(top, bottom) for c in range(left, right)}
            other = {(r, c) for r in range(box[0], box[2]) for c in range(box[1], box[3])}
            found.append(len(one & other) / len(one | other))
    return found


def test_neither_the_maps_scale_nor_the_order_of_pairs_matters(fine):
    gallery, known = fine
    maps = np.random.default_rng(5).normal(0.2, 1, (COUNT, SIZE, SIZE))
    pairs = [(i, (i + 1) % COUNT) for i in range(12)]
    once = figures(gallery, known, lambda i: maps[i], pairs)
    scaled = figures(gallery, known, lambda i: maps[i] * 2.0 ** (i - 7), pairs)
    turned = figures(gallery, known, lambda i: maps[i], pairs[::-1])
    for name, estimate in once.items():
        np.testing.assert_allclose(scaled[name].values, estimate.values, rtol=1e-12)
        np.testing.assert_allclose(turned[name].values[::-1], estimate.values, rtol=1e-12)


def test_the_gallerys_side_has_its_own_box(fine):
    gallery, known = fine
    pairs = [(0, 1), (1, 2)]
    found = figures(gallery, known, lambda i: inside(known, i, SIZE), pairs, side="gallery")
    assert found[MEAN].value == 1
    crossed = figures(gallery, known, lambda i: inside(known, (i + 1) % COUNT, SIZE), pairs, side="gallery")
    assert crossed[MEAN].value < 1


@pytest.mark.parametrize(("side", "top", "bottom"), [("query", 4, 13), ("gallery", 8, 15)])
def test_each_side_has_its_own_network(side, top, bottom):
    """One cell (1, 1), at pixel 8 of the query and 11 of the image; its tent is half as high half a cell away."""
    gallery = two_networks()
    known = KnownBoxes([(top, top, bottom, bottom)] * 2)
    hot = np.zeros((4, 4))
    hot[1, 1] = 1
    found = figures(gallery, (known, known), lambda i: hot, [(0, 1)], threshold=0.5, side=side)
    assert found[MEAN].value == 1


def test_boxes_go_through_the_view_and_those_that_are_cropped_away_are_left_out():
    shrunk = Preprocess(
        resize=(12, 12), crop=(8, 8)
    )  # half the size, then the middle: rows and columns 2 to 9
    gallery = gallery_of(24, 1, 2, preprocess=shrunk)
    known = KnownBoxes([(8, 8, 16, 16), (0, 0, 3, 3)])
    seen = np.zeros((8, 8))
    seen[2:6, 2:6] = 1
    found = figures(gallery, known, lambda i: seen, [(0, 1), (1, 0)])
    assert found[MEAN].values[0] == 1
    for estimate in found.values():
        assert np.isnan(estimate.values[1])


def test_a_picture_on_which_no_part_is_seen_is_left_out(fine):
    gallery, known = fine
    ids = [inside(known, i, SIZE).astype(int) * (i != 1) for i in range(COUNT)]
    parts = KnownParts(ids, {1: "thing"})
    found = figures(gallery, parts, lambda i: inside(known, i, SIZE), [(0, 2), (1, 3)])
    np.testing.assert_array_equal(found[MEAN].values, [1, np.nan])


def test_the_best_threshold_is_one_for_all_pairs():
    hits = np.array([[0, 1, 0], [0, 0, 1], [0, 1, 0], [np.nan] * 3])
    np.testing.assert_array_equal(best_column(hits), [1, 0, 1, np.nan])
    assert np.isnan(best_column(np.full((2, 3), np.nan))).all()
    assert hit(np.array([0.5, 0.2])) == 0.5


def test_nothing_can_be_said_without_a_box():
    assert all(np.isnan(of).all() for of in overlaps_at(np.ones((3, 3)), np.array([0.2, 0.5]), None))


def test_on_birds_the_baselines_that_know_nothing_score_as_high():
    gallery = dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)
    found = localisation(gallery, pairs=24, progress=False)
    assert set(found.baselines) == {"random weights", "feature norm", "centre", "uniform", "random"}
    assert found.baselines["centre"][FIXED].value > 0.9 > found.headline.value
    assert found.figures[ENERGY].value > found.baselines["random weights"][ENERGY].value + 0.1
    assert "caution: does not separate methods" in repr(found)
    assert found.options == {"side": "query", "threshold": 0.2}


def test_errors_say_what_was_expected(fine):
    gallery, known = fine
    with pytest.raises(ValueError, match="side must be one of 'query', 'gallery'; got 'left'"):
        localisation(gallery, truth=known, side="left")
    with pytest.raises(
        ValueError, match="threshold is a share of the map's maximum, above 0 and at most 1; got 20"
    ):
        localisation(gallery, truth=known, threshold=20)
    with pytest.raises(ValueError, match="no boxes round what the pictures show are known"):
        localisation(gallery)
    apart = dv.Gallery.build(
        gallery.images, gallery.embedder, queries=ImageSet.from_arrays([gallery.images[0]]), progress=False
    )
    of_gallery = truth_of(apart, (None, known))
    with pytest.raises(ValueError, match="no boxes round"):
        localisation(apart, pairs=[(0, 1)], truth=of_gallery)
    assert localisation(
        apart, pairs=[(0, 1)], truth=of_gallery, side="gallery", baselines=[], progress=False
    ).headline.trials
