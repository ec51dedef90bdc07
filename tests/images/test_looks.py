import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images.bird_species import split_of_code
from dmlviz.images.face_scheme import FACE_SCHEME
from dmlviz.images.kinfolk import draw_people, family_size
from dmlviz.images.looks import Look, LookScene
from dmlviz.images.person_scheme import PERSON_SCHEME

SCHEMES = pytest.mark.parametrize("scheme", [FACE_SCHEME, PERSON_SCHEME], ids=["faces", "persons"])


def first_look(scheme) -> Look:
    return Look(scheme, tuple((0, 1) for _ in scheme.parts))


@SCHEMES
def test_scene_parameters_are_those_of_the_first_release(scheme):
    parameters = LookScene(first_look(scheme), (7, 1)).parameters
    assert len(parameters) == len(scheme.slots)
    for name, low, high in scheme.slots:
        assert low <= parameters[name] <= high
    expected = {"face": ("noise", 5.660970332042033), "person": ("noise", 3.8499570609991274)}
    name, value = expected[scheme.name]
    assert parameters[name] == value


@SCHEMES
def test_every_slot_has_its_own_name(scheme):
    names = [name for name, _, _ in scheme.slots]
    assert len(set(names)) == len(names)


@SCHEMES
def test_a_swap_and_a_removal_leave_the_tape_alone(scheme):
    scene = LookScene(first_look(scheme), (7, 2))
    part = scheme.siblings[0]
    assert scene.without(part).parameters == scene.parameters
    swapped = scene.swap(part, colour=scheme.part(part).colours[0])
    assert swapped.parameters == scene.parameters
    assert swapped.look.differs(scene.look) == (part,)
    assert swapped.look.colour(part) == scheme.part(part).colours[0]
    assert json.loads(json.dumps(scene.to_dict()))["parameters"] == scene.parameters


@SCHEMES
def test_families_differ_in_one_part_each(scheme):
    people = draw_people(scheme, 3 * family_size(scheme) + 2, "test", 4)
    assert len({person.name for person in people}) == len({person.look for person in people}) == len(people)
    for person in people:
        eldest = people[person.family * family_size(scheme)]
        expected = () if person.member == 0 else (scheme.siblings[person.member - 1],)
        assert eldest.look.differs(person.look) == expected
        assert person.name.split()[1:] == eldest.name.split()[1:]
    assert people[1].look.differs(people[2].look) == tuple(
        part for part in scheme.part_names if part in scheme.siblings[:2]
    )


@SCHEMES
@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(deadline=None, max_examples=8)
def test_nobody_is_on_both_sides(scheme, a, b):
    train = {person.look for person in draw_people(scheme, 30, "train", a)}
    test = {person.look for person in draw_people(scheme, 30, "test", b)}
    assert not train & test
    assert {split_of_code(look.code) for look in train} == {"train"}
    assert {split_of_code(look.code) for look in test} == {"test"}


@SCHEMES
def test_more_people_keep_the_first_ones(scheme):
    assert draw_people(scheme, 20, "test", 1)[:9] == draw_people(scheme, 9, "test", 1)


@SCHEMES
@given(st.data())
@settings(deadline=None, max_examples=30)
def test_a_look_is_its_code(scheme, data):
    def any_look():
        pairs = [
            (
                data.draw(st.integers(0, len(part.shapes) - 1)),
                data.draw(st.integers(0, len(part.colours) - 1)),
            )
            for part in scheme.parts
        ]
        return Look(scheme, tuple(pairs))

    one, other = any_look(), any_look()
    assert (one.code == other.code) == (one == other)
    size = int(np.prod([len(part.shapes) * len(part.colours) for part in scheme.parts]))
    assert 0 <= one.code < size


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda look: Look(FACE_SCHEME, ((0, 0),)),
            "A face's look is one pair .* for each of face, hair, brows",
        ),
        (lambda look: Look(FACE_SCHEME, ((9, 0),) * 6), "A face's look is one pair"),
        (lambda look: look.swap("ear", "bob"), "Unknown part 'ear': choose one of face, hair"),
        (lambda look: look.swap("hair"), r"needs a new shape \(bob, curls"),
        (lambda look: look.swap("hair", "mullet"), "Unknown hair shape 'mullet': choose one of bob"),
        (lambda look: look.swap("hair", colour="pink"), "Unknown hair colour 'pink': choose one of raven"),
        (lambda look: LookScene(look, ()), "key is one or more integers"),
        (lambda look: LookScene(look, (1,)).without("ear"), "Unknown part 'ear'"),
    ],
)
def test_looks_that_cannot_be_are_worded(call, words):
    with pytest.raises(ValueError, match=words):
        call(first_look(FACE_SCHEME))
