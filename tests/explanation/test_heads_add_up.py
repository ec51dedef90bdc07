"""Conservation over whole heads: whatever the pooling, the parts add up to the model's own similarity."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmlviz.embedder import LinearHead
from dmlviz.explanation import decompose_similarity


def random_head(pooling, linear, batch_norm, ties, channels, generator):
    out = 5 if linear else channels
    head = LinearHead(
        pooling,
        linear=nn.Linear(channels, out) if linear else None,
        batch_norm=nn.BatchNorm1d(out, eps=1e-3) if batch_norm else None,
        ties=ties,
    ).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        if batch_norm:
            head.batch_norm.running_mean.copy_(torch.randn(out, generator=generator))
            head.batch_norm.running_var.copy_(torch.rand(out, generator=generator) * 2 + 1e-4)
    return head.eval()


@settings(deadline=None, max_examples=50)
@given(
    pooling=st.sampled_from(["avg", "max", "avg+max", "gem"]),
    linear=st.booleans(),
    batch_norm=st.booleans(),
    ties=st.sampled_from(["split", "first"]),
    rounded=st.booleans(),
    similarity=st.sampled_from(["cosine", "dot"]),
    query_grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    gallery_grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 10**6),
)
def test_parts_add_up_to_the_heads_own_similarity(
    pooling, linear, batch_norm, ties, rounded, similarity, query_grid, gallery_grid, seed
):
    generator = torch.Generator().manual_seed(seed)
    head = random_head(pooling, linear, batch_norm, ties, 6, generator)
    maps = []
    for grid in (query_grid, gallery_grid):
        feature_map = torch.randn(6, *grid, generator=generator, dtype=torch.float64).relu() * 3
        maps.append(feature_map.round() if rounded else feature_map)  # rounding plants ties
    with torch.no_grad():
        e_q, e_g = (head(m[None])[0] for m in maps)
        expected = float(e_q @ e_g)
        if similarity == "cosine":
            expected /= float(e_q.norm() * e_g.norm())
    why = decompose_similarity(*(head.local_embeddings(m) for m in maps), similarity)
    if not np.isfinite(expected):
        assert np.isnan(why.similarity)
        return
    parts = why.contributions.sum() + why.query_offset.sum() + why.gallery_offset.sum() + why.constant
    mass = np.abs(why.contributions).sum() + abs(why.offsets)
    assert abs(parts - expected) <= 1e-12 * max(1.0, mass)


def test_flatten_heads_add_up():
    generator = torch.Generator().manual_seed(0)
    head = LinearHead("flatten", linear=nn.Linear(6 * 2 * 3, 4), batch_norm=nn.BatchNorm1d(4)).double().eval()
    a, b = (torch.randn(6, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        expected = float(torch.cosine_similarity(head(a[None])[0], head(b[None])[0], 0))
    why = decompose_similarity(head.local_embeddings(a), head.local_embeddings(b))
    assert abs(why.total - expected) <= 1e-12
