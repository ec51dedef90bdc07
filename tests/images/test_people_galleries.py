import pickle

import numpy as np
import pytest

from dmlviz.images import FaceSet, ImageSet, PersonSet, faces, persons
from dmlviz.images.person_gallery import CAMERA_NAMES

PERSON_COLUMNS = ["name", "label", "person", "camera", "view", "family", "differs_from_eldest"]
FACE_COLUMNS = ["name", "label", "person", "family", "differs_from_eldest"]


@pytest.fixture(scope="module")
def some_faces() -> FaceSet:
    return faces(people=14, per_person=3)


@pytest.fixture(scope="module")
def some_persons() -> PersonSet:
    return persons(people=12, per_camera=2, cameras=3)


@pytest.fixture(params=["faces", "persons"])
def people(request, some_faces, some_persons):
    return some_faces if request.param == "faces" else some_persons


def test_the_default_faces_are_56_people_of_15_images():
    images = faces()
    assert isinstance(images, ImageSet)
    assert len(images) == 840
    assert len(set(images.labels.tolist())) == 56
    assert len(set(images.names)) == 840
    assert images.names[0] == f"{images.labels[0]} 01"
    assert images[0].shape == (96, 96, 3)


def test_the_default_persons_are_48_people_before_two_cameras():
    images = persons()
    assert isinstance(images, ImageSet)
    assert len(images) == 576
    assert len(set(images.labels.tolist())) == 48
    assert len(set(images.names)) == 576
    assert images.table.groupby(["person", "camera"]).size().tolist() == [6] * 96
    assert images[0].shape == (128, 64, 3)


def test_the_tables_tell_what_is_known(some_faces, some_persons):
    table = some_faces.table
    assert table.columns.tolist() == [*FACE_COLUMNS, *some_faces.parts]
    assert table["differs_from_eldest"].tolist()[::3][:7] == ["", *some_faces.scheme.siblings]
    assert table["person"].tolist() == [i // 3 for i in range(42)]
    table = some_persons.table
    assert table.columns.tolist() == [*PERSON_COLUMNS, *some_persons.parts]
    assert table["camera"].tolist() == [*["gate"] * 2, *["tunnel"] * 2, *["market"] * 2] * 12
    assert set(table["view"]) <= {"front", "back", "left", "right"}
    for images in (some_faces, some_persons):
        for part in images.parts:
            assert images.table.loc[4, part] == images.look(4).describe(part)


def test_images_know_their_parts(people):
    ids = people.part_ids(4)
    assert ids.dtype == np.uint8
    for number, region in enumerate(people.scheme.regions):
        assert np.array_equal(people.mask(4, region), ids == number)
    whole = people.mask(4, people.whole)
    assert np.array_equal(whole, np.logical_or.reduce([people.mask(4, part) for part in people.parts]))
    top, left, bottom, right = people.box(4)
    inside = whole[top:bottom, left:right]
    assert inside.sum() == whole.sum()
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_differing_parts_follow_from_the_family(people):
    each = len(people) // len(set(people.labels.tolist()))
    siblings = people.scheme.siblings
    assert people.differs(0, each - 1) == ()
    assert [people.differs(0, each * m) for m in range(1, 1 + len(siblings))] == [
        (part,) for part in siblings
    ]
    assert people.family(0) == people.family(each * len(siblings)) == 0
    assert people.family(each * (1 + len(siblings))) == 1


def test_pictures_without_a_part_or_with_another_one(people):
    part = "hair"
    where = people.mask(3, part)
    without, swapped = people.without(3, part), people.swap(3, part)
    for changed in (without, swapped):
        assert changed.shape == people[3].shape
        assert (changed != people[3])[where].any()
    assert np.array_equal(people.swap(3, part), swapped)
    look = people.look(3)
    assert np.array_equal(people.swap(3, part, look.shape(part), look.colour(part)), people[3])


def test_a_swap_without_words_always_changes_the_look(people):
    from dmlviz.images.drawn_set import other_variant

    kinds = set()
    for i in range(0, len(people), 2):
        for part in people.scheme.siblings:
            shape, colour = other_variant(people.scene(i), part)
            kinds.add((shape is None, colour is None))
            assert people.scene(i).swap(part, shape, colour).look.differs(people.look(i)) == (part,)
    assert kinds == {(True, False), (False, True), (False, False)}


def test_skin_can_change_only_in_colour(some_persons):
    from dmlviz.images.drawn_set import other_variant

    assert all(other_variant(some_persons.scene(i), "body")[0] is None for i in range(20))


def test_a_subset_keeps_what_is_known(people):
    some = people.subset([7, 20])
    assert type(some) is type(people)
    assert np.array_equal(some[0], people[7])
    assert np.array_equal(some.part_ids(1), people.part_ids(20))
    assert some.names == (people.names[7], people.names[20])
    assert some.table["hair"].tolist() == people.table["hair"].iloc[[7, 20]].tolist()


def test_the_same_arguments_give_the_same_images(some_faces, some_persons):
    for make, images, arguments in (
        (faces, some_faces, {"people": 14, "per_person": 3}),
        (persons, some_persons, {"people": 12, "per_camera": 2, "cameras": 3}),
    ):
        again = make(**arguments)
        assert again.fingerprint == images.fingerprint
        assert np.array_equal(again[11], images[11])
        for other in ({"seed": 1}, {"split": "train"}, {"size" if make is faces else "height": 64}):
            assert make(**{**arguments, **other}).fingerprint != images.fingerprint


def test_more_people_or_images_keep_the_first_ones(some_faces, some_persons):
    assert np.array_equal(faces(people=15, per_person=4)[4 * 5 + 2], some_faces[3 * 5 + 2])
    more = persons(people=13, per_camera=3, cameras=4)
    assert np.array_equal(more[12 * 5 + 3 + 1], some_persons[6 * 5 + 2 + 1])


def test_it_can_be_sent_to_another_process(people):
    sent = pickle.loads(pickle.dumps(people))
    assert np.array_equal(sent[5], people[5])
    assert sent.fingerprint == people.fingerprint


def test_pairs_are_half_of_one_person(some_faces):
    a, b, same = some_faces.pairs(count=200, seed=3, kin=0.5)
    labels = some_faces.labels
    assert np.array_equal(labels[a] == labels[b], same)
    assert same.sum() == 100
    assert (a != b).all()
    family = np.array([some_faces.family(i) for i in range(len(some_faces))])
    related = (family[a] == family[b])[~same]
    assert 0.5 < related.mean() < 0.95  # with two families, half of any two are kin by chance
    again = some_faces.pairs(count=200, seed=3, kin=0.5)
    assert all(np.array_equal(x, y) for x, y in zip((a, b, same), again, strict=True))
    kin = some_faces.pairs(count=100, kin=1.0)
    assert (family[kin.a] == family[kin.b]).all()


def test_queries_and_gallery_as_in_market(some_persons):
    queries, gallery = some_persons.queries_and_gallery()
    assert len(queries) == len(gallery) == 36
    assert set(queries.names).isdisjoint(gallery.names)
    assert set(queries.names) | set(gallery.names) == set(some_persons.names)
    assert queries.table.groupby(["person", "camera"]).size().tolist() == [1] * 36
    by_camera = some_persons.queries_and_gallery(camera="tunnel")
    assert set(by_camera[0].table["camera"]) == {"tunnel"}
    assert set(by_camera[1].table["camera"]) == {"gate", "market"}


def test_every_camera_has_its_name(some_persons):
    assert [some_persons.camera(i) for i in (0, 2, 4)] == list(CAMERA_NAMES[:3])


@pytest.mark.parametrize(
    ("make", "arguments", "error", "words"),
    [
        (faces, {"people": 0}, ValueError, r"faces\(\) needs people from 1 to 20000; got 0"),
        (faces, {"per_person": 2.0}, TypeError, "whole number for per_person; got 2.0"),
        (faces, {"seed": -1}, ValueError, "seed from 0"),
        (faces, {"size": 8}, ValueError, "size from 24 to 1024; got 8"),
        (faces, {"split": "val"}, ValueError, "Unknown split 'val': choose 'train' or 'test'"),
        (persons, {"people": True}, TypeError, "whole number for people; got True"),
        (persons, {"cameras": 7}, ValueError, r"persons\(\) needs cameras from 1 to 6; got 7"),
        (persons, {"height": 127}, ValueError, "an even height; got 127"),
        (persons, {"height": 16}, ValueError, "height from 32 to 1024; got 16"),
        (persons, {"split": 3}, ValueError, "Unknown split 3"),
    ],
)
def test_wrong_arguments_are_worded(make, arguments, error, words):
    with pytest.raises(error, match=words):
        make(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda f, p: f.mask(0, "beak"),
            ValueError,
            "Unknown part 'beak': choose one of background, clothes",
        ),
        (lambda f, p: f.without(0), ValueError, "Say which part to leave out: one or more of face, hair"),
        (lambda f, p: f.swap(0, "ear"), ValueError, "Unknown part 'ear'"),
        (lambda f, p: f.part_ids(99), IndexError, "no image has the id 99"),
        (lambda f, p: f.pairs(3), ValueError, "an even count"),
        (lambda f, p: f.pairs(4, kin=2), ValueError, "a share kin from 0 to 1; got 2"),
        (lambda f, p: f.subset([0, 1]).pairs(4), ValueError, "needs two people in the set"),
        (lambda f, p: f.subset([0, 3]).pairs(4), ValueError, "two images of one person"),
        (lambda f, p: f.subset([0, 1, 30]).pairs(4, kin=1.0), ValueError, "two people of one family"),
        (lambda f, p: p.queries_and_gallery("roof"), ValueError, "Unknown camera 'roof': choose one of gate"),
        (lambda f, p: p.queries_and_gallery("night"), ValueError, "would leave no query"),
        (lambda f, p: p.queries_and_gallery(per_camera=2), ValueError, "would leave no gallery"),
    ],
)
def test_wrong_questions_are_worded(some_faces, some_persons, call, error, words):
    with pytest.raises(error, match=words):
        call(some_faces, some_persons)
