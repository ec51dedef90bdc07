"""Pictures of four coloured quadrants, of which every figure can be worked out by hand; and planted maps."""

import numpy as np
from torch import nn

import dmlviz as dv
from dmlviz.embedder import CellGeometry, Embedder, LinearHead
from dmlviz.explanation import Decomposition, Method
from dmlviz.images import ImageSet, Preprocess

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
SIZE = 8
PARTS = ("head", "body", "tail")


class Quadrants(ImageSet):
    """16 × 16 pictures. A scene says of each part in which quadrant it is (None: hidden) and its colour."""

    parts = PARTS

    def __init__(self, scenes, labels, families=None):
        if families is not None:
            self.family = families.__getitem__
        self.scenes = [dict(zip(PARTS, scene, strict=True)) for scene in scenes]
        super().__init__(self._read_scene, [f"picture {i}" for i in range(len(scenes))], labels)

    def _read_scene(self, i):
        return self._drawn(self.scenes[i])

    def _drawn(self, scene):
        image = np.zeros((2 * SIZE, 2 * SIZE, 3), np.uint8)
        for quadrant, colour in scene.values():
            if quadrant is not None:
                image[self._where(quadrant)] = colour
        return image

    def _where(self, quadrant):
        row, col = divmod(quadrant, 2)
        return slice(SIZE * row, SIZE * row + SIZE), slice(SIZE * col, SIZE * col + SIZE)

    def mask(self, i, part):
        mask = np.zeros((2 * SIZE, 2 * SIZE), bool)
        if self.scenes[i][part][0] is not None:
            mask[self._where(self.scenes[i][part][0])] = True
        return mask

    def differs(self, i, j):
        return tuple(p for p in PARTS if self.scenes[i][p][1] != self.scenes[j][p][1])

    def swap(self, i, part):
        """The part in the opposite colour."""
        quadrant, colour = self.scenes[i][part]
        return self._drawn(self.scenes[i] | {part: (quadrant, tuple(255 - c for c in colour))})

    def without(self, i, part):
        return self._drawn(self.scenes[i] | {part: (None, BLACK)})


def mean_colours():
    """A network whose four cells are the mean colours of the quadrants, from 0 to 1."""
    feed = Preprocess.stretch(2 * SIZE, mean=0.0, std=1.0)
    return Embedder(nn.AvgPool2d(SIZE), LinearHead("avg"), feed, name="mean colours")


def corner_colours():
    """A network that looks at the upper left pixel of each quadrant: its cells lie there, not in the middle."""
    feed = Preprocess.stretch(2 * SIZE, mean=0.0, std=1.0)
    look = nn.Conv2d(3, 3, 1, SIZE, bias=False)
    nn.init.dirac_(look.weight)
    corners = CellGeometry(stride=(SIZE, SIZE), first=(0.0, 0.0), receptive_field=(1, 1))
    head = LinearHead("avg")
    return Embedder(look.requires_grad_(False), head, feed, name="corner colours", geometry=corners)


def gallery_of(scenes, labels, families=None, embedder=None, **options):
    images = Quadrants(scenes, labels, families)
    return dv.Gallery.build(images, embedder or mean_colours(), similarity="dot", progress=False, **options)


def planted(maps):
    """A linear method whose map of the query is made by `maps(gallery, query, item)` -> (map, geometry)."""

    def parts(gallery, query, item):
        of_query, geometry = maps(gallery, query, item)
        return {"query_map": of_query, "query_geometry": geometry}

    return _method(parts)


def planted_pairs(pairs_of):
    """A method whose contributions of pairs of cells are made by `pairs_of(gallery, query, item)`."""

    def parts(gallery, query, item):
        return {
            "contributions": pairs_of(gallery, query, item),
            "query_geometry": gallery.query_embedder.geometry,
            "gallery_geometry": gallery.embedder.geometry,
        }

    return _method(parts)


def _method(parts):
    nothing = {"contributions": None, "query_offset": None, "gallery_offset": None, "constant": 0.0}

    def of_ranking(gallery, query, ids, **options):
        return [
            Decomposition(
                **(nothing | parts(gallery, query, int(item))),
                similarity=float(gallery.score(query, [item])[0]),
                promises=False,
            )
            for item in ids
        ]

    words = ("planted",) * 4
    return Method(*words, of_ranking, lambda gallery: "", pairwise=True, linear=True)


def grown_by_loops(mask, by):
    """A mask and all pixels at most `by` rows and columns away from it."""
    h, w = mask.shape
    grown = np.zeros((h, w), bool)
    for r in range(h):
        for c in range(w):
            grown[r, c] = mask[max(r - by, 0) : r + by + 1, max(c - by, 0) : c + by + 1].any()
    return grown


def enlarged_by_loops(values, size, geometry):
    """Bilinear between the centres of the cells, in float64 and one pixel at a time."""
    h, w = values.shape
    drawn = np.zeros(size)
    for r in range(size[0]):
        for c in range(size[1]):
            y = min(max((r - geometry.first[0]) / geometry.stride[0], 0.0), h - 1.0)
            x = min(max((c - geometry.first[1]) / geometry.stride[1], 0.0), w - 1.0)
            top, left = min(int(y), h - 2), min(int(x), w - 2)
            for i, down in ((top, 1 - (y - top)), (top + 1, y - top)):
                for j, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                    drawn[r, c] += down * across * float(values[i, j])
    return drawn


def peak_by_loops(values, mask, geometry):
    """The share of the highest cells whose centre lies on the mask."""
    h, w = values.shape
    highest = max(float(values[i, j]) for i in range(h) for j in range(w))
    inside = []
    for i in range(h):
        for j in range(w):
            if float(values[i, j]) == highest:
                row = round(geometry.first[0] + geometry.stride[0] * i)
                col = round(geometry.first[1] + geometry.stride[1] * j)
                inside.append(bool(mask[row, col]))
    return sum(inside) / len(inside)
