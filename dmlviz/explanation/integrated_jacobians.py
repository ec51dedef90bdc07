"""Integrated Jacobians: the identity of the exact decomposition for heads of any form, up to a stated error."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from dmlviz.embedder import Embedder
from dmlviz.embedder.integrated import IntegratedEmbeddings, integrated_local_embeddings
from dmlviz.explanation.decomposition import (
    SIMILARITIES,
    Decomposition,
    decompose_similarity,
    rounding_tolerance,
)
from dmlviz.explanation.last_maps import needs_a_network
from dmlviz.explanation.method import Method, against_index
from dmlviz.explanation.options import one_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

COMPLETE = 1e-3
"""How far the parts may miss a similarity, times max(1, |S|), before that counts as an error: an integral by a few
nodes is no exact sum. More nodes bring it down."""
_MEAN_OF = 32  # gallery images, at most, whose mean is the reference "gallery"
Precision = Literal["float32", "float64"]


def integrated_jacobian(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    nodes: int = 8,
    reference: Any = None,
    layer: str | None = None,
    dtype: Precision = "float32",
) -> Decomposition:
    """Decompose a similarity by integrated Jacobians, for heads that are no sum over cells.

    With f from activations to embedding, r the reference and δ = a − r: Eᵢ = ∫₀¹ J(r + tδ) δᵢ dt, b = f(r), and
    S = Σᵢⱼ Dᵢⱼ + Σᵢ rᵢ + Σⱼ cⱼ + k as for `decompose_similarity`, with D = s·E_q E_gᵀ. Möller, Nikolaev and Padó
    (An Attribution Method for Siamese Encoders, 2023, eq. 7 and 9) sum the same numbers over pairs of features;
    here each position is contracted first, so that no tensor of pairs of features is needed.

    What it sums to: the similarity, up to the error of the nodes, which the note states and `residual` shows. What
    it ignores: nothing of the score, but the split depends on the reference. At tokens of a transformer (taken at
    the input of its last attention) the class token and other tokens without a patch go into the offsets, which
    may then hold most of the score: the note says how much of each embedding the patches carry.
    Cost: one forward pass of each image, and for each image and node one forward-mode pass through the head per
    cell, or one backward pass per dimension where that is fewer.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The embedder of queries, where it is another.
        nodes: Gauss–Legendre nodes, >= 1. One is exact for affine heads.
        reference: Where the path starts: None, "zero", "blank", an array of activations, or pictures in a list;
            see `dmlviz.embedder.integrated.integrated_local_embeddings`.
        layer: Where to take the activations; None: the last feature map, or the tokens before the last attention.
        dtype: "float64" runs all in double precision.

    Returns:
        A `Decomposition` with pairs. Where a cosine is undefined its similarity is NaN and its maps are 0.

    Raises:
        ValueError: An unknown option, or embeddings of different spaces.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = integrated_jacobian(birds_embedder(), birds[0], birds[1], nodes=1)
        >>> why.adds_up, why.contributions.shape
        (True, (12, 12, 12, 12))
    """
    options: dict[str, Any] = {"nodes": nodes, "layer": layer, "dtype": dtype, "reference": reference}
    if query_embedder is None or query_embedder is embedder:
        asked, found = integrated_local_embeddings(embedder, [query, item], **options)
    else:
        (asked,) = integrated_local_embeddings(query_embedder, [query], **options)
        (found,) = integrated_local_embeddings(embedder, [item], **options)
    return of_parts(asked, found, similarity, nodes)


def of_parts(
    query: IntegratedEmbeddings, item: IntegratedEmbeddings, similarity: str, nodes: int
) -> Decomposition:
    """Decompose the similarity of two embeddings that were taken apart by integrated Jacobians."""
    one_of(similarity, "similarity", SIMILARITIES)
    by_distance = similarity == "l2"
    why = decompose_similarity(query.local, item.local, "l2" if by_distance else "dot")
    score, scale, size = float(query.embedding @ item.embedding), 1.0, 0.0
    notes = [_said(query, item, nodes)]
    if similarity == "cosine":
        lengths = float(np.linalg.norm(query.embedding) * np.linalg.norm(item.embedding))
        scale = 1.0 / lengths if lengths > 0 else 0.0
        score = score * scale if lengths > 0 else float("nan")
        if not lengths > 0:
            notes.append("an embedding has no length, so its cosine is undefined")
    if by_distance:
        score = 0.0 - float(np.square(query.embedding - item.embedding).sum())
        squares = max(float(np.square(one.embedding).sum()) for one in (query, item))
        size = max(np.sqrt(-score * squares), squares / 100)  # what a distance misses of missed embeddings
    assert why.contributions is not None  # noqa: S101 (decompose_similarity gives them)
    assert why.query_offset is not None  # noqa: S101
    assert why.gallery_offset is not None  # noqa: S101
    whole = replace(
        why,
        contributions=_scaled(why.contributions, scale),
        query_offset=_scaled(why.query_offset, scale),
        gallery_offset=_scaled(why.gallery_offset, scale),
        constant=why.constant * scale,
        similarity=score,
        kind=similarity,
        tolerance=_tolerance(score if np.isnan(score) else max(abs(score), size)),
        method="integrated-jacobian",
        query_geometry=query.geometry,
        gallery_geometry=item.geometry,
    )
    if np.isfinite(score) and not whole.adds_up:
        notes.append("the parts miss the score: take more nodes, or another reference")
    return replace(whole, note="; ".join(notes))


def integrate_ranking(
    gallery: "Gallery",
    query: Any,
    ids: Sequence[int] | np.ndarray,
    *,
    nodes: int = 8,
    reference: Any = None,
    layer: str | None = None,
    dtype: Precision = "float32",
) -> list[Decomposition]:
    """`integrated_jacobian` of a query and several gallery images; the query is taken apart once.

    Args:
        gallery: The gallery that was searched.
        query: The id of a query of the gallery, or whatever else `Gallery.search` takes as a query.
        ids: (k,) ids of gallery images.
        nodes: As for `integrated_jacobian`.
        reference: The same, or "gallery": the mean activations of up to 32 images, evenly spaced, of the gallery
            (for the query's side, where its embedder is another, of the gallery's queries).
        layer: As for `integrated_jacobian`.
        dtype: As for `integrated_jacobian`.

    Raises:
        ValueError: An unknown option, or a gallery whose embedder is no network.
    """
    if reason := needs_a_network(gallery):
        raise ValueError(f"the method does not suit this gallery: {reason}")
    chosen = [int(i) for i in ids]
    options: dict[str, Any] = {"nodes": nodes, "layer": layer, "dtype": dtype}
    start = own = reference
    if isinstance(reference, str) and reference == "gallery":
        start = _spread(gallery.images)
        own = start if gallery.query_embedder is gallery.embedder else _spread(gallery.queries)
    picture = gallery.query_image(query)
    (asked,) = integrated_local_embeddings(gallery.query_embedder, [picture], reference=own, **options)
    items = [gallery.images[i] for i in chosen]
    found = integrated_local_embeddings(gallery.embedder, items, reference=start, **options)
    whys = [of_parts(asked, one, gallery.similarity, nodes) for one in found]
    return [
        replace(
            held,
            note=why.note,  # how the embedder itself takes embeddings apart is another matter
            query_geometry=why.query_geometry,
            gallery_geometry=why.gallery_geometry,
        )
        for held, why in zip(against_index(gallery, query, chosen, whys), whys, strict=True)
    ]


def _spread(images: Any) -> list[np.ndarray]:
    """Up to 32 images of a set, evenly spaced."""
    places = np.linspace(0, len(images) - 1, min(len(images), _MEAN_OF)).round().astype(int)
    return [images[int(i)] for i in np.unique(places)]


def _tolerance(score: float) -> float:
    return rounding_tolerance(np.dtype(np.float32), score) * COMPLETE / 1e-5


def _scaled(parts: np.ndarray, scale: float) -> np.ndarray:
    return cast(np.ndarray, parts * parts.dtype.type(scale))


def _said(query: IntegratedEmbeddings, item: IntegratedEmbeddings, nodes: int) -> str:
    where = f" at {item.layer!r}" if item.layer else ""
    start = (
        query.reference if query.reference == item.reference else f"{query.reference} and {item.reference}"
    )
    said = (
        f"integrated Jacobians{where}, {nodes} node{'s' if nodes > 1 else ''} from {start}; the parts miss "
        f"{query.missed:.1e} of the query's way to its embedding and {item.missed:.1e} of the match's"
    )
    if query.prefix or item.prefix:
        said += (
            f"; patches carry {query.spatial:.0%} of the query's embedding and {item.spatial:.0%} of the match's, "
            f"the offsets the rest (class token and other tokens without a patch, the reference)"
        )
    return said


OFFERED = (
    Method(
        name="integrated-jacobian",
        title="integrated Jacobians",
        says="Every pair of cells by its share along a path from a reference, for heads that are no sum over cells. "
        "The parts add up to the score but for a stated error of the integral; the split depends on the reference.",
        cost="1 forward pass of each image, 8 passes through the head for each cell (or dimension, if fewer)",
        of_ranking=integrate_ranking,
        unsuited=needs_a_network,
        pairwise=True,
        linear=True,
    ),
)
