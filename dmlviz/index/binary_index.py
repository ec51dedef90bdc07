"""`BinaryIndex`: the codes that differ from a query's code in the fewest bits."""

import os
import threading
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from dmlviz.index.asked_ids import allowed_of, barred_of, slots_of
from dmlviz.index.asking import Question
from dmlviz.index.asking_codes import ask_every_code, ask_some_codes, codes_within
from dmlviz.index.binary_files import read_codes, write_codes
from dmlviz.index.bits import packed_codes, pair_bit_distances
from dmlviz.index.changing_codes import tidied_codes, with_codes
from dmlviz.index.checks import as_count, as_rows
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import parameters_of
from dmlviz.index.recall import RecallCheck, of_shares
from dmlviz.index.stored_codes import (
    BINARY_KINDS,
    StoredCodes,
    binary_effort,
    make_binary_engine,
    set_binary_effort,
    stored_codes,
)
from dmlviz.index.threads import search_threads, threads_for


class BinaryIndex:
    """Codes of B bits, searched by Hamming distance: the number of bits that differ.

    Codes are kept packed, eight bits to a byte (`pack_bits`); any B will do. With `kind="flat"` every code is
    compared and the answer is exact: ordered by (distance, id), ties at the end of the answer included, the same for
    a query alone or in a batch, on one thread or many. "ivf" and "hnsw" look at some of the codes: the distances that
    they report are exact, but a code may be missed (`recall` says how often), a tied one most of all. `within` looks
    at every code, whatever the kind.

    Codes are called 0, 1, 2, ... or by the `ids` given. `add`, `remove` and `update` make a new state and put it in
    the place of the old one at once: several threads may search meanwhile, each sees one state or the other.

    Codes are given as bits, (N, B) truth values or 0 and 1; or, with `packed=True`, as (N, ⌈B / 8⌉) uint8. A query
    may be one code, (B,), which is answered like a batch of one.

    Example:
        >>> index = BinaryIndex.build([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0]])
        >>> index.search([0, 0, 0, 0], k=2)
        (array([[0, 2]]), array([[1, 1]], dtype=int32))
        >>> index.within([0, 0, 1, 1], radius=1)
        [(array([0, 1, 2]), array([1, 1, 1], dtype=int32))]
    """

    def __init__(self, state: StoredCodes, kind: str, parameters: dict[str, Any], seed: int = 0) -> None:
        """Wrap a state; use `BinaryIndex.build` or `BinaryIndex.open`."""
        self._stored = state
        self._kind, self._parameters, self._seed = kind, parameters, seed
        self._changing = threading.Lock()

    @classmethod
    def build(
        cls,
        codes: Any,
        kind: str = "flat",
        *,
        packed: bool = False,
        bits: int | None = None,
        ids: Iterable[Hashable] | None = None,
        seed: int = 0,
        **parameters: int,
    ) -> "BinaryIndex":
        """Index codes.

        Args:
            codes: (N, B) bits, or (N, ⌈B / 8⌉) uint8 with `packed`. N may be 0.
            kind: "flat", "ivf" (inverted lists) or "hnsw" (a graph).
            packed: Whether there are eight bits to a byte already.
            bits: B, for packed codes whose last byte is not full; eight to a byte by default.
            ids: One per code, numbers or any other keys, each once; 0, 1, 2, ... by default.
            seed: Of what is random in training.
            **parameters: Of the kind. "hnsw": neighbours (32), build_effort (80), effort (64). "ivf": lists (4√N),
                effort (lists looked at; a sixteenth, at least 8).

        Raises:
            TypeError: The codes are no numbers, or packed ones not uint8; the kind takes no such parameter; an id
                cannot be a key.
            ValueError: Unknown kind, another shape, values other than 0 and 1, or fewer codes than lists.
        """
        if kind not in BINARY_KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, BINARY_KINDS))}, got {kind!r}")
        rows, count = packed_codes(codes, packed=packed, bits=bits)
        chosen = parameters_of(kind, parameters)
        named = Ids.of(ids, len(rows))
        rows = np.array(rows)  # never the caller's own memory
        with search_threads(threads_for(len(rows))):
            engine = make_binary_engine(kind, rows, chosen, seed)
        return cls(stored_codes(rows, count, named, engine), kind, chosen, seed)

    def __len__(self) -> int:
        return len(self._stored.ids)

    def __contains__(self, item: Any) -> bool:
        return item in self._stored.ids

    def __repr__(self) -> str:
        return f"BinaryIndex(kind={self._kind!r}, {len(self)} codes of {self.bits} bits)"

    def __reduce__(self) -> tuple[Any, ...]:
        state = self._stored
        ids = None if state.ids.plain else self.ids
        given = {name: value for name, value in self._parameters.items() if value is not None}
        return _rebuilt, (np.array(self.codes), self._kind, state.bits, ids, self._seed, given)

    @property
    def bits(self) -> int:
        """Number of bits B of a code."""
        return self._stored.bits

    @property
    def kind(self) -> str:
        """Kind of the index: "flat", "ivf" or "hnsw"."""
        return self._kind

    @property
    def exact(self) -> bool:
        """Whether no code can be missed."""
        return self._kind == "flat"

    @property
    def effort(self) -> int | None:
        """How much of the index a query looks at: lists, or the width of the walk in a graph; None for all.

        May be set: more finds more of the true neighbours, and takes longer.
        """
        return binary_effort(self._stored.engine)

    @effort.setter
    def effort(self, effort: int) -> None:
        if self.exact:
            raise ValueError("a flat index looks at every code: it has no effort to set")
        given = {name: value for name, value in self._parameters.items() if value is not None}
        self._parameters = parameters_of(self._kind, {**given, "effort": effort})
        set_binary_effort(self._stored.engine, int(effort))

    @property
    def ids(self) -> np.ndarray:
        """(N,) the ids of the codes, in the order in which they came; int64, or object where they are names."""
        named = self._stored.ids
        return named.of_slot if named.alive is None else named.of_slot[named.alive]

    @property
    def codes(self) -> np.ndarray:
        """The packed codes, (N, ⌈B / 8⌉) uint8, read-only, in the order of `ids`; see `unpack_bits`."""
        alive = self._stored.ids.alive
        if alive is None:
            return self._stored.codes
        rows = self._stored.codes[alive]
        rows.flags.writeable = False
        return rows

    # --- asking -------------------------------------------------------------------------------------

    def search(
        self, codes: Any, k: int, exclude: Any = None, among: Any = None, *, packed: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest codes for each query.

        Args:
            codes: (Q, B) or (B,) bits; with `packed` (Q, ⌈B / 8⌉) uint8.
            k: How many to return, at least 1. Where the index holds fewer (or `exclude` and `among` leave fewer), k
                is cut to what every query can have; nothing is ever filled up.
            exclude: (Q,) ids, one code that each query must not find (its own, usually); -1, or None where ids are
                names, for none.
            among: Ids of the codes that may be found; None for all.
            packed: Whether the queries have eight bits to a byte.

        Returns:
            ids (Q, k), int64 or object, and distances (Q, k) int32 from 0 to B, nearest first, ties by lower id
            (where ids are names, by which came first).

        Raises:
            TypeError: codes, k or exclude are not of the right sort.
            ValueError: Another shape or number of bits, values other than 0 and 1, or k below 1.
            IndexError: An excluded id, or one of `among`, is not in the index.
        """
        state = self._stored
        rows = _queries(state, codes, packed)
        wanted = as_count(k)
        barred = barred_of(state.ids, exclude, len(rows))
        allowed = allowed_of(state.ids, among)
        possible = len(state.codes) if allowed is None else int(allowed.sum())
        if barred is not None and allowed is not None:
            barred = np.where((barred >= 0) & allowed[barred], barred, -1)
        if barred is not None and not (barred >= 0).any():
            barred = None
        wanted = min(wanted, possible - int(barred is not None))
        if wanted < 1 or len(rows) == 0:
            empty = (len(rows), max(wanted, 0))
            return state.ids.named(np.empty(empty, dtype=np.int64)), np.empty(empty, dtype=np.int32)
        asked = Question(rows, wanted, barred, allowed, possible, np.zeros(len(rows)))
        with search_threads(threads_for(len(rows))):
            found, distances = (ask_every_code if state.exact else ask_some_codes)(state, asked)
        return state.ids.named(found), distances

    def within(
        self, codes: Any, radius: int, among: Any = None, *, packed: bool = False
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Find every code at a distance of at most `radius`, exactly, whatever the kind.

        Args:
            codes: As for `search`.
            radius: In bits, 0 or more; a code at exactly this distance is found.
            among: Ids of the codes that may be found; None for all.
            packed: As for `search`.

        Returns:
            For each query (ids, distances int32), nearest first, ties by lower id; both empty where nothing is near.

        Raises:
            TypeError: radius is no whole number; else as `search`.
            ValueError: radius is below 0; else as `search`.
            IndexError: One of `among` is not in the index.
        """
        if isinstance(radius, bool) or not isinstance(radius, int | np.integer):
            raise TypeError(f"radius must be a whole number of bits, got {radius!r}")
        if radius < 0:
            raise ValueError(f"radius must be 0 or more bits, got {radius}")
        state = self._stored
        rows = _queries(state, codes, packed)
        allowed = allowed_of(state.ids, among)
        with search_threads(threads_for(len(rows))):
            answers = codes_within(state, rows, min(int(radius), state.bits), allowed)
        return [(state.ids.named(found), distances) for found, distances in answers]

    def distances(self, codes: Any, ids: Any, *, packed: bool = False) -> np.ndarray:
        """Compare with chosen codes: the very numbers that `search` reports for them.

        Args:
            codes: (Q, B) or (B,) as for `search`.
            ids: (Q, k), codes to compare each query with; (k,) for one query.
            packed: As for `search`.

        Returns:
            (Q, k) int32.

        Raises:
            TypeError: codes or ids are not of the right sort.
            ValueError: Shapes do not fit; else as `search`.
            IndexError: An id is not in the index.
        """
        state = self._stored
        rows = _queries(state, codes, packed)
        named = np.asarray(ids, dtype=None if state.ids.numbers else object)
        chosen = np.atleast_2d(slots_of(state.ids, named, "ids").reshape(named.shape))
        if chosen.ndim != 2 or len(chosen) != len(rows):
            raise ValueError(
                f"ids must have the shape ({len(rows)}, k) to fit the queries, got {named.shape}"
            )
        query_of = np.repeat(np.arange(len(rows)), chosen.shape[1])
        return pair_bit_distances(rows, state.codes, query_of, chosen.ravel()).reshape(chosen.shape)

    def recall(self, k: int = 10, sample: int = 100, seed: int = 0) -> RecallCheck:
        """Hold the index against the exact answer on some of its own codes.

        Args:
            k: How many neighbours of each.
            sample: How many codes ask, chosen at random; each leaves itself out.
            seed: Of the choice.

        Returns:
            The share of the true k nearest that it finds, with an interval; 1 for "flat". A code as near as the
            k-th counts as one of them.

        Raises:
            ValueError: The index holds fewer than two codes, or a number is below 1.
        """
        k, sample, state = as_count(k), as_count(sample), self._stored
        slots = np.arange(len(state.codes)) if state.ids.alive is None else np.flatnonzero(state.ids.alive)
        if len(slots) < 2:
            raise ValueError(f"recall needs at least two codes, the index holds {len(slots)}")
        asking = np.sort(np.random.default_rng(seed).choice(slots, min(sample, len(slots)), replace=False))
        k = min(k, len(slots) - 1)
        rows = state.codes[asking]
        asked = Question(rows, k, asking, state.ids.alive, len(slots), np.zeros(len(rows)))
        with search_threads(threads_for(len(rows))):
            _, found = (ask_every_code if state.exact else ask_some_codes)(state, asked)
            _, true = ask_every_code(state, asked)
        shares = (found <= true[:, -1:]).mean(axis=1)
        return of_shares(shares, k, state.exact)

    # --- changing -----------------------------------------------------------------------------------

    def add(self, codes: Any, ids: Iterable[Hashable] | None = None, *, packed: bool = False) -> None:
        """Put codes behind those that are there. Each call copies the index once: add many at a time.

        Args:
            codes: (n, B) bits; with `packed` (n, ⌈B / 8⌉) uint8.
            ids: One per code, none of them in the index yet; by default the numbers behind the largest.
            packed: As for `build`.

        Raises:
            TypeError, ValueError: As `build`; an id that is there already, or none where codes have names.
        """
        rows, _ = packed_codes(codes, packed=packed, bits=self.bits)
        with self._changing:
            state = self._stored
            self._stored = with_codes(state, rows, state.ids.with_rows(ids, len(rows)))

    def remove(self, ids: Any) -> None:
        """Take codes out. In a graph or lists they are passed over, and left out when they are a fifth of all.

        Args:
            ids: Ids of codes.

        Raises:
            IndexError: An id is not in the index; then nothing is removed.
        """
        with self._changing:
            state = self._stored
            self._stored = tidied_codes(state, state.ids.without(slots_of(state.ids, ids, "ids")))

    def update(self, ids: Iterable[Hashable], codes: Any, *, packed: bool = False) -> None:
        """Put other codes in the place of some.

        Args:
            ids: Ids of codes that are there, each once.
            codes: (n, B), one for each; with `packed` (n, ⌈B / 8⌉) uint8.
            packed: As for `build`.

        Raises:
            IndexError: An id is not in the index; then nothing is changed.
            ValueError: Not one code per id, or as `build`.
        """
        listed = list(ids)
        rows, _ = packed_codes(codes, packed=packed, bits=self.bits)
        if len(listed) != len(rows):
            raise ValueError(f"expected one code per id: {len(listed)} ids, got {len(rows)} codes")
        with self._changing:
            state = self._stored
            without = state.ids.without(slots_of(state.ids, listed, "ids"))
            grown = with_codes(state, rows, without.with_rows(listed, len(rows)))
            self._stored = tidied_codes(grown, grown.ids)

    # --- files --------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, whole or not at all (a temporary file is renamed at the end).

        Args:
            path: The file to write; an older file of that name is replaced.

        Raises:
            FileNotFoundError: The folder does not exist.
            IsADirectoryError: The path is a folder.
            TypeError: Ids are neither numbers nor texts, which a file cannot hold.
            OSError: The disk is full, say; the older file stays.
        """
        write_codes(self._stored, self._kind, self._parameters, self._seed, path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "BinaryIndex":
        """Read an index that `save` wrote.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is cut short, was changed, or is no binary index.
        """
        return cls(*read_codes(path))


def _queries(state: StoredCodes, codes: Any, packed: bool) -> np.ndarray:
    rows = as_rows(codes, "query codes")
    packed_rows, _ = packed_codes(
        rows[None] if rows.ndim == 1 else rows, packed=packed, bits=state.bits, what="query codes"
    )
    return packed_rows


def _rebuilt(
    codes: np.ndarray, kind: str, bits: int, ids: Any, seed: int, parameters: dict[str, int]
) -> BinaryIndex:
    return BinaryIndex.build(codes, kind, packed=True, bits=bits, ids=ids, seed=seed, **parameters)
