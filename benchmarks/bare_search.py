"""Searching without an index room: NumPy, torch, and FAISS as it comes.

Each function takes the rows and hands back a search: (queries, k) -> (Q, k) places of rows, nearest first. What it
needs once per gallery (norms, a trained index) is done before. Nothing is checked and ties fall as they fall.
"""

from collections.abc import Callable

import faiss
import numpy as np
import torch

from dmlviz.index.bits import as_words, bit_counts

Search = Callable[[np.ndarray, int], np.ndarray]

_ROWS_AT_ONCE = 16384


def numpy_search(rows: np.ndarray, metric: str) -> Search:
    """One matrix product per 16,384 rows in float32, argpartition of each block and of what the blocks leave.

    For distances 2 <q, x> - |x|² takes the product's place.
    """
    squares = np.einsum("nd,nd->n", rows, rows) if metric == "l2" else None

    def near(queries: np.ndarray, block: slice) -> np.ndarray:
        products = queries @ rows[block].T
        if squares is None:
            return products
        products *= 2
        products -= squares[block]
        return products

    return _by_blocks(near, len(rows))


def numpy_codes(codes: np.ndarray) -> Search:
    """Exclusive or and bit counts over words of 64 bits, by blocks as `numpy_search`."""
    held = as_words(codes)

    def near(queries: np.ndarray, block: slice) -> np.ndarray:
        asked = as_words(queries)
        differ = np.zeros((len(asked), len(held[block])), dtype=np.int32)
        for word in range(asked.shape[1]):
            differ += bit_counts(asked[:, word, None] ^ held[None, block, word])
        return -differ

    return _by_blocks(near, len(codes))


def torch_search(rows: np.ndarray, metric: str) -> Search:
    """One matrix product over all rows in float32, and topk; distances as `numpy_search`."""
    held = torch.from_numpy(rows)
    squares = torch.einsum("nd,nd->n", held, held) if metric == "l2" else None

    @torch.inference_mode()
    def search(queries: np.ndarray, k: int) -> np.ndarray:
        products = torch.from_numpy(queries) @ held.T
        near = products if squares is None else products.mul_(2).sub_(squares)
        return near.topk(k).indices.numpy()

    return search


def faiss_search(rows: np.ndarray, metric: str, kind: str, lists: int) -> Search:
    """FAISS's own index of a kind, with the parameters that `GalleryIndex` has unless others are said."""
    dim = rows.shape[1]
    by = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    if kind == "flat":
        index = faiss.IndexFlat(dim, by)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 32, by)
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
    elif kind == "sq8":
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, by)
    else:
        code = "Flat" if kind == "ivf" else f"PQ{dim // 4}np"
        index = faiss.index_factory(dim, f"IVF{lists},{code}", by)
        index.nprobe = _looked_at(lists)
    if not index.is_trained:
        index.train(_training(rows, lists))
    index.add(rows)
    return lambda queries, k: index.search(queries, k)[1]


def faiss_codes(codes: np.ndarray, kind: str, lists: int) -> Search:
    """The same for packed codes."""
    bits = 8 * codes.shape[1]
    if kind == "flat":
        index = faiss.IndexBinaryFlat(bits)
    elif kind == "hnsw":
        index = faiss.IndexBinaryHNSW(bits, 32)
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 64
    else:
        index = faiss.index_binary_factory(bits, f"BIVF{lists}")
        index.train(_training(codes, lists))
        index.nprobe = _looked_at(lists)
    index.add(codes)
    return lambda queries, k: index.search(queries, k)[1]


def _by_blocks(near: Callable[[np.ndarray, slice], np.ndarray], count: int) -> Search:
    """The k of the highest `near`, read block by block."""

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        places, values = [], []
        for start in range(0, count, _ROWS_AT_ONCE):
            found = near(queries, slice(start, min(start + _ROWS_AT_ONCE, count)))
            best = _highest(found, k)
            places.append(start + best)
            values.append(np.take_along_axis(found, best, axis=1))
        all_places, all_values = np.concatenate(places, axis=1), np.concatenate(values, axis=1)
        chosen = _highest(all_values, k)
        order = np.argsort(-np.take_along_axis(all_values, chosen, axis=1), axis=1)
        return np.take_along_axis(all_places, np.take_along_axis(chosen, order, axis=1), axis=1)

    return search


def _highest(values: np.ndarray, k: int) -> np.ndarray:
    """(Q, k) columns of the highest values of each line, in any order."""
    columns = values.shape[1]
    if k >= columns:
        return np.broadcast_to(np.arange(columns), values.shape)
    return np.argpartition(values, columns - k, axis=1)[:, columns - k :]


def _looked_at(lists: int) -> int:
    """How many lists `GalleryIndex` and `BinaryIndex` look at unless told otherwise."""
    return min(lists, max(8, lists // 16))


def _training(rows: np.ndarray, lists: int) -> np.ndarray:
    """As many rows as ours train on, chosen at random."""
    some = min(len(rows), max(64 * lists, 20_000))
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), some, replace=False))]
