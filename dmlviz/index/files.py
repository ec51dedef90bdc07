"""An index as one file: FAISS's own bytes, and behind them what FAISS does not know, with a checksum."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index.checks import as_float32
from dmlviz.index.engine import faiss
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import effort_of, set_effort
from dmlviz.index.metrics import METRICS
from dmlviz.index.stored import Stored, stored

_MAGIC = b"dmlviz index 1\n"
_TAIL = 8 + len(_MAGIC)


def write_state(
    state: Stored, kind: str, parameters: dict[str, Any], seed: int, path: str | os.PathLike[str]
) -> None:
    """See `GalleryIndex.save`."""
    target = Path(os.fsdecode(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {target.parent} does not exist; make it before saving an index there"
        )
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file to save the index in")
    said = {
        "kind": kind,
        "metric": state.metric,
        "parameters": parameters,
        "seed": seed,
        "effort": None if kind == "flat" else effort_of(state.engine),
        "ids": _written_ids(state.ids),
        "removed": [] if state.ids.alive is None else np.flatnonzero(~state.ids.alive).tolist(),
        "centre": None if state.centre is None else [float(value) for value in state.centre],
    }
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        faiss.write_index(_whole(state), str(part))
        said["sha256"] = _sha256(part)
        footer = json.dumps(said, ensure_ascii=True).encode("ascii")
        with open(part, "ab") as file:
            file.write(footer + len(footer).to_bytes(8, "little") + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        _flush_folder(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_state(path: str | os.PathLike[str], *, mapped: bool) -> tuple[Stored, str, dict[str, Any], int]:
    """See `GalleryIndex.open`.

    Returns:
        The state, its kind, the kind's parameters, the seed.
    """
    source = Path(os.fsdecode(path))
    if not source.is_file():
        raise FileNotFoundError(f"there is no index file at {source}")
    broken = ValueError(
        f"{source} cannot be read as an index: it is cut short or is another kind of file. "
        "Build the index again and save it"
    )
    said, length = _footer(source)
    if said is not None and not mapped and _sha256(source, length) != said.get("sha256"):
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
    ids = Ids.of(None if said["ids"] is None else said["ids"], count)
    if said["removed"]:
        ids = ids.without(np.asarray(said["removed"], dtype=np.int64))
    centre = None if said["centre"] is None else np.asarray(said["centre"], dtype=np.float32)
    if engine is not None and said["effort"] is not None:
        set_effort(engine, int(said["effort"]))
    return (
        stored(flat, engine, ids, metric, centre, mapped),
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


def _footer(source: Path) -> tuple[dict[str, Any] | None, int]:
    """What stands behind FAISS's bytes, and how many those are; None where nothing does."""
    size = source.stat().st_size
    with open(source, "rb") as file:
        if size < _TAIL:
            return None, size
        file.seek(size - _TAIL)
        tail = file.read(_TAIL)
        if tail[8:] != _MAGIC:
            return None, size
        length = int.from_bytes(tail[:8], "little")
        if length > size - _TAIL:
            return None, size
        file.seek(size - _TAIL - length)
        try:
            said = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return None, size
    return (said if isinstance(said, dict) else None), size - _TAIL - length


def _written_ids(ids: Ids) -> list[Any] | None:
    listed = ids.of_slot.tolist()
    if ids.numbers:
        return None if listed == list(range(len(listed))) else listed
    odd = next((item for item in listed if not isinstance(item, str)), None)
    if odd is not None:
        raise TypeError(f"a file holds ids that are whole numbers or texts; got {odd!r}. Give ids= as texts")
    return listed


def _sha256(path: Path, length: int | None = None) -> str:
    left = path.stat().st_size if length is None else length
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, 2**20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
