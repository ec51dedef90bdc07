import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.learning.in_batch_softmax import in_batch_softmax_loss


def slow(queries, items, temperature):
    """The formula, one exponential after the other."""
    unit_q = [q / math.sqrt(sum(v * v for v in q)) for q in queries]
    unit_g = [g / math.sqrt(sum(v * v for v in g)) for g in items]
    n = len(queries)
    s = [[float(np.dot(q, g)) / temperature for g in unit_g] for q in unit_q]
    total = 0.0
    for i in range(n):
        total += math.log(sum(math.exp(s[i][j]) for j in range(n))) - s[i][i]
        total += math.log(sum(math.exp(s[j][i]) for j in range(n))) - s[i][i]
    return total / (2 * n)


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.05, 2.0))
@settings(deadline=None, max_examples=25)
def test_it_is_its_formula(seed, n, temperature):
    rng = np.random.default_rng(seed)
    queries, items = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
    found = in_batch_softmax_loss(torch.tensor(queries), torch.tensor(items), temperature)
    assert float(found) == pytest.approx(slow(queries, items, temperature), abs=1e-9)


def test_by_hand():
    queries = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    items = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # cosines [[1, 1], [0, 0]]: by rows log 2 and log 2; by columns log(1 + 1/e) and log(e + 1)
    expected = (2 * math.log(2) + math.log(1 + 1 / math.e) + math.log(math.e + 1)) / 4
    assert float(in_batch_softmax_loss(queries, items, 1.0)) == pytest.approx(expected, abs=1e-6)


def test_its_gradient_pulls_pairs_together():
    rng = np.random.default_rng(0)
    queries, items = (
        torch.tensor(rng.normal(size=(8, 5)), requires_grad=True),
        torch.tensor(rng.normal(size=(8, 5))),
    )
    losses = []
    for _ in range(30):
        loss = in_batch_softmax_loss(queries, items, 0.2)
        (gradient,) = torch.autograd.grad(loss, queries)
        queries = (queries.detach() - 0.5 * gradient).requires_grad_()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("queries", "items", "temperature", "words"),
    [
        ((3, 2), (4, 2), 0.1, r"one item for each query.*got queries \(3, 2\) and items \(4, 2\)"),
        ((3,), (3,), 0.1, "one item for each query"),
        ((3, 2), (3, 2), 0.0, r"temperature must be > 0; got 0\.0"),
    ],
)
def test_what_does_not_belong_together_is_worded(queries, items, temperature, words):
    with pytest.raises(ValueError, match=words):
        in_batch_softmax_loss(torch.ones(queries), torch.ones(items), temperature)
