import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.learning import multi_similarity_loss


def loss_by_loops(embeddings, labels, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
    """Wang et al. 2019, equations 10 to 12, pair by pair in float64."""
    n = len(embeddings)
    unit = [e / np.linalg.norm(e) for e in np.asarray(embeddings, dtype=np.float64)]
    total = 0.0
    for i in range(n):
        positives = [float(unit[i] @ unit[k]) for k in range(n) if k != i and labels[k] == labels[i]]
        negatives = [float(unit[i] @ unit[k]) for k in range(n) if labels[k] != labels[i]]
        hard_negatives = [s for s in negatives if s > min(positives, default=math.inf) - epsilon]
        hard_positives = [s for s in positives if s < max(negatives, default=-math.inf) + epsilon]
        total += math.log(1 + sum(math.exp(-alpha * (s - base)) for s in hard_positives)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s - base)) for s in hard_negatives)) / beta
    return total / n


def cases(seed, n, classes, dim=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), rng.integers(classes, size=n)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_it_is_the_published_formula(seed, n, classes):
    embeddings, labels = cases(seed, n, classes)
    got = multi_similarity_loss(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert float(got) == pytest.approx(loss_by_loops(embeddings, labels), rel=1e-10, abs=1e-12)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_other_constants_go_where_they_belong(seed):
    embeddings, labels = cases(seed, 9, 3)
    constants = {"alpha": 1.3, "beta": 7.0, "base": 0.2, "epsilon": 0.4}
    got = multi_similarity_loss(torch.from_numpy(embeddings), torch.from_numpy(labels), **constants)
    assert float(got) == pytest.approx(loss_by_loops(embeddings, labels, **constants), rel=1e-10, abs=1e-12)


def test_two_pairs_by_hand():
    # Two classes along two axes: both positives have S = 1, all negatives S = 0, so nothing is hard.
    apart = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert float(multi_similarity_loss(apart, torch.tensor([0, 0, 1, 1]))) == 0.0
    # The same points with classes that cross: positives S = 0; of the two negatives S = 1 is hard, S = 0 is too.
    crossed = multi_similarity_loss(apart, torch.tensor([0, 1, 0, 1]), beta=2.0)
    pull = math.log(1 + math.exp(-2.0 * (0.0 - 0.5))) / 2.0
    push = math.log(1 + math.exp(2.0 * (1.0 - 0.5)) + math.exp(2.0 * (0.0 - 0.5))) / 2.0
    assert float(crossed) == pytest.approx(pull + push, rel=1e-6)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_lengths_order_and_label_names_do_not_matter(seed):
    embeddings, labels = cases(seed, 10, 3)
    rng = np.random.default_rng(seed + 1)
    order = rng.permutation(10)
    changed = (embeddings * rng.uniform(0.1, 9.0, size=(10, 1)))[order]
    one = multi_similarity_loss(torch.from_numpy(embeddings), torch.from_numpy(labels))
    other = multi_similarity_loss(torch.from_numpy(changed), torch.from_numpy(10 - labels[order]))
    assert float(other) == pytest.approx(float(one), rel=1e-9, abs=1e-12)


def test_its_gradient_is_that_of_the_formula():
    embeddings, labels = cases(3, 6, 2)
    points = torch.from_numpy(embeddings).requires_grad_()
    multi_similarity_loss(points, torch.from_numpy(labels)).backward()
    step = 1e-6
    for row in range(6):
        moved = [embeddings.copy(), embeddings.copy()]
        moved[0][row, 2] += step
        moved[1][row, 2] -= step
        slope = (loss_by_loops(moved[0], labels) - loss_by_loops(moved[1], labels)) / (2 * step)
        assert float(points.grad[row, 2]) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_nothing_overflows():
    embeddings = torch.ones(6, 4)
    loss = multi_similarity_loss(embeddings, torch.arange(6) // 2, beta=5000.0)
    pull = math.log(1 + math.exp(-2.0 * (1.0 - 0.5))) / 2.0
    assert float(loss) == pytest.approx(pull + 0.5, abs=1e-3)


def test_a_batch_of_one_class_or_one_item_is_finite():
    embeddings, _ = cases(0, 4, 1)
    loss = multi_similarity_loss(torch.from_numpy(embeddings), torch.zeros(4, dtype=torch.int64))
    assert float(loss) == 0.0  # no negative, so no positive is hard
    assert float(multi_similarity_loss(torch.ones(1, 3), torch.tensor([0]))) == 0.0


@pytest.mark.parametrize(("shape", "count"), [((4,), 4), ((4, 2), 3), ((4, 2, 1), 4)])
def test_shapes_that_do_not_fit_are_named(shape, count):
    with pytest.raises(ValueError, match=r"needs embeddings \(N, D\) and one label for each of the N; got"):
        multi_similarity_loss(torch.ones(shape), torch.zeros(count))
