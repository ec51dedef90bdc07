"""An L1 distance taken apart exactly: each channel's difference, split by its sign over the cells of both images."""

from typing import Literal, get_args

import numpy as np
import torch

from dmlviz.embedder import Embedder, LinearHead, LocalEmbeddings
from dmlviz.embedder.as_found import evaluating
from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.distance_maps import check_channels
from dmlviz.explanation.last_maps import LastMap, hidden_by_rounding, map_by_map, needs_a_network, two_maps
from dmlviz.explanation.method import Method
from dmlviz.explanation.options import one_of

Features = Literal["channels", "embedding"]
FEATURES: tuple[str, ...] = get_args(Features)


def l1_split(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    of: Features = "channels",
) -> Decomposition:
    """The L1 distance of two images, exactly, over the cells of both.

    See `split_l1` for the identity. It uses the distance of Dist-CAM (Shen et al., eq. 4, summed over the channels)
    without its 1/0, and its parts add up. What it ignores: pairs, and of channels the head. Cost: one forward
    pass of each image.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: Not used; the L1 distance is explained whatever the gallery ranks by.
        query_embedder: The embedder of queries, where it is another.
        of: "channels": of the averages over the cells of the last feature map, as in Dist-CAM; "embedding": of the
            unnormalised embeddings.

    Returns:
        A `Decomposition` of kind "L1", similarity = −distance; see `split_l1`.

    Raises:
        ValueError: Unknown features, different numbers of them, or a feature map that is not finite.
        HeadError: A head that is not a sum over cells at one of the images ("embedding" only).

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = l1_split(birds_embedder(), birds[0], birds[1])
        >>> why.adds_up, why.similarity < 0
        (True, True)
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity, of=of)


def split_l1(query: LocalEmbeddings, gallery: LocalEmbeddings) -> Decomposition:
    """Take the L1 distance of two sums over cells apart.

    With e = Σᵢ xᵢ + b on either side, Δ = e_q − e_g and σ_k = sign(Δ_k): |Δ_k| = σ_k Δ_k, so
    −‖Δ‖₁ = −Σᵢ ⟨σ, xᵢ^q⟩ + Σⱼ ⟨σ, xⱼ^g⟩ − ⟨σ, b_q − b_g⟩: a map of each image and a constant. Positive cells bring
    the images nearer, negative ones drive them apart.

    Channels that agree to rounding (1e-5 of the largest in float32, 1e-12 in float64) have σ_k = 0: which sign is
    left there is chance. Their |Δ_k| is in the constant, so that the sum stays exact.

    Args:
        query: The query's local embeddings.
        gallery: The gallery image's; its grid may differ, its dimension may not.

    Returns:
        A `Decomposition` of kind "L1": `query_offset` (hq, wq) and `gallery_offset` (hg, wg) are the two maps,
        signed, in units of the features; there are no pairs; similarity = −distance ≤ 0.

    Raises:
        ValueError: If the dimensions differ, or a value is NaN or infinite.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings
        >>> query = LocalEmbeddings(np.array([[[1.0, 0.0], [2.0, 1.0]]]), np.zeros(2))  # e = (3, 1)
        >>> gallery = LocalEmbeddings(np.array([[[1.0, 5.0]]]), np.zeros(2))            # e = (1, 5)
        >>> why = split_l1(query, gallery)
        >>> why.overall_map("query").tolist(), why.overall_map("gallery").tolist(), why.similarity
        ([[-1.0, -1.0]], [[-4.0]], -6.0)
    """
    for name, side in (("query", query), ("gallery", gallery)):
        if not side.finite:
            raise ValueError(f"the {name}'s local embeddings must be finite; got NaN or infinity")
    if query.dim != gallery.dim:
        raise ValueError(
            f"both images must have the same features; got {query.dim} for the query and {gallery.dim} for the "
            "gallery image. Were they made by the same embedder?"
        )
    e_q, e_g = (side.vectors.sum((0, 1), dtype=np.float64) + side.offset for side in (query, gallery))
    dtype = np.result_type(query.vectors, gallery.vectors)
    difference = e_q - e_g
    agree = np.abs(difference) <= hidden_by_rounding(e_q, e_g, dtype)
    sign = np.where(agree, 0.0, np.sign(difference))
    of_query = 0.0 - query.vectors.astype(np.float64) @ sign
    of_gallery = gallery.vectors.astype(np.float64) @ sign
    constant = -float(sign @ (query.offset.astype(np.float64) - gallery.offset))
    constant -= float(np.abs(difference[agree]).sum())
    mass = float(np.abs(of_query).sum() + np.abs(of_gallery).sum()) + abs(constant)
    note = "an L1 distance, less than 0 by as much as the images lie apart: each image's own map, no pairs"
    if agree.all():
        note += "; all features agree to rounding, so the maps are 0 everywhere"
    return Decomposition(
        contributions=None,
        query_offset=of_query.astype(dtype),
        gallery_offset=of_gallery.astype(dtype),
        constant=constant,
        similarity=0.0 - float(np.abs(difference).sum()),
        kind="L1",
        tolerance=rounding_tolerance(dtype, mass),
        method="l1-split",
        note=note,
    )


def _of_maps(
    query: LastMap, item: LastMap, *, similarity: str = "cosine", of: str = "channels"
) -> Decomposition:
    one_of(of, "of", FEATURES)
    if of == "channels":
        check_channels(query.feature_map.shape[0], item.feature_map.shape[0])
        return split_l1(*(LinearHead("avg").local_embeddings(one.feature_map) for one in (query, item)))
    return split_l1(_local(query), _local(item))


def _local(image: LastMap) -> LocalEmbeddings:
    head = image.embedder.head
    with torch.no_grad(), evaluating(head):
        return head.local_embeddings(image.feature_map)


OFFERED = (
    Method(
        name="l1-split",
        title="L1 distance, split by sign",
        says="The L1 distance between the two images' average features, each channel by its sign over the cells of "
        "both. The two maps and the constant add up to minus the distance, which is not the score that ranked.",
        cost="1 forward pass of each image",
        of_ranking=map_by_map(_of_maps),
        unsuited=needs_a_network,
        linear=True,
    ),
)
