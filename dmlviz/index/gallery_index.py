"""`GalleryIndex`: the rows most similar to a query, one answer however it is asked."""

import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index.checks import as_count, as_float32, as_ids, as_rows
from dmlviz.index.engine import faiss
from dmlviz.index.exact import all_products, lengths, pair_products, rounding_bound, some_products
from dmlviz.index.threads import search_threads, threads_for

KINDS = ("flat",)
"""The kinds of index that can be built: "flat" compares the query with every row."""

_ROWS_PER_ADD = 65536
_SPARE = 7
_SPARE_AGAIN = 500
_PAIRS_AT_ONCE = 2**21
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class _StoredRows:
    """The memory in which FAISS keeps its rows, for NumPy to look at; it lives as long as any view of it."""

    def __init__(self, flat: Any, count: int) -> None:
        self.owner = flat
        first = faiss.rev_swig_ptr(flat.get_xb(), count * int(flat.d))
        address = first.__array_interface__["data"][0]
        self.__array_interface__ = {
            "shape": (count, int(flat.d)),
            "typestr": np.dtype(np.float32).str,
            "data": (address, True),
            "version": 3,
        }


class GalleryIndex:
    """Rows of numbers, searched by inner product.

    A row's id is its position. Candidates come from FAISS; whatever could belong to the answer is scored
    again in float64, rounded once to float32 and ordered by (higher similarity, lower id). So a query gets
    bit for bit the same ids and similarities alone or in a batch, on one thread or many, and rows that tie
    come in the order of their ids. An index never changes after it was made; several threads may search
    it at once.

    Example:
        >>> import numpy as np
        >>> index = GalleryIndex.build(np.eye(3))
        >>> ids, similarities = index.search([0.0, 2.0, 1.0], k=2)
        >>> ids
        array([[1, 2]])
        >>> similarities
        array([[2., 1.]], dtype=float32)
    """

    def __init__(self, flat: Any, kind: str) -> None:
        """Wrap a FAISS index; use `GalleryIndex.build` or `GalleryIndex.open`."""
        self._faiss = flat
        self._kind = kind
        self._dim = int(flat.d)
        count = int(flat.ntotal)
        view = np.asarray(_StoredRows(flat, count)) if count else np.empty((0, self._dim), dtype=np.float32)
        view.flags.writeable = False
        self._vectors = view
        self._longest = float(lengths(view).max(initial=0.0))

    @classmethod
    def build(cls, embeddings: Any, kind: str = "flat") -> "GalleryIndex":
        """Index rows as they are (no normalisation happens here).

        Args:
            embeddings: (N, D) finite numbers of any real dtype, memory order or a torch-like tensor; stored
                as float32. N may be 0.
            kind: one of `KINDS`.

        Raises:
            TypeError: the rows are not numbers.
            ValueError: unknown kind, wrong shape, or rows with NaN or infinity (named by id).
        """
        if kind not in KINDS:
            raise ValueError(f"unknown kind of index {kind!r}; there is {', '.join(map(repr, KINDS))}")
        rows = as_rows(embeddings, "embeddings")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"embeddings must have the shape (N, D) with D at least 1, got {rows.shape}")
        flat = faiss.IndexFlatIP(rows.shape[1])
        for start in range(0, len(rows), _ROWS_PER_ADD):
            flat.add(as_float32(rows[start : start + _ROWS_PER_ADD], "embeddings", first=start))
        return cls(flat, kind)

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        """Number of dimensions D of a row."""
        return self._dim

    @property
    def kind(self) -> str:
        """Kind of the index, one of `KINDS`."""
        return self._kind

    @property
    def vectors(self) -> np.ndarray:
        """The rows, (N, D) float32, read-only; a view, nothing is copied."""
        return self._vectors

    def __repr__(self) -> str:
        return f"GalleryIndex(kind={self._kind!r}, {len(self)} rows of {self._dim} dimensions)"

    def __reduce__(self) -> tuple[Any, ...]:
        return GalleryIndex.build, (np.array(self._vectors), self._kind)

    def search(self, queries: Any, k: int, exclude: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Find the k rows with the largest inner product for each query.

        Args:
            queries: (Q, D) finite numbers, or (D,) for one query, which is answered like a batch of one.
            k: how many rows to return, at least 1. Where the index holds fewer (or `exclude` leaves fewer),
                k is cut to what every query can have; nothing is ever filled up.
            exclude: (Q,) int ids, one row that each query must not find (itself, usually); -1 for none.

        Returns:
            ids (Q, k) int64 and similarities (Q, k) float32, best first, ties by lower id.

        Raises:
            TypeError: queries, k or exclude are not numbers of the right sort.
            ValueError: wrong shape, wrong dimension, k below 1, NaN or infinity in a query, or numbers so
                large that a similarity would not fit float32.
            IndexError: an excluded id is not in the index.
        """
        rows = self._as_queries(queries)
        wanted = as_count(k)
        left_out = self._as_exclude(exclude, len(rows))
        excluding = left_out is not None and bool((left_out >= 0).any())
        wanted = min(wanted, len(self) - int(excluding))
        if wanted < 1 or len(rows) == 0:
            shape = (len(rows), max(wanted, 0))
            return np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32)
        bound = self._bound(rows)
        with search_threads(threads_for(len(rows))):
            if len(rows) == 1:
                answer = self._search_one(
                    rows, wanted, int(left_out[0]) if left_out is not None else -1, bound
                )
                if answer is not None:
                    return answer
            ids = np.empty((len(rows), wanted), dtype=np.int64)
            similarities = np.empty((len(rows), wanted), dtype=np.float32)
            step = max(1, _PAIRS_AT_ONCE // (wanted + 1 + _SPARE_AGAIN))
            for start in range(0, len(rows), step):
                block = slice(start, start + step)
                barred = left_out[block] if left_out is not None and excluding else None
                ids[block], similarities[block] = self._search(rows[block], wanted, barred, bound[block])
        return ids, similarities

    def similarity(self, queries: Any, ids: Any) -> np.ndarray:
        """Score chosen rows: the very numbers that `search` reports for them.

        Args:
            queries: (Q, D) or (D,) finite numbers.
            ids: (Q, k) int, rows to score for each query; (k,) for one query.

        Returns:
            (Q, k) float32 inner products.

        Raises:
            TypeError: queries or ids are not numbers of the right sort.
            ValueError: shapes do not fit, NaN or infinity in a query.
            IndexError: an id is not in the index.
        """
        rows = self._as_queries(queries)
        chosen = np.atleast_2d(as_ids(ids, "ids", len(self)))
        if chosen.ndim != 2 or len(chosen) != len(rows):
            raise ValueError(
                f"ids must have the shape ({len(rows)}, k) to fit the queries, got {np.shape(ids)}"
            )
        self._bound(rows)
        query_of = np.repeat(np.arange(len(rows)), chosen.shape[1])
        return pair_products(rows, self._vectors, query_of, chosen.ravel()).reshape(chosen.shape)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, whole or not at all (a temporary file is renamed at the end).

        Args:
            path: the file to write; an older file of that name is replaced.

        Raises:
            FileNotFoundError: the folder does not exist.
            IsADirectoryError: the path is a folder.
        """
        target = Path(os.fsdecode(path))
        if not target.parent.is_dir():
            raise FileNotFoundError(
                f"the folder {target.parent} does not exist; make it before saving an index there"
            )
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; give the name of a file to save the index in")
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        try:
            faiss.write_index(self._faiss, str(part))
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "GalleryIndex":
        """Read an index that `save` wrote.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is cut short, is no index, or is one that this library did not write.
        """
        source = Path(os.fsdecode(path))
        if not source.is_file():
            raise FileNotFoundError(f"there is no index file at {source}")
        try:
            flat = faiss.read_index(str(source))
        except (RuntimeError, MemoryError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{source} cannot be read as an index: it is cut short or is another kind of file. "
                "Build the index again and save it"
            ) from error
        if not isinstance(flat, faiss.IndexFlat) or flat.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError(
                f"{source} holds a FAISS {type(flat).__name__}, not a flat inner-product index; "
                f"GalleryIndex reads the kinds {', '.join(map(repr, KINDS))}"
            )
        index = cls(flat, "flat")
        as_float32(index._vectors, f"the rows in {source}")
        return index

    def _as_queries(self, queries: Any) -> np.ndarray:
        rows = as_rows(queries, "queries")
        if rows.ndim == 1:
            rows = rows[None]
        if rows.ndim != 2:
            raise ValueError(
                f"queries must have the shape (Q, {self._dim}) or ({self._dim},), got {rows.shape}"
            )
        if rows.shape[1] != self._dim:
            raise ValueError(
                f"the index holds rows of {self._dim} dimensions, the query has {rows.shape[1]}; "
                "was it embedded with the same network as the gallery?"
            )
        return as_float32(rows, "queries")

    def _as_exclude(self, exclude: Any, count: int) -> np.ndarray | None:
        if exclude is None:
            return None
        left_out = np.atleast_1d(as_ids(exclude, "exclude", len(self), lowest=-1))
        if left_out.shape != (count,):
            raise ValueError(f"exclude must hold one id per query, shape ({count},), got {left_out.shape}")
        return left_out

    def _bound(self, rows: np.ndarray) -> np.ndarray:
        query_lengths = lengths(rows)
        if len(rows) and query_lengths.max() * self._longest > _FLOAT32_MAX:
            raise ValueError("similarities would not fit float32 (beyond 3.4e38); scale the embeddings down")
        return rounding_bound(query_lengths, self._longest, self._dim)

    def _search_one(
        self, rows: np.ndarray, k: int, barred: int, bound: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """`_score_candidates` for a single query, without the bookkeeping; None where it is not certain."""
        width = k + 1 + _SPARE
        if 2 * width > len(self):
            return None
        rough, candidates = self._faiss.search(rows, width)
        last = k - 1 if barred < 0 else k
        inside = int(np.count_nonzero(rough[0] >= rough[0, last] - 2 * bound[0]))
        if inside == width:
            return None
        row_of = candidates[0, :inside]
        if barred >= 0:
            row_of = row_of[row_of != barred]
        scores = some_products(rows, self._vectors[row_of])
        order = np.lexsort((row_of, -scores))[:k]
        return row_of[None, order], scores[None, order]

    def _search(
        self, rows: np.ndarray, k: int, barred: np.ndarray | None, bound: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer a block of checked queries; those left uncertain by their candidates are asked again, wider."""
        ids = np.empty((len(rows), k), dtype=np.int64)
        similarities = np.empty((len(rows), k), dtype=np.float32)
        todo: np.ndarray | None = None
        for spare in (_SPARE, _SPARE_AGAIN, len(self)):
            asked, left_out, slack = rows, barred, bound
            if todo is not None:
                asked, slack = rows[todo], bound[todo]
                left_out = None if barred is None else barred[todo]
            width = min(k + 1 + spare, len(self))
            if 2 * width > len(self):  # nearly everything is a candidate: score everything
                found, scores = self._scan(asked, k, left_out)
                complete = None
            else:
                found, scores, complete = self._score_candidates(asked, k, left_out, slack, width)
            if complete is not None and complete.all():
                complete = None
            if todo is None and complete is None:
                return found, scores
            answered = np.arange(len(rows)) if todo is None else todo
            done = slice(None) if complete is None else complete
            ids[answered[done]], similarities[answered[done]] = found, scores
            if complete is None:
                break
            todo = answered[~complete]
        return ids, similarities

    def _score_candidates(
        self, rows: np.ndarray, k: int, barred: np.ndarray | None, bound: np.ndarray, width: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ask FAISS for `width` candidates and order those that could belong to the answer.

        Returns:
            ids and similarities (done, k) of the queries whose answer is certain, and which those are,
            (Q,) bool.
        """
        rough, candidates = self._faiss.search(rows, width)
        # A row of the true top k lies at most 2 bounds below the k-th rough score (one for that score's own
        # error, one for the row's), and so does a row that ties with it.
        last = k - 1 if barred is None else k
        inside = rough >= (rough[:, last] - 2 * bound)[:, None]
        complete = ~inside[:, -1]
        inside[~complete] = False
        query_of, column = inside.nonzero()
        row_of = candidates[query_of, column]
        if barred is not None:
            kept = row_of != barred[query_of]
            query_of, row_of = query_of[kept], row_of[kept]
        scores = pair_products(rows, self._vectors, query_of, row_of)
        order = np.lexsort((row_of, -scores, query_of))
        # query_of is sorted, so query_of[order] is query_of itself
        first = np.searchsorted(query_of, complete.nonzero()[0])
        taken = order[first[:, None] + np.arange(k)]
        return row_of[taken], scores[taken], complete

    def _scan(self, rows: np.ndarray, k: int, barred: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Score every row of the index for every query: the slow path that needs no candidates."""
        ids = np.empty((len(rows), k), dtype=np.int64)
        similarities = np.empty((len(rows), k), dtype=np.float32)
        step = max(1, _PAIRS_AT_ONCE // len(self))
        for start in range(0, len(rows), step):
            scores = all_products(rows[start : start + step], self._vectors)
            for number, of_query in enumerate(scores, start):
                order = np.argsort(-of_query, kind="stable")  # stable: ties stay in the order of ids
                if barred is not None and barred[number] >= 0:
                    order = order[order != barred[number]]
                ids[number] = order[:k]
                similarities[number] = of_query[order[:k]]
        return ids, similarities
