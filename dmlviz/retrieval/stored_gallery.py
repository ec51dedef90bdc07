"""What a gallery's folder holds, read and checked; refused in words where it is not what it says."""

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.index import GalleryIndex
from dmlviz.retrieval.embeddings import metric_of
from dmlviz.retrieval.image_table import ImageTable, table_of_json
from dmlviz.retrieval.table_file import read_table

SIDECAR = "gallery.json"
NAMES = {
    "embeddings": "embeddings.npy",
    "lengths": "lengths.npy",
    "index": "index.faiss",
    "images": "images.arrow",
    "query_embeddings": "query_embeddings.npy",
    "query_lengths": "query_lengths.npy",
    "queries": "queries.arrow",
}
"""The files of a gallery by what they hold; a gallery that took the place of another calls them otherwise."""

OLDER_NAMES = {"images": "images.json", "queries": "queries.json"}
"""What formats 1 to 3 called the files that are called otherwise now."""

FORMAT = 4
KIND = "dmlviz gallery"
# format 1 knew neither queries nor rules of leaving out, 2 neither lengths nor other names, 3 tables in JSON only
_READABLE = (1, 2, 3, 4)
_FIRST_WITH_NAMES, _FIRST_WITH_ARROW = 3, 4
_LARGE = ("embeddings", "index", "query_embeddings")
_ATTEMPTS = 50
_AGAIN = "Build it again with Gallery.build(images, embedder, path=...)"

Skipped = tuple[tuple[int, str, str], ...]


class GalleryError(ValueError):
    """A gallery on disk that cannot be used: half-written, changed, or made from something else."""


@dataclass(frozen=True, eq=False)
class StoredGallery:
    """What a gallery's folder holds, checked.

    Attributes:
        path: the folder.
        embeddings: (N, D) float32; on disk where the gallery was opened mapped.
        lengths: (N,) float64, their lengths; None where the format did not keep them.
        index: the rows that are ranked.
        images: what is remembered of the images.
        sidecar: content of `gallery.json`.
        query_embeddings: (Nq, D) float32; None where the gallery's own images ask, by its own embedder.
        query_lengths: (Nq,) float64, as `lengths`.
        query_table: what is remembered of the queries; None without a separate query set.
    """

    path: Path
    embeddings: np.ndarray
    lengths: np.ndarray | None
    index: GalleryIndex
    images: ImageTable
    sidecar: dict[str, Any]
    query_embeddings: np.ndarray | None
    query_lengths: np.ndarray | None
    query_table: ImageTable | None

    @property
    def skipped(self) -> Skipped:
        """(id in the image set that was given, name, reason) of each image that could not be read."""
        return skipped_of(self.sidecar)

    @property
    def queries(self) -> dict[str, Any] | None:
        """What the sidecar says of the queries; None where the gallery's own images ask, by its own embedder."""
        queries: dict[str, Any] | None = self.sidecar.get("queries")
        return queries

    @property
    def query_embedder(self) -> dict[str, str]:
        """Name and fingerprint of the embedder of queries."""
        embedder: dict[str, str] = (self.queries or self.sidecar)["embedder"]
        return embedder

    @property
    def leave_out(self) -> str | None:
        """The rule of leaving out."""
        rule: str | None = self.sidecar.get("leave_out", "self")
        return rule

    @property
    def kind(self) -> str:
        """The kind of index that was asked for, "auto" perhaps."""
        return str(self.sidecar.get("index", {}).get("asked", "flat"))

    @property
    def index_options(self) -> dict[str, int]:
        """What was said of the index beside its kind."""
        options: dict[str, int] = self.sidecar.get("index", {}).get("options", {})
        return options


def skipped_of(said: dict[str, Any]) -> Skipped:
    """(id in the image set that was given, name, reason) of each image that could not be read."""
    return tuple((int(i), str(name), str(reason)) for i, name, reason in said["skipped"])


def read_gallery(path: Path, mapped: bool = False) -> StoredGallery:
    """Read a gallery's folder and check everything that can be checked.

    A gallery that takes the place of another has files of its own; the sidecar, which names them, is replaced in one
    step. So one state or the other is read. Where the older files go while they are read, the newer state is read.

    Args:
        path: the folder.
        mapped: leave embeddings, rows and tables on disk; then the checksums of embeddings and rows are not
            compared, only their sizes.

    Raises:
        FileNotFoundError: there is nothing at that path.
        GalleryError: it is no gallery, half-written, of a later format, or a file in it was changed.
    """
    for attempt in range(_ATTEMPTS):
        before = _sidecar_bytes(path)
        try:
            found = _read(path, before, mapped)
        except (GalleryError, OSError):
            if attempt == _ATTEMPTS - 1 or _sidecar_bytes(path) == before:
                raise
        else:
            if not mapped or _sidecar_bytes(path) == before:
                return found
    raise GalleryError(f"{path} is written again and again while it is read. Open it when that has ended")


def _read(path: Path, said: bytes | None, mapped: bool) -> StoredGallery:
    if said is None and not path.exists():
        raise FileNotFoundError(
            f"there is no gallery at {path}; build one with Gallery.build(images, embedder, path=...)"
        )
    if said is None:
        raise GalleryError(
            f"{path} holds no {SIDECAR}: it is no gallery, or was not written to its end. {_AGAIN}"
        )
    sidecar = checked_sidecar(path, said)
    names = files_of(sidecar)
    for role, name in names.items():
        _check_file(path, name, sidecar, compare=not (mapped and role in _LARGE))
    rows = {role: _rows(path / names[role], mapped) for role in names if role.endswith("embeddings")}
    lengths = {role: _rows(path / names[role], False) for role in names if role.endswith("lengths")}
    read = _arrow_table if sidecar["format"] >= _FIRST_WITH_ARROW else _json_table
    tables = {role: read(path, names[role], mapped) for role in ("images", "queries") if role in names}
    try:
        index = GalleryIndex.open(path / names["index"], mapped=mapped)
    except ValueError as error:
        raise GalleryError(
            f"{names['index']} in {path} is no index of a gallery: {error}. {_AGAIN}"
        ) from error
    index.reason = str(sidecar.get("index", {}).get("reason", ""))
    found = StoredGallery(
        path,
        rows["embeddings"],
        lengths.get("lengths"),
        index,
        tables["images"],
        sidecar,
        rows.get("query_embeddings"),
        lengths.get("query_lengths"),
        tables.get("queries"),
    )
    _check_that_it_fits(found)
    return found


def checked_sidecar(path: Path, said: bytes) -> dict[str, Any]:
    """The content of a sidecar.

    Raises:
        GalleryError: it is not readable, lacks something, was changed, or is of another format.
    """
    sidecar = _parsed(said, path / SIDECAR)
    if sidecar.get("kind") != KIND:
        raise GalleryError(f"{path / SIDECAR} does not describe a gallery. {_AGAIN}")
    if sidecar.get("format") not in _READABLE:
        *others, last = map(str, _READABLE)
        raise GalleryError(
            f"{path} was written in format {sidecar.get('format')!r}, this version of dmlviz reads formats "
            f"{', '.join(others)} and {last}. Update dmlviz, or build the gallery again"
        )
    try:
        for name in files_of(sidecar).values():
            _ = sidecar["sha256"][name]
        _ = int(sidecar["dim"]), sidecar["similarity"]
        for part in filter(None, (sidecar, sidecar.get("queries"))):
            _ = part["embedder"]["fingerprint"], part["embedder"]["name"], part["images_fingerprint"]
            _ = int(part["count"]), skipped_of(part)
        if sidecar["check"] != check_of(sidecar):
            raise GalleryError(f"{SIDECAR} in {path} was changed since it was written. {_AGAIN}")
    except GalleryError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GalleryError(
            f"{path / SIDECAR} lacks {error}: it was changed or cut short. {_AGAIN}"
        ) from error
    return sidecar


def files_of(sidecar: dict[str, Any]) -> dict[str, str]:
    """What a gallery's files are called, by what they hold.

    Raises:
        KeyError: one that must be there is not named.
        ValueError: a name leads out of the folder.
    """
    queries = sidecar.get("queries")
    roles = ["embeddings", "index", "images"]
    if queries is not None:
        roles.append("query_embeddings")
        if queries["images_fingerprint"] is not None:
            roles.append("queries")
    if sidecar["format"] < _FIRST_WITH_NAMES:
        return {role: (NAMES | OLDER_NAMES)[role] for role in roles}
    lengths = ["lengths"] + (["query_lengths"] if queries is not None else [])
    named = {role: str(sidecar["files"][role]) for role in roles + lengths}
    for name in named.values():
        if name in ("", ".", "..") or Path(name).name != name or set(name) & set("/\\\0"):
            raise ValueError(f"a name of a file, got {name!r}")
    return named


def check_of(sidecar: dict[str, Any]) -> str:
    """SHA-256 over a sidecar's entries, its own `check` left out."""
    entries = {key: value for key, value in sidecar.items() if key != "check"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sidecar_bytes(path: Path) -> bytes | None:
    try:
        return (path / SIDECAR).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_file(path: Path, name: str, sidecar: dict[str, Any], compare: bool) -> None:
    """Refuse a file that lacks, or is not the one that was written; `compare` its checksum, or only its size."""
    try:
        found = (path / name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise GalleryError(f"{name} in {path} is no file. {_AGAIN}")
        size = found.st_size
        same = size == sidecar.get("bytes", {}).get(name, size)
        if same and compare:
            same = sha256_of(path / name) == sidecar["sha256"][name]
    except FileNotFoundError:
        raise GalleryError(f"{path} lacks {name}. {_AGAIN}") from None
    if not same:
        raise GalleryError(f"{name} in {path} was changed or cut short since it was written. {_AGAIN}")


def _check_that_it_fits(found: StoredGallery) -> None:
    said, index = found.sidecar, found.index
    count, dim = int(said["count"]), int(said["dim"])
    names = len(found.images)
    fits = _fits(found.embeddings, found.lengths, count, dim) and index.dim == dim and names == count
    if fits and index.metric != metric_of(said["similarity"]):
        raise GalleryError(
            f"{found.path} does not fit together: its sidecar says similarity {said['similarity']!r}, its index "
            f"compares by {index.metric!r}. {_AGAIN}"
        )
    if fits and found.lengths is not None:
        ranked = int(np.count_nonzero(found.lengths)) if said["similarity"] == "cosine" else count
        fits = len(index) == ranked
    if not fits:
        raise GalleryError(
            f"{found.path} does not fit together: its sidecar says {count} images of {dim} dimensions, it holds "
            f"embeddings of shape {found.embeddings.shape}, an index of {len(index)} rows of {index.dim} dimensions "
            f"and {names} names. {_AGAIN}"
        )
    if found.queries is None or found.query_embeddings is None:
        return
    held = len(found.images if found.query_table is None else found.query_table)
    asking = int(found.queries["count"])
    if not _fits(found.query_embeddings, found.query_lengths, asking, dim) or held != asking:
        raise GalleryError(
            f"{found.path} does not fit together: its sidecar says {asking} queries of {dim} dimensions, it "
            f"holds embeddings of shape {found.query_embeddings.shape} and {held} names of them. {_AGAIN}"
        )


def _fits(rows: np.ndarray, lengths: np.ndarray | None, count: int, dim: int) -> bool:
    if rows.shape != (count, dim) or rows.dtype != np.float32:
        return False
    return lengths is None or (lengths.shape == (count,) and lengths.dtype == np.float64)


def _rows(path: Path, mapped: bool) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a header that was changed is parsed as Python, and fails in many ways
        raise GalleryError(f"{path} holds no rows of numbers ({error}). {_AGAIN}") from error
    return rows


def _arrow_table(path: Path, name: str, mapped: bool) -> ImageTable:
    try:
        return read_table(path / name, mapped)
    except ValueError as error:
        raise _no_table(path, name, error) from error


def _json_table(path: Path, name: str, mapped: bool) -> ImageTable:
    try:
        return table_of_json(_parsed((path / name).read_bytes(), path / name))
    except GalleryError:
        raise
    except ValueError as error:
        raise _no_table(path, name, error) from error


def _no_table(path: Path, name: str, error: ValueError) -> GalleryError:
    return GalleryError(f"{name} in {path} cannot be read: {error}. {_AGAIN}")


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GalleryError(f"{path} is not readable: it was changed or cut short. {_AGAIN}") from error
    return found if isinstance(found, dict) else {}
