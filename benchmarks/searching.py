"""`GalleryIndex` against FAISS called bare."""

from collections.abc import Iterator

import faiss
import numpy as np

from benchmarks.measuring import Duel, duel
from dmlviz.index import GalleryIndex

_DIM = 512


def searches(quick: bool) -> Iterator[Duel]:
    """Top 10 by inner product, batch 1 and batch 1000; both search the very same rows in memory.

    Bare FAISS gets float32 rows in C order, no checks, and gives back what it finds: ties in the order of
    its heap, other last digits for other batch sizes.
    """
    for count in (10_000,) if quick else (10_000, 100_000):
        index = GalleryIndex.build(clustered(count))
        bare = index._stored.flat  # the very rows, in the very memory
        queries = np.array(index.vectors[:1000])
        one = queries[:1]
        threads = faiss.omp_get_max_threads()

        def ours_one(index=index, one=one):
            return index.search(one, 10)

        def bare_one(bare=bare, one=one):
            return bare.search(one, 10)

        def bare_one_thread(bare=bare, one=one, threads=threads):
            faiss.omp_set_num_threads(1)
            found = bare.search(one, 10)
            faiss.omp_set_num_threads(threads)
            return found

        def ours_many(index=index, queries=queries):
            return index.search(queries, 10)

        def bare_many(bare=bare, queries=queries):
            return bare.search(queries, 10)

        size = f"{count // 1000}k × {_DIM}"
        yield duel(f"search {size}, batch 1", "FAISS as it comes", ours_one, bare_one, goal=1.05)
        yield duel(f"search {size}, batch 1", "FAISS on one thread", ours_one, bare_one_thread, goal=1.05)
        rounds = 11 if count > 10_000 else 31
        yield duel(
            f"search {size}, batch 1000", "FAISS as it comes", ours_many, bare_many, goal=1.05, rounds=rounds
        )


def clustered(count: int) -> np.ndarray:
    """Rows of length one in clusters of twenty, (count, D) float32."""
    random = np.random.default_rng(0)
    rows = np.repeat(random.standard_normal((count // 20, _DIM), dtype=np.float32), 20, axis=0)
    rows += random.standard_normal(rows.shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
