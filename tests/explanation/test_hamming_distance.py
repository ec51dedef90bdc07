import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.explanation import decompose_hamming, explain, hamming, hamming_bits


@pytest.fixture(scope="module")
def demo():
    birds = dv.birds(families=1, per_class=3)
    return dv.Gallery.build(birds, birds_embedder("avg"), progress=False)


def local(rng, grid, dimension=6):
    return dv.LocalEmbeddings(rng.normal(size=(*grid, dimension)), rng.normal(size=dimension))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_distance_is_that_of_the_codes_and_the_shares_sum_to_it(seed):
    rng = np.random.default_rng(seed)
    q, g = local(rng, (2, 2)), local(rng, (1, 3))
    d = 0
    for k in range(6):
        zq = sum(q.vectors[i][k] for i in np.ndindex(2, 2)) + q.offset[k]
        zg = sum(g.vectors[i][k] for i in np.ndindex(1, 3)) + g.offset[k]
        d += (zq > 0) != (zg > 0)
    bits = hamming_bits(q, g)
    why = decompose_hamming(q, g)
    assert bits.distance == d
    assert why.similarity == -d
    assert abs(why.residual) <= why.tolerance
    assert why.promises is False
    assert "surrogate" not in why.note
    assert "no sums" in why.note


def test_the_slow_twin_of_the_surrogate():
    rng = np.random.default_rng(5)
    q, g = local(rng, (2, 1)), local(rng, (2, 2))
    zq, zg = q.vectors.sum((0, 1)) + q.offset, g.vectors.sum((0, 1)) + g.offset
    slow = np.zeros((2, 1, 2, 2))
    for i in np.ndindex(2, 1):
        for j in np.ndindex(2, 2):
            for k in range(6):
                slow[i + j] += 0.5 * (q.vectors[i][k] / abs(zq[k])) * (g.vectors[j][k] / abs(zg[k]))
    np.testing.assert_allclose(decompose_hamming(q, g).contributions, slow, rtol=1e-12)


def test_a_component_of_zero_is_a_cleared_bit_without_shares():
    q = dv.LocalEmbeddings(np.array([[[1.0, 2.0], [-1.0, 1.0]]]), np.zeros(2))  # z = (0, 3)
    g = dv.LocalEmbeddings(np.array([[[2.0, 1.0]]]), np.zeros(2))  # z = (2, 1)
    why = decompose_hamming(q, g)
    assert hamming_bits(q, g).differs.tolist() == [True, False]
    assert why.similarity == -1
    assert abs(why.residual) < 1e-12
    np.testing.assert_allclose(why.contributions[0, :, 0, 0], [1 / 3, 1 / 6])  # of the second bit only
    zero = dv.LocalEmbeddings(np.zeros((2, 2, 2)), np.zeros(2))
    assert decompose_hamming(zero, zero).similarity == 0
    assert abs(decompose_hamming(zero, zero).residual) < 1e-12


def test_on_a_gallery(demo):
    best = int(demo.search(0, k=1).ids[0])
    why = explain(demo, 0, best, method="hamming")
    codes = demo.embeddings[[0, best]] > 0
    assert why.similarity == -float((codes[0] != codes[1]).sum())
    assert why.kind == "Hamming"
    assert why.method == "hamming"
    assert hamming(demo.embedder, demo.images[0], demo.images[best]).similarity == why.similarity


def test_other_dimensions_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="same space"):
        hamming_bits(local(rng, (1, 1)), local(rng, (1, 1), 5))
