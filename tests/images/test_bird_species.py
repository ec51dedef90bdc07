import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images.bird_scene import COLOURS, PARTS, SHAPES, Species, uniform_tape
from dmlviz.images.bird_species import bird_families, family_scenes, split_of

splits = st.sampled_from(["train", "test"])


@given(st.integers(0, 2**40), splits)
@settings(deadline=None, max_examples=25)
def test_siblings_differ_from_the_base_in_one_part_and_from_each_other_in_two(seed, split):
    for family in bird_families(3, split, seed):
        base, siblings = family.members[0], family.members[1:]
        assert [base.differs(sibling) for sibling in siblings] == [(part,) for part in PARTS]
        for a, first in enumerate(siblings):
            for b, second in enumerate(siblings):
                assert first.differs(second) == tuple(PARTS[n] for n in sorted({a, b}) if a != b)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
@settings(deadline=None, max_examples=25)
def test_training_and_test_species_never_meet_whatever_the_seeds(one, other):
    train = {m for family in bird_families(6, "train", one) for m in family.members}
    test = {m for family in bird_families(6, "test", other) for m in family.members}
    assert not train & test
    assert {split_of(m) for m in train} == {"train"}
    assert {split_of(m) for m in test} == {"test"}


def test_no_species_comes_twice_in_five_hundred_families():
    families = bird_families(500, "train", 3)
    assert len({m for family in families for m in family.members}) == 3000
    assert len({label for family in families for label in family.labels}) == 3000


def test_names_go_on_when_the_words_run_out():
    families = bird_families(803, "test", 1)
    names = [family.name for family in families]
    assert len(set(names)) == 803
    assert names[800] == f"{names[0]} 2"


def test_a_third_of_all_species_is_kept_for_testing():
    numbers = uniform_tape((4,), 30_000).reshape(3000, 5, 2)
    flock = [Species(tuple((int(4 * a), int(5 * b)) for a, b in row)) for row in numbers]
    share = sum(split_of(bird) == "test" for bird in flock) / len(flock)
    assert 0.30 < share < 0.37


def test_siblings_differ_in_shape_in_colour_and_in_both():
    kinds = []
    for family in bird_families(60, "test", 5):
        for part, sibling in zip(PARTS, family.members[1:], strict=True):
            base = family.members[0]
            kinds.append((base.shape(part) != sibling.shape(part), base.colour(part) != sibling.colour(part)))
    for kind in ((True, False), (False, True), (True, True)):
        assert 0.2 < kinds.count(kind) / len(kinds) < 0.5


def test_a_label_says_what_is_other():
    feet = {"talons": "taloned", "webbed": "web-footed", "boots": "booted", "slippers": "slippered"}
    for family in bird_families(60, "test", 6):
        assert family.labels[0] == family.name
        for part, sibling, label in zip(PARTS, family.members[1:], family.labels[1:], strict=True):
            base = family.members[0]
            words, name = label.split(" ", 1)
            assert name == family.name
            assert (sibling.colour(part) in words) == (base.colour(part) != sibling.colour(part))
            shape = sibling.shape(part)
            assert (feet.get(shape, shape) in words) == (base.shape(part) != shape)


def test_families_do_not_change_when_more_are_asked_for():
    assert bird_families(9, "test", 0)[:4] == bird_families(4, "test", 0)


def test_families_of_one_seed_differ_from_another_seeds():
    assert bird_families(4, "test", 0) != bird_families(4, "test", 1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_scene_has_a_tape_of_its_own(split):
    families = bird_families(2, split, 8)
    scenes = family_scenes(families, 3, split, 8)
    assert len(scenes) == 36
    assert len({scene.key for scene in scenes}) == 36
    assert [scene.species for scene in scenes[::3]] == [m for family in families for m in family.members]
    assert family_scenes(families, 5, split, 8)[:3] == scenes[:3]


def test_every_variant_can_be_met_in_testing():
    families = bird_families(120, "test", 2)
    for part in PARTS:
        met = {m.describe(part) for family in families for m in family.members}
        assert met == {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES[part]}
