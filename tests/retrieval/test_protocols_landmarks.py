"""Oxford5k and Paris6k, classic and revisited: by hand, and against slow twins on random lists."""

import warnings

import numpy as np
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.retrieval import Judgements

GRADES = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


def down_the_list(order, positive, junk):
    """The area as the classic program adds it up: down the list, junk passed over, trapezoid by trapezoid."""
    area, old_recall, old_precision, found, place = 0.0, 0.0, 1.0, 0, 0
    for item in order:
        if item in junk:
            continue
        found += item in positive
        recall, precision = found / len(positive), found / (place + 1)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        place += 1
    return area


def by_positions(order, positive, junk, ks):
    """AP and mP@k from the positions of right images, each moved up by the junk before it."""
    places = [
        i - sum(other in junk for other in order[:i]) for i, item in enumerate(order) if item in positive
    ]
    area = 0.0
    for j, place in enumerate(places):
        before = 1.0 if place == 0 else j / place
        area += (before + (j + 1) / (place + 1)) / 2 / len(positive)
    precisions = []
    for k in ks:
        reach = min(max(places) + 1, k)
        precisions.append(sum(place + 1 <= reach for place in places) / reach)
    return area, precisions


def some_lists(random, count, kinds, share):
    """An item is on one list at most."""
    chosen = random.choice(len(kinds) + 1, count, p=[1 - share, *([share / len(kinds)] * len(kinds))])
    return {kind: np.flatnonzero(chosen == n + 1).tolist() for n, kind in enumerate(kinds)}


def some_landmarks(seed, count, ties, own, lost, share, kinds):
    random = np.random.default_rng(seed)

    def some(number):
        rows = random.integers(-1, 2, (number, 3)) if ties else random.standard_normal((number, 3))
        rows = rows.astype(float)
        rows[~rows.any(axis=1)] = 1
        rows[random.random(number) < lost] = 0
        return rows

    rows = some(count)
    asking = None if own else (some(8), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        gallery = gallery_of(rows, queries=asking)
    number = count if own else 8
    asked = sorted(random.choice(number, min(number, 6), replace=False).tolist())
    return gallery, {query: some_lists(random, count, kinds, share) for query in asked}


RANDOM = given(
    seed=st.integers(0, 9999),
    count=st.integers(2, 40),
    ties=st.booleans(),
    own=st.booleans(),
    lost=st.sampled_from([0.0, 0.2]),
    share=st.sampled_from([0.1, 0.5, 1.0]),
)


def expected_of(gallery, lists, right, removed, without_itself):
    """Per query that can be answered: id, order of the images, right ones, removed ones, whether tied."""
    for query, named in lists.items():
        ranked = set(range(len(gallery))) - set(gallery.unranked)
        positive = {i for kind in right for i in named[kind]} & ranked
        junk = {i for kind in removed for i in named[kind]} | ({query} if without_itself else set())
        positive -= junk
        if query in gallery.unranked_queries or not positive:
            continue
        found = gallery.search(query, k=len(gallery), exclude_self=False)
        pairs = list(zip(found.ids.tolist(), found.similarities.tolist(), strict=True))
        scores = {s for i, s in pairs if i in positive}
        tied = any(s in scores for i, s in pairs if i not in positive and i not in junk)
        yield query, [i for i, _ in pairs], positive, junk, tied


@settings(deadline=None, max_examples=40)
@RANDOM
def test_classic_equals_its_slow_twin(seed, count, ties, own, lost, share):
    gallery, lists = some_landmarks(seed, count, ties, own, lost, share, ("good", "ok", "junk"))
    judgements = Judgements.from_mapping(lists)
    expected = list(expected_of(gallery, lists, ("good", "ok"), ("junk",), False))
    if not expected:
        with pytest.raises(
            ValueError, match=r"none of the .* judged queries has an image on the list good and ok"
        ):
            gallery.evaluate(protocol="oxford5k", judgements=judgements)
        return
    result = gallery.evaluate(protocol="oxford5k", judgements=judgements)
    areas = [down_the_list(order, positive, junk) for _, order, positive, junk, _ in expected]
    assert result.query_ids.tolist() == [query for query, *_ in expected]
    np.testing.assert_allclose(result.per_query["average_precision"], areas, atol=1e-9, rtol=0)
    assert dict(result.values) == pytest.approx({"mAP": np.mean(areas)}, abs=1e-9)
    assert (result.dropped, result.valid) == (len(lists) - len(expected), len(expected))
    assert result.per_query["tied"].tolist() == [tied for *_, tied in expected]
    assert gallery.evaluate(protocol="paris6k", judgements=judgements).values == result.values


@settings(deadline=None, max_examples=40)
@RANDOM
def test_revisited_equals_its_slow_twin(seed, count, ties, own, lost, share):
    gallery, lists = some_landmarks(seed, count, ties, own, lost, share, ("easy", "hard", "junk"))
    judgements = Judgements.from_mapping(lists)
    for grade, (right, removed) in GRADES.items():
        expected = list(expected_of(gallery, lists, right, removed, own))
        for city in ("roxford", "rparis"):
            name = f"{city}-{grade}"
            if not expected:
                with pytest.raises(ValueError, match=f"under the protocol '{name}' none of the"):
                    gallery.evaluate(protocol=name, judgements=judgements)
                continue
            result = gallery.evaluate(protocol=name, judgements=judgements)
            twins = [
                by_positions(order, positive, junk, (1, 5, 10)) for _, order, positive, junk, _ in expected
            ]
            areas = [area for area, _ in twins]
            again = [down_the_list(order, positive, junk) for _, order, positive, junk, _ in expected]
            np.testing.assert_allclose(areas, again, atol=1e-9, rtol=0)
            assert result.query_ids.tolist() == [query for query, *_ in expected]
            np.testing.assert_allclose(result.per_query["average_precision"], areas, atol=1e-9, rtol=0)
            precisions = np.array([precision for _, precision in twins])
            for n, k in enumerate((1, 5, 10)):
                np.testing.assert_allclose(
                    result.per_query[f"precision@{k}"], precisions[:, n], atol=1e-9, rtol=0
                )
                assert result.values[f"mP@{k}"] == pytest.approx(precisions[:, n].mean(), abs=1e-9)
            assert result.values["mAP"] == pytest.approx(np.mean(areas), abs=1e-9)
            assert result.dropped == len(lists) - len(expected)
            assert result.tied == sum(tied for *_, tied in expected)


def fan(count, query_among_them=False):
    """Images found in the order of their ids by the query, which is image 0 itself or apart."""
    degrees = np.deg2rad(np.linspace(0 if query_among_them else 5, 90, count))
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    return gallery_of(rows, queries=None if query_among_them else ([[1, 0]], None))


def test_golden_number():
    # Right at the ranks 1, 2, 4, 7 once junk (ids 0 and 4) is gone.
    lists = {0: {"easy": [1, 2], "hard": [5, 8], "junk": [0, 4]}}
    result = fan(10).evaluate(protocol="roxford-medium", judgements=Judgements.from_mapping(lists))
    assert result.per_query["first_hit_rank"].tolist() == [1]
    assert result.values["mAP"] == pytest.approx(0.811012, abs=1e-6)
    # Of the first kq = min(7, k): 1 of 1, 3 of 5, 4 of 7.
    assert [result.values[f"mP@{k}"] for k in (1, 5, 10)] == pytest.approx([1, 3 / 5, 4 / 7])
    classic = {0: {"good": [1, 2], "ok": [5, 8], "junk": [0, 4]}}
    result = fan(10).evaluate(protocol="oxford5k", judgements=Judgements.from_mapping(classic))
    assert result.values["mAP"] == pytest.approx(0.811012, abs=1e-6)


def test_grades_by_hand():
    lists = {0: {"easy": [1], "hard": [3], "junk": [0, 2]}}
    judgements = Judgements.from_mapping(lists)
    by_grade = {
        grade: fan(6).evaluate(protocol=f"roxford-{grade}", judgements=judgements) for grade in GRADES
    }
    # Easy: 1 is first, as 0 is junk. Medium: 1 and 3 are the first two. Hard: 3 is first, as 1 is removed too.
    assert [result.values["mAP"] for result in by_grade.values()] == [1, 1, 1]
    assert [result.per_query["relevant"].tolist() for result in by_grade.values()] == [[1], [2], [1]]
    assert [result.per_query["wrong"].tolist() for result in by_grade.values()] == [[4], [4], [4]]
    assert "Right are the images on easy; those on junk and hard are removed" in by_grade["easy"].definition
    assert "Right are the images on easy and hard; those on junk are removed" in by_grade["medium"].definition
    only_hard = Judgements.from_mapping({0: {"easy": [], "hard": [4], "junk": []}})
    with pytest.raises(
        ValueError, match="under the protocol 'roxford-easy' none of the 1 judged queries has"
    ):
        fan(6).evaluate(protocol="roxford-easy", judgements=only_hard)
    hard = fan(6).evaluate(protocol="roxford-hard", judgements=only_hard)
    assert hard.per_query["first_hit_rank"].tolist() == [5]
    assert hard.values["mAP"] == pytest.approx(1 / 5 / 2)


def test_queries_without_a_right_image_are_dropped_and_counted():
    gallery = gallery_of(np.eye(3), queries=(np.eye(3)[:2], None))
    judgements = Judgements.from_mapping(
        {0: {"easy": [0], "hard": [], "junk": []}, 1: {"easy": [], "hard": [1], "junk": []}}
    )
    result = gallery.evaluate(protocol="roxford-easy", judgements=judgements)
    assert (result.valid, result.dropped) == (1, 1)
    assert result.values["mAP"] == 1.0
    frame = gallery.per_query(protocol="roxford-easy", judgements=judgements)
    assert frame["evaluated"].tolist() == [True, False]
    assert np.isnan(frame["average_precision"][1])


def test_the_query_is_kept_by_the_classic_and_removed_by_the_revisited():
    # Image 0 asks among the images themselves. The classic lists hold it; it is found first.
    classic = Judgements.from_mapping({0: {"good": [0, 3], "ok": [], "junk": []}})
    result = fan(5, True).evaluate(protocol="oxford5k", judgements=classic)
    assert result.per_query["first_hit_rank"].tolist() == [1]
    assert result.per_query["relevant"].tolist() == [2]
    assert result.values["mAP"] == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)
    assert "the query's own picture among them" in result.definition
    # Left off the lists it would be wrong: so does the program judge that came with the data.
    off = Judgements.from_mapping({0: {"good": [3], "ok": [], "junk": []}})
    assert fan(5, True).evaluate(protocol="oxford5k", judgements=off).per_query["wrong"].tolist() == [0]
    # The revisited queries are no images of the gallery; where they are, they are removed.
    revisited = Judgements.from_mapping({0: {"easy": [3], "hard": [], "junk": []}})
    result = fan(5, True).evaluate(protocol="rparis-easy", judgements=revisited)
    assert result.per_query["first_hit_rank"].tolist() == [3]
    assert "and the query itself are removed" in result.definition


def test_k_of_the_precisions_may_be_chosen():
    judgements = Judgements.from_mapping({0: {"easy": [0, 4], "hard": [], "junk": []}})
    result = fan(6).evaluate((2, 3), protocol="roxford-easy", judgements=judgements)
    assert list(result.values) == ["mAP", "mP@2", "mP@3"]
    assert result.values["mP@3"] == pytest.approx(1 / 3)


def test_refuses():
    gallery = fan(5)
    with pytest.raises(TypeError, match=r"judgements must be Judgements, such as .* got dict"):
        gallery.evaluate(protocol="oxford5k", judgements={0: {"good": [1]}})
    easy = Judgements.from_mapping({0: {"easy": [1], "hard": [], "junk": []}})
    with pytest.raises(
        ValueError, match="'paris6k' needs the lists good, ok, junk of every query; 0 has easy, h"
    ):
        gallery.evaluate(protocol="paris6k", judgements=easy)
    with pytest.raises(ValueError, match="the protocol 'oxford5k' has no k"):
        gallery.evaluate((1,), protocol="oxford5k", judgements=easy)
    far = Judgements.from_mapping({0: {"easy": [9], "hard": [], "junk": []}})
    with pytest.raises(ValueError, match="1 of the judged images are not among the 5 images"):
        gallery.evaluate(protocol="roxford-easy", judgements=far)
