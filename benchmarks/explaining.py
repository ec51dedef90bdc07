"""Pair tensors, overlays and whole rankings, from local embeddings that are already there."""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.measuring import Duel, duel
from dmlviz.embedder import Embedder, LocalEmbeddings
from dmlviz.explanation import decompose_similarity, explain_ranking, ranking_maps
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

_DIM = 512


def published_loop(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The pair tensor as published code computes it: one sum over the dimensions for each pair of cells.

    D[i, j, x, y] = sum_d query[i, j, d] gallery[x, y, d] (Zhu, Yang and Chen, Visual Explanation for Deep Metric
    Learning, TIP 2021), written from the formula, with four nested loops.
    """
    pairs = np.zeros((*query.shape[:2], *gallery.shape[:2]), dtype=query.dtype)
    for i in range(query.shape[0]):
        for j in range(query.shape[1]):
            for x in range(gallery.shape[0]):
                for y in range(gallery.shape[1]):
                    pairs[i, j, x, y] = np.sum(query[i, j] * gallery[x, y])
    return pairs


def pair_tensors() -> Iterator[Duel]:
    """One pair against the loop, and against nothing but the matrix product."""
    random = np.random.default_rng(0)
    for side in (7, 14):
        vectors = random.standard_normal((2, side, side, _DIM)).astype(np.float32)
        query, gallery = (LocalEmbeddings(v, np.zeros(_DIM, np.float32)) for v in vectors)
        flat = vectors.reshape(2, side * side, _DIM)
        found = decompose_similarity(query, gallery, similarity="dot").contributions
        np.testing.assert_allclose(found, published_loop(*vectors), rtol=1e-3, atol=1e-3)
        what = f"pair tensor {side}×{side}, D = {_DIM}, with offsets and score"

        def ours(query=query, gallery=gallery):
            return decompose_similarity(query, gallery, similarity="cosine")

        def loop(vectors=vectors):
            return published_loop(*vectors)

        def product(flat=flat):
            return flat[0] @ flat[1].T

        yield duel(what, "published quadruple loop", ours, loop, goal=1 / 1000, rounds=11)
        yield duel(what, "bare matrix product", ours, product, goal=1.5)


def rankings(quick: bool) -> Iterator[Duel]:
    """Overlays of 1000 items against one matrix product; a whole top 50 against one forward pass."""
    random = np.random.default_rng(0)
    count = 200 if quick else 1200
    pictures = random.integers(0, 256, (60, 224, 224, 3), dtype=np.uint8)
    for name in ("resnet18", "resnet50"):
        embedder = Embedder.from_torchvision(name)
        images = ImageSet.from_arrays([pictures[i % len(pictures)] for i in range(count)])
        embeddings = np.abs(random.standard_normal((count, embedder.dim))).astype(np.float32)
        gallery = Gallery(images, embedder, embeddings)
        ids = np.arange(1, min(count, 1001))
        local = gallery.query_local(0)
        cells = local.vectors.reshape(-1, embedder.dim)
        chosen = np.ascontiguousarray(embeddings[ids])

        def overlays(gallery=gallery, ids=ids):
            return ranking_maps(gallery, 0, ids)

        def product(chosen=chosen, cells=cells):
            return chosen @ cells.T

        yield duel(
            f"overlays for {len(ids)} items, {name} ({embedder.dim} dimensions)",
            "bare matrix product on rows already gathered",
            overlays,
            product,
            goal=2.0,
        )

        top = np.arange(1, 51)
        gallery.local_embeddings_of(top)
        batch = torch.randn(1, 3, *embedder.input_size)

        def explained(gallery=gallery, top=top):
            return explain_ranking(gallery, 0, top)

        def maps(gallery=gallery, top=top):
            return ranking_maps(gallery, 0, top)

        trunk = embedder.trunk.eval()

        @torch.inference_mode()
        def forward(trunk=trunk, batch=batch):
            return trunk(batch)

        baseline = f"one {name} trunk pass of one image"
        yield duel(f"overlays of a top 50, {name}", baseline, maps, forward, goal=1.0)
        yield duel(f"50 full pair tensors of a top 50, {name}", baseline, explained, forward, goal=1.0)
