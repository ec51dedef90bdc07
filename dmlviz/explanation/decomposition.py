"""The identity that everything reads: a similarity as a sum over pairs of cells, plus offsets."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from dmlviz.embedder import CellGeometry, LocalEmbeddings
from dmlviz.explanation.interpolation import between_cells
from dmlviz.explanation.options import comparable, one_of

Side = Literal["query", "gallery"]
Similarity = Literal["cosine", "dot", "l2"]
SIDES: tuple[str, ...] = get_args(Side)
SIMILARITIES: tuple[str, ...] = get_args(Similarity)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One similarity, taken apart.

    `contributions.sum() + query_offset.sum() + gallery_offset.sum() + constant` is `similarity`, up to
    `residual`. All parts are signed: positive parts speak for the match, negative ones against it.

    A method that makes maps of single images and no pairs leaves `contributions` out and gives `query_map`,
    `gallery_map` or both instead, each of which stands for the similarity by itself.

    Attributes:
        contributions: (hq, wq, hg, wg) float32 or float64, in units of the similarity. Entry [i, j, k, l] is
            what the query's cell (i, j) and the gallery image's cell (k, l) contribute together. None where the
            method has no pairs.
        query_offset: (hq, wq), the query's cells by themselves: against the gallery image's offset (of squared
            distances also their share of the query's own squared length), or whatever else the note says. None
            where the method has none.
        gallery_offset: (hg, wg), the same of the gallery image's cells.
        constant: What belongs to no cell: the two offsets against each other (of squared distances also against
            their own embeddings).
        similarity: The score that is explained. From `explain` it is the number that FAISS ranked by, from
            `decompose_similarity` that of the two embeddings. NaN where a cosine is undefined.
        kind: What the similarity is: "cosine", "dot", "l2" (minus the squared distance), or another name that the
            method states.
        tolerance: How far `residual` may lie from zero by rounding alone.
        method: How the parts were computed.
        note: What the reader must know of this result; empty where there is nothing to say.
        query_local: The query's local embeddings, or None where the method has none.
        gallery_local: The same of the gallery image.
        query_geometry: Where the query's cells lie on its view, or None (then the half-pixel rule holds).
        gallery_geometry: The same of the gallery image.
        query_map: (hq, wq) signed, the query's map where the method has no pairs; None otherwise.
        gallery_map: (hg, wg), the same of the gallery image.
        promises: Whether the method promises parts that add up to `similarity`. Where it does not, `residual`
            is a finding about the method, and no error.
    """

    contributions: np.ndarray | None
    query_offset: np.ndarray | None
    gallery_offset: np.ndarray | None
    constant: float
    similarity: float
    kind: str = "cosine"
    tolerance: float = 1e-5
    method: str = "decomposition"
    note: str = ""
    query_local: LocalEmbeddings | None = None
    gallery_local: LocalEmbeddings | None = None
    query_geometry: CellGeometry | None = None
    gallery_geometry: CellGeometry | None = None
    query_map: np.ndarray | None = None
    gallery_map: np.ndarray | None = None
    promises: bool = True

    @property
    def pairwise(self) -> bool:
        """Whether there are contributions of pairs of cells, and so point maps."""
        return self.contributions is not None

    @property
    def pairs(self) -> float:
        """Sum over all pairs of cells, in units of the similarity; 0 where there are none."""
        return 0.0 if self.contributions is None else float(self.contributions.sum(dtype=np.float64))

    @property
    def speaks_for(self) -> float:
        """Sum of the positive pairs (≥ 0); of the map's positive cells where there are no pairs."""
        parts = self._signed_parts
        return float(parts.sum(dtype=np.float64, where=parts > 0))

    @property
    def speaks_against(self) -> float:
        """Sum of the negative pairs (≤ 0); of the map's negative cells where there are no pairs."""
        parts = self._signed_parts
        return float(parts.sum(dtype=np.float64, where=parts < 0))

    @property
    def offsets(self) -> float:
        """Both offset terms and the constant: what no pair of cells accounts for."""
        of_cells = sum(
            float(part.sum(dtype=np.float64))
            for part in (self.query_offset, self.gallery_offset)
            if part is not None
        )
        return of_cells + self.constant

    @property
    def total(self) -> float:
        """What the parts add up to; NaN where the similarity is undefined.

        `pairs + offsets`; for a method of single maps the sum of the query's map (of the gallery image's where it
        has no other) plus `offsets`.
        """
        if not np.isfinite(self.similarity):
            return float("nan")
        single = self.query_map if self.query_map is not None else self.gallery_map
        return self.pairs + self.offsets + (0.0 if single is None else float(single.sum(dtype=np.float64)))

    @property
    def residual(self) -> float:
        """`total − similarity`: what the parts miss of the score. Zero up to rounding when exact."""
        return self.total - self.similarity

    @property
    def adds_up(self) -> bool:
        """Whether the residual lies within the tolerance."""
        return abs(self.residual) <= self.tolerance

    def has_map(self, side: Side) -> bool:
        """Whether the method says anything about that side's cells."""
        own = (
            (self.query_map, self.query_offset)
            if _checked_side(side) == "query"
            else (
                self.gallery_map,
                self.gallery_offset,
            )
        )
        return self.contributions is not None or any(part is not None for part in own)

    def grid(self, side: Side) -> tuple[int, int]:
        """The feature map's (height, width) on that side, in cells.

        Raises:
            ValueError: If the side is neither, or the method has no map of it.
        """
        h, w = self.overall_map(side).shape if self.contributions is None else self._pair_grid(side)
        return h, w

    def overall_map(self, side: Side) -> np.ndarray:
        """What each cell of one image contributes to the similarity.

        The sum over all cells of the other image, plus the cell's product with the other image's offset. The map
        sums to the similarity less that side's own offset terms (`unmapped`). A method without pairs gives the
        map that it made.

        Args:
            side: "query" or "gallery".

        Returns:
            (h, w), the dtype of the parts, signed, in units of the similarity.

        Raises:
            ValueError: If the side is neither, or the method has no map of it.
        """
        single, offset, axes = (
            (self.query_map, self.query_offset, (2, 3))
            if _checked_side(side) == "query"
            else (self.gallery_map, self.gallery_offset, (0, 1))
        )
        if self.contributions is not None:
            full = self.contributions.sum(axes, dtype=np.float64)
            return (full if offset is None else full + offset).astype(self.contributions.dtype)
        parts = [part for part in (single, offset) if part is not None]
        if not parts:
            other = "gallery" if side == "query" else "query"
            raise ValueError(
                f"the method {self.method!r} has no map of the {side} side; ask for the side {other!r}, or use "
                "method='decomposition'"
            )
        return np.asarray(sum(parts))

    def unmapped(self, side: Side) -> float:
        """What `overall_map(side)` leaves out of `total`: that side's offset against the other embedding."""
        other = self.gallery_offset if _checked_side(side) == "query" else self.query_offset
        return (0.0 if other is None else float(other.sum(dtype=np.float64))) + self.constant

    def point_map(self, side: Side, row: float, col: float) -> np.ndarray:
        """What one point of an image contributes together with each cell of the other (Zhu et al. 2021, §3.3).

        Between cells the four nearest are mixed bilinearly; beyond the outermost centres the edge is repeated.

        Args:
            side: The image that the point lies on, "query" or "gallery".
            row: In cells, centres on integers, from −0.5 to h − 0.5. `cell_of_pixel` turns pixels into cells.
            col: The same along the width.

        Returns:
            (h, w) of the *other* image, the dtype of `contributions`, signed, in units of the similarity.

        Raises:
            ValueError: If the side is neither, the point lies outside the map, or the method has no pairs.

        Examples:
            >>> import numpy as np
            >>> from dmlviz import LocalEmbeddings, decompose_similarity
            >>> query = LocalEmbeddings(np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.zeros(2))
            >>> gallery = LocalEmbeddings(np.array([[[3.0, 0.0]], [[0.0, 5.0]]]), np.zeros(2))
            >>> why = decompose_similarity(query, gallery, similarity="dot")
            >>> why.point_map("query", 0, 1).tolist()
            [[0.0], [10.0]]
            >>> why.point_map("query", 0, 0.5).tolist()
            [[1.5], [5.0]]
        """
        if self.contributions is None:
            raise ValueError(
                f"the method {self.method!r} has no pairs of cells, so no map of a point; use overall_map, or a "
                "method with pairs such as 'decomposition'"
            )
        if _checked_side(side) == "query":
            return between_cells(self.contributions, row, col)
        return between_cells(np.moveaxis(self.contributions, (2, 3), (0, 1)), row, col)

    def contribution(self, side: Side, row: float, col: float) -> float:
        """The overall map's value at a point in cells: what stands under the cursor.

        Equal to the sum of `point_map` there plus the point's share of that side's offset term.
        """
        return float(between_cells(self.overall_map(side)[..., None], row, col)[0])

    def likeness_map(self, side: Side, row: float, col: float) -> np.ndarray:
        """Which cells of the other image look like a point, whatever they weigh.

        The cosine of the point's local embedding (mixed bilinearly between cells) with each local embedding of
        the other image. It is no share of the score.

        Args:
            side: The image that the point lies on.
            row: In cells, as for `point_map`.
            col: In cells.

        Returns:
            (h, w) of the other image, from −1 to 1; 0 where a local embedding has no length.

        Raises:
            ValueError: If the side is neither, the point lies outside, or the method has no local embeddings.
        """
        if self.query_local is None or self.gallery_local is None:
            raise ValueError(
                f"likeness compares local embeddings, and the method {self.method!r} has none; "
                "use method='decomposition'"
            )
        own, other = self.query_local.vectors, self.gallery_local.vectors
        if _checked_side(side) == "gallery":
            own, other = other, own
        return _cosines(between_cells(own, row, col), other)

    def _pair_grid(self, side: Side) -> tuple[int, int]:
        assert self.contributions is not None  # noqa: S101 (the caller has looked)
        hq, wq, hg, wg = self.contributions.shape
        return (hq, wq) if _checked_side(side) == "query" else (hg, wg)

    @property
    def _signed_parts(self) -> np.ndarray:
        if self.contributions is not None:
            return self.contributions
        return self.overall_map("query" if self.has_map("query") else "gallery")

    def __repr__(self) -> str:
        if self.adds_up:
            verdict = "adds up"
        else:
            verdict = "DOES NOT ADD UP" if self.promises else "does not promise to add up"
        if self.contributions is not None:
            what = f"pairs {self.pairs:+.6f}"
        else:
            what = f"map {self.total - self.offsets:+.6f}"
        cells = " and ".join(
            "{}×{}".format(*self.grid(side)) for side in ("query", "gallery") if self.has_map(side)
        )
        return (
            f"Decomposition({self.kind} {self.similarity:+.6f} = {what} + offsets "
            f"{self.offsets:+.6f}, residual {self.residual:.1e}, {verdict}; cells {cells}, "
            f"{self.method}{'; ' + self.note if self.note else ''})"
        )


def decompose_similarity(
    query: LocalEmbeddings, gallery: LocalEmbeddings, similarity: Similarity = "cosine"
) -> Decomposition:
    """Take the similarity of two images apart into pairs of cells and offsets.

    With e = Σᵢ xᵢ + b on either side and s = 1 (dot product) or 1/(‖e_q‖‖e_g‖) (cosine):
    S = Σᵢⱼ Dᵢⱼ + Σᵢ rᵢ + Σⱼ cⱼ + k, where D = s·X_q X_gᵀ, r = s·X_q b_g, c = s·X_g b_q and k = s·⟨b_q, b_g⟩.
    It extends the decomposition of Zhu, Yang and Chen (Visual Explanation for Deep Metric Learning, TIP 2021) by
    the offsets, the signs and the norms, so that nothing is missing from the sum.

    "l2" is minus the squared distance, S = −‖e_q − e_g‖² = 2⟨e_q, e_g⟩ − ‖e_q‖² − ‖e_g‖²: there D = 2·X_q X_gᵀ, and
    r, c and k hold each image's own squared length beside the offsets; see `decompose_squared_distance`.

    Args:
        query: The query's local embeddings.
        gallery: The gallery image's; its grid may differ, its dimension may not.
        similarity: "cosine", "dot" or "l2".

    Returns:
        A `Decomposition`. Where a cosine is undefined (an embedding of length zero) its similarity is NaN and
        its maps are zero.

    Raises:
        ValueError: If the dimensions differ, a value is NaN or infinite, or the similarity is unknown.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings, decompose_similarity
        >>> query = LocalEmbeddings(np.array([[[1.0], [2.0]]]), np.array([1.0]))      # e = 1 + 2 + 1 = 4
        >>> gallery = LocalEmbeddings(np.array([[[3.0]]]), np.array([-1.0]))          # e = 3 − 1 = 2
        >>> why = decompose_similarity(query, gallery, similarity="dot")
        >>> why.contributions[0, :, 0, 0].tolist(), why.query_offset[0].tolist(), why.constant
        ([3.0, 6.0], [-1.0, -2.0], -1.0)
        >>> why.pairs, why.offsets, why.similarity, why.residual
        (9.0, -1.0, 8.0, 0.0)
    """
    one_of(similarity, "similarity", SIMILARITIES)
    if similarity == "l2":
        from dmlviz.explanation.squared_distances import decompose_squared_distance

        return replace(decompose_squared_distance(query, gallery), kind="l2")
    dimension = comparable(query, gallery)
    e_q, e_g = query.embedding.astype(np.float64), gallery.embedding.astype(np.float64)
    score, scale, note = float(e_q @ e_g), 1.0, ""
    if similarity == "cosine":
        lengths = float(np.linalg.norm(e_q)) * float(np.linalg.norm(e_g))
        if lengths > 0:
            scale = 1.0 / lengths
            score *= scale
        else:
            scale, score = 0.0, float("nan")
            note = "an embedding has no length, so its cosine is undefined"

    dtype = np.result_type(query.vectors, gallery.vectors)
    xq = query.vectors.reshape(-1, dimension)
    xg = gallery.vectors.reshape(-1, dimension)
    if len(xq) <= len(xg):  # the scale goes into the smaller factor
        pairs = (xq * dtype.type(scale)) @ xg.T
    else:
        pairs = xq @ (xg * dtype.type(scale)).T
    return Decomposition(
        contributions=pairs.reshape(*query.grid, *gallery.grid),
        query_offset=(xq @ (dtype.type(scale) * gallery.offset)).reshape(query.grid),
        gallery_offset=(xg @ (dtype.type(scale) * query.offset)).reshape(gallery.grid),
        constant=scale * float(query.offset.astype(np.float64) @ gallery.offset.astype(np.float64)),
        similarity=score,
        kind=similarity,
        tolerance=rounding_tolerance(dtype, score),
        note=note,
        query_local=query,
        gallery_local=gallery,
    )


def rounding_tolerance(dtype: np.dtype, similarity: float) -> float:
    """How far the parts may miss a similarity by rounding: 1e-10 in float64, 1e-5 below, times max(1, |S|)."""
    per_unit = 1e-10 if np.dtype(dtype) == np.float64 else 1e-5
    return per_unit * max(1.0, abs(similarity)) if np.isfinite(similarity) else per_unit


def _checked_side(side: str) -> str:
    one_of(side, "side", SIDES)
    return side


def _cosines(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine of one vector (D,) with each of (h, w, D); 0 where either has no length."""
    lengths = np.linalg.norm(others, axis=-1) * np.linalg.norm(vector)
    products = others @ vector
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
