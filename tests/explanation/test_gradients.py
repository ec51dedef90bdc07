"""How the decomposition relates to gradients: the identities of rectified Grad-CAM, stated as tests."""

import pytest
import torch
from torch import nn

from dmlviz.embedder import LinearHead
from dmlviz.explanation import decompose_similarity

HOMOGENEOUS = ["avg", "max", "avg+max", "gem"]


def heads(pooling, bias=True, seed=0):
    torch.manual_seed(seed)
    return LinearHead(pooling, linear=nn.Linear(6, 4, bias=bias)).double().eval()


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    # positive activations with a floor, so that GeM clamps nothing
    a = torch.rand(6, 3, 4, generator=generator, dtype=torch.float64) + 0.05
    b = torch.rand(6, 2, 5, generator=generator, dtype=torch.float64) + 0.05
    return a, b


def rectified(score, feature_map):
    """Σ_k ∂S/∂A_k · A_k per cell, before any clipping."""
    (gradient,) = torch.autograd.grad(score, feature_map)
    return (gradient * feature_map).sum(0).detach().numpy()


def plain(score, feature_map):
    """Σ_k mean(∂S/∂A_k) · A_k per cell, before any clipping."""
    (gradient,) = torch.autograd.grad(score, feature_map)
    return (gradient.mean((1, 2), keepdim=True) * feature_map).sum(0).detach().numpy()


def embeddings(head, a, b):
    return head(a[None])[0], head(b[None])[0]


@pytest.mark.parametrize("pooling", HOMOGENEOUS)
def test_rectified_grad_cam_of_the_dot_is_the_overall_map(pooling):
    head, (a, b) = heads(pooling), pair()
    a.requires_grad_()
    e_a, e_b = embeddings(head, a, b)
    why = decompose_similarity(head.local_embeddings(a.detach()), head.local_embeddings(b), similarity="dot")
    assert rectified(e_a @ e_b.detach(), a) == pytest.approx(why.overall_map("query"), abs=1e-12)


def test_plain_grad_cam_of_the_dot_equals_it_for_average_pooling_only():
    a, b = pair()
    a.requires_grad_()
    gaps = {}
    for pooling in HOMOGENEOUS:
        head = heads(pooling)
        e_a, e_b = embeddings(head, a, b)
        why = decompose_similarity(head.local_embeddings(a.detach()), head.local_embeddings(b), "dot")
        gaps[pooling] = abs(plain(e_a @ e_b.detach(), a) - why.overall_map("query")).max()
    assert gaps["avg"] < 1e-12
    assert min(gaps["max"], gaps["avg+max"], gaps["gem"]) > 1e-3


@pytest.mark.parametrize("pooling", HOMOGENEOUS)
def test_the_gradient_of_a_cosine_sums_to_zero_without_offsets(pooling):
    head, (a, b) = heads(pooling, bias=False), pair()
    a.requires_grad_()
    e_a, e_b = embeddings(head, a, b)
    gradient_map = rectified(torch.cosine_similarity(e_a, e_b.detach(), 0), a)
    assert gradient_map.sum() == pytest.approx(0, abs=1e-12)
    why = decompose_similarity(head.local_embeddings(a.detach()), head.local_embeddings(b))
    assert why.overall_map("query").sum() == pytest.approx(why.similarity, abs=1e-12)


def test_the_gradient_of_a_cosine_sums_to_the_offset_term_with_offsets():
    head, (a, b) = heads("avg"), pair()
    a.requires_grad_()
    e_a, e_b = (e.detach() for e in embeddings(head, a, b))
    score = torch.cosine_similarity(head(a[None])[0], e_b, 0)
    unit_a, unit_b = e_a / e_a.norm(), e_b / e_b.norm()
    expected = -float(head.linear.bias.detach() @ (unit_b - score.detach() * unit_a) / e_a.norm())
    assert rectified(score, a).sum() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pooling", HOMOGENEOUS)
def test_with_the_norm_held_constant_the_gradient_is_the_overall_map(pooling):
    head, (a, b) = heads(pooling), pair()
    a.requires_grad_()
    e_a, e_b = embeddings(head, a, b)
    score = (e_a @ e_b.detach()) / (e_a.norm().detach() * e_b.norm().detach())
    why = decompose_similarity(head.local_embeddings(a.detach()), head.local_embeddings(b))
    gradient_map = rectified(score, a)
    assert gradient_map == pytest.approx(why.overall_map("query"), abs=1e-12)
    assert gradient_map.sum() == pytest.approx(why.similarity - why.unmapped("query"), abs=1e-12)


def test_integrated_gradients_of_the_dot_are_the_overall_map_for_average_pooling():
    head, (a, b) = heads("avg"), pair()
    e_b = head(b[None])[0].detach()
    steps = 16
    total = 0
    for step in range(steps):
        scaled = (a * (step + 0.5) / steps).requires_grad_()
        (gradient,) = torch.autograd.grad(head(scaled[None])[0] @ e_b, scaled)
        total = total + (gradient * a).sum(0) / steps
    why = decompose_similarity(head.local_embeddings(a), head.local_embeddings(b), "dot")
    assert total.detach().numpy() == pytest.approx(why.overall_map("query"), abs=1e-12)
