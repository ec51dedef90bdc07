"""Dist-CAM: channels that agree between two images, weighted up, and where they are active."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dmlviz.embedder import Embedder
from dmlviz.explanation.decomposition import Decomposition
from dmlviz.explanation.last_maps import (
    LastMap,
    hidden_by_rounding,
    last_maps,
    map_by_map,
    needs_a_network,
    two_maps,
)
from dmlviz.explanation.method import Method

_BATCH = 16


def dist_cam(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    prototype: Any = None,
    eps: float | None = None,
) -> Decomposition:
    """Dist-CAM of a query against a gallery image or a class prototype.

    With Q and S the last feature maps and averages over the cells: D_k = |S̄_k − Q̄_k| (eq. 4),
    W_k = norm(1/D_k) (eq. 5), M = Σ_k W_k Q_k (eq. 6 of Shen et al., Distance-Based Class Activation Map for
    Metric Learning). Two things the paper leaves open are fixed here:

    - 1/0: W_k is taken of max(D_k, eps). By default eps is 1e-5 (float64: 1e-12) of the largest average in either
      image, below which rounding decides; channels that agree to that accuracy share the weight evenly. So
      identical images get the plain mean of the active channels.
    - norm: the weights are divided by their sum over the channels that are active in either map (a channel that
      is 0 everywhere adds nothing to the map, and must not take its weight away). Any other scale changes the map
      by one factor.

    What the sum means: nothing of the similarity; a map is a weighted mean of its own image's channels, in units
    of activation, and signed where activations are. What it ignores: the head, whatever its pooling; whether an
    agreeing channel is active; pairs. Cost: one forward pass of each image (of the query alone for a prototype).

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image. With a prototype it is not looked at.
        similarity: Not used; Dist-CAM has its own distance.
        query_embedder: The embedder of queries, where it is another.
        prototype: (C, h, w) real numbers, the mean feature map of a class (eq. 7, `class_prototype`), in the place of
            the gallery image; or None.
        eps: Smallest D_k that is told from 0, > 0, in units of activation; None: by rounding, as said above.

    Returns:
        A `Decomposition` of kind "L1": `similarity` is −Σ_k D_k, the score by which the paper chooses the nearest.
        `query_map` (h, w); `gallery_map` by the same weights, None with a prototype, which is no picture. It makes
        no promise to add up. Where nothing is active the maps are 0.

    Raises:
        ValueError: Different numbers of channels, an eps that is not above 0, a prototype of another shape, or
            values that are not finite.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = dist_cam(birds_embedder(), birds[0], birds[1])
        >>> why.kind, why.query_map.shape, why.similarity < 0
        ('L1', (12, 12), True)
    """
    if prototype is not None:
        (asked,) = last_maps(query_embedder or embedder, [query])
        return _of_maps(asked, None, similarity=similarity, prototype=prototype, eps=eps)
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, eps=eps)


def class_prototype(embedder: Embedder, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The mean feature map of the pictures of a class (eq. 7 of the Dist-CAM paper).

    Args:
        embedder: Whose trunk they go through.
        pictures: N pictures (h, w, 3) uint8 of one class; `gallery.images.subset(ids)` is such a sequence.

    Returns:
        (C, h, w) float64, in units of activation.

    Raises:
        ValueError: If there is no picture, or a feature map holds NaN or infinity.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> class_prototype(birds_embedder(), birds.subset([0, 1])).shape
        (128, 12, 12)
    """
    if len(pictures) == 0:
        raise ValueError("a prototype is the mean over at least one picture of a class; got none")
    total: Any = 0.0
    for start in range(0, len(pictures), _BATCH):
        some = [pictures[i] for i in range(start, min(start + _BATCH, len(pictures)))]
        total = total + sum(one.feature_map.cpu().double() for one in last_maps(embedder, some))
    found: np.ndarray = (total / len(pictures)).numpy()
    return found


def channel_weights(distances: np.ndarray, eps: float, active: np.ndarray) -> np.ndarray:
    """Eq. 5: the reciprocal of each channel's distance, divided by the sum over the active channels.

    Args:
        distances: (C,) float, ≥ 0.
        eps: Smallest distance told from 0, ≥ 0; where it is 0, channels at distance 0 take all the weight.
        active: (C,) bool.

    Returns:
        (C,) float64, ≥ 0, summing to 1; all 0 where no channel is active.

    Examples:
        >>> import numpy as np
        >>> channel_weights(np.array([1.0, 0.5, 0.0]), 0.25, np.array([True, True, True])).round(3).tolist()
        [0.143, 0.286, 0.571]
    """
    held = np.maximum(np.asarray(distances, dtype=np.float64), eps)[active]
    weights = np.zeros(len(active))
    if held.size:
        nearest = held.min()
        near = nearest / held if nearest > 0 else (held == 0).astype(np.float64)  # the limit of 1/D at 0
        weights[active] = near / near.sum()
    return weights


def _of_maps(
    query: LastMap,
    item: LastMap | None,
    *,
    similarity: str = "cosine",
    prototype: Any = None,
    eps: float | None = None,
) -> Decomposition:
    if eps is not None and not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be above 0, in units of activation, or None; got {eps!r}")
    own = query.feature_map
    if prototype is not None:
        other = _checked_prototype(prototype, own.shape[0])
        item = None
    else:
        assert item is not None  # noqa: S101 (without a prototype there is an item)
        other = item.feature_map.cpu()
    check_channels(own.shape[0], other.shape[0])
    own_mean, other_mean = query.pooled, other.double().mean((1, 2)).numpy()
    distances = np.abs(other_mean - own_mean)
    dtype = np.dtype(np.float64 if own.dtype == torch.float64 else np.float32)
    floor = hidden_by_rounding(own_mean, other_mean, dtype) if eps is None else float(eps)
    active = own.cpu().flatten(1).any(1).numpy() | other.flatten(1).any(1).numpy()
    weights = channel_weights(distances, floor, active)
    return Decomposition(
        contributions=None,
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        similarity=0.0 - float(distances.sum()),
        kind="L1",
        tolerance=0.0,
        method="dist-cam",
        note=_note(weights, distances, floor, active, prototype is not None),
        query_map=_weighted(query, weights),
        gallery_map=None if item is None else _weighted(item, weights),
        promises=False,
    )


def check_channels(query: int, item: int) -> None:
    """Refuse two feature maps whose channels cannot be held against each other."""
    if query != item:
        raise ValueError(
            f"both images must have the same channels; got {query} for the query and {item} for the other. "
            "Were they made by the same embedder?"
        )


def _checked_prototype(prototype: Any, channels: int) -> torch.Tensor:
    array = np.asarray(prototype.detach().cpu() if isinstance(prototype, torch.Tensor) else prototype)
    if array.ndim != 3 or array.dtype.kind not in "fiu" or array.shape[0] != channels or 0 in array.shape:
        raise ValueError(
            f"prototype must be a mean feature map (C, h, w) of real numbers with {channels} channels, got "
            f"{array.dtype} {array.shape}; dmlviz.explanation.class_prototype(embedder, pictures) makes one"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            "the prototype holds NaN or infinite values; look at the feature maps it was made of"
        )
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _weighted(image: LastMap, weights: np.ndarray) -> np.ndarray:
    """Eq. 6, (h, w), the precision of the feature map."""
    by = torch.as_tensor(weights).to(image.feature_map)
    return torch.einsum("c,chw->hw", by, image.feature_map).cpu().numpy()


def _note(
    weights: np.ndarray, distances: np.ndarray, floor: float, active: np.ndarray, to_prototype: bool
) -> str:
    whom = "the query and a class prototype" if to_prototype else "the two images"
    plain = (
        f"where the channels on which {whom} agree are active, in units of activation; no share of the score"
    )
    if not active.any():
        return f"{plain}; no channel is active, so the map is 0 everywhere"
    agreeing = int(((distances <= floor) & active).sum())
    if agreeing == int(active.sum()):
        return f"{plain}; all active channels agree to rounding and weigh the same"
    said = f"{plain}; the heaviest of {int(active.sum())} channels has {weights.max():.0%} of the weight"
    return f"{said}, {agreeing} agree to rounding (1/0 in the paper)" if agreeing else said


OFFERED = (
    Method(
        name="dist-cam",
        title="Dist-CAM",
        says="Where the channels on which both images agree are active, each weighted by one over its difference. "
        "One map of each image, of the feature maps before the head; no share of the score.",
        cost="1 forward pass of each image",
        of_ranking=map_by_map(_of_maps),
        unsuited=needs_a_network,
    ),
)
