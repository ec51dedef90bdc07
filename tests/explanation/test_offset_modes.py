"""Offsets apart, spread or dropped: by loops, by hand, and what each mode does to the sum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, LocalEmbeddings, birds_embedder
from dmlviz.explanation import OFFSETS, decompose_similarity, with_offsets


def local(rng, h, w, dim):
    return LocalEmbeddings(rng.normal(size=(h, w, dim)), rng.normal(size=dim))


def slow_spread(query, gallery, similarity):
    """Each cell's vector takes its n-th part of the offset; then all products, in loops."""
    parts = []
    for side in (query, gallery):
        n = side.grid[0] * side.grid[1]
        parts.append(
            [
                [float(x) + float(b) / n for x, b in zip(cell, side.offset, strict=True)]
                for row in side.vectors
                for cell in row
            ]
        )
    scale = 1.0
    if similarity == "cosine":
        for cells in parts:
            whole = [sum(cell[d] for cell in cells) for d in range(query.dim)]
            scale /= sum(v * v for v in whole) ** 0.5
    return np.array(
        [
            [scale * sum(a * b for a, b in zip(one, other, strict=True)) for other in parts[1]]
            for one in parts[0]
        ]
    ).reshape(*query.grid, *gallery.grid)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    query_grid=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    gallery_grid=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    similarity=st.sampled_from(["cosine", "dot"]),
)
def test_spread_equals_the_loops_and_adds_up(seed, query_grid, gallery_grid, similarity):
    rng = np.random.default_rng(seed)
    a, b = local(rng, *query_grid, 4), local(rng, *gallery_grid, 4)
    why = decompose_similarity(a, b, similarity)
    spread = with_offsets(why, "spread")
    mass = max(1.0, float(np.abs(why.contributions).sum()) + abs(why.offsets))
    np.testing.assert_allclose(spread.contributions, slow_spread(a, b, similarity), atol=1e-12 * mass)
    assert spread.pairs == pytest.approx(why.similarity, abs=1e-12 * mass)
    assert (spread.query_offset, spread.gallery_offset, spread.constant) == (None, None, 0.0)
    for side in ("query", "gallery"):
        assert spread.overall_map(side).sum() == pytest.approx(why.similarity, abs=1e-12 * mass)
        assert spread.unmapped(side) == 0


def test_what_is_dropped_is_the_residual():
    rng = np.random.default_rng(1)
    why = decompose_similarity(local(rng, 2, 3, 4), local(rng, 3, 1, 4))
    dropped = with_offsets(why, "drop")
    np.testing.assert_array_equal(dropped.contributions, why.contributions)
    assert dropped.residual == pytest.approx(-why.offsets, abs=1e-14)
    assert abs(dropped.residual) > 1e-3
    assert not dropped.promises
    assert "does not promise to add up" in repr(dropped)
    assert f"{why.offsets:+.4g} of the score is in no map" in dropped.note


def test_two_by_one_by_hand():
    query = LocalEmbeddings(np.array([[[1.0, 0]], [[0, 2.0]]]), np.array([2.0, 0]))  # e = (3, 2)
    gallery = LocalEmbeddings(np.array([[[1.0, 1.0]]]), np.array([0.0, 1.0]))  # e = (1, 2)
    why = decompose_similarity(query, gallery, "dot")
    assert (why.pairs, why.offsets, why.similarity) == (3, 4, 7)
    spread = with_offsets(why, "spread")  # cells (2, 0) and (1, 2) against (1, 2)
    assert spread.contributions[:, 0, 0, 0].tolist() == [2, 5]
    assert with_offsets(why, "drop").contributions[:, 0, 0, 0].tolist() == [1, 2]
    assert with_offsets(why, "separate") is why


def test_an_embedding_without_length_stays_undefined_and_empty():
    nothing = LocalEmbeddings(np.zeros((2, 2, 3)), np.zeros(3))
    some = LocalEmbeddings(np.ones((1, 2, 3)), np.ones(3))
    for mode in OFFSETS:
        why = with_offsets(decompose_similarity(nothing, some), mode)
        assert np.isnan(why.similarity)
        assert not why.overall_map("query").any()
        assert "undefined" in why.note


def test_offsets_are_an_option_of_explain():
    gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), offset_embedder(), progress=False)
    whys = {mode: dv.explain(gallery, 0, 3, offsets=mode) for mode in OFFSETS}
    assert abs(whys["separate"].offsets) > 1e-3
    assert whys["separate"].adds_up
    assert whys["spread"].adds_up
    assert whys["spread"].offsets == 0
    assert whys["drop"].residual == pytest.approx(-whys["separate"].offsets, abs=1e-5)
    with pytest.raises(ValueError, match="offsets must be one of 'separate', 'spread', 'drop'; got 'keep'"):
        dv.explain(gallery, 0, 3, offsets="keep")


def offset_embedder():
    birds = birds_embedder()
    linear = nn.Linear(128, 16)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(16, 128, generator=torch.Generator().manual_seed(0)))
        linear.bias.copy_(torch.randn(16, generator=torch.Generator().manual_seed(1)))
    return Embedder(birds.trunk, LinearHead("avg", linear), birds.preprocess, geometry=birds.geometry)


def test_a_method_without_pairs_has_no_offset_modes():
    rng = np.random.default_rng(2)
    why = replace(decompose_similarity(local(rng, 2, 2, 3), local(rng, 2, 2, 3)), contributions=None)
    with pytest.raises(ValueError, match="has no pairs"):
        with_offsets(why, "drop")
