"""Drawn faces and drawn persons: the same rules for both."""

import numpy as np
import pytest

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.face_drawing import draw_face
from dmlviz.images.face_scheme import FACE_SCHEME
from dmlviz.images.looks import Look, LookScene
from dmlviz.images.person_drawing import draw_person, view_of
from dmlviz.images.person_scheme import CAMERAS, PERSON_SCHEME

BOTH = pytest.mark.parametrize(
    ("scheme", "draw", "size"),
    [(FACE_SCHEME, draw_face, (96, 96)), (PERSON_SCHEME, draw_person, (128, 64))],
    ids=["faces", "persons"],
)
NUMBERS = range(6)
REACH = 3
"""Pixels that a camera's blur may carry a change beyond the part."""
SLIVERS = 0.002
"""Share of pixels that may change elsewhere: those of which a part fills a corner that belongs to a higher number."""


def any_scene(scheme, number: int) -> LookScene:
    """A scene of a look that has nothing to do with its pose."""
    numbers = iter(uniform_tape((98, number), 2 * len(scheme.parts)).tolist())
    look = Look(
        scheme,
        tuple(
            (int(len(p.shapes) * next(numbers)), int(len(p.colours) * next(numbers))) for p in scheme.parts
        ),
    )
    return LookScene(look, (7, number), number % len(CAMERAS) if scheme is PERSON_SCHEME else 0)


def grown(mask: np.ndarray, by: int = REACH) -> np.ndarray:
    """The mask and every pixel that is at most ``by`` rows and columns away from it."""
    padded = np.pad(mask, by)
    h, w = mask.shape
    return np.logical_or.reduce(
        [padded[r : r + h, c : c + w] for r in range(2 * by + 1) for c in range(2 * by + 1)]
    )


@BOTH
def test_a_scene_is_drawn_the_same_every_time(scheme, draw, size):
    first, again = draw(any_scene(scheme, 0), size[0]), draw(any_scene(scheme, 0), size[0])
    assert first.image.dtype == first.part_ids.dtype == np.uint8
    assert first.image.shape == (*size, 3)
    assert first.part_ids.shape == size
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.part_ids, again.part_ids)


@BOTH
def test_pixels_are_those_of_the_first_release(scheme, draw, size):
    drawing = draw(any_scene(scheme, 1), size[0])
    # rounding differs a little between versions of Pillow: hence the tolerance
    means = drawing.image.reshape(4, size[0] // 4, 2, size[1] // 2, 3).mean((1, 3)).reshape(8, 3)
    assert np.abs(means - np.array(GOLDEN_MEANS[scheme.name])).max() < 0.5
    counts = np.bincount(drawing.part_ids.ravel(), minlength=len(scheme.regions))
    assert np.abs(counts - np.array(GOLDEN_COUNTS[scheme.name])).max() <= 8


@BOTH
@pytest.mark.parametrize("number", NUMBERS)
def test_removing_a_part_changes_nothing_else(scheme, draw, size, number):
    scene = any_scene(scheme, number)
    whole = draw(scene, size[0])
    for part in scheme.siblings:
        less = draw(scene.without(part), size[0])
        where = whole.part_ids == scheme.region_id[part]
        changed = (whole.image != less.image).any(axis=2)
        assert not (less.part_ids == scheme.region_id[part]).any()
        assert (changed & ~grown(where)).mean() < SLIVERS
        assert np.array_equal(whole.part_ids[~where], less.part_ids[~where])
        if where.sum() > 30:
            assert changed[where].mean() > 0.4


@BOTH
@pytest.mark.parametrize("number", NUMBERS)
def test_swapping_a_part_changes_nothing_else(scheme, draw, size, number):
    scene = any_scene(scheme, number)
    old = draw(scene, size[0])
    for part in scheme.siblings:
        shape = next(s for s in scheme.part(part).shapes if s != scene.look.shape(part))
        colour = next(c for c in scheme.part(part).colours if c != scene.look.colour(part))
        for swapped in (
            scene.swap(part, shape),
            scene.swap(part, colour=colour),
            scene.swap(part, shape, colour),
        ):
            new = draw(swapped, size[0])
            either = (old.part_ids == scheme.region_id[part]) | (new.part_ids == scheme.region_id[part])
            changed = (old.image != new.image).any(axis=2)
            assert (changed & ~grown(either)).mean() < SLIVERS
            assert np.array_equal(old.part_ids[~either], new.part_ids[~either])
            if either.sum() > 30:
                assert changed.any()


@BOTH
def test_a_colour_swap_keeps_the_outline(scheme, draw, size):
    scene = any_scene(scheme, 2)
    for part in scheme.siblings:
        colour = next(c for c in scheme.part(part).colours if c != scene.look.colour(part))
        swapped = draw(scene.swap(part, colour=colour), size[0])
        assert np.array_equal(draw(scene, size[0]).part_ids, swapped.part_ids)


@BOTH
def test_parts_are_visible_mostly(scheme, draw, size):
    ids = np.stack([draw(any_scene(scheme, n), size[0]).part_ids for n in range(120)])
    for part in scheme.siblings:
        assert ((ids == scheme.region_id[part]).sum((1, 2)) >= 8).mean() > 0.78
    hidden = (ids == len(scheme.regions) - 1).any((1, 2)).mean()
    assert 0.15 < hidden < 0.6


@BOTH
def test_a_finer_picture_shows_the_same_scene(scheme, draw, size):
    for number in range(3):
        coarse, fine = draw(any_scene(scheme, number), 64), draw(any_scene(scheme, number), 256)
        h, w = coarse.part_ids.shape
        assert fine.image.shape == (4 * h, 4 * w, 3)
        blocks = fine.image.reshape(h, 4, w, 4, 3).mean((1, 3))
        assert np.abs(blocks - coarse.image).mean() < 9
        assert (fine.part_ids[1::4, 1::4] == coarse.part_ids).mean() > 0.9


def test_a_camera_changes_colours_and_views():
    scene = any_scene(PERSON_SCHEME, 3)
    pictures = [
        draw_person(LookScene(scene.look, scene.key, number)).image.reshape(-1, 3).mean(0)
        for number in range(len(CAMERAS))
    ]
    for a in range(len(CAMERAS)):
        for b in range(a):
            assert np.abs(pictures[a] - pictures[b]).max() > 12
    for number, camera in enumerate(CAMERAS):
        views = [view_of(LookScene(scene.look, (1, k), number)) for k in range(200)]
        shares = [views.count(view) / 200 for view in ("front", "back", "left", "right")]
        assert np.abs(np.array(shares) - camera.views).max() < 0.12


GOLDEN_MEANS = {
    "face": [
        [62.24, 67.72, 62.78],
        [93.14, 91.1, 83.86],
        [57.51, 70.74, 58.07],
        [94.31, 98.54, 81.09],
        [74.26, 57.02, 40.88],
        [102.26, 76.92, 60.11],
        [49.18, 39.67, 33.95],
        [82.24, 72.13, 64.06],
    ],
    "person": [
        [38.74, 48.08, 96.43],
        [21.82, 33.4, 58.45],
        [25.05, 51.32, 95.47],
        [26.89, 35.46, 70.02],
        [49.32, 74.61, 120.32],
        [36.02, 51.56, 86.62],
        [64.34, 91.33, 142.08],
        [50.27, 71.54, 111.35],
    ],
}
GOLDEN_COUNTS = {
    "face": [4465, 631, 1514, 1904, 148, 272, 176, 106, 0],
    "person": [6779, 112, 81, 35, 440, 99, 646, 0],
}
