"""Why did the wrong one beat the right one? The difference of two overall maps, exact because linear."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.explain import explain_ranking
from dmlviz.explanation.methods import METHODS, method_named
from dmlviz.explanation.ranking_maps import held_against, overall_maps

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


@dataclass(frozen=True, eq=False)
class MarginMap:
    """Where on the query one gallery image wins over another.

    Attributes:
        map: (hq, wq) float32, signed, in units of the similarity: positive cells speak for `wrong`, negative ones
            for `right`. `map.sum() + offset` is `margin`, up to `residual`.
        offset: What no cell of the query accounts for: its offset against the two embeddings (where the gallery ranks
            by "l2", less the difference of their own squared lengths), or whatever else the method's map of the query
            leaves out.
        margin: S(query, wrong) − S(query, right), of the scores that the index ranks by; of the method's own scores
            where it explains another similarity (`kind`). NaN where one of them is undefined.
        wrong: The id of the gallery image that is asked about.
        right: The id of the gallery image that it is held against.
        tolerance: How far `residual` may lie from zero by rounding alone.
        kind: What the similarity is: "cosine", "dot", "l2", or another name that the method states.
        method: How the two maps were computed.
        note: What the reader must know; empty where there is nothing to say.
        promises: Whether the method promises parts that add up. Where it does not, `residual` is a finding.
    """

    map: np.ndarray
    offset: float
    margin: float
    wrong: int
    right: int
    tolerance: float
    kind: str = "cosine"
    method: str = "decomposition"
    note: str = ""
    promises: bool = True

    @property
    def residual(self) -> float:
        """`map.sum() + offset − margin`."""
        return float(self.map.sum(dtype=np.float64)) + self.offset - self.margin

    @property
    def adds_up(self) -> bool:
        """Whether the residual lies within the tolerance."""
        return abs(self.residual) <= self.tolerance

    def __repr__(self) -> str:
        h, w = self.map.shape
        return (
            f"MarginMap(S(query, {self.wrong}) − S(query, {self.right}) = {self.margin:+.6f} = map "
            f"{float(self.map.sum(dtype=np.float64)):+.6f} + offset {self.offset:+.6f}, residual "
            f"{self.residual:.1e}; cells {h}×{w}, {self.method}{'; ' + self.note if self.note else ''})"
        )


def margin_map(
    gallery: "Gallery", query: Any, wrong: int, right: int, method: str = "decomposition", **options: Any
) -> MarginMap:
    """Say where on the query a gallery image gains its lead over another.

    By the exact decomposition: S(q, wrong) − S(q, right) is linear in the gallery embeddings, so the map is one
    product of the query's local embeddings with their difference, and no feature map of the two gallery images is
    needed. Under "l2" the query's own squared length is the same in both scores and falls out: the map is
    2⟨xᵢ, e_wrong − e_right⟩. By any other method with `Method.linear` (and with options of the decomposition): the
    difference of the two overall maps of the query; what those leave out (`unmapped`) makes the offset.

    Args:
        gallery: The gallery that was searched.
        query: The id of a query of the gallery, or whatever else `Gallery.search` takes as a query.
        wrong: The id of the image that ranked higher, or any other that is asked about.
        right: The id of the image to hold it against.
        method: One of `METHODS` whose maps may be subtracted.
        **options: What the method takes beside the pair.

    Returns:
        A `MarginMap`.

    Raises:
        IndexError: If an id is not in the gallery.
        ValueError: If the method is unknown, does not suit the gallery, or is not linear: then the difference of
            two maps would not explain the difference of the scores.
        TypeError: If the method has no such option.

    Examples:
        >>> import dmlviz as dv
        >>> gallery = dv.demo_gallery()
        >>> miss = gallery.failures().iloc[0]
        >>> margin = dv.margin_map(gallery, int(miss["query"]), int(miss["wrong"]), int(miss["right"]))
        >>> margin.adds_up and margin.margin > 0
        True
    """
    if method != "decomposition" or options:
        return _by_subtraction(gallery, query, wrong, right, method, options)
    ids = np.array([wrong, right], dtype=np.int64)
    scores = gallery.score(query, ids).astype(np.float64)
    local = gallery.query_local(query)
    held, rest = held_against(gallery, local, ids)
    apart = held[0] - held[1]
    size = float(np.linalg.norm(apart) * np.linalg.norm(local.embedding))
    return MarginMap(
        map=overall_maps(local, apart[None])[0],
        offset=float(apart @ local.offset + rest[0] - rest[1]),
        margin=float(scores[0] - scores[1]),
        wrong=int(wrong),
        right=int(right),
        tolerance=2 * rounding_tolerance(local.vectors.dtype, max(float(np.abs(scores).max()), size)),
        kind=gallery.similarity,
        note="; ".join(dict.fromkeys(filter(None, (gallery.query_embedder.note, gallery.embedder.note)))),
    )


def _by_subtraction(
    gallery: "Gallery", query: Any, wrong: int, right: int, method: str, options: dict[str, Any]
) -> MarginMap:
    if not method_named(method).linear:
        offered = ", ".join(repr(name) for name in METHODS if method_named(name).linear)
        raise ValueError(
            f"the difference of two maps of the method {method!r} does not explain the difference of two "
            f"similarities; a margin map needs one of {offered}"
        )
    of_wrong, of_right = explain_ranking(gallery, query, [wrong, right], method, **options)
    return margin_between(of_wrong, of_right, wrong, right)


def margin_between(of_wrong: Decomposition, of_right: Decomposition, wrong: int, right: int) -> MarginMap:
    """The margin of two explanations that are there already, by one linear method and for one query.

    Args:
        of_wrong: The explanation of the image that is asked about.
        of_right: That of the image it is held against.
        wrong: The first image's id.
        right: The second's.

    Returns:
        The difference of their overall maps of the query, of their scores, and of what the maps leave out.

    Raises:
        ValueError: If a map of the query is missing.
    """
    return MarginMap(
        map=of_wrong.overall_map("query") - of_right.overall_map("query"),
        offset=of_wrong.unmapped("query") - of_right.unmapped("query"),
        margin=of_wrong.similarity - of_right.similarity,
        wrong=int(wrong),
        right=int(right),
        tolerance=of_wrong.tolerance + of_right.tolerance,
        kind=of_wrong.kind,
        method=of_wrong.method,
        note="; ".join(dict.fromkeys(filter(None, (of_wrong.note, of_right.note)))),
        promises=of_wrong.promises and of_right.promises,
    )
