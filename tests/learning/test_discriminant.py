"""The closed-form linear map: against loops, by hand, and what it does to the scatter."""

import numpy as np
import pytest
import torch

from dmlviz.embedder.birdnet import BirdNet
from dmlviz.learning.bird_head import fit_linear
from dmlviz.learning.discriminant import discriminant_map


def scatters(rows, labels):
    """S_w and S_b from their definitions, in loops."""
    classes = sorted(set(labels.tolist()))
    means = {
        c: sum(r for r, k in zip(rows, labels, strict=True) if k == c) / (labels == c).sum() for c in classes
    }
    within = sum(np.outer(r - means[c], r - means[c]) for r, c in zip(rows, labels, strict=True)) / len(rows)
    middle = sum(means.values()) / len(classes)
    between = sum(np.outer(means[c] - middle, means[c] - middle) for c in classes) / (len(classes) - 1)
    return within, between


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 30)
    rows = (rng.normal(size=(12, 5)) * [3, 1, 2, 0.5, 1])[labels] + rng.normal(size=(360, 5)) @ rng.normal(
        size=(5, 5)
    )
    return rows, labels


def test_rows_solve_the_generalised_eigenproblem(clouds):
    rows, labels = clouds
    within, between = scatters(rows, labels)
    found = discriminant_map(rows, labels, 5, ridge=0)
    ratios = [(row @ between @ row) / (row @ within @ row) for row in found]
    assert ratios == sorted(ratios, reverse=True)
    for row, ratio in zip(found, ratios, strict=True):
        np.testing.assert_allclose(
            between @ row, ratio * within @ row, atol=1e-8 * ratio * np.abs(within @ row).max()
        )


def test_scatter_within_classes_becomes_the_identity(clouds):
    rows, labels = clouds
    found = discriminant_map(rows, labels, 3, ridge=0)
    within, _ = scatters(rows @ found.T, labels)
    np.testing.assert_allclose(within, np.eye(3), atol=1e-10)


def test_two_classes_by_hand():
    # within: x varies by ±1, y not at all; between: the means lie at (0, 0) and (0, 2); ridge 1 adds the mean, 1/2
    rows = np.array([[-1.0, 0], [1, 0], [-1, 2], [1, 2]])
    found = discriminant_map(rows, np.array([0, 0, 1, 1]), 1, ridge=1.0)
    np.testing.assert_allclose(found, [[0, 1 / np.sqrt(0.5)]], atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "labels", "dimensions", "words"),
    [
        (np.zeros((4, 2)), [0, 1], 1, "one label per row"),
        (np.zeros((4, 2)), [0, 0, 0, 0], 1, "at least two of them; got 1"),
        (np.zeros((4, 2)), [0, 0, 1, 1], 3, "between 1 and 2; got 3"),
    ],
)
def test_what_cannot_be_fitted_is_worded(rows, labels, dimensions, words):
    with pytest.raises(ValueError, match=words):
        discriminant_map(rows, np.array(labels), dimensions)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_only_the_linear_map_of_a_network_changes(pooling):
    torch.manual_seed(0)
    net = BirdNet(pooling, folded=True).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit_linear(net, families=2, per_class=4, seed=3, ridge=0.1)
    after = net.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"linear.weight"}
    assert float(after["linear.weight"].norm()) == pytest.approx(8.0, rel=1e-6)  # the root of 64 rows
