import pickle

import numpy as np
import pytest

from dmlviz.images import ImageSet, Places, places
from dmlviz.images.place_scene import OCCLUDER


@pytest.fixture(scope="module")
def town() -> Places:
    return places(10, siblings=3)


@pytest.fixture(scope="module")
def lost() -> Places:
    return places(10, heading="unknown", siblings=3)


def between(a, b):
    """The angle from b to a in degrees, −180 to 180."""
    return (a - b + 180) % 360 - 180


def test_the_default_is_200_places_in_two_views():
    city = places()
    assert len(city) == len(city.ground) == len(city.aerial) == 200
    assert isinstance(city.ground, ImageSet)
    assert isinstance(city.aerial, ImageSet)
    assert city.ground.labels.tolist() == city.aerial.labels.tolist()
    assert city.ground.labels[[0, 199]].tolist() == ["place-0001", "place-0200"]
    assert len(set(city.ground.labels.tolist())) == 200
    assert np.bincount(city.families).tolist() == [2] * 100


def test_the_views_are_pictures_of_two_sizes(town):
    assert town.ground[3].shape == (64, 192, 3)
    assert town.aerial[3].shape == (96, 96, 3)
    assert town.object_ids("ground", 3).shape == (64, 192)
    assert town.object_ids("aerial", 3).shape == (96, 96)
    assert town.ground.names[3] == "place-0004 ground"


def test_the_azimuth_relation_is_exact(town, lost):
    """Every object, projected into both views by the table, is seen in one and the same direction."""
    for city in (town, lost):
        for i in range(len(city)):
            for row in city.objects(i).itertuples():
                assert abs(between(city.azimuth_of_column(row.col, i), row.azimuth)) < 1e-9
                if max(abs(row.aerial_row - 47.5), abs(row.aerial_col - 47.5)) < 48:
                    point = city.azimuth_of_point(row.aerial_row, row.aerial_col, i)
                    assert abs(between(point, row.azimuth)) < 1e-9


def test_object_ids_agree_across_the_views(town):
    """The middle of what is seen of an object in each view lies in the same direction."""
    off = []
    for i in range(len(town)):
        ids = {view: town.object_ids(view, i) for view in ("ground", "aerial")}
        for number, row in town.objects(i).iterrows():
            below, above = (ids[view] == number for view in ("ground", "aerial"))
            if row.kind == "road" or below.sum() < 12 or above.sum() < 12:
                continue
            turn = np.exp(2j * np.pi * np.nonzero(below)[1] / 192).mean()  # columns close upon themselves
            column = (np.angle(turn) / (2 * np.pi) * 192 + 0.5) % 192 - 0.5
            seen = town.azimuth_of_column(column, i)
            there = town.azimuth_of_point(*(axis.mean() for axis in np.nonzero(above)), i)
            off.append(abs(between(seen, there)))
    assert len(off) > 50
    assert np.median(off) < 2.0
    assert np.mean(np.array(off) < 8) > 0.85  # the others are half hidden in one of the views


def test_the_middle_of_an_object_is_its_own_unless_something_hides_it(town):
    hits = {"ground": [], "aerial": []}
    for i in range(len(town)):
        below, above = (town.object_ids(view, i) for view in ("ground", "aerial"))
        for number, row in town.objects(i).iterrows():
            at = round(row.aerial_row), round(row.aerial_col)
            if row.kind != "road" and 0 <= min(at) <= max(at) <= 95 and above[at] != OCCLUDER:
                hits["aerial"].append(above[at] == number)
            if row.kind not in ("road", "field", "pond"):
                hits["ground"].append((below[:, round(row.col) % 192] == number).any())
    assert np.mean(hits["aerial"]) == 1.0
    assert np.mean(hits["ground"]) > 0.85


def test_azimuths_of_columns_and_points(town, lost):
    assert town.azimuth_of_column(95.5) == 0.0
    assert town.azimuth_of_column(47.5) == 270.0
    assert town.azimuth_of_column(-0.5) == 180.0
    assert town.azimuth_of_column(10, 3) == town.azimuth_of_column(10)
    assert town.azimuth_of_point(10, 10) == 315.0
    assert town.azimuth_of_point(90.0, 47.5) == 180.0
    headings = {lost.azimuth_of_column(95.5, i) for i in range(len(lost))}
    assert len(headings) == len(lost)


def test_an_unknown_heading_changes_the_panoramas_only(town, lost):
    assert (town.heading, lost.heading) == ("known", "unknown")
    assert np.array_equal(town.aerial[2], lost.aerial[2])
    assert not np.array_equal(town.ground[2], lost.ground[2])
    azimuths = ["kind", "colour", "azimuth", "distance"]
    assert town.objects(2)[azimuths].equals(lost.objects(2)[azimuths])


def test_siblings_differ_in_one_object(town):
    assert [len(town.differs(0, j)) for j in (0, 1, 2, 3)] == [0, 1, 1, 1]
    assert len(town.differs(1, 2)) == 2
    one, other = town.objects(0), town.objects(1)
    (number,) = town.differs(0, 1)
    same = ["kind", "colour", "aerial_row", "aerial_col"]
    changed = (one[same] != other[same]).any(axis=1)
    assert changed[changed].index.tolist() == [number]
    words = town.table["differs_from_base"]
    assert words[0] == words[4] == ""
    assert town.objects(1).kind[number] in words[1]


def test_a_mask_is_where_the_object_is(town):
    ids = town.object_ids("aerial", 1)
    assert np.array_equal(town.mask("aerial", 1, 4), ids == 4)
    assert town.mask("ground", 1, 4).dtype == bool


def test_the_same_arguments_give_the_same_places(town):
    again = places(10, siblings=3)
    for view in ("ground", "aerial"):
        mine, theirs = getattr(town, view), getattr(again, view)
        assert mine.fingerprint == theirs.fingerprint
        assert np.array_equal(mine[7], theirs[7])
        assert getattr(places(10, seed=1, siblings=3), view).fingerprint != mine.fingerprint
        assert getattr(places(10, split="train", siblings=3), view).fingerprint != mine.fingerprint
    assert places(10, heading="unknown", siblings=3).ground.fingerprint != town.ground.fingerprint
    assert np.array_equal(places(3, siblings=3).ground[2], town.ground[2])


def test_fewer_siblings_leave_the_others_as_they_are(town):
    fewer = places(4, siblings=1)
    assert fewer.families.tolist() == [0, 0, 1, 1]
    for i, j in enumerate((0, 1, 4, 5)):
        assert np.array_equal(fewer.aerial[i], town.aerial[j])
    assert places(3, siblings=0).families.tolist() == [0, 1, 2]
    assert fewer.differs(0, 1) == town.differs(0, 1)


def test_it_can_be_sent_to_another_process(town):
    sent = pickle.loads(pickle.dumps(town))
    assert np.array_equal(sent.ground[5], town.ground[5])
    assert np.array_equal(sent.object_ids("aerial", 5), town.object_ids("aerial", 5))
    assert sent.aerial.fingerprint == town.aerial.fingerprint


def test_a_subset_is_numbered_anew(town):
    some = town.subset([5, 1])
    assert np.array_equal(some.ground[0], town.ground[5])
    assert np.array_equal(some.aerial[1], town.aerial[1])
    assert some.ground.labels.tolist() == ["place-0001", "place-0002"]
    assert some.families.tolist() == [1, 0]
    assert some.table["differs_from_base"].tolist() == ["", ""]


def test_it_is_frozen(town):
    with pytest.raises(AttributeError):
        town.ground = town.aerial


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"places": 0}, ValueError, "places from 1 to 20000; got 0"),
        ({"places": 2.0}, TypeError, r"whole number for places; got 2\.0"),
        ({"seed": -1}, ValueError, "seed from 0"),
        ({"seed": True}, TypeError, "whole number for seed; got True"),
        ({"siblings": 4}, ValueError, "siblings from 0 to 3; got 4"),
        ({"split": "val"}, ValueError, "Unknown split 'val': choose 'train' or 'test'"),
        ({"heading": "north"}, ValueError, "Unknown heading 'north': choose 'known' or 'unknown'"),
    ],
)
def test_wrong_arguments_are_worded(arguments, error, words):
    with pytest.raises(error, match=words):
        places(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t.object_ids("air", 0), ValueError, "Unknown view 'air': choose 'ground' or 'aerial'"),
        (lambda t: t.object_ids("ground", 10), IndexError, "no image has the id 10"),
        (lambda t: t.mask("ground", 0, 99), IndexError, "place 0 has no object 99; its objects are 1 to"),
        (lambda t: t.objects(-1), IndexError, "no image has the id -1"),
        (lambda t: t.differs(0, 4), ValueError, "different families .* only places of one family"),
        (lambda t: t.azimuth_of_column(192), ValueError, "column 192 lies outside the panorama"),
        (lambda t: t.azimuth_of_column(float("nan")), ValueError, "column nan lies outside"),
        (lambda t: t.azimuth_of_point(0, 96), ValueError, "col 96 lies outside the aerial view"),
        (lambda t: t.azimuth_of_point(47.5, 47.5), ValueError, "where the camera stands"),
    ],
)
def test_wrong_questions_are_worded(town, call, error, words):
    with pytest.raises(error, match=words):
        call(town)


def test_a_column_of_an_unknown_heading_needs_the_place(lost):
    with pytest.raises(ValueError, match=r"say which place, azimuth_of_column\(col, i\)"):
        lost.azimuth_of_column(3)
