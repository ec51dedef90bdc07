"""A network whose cells see their own pixels alone, so that black pixels are features of zero."""

import numpy as np
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead
from dmlviz.faithfulness import Explained
from dmlviz.images import ImageSet, Preprocess

BLACK = (0, 0, 0)


def patchwork(similarity="dot", pooling="avg", bias=True, count=6, seed=0):
    """A gallery of random pictures: views of 8 × 8 pixels, 4 × 4 cells of 2 × 2 pixels each."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 5, 1, bias=False))
        linear = nn.Linear(5, 7, bias=bias)
    network = Embedder(trunk, LinearHead(pooling, linear), Preprocess.stretch(8, mean=0, std=1))
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count)]
    return dv.Gallery.build(ImageSet.from_arrays(pictures), network, similarity=similarity, progress=False)


def planted(gallery, pairs, change):
    """The exact decompositions of these pairs, each changed by a function."""
    explained = Explained(gallery)
    for query, item in pairs:
        explained._kept[query, item] = change(explained.of(query, item))
    return explained


def slow_keep(cells, view, first, stride):
    """Which pixels are kept, pixel by pixel: those whose nearest cell is kept, the upper or left one of two."""
    kept = np.zeros(view, bool)
    for row in range(view[0]):
        for col in range(view[1]):
            i = min(range(cells.shape[0]), key=lambda n: (abs(row - first[0] - stride[0] * n), n))
            j = min(range(cells.shape[1]), key=lambda n: (abs(col - first[1] - stride[1] * n), n))
            kept[row, col] = cells[i, j]
    return kept


def slow_prediction(why, of_query, of_gallery):
    """Σ D over kept pairs and the offsets of kept cells, entry by entry."""
    hq, wq, hg, wg = why.contributions.shape
    total = float(why.constant)
    for i in range(hq):
        for j in range(wq):
            if not of_query[i, j]:
                continue
            total += float(why.query_offset[i, j])
            for k in range(hg):
                for n in range(wg):
                    total += float(why.contributions[i, j, k, n]) * bool(of_gallery[k, n])
    for k in range(hg):
        for n in range(wg):
            total += float(why.gallery_offset[k, n]) * bool(of_gallery[k, n])
    return total


def slow_similarity(gallery, query, item, of_query, of_gallery, fill):
    """The real similarity with pixels covered by a colour, one picture at a time."""
    embedded = []
    for i, cells in ((query, of_query), (item, of_gallery)):
        view = gallery.view(i).copy()
        where = gallery.embedder.geometry
        if where is None:
            n = [v / c for v, c in zip(view.shape, cells.shape, strict=False)]
            first, stride = [(one - 1) / 2 for one in n], n
        else:
            first, stride = where.first, where.stride
        colour = view.reshape(-1, 3).mean(0) if fill == "mean" else np.array(fill, float)
        view[~slow_keep(cells, view.shape[:2], first, stride)] = np.rint(colour)
        embedded.append(gallery.embedder.embed_views([view])[0].astype(np.float64))
    score = float(embedded[0] @ embedded[1])
    if gallery.similarity == "dot":
        return score
    return score / float(np.linalg.norm(embedded[0]) * np.linalg.norm(embedded[1]))
