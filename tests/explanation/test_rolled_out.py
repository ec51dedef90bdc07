"""Attention rollout that keeps the sum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, LocalEmbeddings
from dmlviz.embedder.attention import attentions_of
from dmlviz.explanation import (
    attention_rollout,
    explain_ranking,
    integrated_jacobian,
    margin_map,
    methods_for,
    roll_out,
    rollout,
)
from dmlviz.images import ImageSet, Preprocess


class Transformer(nn.Module):
    """Patches, a class token, three layers of torch's own encoder, and the tokens that are asked for."""

    def __init__(self, read, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.first = nn.Parameter(torch.randn(1, 1, 8))
            self.place = nn.Parameter(torch.randn(1, 7, 8))
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True, activation="gelu")
                for _ in range(3)
            )
            self.norm, self.read = nn.LayerNorm(8), read

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], 1) + self.place
        for layer in self.layers:
            tokens = layer(tokens)
        return self.read(self.norm(tokens))


def mean_tokens():
    return Embedder.from_module(Transformer(lambda t: t[:, 1:].mean(1)), Preprocess.stretch((16, 24)))


def class_token():
    return Embedder.from_module(
        Transformer(lambda t: t[:, 0]), Preprocess.stretch((16, 24)), head="linearised"
    )


def pictures(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 16, 24, 3), dtype=np.uint8))


def random_parts(random, grid, dim=3):
    return LocalEmbeddings(random.normal(size=(*grid, dim)), random.normal(size=dim))


def random_rollout(random, tokens):
    return rollout([random.dirichlet(np.full(tokens, 0.3), size=(2, tokens)) for _ in range(2)])


def test_rollout_by_hand_and_in_loops():
    first = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])  # heads mean [[.5, .5], [.5, .5]]
    np.testing.assert_allclose(rollout([first]), [[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_allclose(rollout([first, first]), [[0.625, 0.375], [0.375, 0.625]])  # its square
    random = np.random.default_rng(0)
    layers = [random.dirichlet(np.ones(4), size=(3, 4)) for _ in range(3)]
    slow = np.eye(4)
    for layer in layers:
        new = np.zeros((4, 4))
        for i in range(4):
            for j in range(4):
                for k in range(4):
                    mixed = sum(layer[h, i, k] for h in range(3)) / 3 / 2 + (0.5 if i == k else 0)
                    new[i, j] += mixed * slow[k, j]
        slow = new
    np.testing.assert_allclose(rollout(layers), slow, atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), prefix=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_the_sum_is_kept_and_every_share_by_loops(seed, prefix):
    random = np.random.default_rng(seed)
    why = dv.decompose_similarity(random_parts(random, (2, 2)), random_parts(random, (1, 3)))
    r_q, r_g = (random_rollout(random, n + p) for n, p in zip((4, 3), prefix, strict=True))
    rolled = roll_out(why, r_q, r_g)
    assert rolled.total == pytest.approx(why.total, abs=1e-12)
    assert rolled.adds_up
    p, q = prefix
    slow = np.zeros((4, 3))
    flat = why.contributions.reshape(4, 3)
    for i in range(4):
        for j in range(3):
            slow += flat[i, j] * np.outer(r_q[p + i, p:], r_g[q + j, q:])
    np.testing.assert_allclose(rolled.contributions.reshape(4, 3), slow, atol=1e-12)
    if prefix == (0, 0):
        assert rolled.pairs == pytest.approx(why.pairs, abs=1e-12)
    # the rolled local embeddings say the same once more
    again = dv.decompose_similarity(rolled.query_local, rolled.gallery_local)
    np.testing.assert_allclose(again.contributions, rolled.contributions, atol=1e-12)
    np.testing.assert_allclose(again.query_offset, rolled.query_offset, atol=1e-12)
    np.testing.assert_allclose(again.gallery_offset, rolled.gallery_offset, atol=1e-12)
    assert again.constant == pytest.approx(rolled.constant, abs=1e-12)


def test_the_other_way_round_loses_the_sum():
    random = np.random.default_rng(1)
    why = dv.decompose_similarity(random_parts(random, (2, 2)), random_parts(random, (2, 2)), "dot")
    r_q, r_g = random_rollout(random, 4), random_rollout(random, 4)
    other = r_q @ why.contributions.reshape(4, 4) @ r_g.T
    assert abs(other.sum() - why.pairs) > 0.01 * abs(why.pairs)
    assert roll_out(why, r_q, r_g).pairs == pytest.approx(why.pairs, abs=1e-12)


def test_no_attention_to_others_changes_nothing():
    random = np.random.default_rng(2)
    why = dv.decompose_similarity(random_parts(random, (2, 2)), random_parts(random, (2, 3)))
    alone = roll_out(why, rollout([np.eye(5)[None]]), rollout([np.eye(6)[None]]))
    np.testing.assert_allclose(alone.contributions, why.contributions, atol=1e-15)
    np.testing.assert_allclose(alone.query_offset, why.query_offset, atol=1e-15)
    assert alone.constant == pytest.approx(why.constant)


@pytest.mark.parametrize("made", [mean_tokens, class_token])
def test_of_a_network(made):
    embedder = made()
    query, item = pictures(2)
    layers = attentions_of(embedder, query)
    assert len(layers) == (3 if embedder.exact else 2)
    why = attention_rollout(embedder, query, item, nodes=16, dtype="float64")
    if embedder.exact:
        base = dv.decompose_similarity(*embedder.local_embeddings([query, item], dtype="float64"))
        assert abs(why.residual) < 1e-10
    else:
        base = integrated_jacobian(embedder, query, item, nodes=16, dtype="float64")
        assert "patches carry" in why.note
    assert why.adds_up
    assert why.total == pytest.approx(base.total, abs=1e-7)
    by_hand = roll_out(base, rollout(layers), rollout(attentions_of(embedder, item)))
    np.testing.assert_allclose(why.contributions, by_hand.contributions, atol=1e-12)
    assert np.abs(why.contributions - base.contributions).max() > 1e-6
    assert "a heuristic that keeps their sum" in why.note


def test_in_a_gallery():
    images = ImageSet.from_arrays(pictures(5), labels=list("aabbc"))
    gallery = dv.Gallery.build(images, mean_tokens(), progress=False)
    suited = methods_for(gallery)
    assert suited["attention-rollout"] == ""
    (why,) = explain_ranking(gallery, 0, [3], "attention-rollout")
    assert why.similarity == gallery.score(0, [3])[0]
    assert why.adds_up
    assert why.query_geometry.stride == (8, 8)
    assert margin_map(gallery, 0, 2, 1, method="attention-rollout").adds_up
    plain = Embedder(nn.Conv2d(3, 4, 8, 8), LinearHead("avg"), Preprocess.stretch((16, 24)), name="plain")
    other = dv.Gallery.build(images, plain, progress=False)
    assert "attention of a transformer, and 'plain' is none" in methods_for(other)["attention-rollout"]


def test_bad_input_is_refused():
    random = np.random.default_rng(3)
    why = dv.decompose_similarity(random_parts(random, (1, 2)), random_parts(random, (1, 2)))
    good = np.eye(2)
    with pytest.raises(ValueError, match=r"gallery_rollout must be \(L, L\) with L >= 2 cells, got \(1, 1\)"):
        roll_out(why, good, np.eye(1))
    with pytest.raises(ValueError, match="rows of query_rollout must sum to 1"):
        roll_out(why, good * 0.9, good)
    with pytest.raises(ValueError, match="at least one layer"):
        rollout([])
    with pytest.raises(ValueError, match=r"layer 1 has \(1, 3, 3\)"):
        rollout([np.eye(2)[None], np.eye(3)[None]])
    with pytest.raises(ValueError, match="negative or not finite"):
        rollout([-np.eye(2)[None]])
    with pytest.raises(ValueError, match="expected a transformer of patches"):
        attention_rollout(
            Embedder(nn.Conv2d(3, 4, 8, 8), LinearHead("avg"), Preprocess.stretch((16, 24))), *pictures(2)
        )
