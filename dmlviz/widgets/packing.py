"""One explanation as a message: its maps, its pairs, its sums, and where its cells lie."""

import hashlib
from typing import Any

import numpy as np

from dmlviz.embedder import CellGeometry, LocalEmbeddings, half_pixel
from dmlviz.explanation import Decomposition, MarginMap, Side
from dmlviz.widgets.buffers import Buffer, Ref, number
from dmlviz.widgets.likeness import gram, product_scale

Margin = tuple[int, MarginMap]


class WhyPacker:
    """Puts explanations into a buffer and says where they lie; what several share goes in once.

    Args:
        buffer: Takes the arrays.
        views: (height, width) of the query's view and of a gallery image's, in pixels.
        most_pair_bytes: Pair tensors go along while they take no more than this; the first always does.
    """

    def __init__(
        self, buffer: Buffer, views: dict[Side, tuple[int, int]], most_pair_bytes: float = float("inf")
    ) -> None:
        self.buffer, self.views, self._room = buffer, views, most_pair_bytes
        self._first = True
        self._grams: dict[bytes, Ref] = {}

    def pack(self, n: int, why: Decomposition, margin: Margin | None) -> dict[str, Any]:
        """Item n's explanation, ready for JSON."""
        scale = product_scale(why)
        return {
            "n": n,
            "kind": why.kind,
            "promises": bool(why.promises),
            "pairwise": why.pairwise,
            "numbers": numbers(why),
            "note": why.note,
            "scale": number(scale) or 0.0,
            "query": self._side(why, "query", scale is not None),
            "match": self._side(why, "gallery", scale is not None),
            "pairs": self.pairs(n, why, scale),
            "margin": None if margin is None else self._margin(*margin),
        }

    def pairs(self, n: int, why: Decomposition, scale: float | None) -> Ref | None:
        """The pair tensor as float32, while there is room."""
        if why.contributions is None:
            return None
        self._room -= 4 * why.contributions.size
        if self._room < 0 and not self._first:
            return None
        self._first = False
        return {"as": "f32", **self.buffer.floats(why.contributions)}

    def local(self, local: LocalEmbeddings) -> dict[str, Any]:
        """What the likeness reading needs of one image."""
        key = digest(local.vectors)
        if key not in self._grams:
            self._grams[key] = self.buffer.floats(gram(local))
        return {"gram": self._grams[key], "factors": None}

    def _side(self, why: Decomposition, side: Side, alike: bool) -> dict[str, Any] | None:
        if not why.has_map(side):
            return None
        query = side == "query"
        offset = why.query_offset if query else why.gallery_offset
        local = why.query_local if query else why.gallery_local
        geometry = why.query_geometry if query else why.gallery_geometry
        return {
            "map": self.buffer.floats(why.overall_map(side)),
            "offset": None if offset is None or not why.pairwise else self.buffer.floats(offset),
            **placed(geometry, self.views[side], why.grid(side)),
            **(self.local(local) if alike and local is not None else {"gram": None, "factors": None}),
        }

    def _margin(self, other: int, margin: MarginMap) -> dict[str, Any]:
        return {
            "other": other,
            "map": self.buffer.floats(margin.map),
            "margin": number(margin.margin),
            "offset": number(margin.offset),
            "residual": number(margin.residual),
            "tolerance": margin.tolerance,
            "addsUp": bool(margin.adds_up),
            "promises": bool(margin.promises),
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


def placed(geometry: CellGeometry | None, view: tuple[int, int], grid: tuple[int, int]) -> dict[str, Any]:
    """Where a grid's cells lie on a view, in pixels, and whether that is known or the half-pixel rule."""
    place = geometry or half_pixel(view, grid)
    return {
        "view": [int(v) for v in view],
        "grid": [int(g) for g in grid],
        "first": [float(f) for f in place.first],
        "stride": [float(s) for s in place.stride],
        "guessed": geometry is None,
    }


def digest(array: np.ndarray) -> bytes:
    """A short name for an array's values and shape."""
    shape = np.array(array.shape, "<i8").tobytes()
    return hashlib.blake2b(shape + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _sum(part: np.ndarray | None) -> float:
    return 0.0 if part is None else float(part.sum(dtype=np.float64))
