"""One query's ranking, and what each of its images can be held against."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.embedder import half_pixel

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery, Ranking

Region = list  # ["query", top, left, bottom, right], pixels of the query's view, edges included


@dataclass(frozen=True, eq=False)
class Finding:
    """What a gallery answers to one query.

    Attributes:
        query: The query's id.
        ranking: The ranking of k items.
        region: The region that ranked them, or None where the similarity did.
        ids: The ranked ids, then those that are only compared with.
        ranks: The rank of each.
        hits: Per id True, False or None (no label).
        scores: Per id the similarity of the whole images that the index ranks by; NaN where it is undefined.
        others: Per id the index of the best-ranked item of the other kind, or None.
        why_no_margin: Why an item may have no margin; words for the screen.
    """

    query: int
    ranking: "Ranking"
    region: Region | None
    ids: list[int]
    ranks: list[int]
    hits: list[bool | None]
    scores: list[float]
    others: list[int | None]
    why_no_margin: str


def find(gallery: "Gallery", query: int, k: int, region: Region | None) -> Finding:
    """Search a gallery, by similarity or by a region of the query."""
    if region is None:

        def search(depth: int) -> "Ranking":
            return gallery.search(query, k=depth)
    else:
        mask = region_mask(gallery, query, region)

        def search(depth: int) -> "Ranking":
            return gallery.search_region(query, mask, k=depth)

    ranking = search(k)
    ids = [int(i) for i in ranking.ids]
    ranks = list(range(1, len(ids) + 1))
    hits: list[bool | None] = [None] * len(ids) if ranking.hits is None else [bool(h) for h in ranking.hits]
    best = _best_of_each_kind(search, ranking, len(gallery.embeddings))
    for kind, (item, rank) in best.items():
        if item not in ids:
            ids.append(item)
            ranks.append(rank)
            hits.append(kind)
    others = [ids.index(best[not hit][0]) if hit is not None and (not hit) in best else None for hit in hits]
    return Finding(
        query=query,
        ranking=ranking,
        region=region,
        ids=ids,
        ranks=ranks,
        hits=hits,
        scores=[float(s) for s in gallery.score(query, np.asarray(ids, dtype=np.int64))],
        others=others,
        why_no_margin=_why_no_margin(gallery, ranking),
    )


def _why_no_margin(gallery: "Gallery", ranking: "Ranking") -> str:
    if gallery.labels is None:
        return "the gallery has no labels, so there is no other kind to compare with"
    if ranking.hits is None:
        return "a label is missing here, so hits cannot be told from misses"
    return "the gallery has no image of the other kind to compare with"


def region_mask(gallery: "Gallery", query: int, region: Region) -> np.ndarray:
    """The cells whose centres lie in a region, (hq, wq) bool; the nearest to its middle where none does."""
    local = gallery.query_local(query)
    geometry = gallery.query_embedder.geometry
    if geometry is None:
        geometry = half_pixel(gallery.query_embedder.input_size, local.grid)
    _, top, left, bottom, right = region
    centres = [geometry.first[axis] + geometry.stride[axis] * np.arange(local.grid[axis]) for axis in (0, 1)]
    mask = np.outer(
        (centres[0] >= top) & (centres[0] <= bottom), (centres[1] >= left) & (centres[1] <= right)
    )
    if not mask.any():
        nearest = [
            int(np.argmin(np.abs(centre - middle)))
            for centre, middle in zip(centres, ((top + bottom) / 2, (left + right) / 2), strict=True)
        ]
        mask[nearest[0], nearest[1]] = True
    return mask


def _best_of_each_kind(
    search: "Callable[[int], Ranking]", ranking: "Ranking", size: int
) -> dict[bool, tuple[int, int]]:
    """The best-ranked hit and the best-ranked miss with their ranks, however deep they lie."""
    if ranking.hits is None:
        return {}
    depth = max(len(ranking), 1)
    while True:
        best: dict[bool, tuple[int, int]] = {}
        for rank, (item, hit) in enumerate(zip(ranking.ids, ranking.hits, strict=True), start=1):
            best.setdefault(bool(hit), (int(item), rank))
        if len(best) == 2 or depth >= size or len(ranking) < depth:
            return best
        depth = min(size, 8 * depth)
        ranking = search(depth)
