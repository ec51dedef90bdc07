import cmath
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images.place_layout import FAMILY, RADIUS, place_families, place_scenes
from dmlviz.images.place_scene import COLOURS_OF, PlaceObject, bearing, towards


@pytest.fixture(scope="module")
def families():
    return place_families(60, "test", seed=3)


def changed(one, other):
    return [number for number, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def test_siblings_differ_from_the_base_in_one_object_and_from_each_other_in_two(families):
    for base, *siblings in families:
        assert len(siblings) == FAMILY - 1
        numbers = [changed(base, sibling) for sibling in siblings]
        assert all(len(found) == 1 for found in numbers)
        assert len({found[0] for found in numbers}) == len(siblings)
        assert len(changed(siblings[0], siblings[1])) == 2
        assert all(base[found[0]].kind != "road" for found in numbers)


def test_a_change_is_of_kind_of_colour_or_of_position(families):
    kinds = {"kind": 0, "colour": 0, "position": 0}
    for base, *siblings in families:
        for sibling in siblings:
            (number,) = changed(base, sibling)
            old, new = base[number], sibling[number]
            if old.at != new.at:
                assert old.name == new.name
                assert abs((bearing(old.at) - bearing(new.at) + 180) % 360 - 180) >= 40
                kinds["position"] += 1
            else:
                assert old.name != new.name
                kinds["kind" if old.kind != new.kind else "colour"] += 1
    assert min(kinds.values()) > 20


def test_objects_leave_each_other_room(families):
    for family in families:
        things = [thing for thing in family[0] if thing.kind != "road"]
        for n, one in enumerate(things):
            for other in things[:n]:
                apart = abs(one.at - other.at)
                assert apart >= RADIUS[one.kind] * one.size + RADIUS[other.kind] * other.size
        assert 1 <= sum(thing.kind == "road" for thing in family[0]) <= 3
        assert len(things) >= 6


def test_places_are_the_same_every_time_and_more_of_them_keep_the_first(families):
    assert place_families(60, "test", seed=3) == families
    assert place_families(5, "test", seed=3) == families[:5]
    assert place_families(5, "test", seed=4) != families[:5]
    training = {thing.at for family in place_families(60, "train", seed=3) for thing in family[0]}
    assert not training & {thing.at for family in families for thing in family[0]}


def test_every_scene_has_a_tape_of_its_own(families):
    scenes = place_scenes(families, "test", 3)
    assert len({scene.key for scene in scenes}) == len(scenes) == 60 * FAMILY
    first = scenes[0]
    assert first.parameters("ground") != first.parameters("aerial")
    assert first.heading == 0.0
    assert place_scenes(families, "test", 3, north_known=False)[0].heading > 0.0
    assert all(abs(s.camera.real) <= 1.5 and abs(s.camera.imag) <= 1.5 for s in scenes)


@given(st.floats(0, 359.999))
@settings(deadline=None, max_examples=30)
def test_bearings_are_those_of_a_compass(degrees):
    step = towards(degrees)
    assert math.isclose(step.real, math.sin(math.radians(degrees)), abs_tol=1e-12)
    assert math.isclose(step.imag, math.cos(math.radians(degrees)), abs_tol=1e-12)
    assert abs((bearing(5.0 * step) - degrees + 180) % 360 - 180) < 1e-9
    assert math.isclose(abs(step), 1.0)
    assert cmath.isfinite(step)


@pytest.mark.parametrize(
    ("kind", "colour", "words"),
    [
        ("castle", "blue", "Unknown kind 'castle': choose one of cottage"),
        ("pond", "scarlet", "No pond is 'scarlet'"),
    ],
)
def test_an_object_that_cannot_be_is_worded(kind, colour, words):
    with pytest.raises(ValueError, match=words):
        PlaceObject(kind, colour, 1 + 1j)


def test_every_colour_of_a_kind_can_be_drawn():
    from dmlviz.images.place_canvas import BUILT, PALETTE

    for kind, colours in COLOURS_OF.items():
        for colour in colours:
            assert (kind, colour) in PALETTE or colour in BUILT
            assert PlaceObject(kind, colour, 10j).name == f"{colour} {kind}"
