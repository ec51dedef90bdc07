"""An index as one file: FAISS's own bytes, and behind them what FAISS does not know, with a checksum."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index import engine as _engine
from dmlviz.index.checks import as_float32
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import effort_of, set_effort
from dmlviz.index.metrics import METRICS
from dmlviz.index.sealed_files import add_footer, footer_of, read_whole, replacing, sha256_of
from dmlviz.index.stored import Stored, stored

faiss: Any = _engine.faiss  # its type stubs lack what its Python layer adds

_MAGIC = b"dmlviz index 1\n"
_BLOCK = 2**20
_EDGE = 2**16


def write_state(
    state: Stored, kind: str, parameters: dict[str, Any], seed: int, path: str | os.PathLike[str]
) -> None:
    """See `GalleryIndex.save`."""
    said = {
        "kind": kind,
        "metric": state.metric,
        "parameters": parameters,
        "seed": seed,
        "effort": None if kind == "flat" else effort_of(state.engine),
        "ids": written_ids(state.ids),
        "following": state.ids.following,
        "removed": [] if state.ids.alive is None else np.flatnonzero(~state.ids.alive).tolist(),
        "centre": None if state.centre is None else [float(value) for value in state.centre],
        "longest": state.longest,
    }
    with replacing(path, "an index") as part:
        with open(part, "wb") as file:  # FAISS itself would pass over what goes wrong when a file is closed
            faiss.write_index(_whole(state), faiss.PyCallbackIOWriter(file.write, _BLOCK))
        rows = state.vectors.nbytes
        said |= {"rows": rows, "edges": _sha256_of_edges(part, part.stat().st_size, rows)}
        add_footer(part, said, _MAGIC)


def read_state(path: str | os.PathLike[str], *, mapped: bool) -> tuple[Stored, str, dict[str, Any], int]:
    """See `GalleryIndex.open`.

    Returns:
        The state, its kind, the kind's parameters, the seed.
    """
    source = Path(os.fsdecode(path))
    return read_whole(source, lambda: _read(source, mapped))


def _read(source: Path, mapped: bool) -> tuple[Stored, str, dict[str, Any], int]:
    if not source.is_file():
        raise FileNotFoundError(f"there is no index file at {source}")
    broken = ValueError(
        f"{source} cannot be read as an index: it is cut short or is another kind of file. "
        "Build the index again and save it"
    )
    said, length = footer_of(source, _MAGIC)
    if said is not None and not (_edges_hold if mapped else _body_holds)(source, length, said):
        raise ValueError(f"{source} was changed since it was written. Build the index again and save it")
    try:
        found = faiss.read_index(str(source), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (RuntimeError, MemoryError, ValueError, AssertionError) as error:
        raise broken from error
    if said is None:
        return _plain(found, source), "flat", {}, 0
    try:
        return _restored(found, said, mapped)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise broken from error


def _body_holds(path: Path, length: int, said: dict[str, Any]) -> bool:
    return sha256_of(path, length) == said.get("sha256")


def _edges_hold(path: Path, length: int, said: dict[str, Any]) -> bool:
    """Whether no length that FAISS notes has flipped: it would read for hours; earlier versions did not note this."""
    rows = said.get("rows")
    return "edges" not in said or (
        isinstance(rows, int) and _sha256_of_edges(path, length, rows) == said["edges"]
    )


def _sha256_of_edges(path: Path, length: int, rows: int) -> str:
    """Checksum of the parts of FAISS's bytes in which it notes how long everything is.

    They begin with that, and it stands before and behind the rows, which are the last large part.

    Args:
        path: the file.
        length: how many of its bytes are FAISS's.
        rows: how many bytes the rows have.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for first in (0, length - rows - _EDGE, length - _EDGE):
            file.seek(max(0, first))
            digest.update(file.read(min(_EDGE, length)))
    return digest.hexdigest()


def _restored(found: Any, said: dict[str, Any], mapped: bool) -> tuple[Stored, str, dict[str, Any], int]:
    kind, metric = str(said["kind"]), str(said["metric"])
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}")
    if isinstance(found, faiss.IndexRefineFlat):
        flat, engine = faiss.downcast_index(found.refine_index), faiss.downcast_index(found.base_index)
        for part in (flat, engine):
            part.__dict__["whole"] = found  # the two live in it
    else:
        flat, engine = found, None
    count = int(flat.ntotal)
    ids = Ids.kept(said["ids"], said["removed"], int(said["following"]), count)
    centre = None if said["centre"] is None else np.asarray(said["centre"], dtype=np.float32)
    if engine is not None and said["effort"] is not None:
        set_effort(engine, int(said["effort"]))
    return (
        stored(flat, engine, ids, metric, centre, mapped, said.get("longest")),
        kind,
        dict(said["parameters"]),
        int(said["seed"]),
    )


def _plain(found: Any, source: Path) -> Stored:
    """A flat inner-product index without a footer, as earlier versions wrote it.

    Raises:
        ValueError: It is another index of FAISS's, or holds numbers that are not finite.
    """
    if not isinstance(found, faiss.IndexFlat) or found.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(
            f"{source} holds a FAISS {type(found).__name__}, not an index that GalleryIndex wrote: build one from "
            "its rows with GalleryIndex.build"
        )
    beside = len(faiss.serialize_index(faiss.IndexFlatIP(int(found.d))))
    if source.stat().st_size != beside + 4 * int(found.d) * int(found.ntotal):
        raise ValueError(
            f"{source} cannot be read as an index: it is cut short or is another kind of file. "
            "Build the index again and save it"
        )
    state = stored(found, None, Ids.of(None, int(found.ntotal)), "ip", None)
    as_float32(state.vectors, f"the rows in {source}")
    return state


def _whole(state: Stored) -> Any:
    """One index of FAISS's that holds both the engine and the rows."""
    if state.engine is state.flat:
        return state.flat
    both = faiss.IndexRefineFlat(state.engine, faiss.swig_ptr(state.vectors)) if len(state.vectors) else None
    if both is None:
        both = faiss.IndexRefineFlat(state.engine)
    both.own_fields = False
    return both


def written_ids(ids: Ids) -> list[Any] | None:
    """Ids as a file holds them; None for 0, 1, 2, ...

    Raises:
        TypeError: one is neither a whole number nor a text.
    """
    listed = ids.of_slot.tolist()
    if ids.numbers:
        return None if listed == list(range(len(listed))) else listed
    odd = next((item for item in listed if not isinstance(item, str)), None)
    if odd is not None:
        raise TypeError(f"a file holds ids that are whole numbers or texts; got {odd!r}. Give ids= as texts")
    return listed
