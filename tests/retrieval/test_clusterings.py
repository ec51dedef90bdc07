"""NMI, AMI and F1 against slow twins and by hand, and the protocol that clusters a gallery."""

import math
import warnings
from itertools import combinations, permutations

import numpy as np
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.index.kmeans import kmeans
from dmlviz.retrieval.clusterings import (
    adjusted_mutual_information,
    agreement,
    normalised_mutual_information,
    pair_f1,
)


def entropy(groups):
    return -sum(groups.count(g) / len(groups) * math.log(groups.count(g) / len(groups)) for g in set(groups))


def information(classes, clusters):
    both = list(zip(classes, clusters, strict=True))
    return entropy(classes) + entropy(clusters) - entropy(both)


def slow_f1(classes, clusters):
    right = wrong = missed = 0
    for i, j in combinations(range(len(classes)), 2):
        same, together = classes[i] == classes[j], clusters[i] == clusters[j]
        right += same and together
        wrong += together and not same
        missed += same and not together
    return 1.0 if right + wrong + missed == 0 else 2 * right / (2 * right + wrong + missed)


def slow_ami(classes, clusters):
    """The mean over every order of the clusters in place of the hypergeometric sum."""
    orders = [information(classes, list(order)) for order in permutations(clusters)]
    chance, largest = sum(orders) / len(orders), (entropy(classes) + entropy(clusters)) / 2
    if largest - chance < 1e-12:
        return 1.0
    return (information(classes, clusters) - chance) / (largest - chance)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=40))
def test_nmi_and_f1_equal_their_slow_twins(groups):
    classes, clusters = (list(side) for side in zip(*groups, strict=True))
    found = agreement(np.array(classes), np.array(clusters))
    entropies = entropy(classes) + entropy(clusters)
    nmi = 1.0 if entropies == 0 else 2 * information(classes, clusters) / entropies
    assert normalised_mutual_information(found) == pytest.approx(nmi, abs=1e-9)
    assert pair_f1(found) == pytest.approx(slow_f1(classes, clusters), abs=1e-12)
    turned = agreement(np.array(clusters), np.array(classes))
    assert pair_f1(turned) == pytest.approx(pair_f1(found))
    assert adjusted_mutual_information(turned) == pytest.approx(adjusted_mutual_information(found), abs=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6))
def test_ami_equals_its_slow_twin(groups):
    classes, clusters = (list(side) for side in zip(*groups, strict=True))
    found = agreement(np.array(classes), np.array(clusters))
    assert adjusted_mutual_information(found) == pytest.approx(slow_ami(classes, clusters), abs=1e-9)


@pytest.mark.parametrize(
    ("count", "classes", "clusters", "nmi", "ami", "f1"),
    [
        (60, 4, 9, 0.21826415142470762, 0.18594672973108334, 0.44089456869009586),
        (900, 100, 90, 0.7452848161563087, 0.7006502657913676, 0.4304484088717454),
        (3000, 11, 11, 0.39801151272642243, 0.3955046709834764, 0.43297122105509783),
    ],
)
def test_golden_numbers_of_scikit_learn(count, classes, clusters, nmi, ami, f1):
    # normalized_mutual_info_score, adjusted_mutual_info_score and pair_confusion_matrix of its version 1.9.1
    i = np.arange(count)
    truth, found = (i * i + 3 * i) % classes, (i * 7 + i // 5) % clusters
    found = np.where(i < count // 2, truth % clusters, found)
    both = agreement(truth, found)
    assert normalised_mutual_information(both) == pytest.approx(nmi, abs=1e-9)
    assert adjusted_mutual_information(both) == pytest.approx(ami, abs=1e-9)
    assert pair_f1(both) == pytest.approx(f1, abs=1e-12)


def test_by_hand():
    # aa|ab|bb: of 3 pairs in a cluster 2 are of one class; of 6 pairs of one class 2 are in a cluster.
    found = agreement(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert pair_f1(found) == pytest.approx(2 * 2 / (3 + 6))
    # I = ln 2 - (1/3) ln 2, the entropies are ln 2 and ln 3
    assert normalised_mutual_information(found) == pytest.approx(
        2 * (2 / 3) * math.log(2) / (math.log(2) + math.log(3))
    )
    chance = np.random.default_rng(0)
    by_chance = agreement(np.arange(600) % 20, chance.integers(0, 20, 600))
    assert abs(adjusted_mutual_information(by_chance)) < 0.02  # where NMI says 0.1
    assert normalised_mutual_information(by_chance) > 0.08
    one = agreement(np.zeros(4, int), np.zeros(4, int))
    assert normalised_mutual_information(one) == adjusted_mutual_information(one) == pair_f1(one) == 1.0


def slow_per_image(classes, clusters, i):
    others = [j for j in range(len(classes)) if j != i]
    cluster = [j for j in others if clusters[j] == clusters[i]]
    same = [j for j in others if classes[j] == classes[i]]
    both = len(set(cluster) & set(same))
    return (
        both / len(cluster) if cluster else np.nan,
        both / len(same) if same else np.nan,
        2 * both / (len(cluster) + len(same)) if cluster or same else 1.0,
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), count=st.integers(1, 30), classes=st.integers(1, 9), lost=st.booleans())
def test_the_protocol_per_image(seed, count, classes, lost):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, 3))
    if lost and count > 1:
        rows[0] = 0
    labels = [f"c{c}" for c in random.integers(0, classes, count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        gallery = gallery_of(rows, labels)
    result = gallery.evaluate(protocol="clustering", seed=seed)
    ids = result.query_ids.tolist()
    assert ids == [i for i in range(count) if rows[i].any()]
    assert result.dropped == count - len(ids)
    kept = [labels[i] for i in ids]
    clusters = result.per_query["cluster"].tolist()
    assert len(set(clusters)) <= len(set(kept))
    for place in range(len(ids)):
        expected = slow_per_image(kept, clusters, place)
        got = [result.per_query[name][place] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(got, expected, atol=1e-12)
    assert result.values["F1"] == pytest.approx(slow_f1(kept, clusters), abs=1e-12)
    again = gallery_of(rows[ids], kept).evaluate(protocol="clustering", seed=seed)
    assert again.values == result.values


def test_separate_classes_are_found():
    random = np.random.default_rng(0)
    centres = 10 * np.eye(3)
    which = np.arange(60) % 3
    gallery = gallery_of(centres[which] + 0.1 * random.standard_normal((60, 3)), [f"c{w}" for w in which])
    values = [gallery.evaluate(protocol="clustering", seed=seed).values for seed in range(9)]
    assert max(value["F1"] for value in values) == 1.0
    assert max(value["NMI"] for value in values) == pytest.approx(1.0)
    assert (
        "K-means with K = 3, the number of classes, 20 iterations, seed 4"
        in gallery.evaluate(protocol="clustering", seed=4).definition
    )
    assert gallery.evaluate(protocol="clustering", seed=2).values == values[2]
    best = int(np.argmax([value["F1"] for value in values]))
    assert len(gallery.failures(protocol="clustering", seed=best)) == 0


def test_refuses():
    asked = gallery_of(np.eye(2), list("ab"), queries=([[1, 0]], ["a"]))
    with pytest.raises(ValueError, match="the protocol 'clustering' clusters the gallery's own images"):
        asked.evaluate(protocol="clustering")
    with pytest.raises(TypeError, match=r"seed must be a whole number, got 0.5"):
        gallery_of(np.eye(2), list("ab")).evaluate(protocol="clustering", seed=0.5)
    with pytest.raises(ValueError, match="this gallery has no labels"):
        gallery_of(np.eye(2)).evaluate(protocol="clustering")


def test_the_protocol_clusters_the_rows_that_are_ranked():
    rows = np.random.default_rng(1).standard_normal((40, 4)) * np.arange(1, 41)[:, None]
    labels = [f"c{i % 4}" for i in range(40)]
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    by_cosine = gallery_of(rows, labels).evaluate(protocol="clustering").per_query["cluster"]
    by_dot = gallery_of(rows, labels, "dot").evaluate(protocol="clustering").per_query["cluster"]
    assert by_dot.tolist() == kmeans(rows.astype(np.float32), 4).cluster.tolist()
    agreed = agreement(by_cosine, kmeans(units, 4).cluster)
    assert normalised_mutual_information(agreed) == pytest.approx(1.0)
    assert normalised_mutual_information(agreement(by_dot, by_cosine)) < 0.9
