import math
from dataclasses import replace

import numpy as np
import pytest

from dmlviz.images.place_aerial import draw_aerial
from dmlviz.images.place_canvas import Canvas
from dmlviz.images.place_layout import place_families, place_scenes
from dmlviz.images.place_panorama import EYE, FOCAL, _Panorama, draw_ground
from dmlviz.images.place_scene import (
    FLAT,
    GROUND_SIZE,
    OCCLUDER,
    PlaceObject,
    PlaceScene,
    aerial_point,
    bearing,
    column_of_bearing,
    ground_of_aerial,
)

VIEWS = {"ground": draw_ground, "aerial": draw_aerial}


@pytest.fixture(scope="module")
def scenes():
    return place_scenes(place_families(15, "test", seed=1), "test", seed=1)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_drawn_the_same_every_time(scenes, view):
    first, again = VIEWS[view](scenes[0]), VIEWS[view](scenes[0])
    assert first.image.dtype == first.object_ids.dtype == np.uint8
    assert first.image.shape == ((64, 192, 3) if view == "ground" else (96, 96, 3))
    assert first.object_ids.shape == first.image.shape[:2]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.object_ids, again.object_ids)


def test_pixels_are_those_of_the_first_release(scenes):
    # rounding differs a little between versions of Pillow: hence the tolerance
    for view, draw in VIEWS.items():
        drawing = draw(scenes[1])
        h, w = drawing.object_ids.shape
        means = drawing.image.reshape(2, h // 2, 3, w // 3, 3).mean((1, 3)).reshape(6, 3)
        assert np.abs(means - np.array(GOLDEN_MEANS[view])).max() < 0.5
        counts = np.bincount(drawing.object_ids.ravel(), minlength=12)[:12]
        assert np.abs(counts - np.array(GOLDEN_COUNTS[view])).max() <= 8


def test_an_object_alone_is_seen_where_its_bearing_says():
    """The mask of one object in an empty place lies round its projected middle, in both views."""
    for number in range(24):
        at = (14 + number % 3 * 6) * complex(math.sin(number), math.cos(number))
        kind = ("tower", "tree", "conifer", "tent", "mill")[number % 5]
        colour = "green" if kind in ("tree", "conifer") else "scarlet"
        for north_known in (True, False):
            scene = PlaceScene((PlaceObject(kind, colour, at),), (5, number), north_known)
            scene = next(s for s in _unhidden(scene))
            cols = np.flatnonzero((draw_ground(scene).object_ids == 1).any(0))
            middle = column_of_bearing(bearing(at - scene.camera), scene.heading)
            off = (cols - middle + 96) % 192 - 96  # the panorama closes upon itself
            assert off.min() < 0 < off.max()
            if kind != "tent":  # its flag flies to one side
                assert abs(off.min() + off.max()) <= 2.5
            rows, cols = np.nonzero(draw_aerial(scene).object_ids == 1)
            row, col = aerial_point(at)
            assert abs(rows.mean() - row) < 0.75
            assert abs(cols.mean() - col) < 0.75


def _unhidden(scene):
    """The scene with other tapes, until nothing passes in front of it."""
    for extra in range(50):
        candidate = replace(scene, key=(*scene.key, extra))
        views = (draw_ground(candidate), draw_aerial(candidate))
        if not any((v.object_ids == OCCLUDER).any() for v in views):
            yield candidate


def test_the_panorama_is_a_cylinder():
    """Slow twin: one point after the other by trigonometry, clockwise bearings, heights over distances."""
    canvas = Canvas(PlaceScene((), (3,)), "ground", GROUND_SIZE)
    camera, heading = 1.0 - 0.5j, 33.0
    painter = _Panorama(canvas, camera, heading)
    rng = np.random.default_rng(0)
    points = 20 * (rng.normal(size=6) + 1j * rng.normal(size=6))
    heights = 9 * rng.random(6)
    for point, height in zip(points, heights, strict=True):
        cols, rows = painter.place(np.array([point]), np.array([height]), point - camera)
        east, north = (point - camera).real, (point - camera).imag
        clockwise = math.degrees(math.atan2(east, north)) - heading
        expected = (clockwise % 360 / 360 * 192 + 96) % 192 - 0.5
        assert cols[0] == pytest.approx(expected, abs=1e-9)
        below = canvas.p["horizon"] + FOCAL * (EYE - height) / math.hypot(east, north)
        assert rows[0] == pytest.approx(below, abs=1e-9)
    assert pytest.approx(192) == 2 * math.pi * FOCAL


def test_a_point_of_the_aerial_view_and_of_the_ground_are_one():
    for row, col in ((0.0, 0.0), (47.5, 47.5), (12.25, 80.5)):
        assert aerial_point(ground_of_aerial(row, col)) == pytest.approx((row, col))
    assert aerial_point(0j) == (47.5, 47.5)
    assert aerial_point(10j)[0] < 47.5  # north is up
    assert aerial_point(10 + 0j)[1] > 47.5  # east is right


def test_objects_are_seen_in_both_views(scenes):
    ground = [draw_ground(scene).object_ids for scene in scenes]
    aerial = [draw_aerial(scene).object_ids for scene in scenes]
    seen = []
    for scene, below, above in zip(scenes, ground, aerial, strict=True):
        known = set(range(1, len(scene.objects) + 1))
        assert set(np.unique(below)) <= known | {0, OCCLUDER}
        assert set(np.unique(above)) <= known | {0, OCCLUDER}
        seen += [(below == n).sum() >= 6 and (above == n).sum() >= 6 for n in known]
    assert np.mean(seen) > 0.85
    assert 0.2 < np.mean([(ids == OCCLUDER).any() for ids in ground]) < 0.6
    assert 0.2 < np.mean([(ids == OCCLUDER).any() for ids in aerial]) < 0.6


@pytest.mark.parametrize("view", VIEWS)
def test_a_changed_object_changes_nothing_else(scenes, view):
    """With one tape: pixels that show the object in neither picture stay as they were, but for its shadow."""
    changes = 0
    for base, sibling in zip(scenes[::4], scenes[1::4], strict=True):
        (number,) = [n for n, (a, b) in enumerate(zip(base.objects, sibling.objects, strict=True)) if a != b]
        thing = base.objects[number]
        if thing.kind in FLAT or thing.at != sibling.objects[number].at:
            continue
        changes += 1
        other = replace(base, objects=sibling.objects)
        one, two = VIEWS[view](base), VIEWS[view](other)
        either = (one.object_ids == number + 1) | (two.object_ids == number + 1)
        differ = (one.image != two.image).any(2)
        if either.any():
            assert differ[either].mean() > 0.4
        if view == "ground":
            assert not (differ & ~_grown(either)).any()
        assert np.array_equal(one.object_ids[~either], two.object_ids[~either])
    assert changes >= 4


def _grown(mask):
    padded = np.pad(mask, ((1, 1), (1, 1)))
    h, w = mask.shape
    return np.logical_or.reduce([padded[r : r + h, c : c + w] for r in range(3) for c in range(3)])


def test_an_unknown_heading_rolls_the_panorama(scenes):
    """The same picture begins elsewhere: what is at a bearing is found at that bearing's new column."""
    rolled = 0
    for scene in scenes[:12]:
        turned = replace(scene, north_known=False)
        known, unknown = draw_ground(scene).object_ids, draw_ground(turned).object_ids
        for number, thing in enumerate(scene.objects, start=1):
            azimuth = bearing(thing.at - scene.camera)
            column = round(column_of_bearing(azimuth)) % 192
            moved = round(column_of_bearing(azimuth, turned.heading)) % 192
            if (known[:, column] == number).sum() > 6:
                rolled += (unknown[:, moved] == number).any()
                assert (unknown == number).any() or (unknown == OCCLUDER).any()
    assert rolled > 50


GOLDEN_MEANS = {
    "ground": [
        [129.15, 175.27, 224.24],
        [128.66, 138.1, 177.47],
        [140.17, 183.74, 236.96],
        [145.74, 165.99, 154.21],
        [138.46, 114.95, 106.36],
        [146.53, 167.51, 156.75],
    ],
    "aerial": [
        [149.28, 175.65, 92.79],
        [153.38, 142.09, 88.13],
        [141.22, 185.53, 93.81],
        [124.98, 172.38, 83.76],
        [159.78, 174.5, 141.6],
        [143.58, 163.52, 117.06],
    ],
}
GOLDEN_COUNTS = {
    "ground": [8996, 446, 452, 11, 86, 142, 1632, 105, 45, 306, 67, 0],
    "aerial": [6409, 308, 337, 340, 154, 193, 350, 233, 165, 233, 217, 0],
}
