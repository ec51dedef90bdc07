"""VAL@FAR, the ROC curve, and pairs as the protocol "lfw"."""

import numpy as np
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.retrieval import verification, verify
from dmlviz.retrieval.verification import FINE_THRESHOLDS


def slow_val(similarities, same, folds, thresholds, far):
    """As FaceNet's code: the rate on the other folds, interpolated to the target, applied to the fold."""
    count = len(similarities)
    sizes = [count // folds + (fold < count % folds) for fold in range(folds)]
    val, false = [], []
    start = 0
    for size in sizes:
        test = range(start, start + size)
        start += size
        others = [i for i in range(count) if i not in test and not same[i]]
        if not others:
            continue
        rates = [sum(similarities[i] > t for i in others) / len(others) for t in thresholds]
        if max(rates) < far:
            threshold = np.inf
        else:
            after = next(n for n, rate in enumerate(rates) if rate >= far)
            if after == 0:
                threshold = thresholds[0]
            else:
                part = (far - rates[after - 1]) / (rates[after] - rates[after - 1])
                threshold = thresholds[after - 1] + part * (thresholds[after] - thresholds[after - 1])
        for shares, kind in ((val, True), (false, False)):
            mine = [similarities[i] > threshold for i in test if same[i] == kind]
            if mine:
                shares.append(sum(mine) / len(mine))
    return val, false


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(4, 30),
    folds=st.integers(2, 4),
    ties=st.booleans(),
    far=st.sampled_from([0.001, 0.1, 0.34, 1.0]),
    grid=st.booleans(),
)
def test_val_equals_its_slow_twin(seed, count, folds, ties, far, grid):
    random = np.random.default_rng(seed)
    similarities = random.integers(-4, 5, count) / 4 if ties else random.uniform(-1, 1, count)
    same = random.random(count) < 0.5
    same[:2] = [True, False]
    thresholds = np.linspace(1.1, -0.9, 30)  # it does not reach the lowest
    result = verify(similarities, same, folds, (far,), fine_thresholds=thresholds if grid else None)
    if not grid:
        levels = np.unique(similarities)[::-1]
        thresholds = np.concatenate([[levels[0] + 1], (levels[1:] + levels[:-1]) / 2, [levels[-1] - 1]])
    val, false = slow_val(similarities, same, folds, thresholds, far)
    for got, expected in (
        (result.val[far], np.mean(val) if val else np.nan),
        (result.val_std[far], np.std(val) if val else np.nan),
        (result.val_far[far], np.mean(false) if false else np.nan),
    ):
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_val_by_hand():
    # Two folds. The second's different pairs lie at 0.1 0.3 0.5 0.7: 0.8, 0.6, 0.4, ... accept 0, 1, 2, ... of 4.
    similarities = [0.65, 0.55, 0.45, 0.0, 0.1, 0.3, 0.5, 0.7]
    same = [True, True, True, False, False, False, False, False]
    result = verify(similarities, same, folds=2, far=(0.25, 0.375), fine_thresholds=[0.8, 0.6, 0.4, 0.2, 0.0])
    # At 0.25 the threshold is 0.6, at 0.375 half way to 0.4. The second fold has no pair of one class.
    assert result.val[0.25] == pytest.approx(1 / 3)
    assert result.val[0.375] == pytest.approx(2 / 3)
    assert result.val_std[0.25] == 0.0
    # The second fold's threshold: one different pair at 0.0 among the others, which no candidate accepts.
    assert result.val_far[0.25] == pytest.approx((0 + 0) / 2)
    assert "VAL@FAR: mean over the folds" in result.definition
    assert "linear between 5 candidates" in result.definition
    assert "VAL@FAR=0.25 0.3333 ± 0.0000" in repr(result)
    nothing = verify(similarities, same, folds=2, far=(0.0,))
    assert np.isnan(nothing.val[0.0])


def test_the_curve():
    result = verify([0.9, 0.6, 0.4, 0.5, 0.3, 0.1], [True] * 3 + [False] * 3, folds=3)
    np.testing.assert_allclose(result.false_acceptance, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(result.true_acceptance, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert result.curve_thresholds.tolist() == [np.inf, 0.9, 0.6, 0.5, 0.4, 0.3, 0.1]
    assert np.trapezoid(result.true_acceptance, result.false_acceptance) == pytest.approx(result.auc)


def test_the_finer_grid():
    assert len(FINE_THRESHOLDS) == 4000
    assert FINE_THRESHOLDS[0] == 1.0
    assert FINE_THRESHOLDS[1] == pytest.approx(1 - 0.001 / 2)
    random = np.random.default_rng(1)
    gallery = gallery_of(random.standard_normal((20, 6)), [f"p{i % 5}" for i in range(20)])
    pairs = random.integers(0, 20, (60, 2))
    result = verification(gallery, pairs, folds=10)
    plain = verify(result.similarities, result.same, fine_thresholds=FINE_THRESHOLDS)
    assert dict(result.val) == dict(plain.val)
    assert "linear between 4000 candidates" in result.definition


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_as_a_protocol(similarity):
    random = np.random.default_rng(3)
    gallery = gallery_of(random.standard_normal((20, 6)), [f"p{i % 5}" for i in range(20)], similarity)
    pairs = random.integers(0, 15, (60, 2))
    found = verification(gallery, pairs, far=(0.1,))
    result = gallery.evaluate(protocol="lfw", pairs=pairs, far=(0.1,))
    assert dict(result.values) == {
        "accuracy": found.accuracy,
        "accuracy std": found.accuracy_std,
        "AUC": found.auc,
        "EER": found.eer,
        "TAR@FAR=0.1": found.tar[0.1],
        "VAL@FAR=0.1": found.val[0.1],
        "VAL@FAR=0.1 std": found.val_std[0.1],
    }
    np.testing.assert_array_equal(result.arrays["true_acceptance"], found.true_acceptance)
    asked = sorted(set(pairs[:, 0].tolist()))
    assert result.query_ids.tolist() == asked
    assert result.dropped == 20 - len(asked)
    threshold = [found.fold_threshold[i // 6] for i in range(60)]
    for place, query in enumerate(asked):
        mine = [i for i in range(60) if pairs[i, 0] == query]
        right = [(found.similarities[i] > threshold[i]) == found.same[i] for i in mine]
        margins = [(found.similarities[i] - threshold[i]) * (1 if found.same[i] else -1) for i in mine]
        assert result.per_query["pairs"][place] == len(mine)
        assert result.per_query["right"][place] == pytest.approx(np.mean(right))
        assert result.per_query["margin"][place] == pytest.approx(min(margins))
    assert result.definition.startswith("60 pairs. Accuracy: mean over 10 folds in the order of the pairs")
    worst = gallery.failures(protocol="lfw", pairs=pairs, far=(0.1,))
    assert worst["right"].is_monotonic_increasing
    assert (worst["right"] < 1).all()
    other = gallery.evaluate(protocol="lfw", pairs=pairs, same=~found.same, folds=5)
    assert other.values["AUC"] == pytest.approx(1 - found.auc)
    assert len(other.arrays["fold_accuracy"]) == 5


def test_pairs_at_one_score_are_counted():
    gallery = gallery_of([[1, 0], [0, 1], [1, 0], [1, 1]], list("aaab"))
    # 0–1 of one class and 2–1 said to be of two lie both at 0.
    result = gallery.evaluate(
        protocol="lfw", pairs=[(0, 1), (2, 1), (0, 2)], same=[True, False, True], folds=2
    )
    assert result.tied == 2
    assert gallery.evaluate(protocol="lfw", pairs=[(0, 1), (0, 2), (0, 3)], folds=2).tied == 0
    with pytest.raises(ValueError, match=r"pairs must be rows of \(query id, image id\)"):
        gallery.evaluate(protocol="lfw", pairs=[0, 1])


def test_an_undefined_pair_is_named():
    with pytest.warns(UserWarning, match="length zero"):
        gallery = gallery_of([[1, 0], [0, 0], [0, 1]], list("aab"))
    with pytest.raises(ValueError, match=r"the cosine of 2 pairs is undefined, .* pair 1: query 1, image 0"):
        verification(gallery, [(0, 2), (1, 0), (2, 1)])
