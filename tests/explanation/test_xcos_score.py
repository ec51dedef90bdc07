"""xCos explained: its own score in parts, what it says of the index's, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, XCos, birds_embedder, use_xcos, xcos_of
from dmlviz.explanation import explain_ranking, methods_for, xcos, xcos_maps, xcos_scores
from dmlviz.images import Preprocess


@pytest.fixture(scope="module")
def birds():
    return dv.birds(families=1, per_class=2)


@pytest.fixture(scope="module")
def gallery(birds):
    return dv.Gallery.build(birds, birds_embedder("avg"), progress=False)


def small(seed: int = 0, size: tuple[int, int] = (12, 8), channels: int = 5) -> Embedder:
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, channels, 4, stride=4), nn.ReLU())
    head = LinearHead("avg", nn.Linear(channels, 4))
    return Embedder(trunk.eval(), head, Preprocess.stretch(size), name=f"small {seed}")


def lively(channels: int = 5, symmetric: bool = True) -> XCos:
    """A head far from its first weights, so that weights and cosines differ from cell to cell."""
    torch.manual_seed(9)
    module = XCos(channels, symmetric).eval()
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn_like(value) * 0.6)
    return module


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("symmetric", [True, False])
def test_parts_equal_a_loop_in_float64(symmetric):
    """The head's own float64 features and attention, put together cell by cell."""
    embedder, module = small(), lively(symmetric=symmetric).double()
    query, item = picture(1), picture(2)
    with torch.no_grad():
        a, b = (module.features(embedder.feature_maps([one]).double()) for one in (query, item))
        weights = module.attention(a, b)[0].numpy()
        if symmetric:
            weights = (weights + module.attention(b, a)[0].numpy()) / 2
    a, b = a[0].numpy(), b[0].numpy()
    why = xcos(embedder, query, item, module=module)
    assert why.contributions.dtype == np.float64
    total = 0.0
    for row, col, r, c in np.ndindex(3, 2, 3, 2):
        share = 0.0
        if (row, col) == (r, c):
            x, y = a[:, row, col], b[:, row, col]
            share = weights[row, col] * sum(x * y) / math.sqrt(sum(x * x) * sum(y * y))
        total += share
        assert why.contributions[row, col, r, c] == pytest.approx(share, abs=1e-12)
    assert why.similarity == pytest.approx(total, abs=1e-12)
    assert abs(why.residual) <= 1e-12
    assert len(np.unique(np.round(weights, 4))) > 3  # the attention says something


def test_a_result_says_that_it_explains_xcos_and_gives_the_indexs_score(gallery):
    ids = gallery.search(0, k=3).ids
    whys = explain_ranking(gallery, 0, ids, method="xcos")
    for why, cosine in zip(whys, gallery.score(0, ids), strict=True):
        assert (why.kind, why.method, why.promises, why.offsets) == ("xCos", "xcos", True, 0.0)
        assert abs(why.residual) <= 1e-6
        assert why.adds_up
        assert f"not the cosine {cosine:+.4f}" in why.note
        assert f"explains xCos {why.similarity:+.4f}" in why.note
        assert "same cell of the other image only" in why.note
        assert why.similarity != pytest.approx(cosine, abs=1e-3)
        assert why.query_geometry is gallery.embedder.geometry
        np.testing.assert_array_equal(why.overall_map("query"), why.overall_map("gallery"))
        moved = why.point_map("query", 3, 4)
        assert moved[3, 4] == why.overall_map("query")[3, 4]
        assert np.count_nonzero(moved) <= 1


def test_a_ranking_a_pair_the_maps_and_the_scores_agree(gallery, birds):
    embedder = gallery.embedder
    ids = gallery.search(0, k=3).ids
    scores = xcos_scores(embedder, None, birds[0], [birds[i] for i in ids])
    assert scores.shape == (3,)
    assert scores.dtype == np.float32
    for i, score in zip(ids, scores, strict=True):
        why = dv.explain(gallery, 0, i, method="xcos")
        maps = xcos_maps(embedder, birds[0], birds[i])
        assert why.similarity == pytest.approx(score, abs=2e-6)
        assert maps.score == pytest.approx(score, abs=2e-6)
        np.testing.assert_allclose(maps.contributions, why.overall_map("query"), atol=2e-6)
        assert maps.weights.sum() == pytest.approx(1, abs=1e-5)
        assert maps.weights.min() >= 0
        assert np.abs(maps.cosines).max() <= 1 + 1e-6
        back = xcos_scores(embedder, None, birds[i], [birds[0]])[0]
        assert back == pytest.approx(score, abs=2e-6)  # symmetric, as shipped
    assert "12×12" in repr(maps)
    assert xcos_scores(embedder, None, birds[0], []).shape == (0,)


def test_an_image_with_itself_scores_one(birds):
    why = xcos(birds_embedder("avg"), birds[3], birds[3])
    assert why.similarity == pytest.approx(1, abs=1e-5)


def test_the_dot_product_is_named_where_the_index_ranks_by_it():
    embedder = small()
    query, item = picture(1), picture(2)
    e = embedder.embed([query, item]).astype(np.float64)
    why = xcos(embedder, query, item, similarity="dot", module=lively())
    assert f"not the dot product {e[0] @ e[1]:+.4f}" in why.note
    why = xcos(embedder, query, item, similarity="l2", module=lively())
    assert f"not the minus squared distance {-np.square(e[0] - e[1]).sum():+.4f}" in why.note
    with pytest.raises(ValueError, match="must be one of 'cosine', 'dot', 'l2'; got 'l1'"):
        xcos(embedder, query, item, similarity="l1", module=lively())


def test_an_undefined_cosine_is_said_and_xcos_stands():
    embedder = small()
    with torch.no_grad():
        embedder.head.linear.weight.zero_()
        embedder.head.linear.bias.zero_()
    why = xcos(embedder, picture(1), picture(2), module=lively())
    assert "not the cosine (undefined)" in why.note
    assert math.isfinite(why.similarity)
    assert why.adds_up


def test_unequal_grids_are_refused_in_words():
    with pytest.raises(ValueError, match=r"both need one grid; got 2 × 3 and 3 × 2 cells"):
        xcos(small(), picture(1), picture(2), query_embedder=small(size=(8, 12)), module=lively())


def test_another_trunk_is_refused_in_words():
    with pytest.raises(ValueError, match=r"takes feature maps \(N, 5, h, w\), got \(1, 4, 3, 2\)"):
        xcos(small(channels=4), picture(1), picture(2), module=lively())
    with pytest.raises(LookupError, match="no head is known for that of 'small 0'"):
        xcos(small(), picture(1), picture(2))
    with pytest.raises(LookupError, match=r"another trunk \('small 1'\) than gallery images \('small 0'\)"):
        xcos(small(), picture(1), picture(2), query_embedder=small(1))
    with pytest.raises(TypeError, match=r"must be a dmlviz\.embedder\.XCos, got Linear"):
        xcos(small(), picture(1), picture(2), module=nn.Linear(2, 2))


def test_scores_that_are_not_finite_are_refused():
    module = lively()
    with torch.no_grad():
        module.conv1x1[0].bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"xCos is NaN or infinite for item 0 \(of 2\)"):
        xcos_scores(small(), module, picture(1), [picture(2), picture(3)])


def test_embedder_and_head_are_left_as_found():
    embedder, module = small(), lively()
    embedder.trunk.train()
    module.train()
    norms = {name: value.clone() for name, value in module.state_dict().items()}
    xcos(embedder, picture(1), picture(2), module=module)
    assert module.training
    assert module.attention.attention[1].training
    assert embedder.trunk.training
    assert all(torch.equal(norms[name], value) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in (*module.parameters(), *embedder.trunk.parameters()))


def test_which_galleries_it_suits(birds, gallery):
    assert methods_for(gallery)["xcos"] == ""
    other = dv.Gallery.build(birds, small(), progress=False)
    assert "no head is known for that of 'small 0'" in methods_for(other)["xcos"]
    with pytest.raises(ValueError, match="'xcos' does not suit this gallery: xCos is learned for each trunk"):
        dv.explain(other, 0, 1, method="xcos")
    module = lively()
    given = dv.explain(other, 0, 1, method="xcos", module=module)
    use_xcos(other.embedder, module)
    assert methods_for(other)["xcos"] == ""
    assert dv.explain(other, 0, 1, method="xcos").similarity == given.similarity


def test_an_attention_of_equal_weights_gives_the_mean_cosine(birds):
    """A relation: without attention xCos is the mean of the cell-by-cell cosines."""
    module = xcos_of(birds_embedder("avg"))
    with torch.no_grad():
        module.attention.attention[4].weight.zero_()
    maps = xcos_maps(birds_embedder("avg"), birds[0], birds[1], module=module)
    np.testing.assert_allclose(maps.weights, 1 / 144, rtol=1e-5)
    assert maps.score == pytest.approx(maps.cosines.mean(), abs=1e-6)
