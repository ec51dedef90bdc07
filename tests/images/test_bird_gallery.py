import pickle

import numpy as np
import pytest

from dmlviz.images import BirdSet, ImageSet, birds
from dmlviz.images.bird_scene import PARTS


@pytest.fixture(scope="module")
def flock() -> BirdSet:
    return birds(families=2, per_class=3)


def test_the_default_is_48_species_of_20_images():
    images = birds()
    assert isinstance(images, ImageSet)
    assert len(images) == 960
    assert len(set(images.labels.tolist())) == 48
    assert images.labels.tolist().count(images.labels[0]) == 20
    assert len(set(images.names)) == 960
    assert images.names[0] == f"{images.labels[0]} 01"


def test_the_table_tells_what_is_known(flock):
    table = flock.table
    assert table.columns.tolist() == ["name", "label", "family", "differs_from_base", *PARTS]
    assert table.loc[3, "differs_from_base"] == "beak"
    assert table.loc[3, "beak"] == flock.species(3).describe("beak")
    assert table["family"].tolist() == [flock.family(i) for i in range(len(flock))] == [0] * 18 + [1] * 18


def test_images_know_their_parts(flock):
    assert flock.parts == PARTS
    ids = flock.part_ids(4)
    assert ids.dtype == np.uint8
    for number, part in enumerate(PARTS, start=3):
        assert np.array_equal(flock.mask(4, part), ids == number)
    bird = flock.mask(4, "bird")
    assert np.array_equal(bird, (ids > 0) & (ids < 8))
    top, left, bottom, right = flock.box(4)
    inside = bird[top:bottom, left:right]
    assert inside.sum() == bird.sum()
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_differing_parts_follow_from_the_family(flock):
    assert flock.differs(0, 1) == ()
    assert [flock.differs(0, 3 * m) for m in range(1, 6)] == [(part,) for part in PARTS]
    assert flock.differs(3, 6) == ("beak", "crest")


def test_pictures_without_a_part_or_with_another_one(flock):
    where = flock.mask(7, "tail")
    without, swapped = flock.without(7, "tail"), flock.swap(7, "tail")
    assert without.shape == swapped.shape == flock[7].shape
    for changed in (without, swapped):
        assert (changed != flock[7])[where].any()
    assert np.array_equal(flock.swap(7, "tail"), swapped)
    scene = flock.scene(7)
    same = flock.swap(7, "tail", scene.species.shape("tail"), scene.species.colour("tail"))
    assert np.array_equal(same, flock[7])
    assert not np.array_equal(flock.without(7, "tail", "wing"), without)


def test_a_swap_without_words_chooses_shape_colour_or_both(flock):
    from dmlviz.images.drawn_set import other_variant

    chosen = [other_variant(flock.scene(i), part) for i in range(len(flock)) for part in PARTS]
    kinds = {(shape is None, colour is None) for shape, colour in chosen}
    assert kinds == {(True, False), (False, True), (False, False)}
    for i in range(len(flock)):
        for part in PARTS:
            assert flock.scene(i).swap(part, *other_variant(flock.scene(i), part)).species != flock.species(i)


def test_a_subset_keeps_what_is_known(flock):
    some = flock.subset([7, 20])
    assert isinstance(some, BirdSet)
    assert np.array_equal(some[0], flock[7])
    assert np.array_equal(some.part_ids(1), flock.part_ids(20))
    assert (some.family(0), some.family(1)) == (0, 1)
    assert some.names == (flock.names[7], flock.names[20])
    assert some.table["beak"].tolist() == flock.table["beak"].iloc[[7, 20]].tolist()


def test_the_same_arguments_give_the_same_images(flock):
    again = birds(families=2, per_class=3)
    assert again.fingerprint == flock.fingerprint
    assert again.names == flock.names
    assert np.array_equal(again[11], flock[11])
    assert birds(families=2, per_class=3, seed=1).fingerprint != flock.fingerprint
    assert birds(families=2, per_class=3, size=64).fingerprint != flock.fingerprint
    assert birds(families=2, per_class=3, split="train").fingerprint != flock.fingerprint


def test_more_images_or_families_keep_the_first_ones(flock):
    more = birds(families=3, per_class=4)
    assert np.array_equal(more[0], flock[0])
    assert np.array_equal(more[4 * 7 + 2], flock[3 * 7 + 2])


def test_it_can_be_sent_to_another_process(flock):
    sent = pickle.loads(pickle.dumps(flock))
    assert np.array_equal(sent[5], flock[5])
    assert sent.fingerprint == flock.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"families": 0}, ValueError, "families from 1 to 2000; got 0"),
        ({"families": 2001}, ValueError, "families from 1 to 2000; got 2001"),
        ({"per_class": 0}, ValueError, "per_class from 1"),
        ({"per_class": 2.0}, TypeError, "whole number for per_class; got 2.0"),
        ({"seed": -1}, ValueError, "seed from 0"),
        ({"seed": True}, TypeError, "whole number for seed; got True"),
        ({"size": 8}, ValueError, "size from 24 to 1024; got 8"),
        ({"split": "val"}, ValueError, "Unknown split 'val': choose 'train' or 'test'"),
    ],
)
def test_wrong_arguments_are_worded(arguments, error, words):
    with pytest.raises(error, match=words):
        birds(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda f: f.mask(0, "ear"),
            ValueError,
            "Unknown part 'ear': choose one of background, body, head, beak",
        ),
        (lambda f: f.without(0, "ear"), ValueError, "Unknown part 'ear': choose one of beak"),
        (lambda f: f.without(0), ValueError, "Say which part to leave out"),
        (lambda f: f.swap(0, "ear"), ValueError, "Unknown part 'ear': choose one of beak"),
        (lambda f: f.swap(0, "beak", "fork"), ValueError, "Unknown beak shape 'fork'"),
        (lambda f: f.part_ids(36), IndexError, "no image has the id 36"),
        (lambda f: f.scene(-1), IndexError, "no image has the id -1"),
        (lambda f: f.family("a"), TypeError, "whole number"),
    ],
)
def test_wrong_questions_are_worded(flock, call, error, words):
    with pytest.raises(error, match=words):
        call(flock)
