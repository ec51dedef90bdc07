"""Small galleries with known boxes, maps planted in the place of a method's, and enlarging by loops."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import CellGeometry, Embedder, LinearHead
from dmlviz.faithfulness import Explained, KnownBoxes
from dmlviz.images import ImageSet, Preprocess


def gallery_of(size, cell, count=6, geometry="true", preprocess=None, seed=0):
    """`count` random pictures of size × size; cells of `cell` pixels; labels in pairs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = nn.Conv2d(3, 4, cell, stride=cell)
    if geometry == "true":
        geometry = CellGeometry((cell, cell), ((cell - 1) / 2,) * 2, (cell, cell))
    pictures = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images = ImageSet.from_arrays(list(pictures), [f"class {i // 2}" for i in range(count)])
    seen = preprocess or Preprocess.stretch(size)
    return dv.Gallery.build(
        images, Embedder(trunk, LinearHead("avg"), seen, geometry=geometry), progress=False
    )


def two_networks():
    """Two queries of 32 × 32 with cells of 8 from pixel 0, two images of 24 × 24 with cells of 6 from pixel 5."""
    asking = gallery_of(32, 8, 2, geometry=CellGeometry((8, 8), (0, 0), (8, 8)))
    given = gallery_of(24, 6, 2, geometry=CellGeometry((6, 6), (5, 5), (6, 6)))
    return dv.Gallery.build(
        given.images,
        given.embedder,
        queries=asking.images,
        query_embedder=asking.embedder,
        progress=False,
    )


class Planted(Explained):
    """Explanations whose query maps come from a function of the query, gallery maps from one of the item."""

    def __init__(self, gallery, of_image):
        super().__init__(gallery)
        self._of_image = of_image

    def of(self, query, item):
        why = super().of(query, item)
        maps = {f"{side}_map": self._of_image(i) for side, i in (("query", query), ("gallery", item))}
        return replace(why, contributions=None, query_offset=None, gallery_offset=None, **maps)


def some_boxes(size, count, seed=0, least=4, most=10):
    rng = np.random.default_rng(seed)
    sides = rng.integers(least, most, (count, 2))
    corners = rng.integers(0, size - sides + 1)
    return KnownBoxes(np.concatenate([corners, corners + sides], axis=1))


def inside(known, i, size):
    top, left, bottom, right = known.box(i)
    mask = np.zeros((size, size))
    mask[top:bottom, left:right] = 1
    return mask


def slow_enlarged(values, size, geometry):
    """Each pixel by itself: bilinear between the four cells round it, the edge repeated."""
    h, w = values.shape
    found = np.zeros((size, size))
    for r in range(size):
        for c in range(size):
            y = min(max((r - geometry.first[0]) / geometry.stride[0], 0), h - 1)
            x = min(max((c - geometry.first[1]) / geometry.stride[1], 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = values[y0, x0] * (1 - (x - x0)) + values[y0, x1] * (x - x0)
            bottom = values[y1, x0] * (1 - (x - x0)) + values[y1, x1] * (x - x0)
            found[r, c] = top * (1 - (y - y0)) + bottom * (y - y0)
    return found
