"""Structural matching: cells are paired by optimal transport, and the pairs are the similarity."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation.coarser_cells import coarser_geometry, pooled
from dmlviz.explanation.decomposition import Decomposition
from dmlviz.explanation.method import Method, suits_all
from dmlviz.explanation.options import comparable, one_of, whole_number
from dmlviz.explanation.transport import transport

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.retrieval import Gallery, Ranking

Marginals = Literal["cross-attention", "uniform"]
MARGINALS: tuple[str, ...] = get_args(Marginals)
KIND = "structural"
_REGULARISATION = 0.05
_ITERATIONS = 100
_TOLERANCE = 1e-3
_GRID = 4


def structural_matching(
    embedder: "Embedder",
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: "Embedder | None" = None,
    regularisation: float = _REGULARISATION,
    iterations: int = _ITERATIONS,
    tolerance: float = _TOLERANCE,
    marginals: Marginals = "cross-attention",
    grid: int | tuple[int, int] | None = _GRID,
) -> Decomposition:
    """Match the cells of two pictures by optimal transport; the similarity is what the matched pairs share.

    S = Σᵢⱼ Tᵢⱼ·cosᵢⱼ, where T moves the mass of the query's cells to those of the gallery image at the cost
    1 − cosᵢⱼ with entropic regularisation (DIML: Zhao, Rao, Wang, Lu, Zhou, Towards Interpretable Deep Metric
    Learning with Structural Matching, ICCV 2021). A cell's vector is its local embedding plus an even
    share of the offset, so that the vectors of a picture sum to its embedding; for average pooling its direction
    is that of the linear map applied to the cell, as published. Its mass, under "cross-attention", is its
    product with the other picture's whole embedding where that is positive.

    What it means: contributions Tᵢⱼ·cosᵢⱼ sum to S exactly. S is a similarity of its own (`kind` is
    "structural"), not the gallery's: `rerank_by_structure` ranks by it. What it ignores: the lengths of the
    cells' vectors, and cells without mass.

    Cost: one forward pass of each picture, none where a gallery remembers them, and the transport.

    Args:
        embedder: The network of the gallery image, and of the query unless `query_embedder` is given.
        query: (h, w, 3) uint8, as it came.
        item: (h, w, 3) uint8, as it came.
        similarity: Not used: the matching is a similarity of its own. Taken so that all methods are called alike.
        query_embedder: The query's network, where it has one of its own.
        regularisation: λ > 0; the smaller, the fewer partners a cell has, and the more iterations are needed.
        iterations: The most rounds of Sinkhorn's iteration.
        tolerance: They stop once the marginals are missed by at most this share of the mass; the note says by
            how much they are, and where that is still more.
        marginals: The mass of cells: "cross-attention", or "uniform".
        grid: Cells are pooled to so many, one number or (rows, cols), at most as many as there are; 4 as
            published; None keeps them all.

    Returns:
        A `Decomposition` with pairs, float32, on the pooled cells. Where an embedding has length zero, S is NaN
        and the pairs are 0; where no cell has positive mass, the masses are uniform, and the note says so.

    Raises:
        ValueError: If an option is out of range, or the embeddings differ in dimension or are not finite.
        TypeError: If a count is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=2)
        >>> why = structural_matching(birds_embedder(), birds[0], birds[1])
        >>> why.kind, why.grid("query"), why.adds_up
        ('structural', (4, 4), True)
    """
    asker = embedder if query_embedder is None else query_embedder
    why = match_structure(
        asker.local_embeddings(query),
        embedder.local_embeddings(item),
        regularisation=regularisation,
        iterations=iterations,
        tolerance=tolerance,
        marginals=marginals,
        grid=grid,
    )
    return _placed(why, asker, embedder)


def match_structure(
    query: LocalEmbeddings,
    gallery: LocalEmbeddings,
    *,
    regularisation: float = _REGULARISATION,
    iterations: int = _ITERATIONS,
    tolerance: float = _TOLERANCE,
    marginals: Marginals = "cross-attention",
    grid: int | tuple[int, int] | None = _GRID,
) -> Decomposition:
    """The arithmetic of `structural_matching` on local embeddings.

    Args:
        query: The query's local embeddings.
        gallery: The gallery image's; its grid may differ, its dimension may not.
        regularisation: As for `structural_matching`.
        iterations: As for `structural_matching`.
        tolerance: As for `structural_matching`.
        marginals: As for `structural_matching`.
        grid: As for `structural_matching`.

    Returns:
        A `Decomposition` with pairs, of the dtype of the local embeddings.

    Raises:
        ValueError: As for `structural_matching`.
        TypeError: As for `structural_matching`.
    """
    one_of(marginals, "marginals", MARGINALS)
    whole_number(iterations, "iterations", 1)
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is a share of the mass, from 0 to below 1; got {tolerance!r}")
    comparable(query, gallery)
    local = pooled(query, grid), pooled(gallery, grid)
    (units_q, whole_q), (units_g, whole_g) = (_directions(side) for side in local)
    cosines = units_q @ units_g.T
    defined = bool(whole_q.any() and whole_g.any())
    masses, notes = [], []
    for name, units, other in (("query", units_q, whole_g), ("gallery image", units_g, whole_q)):
        mass = np.ones(len(units))
        if marginals == "cross-attention":
            mass = np.maximum(units @ other, 0.0)
            if defined and not mass.any():
                notes.append(f"no cell of the {name} points towards the other embedding: uniform masses")
            if not mass.any():
                mass = np.ones(len(units))
        masses.append(mass / mass.sum())
    found = transport(1.0 - cosines, masses[0], masses[1], regularisation, iterations, tolerance)
    pairs = found.plan * cosines if defined else np.zeros_like(cosines)
    if not defined:
        notes.append("an embedding has no length, so there is nothing to match")
    else:
        state = "marginals met" if found.converged else "NOT converged: marginals missed"
        passed = f"{found.iterations} iteration{'s' if found.iterations > 1 else ''}"
        notes.append(f"transport after {passed}, {state} to {found.error:.0e} of the mass")
    dtype = np.result_type(query.vectors, gallery.vectors)
    return Decomposition(
        contributions=pairs.reshape(*local[0].grid, *local[1].grid).astype(dtype),
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        similarity=float(pairs.sum()) if defined else float("nan"),
        kind=KIND,
        tolerance=1e-10 if dtype == np.float64 else 1e-5,
        method="structural-matching",
        note="; ".join(notes),
        query_local=local[0],
        gallery_local=local[1],
    )


def rerank_by_structure(gallery: "Gallery", query: Any, ranking: "Ranking", **options: Any) -> "Ranking":
    """Rank what a search found once more, by structural matching plus the cosine of the embeddings.

    As published with DIML, the images found by their embeddings are sorted by the sum of both similarities.
    Whether that ranks better depends on the network: hold both rankings against the labels before using it.

    Args:
        gallery: The gallery that was searched.
        query: What was asked: an image id, or whatever else `Gallery.search` takes.
        ranking: What the search found; all of it is ranked again. Search with a larger k to rank more.
        **options: regularisation, iterations, tolerance, marginals and grid of `structural_matching`.

    Returns:
        A `Ranking` of the same images; `similarities` are the sums, `ranked_by` is "structure + cosine". Equal
        sums keep the order of their ids; images without a cosine come last, with NaN.

    Raises:
        ValueError: As for `structural_matching`.
        TypeError: If there is no such option.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=2)
        >>> gallery = dv.Gallery.build(birds, birds_embedder(), progress=False)
        >>> again = rerank_by_structure(gallery, 0, gallery.search(0, k=5))
        >>> len(again), again.ranked_by
        (5, 'structure + cosine')
    """
    ids = np.asarray(ranking.ids, dtype=np.int64)
    asked = gallery.query_local(query)
    sums = np.full(len(ids), np.nan)
    for n, local in enumerate(gallery.local_embeddings_of(ids)):
        lengths = float(np.linalg.norm(asked.embedding)) * float(np.linalg.norm(local.embedding))
        if lengths > 0:
            cosine = float(asked.embedding.astype(np.float64) @ local.embedding) / lengths
            sums[n] = match_structure(asked, local, **options).similarity + cosine
    order = np.lexsort((ids, np.where(np.isnan(sums), np.inf, -sums)))
    return replace(
        ranking,
        ids=ids[order],
        similarities=sums[order].astype(np.float32),
        labels=None if ranking.labels is None else ranking.labels[order],
        hits=None if ranking.hits is None else ranking.hits[order],
        names=tuple(ranking.names[n] for n in order),
        ranked_by="structure + cosine",
    )


def match_ranking(
    gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
) -> list[Decomposition]:
    """`structural_matching` of several gallery images, from the local embeddings that the gallery remembers."""
    chosen = [int(i) for i in ids]
    asked = gallery.query_local(query)
    found = []
    for local in gallery.local_embeddings_of(chosen):
        why = _placed(match_structure(asked, local, **options), gallery.query_embedder, gallery.embedder)
        notes = (why.note, gallery.query_embedder.note, gallery.embedder.note)
        found.append(replace(why, note="; ".join(dict.fromkeys(filter(None, notes)))))
    return found


def _placed(why: Decomposition, query_embedder: "Embedder", embedder: "Embedder") -> Decomposition:
    return replace(
        why,
        query_geometry=coarser_geometry(query_embedder, why.grid("query")),
        gallery_geometry=coarser_geometry(embedder, why.grid("gallery")),
    )


def _directions(local: LocalEmbeddings) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, D) of the cells with their share of the offset, and of the embedding (D,); 0 if none."""
    vectors = local.vectors.reshape(-1, local.dim).astype(np.float64)
    vectors = vectors + local.offset.astype(np.float64) / len(vectors)
    return _units(vectors), _units(local.embedding.astype(np.float64)[None])[0]


def _units(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


OFFERED = (
    Method(
        name="structural-matching",
        title="structural matching (DIML)",
        says="A similarity of its own: cells are paired by optimal transport, and each pair counts by its cosine. "
        "The pairs add up to it exactly; it is not the score that ranked.",
        cost="1 forward pass of each image, none once they are remembered, and the transport",
        of_ranking=match_ranking,
        unsuited=suits_all,
        pairwise=True,
    ),
)
