"""The identity: pairs + offsets = similarity, by loops, by hand and over random cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation import SIDES, SIMILARITIES, decompose_similarity
from dmlviz.explanation.interpolation import between_cells


def random_local(rng, h, w, dimension, dtype=np.float64, spread=1.0):
    return LocalEmbeddings(
        (rng.normal(size=(h, w, dimension)) * spread).astype(dtype),
        (rng.normal(size=dimension) * spread).astype(dtype),
    )


def slow_decomposition(query, gallery, similarity):
    """Loops over cells and dimensions, from the equations, in float64."""
    hq, wq, dimension = query.vectors.shape
    hg, wg, _ = gallery.vectors.shape

    def embedding(local):
        total = [float(b) for b in local.offset]
        for row in local.vectors:
            for cell in row:
                for d in range(dimension):
                    total[d] += float(cell[d])
        return total

    def dot(a, b):
        return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))

    e_q, e_g = embedding(query), embedding(gallery)
    s = {"dot": 1.0, "l2": 2.0}.get(similarity) or 1.0 / (dot(e_q, e_q) ** 0.5 * dot(e_g, e_g) ** 0.5)
    own = 1.0 if similarity == "l2" else 0.0  # −‖e‖² of each image, over its cells and its offset
    pairs = np.zeros((hq, wq, hg, wg))
    for i in range(hq):
        for j in range(wq):
            for k in range(hg):
                for m in range(wg):
                    pairs[i, j, k, m] = s * dot(query.vectors[i, j], gallery.vectors[k, m])
    of_query = np.array(
        [
            [s * dot(x, gallery.offset) - own * dot(x, e_q) for x in (query.vectors[i, j] for j in range(wq))]
            for i in range(hq)
        ]
    )
    of_gallery = np.array(
        [
            [s * dot(x, query.offset) - own * dot(x, e_g) for x in (gallery.vectors[k, m] for m in range(wg))]
            for k in range(hg)
        ]
    )
    constant = s * dot(query.offset, gallery.offset) - own * (
        dot(query.offset, e_q) + dot(gallery.offset, e_g)
    )
    score = s * dot(e_q, e_g)
    if similarity == "l2":
        score = -sum((a - b) ** 2 for a, b in zip(e_q, e_g, strict=True))
    return pairs, of_query, of_gallery, constant, score


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_equals_the_loops(similarity):
    rng = np.random.default_rng(0)
    query, gallery = random_local(rng, 2, 3, 4), random_local(rng, 3, 1, 4)
    why = decompose_similarity(query, gallery, similarity)
    pairs, of_query, of_gallery, constant, score = slow_decomposition(query, gallery, similarity)
    np.testing.assert_allclose(why.contributions, pairs, atol=1e-14)
    np.testing.assert_allclose(why.query_offset, of_query, atol=2e-14)
    np.testing.assert_allclose(why.gallery_offset, of_gallery, atol=2e-14)
    assert why.constant == pytest.approx(constant, abs=2e-14)
    assert why.similarity == pytest.approx(score, abs=2e-14)
    assert why.kind == similarity


def test_two_by_two_by_hand():
    # query: cells (1,0) (0,1) / (1,1) (0,0), offset (1,0), e = (3,2)
    # gallery: one cell (2,0), offset (0,-1), e = (2,-1)
    query = LocalEmbeddings(np.array([[[1.0, 0], [0, 1]], [[1, 1], [0, 0]]]), np.array([1.0, 0]))
    gallery = LocalEmbeddings(np.array([[[2.0, 0]]]), np.array([0.0, -1]))
    why = decompose_similarity(query, gallery, "dot")
    assert why.contributions[..., 0, 0].tolist() == [[2, 0], [2, 0]]
    assert why.query_offset.tolist() == [[0, -1], [-1, 0]]
    assert why.gallery_offset.tolist() == [[2]]
    assert (why.constant, why.pairs, why.offsets, why.similarity, why.residual) == (0, 4, 0, 4, 0)
    assert why.overall_map("query").tolist() == [[2, -1], [1, 0]]
    assert why.overall_map("gallery").tolist() == [[6]]
    assert (why.unmapped("query"), why.unmapped("gallery")) == (2, -2)
    assert why.speaks_for == 4
    assert why.speaks_against == 0
    near = decompose_similarity(query, gallery, "l2")  # 2 times the pairs, less <x, (3,2)> and <x, (2,-1)>
    assert near.contributions[..., 0, 0].tolist() == [[4, 0], [4, 0]]
    assert near.query_offset.tolist() == [[-3, -4], [-7, 0]]
    assert near.gallery_offset.tolist() == [[0]]
    assert near.constant == 0 - 3 - 1
    assert (near.pairs, near.offsets, near.similarity, near.residual) == (8, -18, -10, 0)
    assert near.overall_map("query").tolist() == [[1, -4], [-3, 0]]  # <x, 2 (2,-1) - (3,2)>
    assert near.unmapped("query") == -4
    cosine = decompose_similarity(query, gallery, "cosine")
    lengths = 13**0.5 * 5**0.5
    assert cosine.similarity == pytest.approx(4 / lengths, abs=1e-15)
    np.testing.assert_allclose(cosine.contributions, why.contributions / lengths, atol=1e-15)


grids = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    query_grid=grids,
    gallery_grid=grids,
    dimension=st.integers(1, 9),
    similarity=st.sampled_from(SIMILARITIES),
    dtype=st.sampled_from([np.float32, np.float64]),
    spread=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_adds_up_and_maps_conserve(seed, query_grid, gallery_grid, dimension, similarity, dtype, spread):
    rng = np.random.default_rng(seed)
    query = random_local(rng, *query_grid, dimension, dtype, spread)
    gallery = random_local(rng, *gallery_grid, dimension, dtype, spread)
    lengths = np.linalg.norm(query.embedding), np.linalg.norm(gallery.embedding)
    if min(lengths) < 1e-2 * spread:  # nearly cancelled embeddings: a cosine amplifies their rounding
        return
    why = decompose_similarity(query, gallery, similarity)
    assert why.contributions.shape == (*query_grid, *gallery_grid)
    assert why.contributions.dtype == dtype
    # rounding grows with the sum of magnitudes, which cancel to the score
    mass = float(np.abs(why.contributions).sum()) + abs(why.offsets) + abs(why.similarity)
    bound = (1e-12 if dtype == np.float64 else 2e-6) * max(1.0, mass)
    assert abs(why.residual) <= bound
    for side in SIDES:
        mapped = float(why.overall_map(side).sum(dtype=np.float64)) + why.unmapped(side)
        assert mapped == pytest.approx(why.total, abs=bound)
    assert why.speaks_for + why.speaks_against == pytest.approx(why.pairs, abs=bound)


def test_swapping_the_images_transposes_the_pairs():
    rng = np.random.default_rng(1)
    a, b = random_local(rng, 2, 3, 5), random_local(rng, 4, 2, 5)
    there, back = decompose_similarity(a, b), decompose_similarity(b, a)
    np.testing.assert_allclose(there.contributions, back.contributions.transpose(2, 3, 0, 1), atol=1e-15)
    np.testing.assert_allclose(there.query_offset, back.gallery_offset, atol=1e-15)
    np.testing.assert_allclose(there.point_map("query", 1, 2), back.point_map("gallery", 1, 2), atol=1e-15)


def test_dropping_the_offsets_misses_exactly_their_sum():
    rng = np.random.default_rng(2)
    a, b = random_local(rng, 3, 3, 4), random_local(rng, 3, 3, 4)
    why = decompose_similarity(a, b)
    assert abs(why.similarity - why.pairs) > 1e-3
    assert why.similarity - why.pairs == pytest.approx(why.offsets, abs=1e-12)


def test_an_embedding_without_length_has_no_cosine_and_empty_maps():
    nothing = LocalEmbeddings(np.zeros((2, 2, 3)), np.zeros(3))
    some = LocalEmbeddings(np.ones((2, 2, 3)), np.zeros(3))
    why = decompose_similarity(nothing, some)
    assert np.isnan(why.similarity)
    assert np.isnan(why.residual)
    assert not why.adds_up
    assert not why.contributions.any()
    assert not why.overall_map("gallery").any()
    assert "undefined" in why.note
    assert "undefined" in repr(why)
    assert decompose_similarity(nothing, some, "dot").similarity == 0


def test_a_point_between_cells_is_mixed_and_the_edge_is_repeated():
    rng = np.random.default_rng(3)
    query, gallery = random_local(rng, 3, 4, 5), random_local(rng, 2, 2, 5)
    why = decompose_similarity(query, gallery)
    corner = why.point_map("query", -0.5, -0.5)
    np.testing.assert_allclose(corner, why.contributions[0, 0], atol=1e-15)
    mixed = why.point_map("query", 1.25, 2.5)
    by_hand = (
        0.75 * 0.5 * why.contributions[1, 2]
        + 0.75 * 0.5 * why.contributions[1, 3]
        + 0.25 * 0.5 * why.contributions[2, 2]
        + 0.25 * 0.5 * why.contributions[2, 3]
    )
    np.testing.assert_allclose(mixed, by_hand, atol=1e-15)
    offset_there = float(between_cells(why.query_offset[..., None], 1.25, 2.5)[0])
    assert why.contribution("query", 1.25, 2.5) == pytest.approx(mixed.sum() + offset_there, abs=1e-14)


def test_point_maps_of_all_cells_sum_to_the_pairs():
    rng = np.random.default_rng(4)
    why = decompose_similarity(random_local(rng, 2, 3, 4), random_local(rng, 3, 2, 4))
    total = sum(why.point_map("gallery", i, j).sum() for i in range(3) for j in range(2))
    assert total == pytest.approx(why.pairs, abs=1e-13)


def test_likeness_ignores_weight_and_contribution_does_not():
    query = LocalEmbeddings(np.array([[[1.0, 0], [0, 1]]]), np.zeros(2))
    gallery = LocalEmbeddings(np.array([[[10.0, 0], [0.1, 0], [0, 0]]]), np.zeros(2))
    why = decompose_similarity(query, gallery, "dot")
    np.testing.assert_allclose(why.likeness_map("query", 0, 0), [[1, 1, 0]])
    np.testing.assert_allclose(why.point_map("query", 0, 0), [[10, 0.1, 0]])


@pytest.mark.parametrize(("row", "col"), [(-0.6, 0), (0, 1.6), (float("nan"), 0), (0, float("inf"))])
def test_a_point_outside_the_map_is_refused(row, col):
    rng = np.random.default_rng(5)
    why = decompose_similarity(random_local(rng, 2, 2, 3), random_local(rng, 2, 2, 3))
    with pytest.raises(ValueError, match=r"must lie on the map, from -0\.5 to 1\.5 cells; got"):
        why.point_map("query", row, col)


def test_bad_input_is_refused_in_words():
    rng = np.random.default_rng(6)
    a, b = random_local(rng, 2, 2, 3), random_local(rng, 2, 2, 4)
    with pytest.raises(ValueError, match="got 3 dimensions for the query and 4 for the gallery image"):
        decompose_similarity(a, b)
    with pytest.raises(ValueError, match="similarity must be one of 'cosine', 'dot', 'l2'; got 'l1'"):
        decompose_similarity(a, a, "l1")
    broken = LocalEmbeddings(np.full((2, 2, 3), np.nan), np.zeros(3))
    with pytest.raises(ValueError, match="gallery's local embeddings must be finite"):
        decompose_similarity(a, broken)
    why = decompose_similarity(a, a)
    with pytest.raises(ValueError, match="side must be one of 'query', 'gallery'; got 'match'"):
        why.overall_map("match")


def test_a_residual_above_tolerance_is_shown():
    from dataclasses import replace

    rng = np.random.default_rng(7)
    why = decompose_similarity(random_local(rng, 2, 2, 3), random_local(rng, 2, 2, 3))
    off = replace(why, similarity=why.similarity + 0.01)
    assert why.adds_up
    assert not off.adds_up
    assert off.residual == pytest.approx(-0.01, abs=1e-12)
    assert "DOES NOT ADD UP" in repr(off)
