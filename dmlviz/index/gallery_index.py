"""`GalleryIndex`: the rows most similar to a query, one answer however it is asked."""

import os
import threading
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from dmlviz.index.asked_ids import allowed_of, barred_of, slots_of
from dmlviz.index.asking import Question, ask_every_row, ask_some_rows
from dmlviz.index.changing import ROWS_PER_ADD, first_state, tidied, with_rows
from dmlviz.index.checks import as_count, as_float32, as_rows
from dmlviz.index.engine import faiss
from dmlviz.index.exact import lengths
from dmlviz.index.files import read_state, write_state
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import choose_kind, effort_of, parameters_of, set_effort
from dmlviz.index.metrics import EXACT, METRICS
from dmlviz.index.products import by_products, suits_products
from dmlviz.index.recall import RecallCheck, check_recall
from dmlviz.index.stored import Stored
from dmlviz.index.threads import search_threads, threads_for

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class GalleryIndex:
    """Rows of numbers, searched by inner product or by distance.

    Candidates come from FAISS; they are scored again in float64, rounded once to float32 and ordered by (higher
    similarity, lower id). With `kind="flat"` every row that could belong to the answer is a candidate, so a query
    gets bit for bit the same ids and similarities alone or in a batch, on one thread or many, off-centre rows
    included, and rows that tie come in the order of their ids. Other kinds look at some of the rows: what they report
    of a row is as exact, but a row may be missed (`recall` says how often).

    Rows are called 0, 1, 2, ... or by the `ids` given. `add`, `remove` and `update` make a new state and put it in
    the place of the old one at once: several threads may search meanwhile, each sees one state or the other.

    Example:
        >>> import numpy as np
        >>> index = GalleryIndex.build(np.eye(3))
        >>> ids, similarities = index.search([0.0, 2.0, 1.0], k=2)
        >>> ids
        array([[1, 2]])
        >>> similarities
        array([[2., 1.]], dtype=float32)
        >>> birds = GalleryIndex.build(np.eye(3), metric="l2", ids=["wren", "robin", "owl"])
        >>> birds.remove(["robin"])
        >>> birds.search([0.0, 2.0, 1.0], k=1)
        (array([['owl']], dtype=object), array([[-4.]], dtype=float32))
    """

    def __init__(
        self, state: Stored, kind: str, parameters: dict[str, Any], seed: int = 0, reason: str = ""
    ) -> None:
        """Wrap a state; use `GalleryIndex.build` or `GalleryIndex.open`."""
        self._stored = state
        self._kind, self._parameters, self._seed = kind, parameters, seed
        self._changing = threading.Lock()
        self.reason = reason

    @classmethod
    def build(
        cls,
        embeddings: Any,
        kind: str = "flat",
        metric: str = "ip",
        *,
        ids: Iterable[Hashable] | None = None,
        memory: int | None = None,
        seed: int = 0,
        **parameters: int,
    ) -> "GalleryIndex":
        """Index rows as they are (no normalisation happens here).

        Args:
            embeddings: (N, D) finite numbers of any real dtype, memory order or a torch-like tensor; stored
                as float32. N may be 0.
            kind: one of `KINDS`; "auto" to have one chosen by size and memory (`reason` says why); or a text for
                FAISS's index_factory, such as "IVF256,SQ8".
            metric: "ip", the inner product; or "l2", minus the squared distance, so that higher is nearer.
            ids: one per row, numbers or any other keys, each once; 0, 1, 2, ... by default.
            memory: bytes that the index may take, for "auto".
            seed: of what is random in training.
            **parameters: of the kind. "hnsw": neighbours (32), build_effort (80), effort (64). "ivf": lists (4√N),
                effort (lists looked at; a sixteenth, at least 8). "ivf-pq": the same, and bytes per row.

        Raises:
            TypeError: the rows are not numbers; the kind takes no such parameter; an id cannot be a key.
            ValueError: unknown kind or metric, wrong shape, too few rows for the kind, or rows with NaN or infinity
                (named by their place).
        """
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(map(repr, METRICS))}, got {metric!r}")
        rows = as_rows(embeddings, "embeddings")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"embeddings must have the shape (N, D) with D at least 1, got {rows.shape}")
        reason = ""
        if kind == "auto":
            kind, reason = (choice := choose_kind(len(rows), rows.shape[1], memory)).kind, choice.reason
        chosen = parameters_of(kind, parameters)
        named = Ids.of(ids, len(rows))
        flat = faiss.IndexFlatIP(rows.shape[1]) if metric == "ip" else faiss.IndexFlatL2(rows.shape[1])
        for start in range(0, len(rows), ROWS_PER_ADD):
            flat.add(as_float32(rows[start : start + ROWS_PER_ADD], "embeddings", first=start))
        return cls(first_state(flat, kind, named, metric, chosen, seed), kind, chosen, seed, reason)

    def __len__(self) -> int:
        return self._stored.count

    def __contains__(self, item: Any) -> bool:
        return item in self._stored.ids

    @property
    def dim(self) -> int:
        """Number of dimensions D of a row."""
        return int(self._stored.flat.d)

    @property
    def kind(self) -> str:
        """Kind of the index: one of `KINDS`, or FAISS's factory string."""
        return self._kind

    @property
    def metric(self) -> str:
        """How rows are compared: "ip" or "l2"."""
        return self._stored.metric

    @property
    def exact(self) -> bool:
        """Whether no row can be missed."""
        return self._kind == "flat"

    @property
    def effort(self) -> int | None:
        """How much of the index a query looks at: lists of an IVF, the width of the walk in a graph; None for all.

        May be set: more finds more of the true neighbours, and takes longer.
        """
        return None if self.exact else effort_of(self._stored.engine)

    @effort.setter
    def effort(self, effort: int) -> None:
        if self.exact:
            raise ValueError("a flat index looks at every row: it has no effort to set")
        self._parameters = parameters_of(self._kind, {**_given(self._parameters), "effort": effort})
        set_effort(self._stored.engine, int(effort))

    @property
    def ids(self) -> np.ndarray:
        """(N,) the ids of the rows, in the order in which they came; int64, or object where they are names."""
        named = self._stored.ids
        return named.of_slot if named.alive is None else named.of_slot[named.alive]

    @property
    def vectors(self) -> np.ndarray:
        """The rows, (N, D) float32, read-only, in the order of `ids`; a view where none was removed."""
        alive = self._stored.ids.alive
        if alive is None:
            return self._stored.vectors
        rows = self._stored.vectors[alive]
        rows.flags.writeable = False
        return rows

    def __repr__(self) -> str:
        by = "" if self.metric == "ip" else f", metric={self.metric!r}"
        return f"GalleryIndex(kind={self._kind!r}{by}, {len(self)} rows of {self.dim} dimensions)"

    def __reduce__(self) -> tuple[Any, ...]:
        ids = None if self._stored.ids.plain else self.ids
        return _rebuilt, (
            np.array(self.vectors),
            self._kind,
            self.metric,
            ids,
            self._seed,
            _given(self._parameters),
        )

    # --- asking -------------------------------------------------------------------------------------

    def search(
        self, queries: Any, k: int, exclude: Any = None, among: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k most similar rows for each query.

        Args:
            queries: (Q, D) finite numbers, or (D,) for one query, which is answered like a batch of one.
            k: how many rows to return, at least 1. Where the index holds fewer (or `exclude` and `among` leave
                fewer), k is cut to what every query can have; nothing is ever filled up.
            exclude: (Q,) ids, one row that each query must not find (itself, usually); -1, or None where ids are
                names, for none.
            among: ids of the rows that may be found; None for all.

        Returns:
            ids (Q, k), int64 or object, and similarities (Q, k) float32, best first, ties by lower id (where ids
            are names, by which came first).

        Raises:
            TypeError: queries, k or exclude are not of the right sort.
            ValueError: wrong shape, wrong dimension, k below 1, NaN or infinity in a query, or numbers so
                large that a similarity would not fit float32.
            IndexError: an excluded id, or one of `among`, is not in the index.
        """
        state = self._stored
        rows = self._as_queries(queries)
        wanted = as_count(k)
        barred = barred_of(state.ids, exclude, len(rows))
        allowed = allowed_of(state.ids, among)
        possible = len(state.vectors) if allowed is None else int(allowed.sum())
        if barred is not None and allowed is not None:
            barred = np.where((barred >= 0) & allowed[barred], barred, -1)
        if barred is not None and not (barred >= 0).any():
            barred = None
        wanted = min(wanted, possible - int(barred is not None))
        if wanted < 1 or len(rows) == 0:
            empty = (len(rows), max(wanted, 0))
            return state.ids.named(np.empty(empty, dtype=np.int64)), np.empty(empty, dtype=np.float32)
        asked = Question(rows, wanted, barred, allowed, possible, self._bound(state, rows))
        threads = threads_for(len(rows))
        with search_threads(threads):
            if not self.exact:
                found, similarities = ask_some_rows(state, asked)
            elif suits_products(len(rows), self.dim, threads):
                with by_products():
                    found, similarities = ask_every_row(state, asked)
            else:
                found, similarities = ask_every_row(state, asked)
        return state.ids.named(found), similarities

    def similarity(self, queries: Any, ids: Any) -> np.ndarray:
        """Score chosen rows: the very numbers that `search` reports for them.

        Args:
            queries: (Q, D) or (D,) finite numbers.
            ids: (Q, k), rows to score for each query; (k,) for one query.

        Returns:
            (Q, k) float32 similarities.

        Raises:
            TypeError: queries or ids are not of the right sort.
            ValueError: shapes do not fit, NaN or infinity in a query.
            IndexError: an id is not in the index.
        """
        state = self._stored
        rows = self._as_queries(queries)
        named = state.ids.as_array(ids, "ids")
        chosen = np.atleast_2d(slots_of(state.ids, named, "ids").reshape(named.shape))
        if chosen.ndim != 2 or len(chosen) != len(rows):
            raise ValueError(
                f"ids must have the shape ({len(rows)}, k) to fit the queries, got {named.shape}"
            )
        self._bound(state, rows)
        query_of = np.repeat(np.arange(len(rows)), chosen.shape[1])
        scores = EXACT[state.metric].pairs(rows, state.vectors, query_of, chosen.ravel())
        return scores.reshape(chosen.shape)

    def recall(self, k: int = 10, sample: int = 100, seed: int = 0) -> RecallCheck:
        """Hold the index against the exact answer on some of its own rows.

        Args:
            k: How many neighbours of each.
            sample: How many rows ask, chosen at random; each leaves itself out.
            seed: Of the choice.

        Returns:
            The share of the true k nearest that it finds, with an interval; 1 for "flat".

        Raises:
            ValueError: The index holds fewer than two rows, or a number is below 1.
        """
        return check_recall(self, as_count(k), as_count(sample), seed)

    def rough_similarity(self, queries: Any, ids: Any) -> np.ndarray:
        """What the engine's own codes say of chosen rows: with short codes another number than `similarity`.

        Args:
            queries: As for `similarity`.
            ids: As for `similarity`.

        Returns:
            (Q, k) float32.

        Raises:
            As `similarity`; ValueError too where the engine cannot read its codes back.
        """
        state = self._stored
        rows = self._as_queries(queries)
        named = state.ids.as_array(ids, "ids")
        chosen = np.atleast_2d(slots_of(state.ids, named, "ids").reshape(named.shape))
        if chosen.ndim != 2 or len(chosen) != len(rows):
            raise ValueError(
                f"ids must have the shape ({len(rows)}, k) to fit the queries, got {named.shape}"
            )
        try:
            lists = faiss.try_extract_index_ivf(state.engine)
            if lists is not None:
                lists.make_direct_map(True)
            unique, place = np.unique(chosen, return_inverse=True)
            codes = np.stack([state.engine.reconstruct(int(slot)) for slot in unique])
        except RuntimeError as error:
            raise ValueError(f"an index of kind {self._kind!r} cannot read its codes back") from error
        if state.centre is not None:
            codes = codes + state.centre
        query_of = np.repeat(np.arange(len(rows)), chosen.shape[1])
        scores = EXACT[state.metric].pairs(rows, codes.astype(np.float32), query_of, place.ravel())
        return scores.reshape(chosen.shape)

    # --- changing -----------------------------------------------------------------------------------

    def add(self, embeddings: Any, ids: Iterable[Hashable] | None = None) -> None:
        """Put rows behind those that are there. Each call copies the index once: add many rows at a time.

        Args:
            embeddings: (n, D) as for `build`.
            ids: one per row, none of them in the index yet; the next numbers by default.

        Raises:
            TypeError, ValueError: as `build`; an id that is there already, or none where rows have names.
        """
        rows = self._as_rows_here(embeddings)
        with self._changing:
            state = self._stored
            self._stored = with_rows(state, rows, state.ids.with_rows(ids, len(rows)))

    def remove(self, ids: Any) -> None:
        """Take rows out. They are passed over at once, and left out for good when they are a fifth of all.

        Args:
            ids: Ids of rows.

        Raises:
            IndexError: an id is not in the index; then nothing is removed.
        """
        with self._changing:
            state = self._stored
            slots = slots_of(state.ids, ids, "ids")
            self._stored = tidied(replace(state, ids=state.ids.without(slots)), self.exact)

    def update(self, ids: Iterable[Hashable], embeddings: Any) -> None:
        """Put other rows in the place of some.

        Args:
            ids: Ids of rows that are there, each once.
            embeddings: (n, D), a row for each.

        Raises:
            IndexError: an id is not in the index; then nothing is changed.
            ValueError: not one row per id, or as `build`.
        """
        listed = list(ids)
        rows = self._as_rows_here(embeddings)
        if len(listed) != len(rows):
            raise ValueError(f"expected one row per id: {len(listed)} ids, got {len(rows)} rows")
        with self._changing:
            state = self._stored
            without = state.ids.without(slots_of(state.ids, listed, "ids"))
            self._stored = tidied(with_rows(state, rows, without.with_rows(listed, len(rows))), self.exact)

    # --- files --------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, whole or not at all (a temporary file is renamed at the end).

        Whoever reads the older file meanwhile goes on reading it.

        Args:
            path: the file to write; an older file of that name is replaced.

        Raises:
            FileNotFoundError: the folder does not exist.
            IsADirectoryError: the path is a folder.
            TypeError: ids are neither numbers nor texts, which a file cannot hold.
            OSError: the disk is full, say; the older file stays.
        """
        write_state(self._stored, self._kind, self._parameters, self._seed, path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mapped: bool = False) -> "GalleryIndex":
        """Read an index that `save` wrote.

        Args:
            path: the file.
            mapped: leave the rows on disk and read them as they are asked for, for an index larger than the memory.
                The checksum of the whole file is then not compared, but those of its ends and of what is noted behind
                it: bits that flipped in rows, codes or links go unnoticed, or make other similarities and rankings.
                Rows can be removed but not put in.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is cut short, was changed, is no index, or is one that this library did not write.
        """
        state, kind, parameters, seed = read_state(path, mapped=mapped)
        return cls(state, kind, parameters, seed)

    # --- checking -----------------------------------------------------------------------------------

    def _as_queries(self, queries: Any) -> np.ndarray:
        rows = as_rows(queries, "queries")
        if rows.ndim == 1:
            rows = rows[None]
        if rows.ndim != 2:
            raise ValueError(
                f"queries must have the shape (Q, {self.dim}) or ({self.dim},), got {rows.shape}"
            )
        if rows.shape[1] != self.dim:
            raise ValueError(
                f"the index holds rows of {self.dim} dimensions, the query has {rows.shape[1]}; "
                "was it embedded with the same network as the gallery?"
            )
        return as_float32(rows, "queries")

    def _as_rows_here(self, embeddings: Any) -> np.ndarray:
        rows = as_rows(embeddings, "embeddings")
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(
                f"embeddings must have the shape (n, {self.dim}) to fit this index, got {rows.shape}"
            )
        return as_float32(rows, "embeddings")

    def _bound(self, state: Stored, rows: np.ndarray) -> np.ndarray:
        exact = EXACT[state.metric]
        query_lengths = lengths(rows if state.centre is None else rows - state.centre)
        if len(rows) and exact.greatest(query_lengths, state.longest).max() > _FLOAT32_MAX:
            raise ValueError("similarities would not fit float32 (beyond 3.4e38); scale the embeddings down")
        return exact.bound(query_lengths, state.longest, self.dim)


def _given(parameters: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in parameters.items() if value is not None}


def _rebuilt(
    rows: np.ndarray, kind: str, metric: str, ids: Any, seed: int, parameters: dict[str, int]
) -> GalleryIndex:
    return GalleryIndex.build(rows, kind, metric, ids=ids, seed=seed, **parameters)
