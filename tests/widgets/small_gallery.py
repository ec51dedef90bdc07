"""A gallery made of NumPy alone: exact, quick, and as awkward as a test wants it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from dmlviz.embedder import CellGeometry, LocalEmbeddings
from dmlviz.retrieval import Ranking
from dmlviz.retrieval.metrics import Evaluation, average_precision_at_r, r_precision


class SmallGallery:
    """Images with soft blobs; a cell's local embedding follows the blob that covers it."""

    def __init__(
        self,
        count=24,
        classes=4,
        view=(48, 64),
        grid=(6, 8),
        dim=12,
        offset=0.3,
        similarity="cosine",
        labels=True,
        names=None,
        geometry=True,
        seed=0,
        grids=None,
        queries=None,
    ):
        rng = np.random.default_rng(seed)
        self.similarity = similarity
        of_class = np.arange(count) % classes
        names = names or [f"class_{c}/{i:03d}.png" for i, c in enumerate(of_class)]
        self.labels = np.array([f"class {c}" for c in of_class], dtype=object) if labels else None
        self._views, self._locals = [], []
        own = rng.normal(size=(classes, dim))
        shared = rng.normal(size=dim)
        b = offset * rng.normal(size=dim)
        for i, c in enumerate(of_class):
            h, w = grids[i] if grids else grid
            row, col = rng.uniform(0.2, 0.8, 2)
            weight = _blob(h, w, row, col, 0.18)
            noise = 0.25 * rng.normal(size=(h, w, dim))
            vectors = weight[..., None] * own[c] + 0.08 * shared + 0.1 * noise + 0.03 * rng.normal(size=dim)
            self._locals.append(LocalEmbeddings(vectors.astype(np.float32), b.astype(np.float32)))
            H, W = view
            shade = _blob(H, W, row, col, 0.12)[..., None]
            colour = np.array([[220, 120, 60], [70, 160, 90], [90, 110, 210], [190, 180, 70]])[c % 4]
            ground = 90 + 50 * np.linspace(0, 1, W)[None, :, None] + rng.normal(0, 6, (H, W, 1))
            self._views.append((ground * (1 - shade) + shade * colour).clip(0, 255).astype(np.uint8))
        self.images = _Images(names, self._views)
        self.embeddings = np.stack([x.embedding for x in self._locals])
        place = (
            CellGeometry(stride=(8.0, 8.0), first=(3.5, 3.5), receptive_field=(20, 20)) if geometry else None
        )
        self.embedder = SimpleNamespace(geometry=place, note="", name="small", dim=dim, input_size=view)
        self.queries_of = queries or self
        self.query_embedder = self.queries_of.embedder
        self.queries = self.queries_of.images
        self.searches = 0
        self.leave_out = "self" if self.queries is self.images else None
        self.index = SimpleNamespace(kind="flat", exact=True, reason="")

    def __len__(self):
        return len(self._views)

    @property
    def query_labels(self):
        return self.queries_of.labels

    def view(self, i):
        return self._views[i]

    def image(self, i):
        return self._views[i]

    def query_view(self, i):
        return self.queries_of._views[i]

    query_image = query_view

    def query_local(self, query):
        return self.queries_of._locals[query]

    def query_embedding(self, query):
        return self.queries_of.embeddings[query]

    def local_embeddings_of(self, ids):
        return [self._locals[i] for i in ids]

    def scale(self, embedding, ids):
        if self.similarity == "dot":
            return np.ones(len(ids))
        lengths = np.linalg.norm(self.embeddings[ids].astype(float), axis=1) * np.linalg.norm(embedding)
        return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def score(self, query, ids):
        asking = self.query_embedding(query)
        products = self.embeddings[ids].astype(float) @ asking.astype(float)
        return (products * self.scale(asking, ids)).astype(np.float32)

    def _ranking(self, query, scores, k, by):
        own = self.queries_of is self
        order = [i for i in np.argsort(-scores, kind="stable") if not own or i != query][:k]
        labels = None if self.labels is None else self.labels[order]
        hits = None if labels is None else labels == self.query_labels[query]
        return Ranking(
            query=query,
            query_label=None if self.labels is None else self.query_labels[query],
            ids=np.array(order, dtype=np.int64),
            similarities=scores[order].astype(np.float32),
            labels=labels,
            hits=hits,
            names=tuple(self.images.names[i] for i in order),
            ranked_by=by,
        )

    def search(self, query, k=10, exclude_self=True):
        self.searches += 1
        return self._ranking(query, self.score(query, np.arange(len(self))), k, "similarity")

    def search_region(self, query, mask, k=10):
        self.searches += 1
        part = np.asarray(mask, float)[..., None] * self.query_local(query).vectors
        scores = self.embeddings.astype(float) @ part.sum((0, 1))
        return self._ranking(
            query, scores * self.scale(self.query_embedding(query), np.arange(len(self))), k, "region"
        )

    def failures(self):
        rows = []
        for query in range(len(self.queries)):
            found = self.search(query, k=len(self))
            if found.hits[0]:
                continue
            first = int(np.flatnonzero(found.hits)[0])
            rows.append(
                {
                    "query": query,
                    "wrong": int(found.ids[0]),
                    "right": int(found.ids[first]),
                    "wrong_similarity": float(found.similarities[0]),
                    "margin": float(found.similarities[first] - found.similarities[0]),
                }
            )
        columns = ["query", "wrong", "right", "wrong_similarity", "margin"]
        return pd.DataFrame(rows, columns=columns).sort_values("margin")

    def _per_query(self):
        every = [self.search(query, k=len(self)) for query in range(len(self.queries))]
        able = np.array([found.hits.any() for found in every])
        rank = np.array([int(found.hits.argmax()) for found in every])
        best = np.array([float(found.similarities[at]) for found, at in zip(every, rank, strict=True)])
        wrong = np.array([float(found.similarities[found.hits.argmin()]) for found in every])
        return SimpleNamespace(
            evaluated=able, first_hit_rank=(rank + 1) * able, margin=best - wrong, wrong_similarity=wrong
        )

    def evaluate(self, recall_at=(1, 2, 4, 8)):
        found = [(q, self.search(q, k=len(self)).hits) for q in range(len(self.queries))]
        able = [(q, hits[None], np.array([hits.sum()])) for q, hits in found if hits.any()]
        if not able:
            raise ValueError("there is nothing to find")
        ids, every, counts = zip(*able, strict=True)
        first = np.array([1 + int(hits.argmax()) for hits in every])
        among = np.array([r_precision(hits, count)[0] for hits, count in zip(every, counts, strict=True)])
        average = np.array([average_precision_at_r(h, c)[0] for h, c in zip(every, counts, strict=True)])
        return Evaluation(
            recall={k: float((first <= k).mean()) for k in recall_at},
            precision_at_1=float((first == 1).mean()),
            r_precision=float(among.mean()),
            map_at_r=float(average.mean()),
            query_ids=np.array(ids),
            first_hit_rank=first,
            r_precision_per_query=among,
            average_precision_at_r_per_query=average,
            dropped=len(found) - len(able),
        )


class _Images:
    def __init__(self, names, views):
        self.names, self._views, self.table = tuple(names), views, pd.DataFrame(index=range(len(views)))

    def __len__(self):
        return len(self._views)

    def __getitem__(self, i):
        return self._views[i]


def _blob(h, w, row, col, size):
    y = (np.arange(h) + 0.5)[:, None] / h - row
    x = (np.arange(w) + 0.5)[None] / w - col
    return np.exp(-(y**2 + x**2) / (2 * size**2))
