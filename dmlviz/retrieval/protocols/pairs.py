"""The same person or another: pairs, as on Labeled Faces in the Wild."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.side import Side
from dmlviz.retrieval.verification import FAR, FOLDS, as_pairs, verify_pairs


def lfw(
    name: str,
    queries: Side,
    items: Side,
    ks: None,
    pairs: Any,
    same: Any = None,
    folds: int = FOLDS,
    far: Sequence[float] = FAR,
) -> ProtocolEvaluation:
    """Pairs judged by a threshold that is chosen on the other folds; see `dmlviz.retrieval.Verification`.

    The query of a pair is its first image. Per query: `pairs` (how many it is in), `right` (share of them judged
    rightly by the threshold of their fold) and `margin` (the least distance of their similarities to that threshold,
    negative on the wrong side).

    Args:
        name: the protocol's.
        queries: the side of the pairs' first images.
        items: the side of the second ones.
        ks: None.
        pairs: (P, 2) whole numbers: id of a query, id of an image, or as `dmlviz.retrieval.verification` takes them.
            Their order makes the folds.
        same: (P,) bool, whether the two are of one class; if None as the pairs say, or else by their labels.
        folds: how many folds, from 2 to P.
        far: the rates of false acceptance to report.

    Raises:
        ValueError, TypeError, IndexError: as `dmlviz.retrieval.verification`.
    """
    found = verify_pairs(queries, items, pairs, same, folds, far)
    asking = as_pairs(queries, items, pairs)[0]
    sizes = [len(part) for part in np.array_split(asking, len(found.fold_threshold))]
    threshold = np.repeat(found.fold_threshold, sizes)
    right = (found.similarities > threshold) == found.same
    distance = np.where(right, 1.0, -1.0) * np.abs(found.similarities - threshold)
    ids, place, count = np.unique(asking, return_inverse=True, return_counts=True)
    margin = np.full(len(ids), np.inf)
    np.minimum.at(margin, place, distance)
    per_query = {"pairs": count, "right": np.bincount(place, weights=right) / count, "margin": margin}
    arrays = {
        "fold_accuracy": found.fold_accuracy,
        "fold_threshold": found.fold_threshold,
        "false_acceptance": found.false_acceptance,
        "true_acceptance": found.true_acceptance,
        "curve_thresholds": found.curve_thresholds,
    }
    for array in (ids, *per_query.values(), *arrays.values()):
        array.flags.writeable = False
    values = {
        "accuracy": found.accuracy,
        "accuracy std": found.accuracy_std,
        "AUC": found.auc,
        "EER": found.eer,
    }
    values |= {f"TAR@FAR={rate:g}": tar for rate, tar in found.tar.items()}
    for rate, val in found.val.items():
        values |= {f"VAL@FAR={rate:g}": val, f"VAL@FAR={rate:g} std": found.val_std[rate]}
    at_one_score = np.intersect1d(found.similarities[found.same], found.similarities[~found.same])
    return ProtocolEvaluation(
        protocol=name,
        values=MappingProxyType(values),
        definition=f"{len(place)} pairs. {found.definition[0].upper()}{found.definition[1:]}.",
        query_ids=ids,
        per_query=MappingProxyType(per_query),
        dropped=len(queries.images) - len(ids),
        tied=len(np.unique(place[np.isin(found.similarities, at_one_score)])),
        arrays=MappingProxyType(arrays),
    )


PROTOCOLS = (
    Protocol(
        "lfw",
        "pairs, the same person or another: accuracy over ten folds, EER, AUC, TAR@FAR, VAL@FAR",
        lfw,
        worst_by="right",
        needs=("pairs",),
        takes=("same", "folds", "far"),
        source="Huang et al., Labeled faces in the wild, 2007",
    ),
)
