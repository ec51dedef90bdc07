import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.explanation import (
    decompose_similarity,
    decompose_squared_distance,
    explain,
    squared_distance,
)
from dmlviz.explanation.squared_distances import unit_length


@pytest.fixture(scope="module")
def demo():
    birds = dv.birds(families=1, per_class=3)
    return dv.Gallery.build(birds, birds_embedder("avg"), progress=False)


def local(rng, grid=(2, 3), dimension=4, offset=True, dtype=np.float64):
    b = rng.normal(size=dimension) if offset else np.zeros(dimension)
    return dv.LocalEmbeddings(rng.normal(size=(*grid, dimension)).astype(dtype), b.astype(dtype))


def slow_pairs(q, g, metric):
    """−d² from the definition, cell by cell: every product of two vectors spelt out."""

    def inner(u, v):
        return sum(u[a] * metric[a][b] * v[b] for a in range(len(u)) for b in range(len(v)))

    eq = [sum(q.vectors[i, j, d] for i in range(q.grid[0]) for j in range(q.grid[1])) + q.offset[d]
          for d in range(len(q.offset))]  # fmt: skip
    eg = [sum(g.vectors[i, j, d] for i in range(g.grid[0]) for j in range(g.grid[1])) + g.offset[d]
          for d in range(len(g.offset))]  # fmt: skip
    pairs = np.zeros((*q.grid, *g.grid))
    own_q, own_g = np.zeros(q.grid), np.zeros(g.grid)
    first_q, first_g = np.zeros(q.grid), np.zeros(g.grid)
    delta = [a - b for a, b in zip(eq, eg, strict=True)]
    for i in np.ndindex(*q.grid):
        own_q[i] = 2 * inner(q.vectors[i], g.offset) - inner(q.vectors[i], eq)
        first_q[i] = -inner(q.vectors[i], delta)
        for j in np.ndindex(*g.grid):
            pairs[i + j] = 2 * inner(q.vectors[i], g.vectors[j])
    for j in np.ndindex(*g.grid):
        own_g[j] = 2 * inner(g.vectors[j], q.offset) - inner(g.vectors[j], eg)
        first_g[j] = inner(g.vectors[j], delta)
    return -inner(delta, delta), pairs, own_q, own_g, first_q, first_g


@pytest.mark.parametrize("metric", ["identity", "matrix", "factor"])
def test_both_forms_agree_with_the_slow_twin(metric):
    rng = np.random.default_rng(1)
    q, g = local(rng, (2, 3)), local(rng, (3, 1))
    factor = rng.normal(size=(3, 4))
    options = {"identity": {}, "matrix": {"matrix": factor.T @ factor}, "factor": {"factor": factor}}[metric]
    m = np.eye(4) if metric == "identity" else factor.T @ factor
    score, pairs, own_q, own_g, first_q, first_g = slow_pairs(q, g, m)
    why = decompose_squared_distance(q, g, **options)
    first = decompose_squared_distance(q, g, form="first-order", **options)
    np.testing.assert_allclose(why.contributions, pairs, atol=1e-12)
    np.testing.assert_allclose(why.query_offset, own_q, atol=1e-12)
    np.testing.assert_allclose(why.gallery_offset, own_g, atol=1e-12)
    np.testing.assert_allclose(first.overall_map("query"), first_q, atol=1e-12)
    np.testing.assert_allclose(first.overall_map("gallery"), first_g, atol=1e-12)
    assert why.similarity == pytest.approx(score, abs=1e-12)
    assert first.similarity == why.similarity
    assert abs(why.residual) < 1e-10
    assert abs(first.residual) < 1e-10
    assert not first.pairwise
    assert why.kind == ("squared L2" if metric == "identity" else "squared Mahalanobis")


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10_000),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["pairs", "first-order"]),
)
def test_the_parts_sum_to_minus_the_squared_distance(seed, dtype, form):
    rng = np.random.default_rng(seed)
    q, g = local(rng, (2, 2), dtype=dtype), local(rng, (1, 3), dtype=dtype)
    why = decompose_squared_distance(q, g, form)
    delta = q.embedding.astype(np.float64) - g.embedding.astype(np.float64)
    assert why.similarity == pytest.approx(-float(delta @ delta), rel=1e-5)
    assert why.adds_up
    other_way = decompose_squared_distance(g, q, form)
    assert other_way.similarity == pytest.approx(why.similarity, rel=1e-6)
    np.testing.assert_allclose(
        other_way.overall_map("gallery"), why.overall_map("query"), rtol=1e-4, atol=1e-4
    )


def test_at_unit_length_the_pairs_are_twice_those_of_the_cosine():
    rng = np.random.default_rng(4)
    q, g = local(rng), local(rng)
    cosine = decompose_similarity(q, g, "cosine")
    squared = decompose_squared_distance(unit_length(q), unit_length(g))
    np.testing.assert_allclose(squared.contributions, 2 * cosine.contributions, atol=1e-12)
    assert squared.similarity == pytest.approx(2 * cosine.similarity - 2, abs=1e-12)


def test_an_image_is_at_no_distance_from_itself():
    q = local(np.random.default_rng(0))
    why = decompose_squared_distance(q, q, "first-order")
    assert why.similarity == 0
    assert not why.overall_map("query").any()
    assert decompose_squared_distance(q, q).adds_up


def test_an_indefinite_matrix_is_used_and_said():
    rng = np.random.default_rng(2)
    why = decompose_squared_distance(local(rng), local(rng), matrix=np.diag([1.0, -2.0, 0.5, 1.0]))
    assert "indefinite" in why.note
    assert why.adds_up


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "second"}, "form must be one of 'pairs', 'first-order'"),
        ({"matrix": np.eye(3)}, r"shape \(4, 4\); got shape \(3, 3\)"),
        ({"matrix": np.triu(np.ones((4, 4)))}, "must be symmetric"),
        ({"matrix": np.eye(4), "factor": np.eye(4)}, "not by both"),
        ({"factor": np.eye(3)}, r"shape \(r, 4\)"),
        ({"factor": np.full((1, 4), np.nan)}, "finite"),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match=words):
        decompose_squared_distance(local(rng), local(rng), **options)


def test_other_dimensions_and_broken_values_are_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match="4 dimensions for the query and 5"):
        decompose_squared_distance(local(rng), local(rng, dimension=5))
    broken = dv.LocalEmbeddings(np.full((1, 1, 4), np.inf), np.zeros(4))
    with pytest.raises(ValueError, match="query's local embeddings must be finite"):
        decompose_squared_distance(broken, local(rng))
    with pytest.raises(ValueError, match="normalised=False"):
        unit_length(dv.LocalEmbeddings(np.zeros((1, 1, 2)), np.zeros(2)))


def test_on_a_gallery(demo):
    best = int(demo.search(0, k=1).ids[0])
    cosine = float(demo.score(0, [best])[0])
    for name in ("squared-l2", "squared-l2-first-order"):
        why = explain(demo, 0, best, method=name)
        assert why.method == name
        assert why.adds_up
        assert why.similarity == pytest.approx(2 * cosine - 2, abs=1e-5)
    by_hand = squared_distance(demo.embedder, demo.images[0], demo.images[best])
    assert by_hand.similarity == pytest.approx(2 * cosine - 2, abs=1e-5)
    raw = explain(demo, 0, best, method="squared-l2", normalised=False)
    delta = demo.embeddings[0].astype(np.float64) - demo.embeddings[best]
    assert raw.similarity == pytest.approx(-float(delta @ delta), rel=1e-4)
    with pytest.raises(ValueError, match="needs its matrix"):
        explain(demo, 0, best, method="mahalanobis")
    stretched = explain(demo, 0, best, method="mahalanobis", matrix=4 * np.eye(demo.embedder.dim))
    assert stretched.similarity == pytest.approx(4 * (2 * cosine - 2), abs=1e-4)
