"""Pairs: accuracy over folds, EER, AUC and TAR@FAR against slow twins and by hand."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images import FacePairs
from dmlviz.retrieval import verification, verify
from dmlviz.retrieval.verification import PUBLISHED_THRESHOLDS


def slow_folds(similarities, same, folds, thresholds):
    """Each fold judged by the threshold that is best on all others, the first of equally good ones."""
    count = len(similarities)
    sizes = [count // folds + (fold < count % folds) for fold in range(folds)]
    accuracies, chosen = [], []
    start = 0
    for size in sizes:
        test = range(start, start + size)
        start += size
        train = [i for i in range(count) if i not in test]
        best, best_right = None, -1
        for threshold in thresholds:
            right = sum((similarities[i] > threshold) == same[i] for i in train)
            if right > best_right:
                best, best_right = threshold, right
        chosen.append(best)
        accuracies.append(sum((similarities[i] > best) == same[i] for i in test) / size)
    return accuracies, chosen


def slow_auc(similarities, same):
    mine = [s for s, one in zip(similarities, same, strict=True) if one]
    other = [s for s, one in zip(similarities, same, strict=True) if not one]
    return sum((a > b) + 0.5 * (a == b) for a in mine for b in other) / (len(mine) * len(other))


def slow_tar(similarities, same, far):
    mine = [s for s, one in zip(similarities, same, strict=True) if one]
    other = [s for s, one in zip(similarities, same, strict=True) if not one]
    best = 0.0
    for threshold in [*similarities, np.inf]:
        if sum(s >= threshold for s in other) / len(other) <= far:
            best = max(best, sum(s >= threshold for s in mine) / len(mine))
    return best


def slow_equal_error(similarities, same):
    """Down the thresholds until as many are accepted wrongly as are refused wrongly; linear within a step."""
    mine = [s for s, one in zip(similarities, same, strict=True) if one]
    other = [s for s, one in zip(similarities, same, strict=True) if not one]
    before = Fraction(0), Fraction(1)
    for threshold in sorted(set(similarities), reverse=True):
        accepted = Fraction(sum(s >= threshold for s in other), len(other))
        refused = Fraction(sum(s < threshold for s in mine), len(mine))
        if accepted >= refused:
            gap = before[1] - before[0]
            part = gap / (gap + accepted - refused)
            return float(before[0] + part * (accepted - before[0])), threshold
        before = accepted, refused
    raise AssertionError("the last threshold accepts all")


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(4, 40),
    folds=st.integers(2, 4),
    ties=st.booleans(),
    published=st.booleans(),
)
def test_equals_its_slow_twin(seed, count, folds, ties, published):
    random = np.random.default_rng(seed)
    similarities = random.integers(-4, 5, count) / 4 if ties else random.uniform(-1, 1, count)
    same = random.random(count) < 0.5
    same[:2] = [True, False]
    thresholds = PUBLISHED_THRESHOLDS if published else None
    result = verify(similarities, same, folds, (0.0, 0.1, 0.5, 1.0), thresholds)
    levels = sorted(set(similarities.tolist()), reverse=True)
    middles = [
        levels[0] + 1,
        *((a + b) / 2 for a, b in pairwise(levels)),
        levels[-1] - 1,
    ]
    accuracies, chosen = slow_folds(similarities, same, folds, thresholds if published else middles)
    np.testing.assert_allclose(result.fold_accuracy, accuracies)
    np.testing.assert_allclose(result.fold_threshold, chosen)
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.accuracy_std == pytest.approx(np.std(accuracies))
    assert result.auc == pytest.approx(slow_auc(similarities, same))
    for far, tar in result.tar.items():
        assert tar == pytest.approx(slow_tar(similarities, same, far))
    assert result.tar[1.0] == 1.0
    eer, threshold = slow_equal_error(similarities.tolist(), same)
    assert result.eer == pytest.approx(eer)
    assert result.eer_threshold == threshold
    mirrored = verify(-similarities, ~same, folds, thresholds=thresholds)
    assert mirrored.auc == pytest.approx(result.auc)
    assert mirrored.eer == pytest.approx(result.eer)


def test_by_hand():
    # same 0.9 0.6 0.4, different 0.5 0.3 0.1. ROC: (0, 1/3), (0, 2/3), (1/3, 2/3), (1/3, 1), (2/3, 1), (1, 1)
    result = verify([0.9, 0.5, 0.6, 0.3, 0.4, 0.1], [True, False] * 3, folds=3, far=(0.0, 0.3, 1 / 3, 0.5))
    assert result.auc == pytest.approx(8 / 9)  # eight of the nine couples are in order
    assert result.eer == pytest.approx(1 / 3)  # from 0.5 on one of three is accepted wrongly, one refused
    assert result.eer_threshold == 0.5
    assert dict(result.tar) == pytest.approx({0.0: 2 / 3, 0.3: 2 / 3, 1 / 3: 1.0, 0.5: 1.0})
    # Folds of one couple each. The others are 0.6 0.4 | 0.3 0.1: 0.35 parts them, and is wrong about 0.5.
    # Then 0.9 0.4 | 0.5 0.1: one error at best, first for 0.75, which refuses 0.6.
    # Then 0.9 0.6 | 0.5 0.3: 0.55 parts them, and refuses 0.4.
    np.testing.assert_allclose(result.fold_threshold, [0.35, 0.75, 0.55])
    assert result.fold_accuracy.tolist() == [0.5, 0.5, 0.5]


def test_the_error_lies_between_points_of_the_curve():
    # same 0.9 0.4, different 0.6 0.2 0.1: (0, 1/2), (1/3, 1/2), (1/3, 1): refusal falls from 1/2 to 0 at 1/3
    result = verify([0.9, 0.4, 0.6, 0.2, 0.1], [True, True, False, False, False], folds=2)
    assert result.eer == pytest.approx(1 / 3)
    # Ties: all equal, so one step from (0, 0) to (1, 1)
    chance = verify([0.5] * 6, [True, False] * 3, folds=3)
    assert chance.eer == chance.auc == 0.5
    assert chance.tar[0.1] == 0.0


def test_the_published_grid():
    assert len(PUBLISHED_THRESHOLDS) == 400
    assert PUBLISHED_THRESHOLDS[0] == 1.0
    assert PUBLISHED_THRESHOLDS[-1] == pytest.approx(1 - 3.99 / 2)
    # squared distance 2 - 2 cos below t
    random = np.random.default_rng(0)
    cosines = random.uniform(-0.99, 1, 50)
    for t, threshold in zip(np.arange(0, 4, 0.01), PUBLISHED_THRESHOLDS, strict=True):
        np.testing.assert_array_equal(2 - 2 * cosines < t, cosines > threshold)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_of_a_gallery(similarity):
    random = np.random.default_rng(1)
    rows = random.standard_normal((20, 6))
    gallery = gallery_of(rows, [f"p{i % 5}" for i in range(20)], similarity)
    pairs = random.integers(0, 20, (60, 2))
    result = verification(gallery, pairs, folds=10)
    assert len(result.fold_accuracy) == 10
    scores = [gallery.score(int(a), [int(b)])[0] for a, b in pairs]
    np.testing.assert_array_equal(result.similarities, scores)
    assert result.same.tolist() == [(a % 5) == (b % 5) for a, b in pairs]
    given = verification(gallery, pairs, same=result.same)
    assert given.accuracy == result.accuracy
    plain = verify(scores, result.same, thresholds=PUBLISHED_THRESHOLDS if similarity == "cosine" else None)
    assert plain.accuracy == result.accuracy
    assert plain.threshold == result.threshold
    assert ("out of 400 given ones" in result.definition) == (similarity == "cosine")
    assert repr(result).startswith("Verification of 60 pairs, ")


def test_pairs_of_a_query_and_an_image():
    gallery = gallery_of(np.eye(2), list("ab"), queries=([[1, 0], [1, 1], [0, 1]], list("aab")))
    result = verification(gallery, [(0, 0), (2, 1), (0, 1), (2, 0)], folds=2)
    assert result.similarities.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert result.same.tolist() == [True, True, False, False]
    with pytest.raises(IndexError, match="no image has the id 2; the ids of this set are 0 to 1"):
        verification(gallery, [(0, 2)])
    with pytest.raises(IndexError, match="no image has the id 3; the ids of this set are 0 to 2"):
        verification(gallery, [(3, 0)])


def test_pairs_under_their_names():
    gallery = gallery_of(np.eye(3))
    pairs, same = (
        [(0, 0), (1, 2)],
        np.array([True, False]),
    )  # two: as three rows of two they would be other pairs
    expected = verification(gallery, pairs, same, folds=2)
    a, b = np.array(pairs).T
    for named in (FacePairs(a, b, same), pd.DataFrame({"name": "x", "a": a, "b": b, "same": same})):
        found = verification(gallery, named, folds=2)
        assert found.similarities.tolist() == expected.similarities.tolist() == [1.0, 0.0]
        assert found.same.tolist() == [True, False]
        assert gallery.evaluate(protocol="lfw", pairs=named, folds=2).values["accuracy"] == expected.accuracy
    with pytest.raises(ValueError, match="nothing is known of the images' classes"):
        verification(gallery, pd.DataFrame({"a": a, "b": b}))
    with pytest.raises(ValueError, match="pairs of one class and pairs of two"):
        verification(gallery, FacePairs(a, b, same), same=[True, True], folds=2)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"similarities": [0.1, np.nan, 0.2, 0.3]}, ValueError, "similarities must be finite; pair 1 is not"),
        ({"same": [True] * 4}, ValueError, "pairs of one class and pairs of two, got 4 of one class among 4"),
        ({"same": [1, 0, 1, 0]}, TypeError, "same must hold truth values"),
        ({"same": [True, False]}, ValueError, r"got shapes \(4,\) and \(2,\)"),
        ({"folds": 1}, ValueError, "folds must be a whole number from 2 to the number of pairs, 4; got 1"),
        ({"folds": 5}, ValueError, "folds must be"),
        ({"folds": 2.5}, ValueError, "folds must be"),
        ({"far": (0.1, 1.5)}, ValueError, "far must hold rates from 0 to 1"),
    ],
)
def test_refuses(change, error, words):
    given = {"similarities": [0.1, 0.5, 0.2, 0.3], "same": [True, False, True, False], "folds": 2} | change
    with pytest.raises(error, match=words):
        verify(**given)


def test_refuses_pairs():
    gallery = gallery_of(np.eye(3))
    with pytest.raises(
        ValueError, match=r"pairs must be rows of \(query id, image id\), shape \(P, 2\); got \(3,\)"
    ):
        verification(gallery, [0, 1, 2])
    with pytest.raises(ValueError, match="nothing is known of the images' classes; give same="):
        verification(gallery, [(0, 1)])
    with pytest.raises(TypeError, match="list of ids"):
        verification(gallery, [(0.5, 1.0)])
    with pytest.warns(UserWarning, match="length zero"):
        gallery = gallery_of([[1, 0], [0, 0]], list("ab"))
    with pytest.raises(
        ValueError, match="undefined, as an embedding has length zero; the first is pair 1: query 0, im"
    ):
        verification(gallery, [(0, 0), (0, 1)])
