"""The published losses of xCos: against loops from the formulas, by hand, and where their gradients go."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.embedder import XCos
from dmlviz.learning import arcface_logits, cosface_logits, xcos_losses
from dmlviz.learning.xcos_loss import pair_cosines, pairs_of


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_logits(features, centres, labels, kind):
    """CosFace equation 4 and ArcFace equation 3, one angle at a time."""
    found = np.zeros((len(features), len(centres)))
    for n, x in enumerate(features.numpy()):
        for c, w in enumerate(centres.numpy()):
            angle = math.acos(sum(x * w) / math.sqrt(sum(x * x)) / math.sqrt(sum(w * w)))
            if labels[n] != c:
                level = math.cos(angle)
            elif kind == "cosface":
                level = math.cos(angle) - 0.35
            elif angle + 0.5 < math.pi:
                level = math.cos(angle + 0.5)
            else:
                level = math.cos(angle) - 0.5 * math.sin(0.5)
            found[n, c] = level * (30 if kind == "cosface" else 64)
    return found


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["cosface", "arcface"]))
def test_margin_logits_equal_the_formulas(seed, kind):
    features, centres = drawn(seed, 6, 3), drawn(seed + 1, 4, 3)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    features[0] = -centres[0]  # opposite to its class: θ + m passes π
    logits_of = cosface_logits if kind == "cosface" else arcface_logits
    # acos of a cosine that rounding has brought near ±1 is good to about 1e-8 only
    features[0] += 1e-3 * features[1]
    np.testing.assert_allclose(
        logits_of(features, centres, labels), slow_logits(features, centres, labels.tolist(), kind), atol=1e-6
    )


@pytest.mark.parametrize("logits_of", [cosface_logits, arcface_logits])
def test_gradients_stay_finite_on_a_centre_and_opposite_to_it(logits_of):
    centres = torch.eye(3, dtype=torch.float64)
    features = torch.stack([centres[0], -centres[1], torch.zeros(3)]).double().requires_grad_(True)
    logits_of(features, centres, torch.tensor([0, 1, 2])).sum().backward()
    assert torch.isfinite(features.grad).all()


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(
        ValueError, match=r"features \(N, D\) and centres \(classes, D\); got \(2, 3\) and \(4, 5\)"
    ):
        cosface_logits(torch.ones(2, 3), torch.ones(4, 5), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"one label for each of 2, got \(3,\)"):
        arcface_logits(torch.ones(2, 3), torch.ones(4, 3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="between 0 and 3, one for each centre; got 0 to 4"):
        cosface_logits(torch.ones(2, 3), torch.ones(4, 3), torch.tensor([0, 4]))
    module, maps = XCos(2), torch.ones(2, 2, 1, 1)
    labels = (torch.tensor([0, 1]),) * 2
    with pytest.raises(ValueError, match=r"2 pairs need 2 cosines \(N,\), got \(3,\)"):
        xcos_losses(module, torch.ones(2, 32), (maps, maps), labels, torch.ones(3))
    with pytest.raises(ValueError, match="must be 'cosface' or 'arcface', got 'softmax'"):
        xcos_losses(module, torch.ones(2, 32), (maps, maps), labels, torch.ones(2), "softmax")
    with pytest.raises(ValueError, match=r"at least two images, got shape \(1,\)"):
        pairs_of(np.array([3]), (0,))


@pytest.mark.parametrize("classifier", ["cosface", "arcface"])
def test_the_losses_by_their_definitions_and_where_their_gradients_go(classifier):
    torch.manual_seed(0)
    module = XCos(3).double().train()
    first, second = drawn(1, 4, 3, 2, 2).requires_grad_(True), drawn(2, 4, 3, 2, 2)
    centres = drawn(3, 5, 32 * 4).requires_grad_(True)
    labels = (torch.tensor([0, 1, 2, 3]), torch.tensor([0, 4, 2, 1]))
    cosines = torch.tensor([0.9, 0.1, 0.8, -0.2], dtype=torch.float64, requires_grad=True)
    losses = xcos_losses(module, centres, (first, second), labels, cosines, classifier)

    twin = XCos(3).double().train()
    twin.load_state_dict(module.state_dict())
    cells = twin.features(torch.cat([first, second])).detach()
    with torch.no_grad():
        scores = twin.compare(cells[:4], cells[4:]).scores
    both = torch.cat(labels).tolist()
    logits = slow_logits(cells.flatten(1), centres.detach(), both, classifier)
    entropy = [math.log(sum(math.exp(v - row[y]) for v in row)) for row, y in zip(logits, both, strict=True)]
    assert losses.classification.item() == pytest.approx(sum(entropy) / 8, rel=1e-6)
    squares = [(s - c) ** 2 for s, c in zip(scores.tolist(), cosines.tolist(), strict=True)]
    assert losses.agreement.item() == pytest.approx(sum(squares) / 4, rel=1e-9)

    (losses.classification + losses.agreement).backward()
    assert cosines.grad is None  # a target
    assert first.grad.abs().sum() > 0  # a trunk could be trained along
    assert centres.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


def test_pair_cosines_are_cosines_and_zero_has_none():
    found = pair_cosines(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[4.0, 3.0], [1.0, 0.0]]))
    assert found.tolist() == pytest.approx([0.96, 0.0])


@settings(deadline=None, max_examples=30)
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=20), step=st.integers(0, 1000))
def test_partners_are_others_and_chosen_by_the_key(labels, step):
    labels = np.array(labels)
    partners = pairs_of(labels, (0, step))
    assert (partners != np.arange(len(labels))).all()
    assert ((partners >= 0) & (partners < len(labels))).all()
    assert (pairs_of(labels, (0, step)) == partners).all()


def test_half_of_the_pairs_are_of_one_class():
    labels = np.repeat(np.arange(8), 4)
    same = [(labels[pairs_of(labels, (1, step))] == labels).mean() for step in range(60)]
    assert 0.45 < np.mean(same) < 0.55
