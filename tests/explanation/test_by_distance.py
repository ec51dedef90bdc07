"""Galleries that rank by minus the squared distance: every explanation of that score is of that score."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.append(str(Path(__file__).parent))  # for patch_network, which tests of this room share

from patch_network import patch_embedder, pictures

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.explanation import (
    METHODS,
    decompose_similarity,
    decompose_squared_distance,
    explain,
    explain_ranking,
    grad_cam,
    margin_between,
    margin_map,
    methods_for,
    published_decomposition,
    ranking_maps,
    rectified_grad_cam,
)
from dmlviz.explanation.masked_views import similarities
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

QUICK = {"rise": {"masks": 30}, "corr-rise": {"masks": 30}, "occlusion": {"window": 48}}
NODES = {"integrated-jacobian": {"nodes": 1}}  # enough for a head that is affine


def with_offset(dtype=torch.float32):
    """The birds' trunk with a linear map and its bias behind it."""
    birds = birds_embedder()
    linear = nn.Linear(128, 16)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(16, 128, generator=torch.Generator().manual_seed(0)))
        linear.bias.copy_(torch.randn(16, generator=torch.Generator().manual_seed(1)))
    trunk = birds.trunk.to(dtype) if dtype == torch.float32 else birds_embedder().trunk.double()
    return Embedder(trunk, LinearHead("avg", linear.to(dtype)), birds.preprocess, geometry=birds.geometry)


@pytest.fixture(scope="module")
def images():
    return dv.birds(families=1, per_class=3)


@pytest.fixture(scope="module")
def near(images):
    return Gallery.build(images, with_offset(), similarity="l2", progress=False)


@pytest.fixture(scope="module")
def in_double(images):
    return Gallery.build(images, with_offset(torch.float64), similarity="l2", progress=False)


def squares(gallery, query, item):
    e_q, e_g = (gallery.embeddings[i].astype(float) for i in (query, item))
    return e_q @ e_q, e_g @ e_g


@pytest.mark.parametrize("which", ["near", "in_double"])
def test_the_parts_add_up_to_the_very_score_that_ranked(which, request):
    gallery = request.getfixturevalue(which)
    for query in (0, 5, gallery.images[7]):
        ids = gallery.search(query, k=len(gallery)).ids
        for item, score, why in zip(
            ids, gallery.score(query, ids), explain_ranking(gallery, query, ids), strict=True
        ):
            assert why.similarity == score
            assert why.kind == "l2"
            assert why.promises
            assert why.adds_up
            largest = max(float(np.abs(why.offsets)), abs(why.pairs))
            assert abs(why.residual) <= 3e-6 * max(1.0, largest), (item, why)
            whole = why.contributions.sum(dtype=float) + why.query_offset.sum(dtype=float)
            whole += why.gallery_offset.sum(dtype=float) + why.constant
            assert whole == pytest.approx(float(score), abs=1e-5 * max(1.0, largest))


def test_what_is_missed_of_a_small_distance_is_told_from_the_rounding_of_large_sums(near):
    from dataclasses import replace

    why = explain(near, 0, int(near.search(0, k=1).ids[0]))
    assert why.pairs > 20 * abs(why.similarity)
    assert 10 * abs(why.residual) < why.tolerance < 1e-3 * abs(why.similarity)
    assert not replace(why, similarity=1.001 * why.similarity).adds_up


def test_in_double_precision_they_add_up_to_ten_digits(near):
    for item in (1, 4, 8):
        sides = near.embedder.local_embeddings([near.images[0], near.images[item]], dtype="float64")
        why = decompose_similarity(*sides, "l2")
        assert why.contributions.dtype == np.float64
        assert abs(why.residual) <= 1e-12 * abs(why.pairs)
        assert why.similarity == pytest.approx(float(near.score(0, [item])[0]), rel=1e-5)


def test_the_pairs_against_plain_loops(near):
    why = explain(near, 0, 4)
    mine, other = near.query_local(0), near.local_embeddings(4)
    e_q, e_g = (side.vectors.sum((0, 1), dtype=float) + side.offset for side in (mine, other))
    random = np.random.default_rng(0)
    for i, j, k, m in random.integers(0, 12, (50, 4)):
        x, y = mine.vectors[i, j].astype(float), other.vectors[k, m].astype(float)
        assert why.contributions[i, j, k, m] == pytest.approx(2 * sum(x * y), abs=1e-5)
        assert why.query_offset[i, j] == pytest.approx(2 * (x @ mine.offset) - x @ e_q, abs=1e-5)
        assert why.gallery_offset[k, m] == pytest.approx(2 * (y @ mine.offset) - y @ e_g, abs=1e-5)
        assert why.overall_map("query")[i, j] == pytest.approx(x @ (2 * e_g - e_q), abs=1e-4)


def test_without_offsets_what_stands_beside_the_pairs_is_each_images_own_squared_length(images):
    gallery = Gallery.build(images, birds_embedder(), similarity="l2", progress=False)
    why = explain(gallery, 0, 4)
    of_query, of_item = squares(gallery, 0, 4)
    assert why.query_offset.sum(dtype=float) == pytest.approx(-of_query, rel=1e-5)
    assert why.gallery_offset.sum(dtype=float) == pytest.approx(-of_item, rel=1e-5)
    assert why.constant == 0
    e_q, e_g = (gallery.embeddings[i].astype(float) for i in (0, 4))
    assert why.pairs == pytest.approx(2 * e_q @ e_g, rel=1e-5)


def test_an_image_and_its_copy_are_at_no_distance(near):
    why = explain(near, near.images[2], 2)
    assert why.similarity == pytest.approx(0, abs=1e-6)
    assert why.adds_up
    assert why.pairs == pytest.approx(2 * squares(near, 2, 2)[0], rel=0.5)  # the pairs are there all the same


grids = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    query_grid=grids,
    gallery_grid=grids,
    dtype=st.sampled_from([np.float32, np.float64]),
    offset=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_any_offsets_and_grids_add_up(seed, query_grid, gallery_grid, dtype, offset):
    rng = np.random.default_rng(seed)
    sides = [
        dv.LocalEmbeddings(
            rng.normal(size=(*grid, 5)).astype(dtype), (offset * rng.normal(size=5)).astype(dtype)
        )
        for grid in (query_grid, gallery_grid)
    ]
    why = decompose_similarity(*sides, "l2")
    e_q, e_g = (side.vectors.sum((0, 1), dtype=float) + side.offset for side in sides)
    assert why.similarity == pytest.approx(-np.square(e_q - e_g).sum(), rel=1e-9)
    assert why.adds_up
    np.testing.assert_array_equal(why.contributions, decompose_squared_distance(*sides).contributions)
    for side in ("query", "gallery"):
        mapped = why.overall_map(side).sum(dtype=float) + why.unmapped(side)
        assert mapped == pytest.approx(why.similarity, abs=why.tolerance)
    back = decompose_similarity(*sides[::-1], "l2")
    np.testing.assert_allclose(
        back.overall_map("gallery"), why.overall_map("query"), rtol=1e-4, atol=why.tolerance
    )


def test_at_unit_length_it_is_twice_the_cosine_less_two():
    rng = np.random.default_rng(0)
    sides = [dv.LocalEmbeddings(rng.normal(size=(2, 3, 4)), rng.normal(size=4)) for _ in range(2)]
    from dmlviz.explanation.squared_distances import unit_length

    units = [unit_length(side) for side in sides]
    near, cosine = decompose_similarity(*units, "l2"), decompose_similarity(*sides, "cosine")
    assert near.similarity == pytest.approx(2 * cosine.similarity - 2)
    np.testing.assert_allclose(near.contributions, 2 * cosine.contributions)
    # each side's own length: its cells' products with the own unit embedding
    own = units[0].vectors @ units[0].embedding
    np.testing.assert_allclose(near.overall_map("query"), 2 * cosine.overall_map("query") - own)


# --- maps and margins from embeddings alone --------------------------------------------------------


def test_maps_of_a_whole_ranking_are_those_of_its_pairs(near):
    ids = near.search(3, k=8).ids
    maps = ranking_maps(near, 3, ids)
    for one, why in zip(maps, explain_ranking(near, 3, ids), strict=True):
        np.testing.assert_allclose(one, why.overall_map("query"), atol=1e-4)
    with pytest.raises(IndexError):
        ranking_maps(near, 3, [len(near)])


def test_margins_are_the_difference_of_two_scores(near):
    for wrong, right in ((4, 1), (1, 4), (2, 8)):
        quick = margin_map(near, 0, wrong, right)
        of_wrong, of_right = explain_ranking(near, 0, [wrong, right])
        slow = margin_between(of_wrong, of_right, wrong, right)
        score = near.score(0, [wrong, right]).astype(float)
        assert quick.margin == slow.margin == score[0] - score[1]
        assert quick.kind == slow.kind == "l2"
        assert quick.adds_up
        assert slow.adds_up
        assert abs(quick.residual) < 1e-4
        np.testing.assert_allclose(quick.map, slow.map, atol=2e-4)
        assert quick.offset == pytest.approx(slow.offset, abs=1e-3)
        e_w, e_r = (near.embeddings[i].astype(float) for i in (wrong, right))
        x = near.query_local(0)
        np.testing.assert_allclose(quick.map, x.vectors @ (2 * (e_w - e_r)), atol=1e-4)
        expected = 2 * x.offset @ (e_w - e_r) - e_w @ e_w + e_r @ e_r
        assert quick.offset == pytest.approx(expected, rel=1e-5)
    assert np.abs(margin_map(near, 0, 4, 4).map).max() == 0


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_margins_of_other_methods_are_differences_of_their_maps(near, method):
    options = {**QUICK[method], "progress": False, "sides": ["query"]}
    margin = margin_map(near, 0, 4, 1, method, **options)
    whys = explain_ranking(near, 0, [4, 1], method, **options)
    np.testing.assert_array_equal(margin.map, whys[0].overall_map("query") - whys[1].overall_map("query"))
    assert margin.margin == pytest.approx(float(np.diff(near.score(0, [1, 4]).astype(float))[0]))


def test_offsets_in_other_modes(near):
    spread = explain(near, 0, 4, offsets="spread")
    assert spread.offsets == 0
    assert spread.adds_up
    assert spread.pairs == pytest.approx(spread.similarity, abs=spread.tolerance)
    dropped = explain(near, 0, 4, offsets="drop")
    assert not dropped.promises
    assert dropped.pairs == pytest.approx(explain(near, 0, 4).pairs)


# --- every other method -----------------------------------------------------------------------------


def test_what_explains_this_score_says_so_and_what_does_not_is_refused_or_named(near):
    reasons = methods_for(near)
    assert "ranks by minus the squared distance" in reasons["published-decomposition"]
    suited = [name for name in METHODS if not reasons[name]]
    explained = set()
    for name in suited:
        options = {**QUICK[name], "progress": False} if name in QUICK else NODES.get(name, {})
        why = explain(near, 0, 4, method=name, **options)
        assert why.kind not in ("cosine",)
        if why.kind == "l2":
            explained.add(name)
            assert why.similarity == near.score(0, [4])[0], name
        if why.promises:
            assert why.adds_up, name
    assert explained == {
        "decomposition",
        "integrated-jacobian",
        "grad-cam",
        "rectified-grad-cam",
        "occlusion",
        "rise",
        "corr-rise",
        "squared-l2",
        "squared-l2-first-order",
    }
    others = set(suited) - explained
    assert {explain(near, 0, 4, method=name).kind for name in others} <= {
        "dot", "L1", "Hamming", "xCos", "structural",
    }  # fmt: skip


def test_the_squared_l2_methods_explain_the_gallerys_own_score(near, in_double):
    for gallery in (near, in_double):
        exact, pairs, first = (
            explain(gallery, 0, 4, method=name)
            for name in ("decomposition", "squared-l2", "squared-l2-first-order")
        )
        np.testing.assert_array_equal(pairs.contributions, exact.contributions)
        assert pairs.similarity == first.similarity == exact.similarity == gallery.score(0, [4])[0]
        assert pairs.adds_up
        assert first.adds_up
    unit = explain(near, 0, 4, method="squared-l2", normalised=True)
    assert unit.kind == "squared L2"  # another score, and called so
    assert -4 <= unit.similarity <= 0
    stretched = explain(near, 0, 4, method="mahalanobis", matrix=np.eye(16))
    assert stretched.kind == "squared Mahalanobis"
    assert stretched.similarity == pytest.approx(float(near.score(0, [4])[0]), rel=1e-4)


def test_the_published_arithmetic_is_refused(near, images):
    with pytest.raises(ValueError, match=r"does not suit this gallery: .*'decomposition' takes that apart"):
        explain(near, 0, 4, published=True)
    with pytest.raises(
        ValueError, match="'cosine', 'dot' for the published decomposition, which takes products"
    ):
        published_decomposition(near.embedder, images[0], images[1], similarity="l2")


def test_gradients_are_those_of_the_distance():
    embedder = patch_embedder()
    query, item = pictures(2)
    maps = [embedder.feature_maps([one]).requires_grad_() for one in (query, item)]
    e_q, e_g = (embedder.head(one)[0] for one in maps)
    score = -(e_q - e_g).square().sum()
    slopes = torch.autograd.grad(score, maps)
    for made, per_cell in ((grad_cam, False), (rectified_grad_cam, True)):
        why = made(embedder, query, item, similarity="l2", relu=False)
        assert why.similarity == pytest.approx(score.item(), rel=1e-5)
        assert why.kind == "l2"
        for side, one, slope in zip(("query", "gallery"), maps, slopes, strict=True):
            weights = slope if per_cell else slope.mean((2, 3), keepdim=True)
            expected = (weights * one).sum(1)[0].detach().numpy()
            np.testing.assert_allclose(why.overall_map(side), expected, atol=1e-5)
    # per cell, and averaged where the pooling is an average, it is twice the first-order form
    whys = [
        made(embedder, query, item, similarity="l2", relu=False) for made in (grad_cam, rectified_grad_cam)
    ]
    locals_of = [embedder.local_embeddings([one])[0] for one in (query, item)]
    first = decompose_squared_distance(*locals_of, form="first-order")
    for why in whys:
        for side in ("query", "gallery"):
            np.testing.assert_allclose(why.overall_map(side), 2 * first.overall_map(side), atol=1e-5)


def test_of_one_and_the_same_picture_the_gradient_is_none():
    embedder = patch_embedder()
    (query,) = pictures(1)
    why = grad_cam(embedder, query, query, similarity="l2")
    assert not why.overall_map("query").any()
    assert "a squared distance has no gradient" in why.note


def test_covering_a_picture_moves_its_distance():
    random = np.random.default_rng(0)
    covered, others = random.normal(size=(6, 4)), random.normal(size=(3, 4))
    found = similarities(covered, others, "l2")
    slow = [[-sum((a - b) ** 2) for a in covered] for b in others]
    np.testing.assert_allclose(found, slow, atol=1e-12)
    assert (similarities(others, others, "l2") <= 0).all()


def test_occlusion_by_patches_is_what_the_distance_loses_with_each_cell():
    """Windows that are the cells' patches: each cell's value is S less S without that patch, from the head alone."""
    embedder = patch_embedder(bias=False)
    images = ImageSet.from_arrays(pictures(3))
    gallery = Gallery.build(images, embedder, similarity="l2", progress=False)
    why = explain(
        gallery,
        0,
        1,
        "occlusion",
        window=4,
        stride=4,
        fill=(127.5, 127.5, 127.5),
        sides=["query"],
        progress=False,
    )
    mine = gallery.query_local(0)
    e_q, e_g = (gallery.embeddings[i].astype(float) for i in (0, 1))
    for cell in np.ndindex(*mine.grid):
        left = (
            e_q - mine.vectors[cell]
        )  # grey is 0 after normalisation (128 very nearly), and no layer has a bias
        expected = -np.square(e_q - e_g).sum() + np.square(left - e_g).sum()
        assert why.query_map[cell] == pytest.approx(expected, abs=0.03 * float(np.abs(why.query_map).max()))
