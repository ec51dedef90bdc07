"""What a binary index holds at one moment: codes, what they are called, and the engine that finds them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.index import engine as _engine
from dmlviz.index.ids import Ids

faiss: Any = _engine.faiss  # its type stubs lack what its Python layer adds

BINARY_KINDS = ("flat", "hnsw", "ivf")
"""Kinds of binary index by name."""

_TRAIN_PER_LIST = 64
_ROWS_PER_ADD = 65536


@dataclass(frozen=True, eq=False)
class StoredCodes:
    """One state of a binary index. It never changes; what changes an index makes another one.

    Attributes:
        codes: (S, W) uint8, the packed codes, read-only, removed ones included.
        bits: B, how many bits of a code count; those behind are zero.
        ids: What the codes are called.
        flat: FAISS's flat index of the codes.
        engine: What proposes candidates; `flat` itself for kind "flat".
    """

    codes: np.ndarray
    bits: int
    ids: Ids
    flat: Any
    engine: Any

    @property
    def exact(self) -> bool:
        """Whether no code can be missed."""
        return self.engine is self.flat


def stored_codes(codes: np.ndarray, bits: int, ids: Ids, engine: Any = None) -> StoredCodes:
    """Put a state together; without an engine it is a flat one."""
    codes = np.ascontiguousarray(codes)
    codes.flags.writeable = False
    flat = flat_codes(codes)
    return StoredCodes(codes, bits, ids, flat, flat if engine is None else engine)


def flat_codes(codes: np.ndarray) -> Any:
    """FAISS's flat index of packed codes, (N, W) uint8."""
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    add_codes(flat, codes)
    return flat


def make_binary_engine(kind: str, codes: np.ndarray, parameters: dict[str, Any], seed: int) -> Any:
    """Train an engine on codes and put them in; None for "flat".

    Args:
        kind: One of `BINARY_KINDS`.
        codes: (N, W) uint8.
        parameters: As `kinds.parameters_of` gives them.
        seed: Of what is random.

    Raises:
        ValueError: There are fewer codes than lists.
    """
    if kind == "flat":
        return None
    count, width = codes.shape
    if kind == "hnsw":
        engine = faiss.IndexBinaryHNSW(8 * width, parameters["neighbours"])
        engine.hnsw.efConstruction = parameters["build_effort"]
    else:
        lists = parameters["lists"] or max(1, min(round(4 * math.sqrt(count)), count // 39 or 1))
        if lists > count:
            raise ValueError(
                f"{lists} lists need at least as many codes, got {count}; take fewer, or kind='flat'"
            )
        engine = faiss.index_binary_factory(8 * width, f"BIVF{lists}")
        engine.cp.seed, engine.cp.min_points_per_centroid = seed % 2**31, 1
        some = min(count, max(_TRAIN_PER_LIST * lists, 20_000))
        chosen = np.sort(np.random.default_rng(seed).choice(count, some, replace=False))
        engine.train(np.ascontiguousarray(codes[chosen]))
    add_codes(engine, codes)
    set_binary_effort(engine, parameters["effort"])
    return engine


def add_codes(engine: Any, codes: np.ndarray) -> None:
    """Put codes behind those in an engine."""
    for start in range(0, len(codes), _ROWS_PER_ADD):
        engine.add(np.ascontiguousarray(codes[start : start + _ROWS_PER_ADD]))


def set_binary_effort(engine: Any, effort: int | None) -> None:
    """How many lists a query looks at, or how wide it walks the graph; None for the usual."""
    if isinstance(engine, faiss.IndexBinaryIVF):
        engine.nprobe = min(int(engine.nlist), effort or max(8, int(engine.nlist) // 16))
    else:
        engine.hnsw.efSearch = effort or 64


def binary_effort(engine: Any) -> int | None:
    """What `set_binary_effort` set; None where every code is looked at."""
    if isinstance(engine, faiss.IndexBinaryIVF):
        return int(engine.nprobe)
    return int(engine.hnsw.efSearch) if isinstance(engine, faiss.IndexBinaryHNSW) else None
