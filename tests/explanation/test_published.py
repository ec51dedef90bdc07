"""The published arithmetic against its quadruple loop, and how it differs from the exact decomposition."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.append(str(Path(__file__).parent))  # for planted_maps, which tests of this room share

from planted_maps import picture, planted, some_head, some_maps

import dmlviz as dv
from dmlviz.embedder import LinearHead
from dmlviz.explanation import decompose_similarity, explain_ranking, method_named, published_decomposition
from dmlviz.explanation.published import published_pairs

A, B = picture(0), picture(1)
KNOWN = ["avg", "max", "flatten"]


def slow_cells(head, a):
    """A vector per cell from the weights alone, in loops: no 1/n, no bias, every tied maximum, no eps."""
    channels, h, w = a.shape
    cells = {(i, j): [float(a[c, i, j]) for c in range(channels)] for i in range(h) for j in range(w)}
    if head.pooling == "max":
        for c in range(channels):
            top = max(cell[c] for cell in cells.values())
            for cell in cells.values():
                if cell[c] != top:
                    cell[c] = 0.0
    weight = None if head.linear is None else head.linear.weight.tolist()
    found = {}
    for (i, j), cell in cells.items():
        if head.pooling == "flatten":
            place = i * w + j
            whole = [0.0] * (channels * h * w)
            for c in range(channels):
                whole[c * h * w + place] = cell[c]
            cell = whole
        if weight is not None:
            cell = [sum(x * y for x, y in zip(row, cell, strict=True)) for row in weight]
        if head.batch_norm is not None:
            scale = [
                g / v**0.5
                for g, v in zip(
                    head.batch_norm.weight.tolist(), head.batch_norm.running_var.tolist(), strict=True
                )
            ]
            cell = [x * s for x, s in zip(cell, scale, strict=True)]
        found[i, j] = cell
    return found


def slow_published(head, a, b):
    """The quadruple loop; then divided by the largest, then clipped."""
    left, right = slow_cells(head, a), slow_cells(head, b)
    pairs = np.zeros((*a.shape[1:], *b.shape[1:]))
    for i in range(pairs.shape[0]):
        for j in range(pairs.shape[1]):
            for x in range(pairs.shape[2]):
                for y in range(pairs.shape[3]):
                    pairs[i, j, x, y] = sum(p * q for p, q in zip(left[i, j], right[x, y], strict=True))
    pairs = pairs / pairs.max()
    return np.maximum(pairs, 0)


@settings(deadline=None, max_examples=30)
@given(
    pooling=st.sampled_from(KNOWN),
    linear=st.booleans(),
    batch_norm=st.booleans(),
    grids=st.tuples(*[st.tuples(st.integers(1, 3), st.integers(1, 3))] * 2),
    rounded=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_equals_the_published_loop(pooling, linear, batch_norm, grids, rounded, seed):
    if pooling == "flatten":
        grids = (grids[0], grids[0])  # one flattened length
    cells = grids[0][0] * grids[0][1]
    head = some_head(pooling, linear=linear, batch_norm=batch_norm, seed=seed, channels=4, cells=cells)
    maps = [some_maps(seed + n, 1, 4, grid) * 4 for n, grid in enumerate(grids)]
    if rounded:  # plants ties
        maps = [m.round() for m in maps]
    asker, embedder = (planted(m, head) for m in maps)
    why = published_decomposition(embedder, A, A, query_embedder=asker)
    assert why.contributions.shape == (*grids[0], *grids[1])
    if "no pair is positive" in why.note:
        assert not why.contributions.any()
        return
    expected = slow_published(head, maps[0][0].numpy(), maps[1][0].numpy())
    np.testing.assert_allclose(why.contributions, expected, atol=1e-9)
    for side, axes in (("query", (2, 3)), ("gallery", (0, 1))):
        np.testing.assert_allclose(why.overall_map(side), expected.sum(axes), atol=1e-8)
        assert why.unmapped(side) == 0


def by_hand(head, a, b):
    maps = torch.tensor([a, b], dtype=torch.float64)
    embedder = planted(maps, head)
    exact = decompose_similarity(*(embedder.head.local_embeddings(m) for m in maps), "dot")
    return published_decomposition(embedder, A, B, similarity="dot"), exact


def test_the_offset_is_dropped():
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.bias.fill_(3.0)
    why, exact = by_hand(LinearHead("avg", linear), [[[2.0, 4.0]]], [[[1.0, 1.0]]])
    assert exact.similarity == 6 * 4
    assert why.contributions[0, :, 0, 0].tolist() == [0.5, 1.0]  # 2·1 and 4·1, over the largest
    assert (why.offsets, why.pairs, why.residual) == (0, 3, -21)
    assert not why.promises
    assert exact.offsets == 24 - 3


def test_ties_count_in_full():
    why, exact = by_hand(LinearHead("max"), [[[2.0, 2.0, 1.0]]], [[[5.0, 0.0, 0.0]]])
    assert exact.contributions[0, :, 0, 0].tolist() == [5, 5, 0]  # shared: they sum to the dot product, 10
    assert why.contributions[0, :, 0, 0].tolist() == [1, 1, 0]  # 10 and 10 over 10: each as if it were alone
    lone, _ = by_hand(LinearHead("max"), [[[2.0, 1.0, 1.0]]], [[[5.0, 0.0, 0.0]]])
    assert (why.pairs, lone.pairs) == (2, 1)  # the same score, another sum


def test_dividing_by_the_maximum_forgets_the_score():
    head = LinearHead("avg")
    weak, exact_weak = by_hand(head, [[[1.0, 2.0]]], [[[1.0, 3.0]]])
    strong, exact_strong = by_hand(head, [[[10.0, 20.0]]], [[[1.0, 3.0]]])
    np.testing.assert_allclose(weak.contributions, strong.contributions, atol=1e-15)
    assert exact_strong.similarity == pytest.approx(10 * exact_weak.similarity)


def test_clipping_before_the_sum_keeps_a_cell_that_speaks_against():
    # cell 0 is (1, 0): against (1, 0) it speaks for, against (-3, 0) it speaks against; in sum against
    a = [[[1.0, 0.0]], [[0.0, 1.0]]]
    b = [[[1.0, -3.0]], [[0.0, 0.0]]]
    why, exact = by_hand(LinearHead("avg"), a, b)
    assert exact.overall_map("query").tolist() == [[-0.5, 0.0]]
    assert why.overall_map("query").tolist() == [[1.0, 0.0]]
    assert exact.similarity < 0 < why.total


def test_the_eps_of_batch_normalisation_is_left_out():
    norm = nn.BatchNorm1d(2, eps=1e-3)
    norm.running_var.copy_(torch.tensor([1.0, 1e-3]))
    one_each = [[[1.0, 0.0]], [[0.0, 1.0]]]  # a cell per channel
    why, exact = by_hand(LinearHead("avg", batch_norm=norm).eval(), one_each, [[[1.0, 0.0]], [[1.0, 0.0]]])
    assert why.contributions[0, :, 0, 0] == pytest.approx(
        [1e-3, 1.0]
    )  # 1/variance of either channel, over 1/1e-3
    ratio = exact.contributions[0, :, 0, 0]
    assert ratio[0] / ratio[1] == pytest.approx(2e-3 / 1.001)
    norm.running_var[1] = 0
    with pytest.raises(ValueError, match="running variance of 0, and the published code"):
        by_hand(LinearHead("avg", batch_norm=norm).eval(), [[[1.0]], [[0.0]]], [[[1.0]], [[1.0]]])


def test_all_negative_gives_zeros_and_says_what_the_published_code_would_draw():
    a, b = [[[1.0, 2.0]]], [[[-1.0, -3.0]]]
    why, exact = by_hand(LinearHead("avg"), a, b)
    assert (exact.contributions < 0).all()
    assert not why.contributions.any()
    assert not why.overall_map("gallery").any()
    flipped = slow_published(LinearHead("avg"), np.array(a), np.array(b))
    assert flipped.max() == 6  # the strongest dissimilarity, hottest, far above 1
    assert flipped.argmax() == exact.contributions.argmin()
    assert "draw the strongest dissimilarity hottest, up to 6" in why.note


def test_all_zero_gives_zeros_where_the_published_code_gives_nan():
    zeros, ones = [[[0.0, 0.0]]], [[[1.0, 1.0]]]
    for a, b in ((zeros, ones), (zeros, zeros)):
        with np.errstate(invalid="ignore"):
            assert np.isnan(slow_published(LinearHead("avg"), np.array(a), np.array(b))).all()
        why, _ = by_hand(LinearHead("avg"), a, b)
        assert not why.contributions.any()
        assert "would divide by 0; here all are 0" in why.note
    cosine = published_decomposition(planted(torch.zeros(2, 1, 2, 2), LinearHead("avg")), A, B)
    assert np.isnan(cosine.similarity)
    assert "undefined" in cosine.note


def test_identical_images_peak_on_themselves():
    maps = some_maps(3)
    why = published_decomposition(planted(maps, some_head("avg")), A, A)
    assert why.contributions.max() == 1
    assert why.similarity == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(why.overall_map("query"), why.overall_map("gallery"), atol=1e-12)


def test_pairs_refuse_nothing_but_divide_once():
    pairs, note = published_pairs(np.array([[[3.0]], [[-1.0]]]), np.array([[[2.0]]]))
    assert (pairs.ravel().tolist(), note) == ([1.0, 0.0], "")


def test_other_heads_are_refused_with_the_reason():
    maps = some_maps()
    for pooling in ("gem", "avg+max"):
        embedder = planted(maps, some_head(pooling))
        with pytest.raises(ValueError, match="knows the poolings avg, max, flatten; this head pools by"):
            published_decomposition(embedder, A, B)
    with pytest.raises(ValueError, match="similarity must be one of"):
        published_decomposition(planted(maps, some_head("avg")), A, B, similarity="l2")


def test_by_name_beside_the_exact_one():
    from dmlviz.embedder import birds_embedder

    gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder("max"), progress=False)
    assert method_named("published-decomposition").unsuited(gallery) == ""
    why = explain_ranking(gallery, 0, [1, 3], "published-decomposition")[1]
    exact = explain_ranking(gallery, 0, [3])[0]
    assert why.similarity == exact.similarity == gallery.score(0, [3])[0]
    by_option = explain_ranking(gallery, 0, [3], published=True)[0]
    assert by_option.method == why.method == "published-decomposition"
    np.testing.assert_array_equal(by_option.contributions, why.contributions)
    assert abs(why.residual) > 1
    assert why.note.startswith("published arithmetic: pairs in units of the largest one")
    assert why.point_map("query", 3, 4).shape == (12, 12)
    # without ties and offsets, here, the two differ only by the division and the clipping
    np.testing.assert_allclose(
        why.contributions, np.maximum(exact.contributions / exact.contributions.max(), 0), atol=2e-5
    )
