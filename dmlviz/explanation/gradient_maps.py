"""Grad-CAM of a similarity, and its variants: gradients at the last feature map, times what is active there."""

from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder import Embedder
from dmlviz.embedder.as_found import evaluating
from dmlviz.explanation.decomposition import SIMILARITIES, Decomposition, rounding_tolerance
from dmlviz.explanation.last_maps import LastMap, embedding_of, map_by_map, needs_a_network, two_maps
from dmlviz.explanation.method import Method
from dmlviz.explanation.options import one_of, same_space

Norm = Literal["variable", "constant"]
NORMS: tuple[str, ...] = get_args(Norm)


def grad_cam(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    norm: Norm = "variable",
    relu: bool = True,
) -> Decomposition:
    """Grad-CAM of a similarity, one map of each image.

    With activations A (C channels, n cells) and S the similarity: M = ReLU(Σ_k α_k A_k), α_k = (1/n) Σᵢ ∂S/∂A_ki
    (Selvaraju et al., Grad-CAM, 2017, eq. 1 and 2, with S in the place of the class score, as Zhu, Yang and Chen,
    Visual Explanation for Deep Metric Learning, TIP 2021, do). Gradients end at the last feature map; the other
    image is held fixed.

    What a map sums to: with average pooling and `relu=False`, the similarity less the own offset's part where the
    norm is constant, and nearly nothing where it varies (a cosine does not change when an embedding grows, so its
    gradient × activation sums to 0 without offsets). With any other pooling, no known part of the similarity.
    Of minus a squared distance the gradient is 2(e_g − e_q): with average pooling and `relu=False` the map is twice
    the first-order form of `decompose_squared_distance`, and 0 where both embeddings are the same.
    What it ignores: which cells the pooling took (the average over cells wipes that out), pairs, offsets.
    Cost: one forward pass of each image and one backward pass of each through the head alone.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The embedder of queries, where it is another.
        norm: "variable" differentiates the lengths in the cosine, too, as the paper does; "constant" holds them
            fixed, so that only the directions speak. A dot product and a distance are not divided by lengths: there
            both are the same.
        relu: True clips negative cells to 0, as the paper does; the note says what was clipped. False keeps signs.

    Returns:
        A `Decomposition` with `query_map` and `gallery_map`, (h, w) float32 (float64 for a network in float64),
        in units of the similarity, signed unless clipped. It makes no promise to add up. Where nothing is left
        (all cells negative, all zero, embeddings that point the same way under a varying norm) the map is 0
        everywhere and the note says so; where a cosine is undefined, the similarity is NaN and the maps are 0.

    Raises:
        ValueError: An unknown option, embeddings of different spaces, or a feature map that is not finite.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = grad_cam(birds_embedder(), birds[0], birds[1])
        >>> why.query_map.shape, bool((why.query_map >= 0).all()), why.promises
        ((12, 12), True, False)
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, norm=norm, relu=relu, method="grad-cam")


def grad_cam_unnormalised(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    norm: Norm = "variable",
    relu: bool = True,
) -> Decomposition:
    """Grad-CAM of the dot product of the unnormalised embeddings, whatever the gallery ranks by.

    Zhu, Yang and Chen's "Grad-CAM without normalisation". As `grad_cam` with similarity "dot": with average
    pooling and `relu=False` each map equals the exact overall map of the dot product. Cost as for `grad_cam`.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: Not used; the dot product is explained whatever the gallery ranks by.
        query_embedder: The embedder of queries, where it is another.
        norm: As for `grad_cam`; without effect, since no length is in a dot product.
        relu: As for `grad_cam`.

    Returns:
        As `grad_cam`, of kind "dot".

    Raises:
        ValueError: As `grad_cam`.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> grad_cam_unnormalised(birds_embedder(), birds[0], birds[1]).kind
        'dot'
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, norm=norm, relu=relu, method="grad-cam-unnormalised")


def rectified_grad_cam(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    norm: Norm = "constant",
    relu: bool = True,
) -> Decomposition:
    """Rectified Grad-CAM of a similarity: gradient × activation at each cell, without the average over cells.

    M_i = ReLU(Σ_k ∂S/∂A_ki · A_ki) (RGrad-CAM of Zhu, Yang and Chen, Visual Explanation for Deep Metric Learning,
    TIP 2021). They differentiate the dot product of the unnormalised embeddings; that is the cosine with its
    norms held constant times ‖e_q‖‖e_g‖, so `norm="constant"` gives their map in units of the cosine.

    What a map sums to, with `relu=False`: for average, maximum, GeM and flattened features and a constant norm (or
    similarity "dot") it is the exact overall map and sums to the similarity less the own offset's part. With a
    varying norm and offset b it sums to −⟨b, u_g − S·u_q⟩/‖e_q‖, which is 0 without offsets (u: unit embeddings).
    Of minus a squared distance it is, for the same heads, twice the first-order map, −2⟨xᵢ, e_q − e_g⟩.
    What it ignores: pairs, and the own offset. Cost as for `grad_cam`.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The embedder of queries, where it is another.
        norm: As for `grad_cam`.
        relu: As for `grad_cam`.

    Returns:
        As `grad_cam`.

    Raises:
        ValueError: As `grad_cam`.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = rectified_grad_cam(birds_embedder(), birds[0], birds[1], relu=False)
        >>> abs(why.residual) < 1e-5  # this head has no offset
        True
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, norm=norm, relu=relu, method="rectified-grad-cam")


def _of_maps(
    query: LastMap,
    item: LastMap,
    *,
    method: str,
    similarity: str = "cosine",
    norm: str | None = None,
    relu: bool = True,
) -> Decomposition:
    if norm is None:
        norm = "constant" if method == "rectified-grad-cam" else "variable"
    one_of(norm, "norm", NORMS)
    one_of(similarity, "similarity", SIMILARITIES)
    kind = "dot" if method == "grad-cam-unnormalised" else similarity
    e_q, e_g = embedding_of(query), embedding_of(item)
    same_space(e_q.size, e_g.size)
    score, of_query, of_item, why_flat = _gradients(e_q, e_g, kind, norm, _precision(query, item))
    maps, notes = [], []
    for side, image, gradient in (("query", query, of_query), ("match", item, of_item)):
        drawn, note = _drawn(_signed_map(image, gradient, method == "rectified-grad-cam"), relu)
        maps.append(drawn)
        notes.append(f"{side}: {note}")
    note = why_flat or f"one map of each image, no share of the score ({'; '.join(notes)})"
    return Decomposition(
        contributions=None,
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        similarity=score,
        kind=kind,
        tolerance=rounding_tolerance(maps[0].dtype, score),
        method=method,
        note=note,
        query_map=maps[0],
        gallery_map=maps[1],
        promises=False,
    )


def _precision(query: LastMap, item: LastMap) -> float:
    """Below which share of an embedding's length what moves a similarity is nothing but rounding."""
    double = {query.feature_map.dtype, item.feature_map.dtype} == {torch.float64}
    return 1e-12 if double else 1e-5


def _gradients(
    e_q: np.ndarray, e_g: np.ndarray, kind: str, norm: str, precision: float
) -> tuple[float, np.ndarray, np.ndarray, str]:
    """The similarity, its gradients by either embedding, and why they are zero where they are."""
    if kind == "dot":
        return float(e_q @ e_g), e_g, e_q, ""
    if kind == "l2":
        return _of_distance(e_q, e_g, precision)
    long_q, long_g = float(np.linalg.norm(e_q)), float(np.linalg.norm(e_g))
    if not (long_q > 0 and long_g > 0):
        nothing = np.zeros_like(e_q)
        return float("nan"), nothing, nothing, "an embedding has no length, so its cosine is undefined"
    u_q, u_g = e_q / long_q, e_g / long_g
    score = float(u_q @ u_g)
    if norm == "constant":
        return score, u_g / long_q, u_q / long_g, ""
    # the part of the other's direction at right angles to the own
    across_q, across_g = u_g - score * u_q, u_q - score * u_g
    if np.linalg.norm(across_q) <= precision:
        nothing = np.zeros_like(e_q)
        note = (
            "the embeddings point the same way or opposite ways, where the cosine with a varying norm has no "
            "gradient: the maps are 0 everywhere; norm='constant' draws one"
        )
        return score, nothing, nothing, note
    return score, across_q / long_q, across_g / long_g, ""


def _of_distance(
    e_q: np.ndarray, e_g: np.ndarray, precision: float
) -> tuple[float, np.ndarray, np.ndarray, str]:
    """As `_gradients`, of −‖e_q − e_g‖²."""
    apart = e_g - e_q
    score = 0.0 - float(apart @ apart)
    if np.linalg.norm(apart) <= precision * max(np.linalg.norm(e_q), np.linalg.norm(e_g)):
        nothing = np.zeros_like(apart)
        same = "the embeddings are the same, where a squared distance has no gradient: the maps are 0"
        return score, nothing, nothing, same
    return score, 2.0 * apart, -2.0 * apart, ""


def _signed_map(image: LastMap, gradient: np.ndarray, per_cell: bool) -> np.ndarray:
    """Σ_k ∂S/∂A_ki · A_ki per cell, or with the gradient averaged over the cells first; (h, w)."""
    head = image.embedder.head
    with torch.inference_mode(False), torch.enable_grad(), evaluating(head):
        feature_map: Tensor = image.feature_map.clone().requires_grad_()
        embedding = head(feature_map[None])[0]
        score = embedding @ torch.as_tensor(gradient).to(embedding)
        (found,) = torch.autograd.grad(score, feature_map)
    if not per_cell:
        found = found.mean((1, 2), keepdim=True)
    return (found * image.feature_map).sum(0).cpu().numpy()


def _drawn(signed: np.ndarray, relu: bool) -> tuple[np.ndarray, str]:
    """The map as it is drawn, and what there is to know of it."""
    if not signed.any():
        return signed, "0 everywhere"
    total, below = float(signed.sum(dtype=np.float64)), signed < 0
    if not relu:
        return signed, f"the signed map sums to {total:+.3g}"
    clipped = float(signed.sum(dtype=np.float64, where=below))
    kept = np.maximum(signed, 0)
    if not kept.any():
        return kept, f"no cell is positive, the ReLU clipped all of {clipped:+.3g}"
    if not below.any():
        return kept, f"no cell is negative, the map sums to {total:+.3g}"
    return kept, f"the ReLU clipped {below.mean():.0%} of the cells, {clipped:+.3g} in sum"


def _offered(name: str, title: str, says: str) -> Method:
    options: dict[str, Any] = {"method": name}
    return Method(
        name=name,
        title=title,
        says=says,
        cost="1 forward pass of each image, 1 backward pass of each through the head alone",
        of_ranking=map_by_map(partial(_of_maps, **options)),
        unsuited=needs_a_network,
    )


OFFERED = (
    _offered(
        "grad-cam",
        "Grad-CAM",
        "Channels weighted by the mean gradient of the similarity; negative cells are clipped. It is no share of "
        "the score: one map of each image, and of a cosine the signed map sums to nearly nothing.",
    ),
    _offered(
        "grad-cam-unnormalised",
        "Grad-CAM, unnormalised",
        "Grad-CAM of the dot product of the unnormalised embeddings; negative cells are clipped. With average "
        "pooling its signed map is the exact overall map of that dot product, with other pooling no share of it.",
    ),
    _offered(
        "rectified-grad-cam",
        "rectified Grad-CAM",
        "Gradient × activation at each cell, the norms held constant; negative cells are clipped. Unclipped it is "
        "the exact overall map for average, maximum, GeM and flattened features, less the image's own offset (of a "
        "squared distance twice the first-order map).",
    ),
)
