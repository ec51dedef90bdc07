import pickle

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import places_embedders
from dmlviz.faithfulness import truth_of
from dmlviz.images import ImageSet, PlaceView, places
from dmlviz.images.place_view import PlaceReader


@pytest.fixture(scope="module")
def town():
    return places(8, siblings=3)


@pytest.mark.parametrize("view", ["ground", "aerial"])
def test_a_part_is_the_object_of_its_number(town, view):
    images = getattr(town, view)
    assert isinstance(images, PlaceView)
    assert isinstance(images, ImageSet)
    most = max(len(town.objects(i)) for i in range(len(town)))
    assert images.parts == tuple(f"object {n}" for n in range(1, most + 1))
    ids = town.object_ids(view, 5)
    for number in range(1, len(town.objects(5)) + 1):
        mask = images.mask(5, f"object {number}")
        assert mask.shape == images[5].shape[:2]
        assert np.array_equal(mask, ids == number)
        assert np.array_equal(mask, town.mask(view, 5, number))


def test_an_object_that_a_place_does_not_have_is_nowhere():
    city = places(20)
    fewest = min(range(20), key=lambda i: len(city.objects(i)))
    assert len(city.objects(fewest)) < len(city.ground.parts)
    last = city.ground.mask(fewest, city.ground.parts[-1])
    assert last.shape == (64, 192)
    assert not last.any()


def test_kin_differ_in_the_objects_that_were_changed(town):
    for images in (town.ground, town.aerial):
        for i in range(4):
            for j in range(4):
                assert images.differs(i, j) == tuple(f"object {n}" for n in town.differs(i, j))
        assert len(images.differs(0, 1)) == 1
        assert [images.family(i) for i in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_places_of_different_families_differ_in_everything(town):
    most = max(len(town.objects(i)) for i in (1, 6))
    assert town.aerial.differs(1, 6) == town.aerial.differs(6, 1) == town.aerial.parts[:most]


def test_names_labels_and_what_is_known_stay_with_a_subset(town):
    some = town.aerial.subset([6, 1])
    assert isinstance(some, PlaceView)
    assert some.names == ("place-0007 aerial", "place-0002 aerial")
    assert some.labels.tolist() == ["place-0007", "place-0002"]
    assert np.array_equal(some[0], town.aerial[6])
    assert np.array_equal(some.mask(1, "object 5"), town.aerial.mask(1, "object 5"))
    assert (some.family(0), some.family(1)) == (1, 0)
    assert town.aerial.subset(np.arange(8) < 2).differs(0, 1) == town.aerial.differs(0, 1)


def test_a_view_is_the_plain_set_of_its_pictures_to_everything_else(town):
    """Names, labels, pictures and the fingerprint are those that a gallery on disk was built with."""
    assert town.ground.names[3] == "place-0004 ground"
    assert list(town.ground.table.columns) == ["name", "label"]
    for images in (town.ground, town.aerial):
        plain = ImageSet(PlaceReader(town.scenes, images.view), images.names, images.labels)
        assert images.fingerprint == plain.fingerprint
        assert np.array_equal(images[4], plain[4])


def test_it_can_be_sent_to_another_process(town):
    sent = pickle.loads(pickle.dumps(town.ground))
    assert sent.fingerprint == town.ground.fingerprint
    assert np.array_equal(sent.mask(2, "object 4"), town.ground.mask(2, "object 4"))
    assert sent.differs(0, 2) == town.ground.differs(0, 2)


def test_the_truth_of_a_gallery_of_places_is_found_without_being_given(town):
    ground, aerial = places_embedders()
    gallery = dv.Gallery.build(
        town.aerial, aerial, queries=town.ground, query_embedder=ground, progress=False
    )
    truth = truth_of(gallery)
    assert truth.query.parts == truth.gallery.parts == town.ground.parts
    assert truth.query.knows_kin
    assert truth.gallery.knows_kin
    assert not truth.query.has_boxes
    assert not truth.gallery.can_redraw
    assert truth.query.mask(3, "object 5").shape == (64, 192)
    assert np.array_equal(truth.gallery.mask(3, "object 5"), town.mask("aerial", 3, 5))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda v: v.mask(0, "object 99"), ValueError, "Unknown part 'object 99': choose one of object 1, "),
        (lambda v: v.mask(0, 3), ValueError, "Unknown part 3: choose one of object 1, "),
        (lambda v: v.mask(8, "object 1"), IndexError, "no image has the id 8"),
        (lambda v: v.differs(0, -1), IndexError, "no image has the id -1"),
        (lambda v: v.family(8), IndexError, "no image has the id 8"),
    ],
)
def test_wrong_questions_are_worded(town, call, error, words):
    with pytest.raises(error, match=words):
        call(town.ground)
