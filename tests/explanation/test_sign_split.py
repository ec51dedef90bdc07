"""The L1 distance split by sign: by loops, by hand, exact for its own score."""

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
from dmlviz.embedder import LinearHead, LocalEmbeddings
from dmlviz.explanation import dist_cam, l1_split
from dmlviz.explanation.sign_split import split_l1

A, B = picture(0), picture(1)


def slow_split(query, gallery):
    """Σ_k sign(Δ_k)(g_k^a − g_k^b), cell by cell, in loops; negated, so that nearer is higher."""
    whole = []
    for side in (query, gallery):
        total = [float(b) for b in side.offset]
        for row in side.vectors:
            for cell in row:
                for k in range(side.dim):
                    total[k] += float(cell[k])
        whole.append(total)
    signs = [(a > b) - (a < b) for a, b in zip(*whole, strict=True)]
    maps = []
    for turn, side in ((-1, query), (1, gallery)):
        maps.append([[turn * sum(s * float(x) for s, x in zip(signs, cell, strict=True)) for cell in row]
                     for row in side.vectors])  # fmt: skip
    constant = -sum(
        s * (float(p) - float(q)) for s, p, q in zip(signs, query.offset, gallery.offset, strict=True)
    )
    return maps[0], maps[1], constant, -sum(abs(a - b) for a, b in zip(*whole, strict=True))


@settings(deadline=None, max_examples=30)
@given(
    grids=st.tuples(*[st.tuples(st.integers(1, 4), st.integers(1, 4))] * 2),
    dim=st.integers(1, 7),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 10**6),
)
def test_equals_the_loops_and_adds_up(grids, dim, dtype, seed):
    rng = np.random.default_rng(seed)
    query, gallery = (
        LocalEmbeddings(rng.normal(size=(*grid, dim)).astype(dtype), rng.normal(size=dim).astype(dtype))
        for grid in grids
    )
    why = split_l1(query, gallery)
    of_query, of_gallery, constant, score = slow_split(query, gallery)
    bound = 1e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(why.overall_map("query"), of_query, atol=bound)
    np.testing.assert_allclose(why.overall_map("gallery"), of_gallery, atol=bound)
    assert why.constant == pytest.approx(constant, abs=bound)
    assert why.similarity == pytest.approx(score, abs=bound)
    assert why.adds_up
    for side in ("query", "gallery"):
        assert why.overall_map(side).sum(dtype=np.float64) + why.unmapped(side) == pytest.approx(
            score, abs=10 * bound
        )
    assert not why.pairwise


@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max", "gem", "flatten"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_of_embeddings_it_is_the_heads_own_distance(pooling, batch_norm):
    maps, head = some_maps(1, signed=True), some_head(pooling, batch_norm=batch_norm)
    embedder = planted(maps, head)
    with torch.no_grad():
        expected = -float((head(maps[:1]) - head(maps[1:])).abs().sum())
    why = l1_split(embedder, A, B, of="embedding")
    assert why.similarity == pytest.approx(expected, abs=1e-11)
    assert abs(why.residual) <= 1e-11


def test_of_channels_it_is_dist_cams_distance_whatever_the_head():
    maps = some_maps(2)
    embedder = planted(maps, some_head("max"))
    why = l1_split(embedder, A, B)
    assert why.similarity == pytest.approx(dist_cam(embedder, A, B).similarity, abs=1e-13)
    np.testing.assert_allclose(
        -why.similarity, (maps[0] - maps[1]).mean((1, 2)).abs().sum().item(), atol=1e-13
    )
    assert (why.kind, why.promises, why.adds_up) == ("L1", True, True)


def test_swapping_the_images_swaps_the_maps():
    embedder = planted(some_maps(3), some_head("avg"))
    there, back = l1_split(embedder, A, B), l1_split(embedder, B, A)
    np.testing.assert_array_equal(there.overall_map("query"), back.overall_map("gallery"))
    assert there.similarity == back.similarity


def test_identical_images_are_silent():
    embedder = planted(some_maps(4).float(), some_head("avg"))
    why = l1_split(embedder, A, A)
    assert (why.similarity, why.total) == (0, 0)
    assert why.overall_map("query").tolist() == np.zeros((3, 4)).tolist()
    assert "all features agree to rounding, so the maps are 0 everywhere" in why.note


def test_features_that_agree_to_rounding_are_silent_but_counted():
    query = LocalEmbeddings(np.array([[[1.0, 100.0]]], np.float32), np.zeros(2, np.float32))
    gallery = LocalEmbeddings(np.array([[[3.0, 100.0001]]], np.float32), np.zeros(2, np.float32))
    why = split_l1(query, gallery)
    assert why.overall_map("query").tolist() == [[1]]  # not 101
    assert why.overall_map("gallery").tolist() == [[-3]]
    assert why.constant == pytest.approx(-1e-4, rel=0.1)
    assert why.residual == 0


def test_zero_and_negative_features():
    zeros = LocalEmbeddings(np.zeros((1, 2, 2)), np.zeros(2))
    some = LocalEmbeddings(-np.ones((1, 2, 2)), np.zeros(2))
    assert split_l1(zeros, zeros).similarity == 0
    why = split_l1(zeros, some)
    assert (why.similarity, why.overall_map("query").tolist()) == (-4, [[0, 0]])
    assert why.overall_map("gallery").tolist() == [[-2, -2]]


def test_bad_input_is_refused_in_words():
    embedder = planted(some_maps(), some_head("avg"))
    with pytest.raises(ValueError, match="of must be one of 'channels', 'embedding'; got 'pixels'"):
        l1_split(embedder, A, B, of="pixels")
    three = planted(some_maps(), some_head("avg", dim=3))
    with pytest.raises(ValueError, match="the same features; got 3 for the query and 5"):
        l1_split(embedder, A, B, of="embedding", query_embedder=three)
    four = planted(some_maps(channels=4), LinearHead("avg"))
    with pytest.raises(ValueError, match="the same channels; got 4 for the query and 6"):
        l1_split(embedder, A, B, query_embedder=four)
    broken = LocalEmbeddings(np.full((1, 1, 2), np.nan), np.zeros(2))
    with pytest.raises(ValueError, match="the gallery's local embeddings must be finite"):
        split_l1(LocalEmbeddings(np.ones((1, 1, 2)), np.zeros(2)), broken)


def test_by_name_on_a_gallery():
    from dmlviz.embedder import birds_embedder

    gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder(), progress=False)
    for of in ("channels", "embedding"):
        why = dv.explain(gallery, 0, 3, "l1-split", of=of)
        assert why.adds_up
        assert why.kind == "L1"
    expected = -np.abs(gallery.embeddings[0] - gallery.embeddings[3]).sum()
    assert why.similarity == pytest.approx(float(expected), rel=1e-4)
