"""What an index holds at one moment: rows, what they are called, and the engine that finds them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.index.engine import faiss
from dmlviz.index.exact import lengths
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import add_to

_MEAN_BLOCK = 16384
_CENTRED_AT_ONCE = 256


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


@dataclass(frozen=True, eq=False)
class Stored:
    """One state of an index. It never changes; what changes an index makes another one.

    Attributes:
        flat: FAISS's flat index of the rows as they are.
        engine: What proposes candidates: `flat` itself; for "l2" and kind "flat" a flat index of the rows less their
            mean; for other kinds an approximate index.
        ids: What the rows are called.
        metric: "ip" or "l2".
        centre: (D,) float32, the mean that the engine's rows lack; None where it lacks none.
        vectors: (S, D) float32, the rows, read-only, removed ones included; a view of FAISS's memory.
        longest: Length of the longest row, as the engine holds rows.
        mapped: Whether rows lie on disk and are only read; FAISS ends the process where one writes to them.
    """

    flat: Any
    engine: Any
    ids: Ids
    metric: str
    centre: np.ndarray | None
    vectors: np.ndarray
    longest: float
    mapped: bool = False

    @property
    def count(self) -> int:
        """How many rows there are, without the removed ones."""
        return len(self.ids)


def stored(
    flat: Any,
    engine: Any,
    ids: Ids,
    metric: str,
    centre: np.ndarray | None,
    mapped: bool = False,
    longest: float | None = None,
) -> Stored:
    """Put a state together; the view of the rows is found here, and the longest's length where it is not given."""
    count, dim = int(flat.ntotal), int(flat.d)
    vectors = np.asarray(_StoredRows(flat, count)) if count else np.empty((0, dim), dtype=np.float32)
    vectors.flags.writeable = False
    if longest is None:
        longest = 0.0
        for start in range(0, count, _MEAN_BLOCK):
            block = vectors[start : start + _MEAN_BLOCK]
            longest = max(longest, float(lengths(block if centre is None else block - centre).max()))
    return Stored(flat, flat if engine is None else engine, ids, metric, centre, vectors, longest, mapped)


def flat_of(rows: np.ndarray, metric: str) -> Any:
    """A flat index of rows, (N, D) float32."""
    flat = faiss.IndexFlatIP(rows.shape[1]) if metric == "ip" else faiss.IndexFlatL2(rows.shape[1])
    add_to(flat, rows)
    return flat


def mean_of(rows: np.ndarray) -> np.ndarray:
    """(D,) float32, the mean of rows, summed in float64."""
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _MEAN_BLOCK):
        total += rows[start : start + _MEAN_BLOCK].sum(axis=0, dtype=np.float64)
    return (total / max(len(rows), 1)).astype(np.float32)


def centred(rows: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    """Rows as the engine takes them, (N, D) float32."""
    if centre is None:
        return rows
    without = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), _CENTRED_AT_ONCE):  # few at once: what is in float64 stays in the cache
        block = slice(start, start + _CENTRED_AT_ONCE)
        without[block] = rows[block].astype(np.float64) - centre
    return without
