"""Removal from both images where the answer is known: by construction, by hand, and by plain loops."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for patchwork, which tests of this room share

from patchwork import BLACK, patchwork, planted, slow_prediction, slow_similarity

import dmlviz as dv
from dmlviz import LocalEmbeddings, decompose_similarity
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import (
    Explained,
    removal_curves,
    second_order_curves,
    second_order_curves_features,
)
from dmlviz.faithfulness.removal import kept_along, removal_order
from dmlviz.faithfulness.second_order_curves import EVALUATOR, area_between, lead

PAIRS = [(0, 1), (2, 3), (4, 0), (5, 2)]
QUIET = {"baselines": (), "progress": False}


@pytest.fixture(scope="module")
def dots():
    return patchwork("dot")


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)


def inverted(why):
    return replace(
        why,
        contributions=-why.contributions,
        query_offset=-why.query_offset,
        gallery_offset=-why.gallery_offset,
        constant=-why.constant,
    )


def slow_order(why, most_first):
    """The greedy order by summing up what would be left, for every cell, at every step."""
    (hq, wq), (hg, wg) = why.grid("query"), why.grid("gallery")
    kept, order = np.ones(hq * wq + hg * wg, bool), []
    while kept.any():
        left = []
        for cell in np.flatnonzero(kept):
            without = kept.copy()
            without[cell] = False
            a, b = without[: hq * wq].reshape(hq, wq), without[hq * wq :].reshape(hg, wg)
            left.append((slow_prediction(why, a, b), cell))
        cell = (min if most_first else max)(left)[1]
        order.append(int(cell))
        kept[cell] = False
    return order


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.booleans())
def test_the_order_is_the_greedy_one(seed, most_first):
    rng = np.random.default_rng(seed)
    (hq, wq), (hg, wg) = rng.integers(1, 4, (2, 2))
    local = [
        LocalEmbeddings(rng.standard_normal((h, w, 3)), rng.standard_normal(3))
        for h, w in ((hq, wq), (hg, wg))
    ]
    why = decompose_similarity(*local)
    assert removal_order(why, most_first, rng).tolist() == slow_order(why, most_first)


def test_an_order_worked_by_hand():
    # D = [[5, 0], [0, 1]]: the pair of 1 may go first, either cell of it; then nothing is left of its partner
    query = LocalEmbeddings(np.array([[[5.0, 0.0], [0.0, 1.0]]]), np.zeros(2))
    gallery = LocalEmbeddings(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.zeros(2))
    why = decompose_similarity(query, gallery, "dot")
    firsts = {tuple(removal_order(why, False, np.random.default_rng(n))[:2].tolist()) for n in range(40)}
    assert firsts == {(1, 3), (3, 1)}
    most = {tuple(removal_order(why, True, np.random.default_rng(n))[:1].tolist()) for n in range(40)}
    assert most == {(0,), (2,)}  # ties are drawn, not taken in order
    # two maps: sorted by their shares, 4/5 and 1/5 against 3/4 and 1/4
    maps = {"contributions": None, "query_offset": None, "gallery_offset": None}
    alone = replace(why, **maps, query_map=np.array([[4.0, 1.0]]), gallery_map=np.array([[30.0, 10.0]]))
    assert removal_order(alone, True, np.random.default_rng(0)).tolist() == [0, 2, 3, 1]
    assert removal_order(alone, False, np.random.default_rng(0)).tolist() == [1, 3, 2, 0]


def test_what_is_kept_falls_in_even_steps():
    of_query, of_gallery = kept_along(np.array([2, 0, 4, 1, 3]), 2, (1, 2), (3, 1))
    assert of_query[:, 0].tolist() == [[True, True], [False, True], [False, False]]
    # 2.5 cells of 5 are rounded to 2
    assert of_gallery[..., 0].tolist() == [[True, True, True], [False, True, True], [False, False, False]]


def test_areas_worked_by_hand():
    x = np.array([0.0, 0.25, 1.0])
    assert area_between(x, np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])) == pytest.approx(
        0.125 + 0.375
    )
    assert lead(1.0, 0.2) == 0.8
    assert np.isnan(lead(1.0, 0.96))  # hardly ahead
    assert np.isnan(lead(0.9, 1.0))  # behind
    assert lead(0.1, -1.0) == pytest.approx(1.1)


@pytest.mark.parametrize("level", ["pixels", "features"])
def test_predicted_curves_are_real_for_the_dot_product_of_averages(dots, level):
    curves = removal_curves(dots, 0, 1, level=level, fill=BLACK, steps=8)
    np.testing.assert_allclose(curves.most_first, curves.predicted_most_first, atol=1e-5)
    np.testing.assert_allclose(curves.least_first, curves.predicted_least_first, atol=1e-5)
    assert curves.most_first[0] == pytest.approx(curves.least_first[0])
    assert curves.most_first[-1] == pytest.approx(curves.least_first[-1])
    assert (curves.least_first[1:-1] > curves.most_first[1:-1]).all()
    assert curves.area > 0
    asked = second_order_curves if level == "pixels" else second_order_curves_features
    fill = {"fill": BLACK} if level == "pixels" else {}
    found = asked(dots, pairs=[(0, 1)], steps=8, **fill, **QUIET)
    assert found.headline.value == pytest.approx(curves.area)
    np.testing.assert_allclose(
        found.figures["area"].values, found.figures["predicted area"].values, atol=1e-4
    )


def test_right_inverted_and_random_orders(dots):
    pairs = [(q, i) for q in range(6) for i in range(6) if q != i]
    right = second_order_curves_features(dots, pairs=pairs, steps=8, **QUIET)
    wrong = second_order_curves_features(dots, planted(dots, pairs, inverted), pairs, steps=8, **QUIET)
    np.testing.assert_allclose(wrong.headline.values, -right.headline.values, atol=1e-4)

    for baseline in ("random", "uniform"):
        chance = second_order_curves_features(dots, baseline, pairs, steps=8, **QUIET)
        low, high = chance.headline.interval()
        assert low < 1e-6
        assert high > -1e-6
        assert right.headline.interval()[0] > high


def test_scale_and_order_of_pairs_do_not_matter(birds):
    def larger(why):
        parts = {"contributions": why.contributions * 8, "query_offset": why.query_offset * 8}
        return replace(why, **parts, gallery_offset=why.gallery_offset * 8, constant=why.constant * 8)

    pairs = [(0, 1), (2, 3)]
    there = second_order_curves(birds, pairs=pairs, steps=4, **QUIET)
    scaled = second_order_curves(birds, planted(birds, pairs, larger), pairs, steps=4, **QUIET)
    np.testing.assert_array_equal(there.headline.values, scaled.headline.values)
    np.testing.assert_allclose(
        there.figures["predicted area"].values, scaled.figures["predicted area"].values
    )
    back = second_order_curves(birds, pairs=pairs[::-1], steps=4, batch_size=3, **QUIET)
    np.testing.assert_allclose(there.headline.values, back.headline.values[::-1], atol=1e-4)


def test_pixels_equal_the_loops():
    gallery = patchwork("cosine")
    curves = removal_curves(gallery, 1, 3, steps=4)
    why = Explained(gallery).of(1, 3)
    for most_first, real, told in (
        (True, curves.most_first, curves.predicted_most_first),
        (False, curves.least_first, curves.predicted_least_first),
    ):
        gone = slow_order(why, most_first)
        for step, share in enumerate((0, 8, 16, 24, 32)):
            kept = np.ones(32, bool)
            kept[gone[:share]] = False
            a, b = kept[:16].reshape(4, 4), kept[16:].reshape(4, 4)
            assert told[step] == pytest.approx(slow_prediction(why, a, b), abs=1e-5)
            assert real[step] == pytest.approx(slow_similarity(gallery, 1, 3, a, b, "mean"), abs=1e-5)


def test_an_empty_pair_that_looks_alike_is_left_out_and_counted(birds):
    found = second_order_curves(birds, pairs=6, steps=3, **QUIET)
    for n, (query, item) in enumerate(found.pairs):
        curves = removal_curves(birds, query, item, steps=3)
        by = curves.most_first[0] - curves.most_first[-1]
        behind = by <= 0.05 * max(abs(curves.most_first[0]), abs(curves.most_first[-1]))
        assert np.isnan(found.figures["area"].values[n]) == behind
    assert found.figures["area"].left_out > 0  # two covered birds are hardly told apart
    assert found.headline.left_out == 0


def test_nothing_left_has_nothing_in_common():
    curves = removal_curves(patchwork("cosine", bias=False), 0, 1, level="features", steps=2)
    assert curves.most_first[-1] == curves.least_first[-1] == 0.0
    assert curves.normalised_area == pytest.approx(curves.area / curves.most_first[0])


def test_all_baselines_stand_beside(birds):
    found = second_order_curves(birds, pairs=2, steps=3, progress=False)
    assert set(found.baselines) == set(EVALUATOR.baselines)
    assert found.headline.value > max(of["area in similarity"].value for of in found.baselines.values())
    assert found.options == {"level": "pixels", "steps": 3, "fill": "mean"}
    assert second_order_curves_features(birds, "grad-cam", 2, steps=3, **QUIET).headline.trials == 2


def test_what_cannot_be_asked_is_refused(dots):
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        second_order_curves(dots, pairs=PAIRS, steps=1, **QUIET)
    with pytest.raises(ValueError, match="steps must be at least 2, got 1"):
        removal_curves(dots, 0, 1, steps=1)
    with pytest.raises(ValueError, match="level must be one of 'pixels', 'features'; got 'both'"):
        second_order_curves(dots, pairs=PAIRS, level="both", **QUIET)
    with pytest.raises(IndexError):
        removal_curves(dots, 0, 99)
    one_map = {"contributions": None, "query_offset": None, "gallery_offset": None}
    lacking = planted(dots, PAIRS, lambda why: replace(why, **one_map, query_map=np.ones((4, 4))))
    with pytest.raises(ValueError, match="has no map of the gallery side"):
        second_order_curves(dots, lacking, PAIRS, **QUIET)
