import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images.bird_scene import COLOURS, PARTS, RANGES, SHAPES, Scene, Species, uniform_tape

variants = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 4))] * 5)
species = variants.map(Species)
KESTREL = Species(((0, 0), (1, 1), (2, 2), (3, 3), (0, 4)))


def test_the_tape_is_the_same_under_every_version_of_numpy():
    tape = uniform_tape((2024, 7), 256)
    assert tape.dtype == np.float64
    assert hashlib.sha256(tape.tobytes()).hexdigest() == TAPE_HASH
    assert np.array_equal(uniform_tape((2024, 7), 56, skip=200), tape[200:])


def test_scene_parameters_are_exact():
    parameters = Scene(KESTREL, (5, 1, 2)).parameters
    assert {name: parameters[name].hex() for name in GOLDEN_PARAMETERS} == GOLDEN_PARAMETERS


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_every_quantity_stays_in_its_range(key):
    parameters = Scene(KESTREL, tuple(key)).parameters
    assert list(parameters) == list(RANGES)
    for name, (low, high) in RANGES.items():
        assert low <= parameters[name] <= high


@given(species, st.sampled_from(PARTS))
@settings(deadline=None, max_examples=30)
def test_removing_and_swapping_leave_the_tape_alone(bird, part):
    scene = Scene(bird, (1, 2, 3))
    assert scene.without(part).parameters == scene.parameters
    assert scene.swap(part, SHAPES[part][0], COLOURS[0]).parameters == scene.parameters
    assert scene.without(part).removed == {part}


@given(species, species)
@settings(deadline=None, max_examples=50)
def test_differs_names_exactly_the_parts_that_differ(a, b):
    told = a.differs(b)
    assert told == tuple(part for part in PARTS if a.describe(part) != b.describe(part))
    rebuilt = a
    for part in told:
        rebuilt = rebuilt.swap(part, b.shape(part), b.colour(part))
    assert rebuilt == b
    assert (a.code == b.code) == (a == b)
    assert 0 <= a.code < 20**5


def test_a_swap_keeps_what_is_not_said():
    assert KESTREL.swap("tail", shape="fork").describe("tail") == "blue fork"
    assert KESTREL.swap("tail", colour="amber").describe("tail") == "amber racket"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: KESTREL.swap("ear", "cone"),
            "Unknown part 'ear': choose one of beak, crest, wing, tail, feet",
        ),
        (lambda: KESTREL.swap("beak", "fork"), "Unknown beak shape 'fork': choose one of cone, hook"),
        (lambda: KESTREL.swap("beak", colour="pink"), "Unknown beak colour 'pink': choose one of scarlet"),
        (lambda: KESTREL.swap("beak"), "needs a new shape .* a new colour .* or both; got neither"),
        (lambda: Scene(KESTREL, (1,)).without("ear"), "Unknown part 'ear'"),
        (lambda: Scene(KESTREL, (-1,)), "integers from 0 to"),
        (lambda: Scene(KESTREL, ()), "one or more integers"),
        (lambda: Species(((4, 0),) * 5), "five pairs"),
        (lambda: Species(((0, 0),) * 4), "five pairs"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_scene_says_itself_in_plain_values():
    said = Scene(KESTREL, (5, 1, 2)).without("crest").to_dict()
    assert said["key"] == [5, 1, 2]
    assert said["parts"]["feet"] == "violet talons"
    assert said["removed"] == ["crest"]


TAPE_HASH = "361df75bb72a5f4d7a49afa2562f325732dcc7f909298478511f777131218f66"
GOLDEN_PARAMETERS = {
    "flip": "0x1.b7d661e8d3e53p-1",
    "scale": "0x1.32e5e097226c4p+0",
    "rotation": "0x1.1c49a3cd35a62p+3",
    "head_angle": "-0x1.1c0376f4add70p+0",
    "sky_hue": "0x1.c35941b3c4e24p-1",
    "horizon": "0x1.a7dd06bea6f0ap-1",
    "twig_width": "0x1.a4ed40ae88645p+0",
    "noise": "0x1.168dae8026157p+1",
    "beak_tint": "-0x1.29258df1728bcp-6",
    "clutter0_row": "0x1.e5737bf0f9981p-1",
    "clutter8_fade": "0x1.5bdeaf089068ap-2",
}
