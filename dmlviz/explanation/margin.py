"""Why did the wrong one beat the right one? The difference of two overall maps, exact because linear."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.decomposition import rounding_tolerance
from dmlviz.explanation.ranking_maps import maps_from_embeddings

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


@dataclass(frozen=True, eq=False)
class MarginMap:
    """Where on the query one gallery image wins over another.

    Attributes:
        map: (hq, wq) float32, signed, in units of the similarity: positive cells speak for `wrong`, negative ones
            for `right`. `map.sum() + offset` is `margin`, up to `residual`.
        offset: What no cell of the query accounts for: its offset against the two embeddings.
        margin: S(query, wrong) − S(query, right), of the scores that the index ranks by.
        wrong: The id of the gallery image that is asked about.
        right: The id of the gallery image that it is held against.
        tolerance: How far `residual` may lie from zero by rounding alone.
    """

    map: np.ndarray
    offset: float
    margin: float
    wrong: int
    right: int
    tolerance: float

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
            f"{self.residual:.1e}; cells {h}×{w})"
        )


def margin_map(gallery: "Gallery", query: Any, wrong: int, right: int) -> MarginMap:
    """Say where on the query a gallery image gains its lead over another.

    S(q, wrong) − S(q, right) is linear in the gallery embeddings, so the map is one product of the query's local
    embeddings with their difference. No feature map of the two gallery images is needed.

    Args:
        gallery: The gallery that was searched.
        query: An image id of the gallery, or whatever else `Gallery.search` takes as a query.
        wrong: The id of the image that ranked higher, or any other that is asked about.
        right: The id of the image to hold it against.

    Returns:
        A `MarginMap`.

    Raises:
        IndexError: If an id is not in the gallery.

    Examples:
        >>> import dmlviz as dv
        >>> gallery = dv.demo_gallery()
        >>> miss = gallery.failures().iloc[0]
        >>> margin = dv.margin_map(gallery, int(miss["query"]), int(miss["wrong"]), int(miss["right"]))
        >>> margin.adds_up and margin.margin > 0
        True
    """
    ids = np.array([wrong, right], dtype=np.int64)
    scores = gallery.score(query, ids).astype(np.float64)
    local = gallery.query_local(query)
    scale = gallery.scale(local.embedding, ids)
    embeddings = gallery.embeddings[ids]
    of_wrong, of_right = maps_from_embeddings(local.vectors, embeddings, scale)
    offsets = scale * (embeddings.astype(np.float64) @ local.offset.astype(np.float64))
    return MarginMap(
        map=of_wrong - of_right,
        offset=float(offsets[0] - offsets[1]),
        margin=float(scores[0] - scores[1]),
        wrong=int(wrong),
        right=int(right),
        tolerance=2 * rounding_tolerance(of_wrong.dtype, float(np.abs(scores).max())),
    )
