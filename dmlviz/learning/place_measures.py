"""What a pair of places' embedders reaches on places never seen: retrieval, and whether its maps tell the truth."""

from __future__ import annotations

import numpy as np

from dmlviz.embedder.birdnet import PIXEL_MEAN, PIXEL_STD
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.smallnet import SmallNet
from dmlviz.images import Places, Preprocess

_LEAST_PIXELS = 12
_MARGIN = 2
_CELL = 8


def embedder_of(net: SmallNet) -> Embedder:
    """Make an embedder of a network in eval mode; it shares its weights."""
    preprocess = Preprocess.stretch(net.size, mean=PIXEL_MEAN, std=PIXEL_STD)
    return Embedder(net.trunk, LinearHead(net.pooling, net.linear), preprocess)


def measure_places(ground: Embedder, aerial: Embedder, city: Places) -> dict[str, float]:
    """Measure retrieval of aerial views by panoramas.

    Args:
        ground: Embeds the panoramas.
        aerial: Embeds the aerial views.
        city: The places.

    Returns:
        "recall@1", "recall@5" and "recall@top 1 %": the share of panoramas whose own aerial view is among the 1, the
        5, the ⌈N/100⌉ most similar by cosine; "misses within the family": the share of wrong first ranks that show a
        sibling (NaN without misses).
    """
    queries, items = ground.embed(list(city.ground)), aerial.embed(list(city.aerial))
    similarity = _unit(queries) @ _unit(items).T
    better = (similarity > np.diagonal(similarity)[:, None]).sum(1)
    first = similarity.argmax(1)
    wrong = np.flatnonzero(first != np.arange(len(city)))
    in_family = city.families[first[wrong]] == city.families[wrong]
    return {
        "recall@1": float((better == 0).mean()),
        "recall@5": float((better < 5).mean()),
        "recall@top 1 %": float((better < -(-len(city) // 100)).mean()),
        "misses within the family": float(in_family.mean()) if len(wrong) else float("nan"),
    }


def measure_hover(ground: Embedder, aerial: Embedder, city: Places, places: int = 100) -> dict[str, float]:
    """Point at each object of a panorama and look where the place's own aerial view lights up.

    The point is the cell that holds most of the object; a hit is a peak on the same object, its mask grown by 2
    pixels. Objects of which a view shows fewer than 12 pixels are left out.

    Args:
        ground: Embeds the panoramas.
        aerial: Embeds the aerial views.
        city: The places.
        places: How many of them, from the first.

    Returns:
        "contribution" and "likeness": the rates of hits of the two readings of hover; "area": the rate of a peak
        anywhere; "objects": how many; and of the contribution's peak, roads left out, "azimuth error": the median
        angle in degrees between the peak and the object, both as seen from the camera, and "within 30 degrees".
    """
    hits: dict[str, list[float]] = {"contribution": [], "likeness": [], "area": []}
    errors = []
    for i in range(min(places, len(city))):
        below, above = (city.object_ids(view, i) for view in ("ground", "aerial"))  # type: ignore[arg-type]
        query = ground.local_embeddings(city.ground[i]).vectors
        item = aerial.local_embeddings(city.aerial[i]).vectors
        for number, thing in city.objects(i).iterrows():
            here, there = below == number, above == number
            if min(here.sum(), there.sum()) < _LEAST_PIXELS:
                continue
            there = _grown(there, _MARGIN)
            vector = query[cell_with_most(here)]
            shares = item @ vector
            alike = shares / np.maximum(np.linalg.norm(item, axis=-1), 1e-12)
            for name, values in (("contribution", shares), ("likeness", alike)):
                row, col = np.unravel_index(int(values.argmax()), values.shape)
                middle = there[_CELL * row + 3 : _CELL * row + 5, _CELL * col + 3 : _CELL * col + 5]
                hits[name].append(bool(middle.any()))
                if name == "contribution" and thing["kind"] != "road":
                    at = (_CELL * float(row) + 3.5, _CELL * float(col) + 3.5)
                    off = city.azimuth_of_point(*at, i) - thing["azimuth"]
                    errors.append(abs((off + 180.0) % 360.0 - 180.0))
            hits["area"].append(float(there.mean()))
    found = {name: float(np.mean(values)) for name, values in hits.items()}
    found["objects"] = len(hits["area"])
    found["azimuth error"] = float(np.median(errors))
    found["within 30 degrees"] = float(np.mean(np.asarray(errors) <= 30.0))
    return found


def cell_with_most(mask: np.ndarray) -> tuple[int, int]:
    """The cell of 8 × 8 pixels that holds most of a mask (H, W): (row, col) in cells."""
    h, w = mask.shape
    counts = mask.reshape(h // _CELL, _CELL, w // _CELL, _CELL).sum((1, 3))
    row, col = np.unravel_index(int(counts.argmax()), counts.shape)
    return int(row), int(col)


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    side = 2 * margin + 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, margin), (side, side))
    return np.asarray(windows.any((2, 3)))


def _unit(embeddings: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12))
