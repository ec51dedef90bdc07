"""Grad-CAM and its variants: by loops from the equations, by the identities of gradients, and where they fail."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.append(str(Path(__file__).parent))  # for planted_maps, which tests of this room share

from planted_maps import picture, planted, some_head, some_maps

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead
from dmlviz.explanation import (
    decompose_similarity,
    grad_cam,
    grad_cam_unnormalised,
    method_named,
    rectified_grad_cam,
)
from dmlviz.images import Preprocess

ALL = ["avg", "max", "avg+max", "gem", "flatten"]
A, B = picture(0), picture(1)


# ---- slow twins: gradients by finite differences of a head written in loops, maps in loops ------------------


def slow_head(head, a):
    """The embedding of a feature map (nested lists of float), from the definitions of pooling, linear, batch norm."""
    channels, h, w = len(a), len(a[0]), len(a[0][0])
    flat = [[a[c][i][j] for i in range(h) for j in range(w)] for c in range(channels)]
    if head.pooling == "avg":
        e = [sum(cells) / len(cells) for cells in flat]
    elif head.pooling == "max":
        e = [max(cells) for cells in flat]
    elif head.pooling == "avg+max":
        e = [sum(cells) / len(cells) + max(cells) for cells in flat]
    elif head.pooling == "gem":
        p = float(head.p)
        e = [(sum(max(v, head.eps) ** p for v in cells) / len(cells)) ** (1 / p) for cells in flat]
    else:
        e = [v for cells in flat for v in cells]
    if head.linear is not None:
        weight = head.linear.weight.tolist()
        bias = [0.0] * len(weight) if head.linear.bias is None else head.linear.bias.tolist()
        e = [sum(w_ * v for w_, v in zip(row, e, strict=True)) + bias[n] for n, row in enumerate(weight)]
    if head.batch_norm is not None:
        bn = head.batch_norm
        lists = (t.tolist() for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
        e = [
            (v - mean) / (var + bn.eps) ** 0.5 * gamma + beta
            for v, mean, var, gamma, beta in zip(e, *lists, strict=True)
        ]
    return e


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_score(e, other, kind, length=None):
    if kind == "dot":
        return dot(e, other)
    return dot(e, other) / ((length or dot(e, e) ** 0.5) * dot(other, other) ** 0.5)


def slow_map(head, a, other, kind, norm, per_cell, step=1e-5):
    """The signed map of one image: central differences, then the sums of the paper in loops."""
    own = slow_head(head, a)
    length = dot(own, own) ** 0.5 if norm == "constant" else None
    channels, h, w = len(a), len(a[0]), len(a[0][0])
    gradient = np.zeros((channels, h, w))
    for c in range(channels):
        for i in range(h):
            for j in range(w):
                kept = a[c][i][j]
                values = []
                for moved in (kept + step, kept - step):
                    a[c][i][j] = moved
                    values.append(slow_score(slow_head(head, a), other, kind, length))
                a[c][i][j] = kept
                gradient[c, i, j] = (values[0] - values[1]) / (2 * step)
    drawn = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            for c in range(channels):
                weight = gradient[c, i, j] if per_cell else gradient[c].sum() / (h * w)
                drawn[i, j] += weight * a[c][i][j]
    return drawn


@pytest.mark.parametrize("pooling", ALL)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("norm", ["variable", "constant"])
def test_the_maps_equal_the_loops(pooling, batch_norm, norm):
    head = some_head(pooling, batch_norm=batch_norm, channels=3, cells=6)
    maps = some_maps(1, channels=3, grid=(2, 3))
    embedder = planted(maps, head)
    embeddings = [slow_head(head, m.tolist()) for m in maps]
    for function, kind, per_cell in (
        (grad_cam, "cosine", False),
        (grad_cam, "dot", False),
        (rectified_grad_cam, "cosine", True),
        (grad_cam_unnormalised, "dot", False),
    ):
        similarity = "cosine" if function is grad_cam_unnormalised else kind
        why = function(embedder, A, B, similarity=similarity, norm=norm, relu=False)
        assert why.kind == kind
        assert why.similarity == pytest.approx(slow_score(*embeddings, kind), abs=1e-10)
        for n, drawn in enumerate((why.query_map, why.gallery_map)):
            expected = slow_map(head, maps[n].tolist(), embeddings[1 - n], kind, norm, per_cell)
            np.testing.assert_allclose(drawn, expected, atol=1e-7 * max(1, np.abs(expected).max()))
        clipped = function(embedder, A, B, similarity=similarity, norm=norm)
        assert clipped.query_map.tolist() == np.maximum(why.query_map, 0).tolist()
        assert clipped.query_map.dtype == np.float64


@pytest.mark.parametrize("norm", ["variable", "constant"])
def test_the_gradient_equals_torchs_own_of_the_whole_similarity(norm):
    head, maps = some_head("avg+max", batch_norm=True), some_maps(3, signed=True)
    a, b = maps[0].clone().requires_grad_(), maps[1]
    e_a, e_b = head(a[None])[0], head(b[None])[0].detach()
    length = e_a.norm() if norm == "variable" else e_a.norm().detach()
    (gradient,) = torch.autograd.grad((e_a @ e_b) / (length * e_b.norm()), a)
    expected = (gradient.mean((1, 2), keepdim=True) * a).sum(0).detach().numpy()
    why = grad_cam(planted(maps, head), A, B, norm=norm, relu=False)
    np.testing.assert_allclose(why.query_map, expected, atol=1e-13)


def test_two_by_two_by_hand():
    # one channel, cells 1 2 / 3 2, average 2; linear to (1, 1)·2 + (0, 1) = (2, 3); the other: average 1, (1, 2)
    linear = nn.Linear(1, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [1.0]]))
        linear.bias.copy_(torch.tensor([0.0, 1.0]))
    maps = torch.tensor([[[[1.0, 2], [3, 2]]], [[[1.0, 1], [1, 1]]]], dtype=torch.float64)
    embedder = planted(maps, LinearHead("avg", linear))
    why = grad_cam(embedder, A, B, similarity="dot")
    # dS/dA = ⟨(1, 1), (1, 2)⟩/4 = 3/4 at each cell
    assert why.query_map.tolist() == [[0.75, 1.5], [2.25, 1.5]]
    assert why.gallery_map.tolist() == [[1.25, 1.25], [1.25, 1.25]]
    assert (why.similarity, why.total, why.residual) == (8, 6, -2)  # 2 = ⟨own offset (0, 1), (1, 2)⟩
    # the cosine: u_g − S·u_q with S = 8/√65
    cosine = grad_cam(embedder, A, B, relu=False)
    s = 8 / 65**0.5
    per_cell = sum(g / 5**0.5 - s * q / 13**0.5 for q, g in ((2, 1), (3, 2))) / 13**0.5 / 4
    np.testing.assert_allclose(cosine.query_map, per_cell * maps[0, 0].numpy(), atol=1e-15)


# ---- the identities --------------------------------------------------------------------------------------------

bare = [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("linear", "batch_norm"), bare)
def test_identity_1_average_pooling_and_dot_all_three_are_the_overall_map(linear, batch_norm):
    head, maps = some_head("avg", linear=linear, batch_norm=batch_norm), some_maps(4, signed=True)
    embedder = planted(maps, head)
    why = decompose_similarity(*(head.local_embeddings(m) for m in maps), "dot")
    for function in (grad_cam, rectified_grad_cam, grad_cam_unnormalised):
        found = function(embedder, A, B, similarity="dot", relu=False)
        for side in ("query", "gallery"):
            np.testing.assert_allclose(found.overall_map(side), why.overall_map(side), atol=1e-12)


@pytest.mark.parametrize("pooling", ALL)
@pytest.mark.parametrize(("linear", "batch_norm"), bare)
@pytest.mark.parametrize("ties", ["split", "first"])
def test_identity_2_rectified_of_the_dot_is_the_overall_map_whatever_the_pooling(
    pooling, linear, batch_norm, ties
):
    head = some_head(pooling, linear=linear, batch_norm=batch_norm, ties=ties)
    maps = some_maps(5)
    maps[0, 0, 0, :2] = 3.0  # a tie for the maximum
    found = rectified_grad_cam(planted(maps, head), A, B, similarity="dot", relu=False)
    why = decompose_similarity(*(head.local_embeddings(m) for m in maps), "dot")
    for side in ("query", "gallery"):
        np.testing.assert_allclose(found.overall_map(side), why.overall_map(side), atol=1e-11)


def test_identity_2_does_not_hold_for_plain_grad_cam_beyond_average_pooling():
    for pooling in ("max", "avg+max", "gem", "flatten"):
        head, maps = some_head(pooling), some_maps(5)
        found = grad_cam(planted(maps, head), A, B, similarity="dot", relu=False)
        why = decompose_similarity(*(head.local_embeddings(m) for m in maps), "dot")
        assert np.abs(found.query_map - why.overall_map("query")).max() > 1e-3


@pytest.mark.parametrize("pooling", ALL)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_identity_3_of_a_cosine_the_sum_is_zero_but_for_the_offset(pooling, batch_norm, bias):
    head, maps = some_head(pooling, batch_norm=batch_norm, bias=bias), some_maps(6)
    found = rectified_grad_cam(planted(maps, head), A, B, norm="variable", relu=False)
    parts = [head.local_embeddings(m) for m in maps]
    (e_1, e_2), b = (p.embedding for p in parts), parts[0].offset
    u_1, u_2 = e_1 / np.linalg.norm(e_1), e_2 / np.linalg.norm(e_2)
    expected = -float(b @ (u_2 - found.similarity * u_1)) / float(np.linalg.norm(e_1))
    assert found.query_map.sum() == pytest.approx(expected, abs=1e-12)
    assert (abs(expected) > 1e-6) == bias


@pytest.mark.parametrize("pooling", ALL)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_identity_4_with_the_norm_constant_the_sum_is_the_cosine_less_the_own_offset(pooling, batch_norm):
    head, maps = some_head(pooling, batch_norm=batch_norm), some_maps(7)
    found = rectified_grad_cam(planted(maps, head), A, B, norm="constant", relu=False)
    why = decompose_similarity(*(head.local_embeddings(m) for m in maps))
    for side in ("query", "gallery"):
        np.testing.assert_allclose(found.overall_map(side), why.overall_map(side), atol=1e-12)
    assert found.residual == pytest.approx(-why.unmapped("query"), abs=1e-12)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_identity_5_integrated_along_a_scaled_map_the_dots_gradient_is_the_overall_map(batch_norm):
    head, maps = some_head("avg", batch_norm=batch_norm), some_maps(8, signed=True)
    steps, total = 8, 0
    for step in range(steps):  # the maps at (step + ½)/8 of their strength; their gradient × the whole map
        weaker = torch.stack([maps[0] * (step + 0.5) / steps, maps[1]])
        found = rectified_grad_cam(planted(weaker, head), A, B, similarity="dot", relu=False)
        total = total + found.query_map / ((step + 0.5) / steps) / steps
    why = decompose_similarity(*(head.local_embeddings(m) for m in maps), "dot")
    np.testing.assert_allclose(total, why.overall_map("query"), atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    pooling=st.sampled_from(["avg", "max", "avg+max", "gem"]),
    linear=st.booleans(),
    batch_norm=st.booleans(),
    grids=st.tuples(*[st.tuples(st.integers(1, 4), st.integers(1, 4))] * 2),
    seed=st.integers(0, 10**6),
)
def test_identity_4_holds_for_any_head_and_two_networks(pooling, linear, batch_norm, grids, seed):
    heads = [some_head(pooling, linear=linear, batch_norm=batch_norm, seed=seed + n) for n in (0, 1)]
    maps = [some_maps(seed + n, count=1, grid=grid) for n, grid in enumerate(grids)]
    asker, embedder = (planted(m, head) for m, head in zip(maps, heads, strict=True))
    found = rectified_grad_cam(embedder, A, A, query_embedder=asker, relu=False)
    why = decompose_similarity(*(head.local_embeddings(m[0]) for head, m in zip(heads, maps, strict=True)))
    for side in ("query", "gallery"):
        np.testing.assert_allclose(found.overall_map(side), why.overall_map(side), atol=1e-9)


# ---- other heads, and what the maps must not do -----------------------------------------------------------


class TwoLayers(nn.Module):
    """No sum over cells: a nonlinearity after the pooling."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU())
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.second(torch.tanh(self.first(self.trunk(x).mean((2, 3)))))


def two_layers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TwoLayers().double()


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_a_head_without_closed_form():
    model = two_layers().eval()
    embedder = Embedder.from_module(model, Preprocess.stretch(16), head="linearised")
    a, b = (embedder.feature_maps(noise(n))[0] for n in (0, 1))
    a.requires_grad_()
    e_a, e_b = (model.second(torch.tanh(model.first(m.mean((1, 2))))) for m in (a, b))
    (gradient,) = torch.autograd.grad(torch.cosine_similarity(e_a, e_b.detach(), 0), a, retain_graph=True)
    found = rectified_grad_cam(embedder, noise(0), noise(1), norm="variable", relu=False)
    np.testing.assert_allclose(found.query_map, (gradient * a).sum(0).detach().numpy(), atol=1e-12)
    assert found.similarity == pytest.approx(torch.cosine_similarity(e_a, e_b, 0).item(), abs=1e-12)


def test_the_model_is_left_as_found_and_gradients_may_be_off_outside():
    model = two_layers().train()
    model.first.weight.grad = torch.ones_like(model.first.weight)
    embedder = Embedder.from_module(model, Preprocess.stretch(16), head="linearised")
    before = [p.training for p in model.modules()], [p.requires_grad for p in model.parameters()]
    expected = grad_cam(embedder, noise(0), noise(1)).query_map
    with torch.no_grad():
        np.testing.assert_array_equal(grad_cam(embedder, noise(0), noise(1)).query_map, expected)
    assert before == ([p.training for p in model.modules()], [p.requires_grad for p in model.parameters()])
    assert model.first.weight.grad.eq(1).all()
    assert model.second.weight.grad is None
    linear = planted(some_maps(), some_head("avg").train())
    with torch.inference_mode():
        assert grad_cam(linear, A, B).query_map.any()
    assert linear.head.training
    assert linear.head.linear.weight.grad is None


# ---- degenerate cases -----------------------------------------------------------------------------------------


def identity_head():
    return LinearHead("avg")


def test_all_negative_leaves_nothing_and_says_so():
    maps = torch.tensor([[[[1.0, 2]], [[0, 0]]], [[[-1.0, -1]], [[1, 1]]]], dtype=torch.float64)
    why = grad_cam(planted(maps, identity_head()), A, B, similarity="dot")
    assert why.similarity == -1.5
    assert why.query_map.tolist() == [[0, 0]]
    assert "query: no cell is positive, the ReLU clipped all of -1.5" in why.note
    signed = grad_cam(planted(maps, identity_head()), A, B, similarity="dot", relu=False)
    assert signed.query_map.tolist() == [[-0.5, -1]]
    assert "the signed map sums to -1.5" in signed.note


def test_what_was_clipped_is_said():
    maps = torch.tensor([[[[3.0, -1.0, 2.0, 0.0]]], [[[1.0, 1, 1, 1]]]], dtype=torch.float64)
    why = rectified_grad_cam(planted(maps, identity_head()), A, B, similarity="dot")
    assert why.query_map.tolist() == [[0.75, 0, 0.5, 0]]
    assert "query: the ReLU clipped 25% of the cells, -0.25 in sum" in why.note
    assert "match: no cell is negative, the map sums to +1" in why.note
    assert (why.total, why.similarity) == (1.25, 1.0)
    assert not why.promises


@pytest.mark.parametrize("function", [grad_cam, rectified_grad_cam])
@pytest.mark.parametrize("norm", ["variable", "constant"])
def test_all_zero_has_no_cosine_and_empty_maps(function, norm):
    maps = torch.stack([torch.zeros(2, 2, 2, dtype=torch.float64), torch.ones(2, 2, 2, dtype=torch.float64)])
    for query, item in ((A, B), (B, A), (A, A)):
        why = function(planted(maps, identity_head()), query, item, norm=norm)
        assert np.isnan(why.similarity)
        assert not why.query_map.any()
        assert not why.gallery_map.any()
        assert "undefined" in why.note
    why = function(planted(maps, identity_head()), A, B, similarity="dot", norm=norm)
    assert (why.similarity, why.total) == (0, 0)
    assert "query: 0 everywhere" in why.note


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_images_have_no_gradient_under_a_varying_norm(dtype):
    maps = some_maps(9).to(dtype)
    maps[1] = maps[0] * 2.5  # the same direction
    embedder = planted(maps, some_head("avg", bias=False))
    for item in (A, B):
        why = grad_cam(embedder, A, item)
        assert why.similarity == pytest.approx(1, abs=1e-6)
        assert not why.query_map.any()
        assert not why.gallery_map.any()
        assert "0 everywhere; norm='constant' draws one" in why.note
        constant = rectified_grad_cam(embedder, A, item, relu=False)
        assert constant.query_map.sum() == pytest.approx(1, abs=1e-5)


def test_ties_share_the_gradient_as_the_head_says():
    maps = torch.tensor([[[[2.0, 2, 1, 0]]], [[[3.0, 0, 0, 0]]]], dtype=torch.float64)
    split = rectified_grad_cam(planted(maps, LinearHead("max")), A, B, similarity="dot")
    first = rectified_grad_cam(planted(maps, LinearHead("max", ties="first")), A, B, similarity="dot")
    assert split.query_map.tolist() == [[3, 3, 0, 0]]
    assert first.query_map.tolist() == [[6, 0, 0, 0]]
    assert split.total == first.total == split.similarity == 6


def test_bad_input_is_refused_in_words():
    maps = some_maps()
    embedder = planted(maps, some_head("avg"))
    with pytest.raises(ValueError, match="norm must be one of 'variable', 'constant'; got 'none'"):
        grad_cam(embedder, A, B, norm="none")
    with pytest.raises(ValueError, match="similarity must be one of 'cosine', 'dot', 'l2'; got 'l1'"):
        grad_cam(embedder, A, B, similarity="l1")
    with pytest.raises(ValueError, match="got 3 dimensions for the query and 5 for the gallery image"):
        grad_cam(embedder, A, B, query_embedder=planted(maps, some_head("avg", dim=3)))
    maps[1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="the feature map holds NaN or infinite values"):
        grad_cam(planted(maps, some_head("avg")), A, B)


# ---- by name, on a gallery ------------------------------------------------------------------------------------


def test_by_name_on_a_gallery_against_the_score_that_ranked():
    from dmlviz.embedder import birds_embedder

    embedder = birds_embedder("max")
    gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), embedder, progress=False)
    ids = gallery.search(0, k=3).ids
    exact = dv.explanation.explain_ranking(gallery, 0, ids)
    for name, function in (("grad-cam", grad_cam), ("rectified-grad-cam", rectified_grad_cam)):
        whys = dv.explanation.explain_ranking(gallery, 0, ids, name, relu=False)
        for i, why in zip(ids, whys, strict=True):
            alone = function(embedder, gallery.images[0], gallery.images[int(i)], relu=False)
            np.testing.assert_allclose(why.query_map, alone.query_map, atol=1e-6)
            assert why.similarity == gallery.score(0, [i])[0]
            assert why.query_geometry == embedder.geometry
            assert why.query_map.dtype == np.float32
    for rectified, why in zip(whys, exact, strict=True):
        np.testing.assert_allclose(rectified.query_map, why.overall_map("query"), atol=1e-5)
    dots = dv.explain(gallery, 0, int(ids[0]), "grad-cam-unnormalised")
    assert (dots.kind, dots.promises) == ("dot", False)
    assert dots.similarity == pytest.approx(
        float(gallery.embeddings[0] @ gallery.embeddings[ids[0]]), rel=1e-4
    )
    assert not any(
        method_named(n).linear for n in ("grad-cam", "grad-cam-unnormalised", "rectified-grad-cam")
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'relus'"):
        dv.explain(gallery, 0, 1, "grad-cam", relus=True)


def test_a_gallery_without_a_network_is_told_so():
    class Fake:
        embedder = query_embedder = object()

    assert "the gallery's embedder is no dmlviz.Embedder but object" in method_named("grad-cam").unsuited(
        Fake()
    )
