"""A binary index as one file: codes, FAISS's bytes where there is a graph or lists, and a footer with a checksum."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index.files import written_ids
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import parameters_of
from dmlviz.index.sealed_files import add_footer, footer_of, read_whole, replacing, sha256_of
from dmlviz.index.stored_codes import (
    BINARY_KINDS,
    StoredCodes,
    binary_effort,
    faiss,
    set_binary_effort,
    stored_codes,
)

_MAGIC = b"dmlviz binary index 1\n"


def write_codes(
    state: StoredCodes, kind: str, parameters: dict[str, Any], seed: int, path: str | os.PathLike[str]
) -> None:
    """See `BinaryIndex.save`."""
    said = {
        "kind": kind,
        "parameters": parameters,
        "seed": seed,
        "effort": binary_effort(state.engine),
        "shape": list(state.codes.shape),
        "bits": state.bits,
        "ids": written_ids(state.ids),
        "following": state.ids.following,
        "removed": [] if state.ids.alive is None else np.flatnonzero(~state.ids.alive).tolist(),
    }
    with replacing(path, "an index") as part:
        with open(part, "wb") as file:
            file.write(state.codes.data)
            if not state.exact:
                file.write(faiss.serialize_index_binary(state.engine).data)
        add_footer(part, said, _MAGIC)


def read_codes(path: str | os.PathLike[str]) -> tuple[StoredCodes, str, dict[str, Any], int]:
    """See `BinaryIndex.open`.

    Returns:
        The state, its kind, the kind's parameters, the seed.
    """
    source = Path(os.fsdecode(path))
    return read_whole(source, lambda: _read(source))


def _read(source: Path) -> tuple[StoredCodes, str, dict[str, Any], int]:
    if not source.is_file():
        raise FileNotFoundError(f"there is no index file at {source}")
    broken = ValueError(
        f"{source} cannot be read as a binary index: it is cut short or is another kind of file. "
        "Build the index again and save it"
    )
    said, length = footer_of(source, _MAGIC)
    if said is None:
        raise broken
    if sha256_of(source, length) != said.get("sha256"):
        raise ValueError(f"{source} was changed since it was written. Build the index again and save it")
    try:
        body = np.fromfile(source, dtype=np.uint8, count=length)
        return _restored(body, said)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise broken from error


def _restored(body: np.ndarray, said: dict[str, Any]) -> tuple[StoredCodes, str, dict[str, Any], int]:
    kind, (count, width), bits = str(said["kind"]), map(int, said["shape"]), int(said["bits"])
    if kind not in BINARY_KINDS or -(-bits // 8) != width or len(body) < count * width:
        raise ValueError("the footer does not fit the codes")
    codes = body[: count * width].reshape(count, width)
    ids = Ids.kept(said["ids"], said["removed"], int(said["following"]), count)
    engine = None
    if kind != "flat":
        engine = faiss.deserialize_index_binary(body[count * width :])
        if int(engine.ntotal) != count or int(engine.d) != 8 * width:
            raise ValueError("the engine does not hold these codes")
        set_binary_effort(engine, int(said["effort"]))
    given = {name: value for name, value in dict(said["parameters"]).items() if value is not None}
    return stored_codes(codes, bits, ids, engine), kind, parameters_of(kind, given), int(said["seed"])
