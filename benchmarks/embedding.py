"""Embedding a set against a bare loop of forward passes over batches that lie ready."""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.measuring import Duel, duel
from dmlviz.embedder import Embedder, birds_embedder, embed_images
from dmlviz.images import ImageSet, birds

_BATCH = 32


def sets(quick: bool) -> Iterator[Duel]:
    """Pictures in memory; ours reads, resizes and normalises them, the baseline has that done beforehand."""
    random = np.random.default_rng(0)
    count = 32 if quick else 96
    photographs = [random.integers(0, 256, (375, 500, 3), dtype=np.uint8) for _ in range(count)]
    yield _one("photographs of 375 × 500, resnet18", Embedder.from_torchvision("resnet18"), photographs)
    drawn = [image for image in birds().subset(range(320 if not quick else 64))]
    yield _one("birds of 96 × 96, shipped network", birds_embedder(), drawn)


def _one(what: str, embedder: Embedder, pictures: list[np.ndarray]) -> Duel:
    images = ImageSet.from_arrays(pictures)
    inputs = torch.from_numpy(np.stack([embedder.preprocess(picture) for picture in pictures]))
    batches = list(inputs.split(_BATCH))
    trunk, head = embedder.trunk.eval(), embedder.head.eval()

    def ours():
        return embed_images(embedder, images, batch_size=_BATCH, progress=False)

    @torch.inference_mode()
    def bare():
        return [head(trunk(batch)) for batch in batches]

    found = ours().embeddings
    np.testing.assert_allclose(found, np.concatenate([b.numpy() for b in bare()]), rtol=1e-3, atol=1e-4)
    baseline = "bare loop over preloaded batches"
    return duel(f"embed {len(pictures)} {what}", baseline, ours, bare, goal=1 / 0.95, rounds=5)
