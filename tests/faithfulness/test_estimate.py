"""Means over trials and their intervals, where the answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.faithfulness import Estimate, Evaluator
from dmlviz.faithfulness.comparison_file import KeptFindings
from dmlviz.faithfulness.estimate import wilson
from dmlviz.faithfulness.evaluation import Evaluation
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.trust_words import lead_over


def rate(values, clusters=None):
    return Estimate(
        "hits", np.asarray(values, float), np.arange(len(values)) if clusters is None else clusters, True
    )


def test_a_rate_and_its_interval():
    half = rate([1, 0] * 50)
    low, high = half.interval()
    assert half.value == 0.5
    assert 0.35 < low < 0.5 < high < 0.65
    # trials that belong together carry less: ten clusters of ten equal trials are ten trials
    together = rate(np.repeat([1, 0] * 5, 10), np.repeat(np.arange(10), 10)).interval()
    assert together[1] - together[0] > 2 * (high - low)
    assert np.isnan(Estimate("none", np.array([]), np.array([])).value)
    assert "hits: 0.500 [" in repr(half)


@pytest.mark.parametrize("trials", [1, 7])
def test_a_sure_thing_that_is_no_rate_has_no_width(trials):
    assert Estimate("sure", np.ones(trials), np.arange(trials)).interval() == (1.0, 1.0)


def test_twenty_hits_of_twenty_do_not_promise_the_next_one():
    low, high = rate(np.ones(20)).interval()
    assert (round(low, 4), high) == (0.8389, 1.0)  # 20/(20 + 1.96²)
    low, high = rate(np.zeros(20)).interval()
    assert (low, round(high, 4)) == (0.0, 0.1611)
    # hits of one cluster say the same thing over and over
    assert rate(np.ones(20), np.repeat(np.arange(4), 5)).interval() == rate(np.ones(4)).interval()
    # what says nothing does not count
    assert rate([1, math.nan, 1, math.inf]).interval() == rate([1, 1]).interval()
    assert rate(np.ones(20)).interval(level=0.5)[0] > 0.95


def test_one_cluster_does_not_tell_how_clusters_differ():
    low, high = rate([1, 0, 1, 1], np.zeros(4, int)).interval()
    assert low < 0.2
    assert high > 0.9


def test_chances_that_are_known_exactly_stay():
    assert rate(np.full(20, 0.25)).interval() == (0.25, 0.25)


def slow_bootstrap(values, clusters, draws=2000, seed=0):
    """Cluster after cluster, drawn as the real one draws."""
    names = sorted(set(clusters))
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    means = []
    for row in drawn:
        picked = [v for at in row for v, c in zip(values, clusters, strict=True) if c == names[at]]
        means.append(sum(picked) / len(picked))
    return np.quantile(means, [0.025, 0.975])


def test_where_the_bootstrap_tells_something_it_is_unchanged():
    values, clusters = [1, 1, 1, 0, 1, 1, 1, 0.5], [0, 0, 1, 1, 2, 3, 3, 4]
    for is_rate in (False, True):
        found = Estimate("hits", np.array(values), np.array(clusters), is_rate).interval()
        np.testing.assert_allclose(found, slow_bootstrap(values, clusters), atol=1e-12)
    nearly = rate([1] * 19 + [0]).interval()
    assert nearly == Estimate("hits", np.array([1.0] * 19 + [0]), np.arange(20)).interval()


def slow_wilson(share, n, z):
    """The rates p that are not further than z of their own standard errors from what was seen, by trying them."""
    near = [p for p in np.linspace(0, 1, 100_001) if abs(share - p) <= z * math.sqrt(p * (1 - p) / n) + 1e-12]
    return min(near), max(near)


@pytest.mark.parametrize(("hits", "n"), [(20, 20), (0, 5), (1, 3), (7, 9), (1, 1)])
def test_wilson_equals_trying_every_rate(hits, n):
    np.testing.assert_allclose(wilson(hits / n, n), slow_wilson(hits / n, n, 1.959964), atol=2e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.5, 0.999))
def test_wilson_holds_the_rate_and_narrows_with_trials(n, hits, level):
    share = min(hits, n) / n
    low, high = wilson(share, n, level)
    assert 0 <= low <= share <= high <= 1
    assert low < high
    wide = high - low
    low, high = wilson(share, 4 * n, level)
    assert high - low < wide


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, math.nan]), min_size=1, max_size=12), st.integers(1, 4))
def test_every_interval_of_a_rate_holds_it_and_stays_a_rate(values, together):
    found = rate(values, np.arange(len(values)) // together)
    low, high = found.interval(draws=200)
    if found.trials:
        assert 0 <= low <= high <= 1
        if len(set(values)) == 1:
            assert low <= found.value <= high
            assert (low < high) == (values[0] in (0, 1))
    else:
        assert np.isnan([low, high]).all()


def test_what_is_no_rate_is_refused():
    with pytest.raises(
        ValueError, match=r"rate lie from 0 to 1; 'hits' has some from -1 to 2\. Leave rate=False"
    ):
        rate([-1, 0.5, 2])
    with pytest.raises(ValueError, match=r"one cluster per trial: got values \(2,\), clusters \(3,\)"):
        Estimate("uneven", np.ones(2), np.arange(3))
    for level in (0, 1, 95, math.nan):
        with pytest.raises(ValueError, match="level is the interval's coverage, above 0 and below 1; got"):
            rate([1, 0]).interval(level)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        rate([1, 0]).interval(draws=0)
    with pytest.raises(TypeError, match=r"draws must be a whole number, got 2\.5"):
        rate([1, 0]).interval(draws=2.5)


def test_two_rates_that_always_differ_alike_are_held_apart_by_their_intervals():
    assert lead_over(rate(np.ones(3)), rate(np.zeros(3)))[0] < 0  # three pairs may be chance
    low, high = lead_over(rate(np.ones(20)), rate(np.zeros(20)))
    assert (round(low, 2), high) == (0.68, 1.0)
    # other figures, and rates whose difference varies, by the difference as before
    assert lead_over(Estimate("r", np.ones(3), np.arange(3)), Estimate("r", np.zeros(3), np.arange(3))) == (
        1,
        1,
    )
    mine, other = rate([1, 1, 0, 1, 0, 1]), rate([1, 0, 0, 1, 0, 1])
    difference = Estimate("difference", mine.values - other.values, mine.clusters)
    assert lead_over(mine, other) == difference.interval()


def evaluator(**described):
    said = {"figures": ("peak", "mean"), "better": "higher", "baselines": (), "question": "Is it?"}
    return Evaluator("planted", "planted", **(said | described))


def test_an_evaluator_knows_which_of_its_figures_are_rates():
    asked = evaluator(rates=("peak",))
    clusters = np.arange(2)
    for name in ("peak", "peak: beak", "overall map: peak"):
        assert asked.estimate(name, [1, 0], clusters).rate
    for name in ("mean", "overall map: mean", "peaks"):
        assert not asked.estimate(name, [1, 0], clusters).rate
    with pytest.raises(ValueError, match="rates are some of the figures peak, mean; got 'beak'"):
        evaluator(rates=("beak",))
    with pytest.raises(ValueError, match="at least one figure; 'planted' has none"):
        evaluator(figures=())


def test_findings_kept_by_an_earlier_version_come_back_as_rates(tmp_path):
    """The file says nothing of rates, and need not: the evaluator knows."""
    asked, pairs = evaluator(rates=("peak",)), Pairs(np.arange(20), np.arange(20), np.arange(20), "as given")
    figures = {name: asked.estimate(name, np.ones(20), pairs.clusters) for name in asked.figures}
    found = Evaluation(asked, "decomposition", figures, {"overall map": figures}, pairs)
    KeptFindings(tmp_path / "kept.jsonl", {}).add(found, {})
    assert "rate" not in (tmp_path / "kept.jsonl").read_text()
    back = KeptFindings(tmp_path / "kept.jsonl", {}).evaluation(asked, "decomposition", {}, pairs)
    assert back.headline.interval() == found.headline.interval() == wilson(1.0, 20)
    assert back.baselines["overall map"]["peak"].rate
    assert back.figures["mean"].interval() == (1.0, 1.0)
