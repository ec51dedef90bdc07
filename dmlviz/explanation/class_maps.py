"""CAM: where an image speaks for a class, in networks with a classifier."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead, LocalEmbeddings
from dmlviz.embedder.as_found import evaluating
from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.last_maps import LastMap, last_maps, map_by_map, needs_a_network, two_maps
from dmlviz.explanation.method import Method

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Reads = Literal["embedding", "pooled"]
READS: tuple[str, ...] = get_args(Reads)
_BATCH = 16


def cam(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    classifier: Any = None,
    target: int | None = None,
    reads: Reads | None = None,
) -> Decomposition:
    """Class activation maps of a query and of a gallery image, for one class.

    M_i = ⟨w_c, x_i⟩ with the classifier's weights w_c of class c and each cell's share x_i of what the classifier
    reads; with average pooling this is Σ_k w_k^c A_ki / n (Zhou et al., Learning Deep Features for Discriminative
    Localization, CVPR 2016, eq. 2, divided by the number of cells n, so that the map sums up).

    What the sum means: each map sums to the logit of class c less the bias (the classifier's own, and the head's
    offset as the classifier reads it; `constant`, the same for both images of one network). These are logits and
    no shares of the similarity: two images may be alike for other reasons than their class. What it ignores: the
    other image, pairs. Cost: one forward pass of each image.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: Not used; the class's logit is explained whatever the gallery ranks by.
        query_embedder: The embedder of queries, where it is another.
        classifier: nn.Linear, or (weight, bias): weight (K, F) and bias (K,) or None, real numbers. None: the
            embedder's own `classifier`.
        target: The class, 0 ≤ target < K. None: the class that the query is given, the first of those that tie.
        reads: "embedding": the classifier reads the unnormalised embedding; "pooled": the pooled features before
            the head's linear map and batch normalisation. None: whichever has F numbers.

    Returns:
        A `Decomposition` of kind "class logit": `similarity` is the query's logit, `query_map` and `gallery_map`
        (h, w) are float32 (float64 for a network in float64), signed, in units of the logit. It promises nothing
        for the similarity. A feature map of zeros gives a map of zeros.

    Raises:
        ValueError: No classifier, one of another width, an ambiguous width, or values that are not finite.
        TypeError: A classifier or target of another type.
        IndexError: No such class.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> weight, bias = np.eye(64), np.zeros(64)  # as if each number of the embedding were a class
        >>> why = cam(birds_embedder(), birds[0], birds[1], classifier=(weight, bias))
        >>> why.kind, why.query_map.shape, why.adds_up
        ('class logit', (12, 12), True)
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, classifier=classifier, target=target, reads=reads)


def class_scores(
    embedder: Embedder, pictures: Sequence[np.ndarray], classifier: Any = None, reads: Reads | None = None
) -> np.ndarray:
    """What a network's classifier says of pictures (eq. 1 of the CAM paper, with the bias).

    Args:
        embedder: Whose trunk and head they go through.
        pictures: N pictures (h, w, 3) uint8; an `ImageSet` is such a sequence.
        classifier: As for `cam`; None: the embedder's own.
        reads: As for `cam`.

    Returns:
        (N, K) float64 logits, one per class; `cam` explains the first of the largest.

    Raises:
        ValueError: As for `cam`.
        TypeError: As for `cam`.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> embedder, birds = birds_embedder(), dv.birds(families=1, per_class=1)
        >>> class_scores(embedder, birds.subset([0, 1]), (np.eye(64), None)).shape
        (2, 64)
    """
    by = _as_classifier(classifier, embedder)
    scores = np.empty((len(pictures), len(by.bias)))
    for start in range(0, len(pictures), _BATCH):
        some = [pictures[i] for i in range(start, min(start + _BATCH, len(pictures)))]
        for i, one in enumerate(last_maps(embedder, some), start):
            scores[i] = by.weight @ _whole(_what_is_read(one, by, reads)) + by.bias
    return scores


@dataclass(frozen=True, eq=False)
class _Classifier:
    weight: np.ndarray  # (K, F) float64
    bias: np.ndarray  # (K,) float64


def _of_maps(
    query: LastMap,
    item: LastMap,
    *,
    similarity: str = "cosine",
    classifier: Any = None,
    target: int | None = None,
    reads: str | None = None,
) -> Decomposition:
    if reads is not None and reads not in READS:
        raise ValueError(f"reads must be one of {', '.join(map(repr, READS))} or None; got {reads!r}")
    of_query = _as_classifier(classifier, query.embedder)
    of_item = of_query if item.embedder is query.embedder else _as_classifier(classifier, item.embedder)
    if len(of_query.bias) != len(of_item.bias):
        raise ValueError(
            f"the classifiers of both images must know the same classes; got {len(of_query.bias)} for the query and "
            f"{len(of_item.bias)} for the gallery image. Pass one as classifier="
        )
    parts = _what_is_read(query, of_query, reads), _what_is_read(item, of_item, reads)
    scores = of_query.weight @ _whole(parts[0]) + of_query.bias
    chosen = int(np.argmax(scores)) if target is None else _checked_target(target, len(scores))
    maps, rests = [], []
    for part, by in zip(parts, (of_query, of_item), strict=True):
        maps.append((part.vectors.astype(np.float64) @ by.weight[chosen]).astype(part.vectors.dtype))
        rests.append(float(part.offset.astype(np.float64) @ by.weight[chosen] + by.bias[chosen]))
    of_match = float(maps[1].sum(dtype=np.float64)) + rests[1]
    why = "the query's first class" if target is None else "as asked"
    score = float(scores[chosen])
    return Decomposition(
        contributions=None,
        query_offset=None,
        gallery_offset=None,
        constant=rests[0],
        similarity=score,
        kind="class logit",
        tolerance=rounding_tolerance(maps[0].dtype, float(np.abs(maps[0]).sum()) + abs(rests[0])),
        method="cam",
        note=f"maps of class {chosen} ({why}), no share of the similarity; each sums to its logit less the bias: "
        f"query {score:+.4g} − ({rests[0]:+.3g}), match {of_match:+.4g} − ({rests[1]:+.3g})",
        query_map=maps[0],
        gallery_map=maps[1],
        promises=False,
    )


def _as_classifier(given: Any, embedder: Embedder) -> _Classifier:
    own = embedder.classifier if given is None else given
    if own is None:
        raise ValueError(f"{_none(embedder)}; pass classifier=, an nn.Linear or (weight, bias)")
    if isinstance(own, nn.Linear):
        weight, bias = own.weight, own.bias
    elif isinstance(own, tuple | list) and len(own) == 2:
        weight, bias = own
    else:
        raise TypeError(f"classifier must be an nn.Linear or (weight, bias), got {type(own).__name__}")
    w = _numbers(weight, "weight")
    b = np.zeros(len(w)) if bias is None and w.ndim else _numbers(bias, "bias")
    if w.ndim != 2 or b.shape != w.shape[:1] or 0 in w.shape:
        raise ValueError(
            f"classifier must have a weight (K, F) and a bias (K,) or None, got {w.shape} and {b.shape}"
        )
    return _Classifier(w, b)


def _numbers(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values.detach().cpu().double() if isinstance(values, torch.Tensor) else values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"the classifier's {what} must hold real numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"the classifier's {what} holds NaN or infinite values; look at how it was trained")
    return array.astype(np.float64)


def _checked_target(target: Any, classes: int) -> int:
    try:
        chosen = operator.index(target)
    except TypeError:
        raise TypeError(f"target must be the number of a class, got {type(target).__name__}") from None
    if not 0 <= chosen < classes:
        raise IndexError(f"target must be a class from 0 to {classes - 1}, got {chosen}")
    return chosen


def _what_is_read(image: LastMap, by: _Classifier, reads: str | None) -> LocalEmbeddings:
    """What the classifier reads, taken apart over the cells."""
    embedder, features = image.embedder.unmapped, by.weight.shape[1]  # no classifier reads what is mapped
    head, widths = embedder.head, {"embedding": embedder.dim}
    if isinstance(head, LinearHead):
        c, h, w = image.feature_map.shape
        widths["pooled"] = c * h * w if head.pooling == "flatten" else c
    fitting = [name for name, width in widths.items() if width == features and reads in (None, name)]
    if not fitting:
        offered = ", ".join(f"{name} {width}" for name, width in widths.items() if reads in (None, name))
        raise ValueError(
            f"the classifier reads {features} numbers, and the network has "
            f"{offered or 'no pooled features that are known'}; pass the classifier that was trained on it"
        )
    bare = isinstance(head, LinearHead) and head.linear is None and head.batch_norm is None
    if len(fitting) == 2 and not bare:
        raise ValueError(
            f"the embedding and the pooled features both have {features} numbers, so it is open which of them the "
            "classifier reads; say reads='embedding' or reads='pooled'"
        )
    if fitting[0] == "pooled" and isinstance(head, LinearHead):
        head = LinearHead(head.pooling, p=head.p.detach(), eps=head.eps, ties=head.ties)
    with torch.no_grad(), evaluating(head):
        return head.local_embeddings(image.feature_map)


def _whole(parts: LocalEmbeddings) -> np.ndarray:
    whole: np.ndarray = parts.vectors.sum((0, 1), dtype=np.float64) + parts.offset
    return whole


def _none(embedder: Embedder) -> str:
    return f"the embedder {embedder.name!r} has no classifier, and a class activation map needs one"


def _unsuited(gallery: "Gallery") -> str:
    if reason := needs_a_network(gallery):
        return reason
    for embedder in (gallery.query_embedder, gallery.embedder):
        if embedder.classifier is None:
            return f"{_none(embedder)}; pass classifier=, an nn.Linear or (weight, bias)"
    return ""


OFFERED = (
    Method(
        name="cam",
        title="CAM",
        says="Where each image speaks for one class, by default the class that the query is given. Each map sums to "
        "that class's logit less the bias, which is no share of the similarity.",
        cost="1 forward pass of each image",
        of_ranking=map_by_map(_of_maps),
        unsuited=_unsuited,
        supplied_by=("classifier",),
    ),
)
