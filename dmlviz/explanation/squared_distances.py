"""Squared Euclidean and Mahalanobis distances taken apart, as pairs of cells or as one map of each image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dmlviz.embedder import Embedder, LocalEmbeddings
from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.method import Method, against_index, suits_all
from dmlviz.explanation.options import comparable, one_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Form = Literal["pairs", "first-order"]
FORMS: tuple[str, ...] = get_args(Form)


def decompose_squared_distance(
    query: LocalEmbeddings,
    gallery: LocalEmbeddings,
    form: Form = "pairs",
    *,
    matrix: np.ndarray | None = None,
    factor: np.ndarray | None = None,
) -> Decomposition:
    """Take a squared distance of two images apart; what is explained is −d², so that higher is nearer.

    With e = Σᵢ xᵢ + b on either side, ⟨u, v⟩ = uᵀ M v and δ = e_q − e_g, both forms are exact:

    - "pairs": −‖δ‖² = 2⟨e_q, e_g⟩ − ‖e_q‖² − ‖e_g‖². The pairs are 2⟨xᵢ, xⱼ⟩. A cell by itself carries
      2⟨xᵢ, b_g⟩ − ⟨xᵢ, e_q⟩: its product with the other image's offset, less its share of its own image's squared
      length. The constant is 2⟨b_q, b_g⟩ − ⟨b_q, e_q⟩ − ⟨b_g, e_g⟩.
    - "first-order": −‖δ‖² = −Σᵢ⟨xᵢ, δ⟩ + Σⱼ⟨xⱼ, δ⟩ − ⟨b_q − b_g, δ⟩: one map of each image, no pairs.
      Which cells move the two embeddings apart (negative) and which bring them together (positive).

    Args:
        query: The query's local embeddings.
        gallery: The gallery image's; its grid may differ, its dimension may not.
        form: "pairs" or "first-order".
        matrix: (D, D) symmetric M of a Mahalanobis distance; None: the identity, the Euclidean distance.
        factor: (r, D) L with M = LᵀL, instead of `matrix`.

    Returns:
        A `Decomposition` of kind "squared L2" or "squared Mahalanobis" whose similarity is −d² (≤ 0 unless the
        matrix is indefinite, which the note says).

    Raises:
        ValueError: If the form is unknown, dimensions or matrix do not fit, the matrix is not symmetric, both
            matrix and factor are given, or a value is NaN or infinite.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings
        >>> query = LocalEmbeddings(np.array([[[1.0], [2.0]]]), np.array([1.0]))      # e = 4
        >>> gallery = LocalEmbeddings(np.array([[[3.0]]]), np.array([-1.0]))          # e = 2
        >>> why = decompose_squared_distance(query, gallery)
        >>> why.similarity, why.contributions[0, :, 0, 0].tolist(), why.residual
        (-4.0, [6.0, 12.0], 0.0)
        >>> maps = decompose_squared_distance(query, gallery, form="first-order")
        >>> maps.overall_map("query").tolist(), maps.overall_map("gallery").tolist(), maps.constant
        ([[-2.0, -4.0]], [[6.0]], -4.0)
    """
    one_of(form, "form", FORMS)
    dimension = comparable(query, gallery)
    metric, kind, note = _metric(matrix, factor, dimension)
    dtype = np.result_type(query.vectors, gallery.vectors)
    xq, xg = (side.vectors.reshape(-1, dimension).astype(np.float64) for side in (query, gallery))
    bq, bg = (side.offset.astype(np.float64) for side in (query, gallery))
    e_q, e_g = xq.sum(0) + bq, xg.sum(0) + bg
    delta = e_q - e_g
    measured = metric.__matmul__ if metric is not None else _as_it_is
    score = 0.0 - float(delta @ measured(delta))
    if form == "first-order":
        towards = measured(delta)
        of_query, of_gallery = -(xq @ towards), xg @ towards
        pairs = None
        constant = -float((bq - bg) @ towards)
    else:
        pairs = (2.0 * (xq @ measured(xg.T))).reshape(*query.grid, *gallery.grid).astype(dtype)
        of_query = xq @ measured(2.0 * bg - e_q)
        of_gallery = xg @ measured(2.0 * bq - e_g)
        constant = float(bq @ measured(2.0 * bg - e_q) - bg @ measured(e_g))
    largest = max(abs(float(e_q @ measured(e_q))), abs(float(e_g @ measured(e_g))), abs(score))
    return Decomposition(
        contributions=pairs,
        query_offset=of_query.reshape(query.grid).astype(dtype),
        gallery_offset=of_gallery.reshape(gallery.grid).astype(dtype),
        constant=constant,
        similarity=score,
        kind=kind,
        tolerance=rounding_tolerance(dtype, largest),
        note=note,
        query_local=query if form == "pairs" else None,
        gallery_local=gallery if form == "pairs" else None,
    )


def squared_distance(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
    form: Form = "pairs",
    matrix: np.ndarray | None = None,
    factor: np.ndarray | None = None,
    normalised: bool | None = None,
) -> Decomposition:
    """The squared distance of two pictures, taken apart; see `decompose_squared_distance`.

    Its sum is −d², exactly. It ignores nothing. Cost: one forward pass of each image.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: What the gallery ranks by, "cosine", "dot" or "l2"; decides `normalised` where that is None.
        query_embedder: The embedder of queries, where it is another.
        form: "pairs" or "first-order".
        matrix: (D, D) of a Mahalanobis distance.
        factor: (r, D) with M = LᵀL, instead.
        normalised: Whether embeddings are brought to length 1 first; by default where the gallery ranks by the
            cosine, since then d² = 2 − 2·cosine ranks alike.

    Returns:
        A `Decomposition` whose similarity is −d² ≤ 0, as `decompose_squared_distance` gives it.

    Raises:
        ValueError: As `decompose_squared_distance`, or an embedding of length zero is to be normalised.
        HeadError: A head that is not a sum over cells at one of the images.
    """
    asked = (query_embedder or embedder).local_embeddings([query])[0]
    found = embedder.local_embeddings([item])[0]
    unit = similarity == "cosine" if normalised is None else normalised
    if unit:
        asked, found = unit_length(asked), unit_length(found)
    return decompose_squared_distance(asked, found, form, matrix=matrix, factor=factor)


def unit_length(local: LocalEmbeddings) -> LocalEmbeddings:
    """Local embeddings and offset divided by the length of their embedding.

    Raises:
        ValueError: If the embedding has length zero.
    """
    length = float(np.linalg.norm(local.embedding.astype(np.float64)))
    if length == 0:
        raise ValueError("an embedding of length zero cannot be normalised; use normalised=False")
    dtype = local.vectors.dtype
    return LocalEmbeddings(
        (local.vectors / length).astype(dtype), (local.offset / length).astype(dtype), local.note
    )


def _metric(
    matrix: np.ndarray | None, factor: np.ndarray | None, dimension: int
) -> tuple[np.ndarray | None, str, str]:
    """M (None: the identity), the kind of distance, and what must be said of it."""
    if matrix is None and factor is None:
        return None, "squared L2", ""
    if matrix is not None and factor is not None:
        raise ValueError("give the Mahalanobis distance by its matrix or by its factor, not by both")
    if factor is not None:
        rows = np.asarray(factor, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != dimension or not np.isfinite(rows).all():
            raise ValueError(f"factor must be finite and of shape (r, {dimension}); got shape {rows.shape}")
        return rows.T @ rows, "squared Mahalanobis", ""
    metric = np.asarray(matrix, dtype=np.float64)
    if metric.shape != (dimension, dimension) or not np.isfinite(metric).all():
        raise ValueError(
            f"matrix must be finite and of shape ({dimension}, {dimension}); got shape {metric.shape}"
        )
    if not np.allclose(metric, metric.T, rtol=1e-6, atol=1e-9 * float(np.abs(metric).max())):
        raise ValueError("matrix must be symmetric; give (M + Mᵀ) / 2, which makes the same distance")
    metric = (metric + metric.T) / 2
    spread = np.linalg.eigvalsh(metric)
    indefinite = spread[0] < -1e-9 * max(abs(spread[-1]), abs(spread[0]))
    note = "the matrix is indefinite, so this is no distance: it may be negative" if indefinite else ""
    return metric, "squared Mahalanobis", note


def _as_it_is(vectors: np.ndarray) -> np.ndarray:
    """The identity in the place of a matrix."""
    return vectors


def against_float32(why: Decomposition) -> Decomposition:
    """The same, to be held against a score of stored float32 embeddings, whatever the network computes in.

    A squared distance is a difference of sums L that may be much larger. Embeddings that are off by a share ε of
    their length move it by 2ε‖δ‖‖e‖ = 2ε√(d²·L), and parts that are rounded to float32 by a smaller share of L
    itself.
    """
    parts = (why.query_offset, why.gallery_offset)
    sums = [0.0 if part is None else float(part.sum(dtype=np.float64)) for part in parts]
    largest = max(abs(size) for size in (why.similarity, why.pairs, why.constant, *sums))
    moved = 2.0 * float(np.sqrt(abs(why.similarity) * largest))
    size = max(abs(why.similarity), moved, largest / 10)
    return replace(why, tolerance=rounding_tolerance(np.dtype(np.float32), size))


def _of_ranking(
    gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
) -> list[Decomposition]:
    """From the local embeddings that the gallery remembers."""
    chosen = [int(i) for i in ids]
    normalised = options.pop("normalised", None)
    unit = gallery.similarity == "cosine" if normalised is None else normalised
    plain = options.get("matrix") is None and options.get("factor") is None
    sides = [gallery.query_local(query), *gallery.local_embeddings_of(chosen)]
    if unit:
        sides = [unit_length(side) for side in sides]
    whys = [decompose_squared_distance(sides[0], side, **options) for side in sides[1:]]
    if gallery.similarity == "l2" and plain and not unit:  # the very score that the gallery ranks by
        whys = [replace(against_float32(why), kind="l2") for why in whys]
    return against_index(gallery, query, chosen, whys)


def _named(name: str, **fixed: Any) -> Any:
    def of_ranking(
        gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
    ) -> list[Decomposition]:
        return [replace(why, method=name) for why in _of_ranking(gallery, query, ids, **fixed, **options)]

    return of_ranking


def _without_matrix(gallery: "Gallery") -> str:
    return "a Mahalanobis distance needs its matrix: explain(..., matrix=M) or factor=L"


_COST = "1 forward pass of each image, none once they are remembered"
OFFERED = (
    Method(
        name="squared-l2",
        title="squared L2",
        says="Minus the squared distance, exactly, by pairs of cells: pairs bring the images nearer, each image's "
        "own squared length drives them apart.",
        cost=_COST,
        of_ranking=_named("squared-l2"),
        unsuited=suits_all,
        pairwise=True,
    ),
    Method(
        name="squared-l2-first-order",
        title="squared L2, first order",
        says="Minus the squared distance, exactly, as one map of each image: which cells move the embeddings "
        "apart. Both maps and the constant sum to it; there are no pairs.",
        cost=_COST,
        of_ranking=_named("squared-l2-first-order", form="first-order"),
        unsuited=suits_all,
    ),
    Method(
        name="mahalanobis",
        title="squared Mahalanobis",
        says="Minus the squared Mahalanobis distance for a matrix of yours, exactly, by pairs of cells.",
        cost=_COST,
        of_ranking=_named("mahalanobis"),
        unsuited=_without_matrix,
        supplied_by=("matrix", "factor"),
        pairwise=True,
    ),
)
