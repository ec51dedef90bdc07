"""CAM: by loops, by hand, for every head, and where there is no classifier."""

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
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.explanation import cam, methods_for
from dmlviz.images import Preprocess

A, B = picture(0), picture(1)


def some_classifier(classes, features, bias=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, features, generator=generator, dtype=torch.float64)
    return weight, torch.randn(classes, generator=generator, dtype=torch.float64) if bias else None


def as_linear(weight, bias):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear


def slow_cam(a, weights):
    """Σ_k w_k A_k at each cell, over the number of cells, in loops (Zhou et al., eq. 2)."""
    channels, h, w = a.shape
    found = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            for k in range(channels):
                found[i, j] += float(weights[k]) * float(a[k, i, j]) / (h * w)
    return found


def test_equals_the_loops_on_averages():
    maps, (weight, bias) = some_maps(1, signed=True), some_classifier(4, 6)
    logits = (maps.mean((2, 3)) @ weight.T + bias).numpy()
    for target in (None, 0, 3, np.int64(2)):
        why = cam(planted(maps, LinearHead("avg")), A, B, classifier=(weight, bias), target=target)
        chosen = int(logits[0].argmax()) if target is None else int(target)
        np.testing.assert_allclose(why.query_map, slow_cam(maps[0], weight[chosen]), atol=1e-14)
        np.testing.assert_allclose(why.gallery_map, slow_cam(maps[1], weight[chosen]), atol=1e-14)
        assert why.similarity == pytest.approx(logits[0, chosen], abs=1e-13)
        assert why.query_map.sum() == pytest.approx(logits[0, chosen] - float(bias[chosen]), abs=1e-13)
        assert why.gallery_map.sum() == pytest.approx(logits[1, chosen] - float(bias[chosen]), abs=1e-13)
        assert f"maps of class {chosen} " in why.note
    assert (why.kind, why.promises) == ("class logit", False)
    assert abs(why.residual) < 1e-13


@settings(deadline=None, max_examples=30)
@given(
    pooling=st.sampled_from(["avg", "max", "avg+max", "gem", "flatten"]),
    batch_norm=st.booleans(),
    reads=st.sampled_from(["embedding", "pooled"]),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_maps_and_constant_are_the_networks_own_logit(pooling, batch_norm, reads, bias, seed):
    head, maps = some_head(pooling, batch_norm=batch_norm, seed=seed), some_maps(seed)
    bare = LinearHead(pooling).double()
    with torch.no_grad():
        read = (head if reads == "embedding" else bare)(maps)
    weight, offset = some_classifier(3, read.shape[1], bias, seed)
    logits = read @ weight.T + (0 if offset is None else offset)
    why = cam(planted(maps, head), A, B, classifier=as_linear(weight, offset), reads=reads)
    chosen = int(logits[0].argmax())
    assert why.similarity == pytest.approx(float(logits[0, chosen]), abs=1e-10)
    assert why.total == pytest.approx(float(logits[0, chosen]), abs=1e-10)
    of_match = why.gallery_map.sum() + why.constant  # one network: the same bias
    assert of_match == pytest.approx(float(logits[1, chosen]), abs=1e-10)


def test_two_by_one_by_hand():
    maps = torch.tensor(
        [[[[1.0], [3.0]], [[2.0], [0.0]]], [[[0.0], [0.0]], [[0.0], [8.0]]]], dtype=torch.float64
    )
    classifier = (np.array([[1.0, 0.0], [1.0, -2.0]]), np.array([0.5, 0.0]))
    why = cam(planted(maps, LinearHead("avg")), A, B, classifier=classifier)
    assert (why.query_map.tolist(), why.gallery_map.tolist()) == ([[0.5], [1.5]], [[0], [0]])
    assert (why.similarity, why.constant) == (2.5, 0.5)
    assert "each sums to its logit less the bias: query +2.5 − (+0.5), match +0.5 − (+0.5)" in why.note
    other = cam(planted(maps, LinearHead("avg")), A, B, classifier=classifier, target=1)
    assert (other.query_map.tolist(), other.gallery_map.tolist()) == ([[-1.5], [1.5]], [[0], [-8]])
    assert "maps of class 1 (as asked)" in other.note


def test_the_embedders_own_classifier_is_used():
    maps, (weight, bias) = some_maps(2), some_classifier(4, 6)
    own = planted(maps, LinearHead("avg"), classifier=as_linear(weight, bias))
    expected = cam(planted(maps, LinearHead("avg")), A, B, classifier=(weight, bias))
    np.testing.assert_array_equal(cam(own, A, B).query_map, expected.query_map)
    assert own.classifier.weight.grad is None


def test_two_networks_each_with_its_own_classifier():
    maps, several = some_maps(3), [some_classifier(4, 6, seed=n) for n in (0, 1)]
    asker, embedder = (planted(maps, LinearHead("avg"), classifier=as_linear(*c)) for c in several)
    why = cam(embedder, A, B, query_embedder=asker, target=2)
    np.testing.assert_allclose(why.query_map, slow_cam(maps[0], several[0][0][2]), atol=1e-14)
    np.testing.assert_allclose(why.gallery_map, slow_cam(maps[1], several[1][0][2]), atol=1e-14)
    fewer = planted(maps, LinearHead("avg"), classifier=as_linear(*some_classifier(3, 6)))
    with pytest.raises(ValueError, match="the same classes; got 4 for the query and 3 for the gallery image"):
        cam(fewer, A, B, query_embedder=asker)


def test_zero_maps_tied_logits_and_identical_images():
    zeros = torch.zeros(2, 6, 2, 2, dtype=torch.float64)
    weight, _ = some_classifier(3, 6)
    why = cam(planted(zeros, LinearHead("avg")), A, B, classifier=(weight, None))
    assert not why.query_map.any()
    assert (why.similarity, why.total) == (0, 0)
    assert "maps of class 0 (the query's first class)" in why.note  # all tie at 0: the first
    negative = cam(planted(some_maps(4), LinearHead("avg")), A, A, classifier=(-weight.abs(), None))
    assert (negative.query_map < 0).all()
    np.testing.assert_array_equal(negative.query_map, negative.gallery_map)


def test_a_head_without_closed_form_can_be_read_at_its_embedding():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 4, 4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 5),
            nn.Tanh(),
        ).double()
    embedder = Embedder.from_module(model, Preprocess.stretch(16), head="linearised")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    weight, bias = some_classifier(3, 5)
    why = cam(embedder, image, image, classifier=(weight, bias))
    with torch.no_grad():
        logits = model(torch.from_numpy(embedder.preprocess(image)[None]).double()) @ weight.T + bias
    assert why.total == pytest.approx(float(logits.max()), abs=1e-10)
    with pytest.raises(
        ValueError, match="reads 6 numbers, and the network has embedding 5; pass the classifier"
    ):
        cam(embedder, image, image, classifier=some_classifier(3, 6))


def test_bad_input_is_refused_in_words():
    maps = some_maps()
    embedder = planted(maps, LinearHead("avg"))
    weight, bias = some_classifier(3, 6)
    with pytest.raises(ValueError, match=r"'planted' has no classifier.*; pass classifier="):
        cam(embedder, A, B)
    with pytest.raises(ValueError, match="reads 5 numbers, and the network has embedding 6, pooled 6"):
        cam(embedder, A, B, classifier=(weight[:, :5], bias))
    with pytest.raises(ValueError, match="reads must be one of 'embedding', 'pooled' or None; got 'cells'"):
        cam(embedder, A, B, classifier=(weight, bias), reads="cells")
    square = planted(maps, some_head("avg", dim=6))
    with pytest.raises(ValueError, match="both have 6 numbers, so it is open which of them"):
        cam(square, A, B, classifier=(weight, bias))
    assert cam(square, A, B, classifier=(weight, bias), reads="pooled").query_map.any()
    with pytest.raises(IndexError, match="target must be a class from 0 to 2, got 3"):
        cam(embedder, A, B, classifier=(weight, bias), target=3)
    with pytest.raises(IndexError, match="got -1"):
        cam(embedder, A, B, classifier=(weight, bias), target=-1)
    with pytest.raises(TypeError, match="target must be the number of a class, got str"):
        cam(embedder, A, B, classifier=(weight, bias), target="cat")
    with pytest.raises(TypeError, match=r"an nn\.Linear or \(weight, bias\), got Sequential"):
        cam(embedder, A, B, classifier=nn.Sequential())
    with pytest.raises(
        ValueError, match=r"a weight \(K, F\) and a bias \(K,\) or None, got \(3, 6\) and \(2,\)"
    ):
        cam(embedder, A, B, classifier=(weight, bias[:2]))
    with pytest.raises(ValueError, match="the classifier's weight holds NaN"):
        cam(embedder, A, B, classifier=(weight * float("nan"), bias))
    with pytest.raises(TypeError, match="the classifier's bias must hold real numbers, got <U1"):
        cam(embedder, A, B, classifier=(weight, ["a", "b", "c"]))


def test_by_name_with_the_embedders_classifier_or_one_that_is_given():
    birds = birds_embedder()
    images = dv.birds(families=1, per_class=2)
    gallery = dv.Gallery.build(images, birds, progress=False)
    reason = methods_for(gallery)["cam"]
    assert "has no classifier" in reason
    with pytest.raises(ValueError, match=r"'cam' does not suit this gallery: .* has no classifier"):
        dv.explain(gallery, 0, 1, "cam")
    weight, bias = (t.float() for t in some_classifier(5, 64))
    given = dv.explain(gallery, 0, 1, "cam", classifier=(weight, bias), target=4)
    birds.classifier = as_linear(weight, bias)
    assert methods_for(gallery)["cam"] == ""
    own = dv.explain(gallery, 0, 1, "cam", target=4)
    np.testing.assert_array_equal(own.query_map, given.query_map)
    logit = float(gallery.embeddings[0] @ weight[4].numpy() + bias[4].item())
    assert own.similarity == pytest.approx(logit, abs=1e-4)
    assert own.adds_up
