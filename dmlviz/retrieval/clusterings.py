"""How well a clustering agrees with the classes: NMI, AMI and F1 over pairs."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Agreement:
    """How often classes and clusters meet.

    Attributes:
        classes: (C,) int64, sizes of the classes.
        clusters: (K,) int64, sizes of the clusters.
        met: (M,) int64, how many items each class and cluster share, those that share none left out.
        met_class: (M,) int64, which class.
        met_cluster: (M,) int64, which cluster.
    """

    classes: np.ndarray
    clusters: np.ndarray
    met: np.ndarray
    met_class: np.ndarray
    met_cluster: np.ndarray


def agreement(classes: np.ndarray, clusters: np.ndarray) -> Agreement:
    """Count; the table of all classes by all clusters is never held.

    Args:
        classes: (N,) int64, class of each item, numbered from 0.
        clusters: (N,) int64, cluster of each item, numbered from 0; empty clusters do not count.

    Returns:
        Sizes and shared numbers, classes and clusters renumbered without gaps.
    """
    of_class, class_sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    of_cluster, cluster_sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    cells, met = np.unique(of_class * len(cluster_sizes) + of_cluster, return_counts=True)
    return Agreement(class_sizes, cluster_sizes, met, cells // len(cluster_sizes), cells % len(cluster_sizes))


def normalised_mutual_information(found: Agreement) -> float:
    """NMI = 2 I(classes; clusters) / (H(classes) + H(clusters)), in [0, 1]; 1 where both are one group.

    It rises with the number of clusters, also of a clustering by chance; see `adjusted_mutual_information`.

    Example:
        >>> round(normalised_mutual_information(agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))), 12)
        1.0
    """
    entropies = _entropy(found.classes) + _entropy(found.clusters)
    return 1.0 if entropies == 0 else min(1.0, max(0.0, 2 * _mutual_information(found) / entropies))


def adjusted_mutual_information(found: Agreement) -> float:
    """AMI = (I - E[I]) / ((H(classes) + H(clusters)) / 2 - E[I]), at most 1 and 0 on average by chance.

    E[I] is the mean over all clusterings with clusters of these sizes (Vinh, Epps and Bailey, Information theoretic
    measures for clusterings comparison, JMLR 2010). 1 where the expected and the largest value are one.

    Example:
        >>> round(adjusted_mutual_information(agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))), 6)
        -0.5
    """
    expected = _expected_information(found.classes, found.clusters)
    largest = (_entropy(found.classes) + _entropy(found.clusters)) / 2
    if largest - expected <= 1e-12 * max(largest, 1.0):
        return 1.0
    return (_mutual_information(found) - expected) / (largest - expected)


def pair_f1(found: Agreement) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) over pairs of items: TP are of one class in one cluster, FP of two classes in
    one cluster, FN of one class in two clusters. 1 where there is no pair of any of these.

    Example:
        >>> pair_f1(agreement(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])))
        0.4
    """  # noqa: D205 - one sentence
    together, of_class, of_cluster = (_pairs(sizes) for sizes in (found.met, found.classes, found.clusters))
    return 1.0 if of_class + of_cluster == 0 else 2 * together / (of_class + of_cluster)


def _pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _entropy(sizes: np.ndarray) -> float:
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


def _mutual_information(found: Agreement) -> float:
    count = found.classes.sum()
    of_class, of_cluster = found.classes[found.met_class], found.clusters[found.met_cluster]
    share = found.met / count
    ratio = np.log(found.met) + np.log(count) - np.log(of_class) - np.log(of_cluster)
    return float((share * ratio).sum())


def _expected_information(classes: np.ndarray, clusters: np.ndarray) -> float:
    """Mean mutual information under the hypergeometric distribution; equal sizes are computed once."""
    count = int(classes.sum())
    log_factorial = np.array([math.lgamma(n + 1) for n in range(count + 1)])
    total = 0.0
    for a, classes_of_a in zip(*np.unique(classes, return_counts=True), strict=True):
        for b, clusters_of_b in zip(*np.unique(clusters, return_counts=True), strict=True):
            met = np.arange(max(1, a + b - count), min(a, b) + 1)
            if len(met) == 0:
                continue
            log_chance = (
                log_factorial[a]
                + log_factorial[b]
                + log_factorial[count - a]
                + log_factorial[count - b]
                - log_factorial[count]
                - log_factorial[met]
                - log_factorial[a - met]
                - log_factorial[b - met]
                - log_factorial[count - a - b + met]
            )
            information = met / count * (np.log(met) + math.log(count) - math.log(a) - math.log(b))
            total += int(classes_of_a) * int(clusters_of_b) * float((information * np.exp(log_chance)).sum())
    return total
