"""The pointing game: planted maps, by hand, by loops, and what must not change it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for known_boxes, which tests of this room share

from known_boxes import Planted, gallery_of, inside, slow_enlarged, some_boxes, two_networks

import dmlviz as dv
from dmlviz.embedder import CellGeometry, birds_embedder
from dmlviz.faithfulness import KnownBoxes, KnownParts, truth_of
from dmlviz.faithfulness.pointing import energy_on, pointing

SIZE, COUNT = 24, 60
PEAK, ENERGY = "peak on the object", "energy on the object"


@pytest.fixture(scope="module")
def fine():
    """A gallery whose cells are pixels."""
    return gallery_of(SIZE, 1, COUNT), some_boxes(SIZE, COUNT)


def figures(gallery, known, of_image, pairs=COUNT, **options):
    found = pointing(
        gallery, Planted(gallery, of_image), pairs, truth=known, baselines=[], progress=False, **options
    )
    return found.figures


def test_a_perfect_map_scores_one_and_an_inverted_one_nothing(fine):
    gallery, known = fine
    perfect = figures(gallery, known, lambda i: inside(known, i, SIZE))
    assert perfect[PEAK].value == perfect[ENERGY].value == 1
    inverted = figures(gallery, known, lambda i: 1 - inside(known, i, SIZE), tolerance=0)
    assert inverted[PEAK].value == inverted[ENERGY].value == 0


def test_a_random_map_scores_the_objects_area(fine):
    gallery, known = fine
    found = figures(gallery, known, lambda i: np.random.default_rng(i).random((SIZE, SIZE)), tolerance=0)
    area = np.mean([inside(known, i, SIZE).mean() for i in range(COUNT)])
    for name in (PEAK, ENERGY):
        low, high = found[name].interval()
        assert low < area < high


def test_a_constant_map_gets_exactly_the_area(fine):
    gallery, known = fine
    pairs = [(i, (i + 1) % COUNT) for i in range(COUNT)]
    areas = [inside(known, i, SIZE).mean() for i in range(COUNT)]
    found = figures(gallery, known, lambda i: np.full((SIZE, SIZE), 0.7), pairs, tolerance=0)
    np.testing.assert_allclose(found[PEAK].values, areas)
    np.testing.assert_allclose(found[ENERGY].values, areas)
    against = figures(gallery, known, lambda i: np.full((SIZE, SIZE), -0.7), pairs, tolerance=0)
    np.testing.assert_allclose(against[PEAK].values, areas)  # its peak is everywhere, too
    assert against[ENERGY].trials == 0  # and nothing is positive


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (1, 0), (2, 1), (5, 1)])
def test_the_tolerance_is_in_pixels_of_the_view(fine, tolerance, hit):
    gallery, _ = fine
    known = KnownBoxes([(10, 10, 14, 14)] * COUNT)
    beside = np.zeros((SIZE, SIZE))
    beside[8, 15] = 1  # two above the object and two to its right
    found = figures(gallery, known, lambda i: beside, [(0, 1)], tolerance=tolerance)
    assert found[PEAK].value == hit
    assert found[ENERGY].value == 0


@pytest.mark.parametrize(("first", "pixel"), [(0, 8), (3.5, 12), (7, 15)])
def test_the_peak_lies_where_the_geometry_puts_the_cell(first, pixel):
    gallery = gallery_of(32, 8, 2, geometry=CellGeometry((8, 8), (first, first), (8, 8)))
    known = KnownBoxes([(pixel, pixel, pixel + 1, pixel + 1)] * 2)
    hot = np.zeros((4, 4))
    hot[1, 1] = 1
    assert figures(gallery, known, lambda i: hot, 2, tolerance=0)[PEAK].value == 1


@pytest.mark.parametrize(("side", "pixel"), [("query", 8), ("gallery", 11)])
def test_each_side_has_its_own_network(side, pixel):
    gallery = two_networks()
    known = KnownBoxes([(pixel, pixel, pixel + 1, pixel + 1)] * 2)
    hot = np.zeros((4, 4))
    hot[1, 1] = 1
    found = figures(gallery, (known, known), lambda i: hot, [(0, 1)], tolerance=0, side=side)
    assert found[PEAK].value == 1
    assert found[ENERGY].value == pytest.approx(1 / (8 if side == "query" else 6) ** 2)


def test_by_hand():
    gallery = gallery_of(
        4, 2, 2
    )  # the four cells' centres fall on pixels 0 and 2 (0.5 and 2.5, rounded to even)
    known = KnownBoxes([(0, 0, 2, 4)] * 2)
    two = figures(gallery, known, lambda i: np.array([[3.0, 1], [3, -5]]), 2, tolerance=0)
    assert two[PEAK].value == 0.5  # one of the two that tie
    plain = figures(gallery, known, lambda i: np.array([[1.0, 1], [0, 0]]), 2, tolerance=0)
    np.testing.assert_allclose(plain[ENERGY].value, 1.75 / 2)  # rows weigh 1, 0.75, 0.25 and 0


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_it_equals_the_loops(seed, tolerance):
    geometry = CellGeometry((5, 6), (1, 2.5), (6, 6))
    maps = np.random.default_rng(seed).integers(-3, 4, (4, 3, 3)).astype(float)  # with ties
    known = some_boxes(18, 4, seed, 5, 14)
    gallery = gallery_of(18, 6, 4, geometry=geometry)
    pairs = [(0, 1), (2, 3), (3, 0)]
    found = figures(gallery, known, lambda i: maps[i], pairs, tolerance=tolerance)
    for k, (query, _) in enumerate(pairs):
        top, left, bottom, right = known.box(query)
        highest = [(r, c) for r in range(3) for c in range(3) if maps[query, r, c] == maps[query].max()]
        hits = 0
        for r, c in highest:
            row, col = min(round(1 + 5 * r), 17), min(round(2.5 + 6 * c), 17)
            hits += (
                top - tolerance <= row < bottom + tolerance and left - tolerance <= col < right + tolerance
            )
        np.testing.assert_allclose(found[PEAK].values[k], hits / len(highest))
        pixels = slow_enlarged(maps[query], 18, geometry)
        positive = sum(max(v, 0) for v in pixels.ravel())
        held = sum(max(pixels[r, c], 0) for r in range(top, bottom) for c in range(left, right))
        expected = held / positive if positive else np.nan
        np.testing.assert_allclose(found[ENERGY].values[k], expected, atol=1e-12)


def test_neither_the_maps_scale_nor_the_order_of_pairs_matters(fine):
    gallery, known = fine
    maps = np.random.default_rng(5).normal(0, 1, (COUNT, SIZE, SIZE))
    pairs = [(i, (i + 1) % COUNT) for i in range(12)]
    once = figures(gallery, known, lambda i: maps[i], pairs)
    scaled = figures(gallery, known, lambda i: maps[i] * 3.0 ** (i - 7), pairs)
    turned = figures(gallery, known, lambda i: maps[i], pairs[::-1])
    for name, estimate in once.items():
        np.testing.assert_allclose(scaled[name].values, estimate.values, rtol=1e-12)
        np.testing.assert_allclose(turned[name].values[::-1], estimate.values, rtol=1e-12)


def test_the_object_is_the_whole_subject_else_its_parts_else_its_box():
    flock = dv.birds(families=1, per_class=1)
    gallery = dv.Gallery.build(flock, birds_embedder(), progress=False)
    np.testing.assert_array_equal(truth_of(gallery).query.whole(0), flock.mask(0, "bird"))
    parts = KnownParts([flock.part_ids(i) for i in range(len(flock))], {3: "beak", 7: "feet"})
    both = flock.mask(1, "beak") | flock.mask(1, "feet")
    np.testing.assert_array_equal(truth_of(gallery, parts).query.whole(1), both)
    boxes = KnownBoxes([flock.box(i) for i in range(len(flock))])
    found = truth_of(gallery, boxes).query.whole(2)
    top, left, bottom, right = flock.box(2)
    assert found.sum() == (bottom - top) * (right - left)
    assert found[top, left]
    assert found[bottom - 1, right - 1]


def test_the_gallerys_side_and_pictures_that_show_nothing(fine):
    gallery, known = fine
    ids = [inside(known, i, SIZE).astype(int) * (i != 1) for i in range(COUNT)]
    parts = KnownParts(ids, {1: "thing"})
    pairs = [(0, 2), (1, 3), (4, 1)]
    of_query = figures(gallery, parts, lambda i: inside(known, i, SIZE), pairs)
    of_item = figures(gallery, parts, lambda i: inside(known, i, SIZE), pairs, side="gallery")
    for name in (PEAK, ENERGY):
        np.testing.assert_array_equal(of_query[name].values, [1, np.nan, 1])
        np.testing.assert_array_equal(of_item[name].values, [1, 1, np.nan])


def test_a_map_that_is_not_finite_is_left_out(fine):
    gallery, known = fine
    found = figures(gallery, known, lambda i: np.full((SIZE, SIZE), np.inf), [(0, 1)])
    assert found[PEAK].left_out == found[ENERGY].left_out == 1
    assert np.isnan(energy_on(np.array([[np.nan, 1.0]]), np.array([[False, True]])))


def test_on_birds_pointing_tells_nothing_apart_and_energy_tells_training():
    gallery = dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)
    found = pointing(gallery, pairs=24, progress=False)
    assert set(found.baselines) == {"random weights", "feature norm", "centre", "uniform", "random"}
    assert found.headline.value > 0.9
    assert found.baselines["centre"][PEAK].value > 0.9
    assert found.baselines["feature norm"][PEAK].value > 0.9
    area = found.baselines["uniform"][ENERGY].value
    assert abs(found.baselines["random weights"][ENERGY].value - area) < 0.05
    assert found.figures[ENERGY].interval()[0] > area + 0.2
    assert "caution: does not separate methods" in repr(found)


def test_errors_say_what_was_expected(fine):
    gallery, known = fine
    with pytest.raises(ValueError, match="side must be one of 'query', 'gallery'; got 'left'"):
        pointing(gallery, truth=known, side="left")
    with pytest.raises(TypeError, match=r"tolerance must be a whole number, got 1\.5"):
        pointing(gallery, truth=known, tolerance=1.5)
    with pytest.raises(ValueError, match="tolerance must be at least 0, got -1"):
        pointing(gallery, truth=known, tolerance=-1)
    with pytest.raises(ValueError, match="no boxes round what the pictures show are known"):
        pointing(gallery)
