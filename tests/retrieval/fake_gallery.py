"""A small embedder in NumPy, exact and quick, and galleries made with it."""

import hashlib

import numpy as np
import pandas as pd

from dmlviz.embedder import CellGeometry, LocalEmbeddings
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

GRID = (2, 3)
CELL = 4
VIEW = (GRID[0] * CELL, GRID[1] * CELL)
DIM = 5


class FakeEmbedder:
    """Average pooling of 4 × 4 patches and a linear map: the cell's share is W · mean colour / number of cells."""

    dim = DIM
    geometry = CellGeometry(stride=(CELL, CELL), first=(1.5, 1.5), receptive_field=(CELL, CELL))
    note = ""
    exact = True

    def __init__(self, seed=0, name="fake", offset=0.3, grid=GRID):
        self.map_size = grid
        self.input_size = (grid[0] * CELL, grid[1] * CELL)
        random = np.random.default_rng(seed)
        self.weight = random.standard_normal((DIM, 3)).astype(np.float32)
        self.offset = np.full(DIM, offset, dtype=np.float32)
        self.name = name
        self.fingerprint = hashlib.sha256(self.weight.tobytes() + self.offset.tobytes()).hexdigest()
        self.calls = []

    def view(self, image):
        rows = np.linspace(0, image.shape[0] - 1, self.input_size[0]).round().astype(int)
        columns = np.linspace(0, image.shape[1] - 1, self.input_size[1]).round().astype(int)
        return image[rows][:, columns]

    def local_embeddings(self, images, batch_size=64):
        self.calls.append(len(images))
        return [self._local(image) for image in images]

    def embed(self, images):
        return np.stack([self._local(image).embedding for image in images])

    def _local(self, image):
        view = self.view(image).astype(np.float32) / 255
        h, w = self.map_size
        patches = view.reshape(h, CELL, w, CELL, 3).mean(axis=(1, 3))
        return LocalEmbeddings(patches @ self.weight.T / (h * w), self.offset)


class FakeEmbedded:
    """What `embed_images` returns."""

    def __init__(self, embeddings, ids, failed):
        self.embeddings, self.ids, self.failed = embeddings, ids, failed


class FakeEmbedding:
    """Stands in for `embed_images`: keeps its work in one file per image, can be told to stop."""

    def __init__(self):
        self.computed = 0
        self.stop_after = None
        self.options = None

    def __call__(self, embedder, images, *, path=None, on_error="raise", **options):
        self.options = options
        rows, ids, failed = [], [], []
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
        for i in range(len(images)):
            done = None if path is None else path / f"{i}.npy"
            if done is not None and done.exists():
                rows.append(np.load(done))
                ids.append(i)
                continue
            if self.stop_after is not None and self.computed >= self.stop_after:
                raise KeyboardInterrupt
            try:
                row = embedder.embed([images[i]])[0]
            except ValueError as error:
                if on_error == "raise":
                    raise
                failed.append((i, images.names[i], str(error)))
                continue
            self.computed += 1
            if done is not None:
                np.save(done, row)
            rows.append(row)
            ids.append(i)
        embeddings = np.array(rows, dtype=np.float32).reshape(len(ids), embedder.dim)
        return FakeEmbedded(embeddings, np.array(ids, dtype=np.int64), tuple(failed))


def coloured_images(count=24, classes=4, seed=0, labelled=True):
    """Noisy pictures; those of a class share the picture beneath the noise."""
    random = np.random.default_rng(seed)
    base = random.integers(40, 216, (classes, *VIEW, 3))
    which = np.arange(count) % classes
    noise = random.integers(-40, 41, (count, *VIEW, 3))
    arrays = np.clip(base[which] + noise, 0, 255).astype(np.uint8)
    return ImageSet.from_arrays(list(arrays), labels=[f"class {c}" for c in which] if labelled else None)


def gallery_of(embeddings, labels=None, similarity="cosine", cameras=None, queries=None, leave_out="self"):
    """A gallery with chosen embeddings; its pictures do not matter. queries: their embeddings, labels, cameras."""
    embeddings = np.asarray(embeddings, dtype=np.float32)
    embedder = FakeEmbedder()
    embedder.dim = embeddings.shape[1]
    images = blank_images(len(embeddings), labels, cameras)
    asking = {}
    if queries is not None:
        rows, its_labels, *its_cameras = queries
        asking["query_embeddings"] = np.asarray(rows, dtype=np.float32).reshape(-1, embedder.dim)
        asking["queries"] = blank_images(len(rows), its_labels, *its_cameras)
    return Gallery(images, embedder, embeddings, similarity, leave_out=leave_out, **asking)


def blank_images(count, labels=None, cameras=None):
    """Black pictures with labels and cameras."""
    table = None if cameras is None else pd.DataFrame({"camera": cameras})
    return ImageSet(
        lambda i: np.zeros((2, 2, 3), np.uint8), [f"image {i}" for i in range(count)], labels, table
    )
