"""The images put into as many groups as there are classes: NMI, AMI, F1."""

from types import MappingProxyType

import numpy as np

from dmlviz.index.kmeans import kmeans
from dmlviz.retrieval.clusterings import (
    adjusted_mutual_information,
    agreement,
    normalised_mutual_information,
    pair_f1,
)
from dmlviz.retrieval.judging import classes_of
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.side import Side

ITERATIONS = 20


def clustering(name: str, queries: Side, items: Side, ks: None, seed: int = 0) -> ProtocolEvaluation:
    """Cluster the embeddings by k-means, and compare with the classes (Oh Song et al., CVPR 2016; Musgrave et al.).

    K is the number of classes; the rows are those that are ranked (of length one under cosine). Per image, among the
    other images of its cluster and of its class: `precision` is the share of its cluster that is of its class (NaN
    where it is alone there), `recall` the share of its class that is in its cluster (NaN where its class is its own),
    `f1` = 2 TP / (cluster + class), 1 where it is alone in both.

    Args:
        name: the protocol's.
        queries: the side that asks, the very images that are ranked.
        items: the side that is ranked.
        ks: None.
        seed: of k-means; another seed gives slightly other numbers.

    Raises:
        ValueError: there is a separate query set, or labels are lacking.
        TypeError: a seed that is no whole number.
    """
    if queries.images is not items.images:
        raise ValueError(
            f"the protocol {name!r} clusters the gallery's own images, but this gallery has a query set; build one "
            "without queries="
        )
    classes = classes_of(queries.images, items.images)[1][items.ids]
    of_class, sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    cluster = kmeans(items.rows, len(sizes), seed, ITERATIONS).cluster
    found = agreement(classes, cluster)
    own_class = sizes[of_class] - 1
    own_cluster = np.bincount(cluster)[cluster] - 1
    together = _shared(of_class, cluster) - 1
    per_query = {
        "cluster": cluster,
        "precision": _share(together, own_cluster),
        "recall": _share(together, own_class),
        "f1": np.where(
            own_class + own_cluster > 0, 2 * together / np.maximum(own_class + own_cluster, 1), 1.0
        ),
    }
    for array in per_query.values():
        array.flags.writeable = False
    return ProtocolEvaluation(
        protocol=name,
        values=MappingProxyType(
            {
                "NMI": normalised_mutual_information(found),
                "AMI": adjusted_mutual_information(found),
                "F1": pair_f1(found),
            }
        ),
        definition=f"K-means with K = {len(sizes)}, the number of classes, {ITERATIONS} iterations, seed {seed}, on "
        "the rows that are ranked. NMI and AMI: mutual information divided by the arithmetic mean of the two "
        "entropies, AMI after taking off what chance gives. F1: over pairs of images, 2 TP / (2 TP + FP + FN).",
        query_ids=items.ids,
        per_query=MappingProxyType(per_query),
        dropped=len(items.images) - len(items.ids),
        tied=0,
    )


def _shared(of_class: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(N,) how many images are of each image's class and in its cluster, itself among them."""
    cells = of_class * (int(cluster.max()) + 1) + cluster
    place, counts = np.unique(cells, return_inverse=True, return_counts=True)[1:]
    return counts[place]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


PROTOCOLS = (
    Protocol(
        "clustering",
        "k-means with as many clusters as classes: NMI, AMI and F1 over pairs",
        clustering,
        worst_by="f1",
        takes=("seed",),
        source="Oh Song et al., Deep metric learning via lifted structured feature embedding, CVPR 2016",
    ),
)
