"""Integrated Jacobians: hand cases, twins by many small steps and finite differences, heads that nothing folds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder import Embedder, LinearHead
from dmlviz.embedder.integrated import integrated_local_embeddings
from dmlviz.embedder.jacobian import contracted
from dmlviz.embedder.path_integral import gauss_legendre, integrated_products
from dmlviz.images import Preprocess

FEED = Preprocess.stretch(16)
RNG = np.random.default_rng(2)
IMAGES = [RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(4)]


class Model(nn.Module):
    """Three layers of convolution and whatever is done with their feature map."""

    def __init__(self, after, seed=0, **parts):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.low = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.Tanh())
            self.trunk = nn.Sequential(self.low, nn.Conv2d(5, 6, 3, 2, 1), nn.ReLU())
            self.after = after
            for name, part in parts.items():
                setattr(self, name, part())
                with torch.no_grad():
                    getattr(self, name).weight.mul_(8)  # far from straight

    def forward(self, images):
        return self.after(self, self.trunk(images))


def attention_pooled(model, x):
    tokens = x.flatten(2).transpose(1, 2)
    return model.value((model.score(tokens).softmax(1) * tokens).sum(1))


BENT = {
    "MLP with GELU": Model(
        lambda s, x: s.b(F.gelu(s.a(x.mean((2, 3))))), a=lambda: nn.Linear(6, 9), b=lambda: nn.Linear(9, 4)
    ),
    "attention pooling": Model(
        attention_pooled, score=lambda: nn.Linear(6, 1), value=lambda: nn.Linear(6, 4)
    ),
    "softmax at the end": Model(lambda s, x: s.a(x.flatten(1)).softmax(1), a=lambda: nn.Linear(96, 20)),
}
KINKED = Model(
    lambda s, x: s.b(F.relu(s.a(x.mean((2, 3))))), a=lambda: nn.Linear(6, 9), b=lambda: nn.Linear(9, 4)
)


def embedder_of(model):
    return Embedder.from_module(model, FEED, head="linearised")


def maps_of(embedder, picture):
    return embedder._in_double()[0](embedder._to_input([picture]).double())[0].detach()


def by_small_steps(function, x, start, steps):
    """The midpoint sum over small steps with a Jacobian by central differences, cell by cell, in plain loops."""
    _, h, w = x.shape
    delta, found = x - start, None
    for step in range(steps):
        at = start + (step + 0.5) / steps * delta
        rows = []
        for i in range(h):
            for j in range(w):
                alone = torch.zeros_like(delta)
                alone[:, i, j] = delta[:, i, j] * 1e-5
                rows.append((function(at + alone) - function(at - alone)) / 2e-5 / steps)
        part = torch.stack(rows)
        found = part if found is None else found + part
    return found.numpy()


def test_a_hand_case_with_one_node():
    def product(x):  # bilinear in two halves of the map: f(a) = a₁·a₂ + a₃
        return torch.stack([x[0, 0, 0] * x[0, 0, 1] + x[0, 0, 2]])

    x = torch.tensor([[[2.0, 3.0, 5.0]]], dtype=torch.float64)
    found = integrated_products(product, x, torch.zeros_like(x), torch.arange(3).reshape(1, 1, 3), nodes=1)
    # ∫ t·3·2 dt = 3 for either factor, 5 for what is added
    assert found[:, 0].tolist() == pytest.approx([3, 3, 5], abs=1e-15)
    start = torch.tensor([[[1.0, 1.0, 0.0]]], dtype=torch.float64)
    found = integrated_products(product, x, start, torch.arange(3).reshape(1, 1, 3), nodes=1)
    # the first factor goes 1 -> 2 while the second is 2 on average; the other way round 2 · 1.5
    assert found[:, 0].tolist() == pytest.approx([2, 3, 5], abs=1e-15)


@settings(deadline=None, max_examples=25)
@given(nodes=st.integers(1, 12), degree=st.integers(0, 23))
def test_nodes_are_exact_up_to_their_degree(nodes, degree):
    places, weights = gauss_legendre(nodes)
    value = float(weights @ places**degree)
    if degree <= 2 * nodes - 1:
        assert value == pytest.approx(1 / (degree + 1), abs=1e-12)
    else:
        assert value < 1 / (degree + 1)


@pytest.mark.parametrize("name", BENT)
def test_against_many_small_steps_and_finite_differences(name):
    embedder = embedder_of(BENT[name])
    assert not embedder.exact
    (found,) = integrated_local_embeddings(embedder, IMAGES[:1], nodes=24, dtype="float64")
    head = embedder._in_double()[1]
    x = maps_of(embedder, IMAGES[0])
    slow = by_small_steps(lambda a: head(a[None])[0].detach(), x, torch.zeros_like(x), steps=40)
    fast = found.local.vectors.reshape(slow.shape)
    np.testing.assert_allclose(fast, slow, atol=2e-3 * np.abs(slow).max())
    np.testing.assert_allclose(found.embedding, head(x[None])[0].detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found.local.offset, head(torch.zeros_like(x)[None])[0].numpy(), atol=1e-12)
    assert found.missed < 1e-6
    np.testing.assert_allclose(found.local.embedding, found.embedding, atol=1e-5)


@pytest.mark.parametrize("name", BENT)
def test_the_error_falls_with_the_nodes(name):
    embedder = embedder_of(BENT[name])
    missed = [
        integrated_local_embeddings(embedder, IMAGES[:1], nodes=n, dtype="float64")[0].missed
        for n in (1, 2, 4, 8, 16)
    ]
    assert max(missed[:2]) > 1e-4
    assert missed[2] < max(missed[:2])
    assert missed[3] < missed[2] / 3
    assert missed[4] < max(missed[3] / 3, 1e-14)


def test_kinks_of_a_relu_converge_slowly_and_it_says_so():
    embedder = embedder_of(KINKED)
    few, many = (integrated_local_embeddings(embedder, IMAGES[:2], nodes=n, dtype="float64") for n in (2, 60))
    assert max(one.missed for one in few) > 1e-4
    assert max(one.missed for one in many) < max(one.missed for one in few) / 10
    assert f"the parts miss {few[0].missed:.1e} of the way" in few[0].local.note


@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max", "gem", "flatten"])
@pytest.mark.parametrize("nodes", [1, 5])
def test_affine_and_homogeneous_heads_give_the_exact_parts_at_any_node(pooling, nodes):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        trunk = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Softplus())
        head = LinearHead(pooling, nn.Linear(6 * 16 if pooling == "flatten" else 6, 5), eps=1e-12)
        norm = nn.BatchNorm1d(5)
        norm.running_mean.normal_()
        head.batch_norm = norm
    embedder = Embedder(trunk, head, FEED)
    exact = embedder.local_embeddings(IMAGES, dtype="float64")
    found = integrated_local_embeddings(embedder, IMAGES, nodes=nodes, dtype="float64")
    for one, parts in zip(found, exact, strict=True):
        np.testing.assert_allclose(one.local.vectors, parts.vectors, atol=1e-9)
        np.testing.assert_allclose(one.local.offset, parts.offset, atol=1e-9)
        assert one.missed < 1e-9


def test_a_length_that_is_held_elsewhere_is_not_held_along_a_path():
    model = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(6))
    embedder = Embedder.from_module(model, FEED, head="frozen")
    mean = integrated_local_embeddings(embedder, IMAGES[:1], reference=IMAGES[1:], nodes=24, dtype="float64")
    assert mean[0].missed < 1e-6
    held = embedder.local_embeddings(IMAGES[0], dtype="float64")
    np.testing.assert_allclose(mean[0].embedding, held.embedding, atol=1e-12)
    assert np.abs(mean[0].local.vectors - held.vectors).max() > 1e-3


def test_both_ways_of_differentiating_agree():
    embedder = embedder_of(BENT["softmax at the end"])
    head, x = embedder._in_double()[1], maps_of(embedder, IMAGES[0])
    cells = torch.arange(16).reshape(1, 4, 4)
    forward = contracted(lambda a: head(a[None])[0], x, x, cells)  # 16 cells, 20 dimensions
    backward = contracted(lambda a: head(a[None])[0][:7], x, x, cells, chunk=3)  # 16 cells, 7 dimensions
    np.testing.assert_allclose(backward, forward[:, :7], atol=1e-14)


def test_references():
    embedder = embedder_of(BENT["MLP with GELU"])
    double = embedder._in_double()[0]

    def offset(reference):
        (one,) = integrated_local_embeddings(embedder, IMAGES[:1], reference=reference, dtype="float64")
        assert one.missed < 1e-2
        return one.local.offset

    head = embedder._in_double()[1]
    blank = double(torch.zeros(1, 3, 16, 16, dtype=torch.float64)).detach()
    np.testing.assert_allclose(offset("blank"), head(blank)[0].numpy(), atol=1e-12)
    mean = torch.stack([maps_of(embedder, picture) for picture in IMAGES]).mean(0)
    np.testing.assert_allclose(offset(IMAGES), head(mean[None])[0].numpy(), atol=1e-12)
    np.testing.assert_allclose(offset(mean.numpy()), head(mean[None])[0].numpy(), atol=1e-12)
    np.testing.assert_array_equal(offset(None), offset("zero"))
    own = maps_of(embedder, IMAGES[0]).numpy()
    (nothing,) = integrated_local_embeddings(embedder, IMAGES[:1], reference=own, dtype="float64")
    assert not nothing.local.vectors.any()
    assert (nothing.missed, nothing.spatial) == (0, 0)
    for wrong, words in (
        ("mean", r"reference must be 'zero', 'blank', an array"),
        (np.zeros((6, 3, 3)), r"\(6, 4, 4\); got \(6, 3, 3\)"),
        (np.full((6, 4, 4), np.nan), "the reference must be finite"),
        ([], "there are none"),
    ):
        with pytest.raises(ValueError, match=words):
            integrated_local_embeddings(embedder, IMAGES[:1], reference=wrong)


def test_a_layer_deeper_down():
    embedder = embedder_of(BENT["MLP with GELU"])
    (found,) = integrated_local_embeddings(embedder, IMAGES[:1], layer="low", nodes=60, dtype="float64")
    assert found.local.grid == (8, 8)
    assert found.geometry.stride == (2, 2)
    assert found.missed < 1e-2
    (last,) = integrated_local_embeddings(embedder, IMAGES[:1], dtype="float64")
    np.testing.assert_array_equal(found.embedding, last.embedding)
    assert last.geometry == embedder.geometry
    with pytest.raises(ValueError, match=r"no layer 'lowest' .*expected one of 'low.0', "):
        integrated_local_embeddings(embedder, IMAGES[:1], layer="lowest")


def test_the_model_is_left_as_found():
    model = BENT["MLP with GELU"]
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    integrated_local_embeddings(embedder_of(model), IMAGES[:1], layer="low")
    assert model.training
    assert model.trunk.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.eval()


def test_bad_options_are_refused():
    embedder = embedder_of(BENT["MLP with GELU"])
    for nodes in (0, -1, 1.5, True, "8"):
        with pytest.raises(ValueError, match="nodes must be a whole number >= 1, got"):
            integrated_local_embeddings(embedder, IMAGES[:1], nodes=nodes)
    with pytest.raises(ValueError, match="unknown dtype 'half'"):
        integrated_local_embeddings(embedder, IMAGES[:1], dtype="half")
    with pytest.raises(TypeError, match=r"expected a dmlviz\.Embedder, got Model"):
        integrated_local_embeddings(KINKED, IMAGES[:1])
