"""Occlusion: by loops from the formula, by hand, and where it must equal the exact decomposition."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for patch_network, which tests of this room share

import patch_network as patches

from dmlviz.explanation import decompose_similarity
from dmlviz.explanation.black_box import Scores
from dmlviz.explanation.sliding_windows import (
    Windows,
    occlusion,
    occlusion_maps,
    published_maps,
    windows_over,
)

QUIET = {"progress": False}


def scores(whole, covered, used=None):
    covered = np.atleast_2d(np.asarray(covered, dtype=float))
    used = np.ones(covered.shape[1]) if used is None else np.asarray(used, dtype=float)
    return Scores(np.atleast_1d(np.asarray(whole, dtype=float)), covered, used, np.full(len(covered), 1e-6))


def similarity_of(a, b, kind):
    product = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    if kind == "dot":
        return product
    return product / (sum(float(x) ** 2 for x in a) ** 0.5 * sum(float(y) ** 2 for y in b) ** 0.5)


def slow_occlusion(embedder, view, other, window, stride, fill, score):
    """One picture at a time, one pixel at a time, from the formula."""
    height, width = view.shape[:2]

    def starts(size, length, step):
        found, at = [], 0
        while at + length < size:
            found.append(at)
            at += step
        return [*found, size - length]

    total, count = np.zeros((height, width)), np.zeros((height, width))
    whole = score(embedder.embed(view)[0], other)
    for top in starts(height, window[0], stride[0]):
        for left in starts(width, window[1], stride[1]):
            covered = view.copy()
            for row in range(top, top + window[0]):
                for col in range(left, left + window[1]):
                    covered[row, col] = fill
            fall = whole - score(embedder.embed(covered)[0], other)
            for row in range(top, top + window[0]):
                for col in range(left, left + window[1]):
                    total[row, col] += fall
                    count[row, col] += 1
    return total / count


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_both_sides_equal_the_loops(kind):
    embedder = patches.patch_embedder()
    query, item = patches.pictures(2)
    why = occlusion(
        embedder, query, item, similarity=kind, window=(3, 5), stride=(2, 3), fill=(10, 200, 30),
        resolution="pixels", **QUIET,
    )  # fmt: skip
    e_q, e_g = embedder.embed([query, item])

    def score(a, b):
        return similarity_of(a, b, kind)

    for side, view, other in (("query", query, e_g), ("gallery", item, e_q)):
        slow = slow_occlusion(embedder, view, other, (3, 5), (2, 3), (10, 200, 30), score)
        np.testing.assert_allclose(why.overall_map(side), slow, atol=3e-6)
        assert np.abs(slow).max() > 1e-3
    assert why.similarity == pytest.approx(score(e_q, e_g), abs=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_published_form_equals_the_loops(distance):
    embedder = patches.patch_embedder(seed=3)
    query, item = patches.pictures(2, seed=3)
    why = occlusion(
        embedder, query, item, similarity="dot", window=4, stride=2, fill="grey", distance=distance,
        sides=["query"], resolution="pixels", **QUIET,
    )  # fmt: skip
    other = embedder.embed(item)[0]

    def far(a, b):
        if distance == "cosine":
            return 1 - similarity_of(a, b, "cosine")
        return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5

    base, rises = far(embedder.embed(query)[0], other), np.zeros((8, 12))
    counts = np.zeros((8, 12))
    for top in (0, 2, 4):
        for left in (0, 2, 4, 6, 8):
            covered = query.copy()
            covered[top : top + 4, left : left + 4] = 128
            rises[top : top + 4, left : left + 4] += max(far(embedder.embed(covered)[0], other) - base, 0.0)
            counts[top : top + 4, left : left + 4] += 1
    np.testing.assert_allclose(why.query_map, rises / counts, atol=3e-6)
    assert why.query_map.min() >= 0
    assert why.query_map.max() > 1e-3
    assert f"mean rise of the {distance} distance" in why.note


def test_published_distance_is_between_unit_embeddings_under_cosine():
    embedder = patches.patch_embedder(seed=4)
    query, item = patches.pictures(2, seed=4)
    options = {"window": 12, "stride": 12, "fill": "grey", "resolution": "pixels", "sides": ["query"]}
    embedder = patches.patch_embedder((12, 12), seed=4)
    query, item = patches.pictures(2, (12, 12), seed=4)
    why = occlusion(embedder, query, item, distance="euclidean", **options, **QUIET)
    rows = embedder.embed([query, np.full_like(query, 128), item]).astype(float)
    whole, grey, other = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rise = max(np.linalg.norm(grey - other) - np.linalg.norm(whole - other), 0)
    np.testing.assert_allclose(why.query_map, rise, atol=1e-5)


def test_by_hand_on_two_by_two():
    single = Windows((2, 2), (1, 1), (1, 1))
    found = scores(10, [7, 10, 12, 4])
    assert occlusion_maps(single, found).tolist() == [[[3, 0], [-2, 6]]]
    assert published_maps(single, found).tolist() == [[[3, 0], [0, 6]]]
    rows = Windows((2, 2), (1, 2), (1, 1))
    assert occlusion_maps(rows, scores(10, [8, 4])).tolist() == [[[2, 2], [6, 6]]]
    overlapping = Windows((1, 3), (1, 2), (1, 1))
    assert occlusion_maps(overlapping, scores(10, [8, 4])).tolist() == [[[2, 4, 6]]]
    assert published_maps(overlapping, scores(10, [12, 4])).tolist() == [[[0, 3, 6]]]
    unused = scores(10, [8, 0], used=[1, 0])
    assert occlusion_maps(overlapping, unused).tolist() == [[[2, 2, 0]]]


@pytest.mark.parametrize("bias", [False, True])
def test_equals_the_exact_decomposition_less_the_fill(bias):
    """⟨x_i − x_fill, e_g⟩: exact for average pooling over patches, dot product, windows = patches."""
    embedder = patches.patch_embedder(seed=1, bias=bias)
    assert embedder.geometry.receptive_field == embedder.geometry.stride
    query, item = patches.pictures(2, seed=1)
    exact = decompose_similarity(*embedder.local_embeddings([query, item], dtype="float64"), similarity="dot")
    why = occlusion(
        embedder,
        query,
        item,
        similarity="dot",
        window=patches.PATCH,
        stride=patches.PATCH,
        fill=(200, 40, 90),
        **QUIET,
    )
    grey = embedder.local_embeddings(np.full_like(query, (200, 40, 90)), dtype="float64")
    for side, other in (("query", exact.gallery_local), ("gallery", exact.query_local)):
        of_fill = grey.vectors @ other.embedding
        assert np.abs(of_fill).max() > 1e-3
        np.testing.assert_allclose(why.overall_map(side) + of_fill, exact.overall_map(side), atol=2e-5)
    constant = exact.unmapped("query") + (grey.vectors @ exact.gallery_local.embedding).sum()
    assert why.residual == pytest.approx(-constant, abs=1e-4)


def test_max_pooling_is_no_such_case():
    """The relation can fail: under max pooling another cell takes over what is covered."""
    embedder = patches.patch_embedder(seed=1, pooling="max")
    query, item = patches.pictures(2, seed=1)
    exact = decompose_similarity(*embedder.local_embeddings([query, item], dtype="float64"), similarity="dot")
    why = occlusion(embedder, query, item, similarity="dot", window=4, stride=4, fill="grey", **QUIET)
    of_fill = embedder.local_embeddings(np.full_like(query, 128), dtype="float64").vectors
    gap = why.query_map + of_fill @ exact.gallery_local.embedding - exact.overall_map("query")
    assert np.abs(gap).max() > 1e-3


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_every_pixel_is_covered_and_the_budget_is_kept(data):
    view = data.draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    window = tuple(data.draw(st.integers(1, size)) for size in view)
    stride = tuple(data.draw(st.integers(1, size)) for size in window)
    budget = data.draw(st.none() | st.integers(1, 60))
    fewest = -(-view[0] // window[0]) * -(-view[1] // window[1])
    if budget is not None and budget < fewest:
        with pytest.raises(ValueError, match=f"that leave no gap need {fewest}"):
            windows_over(view, window, stride, budget)
        return
    windows, said = windows_over(view, window, stride, budget)
    keep = windows.keep(0, len(windows))
    assert keep.shape == (len(windows), *view)
    assert budget is None or len(windows) <= budget
    assert ((1 - keep).sum(axis=(1, 2)) == window[0] * window[1]).all()
    assert ((1 - keep).sum(axis=0) >= 1).all()
    assert bool(said) == (len(windows) < len(windows_over(view, window, stride)[0]))


def test_the_usual_windows():
    windows, said = windows_over((224, 224))
    assert (windows.window, windows.stride, len(windows), said) == ((44, 44), (18, 18), 121, "")
    assert [len(windows_over((side, side))[0]) for side in (96, 112, 224)] == [121, 121, 121]
    assert windows_over((3, 2))[0].window == (1, 1)


def test_the_difference_of_two_maps_is_the_map_of_the_difference():
    embedder = patches.patch_embedder(seed=5)
    query, one, two = patches.pictures(3, seed=5)
    windows = Windows((8, 12), (3, 3), (2, 2))
    options = {"window": 3, "stride": 2, "fill": "grey", "sides": ["query"], "resolution": "pixels"}
    maps = [occlusion(embedder, query, item, **options, **QUIET).query_map for item in (one, two)]
    covered = []
    for keep in windows.keep(0, len(windows)):
        covered.append(np.where(keep[..., None] > 0, query, 128).astype(np.uint8))
    rows = embedder.embed([query, *covered]).astype(float)
    others = embedder.embed([one, two]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    lead = rows @ (others[0] - others[1])
    expected = occlusion_maps(windows, scores(lead[0], lead[1:]))[0]
    np.testing.assert_allclose(maps[0] - maps[1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"window": 13}, ValueError, r"fit into the view of 8 × 12 pixels \(height × width\); got 13 × 13"),
        ({"window": (9, 3)}, ValueError, "must fit into the view"),
        ({"window": 0}, ValueError, "window must be at least 1, got 0"),
        ({"window": 2.5}, TypeError, r"window must be a whole number, got 2\.5"),
        ({"window": (1, 2, 3)}, ValueError, r"window must be one number or \(height, width\)"),
        ({"window": 3, "stride": 4}, ValueError, "a stride above the window leaves pixels"),
        ({"distance": "manhattan"}, ValueError, "distance must be None .* or one of 'euclidean', 'cosine'"),
        ({"fill": "pink"}, ValueError, "fill must be 'mean', 'grey', 'blur' or a colour"),
        ({"fill": (1, 2)}, ValueError, "a colour of three numbers from 0 to 255"),
        ({"fill": (0, 0, 300)}, ValueError, "a colour of three numbers from 0 to 255"),
        ({"fill": object()}, ValueError, "a colour of three numbers from 0 to 255"),
        ({"sides": ["left"]}, ValueError, "sides must hold 'query', 'gallery' or both"),
        ({"sides": []}, ValueError, "sides must hold 'query', 'gallery' or both"),
        ({"resolution": "stamps"}, ValueError, "resolution must be 'cells' or 'pixels'"),
        ({"budget": 0}, ValueError, "budget, the most forward passes, must be at least 1, got 0"),
        ({"budget": 1.5}, TypeError, "budget, the most forward passes, must be a whole number"),
        ({"batch_size": None}, TypeError, "batch_size must be a whole number"),
        ({"window": 2, "budget": 3}, ValueError, "allows 1 forward passes for each picture"),
        (
            {"similarity": "hamming"},
            ValueError,
            "similarity must be one of 'cosine', 'dot', 'l2' for 'occlusion'",
        ),
    ],
)
def test_what_cannot_be_is_refused(options, error, words):
    query, item = patches.pictures(2)
    with pytest.raises(error, match=words):
        occlusion(patches.patch_embedder(), query, item, **options, **QUIET)


def test_equals_captum_where_it_is_installed():
    attr = pytest.importorskip("captum.attr")
    embedder = patches.patch_embedder(seed=6)
    query, item = patches.pictures(2, seed=6)
    other = torch.from_numpy(embedder.embed(item)[0])

    @torch.no_grad()
    def score(inputs):
        return embedder.head(embedder.trunk(inputs)) @ other

    inputs, grey = (
        torch.from_numpy(embedder.preprocess.array(view))[None] for view in (query, np.full_like(query, 128))
    )
    theirs = attr.Occlusion(score).attribute(inputs, (3, 4, 4), (3, 2, 4), baselines=grey)[0, 0]
    options = {"similarity": "dot", "window": 4, "stride": (2, 4), "fill": "grey", "resolution": "pixels"}
    ours = occlusion(embedder, query, item, sides=["query"], **options, **QUIET).query_map
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
    assert np.abs(ours).max() > 0.01
