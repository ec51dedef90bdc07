import numpy as np
import pytest

from dmlviz.images.bird_drawing import draw_scene
from dmlviz.images.bird_scene import COLOURS, PART_ID, PARTS, SHAPES, Scene, Species, uniform_tape


def any_scene(number: int) -> Scene:
    """A scene of a species that has nothing to do with its pose."""
    numbers = uniform_tape((99, number), 10)
    return Scene(Species(tuple((int(4 * a), int(5 * b)) for a, b in numbers.reshape(5, 2))), (7, number))


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and every pixel that touches it."""
    padded = np.pad(mask, 1)
    h, w = mask.shape
    return np.logical_or.reduce([padded[r : r + h, c : c + w] for r in range(3) for c in range(3)])


def test_a_scene_is_drawn_the_same_every_time():
    first, again = draw_scene(any_scene(0)), draw_scene(any_scene(0))
    assert first.image.dtype == first.part_ids.dtype == np.uint8
    assert first.image.shape == (96, 96, 3)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.part_ids, again.part_ids)


def test_pixels_are_those_of_the_first_release():
    drawing = draw_scene(any_scene(1))
    # rounding differs a little between versions of Pillow: hence the tolerance
    means = drawing.image.reshape(3, 32, 3, 32, 3).mean((1, 3)).reshape(9, 3)
    assert np.abs(means - np.array(GOLDEN_MEANS)).max() < 0.5
    counts = np.bincount(drawing.part_ids.ravel(), minlength=9)
    assert np.abs(counts - np.array(GOLDEN_COUNTS)).max() <= 8


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("number", range(6))
def test_removing_a_part_changes_nothing_else(part, number):
    scene = any_scene(number)
    whole, less = draw_scene(scene), draw_scene(scene.without(part))
    where = whole.part_ids == PART_ID[part]
    changed = (whole.image != less.image).any(axis=2)
    assert where.any()
    assert not (less.part_ids == PART_ID[part]).any()
    assert not (changed & ~grown(where)).any()
    assert changed[where].mean() > 0.6  # the rest has its colour behind it by chance
    assert np.array_equal(whole.part_ids[~where], less.part_ids[~where])


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("number", range(6))
def test_swapping_a_part_changes_nothing_else(part, number):
    scene = any_scene(number)
    shape = next(s for s in SHAPES[part] if s != scene.species.shape(part))
    colour = next(c for c in COLOURS if c != scene.species.colour(part))
    for swapped in (
        scene.swap(part, shape),
        scene.swap(part, colour=colour),
        scene.swap(part, shape, colour),
    ):
        old, new = draw_scene(scene), draw_scene(swapped)
        either = (old.part_ids == PART_ID[part]) | (new.part_ids == PART_ID[part])
        changed = (old.image != new.image).any(axis=2)
        assert changed.any()
        assert not (changed & ~grown(either)).any()
        assert np.array_equal(old.part_ids[~either], new.part_ids[~either])


def test_a_colour_swap_keeps_the_outline():
    scene = any_scene(2)
    colour = next(c for c in COLOURS if c != scene.species.colour("tail"))
    assert np.array_equal(draw_scene(scene).part_ids, draw_scene(scene.swap("tail", colour=colour)).part_ids)


def test_every_part_is_visible_nearly_always():
    ids = np.stack([draw_scene(any_scene(n)).part_ids for n in range(150)])
    for part in PARTS:
        assert ((ids == PART_ID[part]).sum((1, 2)) >= 20).mean() > 0.98
    assert 0.15 < np.isin(ids, range(1, 8)).mean() < 0.35
    assert 0.2 < (ids == PART_ID["occluder"]).any((1, 2)).mean() < 0.4


def test_a_finer_picture_shows_the_same_scene():
    for number in range(4):
        coarse, fine = draw_scene(any_scene(number), 48), draw_scene(any_scene(number), 192)
        assert fine.image.shape == (192, 192, 3)
        blocks = fine.image.reshape(48, 4, 48, 4, 3).mean((1, 3))
        assert np.abs(blocks - coarse.image).mean() < 8
        assert (fine.part_ids[1::4, 1::4] == coarse.part_ids).mean() > 0.93


def test_both_sides_are_shown_about_equally():
    leftwards = [any_scene(n).parameters["flip"] < 0.5 for n in range(200)]
    assert 0.4 < np.mean(leftwards) < 0.6


GOLDEN_MEANS = [
    [175.69, 196.82, 162.43],
    [158.78, 162.74, 149.15],
    [155.31, 185.31, 145.22],
    [116.19, 126.06, 97.74],
    [106.81, 139.68, 112.68],
    [108.81, 133.27, 121.73],
    [68.38, 81.48, 83.62],
    [68.23, 81.86, 72.01],
    [58.4, 72.92, 86.29],
]
GOLDEN_COUNTS = [7345, 366, 206, 150, 105, 304, 219, 153, 368]
