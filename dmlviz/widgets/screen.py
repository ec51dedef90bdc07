"""A finding as one message: what the page needs to draw it, hover it and compare it, with no kernel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import CellGeometry, LocalEmbeddings, half_pixel
from dmlviz.explanation import Decomposition, Side
from dmlviz.widgets.buffers import Buffer, Ref, number
from dmlviz.widgets.finding import Finding

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

MOST_PAIR_BYTES = 8_000_000
HALF_PIXEL_NOTE = "cells placed by the half-pixel rule: the trunk's geometry is not known"

Encode = Callable[[int], tuple[bytes, str]]
PairsOf = Callable[[Finding, int], "Ref | None"]


def pack_live(gallery: "Gallery", finding: Finding, encode: Encode, focus: int) -> dict[str, Any]:
    """A finding for the live page: float32 throughout, all pair tensors while they stay below 8 MB.

    Args:
        gallery: The gallery that was searched.
        finding: What it answered.
        encode: Turns an id into an image file and its media type.
        focus: The focused rank; its pair tensor always comes along.

    Returns:
        {"meta": JSON, "data": bytes}.
    """
    buffer = Buffer()
    fits = sum(4 * pair_count(why) for why in finding.why) <= MOST_PAIR_BYTES

    def pairs(found: Finding, n: int) -> Ref | None:
        tensor = found.why[n].contributions
        if tensor is None or (not fits and n != focus - 1):
            return None
        return {"as": "f32", **buffer.floats(tensor)}

    pictures: dict[str, Any] = {}
    meta = pack(gallery, finding, buffer, pictures, encode, pairs, with_gram=True)
    return {"meta": {**meta, "pictures": pictures}, "data": buffer.taken()}


def pair_count(why: Decomposition) -> int:
    """How many pairs of cells an explanation has; 0 for a method of single maps."""
    return 0 if why.contributions is None else int(why.contributions.size)


def pack_pair(finding: Finding, rank: int) -> dict[str, Any]:
    """One pair tensor of a finding, for the page that asks for it."""
    tensor = finding.why[rank - 1].contributions
    if tensor is None:
        return {"meta": {"query": finding.query, "item": finding.ids[rank - 1], "n": 0}, "data": b""}
    meta = {"query": finding.query, "item": finding.ids[rank - 1], "n": int(tensor.size)}
    return {"meta": meta, "data": np.ascontiguousarray(tensor, dtype="<f4").tobytes()}


def pack(
    gallery: "Gallery",
    finding: Finding,
    buffer: Buffer,
    pictures: dict[str, Any],
    encode: Encode,
    pairs: PairsOf,
    with_gram: bool,
) -> dict[str, Any]:
    """Put a finding's arrays into the buffer and say where they lie.

    Args:
        gallery: The gallery that was searched.
        finding: What it answered.
        buffer: Takes the arrays and image files.
        pictures: Takes each image once, by its id as text; shared by the screens of one page.
        encode: Turns an id into an image file and its media type.
        pairs: Packs the pair tensor of item n, or returns None.
        with_gram: Whether the products for the likeness reading go along.

    Returns:
        The screen's description without its pictures, ready for JSON.
    """
    first = finding.why[0]
    _picture(gallery, finding.query, first, "query", buffer, pictures, encode, with_gram)
    items = []
    for n, (item, why) in enumerate(zip(finding.ids, finding.why, strict=True)):
        _picture(gallery, item, why, "gallery", buffer, pictures, encode, with_gram)
        margin = finding.margins[n]
        items.append(
            {
                "id": item,
                "rank": finding.ranks[n],
                "extra": n >= len(finding.ranking),
                "hit": finding.hits[n],
                "region": number(finding.ranking.similarities[n])
                if finding.region is not None and n < len(finding.ranking)
                else None,
                "numbers": numbers(why),
                "scale": finding.scales[n] if np.isfinite(finding.scales[n]) else 0.0,
                "query": buffer.floats(why.overall_map("query")),
                "match": buffer.floats(why.overall_map("gallery")),
                "queryOffset": buffer.floats(_or_zeros(why.query_offset, why, "query")),
                "galleryOffset": buffer.floats(_or_zeros(why.gallery_offset, why, "gallery")),
                "pairs": pairs(finding, n),
                "margin": None
                if margin is None
                else {
                    "other": margin[0],
                    "map": buffer.floats(margin[1].map),
                    "margin": number(margin[1].margin),
                    "offset": number(margin[1].offset),
                    "residual": number(margin[1].residual),
                    "tolerance": margin[1].tolerance,
                    "addsUp": bool(margin[1].adds_up),
                },
                "note": why.note,
            }
        )
    return {
        "version": 1,
        "query": finding.query,
        "items": items,
        "kind": first.kind,
        "method": first.method,
        "note": "" if first.query_geometry else HALF_PIXEL_NOTE,
        "rounding": "",
        "rankedBy": "similarity" if finding.region is None else "region",
        "region": finding.region,
        "labelled": finding.ranking.hits is not None,
        "whyNoMargin": finding.why_no_margin,
    }


def numbers(why: Decomposition) -> dict[str, Any]:
    """A decomposition's sums, as the score card shows them; undefined ones are None."""
    return {
        "similarity": number(why.similarity),
        "pairs": why.pairs,
        "for": why.speaks_for,
        "against": why.speaks_against,
        "queryOffset": _sum(why.query_offset),
        "galleryOffset": _sum(why.gallery_offset),
        "constant": float(why.constant),
        "total": number(why.total),
        "residual": number(why.residual),
        "tolerance": why.tolerance,
        "addsUp": bool(why.adds_up),
    }


def _sum(part: np.ndarray | None) -> float:
    return 0.0 if part is None else float(part.sum(dtype=np.float64))


def _or_zeros(part: np.ndarray | None, why: Decomposition, side: Side) -> np.ndarray:
    return np.zeros(why.grid(side), np.float32) if part is None else part


def gram(local: LocalEmbeddings) -> np.ndarray:
    """(5, h, w) float32: each cell's product with itself, its right, lower, lower-right and lower-left neighbour.

    Enough for the length of any bilinear mix of neighbouring local embeddings, so that the page computes the
    cosines of `Decomposition.likeness_map` from shares of the similarity. Zero where there is no neighbour.
    """
    x = local.vectors.astype(np.float64)
    out = np.zeros((5, *local.grid), np.float32)
    out[0] = np.einsum("ijd,ijd->ij", x, x)
    out[1, :, :-1] = np.einsum("ijd,ijd->ij", x[:, :-1], x[:, 1:])
    out[2, :-1] = np.einsum("ijd,ijd->ij", x[:-1], x[1:])
    out[3, :-1, :-1] = np.einsum("ijd,ijd->ij", x[:-1, :-1], x[1:, 1:])
    out[4, :-1, 1:] = np.einsum("ijd,ijd->ij", x[:-1, 1:], x[1:, :-1])
    return out


def placed(geometry: CellGeometry | None, view: tuple[int, int], grid: tuple[int, int]) -> dict[str, Any]:
    """Where a grid's cells lie on a view, in pixels."""
    geometry = geometry or half_pixel(view, grid)
    return {
        "view": [int(v) for v in view],
        "grid": [int(g) for g in grid],
        "first": [float(f) for f in geometry.first],
        "stride": [float(s) for s in geometry.stride],
    }


def _picture(
    gallery: "Gallery",
    item: int,
    why: Decomposition,
    side: Side,
    buffer: Buffer,
    pictures: dict[str, Any],
    encode: Encode,
    with_gram: bool,
) -> None:
    if str(item) in pictures:
        return
    content, mime = encode(item)
    local = why.query_local if side == "query" else why.gallery_local
    geometry = why.query_geometry if side == "query" else why.gallery_geometry
    label = None if gallery.labels is None else gallery.labels[item]
    pictures[str(item)] = {
        "id": int(item),
        "name": str(gallery.images.names[item]),
        "label": None if label is None else str(label),
        "image": buffer.file(content),
        "mime": mime,
        **placed(geometry, gallery.embedder.input_size, why.grid(side)),
        "gram": buffer.floats(gram(local)) if with_gram and local is not None else None,
        "factors": None,
    }
