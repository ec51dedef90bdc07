"""Dist-CAM: eq. 4 to 7 in loops, by hand, and where the paper's reciprocal has no value."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for planted_maps, which tests of this room share

from planted_maps import picture, planted, some_head, some_maps

import dmlviz as dv
from dmlviz.embedder import LinearHead
from dmlviz.explanation import class_prototype, dist_cam
from dmlviz.explanation.distance_maps import channel_weights

A, B = picture(0), picture(1)


def slow_dist_cam(drawn, other, eps):
    """M = Σ_k W_k Q_k over nested loops; W = 1/max(D, eps) over its sum (all channels active)."""
    channels, h, w = drawn.shape

    def mean(x, c):
        return sum(float(v) for row in x[c] for v in row) / (x.shape[1] * x.shape[2])

    distances = [abs(mean(other, c) - mean(drawn, c)) for c in range(channels)]
    raw = [1 / max(d, eps) for d in distances]
    weights = [r / sum(raw) for r in raw]
    found = np.zeros((h, w))
    for c in range(channels):
        for i in range(h):
            for j in range(w):
                found[i, j] += weights[c] * float(drawn[c, i, j])
    return found, -sum(distances)


@settings(deadline=None, max_examples=30)
@given(
    grids=st.tuples(*[st.tuples(st.integers(1, 4), st.integers(1, 4))] * 2),
    signed=st.booleans(),
    eps=st.sampled_from([None, 0.1]),
    pooling=st.sampled_from(["avg", "max"]),
    seed=st.integers(0, 10**6),
)
def test_equals_the_loops_whatever_the_head(grids, signed, eps, pooling, seed):
    maps = [some_maps(seed + n, 1, 5, grid, signed) for n, grid in enumerate(grids)]
    asker, embedder = (planted(m, some_head(pooling, channels=5, seed=seed)) for m in maps)
    why = dist_cam(embedder, A, A, query_embedder=asker, eps=eps)
    a, b = (m[0].numpy() for m in maps)
    of_query, score = slow_dist_cam(a, b, eps or 1e-12)
    of_item, _ = slow_dist_cam(b, a, eps or 1e-12)
    np.testing.assert_allclose(why.query_map, of_query, atol=1e-9)
    np.testing.assert_allclose(why.gallery_map, of_item, atol=1e-9)
    assert why.similarity == pytest.approx(score, abs=1e-12)
    assert (why.kind, why.promises, why.constant) == ("L1", False, 0)


def test_two_channels_by_hand():
    # averages of the query 2 and 1, of the item 4 and 2: D = 2, 1; W = 1/3, 2/3
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]], [[[4.0, 4.0]], [[1.0, 3.0]]]], dtype=torch.float64)
    why = dist_cam(planted(maps, LinearHead("max")), A, B)
    np.testing.assert_allclose(why.query_map, [[5 / 3, 1]], atol=1e-15)
    np.testing.assert_allclose(why.gallery_map, [[2, 10 / 3]], atol=1e-15)
    assert why.similarity == -3
    assert "the heaviest of 2 channels has 67% of the weight" in why.note
    assert "no share of the score" in why.note
    # eps = 2: both weigh the same
    np.testing.assert_allclose(
        dist_cam(planted(maps, LinearHead("max")), A, B, eps=2).query_map, [[1.5, 1.5]]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_images_get_the_mean_of_the_active_channels(dtype):
    maps = some_maps(2, channels=4).to(dtype)
    maps[:, 3] = 0  # a dead channel
    embedder = planted(maps, some_head("avg", channels=4))
    why = dist_cam(embedder, A, A)
    np.testing.assert_allclose(why.query_map, maps[0, :3].mean(0), rtol=1e-6)
    assert why.similarity == 0
    assert "all active channels agree to rounding and weigh the same" in why.note


def test_differences_by_rounding_alone_do_not_choose_the_weights():
    maps = some_maps(3, channels=4).float()
    nearly = maps.clone()
    nearly[1] = maps[0] * (1 + 1e-6 * torch.randn(4, 1, 1, generator=torch.Generator().manual_seed(0)))
    same = dist_cam(planted(torch.stack([maps[0], maps[0]]), LinearHead("avg")), A, B)
    off = dist_cam(planted(nearly, LinearHead("avg")), A, B)
    np.testing.assert_allclose(off.query_map, same.query_map, rtol=1e-5)


def test_a_channel_that_agrees_takes_the_weight_in_the_limit_and_is_named():
    maps = torch.tensor([[[[4.0, 0.0]], [[1.0, 3.0]]], [[[2.0, 2.0]], [[8.0, 8.0]]]], dtype=torch.float64)
    why = dist_cam(planted(maps, LinearHead("avg")), A, B)
    np.testing.assert_allclose(why.query_map, [[4, 0]], atol=1e-9)
    assert "1 agree to rounding (1/0 in the paper)" in why.note


def test_dead_channels_take_no_weight():
    maps = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]], [[[5.0, 5.0]], [[0.0, 0.0]]]], dtype=torch.float64)
    why = dist_cam(planted(maps, LinearHead("avg")), A, B)
    assert why.query_map.tolist() == [[1, 3]]


def test_all_zero_all_negative_and_averages_of_zero():
    zeros = torch.zeros(2, 2, 1, 2, dtype=torch.float64)
    why = dist_cam(planted(zeros, LinearHead("avg")), A, B)
    assert (why.query_map.tolist(), why.gallery_map.tolist(), why.similarity) == ([[0, 0]], [[0, 0]], 0)
    assert "no channel is active, so the map is 0 everywhere" in why.note
    negative = dist_cam(planted(-1 - some_maps(4), some_head("avg")), A, B)
    assert (negative.query_map < 0).all()
    balanced = torch.tensor([[[[1.0, -1.0]], [[2.0, -2.0]]]] * 2, dtype=torch.float64)  # both average to 0
    assert dist_cam(planted(balanced, LinearHead("avg")), A, B).query_map.tolist() == [[1.5, -1.5]]


@settings(deadline=None, max_examples=30)
@given(
    distances=st.lists(st.floats(0, 1e6), min_size=1, max_size=8),
    eps=st.sampled_from([0.0, 1e-300, 1e-6, 1.0]),
    active=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_weights_are_shares_and_the_nearest_weighs_most(distances, eps, active):
    on = np.array(active[: len(distances)])
    weights = channel_weights(np.array(distances), eps, on)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert not weights[~on].any()
    if on.any():
        assert weights.sum() == pytest.approx(1)
        assert weights[on].argmax() in np.flatnonzero(
            np.maximum(distances, eps)[on] == np.maximum(distances, eps)[on].min()
        )


def test_a_prototype_in_the_place_of_the_image():
    maps = some_maps(5, count=4)
    embedder = planted(maps, some_head("avg"))
    prototype = class_prototype(embedder, [picture(1), picture(2), picture(3)])
    np.testing.assert_allclose(prototype, maps[1:].mean(0), atol=1e-14)  # eq. 7
    why = dist_cam(embedder, A, B, prototype=prototype)
    expected, score = slow_dist_cam(maps[0].numpy(), prototype, 1e-12)
    np.testing.assert_allclose(why.query_map, expected, atol=1e-9)
    assert why.similarity == pytest.approx(score, abs=1e-12)
    assert why.gallery_map is None
    assert "the query and a class prototype agree" in why.note
    with pytest.raises(ValueError, match="'dist-cam' has no map of the gallery side"):
        why.overall_map("gallery")
    of_one = dist_cam(embedder, A, B, prototype=class_prototype(embedder, [B]))
    np.testing.assert_allclose(of_one.query_map, dist_cam(embedder, A, B).query_map, atol=1e-12)


def test_bad_input_is_refused_in_words():
    maps = some_maps()
    embedder = planted(maps, some_head("avg"))
    for eps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="eps must be above 0"):
            dist_cam(embedder, A, B, eps=eps)
    with pytest.raises(ValueError, match="with 6 channels, got float64 \\(5, 3, 4\\)"):
        dist_cam(embedder, A, B, prototype=np.ones((5, 3, 4)))
    with pytest.raises(ValueError, match="the prototype holds NaN"):
        dist_cam(embedder, A, B, prototype=np.full((6, 3, 4), np.nan))
    with pytest.raises(ValueError, match="at least one picture of a class; got none"):
        class_prototype(embedder, [])
    other = planted(some_maps(channels=4), some_head("avg", channels=4))
    with pytest.raises(ValueError, match="the same channels; got 4 for the query and 6 for the other"):
        dist_cam(embedder, A, B, query_embedder=other)


def test_by_name_on_a_gallery():
    from dmlviz.embedder import birds_embedder

    gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder(), progress=False)
    same = np.flatnonzero(gallery.labels == gallery.labels[2])
    why, toward = (
        dv.explain(gallery, 0, 3, "dist-cam", **options)
        for options in ({}, {"prototype": class_prototype(gallery.embedder, gallery.images.subset(same))})
    )
    assert (why.kind, why.query_map.shape, why.query_map.dtype) == ("L1", (12, 12), np.float32)
    assert why.query_geometry == gallery.embedder.geometry
    assert why.similarity < 0
    assert toward.gallery_map is None
    assert np.abs(toward.query_map - why.query_map).max() > 0
