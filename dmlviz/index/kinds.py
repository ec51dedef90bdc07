"""The kinds of index, and the FAISS engines that propose candidates for those that do not compare every row."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.index import engine as _engine
from dmlviz.index.products import by_products, suits_products
from dmlviz.index.threads import search_threads, threads_for

faiss: Any = _engine.faiss  # its type stubs lack what its Python layer adds

KINDS = ("flat", "hnsw", "ivf", "ivf-pq", "sq8")
"""Kinds by name; "auto" chooses one of them, and any FAISS factory string makes another."""

_FLAT_UP_TO = 200_000
_GRAPH_UP_TO = 2_000_000
_TRAIN_PER_LIST = 64
_PARAMETERS: dict[str, dict[str, int | None]] = {
    "flat": {},
    "hnsw": {"neighbours": 32, "build_effort": 80, "effort": 64},
    "ivf": {"lists": None, "effort": None},
    "ivf-pq": {"lists": None, "effort": None, "bytes": None},
    "sq8": {},
}


@dataclass(frozen=True)
class Choice:
    """What "auto" chose.

    Attributes:
        kind: One of `KINDS`.
        reason: Why, in words.
    """

    kind: str
    reason: str


def choose_kind(count: int, dim: int, memory: int | None = None) -> Choice:
    """Choose a kind for so many rows.

    Up to 200,000 rows every row is compared, since that is exact and takes milliseconds. Beyond, a graph (HNSW) as
    long as rows and graph fit the memory and it is built in reasonable time (2 million rows); else inverted lists
    over short codes.

    Args:
        count: How many rows.
        dim: Their dimensions.
        memory: Bytes that the index may take; None for no limit.

    Returns:
        The kind and the reason.

    Examples:
        >>> choose_kind(10_000, 512).kind, choose_kind(1_000_000, 512).kind
        ('flat', 'hnsw')
    """
    rows = count * dim * 4
    graph = rows * 2 + count * 2 * 32 * 4
    fits = memory is None or rows <= memory
    if count <= _FLAT_UP_TO and fits:
        return Choice("flat", f"{count} rows are compared one by one, exactly: that takes milliseconds")
    if count <= _GRAPH_UP_TO and (memory is None or graph <= memory):
        return Choice(
            "hnsw", f"{count} rows are many to compare one by one, and rows and graph fit the memory"
        )
    why = (
        "would take long to put into a graph"
        if memory is None or graph <= memory
        else "do not fit the memory twice"
    )
    return Choice("ivf-pq", f"{count} rows {why}: inverted lists over short codes")


def parameters_of(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a kind, checked.

    Raises:
        TypeError: The kind has no such parameter.
        ValueError: A value is below 1.
    """
    known = _PARAMETERS.get(kind, {"effort": None})
    unknown = [name for name in given if name not in known]
    if unknown:
        offered = f"it takes {', '.join(known)}" if known else "it takes none"
        raise TypeError(f"an index of kind {kind!r} has no parameter {unknown[0]!r}; {offered}")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return {**known, **{name: int(value) for name, value in given.items()}}


def check_kind(kind: str, count: int, dim: int, parameters: dict[str, Any]) -> None:
    """Refuse, before any work is done, a kind that cannot be made of so many rows.

    Args:
        kind: One of `KINDS`, or a FAISS factory string.
        count: How many rows there will be.
        dim: Their dimensions.
        parameters: As given.

    Raises:
        TypeError: The kind has no such parameter.
        ValueError: FAISS knows no such factory string, or there are too few rows, or D does not suit it.
    """
    known = parameters_of(kind, parameters)
    if kind != "flat":
        _untrained(kind, count, dim, faiss.METRIC_INNER_PRODUCT, known)


def make_engine(kind: str, rows: np.ndarray, metric: str, parameters: dict[str, Any], seed: int) -> Any:
    """Train an engine on rows and put them in; None for "flat", which needs no other than the rows themselves.

    Args:
        kind: One of `KINDS`, or a FAISS factory string.
        rows: (N, D) float32.
        metric: "ip" or "l2".
        parameters: As `parameters_of` gives them.
        seed: Of what is random.

    Raises:
        ValueError: FAISS knows no such factory string, or there are too few rows, or D does not suit it.
    """
    if kind == "flat":
        return None
    count, dim = rows.shape
    by = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    engine = _untrained(kind, count, dim, by, parameters)
    _quietly_seeded(engine, seed)
    if not engine.is_trained:
        some = min(count, max(_TRAIN_PER_LIST * (_lists_of(engine) or 1), 20_000))
        chosen = np.sort(np.random.default_rng(seed).choice(count, some, replace=False))
        try:
            threads = threads_for(some)
            few = suits_products(some, 1, threads)  # codes are learned in a few dimensions: counted as one
            with search_threads(threads), by_products() if few else nullcontext():
                engine.train(np.ascontiguousarray(rows[chosen]))
        except RuntimeError as error:
            raise ValueError(
                f"an index of kind {kind!r} cannot be trained on {count} rows of {dim} dimensions: "
                f"{_last_words(error)}. Take fewer lists, or kind='flat'"
            ) from error
    try:
        add_to(engine, rows)
    except RuntimeError as error:  # a prefix such as "IDMap" makes an index that numbers no rows itself
        raise ValueError(
            f"an index of kind {kind!r} takes no rows: {_last_words(error)}. Leave prefixes and suffixes for ids away"
        ) from error
    set_effort(engine, parameters.get("effort"))
    return engine


def add_to(engine: Any, rows: np.ndarray, block: int = 65536) -> None:
    """Put rows behind those in an engine."""
    with search_threads(threads_for(len(rows))):
        for start in range(0, len(rows), block):
            engine.add(np.ascontiguousarray(rows[start : start + block]))


def set_effort(engine: Any, effort: int | None) -> None:
    """How much of the index a query looks at: lists of an IVF (nprobe), or the width of the walk in a graph."""
    lists = _lists_of(engine)
    if lists is not None:
        faiss.extract_index_ivf(engine).nprobe = min(lists, effort or max(8, lists // 16))
    elif (graph := _graph_of(engine)) is not None:
        graph.hnsw.efSearch = effort or 64
    elif effort is not None:
        raise ValueError("an index without lists or a graph looks at everything: it has no effort to set")


def effort_of(engine: Any) -> int | None:
    """What `set_effort` set; None where there is nothing to set."""
    if _lists_of(engine) is not None:
        return int(faiss.extract_index_ivf(engine).nprobe)
    graph = _graph_of(engine)
    return None if graph is None else int(graph.hnsw.efSearch)


def search_parameters(engine: Any, allowed: np.ndarray) -> Any:
    """FAISS's parameters for a search among some of the rows; None where the engine cannot be told.

    Args:
        engine: The engine.
        allowed: (N,) bool, rows that may be found. Must outlive the search.

    Returns:
        The parameters. They keep hold of the bitmap.
    """
    bits = np.packbits(allowed, bitorder="little")
    chosen = faiss.IDSelectorBitmap(bits)
    return _with_selector(engine, chosen)


def _with_selector(engine: Any, chosen: Any) -> Any:
    engine = faiss.downcast_index(engine)
    if isinstance(engine, faiss.IndexPreTransform):
        inner = _with_selector(engine.index, chosen)
        return None if inner is None else faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(engine, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=chosen, nprobe=engine.nprobe)
    if isinstance(engine, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=chosen, efSearch=engine.hnsw.efSearch)
    if isinstance(engine, faiss.IndexFlat | faiss.IndexScalarQuantizer):
        return faiss.SearchParameters(sel=chosen)
    return None


def _untrained(kind: str, count: int, dim: int, by: int, parameters: dict[str, Any]) -> Any:
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, parameters["neighbours"], by)
        graph.hnsw.efConstruction = parameters["build_effort"]
        return graph
    if kind == "sq8":
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, by)
    factory = kind
    if kind in ("ivf", "ivf-pq"):
        lists = parameters["lists"] or max(1, min(round(4 * math.sqrt(count)), count // 39 or 1))
        if lists > count:
            raise ValueError(
                f"{lists} lists need at least as many rows, got {count}; take fewer, or kind='flat'"
            )
        code = "Flat"
        if kind == "ivf-pq":
            size = parameters["bytes"] or max(m for m in range(1, max(dim // 4, 1) + 1) if dim % m == 0)
            if dim % size:
                raise ValueError(f"bytes must divide the {dim} dimensions of a row, got {size}")
            if count < 256:
                raise ValueError(
                    f"an index of kind 'ivf-pq' needs 256 rows to learn its codes, got {count}; take kind='flat'"
                )
            code = f"PQ{size}np"  # without the search for codes whose bits tell distances: seconds for nothing here
        factory = f"IVF{lists},{code}"
    try:
        return faiss.index_factory(dim, factory, by)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"unknown kind of index {kind!r}: there is {', '.join(map(repr, KINDS))}, 'auto', and what FAISS's "
            f"index_factory makes of a text such as 'HNSW32' or 'IVF256,SQ8' ({_last_words(error)})"
        ) from error


def _quietly_seeded(engine: Any, seed: int) -> None:
    """Clusterings from one seed, without FAISS's warning that there might be more points to train on."""
    if _lists_of(engine) is not None:
        lists = faiss.extract_index_ivf(engine)
        lists.cp.seed, lists.cp.min_points_per_centroid = seed % 2**31, 1
        inner = faiss.downcast_index(lists)
    else:
        inner = faiss.downcast_index(engine)
    if hasattr(inner, "pq"):
        inner.pq.cp.seed, inner.pq.cp.min_points_per_centroid = seed % 2**31, 1


def _lists_of(engine: Any) -> int | None:
    found = faiss.try_extract_index_ivf(engine)
    return None if found is None else int(found.nlist)


def _graph_of(engine: Any) -> Any:
    engine = faiss.downcast_index(engine)
    if isinstance(engine, faiss.IndexPreTransform | faiss.IndexRefine):
        return _graph_of(engine.index if isinstance(engine, faiss.IndexPreTransform) else engine.base_index)
    return engine if isinstance(engine, faiss.IndexHNSW) else None


def _last_words(error: Exception) -> str:
    """What FAISS says, without where in its sources it says it."""
    said = str(error).strip().splitlines()[-1] if str(error).strip() else "FAISS gives no reason"
    if "Error in" in said:
        said = said.split(": ", 2)[-1].rpartition("failed: ")[2]
    return said.strip(" .'")
