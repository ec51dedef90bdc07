"""Coalitions where the answer is known: by construction, by hand, and by plain loops."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # for patchwork, which tests of this room share

from patchwork import BLACK, patchwork, planted, slow_prediction, slow_similarity

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import Explained, coalitions, coalitions_features
from dmlviz.faithfulness.coalitions import EVALUATOR, faithfulness
from dmlviz.faithfulness.masked_pairs import MaskedPairs, paired

PAIRS = [(0, 1), (2, 3), (4, 0), (5, 2)]
QUIET = {"baselines": (), "progress": False}
CORRELATIONS = ("Pearson", "Spearman", "Kendall")


@pytest.fixture(scope="module")
def dots():
    return patchwork("dot")


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)


def scaled(factor, shift=0.0):
    def change(why):
        return replace(
            why,
            contributions=why.contributions * np.float32(factor),
            query_offset=why.query_offset * np.float32(factor),
            gallery_offset=why.gallery_offset * np.float32(factor),
            constant=why.constant * factor + shift,
        )

    return change


@pytest.mark.parametrize("side", ["both", "query", "gallery"])
def test_the_dot_product_of_averages_is_just_the_sum_of_what_is_left(dots, side):
    for found in (
        coalitions(dots, pairs=PAIRS, count=24, side=side, fill=BLACK, **QUIET),
        coalitions_features(dots, pairs=PAIRS, count=24, side=side, **QUIET),
    ):
        for name in (*CORRELATIONS, "R2", "fitted R2"):
            assert found.figures[name].values.min() > 1 - 1e-4
        assert found.figures["MAE"].values.max() < 1e-5


def test_pixels_are_features_where_cells_see_themselves_alone():
    cosines = patchwork("cosine")
    of_pixels = coalitions(cosines, pairs=PAIRS, count=16, fill=BLACK, **QUIET)
    of_features = coalitions_features(cosines, pairs=PAIRS, count=16, **QUIET)
    for name in EVALUATOR.figures:
        np.testing.assert_allclose(
            of_pixels.figures[name].values, of_features.figures[name].values, atol=1e-3
        )
    assert of_pixels.figures["R2"].value < of_pixels.figures["fitted R2"].value <= 1
    assert (of_pixels.evaluator.name, of_features.evaluator.name) == ("coalitions", "coalitions-features")


def test_scaled_and_shifted_parts_lose_the_plain_share_and_nothing_else(dots):
    right = coalitions_features(dots, pairs=PAIRS, count=20, **QUIET)
    other = coalitions_features(dots, planted(dots, PAIRS, scaled(3.0, 5.0)), PAIRS, count=20, **QUIET)
    for name in (*CORRELATIONS, "fitted R2"):
        np.testing.assert_allclose(other.figures[name].values, right.figures[name].values, atol=1e-4)
    assert other.figures["R2"].values.max() < 0
    inverted = coalitions_features(dots, planted(dots, PAIRS, scaled(-1.0)), PAIRS, count=20, **QUIET)
    for name in CORRELATIONS:
        np.testing.assert_allclose(inverted.figures[name].values, -right.figures[name].values, atol=1e-4)
    assert inverted.figures["fitted R2"].values.min() > 1 - 1e-4  # a line through them runs either way


def test_chance_is_within_the_interval_of_random_maps(dots):
    def shuffled(why):
        rng = np.random.default_rng(int(1e6 * abs(why.similarity)))
        drawn = rng.standard_normal(why.contributions.shape).astype(np.float32)
        flat = np.zeros((4, 4), np.float32)
        return replace(why, contributions=drawn, query_offset=flat, gallery_offset=flat)

    pairs = [(q, i) for q in range(6) for i in range(6) if q != i]
    found = coalitions_features(dots, planted(dots, pairs, shuffled), pairs, count=48, **QUIET)
    for name in CORRELATIONS:
        low, high = found.figures[name].interval()
        assert low < 0 < high
        assert high - low < 0.4
    assert found.figures["fitted R2"].value < 0.1
    assert found.figures["R2"].value < 0


def test_methods_without_pairs_are_asked_the_same_question(birds):
    found = coalitions_features(birds, "grad-cam", 3, count=16, **QUIET)
    assert found.headline.trials == 3
    assert found.figures["R2"].trials == found.figures["MAE"].trials == 0
    alone = coalitions_features(birds, "grad-cam", 3, count=16, side="query", **QUIET)
    assert abs(found.headline.values - alone.headline.values).max() > 1e-3
    # each of two maps may have a scale of its own
    explained = planted(
        birds,
        list(found.pairs),
        lambda why: replace(
            why,
            contributions=None,
            query_offset=None,
            gallery_offset=None,
            query_map=why.overall_map("query"),
            gallery_map=why.overall_map("gallery"),
        ),
    )
    # each of them promises the score by itself; of both together nothing is promised
    for side, promised in (("query", 3), ("gallery", 3), ("both", 0)):
        asked = coalitions_features(birds, explained, found.pairs, count=8, side=side, **QUIET)
        assert asked.figures["MAE"].trials == asked.figures["R2"].trials == promised
    several = planted(birds, list(found.pairs), lambda why: why)
    for (pair, why), factor in zip(explained._kept.items(), (2.0, 5.0, 11.0), strict=True):
        several._kept[pair] = replace(why, gallery_map=factor * why.gallery_map)
    one, other = (
        coalitions_features(birds, of, found.pairs, count=16, **QUIET) for of in (explained, several)
    )
    np.testing.assert_allclose(one.headline.values, other.headline.values, atol=1e-9)


def test_all_baselines_stand_beside(birds):
    found = coalitions(birds, pairs=2, count=12, progress=False)
    assert set(found.baselines) == set(EVALUATOR.baselines)
    for of in found.baselines.values():
        assert of["Pearson"].trials == 2
        assert of["R2"].trials == 0
    assert found.figures["R2"].trials == 2
    assert found.options == {"level": "pixels", "count": 12, "p": 0.5, "side": "both", "fill": "mean"}


def test_pixels_equal_the_loops():
    gallery = patchwork("cosine")
    found = coalitions(gallery, pairs=[(2, 4)], count=6, p=0.6, **QUIET)
    why = Explained(gallery).of(2, 4)
    rng = np.random.default_rng([0, 2, 4])
    of_query, of_gallery = (rng.random((6, 4, 4)) < 0.6 for _ in range(2))
    told = [slow_prediction(why, a, b) for a, b in zip(of_query, of_gallery, strict=True)]
    real = [slow_similarity(gallery, 2, 4, a, b, "mean") for a, b in zip(of_query, of_gallery, strict=True)]
    assert found.headline.value == pytest.approx(np.corrcoef(told, real)[0, 1], abs=1e-4)
    assert found.figures["MAE"].value == pytest.approx(np.abs(np.subtract(told, real)).mean(), rel=1e-4)
    missed = np.square(np.subtract(told, real)).sum() / np.square(np.subtract(real, np.mean(real))).sum()
    assert found.figures["R2"].value == pytest.approx(1 - missed, rel=1e-2)


def test_the_order_of_pairs_does_not_matter(birds):
    there = coalitions(birds, pairs=[(0, 1), (2, 3)], count=8, **QUIET)
    back = coalitions(birds, pairs=[(2, 3), (0, 1)], count=8, batch_size=3, **QUIET)
    np.testing.assert_allclose(there.headline.values, back.headline.values[::-1], atol=1e-4)


def test_coalitions_keep_their_share(birds, monkeypatch):
    run, seen = MaskedPairs.similarities, []

    def watched(self, why, query, item, of_query, of_gallery):
        seen.append((of_query, of_gallery))
        return run(self, why, query, item, of_query, of_gallery)

    monkeypatch.setattr(MaskedPairs, "similarities", watched)
    coalitions_features(birds, pairs=[(0, 1)], count=200, p=0.3, **QUIET)
    coalitions_features(birds, pairs=[(0, 1)], count=5, side="query", **QUIET)
    coalitions_features(birds, pairs=[(0, 1)], count=5, side="gallery", **QUIET)
    (of_query, of_gallery), (alone, whole), (other, ours) = seen
    for masks in (of_query, of_gallery):
        assert masks.shape == (200, 12, 12)
        assert abs(masks.mean() - 0.3) < 0.02
    assert (of_query != of_gallery).any()
    assert alone.shape == ours.shape == (5, 12, 12)
    assert whole is other is None


def test_figures_worked_by_hand():
    told, real = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 3.0, 2.0, 9.0])
    found = dict(zip(EVALUATOR.figures, faithfulness(told, real, True), strict=True))
    assert found == pytest.approx(
        {"Pearson": 0.5, "Spearman": 0.5, "Kendall": 1 / 3, "R2": 0.0, "fitted R2": 0.25, "MAE": 2 / 3}
    )
    assert np.isnan(faithfulness(told, real, False)[3])
    assert np.isnan(faithfulness(told[:2], real[:2], True)).all()  # a line fits any two
    queries, items = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0]])
    assert paired(queries, items, "dot").tolist() == [24.0, 0.0]
    np.testing.assert_allclose(paired(queries, items, "cosine"), [0.96, np.nan])


def test_what_cannot_be_asked_is_refused(dots):
    for p in (0, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="p is the chance that a cell is kept, above 0 and below 1; got"):
            coalitions(dots, pairs=PAIRS, p=p, **QUIET)
    with pytest.raises(ValueError, match="count must be at least 3, got 1"):
        coalitions(dots, pairs=PAIRS, count=1, **QUIET)
    with pytest.raises(ValueError, match="side must be one of 'query', 'gallery', 'both'; got 'none'"):
        coalitions(dots, pairs=PAIRS, side="none", **QUIET)
    with pytest.raises(ValueError, match="level must be one of 'pixels', 'features'; got 'patches'"):
        coalitions(dots, pairs=PAIRS, level="patches", **QUIET)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        coalitions(dots, pairs=PAIRS, batch_size=0, **QUIET)
