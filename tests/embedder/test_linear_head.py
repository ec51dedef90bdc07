"""The head in closed form against slow loops, hand-worked answers, conservation and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmlviz.embedder import LinearHead

POOLINGS = ["avg", "max", "avg+max", "gem", "flatten"]


def batch_norm(dim, generator, eps=1e-5):
    norm = nn.BatchNorm1d(dim, eps=eps).double().eval()
    with torch.no_grad():
        norm.running_mean = torch.randn(dim, generator=generator, dtype=torch.float64)
        norm.running_var = torch.rand(dim, generator=generator, dtype=torch.float64) + 0.01
        norm.weight.copy_(torch.randn(dim, generator=generator, dtype=torch.float64))
        norm.bias.copy_(torch.randn(dim, generator=generator, dtype=torch.float64))
    return norm


def make_head(pooling, c, h, w, d=5, linear=True, norm=True, ties="split", p=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n_in = c * h * w if pooling == "flatten" else c
    made = nn.Linear(n_in, d).double() if linear else None
    if made is not None:
        with torch.no_grad():
            made.weight.copy_(torch.randn(made.weight.shape, generator=generator, dtype=torch.float64))
            made.bias.copy_(torch.randn(made.bias.shape, generator=generator, dtype=torch.float64))
    bn = batch_norm(d if linear else n_in, generator) if norm else None
    return LinearHead(pooling, made, bn, p=p, ties=ties)


def shares_by_loop(head, a):
    """pᵢ from the formulas, one number at a time: {(row, col): vector that the linear map sees}."""
    c, h, w = a.shape
    n = h * w
    cells = [(i, j) for i in range(h) for j in range(w)]
    shares = {cell: np.zeros(c * n if head.pooling == "flatten" else c) for cell in cells}
    for k in range(c):
        values = [a[k, i, j] for i, j in cells]
        top = max(values)
        holders = [cell for cell, v in zip(cells, values, strict=True) if v == top]
        if head.pooling == "gem":
            p = float(head.p.reshape(-1)[k if head.p.numel() > 1 else 0])
            clamped = [max(v, head.eps) for v in values]
            total = sum(v**p for v in clamped)
            pooled = (total / n) ** (1 / p)
        for number, (cell, v) in enumerate(zip(cells, values, strict=True)):
            if head.pooling in ("avg", "avg+max"):
                shares[cell][k] += v / n
            if head.pooling in ("max", "avg+max"):
                if head.ties == "split" and cell in holders:
                    shares[cell][k] += v / len(holders)
                if head.ties == "first" and cell == holders[0]:
                    shares[cell][k] += v
            if head.pooling == "gem":
                shares[cell][k] += pooled * max(v, head.eps) ** p / total
            if head.pooling == "flatten":
                shares[cell][k * n + number] = v
    return shares


def parts_by_loop(head, a):
    shares = shares_by_loop(head, a)
    size = len(next(iter(shares.values())))
    weight, offset = np.eye(size), np.zeros(size)
    if head.linear is not None:
        weight, offset = head.linear.weight.detach().numpy(), head.linear.bias.detach().numpy().copy()
    if head.batch_norm is not None:
        bn = head.batch_norm
        gain = bn.weight.detach().numpy() / np.sqrt(bn.running_var.numpy() + bn.eps)
        weight, offset = (
            weight * gain[:, None],
            (offset - bn.running_mean.numpy()) * gain + bn.bias.detach().numpy(),
        )
    vectors = np.zeros((*a.shape[1:], len(offset)))
    for (i, j), share in shares.items():
        for d in range(len(offset)):
            vectors[i, j, d] = sum(weight[d, m] * share[m] for m in range(size))
    return vectors, offset


@pytest.mark.parametrize("ties", ["split", "first"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_equals_its_slow_twin(pooling, ties):
    generator = torch.Generator().manual_seed(4)
    a = (torch.randn(3, 2, 3, generator=generator, dtype=torch.float64) * 2).round() / 2  # ties on purpose
    p = torch.tensor([2.0, 3.5, 30.0], dtype=torch.float64)
    head = make_head(pooling, 3, 2, 3, d=2, ties=ties, p=p)
    parts = head.local_embeddings(a)
    vectors, offset = parts_by_loop(head, a.numpy())
    assert parts.vectors.dtype == np.float64
    np.testing.assert_allclose(parts.vectors, vectors, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(parts.offset, offset, rtol=1e-12, atol=1e-13)


A = torch.tensor([[[1.0, 4.0], [4.0, -1.0]]], dtype=torch.float64)  # one channel, 2 × 2 cells


@pytest.mark.parametrize(
    ("pooling", "ties", "expected"),
    [
        ("avg", "split", [[0.25, 1.0], [1.0, -0.25]]),
        ("max", "split", [[0.0, 2.0], [2.0, 0.0]]),
        ("max", "first", [[0.0, 4.0], [0.0, 0.0]]),
        ("avg+max", "split", [[0.25, 3.0], [3.0, -0.25]]),
        ("avg+max", "first", [[0.25, 5.0], [1.0, -0.25]]),
    ],
)
def test_by_hand(pooling, ties, expected):
    parts = LinearHead(pooling, ties=ties).local_embeddings(A)
    assert parts.vectors[..., 0].tolist() == expected
    assert parts.offset.tolist() == [0.0]


def test_gem_by_hand():
    # p = 1: the average, with −1 clamped to eps = 1: (1 + 4 + 4 + 1)/4, shares in proportion
    parts = LinearHead("gem", p=1.0, eps=1.0).local_embeddings(A)
    np.testing.assert_allclose(parts.vectors[..., 0], [[0.25, 1.0], [1.0, 0.25]], rtol=1e-12)
    # p = 2 on (3, 4): √(25/2), split 9 : 16
    parts = LinearHead("gem", p=2.0).local_embeddings(torch.tensor([[[3.0, 4.0]]], dtype=torch.float64))
    np.testing.assert_allclose(parts.vectors[..., 0], np.array([[9, 16]]) / 25 * np.sqrt(12.5), rtol=1e-12)


def test_linear_and_batch_norm_by_hand():
    linear, norm = nn.Linear(1, 1).double(), nn.BatchNorm1d(1, eps=1.0).double().eval()
    with torch.no_grad():
        linear.weight.fill_(2.0)
        linear.bias.fill_(1.0)
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(3.0)  # √(3 + eps 1) = 2
        norm.weight.fill_(4.0)
        norm.bias.fill_(5.0)
    parts = LinearHead("avg", linear, norm).local_embeddings(A)
    assert parts.vectors[..., 0].tolist() == [[1.0, 4.0], [4.0, -1.0]]  # a/4 · 2 · 4/2
    assert parts.offset.tolist() == [1.0]  # (1 − 3)·2 + 5
    assert parts.embedding.tolist() == [9.0]


@settings(deadline=None, max_examples=50)
@given(
    pooling=st.sampled_from(POOLINGS),
    linear=st.booleans(),
    norm=st.booleans(),
    ties=st.sampled_from(["split", "first"]),
    coarse=st.booleans(),
    p=st.floats(0.5, 60.0),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    seed=st.integers(0, 10_000),
)
def test_parts_add_up_to_the_heads_own_output(pooling, linear, norm, ties, coarse, p, size, seed):
    h, w, c = size
    a = torch.randn(2, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if coarse:
        a = a.round()
    head = make_head(pooling, c, h, w, linear=linear, norm=norm, ties=ties, p=p, seed=seed)
    with torch.no_grad():
        own = head(a).numpy()
    for parts, expected in zip(head.local_embeddings_batch(a), own, strict=True):
        scale = max(1.0, np.abs(parts.vectors).sum(axis=(0, 1)).max(), np.abs(parts.offset).max())
        assert np.abs(parts.vectors.sum((0, 1)) + parts.offset - expected).max() <= 1e-12 * scale


def test_the_heads_output_is_what_torch_computes():
    a = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    f = nn.functional
    own = {
        "avg": f.adaptive_avg_pool2d(a, 1).flatten(1),
        "max": f.adaptive_max_pool2d(a, 1).flatten(1),
        "avg+max": (f.adaptive_avg_pool2d(a, 1) + f.adaptive_max_pool2d(a, 1)).flatten(1),
        "gem": f.avg_pool2d(a.clamp(min=1e-6).pow(3), (3, 5)).pow(1 / 3).flatten(1),
        "flatten": a.flatten(1),
    }
    for pooling, expected in own.items():
        torch.testing.assert_close(LinearHead(pooling)(a), expected, rtol=1e-12, atol=1e-14)


def jacobian_times_activation(head, a):
    """[cell, dimension] by autograd: ∂e/∂a at each cell times that cell's activations."""
    jacobian = torch.autograd.functional.jacobian(lambda x: head(x[None])[0], a)
    return torch.einsum("dchw,chw->hwd", jacobian, a).numpy()


@pytest.mark.parametrize("ties", ["split", "first"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_local_embeddings_are_the_jacobian_applied_to_the_activations(pooling, ties):
    a = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    a = (a * 2).round() / 2 if pooling != "gem" else a.abs() + 0.1
    head = make_head(pooling, 3, 3, 2, ties=ties)
    expected = jacobian_times_activation(head, a)
    np.testing.assert_allclose(head.local_embeddings(a).vectors, expected, rtol=1e-11, atol=1e-12)


def test_ties_follow_the_gradients_of_torch():
    a = A.clone()
    split = torch.autograd.functional.jacobian(lambda x: x.amax((1, 2)), a)[0] * a
    first = torch.autograd.functional.jacobian(
        lambda x: nn.functional.adaptive_max_pool2d(x[None], 1)[0, :, 0, 0], a
    )
    for ties, gradient in (("split", split), ("first", first[0] * a)):
        vectors = LinearHead("max", ties=ties).local_embeddings(a).vectors[..., 0]
        assert vectors.tolist() == gradient[0].tolist()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradient_of_the_dot_times_activation_is_the_overall_map(pooling):
    a = torch.rand(3, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    other = torch.randn(5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    head = make_head(pooling, 3, 3, 2)
    leaf = a.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(head(leaf[None])[0] @ other, leaf)
    overall = head.local_embeddings(a).vectors @ other.numpy()
    np.testing.assert_allclose((gradient * a).sum(0).numpy(), overall, rtol=1e-10, atol=1e-12)


def test_gem_is_stable_for_large_exponents():
    a = torch.tensor([[[1e-3, 1e4], [2e3, 0.0]]])  # float32: (1e4)^60 would overflow
    parts = LinearHead("gem", p=60.0).local_embeddings(a)
    assert np.isfinite(parts.vectors).all()
    assert parts.vectors[0, 1, 0] == pytest.approx(1e4 * 4 ** (-1 / 60), rel=1e-4)
    assert parts.vectors[0, 0, 0] == 0.0


def test_gem_runs_from_average_to_maximum():
    a = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64) + 0.1
    torch.testing.assert_close(LinearHead("gem", p=1.0)(a), LinearHead("avg")(a))
    torch.testing.assert_close(LinearHead("gem", p=5000.0)(a), LinearHead("max")(a), rtol=1e-3, atol=0)


def test_float32_adds_up():
    a = torch.randn(512, 7, 7, generator=torch.Generator().manual_seed(8))
    head = LinearHead("avg", nn.Linear(512, 128))
    parts = head.local_embeddings(a)
    assert parts.vectors.dtype == np.float32
    own = head(a[None])[0].detach().numpy()
    assert np.abs(parts.embedding - own).max() <= 1e-5 * np.abs(own).max()


def test_half_precision_is_worked_out_in_float32():
    a = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(8)).half()
    parts = LinearHead("max").local_embeddings(a)
    assert parts.vectors.dtype == np.float32
    np.testing.assert_array_equal(parts.embedding, a.float().amax((1, 2)).numpy())


def test_a_learned_exponent_stays_a_parameter():
    p = nn.Parameter(torch.tensor(2.5))
    head = LinearHead("gem", p=p)
    head(torch.rand(1, 2, 3, 3) + 0.1).sum().backward()
    assert head.p is p
    assert p.grad is not None
    assert p.grad.abs() > 0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: LinearHead("mean"), ValueError, "unknown pooling 'mean': expected one of avg, max"),
        (lambda: LinearHead("max", ties="all"), ValueError, "expected 'split' or 'first'"),
        (
            lambda: LinearHead("avg", nn.Conv2d(1, 1, 1)),
            TypeError,
            "linear must be an nn.Linear or None, got Conv2d",
        ),
        (
            lambda: LinearHead("avg", None, nn.BatchNorm2d(3)),
            TypeError,
            "nn.BatchNorm1d or None, got BatchNorm2d",
        ),
        (
            lambda: LinearHead("avg", None, nn.BatchNorm1d(3, track_running_stats=False)),
            ValueError,
            "no running statistics.*track_running_stats=True",
        ),
        (
            lambda: LinearHead("avg", nn.Linear(3, 4), nn.BatchNorm1d(3)),
            ValueError,
            "4 features, batch_norm expects 3",
        ),
        (lambda: LinearHead("gem", p=0.0), ValueError, "p must be a finite number > 0"),
        (lambda: LinearHead("gem", p=float("inf")), ValueError, "p must be a finite number > 0"),
        (lambda: LinearHead("gem", eps=0.0), ValueError, "eps must be > 0"),
    ],
)
def test_refuses_what_it_cannot_be(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("head", "feature_map", "error", "words"),
    [
        (
            LinearHead("avg", nn.Linear(3, 2)),
            torch.ones(4, 2, 2),
            ValueError,
            "has 4 channels, but linear takes 3",
        ),
        (
            LinearHead("flatten", nn.Linear(3, 2)),
            torch.ones(3, 2, 2),
            ValueError,
            "3 × 2 × 2 = 12 .* linear takes 3",
        ),
        (
            LinearHead("avg", None, nn.BatchNorm1d(3).eval()),
            torch.ones(4, 2, 2),
            ValueError,
            "batch_norm takes 3",
        ),
        (LinearHead("gem", p=torch.ones(3)), torch.ones(4, 2, 2), ValueError, "p has 3 values"),
        (LinearHead("avg"), torch.ones(1, 4, 2, 2), ValueError, r"expected a feature map \(C, h, w\)"),
        (LinearHead("avg"), torch.ones(4, 0, 2), ValueError, "no empty axis"),
        (LinearHead("avg"), np.ones((4, 2, 2)), TypeError, "as a torch tensor, got ndarray"),
        (LinearHead("avg"), torch.ones(4, 2, 2, dtype=torch.int64), TypeError, "floating-point"),
        (LinearHead("avg"), torch.full((4, 2, 2), float("nan")), ValueError, "NaN or infinite"),
        (
            LinearHead("avg", None, nn.BatchNorm1d(4)),
            torch.ones(4, 2, 2),
            ValueError,
            "training mode.*head.eval()",
        ),
    ],
)
def test_refuses_what_does_not_fit(head, feature_map, error, words):
    with pytest.raises(error, match=words):
        head.local_embeddings(feature_map)
