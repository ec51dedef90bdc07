"""Structural matching: the transport by loops and by hand, the similarity it makes, and ranking by it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for patch_network, which tests of this room share

import patch_network as patches

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation.coarser_cells import pooled
from dmlviz.explanation.method import Method
from dmlviz.explanation.structural import (
    OFFERED,
    match_ranking,
    match_structure,
    rerank_by_structure,
    structural_matching,
)
from dmlviz.explanation.transport import transport
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery


def local(rng, h, w, dim, offset=True, dtype=np.float64):
    return LocalEmbeddings(
        rng.normal(size=(h, w, dim)).astype(dtype), (offset * rng.normal(size=dim)).astype(dtype)
    )


def masses(rng, count):
    mass = rng.random(count) + 0.05
    return mass / mass.sum()


def slow_transport(cost, rows, columns, regularisation, rounds):
    """Sinkhorn's iteration as it is written down: scaling rows and columns of exp(−cost/λ) in turns."""
    n, m = cost.shape
    kernel = [[np.exp(-cost[i, j] / regularisation) for j in range(m)] for i in range(n)]
    right = [1.0] * m
    for _ in range(rounds):
        left = [rows[i] / sum(kernel[i][j] * right[j] for j in range(m)) for i in range(n)]
        right = [columns[j] / sum(kernel[i][j] * left[i] for i in range(n)) for j in range(m)]
    return np.array([[left[i] * kernel[i][j] * right[j] for j in range(m)] for i in range(n)])


@pytest.mark.parametrize("rounds", [1, 3, 30])
def test_transport_equals_the_loops(rounds):
    rng = np.random.default_rng(0)
    cost, rows, columns = rng.random((3, 5)), masses(rng, 3), masses(rng, 5)
    found = transport(cost, rows, columns, 0.2, rounds, tolerance=0.0)
    slow = slow_transport(cost, rows, columns, 0.2, rounds)
    np.testing.assert_allclose(found.plan, slow, atol=1e-14)
    assert found.iterations == rounds
    assert found.error == pytest.approx(np.abs(slow.sum(axis=1) - rows).sum(), abs=1e-14)


def test_transport_by_hand():
    half = np.full(2, 0.5)
    # on the diagonal a, beside it b: a/b = exp(1/λ), a + b = ½
    found = transport(np.array([[0.0, 1.0], [1.0, 0.0]]), half, half, 0.5)
    a = 0.5 / (1 + np.exp(-2))
    np.testing.assert_allclose(found.plan, [[a, 0.5 - a], [0.5 - a, a]], atol=1e-9)
    assert found.converged
    # all the mass in one row: the plan is the columns' masses
    only = transport(np.array([[0.0, 9.0], [1.0, 0.0]]), np.array([1.0, 0.0]), np.array([0.3, 0.7]), 0.05)
    np.testing.assert_allclose(only.plan, [[0.3, 0.7], [0, 0]], atol=1e-12)
    assert transport(np.zeros((1, 1)), np.ones(1), np.ones(1), 1.0).plan.tolist() == [[1.0]]
    flat = transport(np.full((2, 2), 3.0), half, np.array([0.25, 0.75]), 0.1)
    np.testing.assert_allclose(flat.plan, [[0.125, 0.375]] * 2, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 2.0]))
def test_what_holds_for_any_transport(n, m, seed, regularisation):
    rng = np.random.default_rng(seed)
    cost, rows, columns = 2 * rng.random((n, m)), masses(rng, n), masses(rng, m)
    found = transport(cost, rows, columns, regularisation, 5000, 1e-9)
    assert found.converged
    assert (found.plan >= 0).all()
    np.testing.assert_allclose(found.plan.sum(axis=0), columns, atol=1e-12)
    np.testing.assert_allclose(found.plan.sum(axis=1), rows, atol=2e-9)
    turned = transport(cost.T, columns, rows, regularisation, 5000, 1e-9)
    np.testing.assert_allclose(turned.plan.T, found.plan, atol=1e-6)
    dearer = cost + rng.random((n, 1)) + rng.random(m)  # what every plan pays alike changes nothing
    np.testing.assert_allclose(
        transport(dearer, rows, columns, regularisation, 5000, 1e-9).plan, found.plan, atol=1e-6
    )


def test_a_small_regularisation_finds_the_cheapest_plan_and_does_not_overflow():
    cost = np.array([[0.0, 2.0, 2.0], [2.0, 0.1, 2.0], [1.0, 2.0, 0.0]])
    third = np.full(3, 1 / 3)
    found = transport(cost, third, third, 1e-4, 1000)
    np.testing.assert_allclose(found.plan, np.eye(3) / 3, atol=1e-9)


def test_it_says_when_it_has_not_converged():
    rng = np.random.default_rng(1)
    found = transport(rng.random((4, 4)), masses(rng, 4), masses(rng, 4), 0.01, 1)
    assert (found.converged, found.iterations) == (False, 1)
    assert found.error > 1e-3
    why = match_structure(local(rng, 2, 2, 3), local(rng, 2, 2, 3), iterations=1)
    assert "transport after 1 iteration, NOT converged: marginals missed to " in why.note
    loose = match_structure(local(rng, 2, 2, 3), local(rng, 2, 2, 3), iterations=1, tolerance=0.99)
    assert "marginals met to " in loose.note
    enough = match_structure(local(rng, 2, 2, 3), local(rng, 2, 2, 3), iterations=10_000, regularisation=0.5)
    assert "marginals met to " in enough.note


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ((np.zeros((2, 2)), np.ones(1), np.full(2, 0.5), 0.1), r"needs n and m masses; got shapes \(2, 2\)"),
        ((np.full((1, 1), np.nan), np.ones(1), np.ones(1), 0.1), "costs must be finite"),
        (
            (np.zeros((1, 1)), np.array([0.9]), np.ones(1), 0.1),
            "masses of the rows must not be negative and sum",
        ),
        (
            (np.zeros((1, 2)), np.ones(1), np.array([2.0, -1]), 0.1),
            "masses of the columns must not be negative",
        ),
        ((np.zeros((1, 1)), np.ones(1), np.ones(1), 0.0), "regularisation must be above 0"),
        ((np.zeros((1, 1)), np.ones(1), np.ones(1), 0.1, 0), "iterations must be at least 1"),
    ],
)
def test_transport_refuses(given_, words):
    with pytest.raises(ValueError, match=words):
        transport(*given_)


def slow_matching(query, gallery, marginals, regularisation, rounds):
    """From the definition, cell by cell."""
    sides = []
    for one in (query, gallery):
        cells = [vector for row in one.vectors for vector in row]
        shared = [vector + one.offset / len(cells) for vector in cells]
        whole = sum(cells) + one.offset
        sides.append(([v / np.sqrt((v * v).sum()) for v in shared], whole / np.sqrt((whole * whole).sum())))
    (cells_q, whole_q), (cells_g, whole_g) = sides
    cosines = np.array([[float((a * b).sum()) for b in cells_g] for a in cells_q])
    of_q = np.array([max(float((a * whole_g).sum()), 0.0) for a in cells_q])
    of_g = np.array([max(float((b * whole_q).sum()), 0.0) for b in cells_g])
    if marginals == "uniform":
        of_q, of_g = np.ones(len(cells_q)), np.ones(len(cells_g))
    plan = slow_transport(1 - cosines, of_q / of_q.sum(), of_g / of_g.sum(), regularisation, rounds)
    return plan * cosines


@pytest.mark.parametrize("marginals", ["cross-attention", "uniform"])
def test_equals_the_loops_and_adds_up(marginals):
    rng = np.random.default_rng(2)
    query, gallery = local(rng, 2, 3, 4), local(rng, 3, 1, 4)
    why = match_structure(
        query, gallery, marginals=marginals, regularisation=0.5, iterations=2000, tolerance=0, grid=None
    )
    slow = slow_matching(query, gallery, marginals, 0.5, 2000)
    np.testing.assert_allclose(why.contributions.reshape(6, 3), slow, atol=1e-6)
    assert why.similarity == pytest.approx(slow.sum(), abs=1e-6)
    assert why.adds_up
    assert abs(why.residual) < 1e-12
    assert (why.kind, why.offsets, why.promises) == ("structural", 0.0, True)
    assert -1 <= why.similarity <= 1


def test_by_hand_on_two_cells():
    """Cells along the axes, no offset: cosines are 1 and 0, masses equal, so S = 2a with a as above."""
    one = LocalEmbeddings(np.array([[[3.0, 0.0], [0.0, 3.0]]]), np.zeros(2))
    why = match_structure(one, one, regularisation=0.5)
    a = 0.5 / (1 + np.exp(-2))
    np.testing.assert_allclose(why.contributions[0, :, 0, :], [[a, 0], [0, a]], atol=1e-9)
    assert why.similarity == pytest.approx(2 * a)
    crossed = LocalEmbeddings(np.array([[[0.0, 5.0], [1.0, 0.0]]]), np.zeros(2))
    found = match_structure(one, crossed, regularisation=0.5, marginals="uniform")
    np.testing.assert_allclose(found.contributions[0, :, 0, :], [[0, a], [a, 0]], atol=1e-9)


def test_relations():
    rng = np.random.default_rng(3)
    query, gallery = local(rng, 2, 2, 5), local(rng, 2, 3, 5)
    options = {"regularisation": 0.5, "iterations": 5000, "tolerance": 1e-9}
    there, back = match_structure(query, gallery, **options), match_structure(gallery, query, **options)
    np.testing.assert_allclose(there.contributions, back.contributions.transpose(2, 3, 0, 1), atol=1e-6)
    longer = LocalEmbeddings(7 * query.vectors, 7 * query.offset)
    assert match_structure(longer, gallery, **options).similarity == pytest.approx(there.similarity, abs=1e-9)
    moved = LocalEmbeddings(gallery.vectors[::-1, ::-1], gallery.offset)  # where cells lie does not matter
    assert match_structure(query, moved, **options).similarity == pytest.approx(there.similarity, abs=1e-9)
    itself = match_structure(query, query, regularisation=1e-3, marginals="uniform", iterations=5000)
    assert itself.similarity == pytest.approx(1, abs=1e-6)


def test_pooling_keeps_the_embedding():
    rng = np.random.default_rng(4)
    fine = local(rng, 7, 6, 3)
    for grid, shape in ((4, (4, 4)), ((2, 3), (2, 3)), (9, (7, 6)), (None, (7, 6)), (1, (1, 1))):
        coarse = pooled(fine, grid)
        assert coarse.grid == shape
        np.testing.assert_allclose(coarse.embedding, fine.embedding, atol=1e-12)
    by_hand = pooled(LocalEmbeddings(np.arange(12.0).reshape(2, 6, 1), np.zeros(1)), (1, 3))
    assert by_hand.vectors[0, :, 0].tolist() == [0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11]


def test_without_length_or_without_mass():
    rng = np.random.default_rng(5)
    zero = LocalEmbeddings(np.zeros((2, 2, 3)), np.zeros(3))
    why = match_structure(zero, local(rng, 2, 2, 3))
    assert np.isnan(why.similarity)
    assert (why.contributions == 0).all()
    assert "an embedding has no length" in why.note
    right = LocalEmbeddings(np.array([[[1.0, 0.0], [2.0, 0.0]]]), np.zeros(2))
    against = match_structure(right, LocalEmbeddings(-right.vectors, np.zeros(2)))
    assert against.similarity == pytest.approx(-1)
    assert "no cell of the query points towards the other embedding: uniform masses" in against.note
    part = LocalEmbeddings(np.array([[[0.0, 0.0], [2.0, 0.0]]]), np.zeros(2))  # a cell without length
    assert match_structure(part, right).similarity == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"marginals": "gaussian"}, ValueError, "marginals must be one of 'cross-attention', 'uniform'"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1"),
        ({"iterations": 2.0}, TypeError, "iterations must be a whole number"),
        ({"regularisation": float("nan")}, ValueError, "regularisation must be above 0"),
        ({"tolerance": 1.0}, ValueError, "tolerance is a share of the mass"),
        ({"grid": 0}, ValueError, "grid must be at least 1"),
        ({"grid": (1, 2, 3)}, ValueError, r"grid must be one number, \(rows, cols\) or None"),
    ],
)
def test_what_cannot_be_is_refused(options, error, words):
    rng = np.random.default_rng(6)
    one = local(rng, 2, 2, 3)
    with pytest.raises(error, match=words):
        match_structure(one, one, **options)


def test_parts_that_do_not_fit_are_refused():
    rng = np.random.default_rng(6)
    with pytest.raises(ValueError, match="same space; got 3 dimensions for the query and 4"):
        match_structure(local(rng, 2, 2, 3), local(rng, 2, 2, 4))
    broken = LocalEmbeddings(np.full((1, 1, 3), np.nan), np.zeros(3))
    with pytest.raises(ValueError, match="gallery's local embeddings must be finite"):
        match_structure(local(rng, 2, 2, 3), broken)


@pytest.fixture
def gallery():
    images = ImageSet.from_arrays(patches.pictures(6, (16, 24)), ["a", "a", "b", "b", "c", "c"])
    return Gallery.build(images, patches.patch_embedder((16, 24)), progress=False)


def test_a_pair_and_a_ranking_are_the_same(gallery):
    pair = structural_matching(gallery.embedder, gallery.images[0], gallery.images[3], grid=2)
    why = match_ranking(gallery, 0, [1, 3], grid=2)[1]
    np.testing.assert_allclose(why.contributions, pair.contributions, atol=1e-5)
    assert why.similarity == pytest.approx(pair.similarity, abs=1e-5)
    assert why.adds_up
    assert why.kind != gallery.similarity


def test_pooled_cells_lie_where_the_cells_lay(gallery):
    why = match_ranking(gallery, 0, [1], grid=(2, 3))[0]
    assert why.grid("query") == (2, 3)
    # cells of 4 pixels, first centre at 1.5; 2 × 2 of them make one of 8 pixels with its centre at 3.5
    assert why.query_geometry.stride == (8, 8)
    assert why.query_geometry.first == (3.5, 3.5)
    assert match_ranking(gallery, 0, [1], grid=None)[0].gallery_geometry == gallery.embedder.geometry


def test_ranking_again(gallery):
    first = gallery.search(0, k=5)
    again = rerank_by_structure(gallery, 0, first, grid=2)
    assert sorted(again.ids) == sorted(first.ids)
    assert again.ranked_by == "structure + cosine"
    assert (np.diff(again.similarities) <= 0).all()
    for place, item in enumerate(again.ids):
        why = match_ranking(gallery, 0, [item], grid=2)[0]
        assert again.similarities[place] == pytest.approx(
            why.similarity + gallery.score(0, [item])[0], abs=1e-5
        )
        was = list(first.ids).index(item)
        assert (again.labels[place], again.names[place]) == (first.labels[was], first.names[was])
        assert again.hits[place] == first.hits[was]
    assert first.ranked_by == "similarity"
    with pytest.raises(TypeError, match="cells"):
        rerank_by_structure(gallery, 0, first, cells=3)


def test_offered():
    (method,) = OFFERED
    assert isinstance(method, Method)
    assert (method.name, method.pairwise, method.linear) == ("structural-matching", True, False)
