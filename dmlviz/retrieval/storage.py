"""A gallery as a folder: written whole or not at all, and refused where it is not what it says.

The folder holds four files and no pickle:

- `gallery.json`, the sidecar: dimension, similarity, count, embedder, rule of leaving out, versions, checksums;
- `embeddings.npy`: (N, D) float32, un-normalised;
- `index.faiss`: the rows as they are ranked;
- `images.json`: names, labels, further columns, and where the image files lie;

and, where the queries or their embedder are not the gallery's own, `query_embeddings.npy`, with a separate query
set also `queries.json`, both in the same form.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz._version import __version__
from dmlviz.index import GalleryIndex
from dmlviz.retrieval.folders import fresh_folder, replace_folder
from dmlviz.retrieval.image_table import columns_of

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery

SIDECAR = "gallery.json"
_EMBEDDINGS = "embeddings.npy"
_INDEX = "index.faiss"
_IMAGES = "images.json"
_QUERY_EMBEDDINGS = "query_embeddings.npy"
_QUERIES = "queries.json"
_FORMAT = 2
_READABLE = (1, 2)  # format 1 knew neither queries nor rules of leaving out
_KIND = "dmlviz gallery"

Skipped = tuple[tuple[int, str, str], ...]


class GalleryError(ValueError):
    """A gallery on disk that cannot be used: half-written, changed, or made from something else."""


@dataclass(frozen=True, eq=False)
class StoredGallery:
    """What a gallery's folder holds, checked.

    Attributes:
        path: the folder.
        embeddings: (N, D) float32.
        index: the rows that are ranked.
        images: content of `images.json`.
        sidecar: content of `gallery.json`.
        query_embeddings: (Nq, D) float32; None where the gallery's own images ask, by its own embedder.
        query_table: content of `queries.json`; None without a separate query set.
    """

    path: Path
    embeddings: np.ndarray
    index: GalleryIndex
    images: dict[str, Any]
    sidecar: dict[str, Any]
    query_embeddings: np.ndarray | None
    query_table: dict[str, Any] | None

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


def skipped_of(said: dict[str, Any]) -> Skipped:
    """(id in the image set that was given, name, reason) of each image that could not be read."""
    return tuple((int(i), str(name), str(reason)) for i, name, reason in said["skipped"])


def check_target(path: Path) -> None:
    """Refuse, before any work is done, a path that no gallery can be written to.

    Raises:
        FileNotFoundError: the folder that should hold it does not exist.
        GalleryError: something else lies there.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {path.parent} does not exist; make it before building a gallery there"
        )
    if path.exists() and not holds_gallery(path) and not _is_empty_folder(path):
        raise GalleryError(
            f"{path} exists and is not a gallery; nothing was written. Choose another path or remove it"
        )


def holds_gallery(path: Path) -> bool:
    """Whether a gallery's sidecar lies in that folder."""
    return (path / SIDECAR).is_file()


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def write_gallery(
    path: Path, gallery: "Gallery", *, images_fingerprint: str, queries_fingerprint: str | None
) -> None:
    """Write a gallery into a temporary folder beside its path and rename that at the end.

    Args:
        path: the gallery's folder; a gallery that lies there is replaced.
        gallery: the gallery.
        images_fingerprint: of the image set as it was given, with the images that were skipped.
        queries_fingerprint: of the query set as it was given; None where the gallery's own images ask.
    """
    folder = fresh_folder(path, "part")
    names = [_EMBEDDINGS, _INDEX, _IMAGES]
    try:
        np.save(folder / _EMBEDDINGS, gallery.embeddings, allow_pickle=False)
        gallery.index.save(folder / _INDEX)
        _write_json(folder / _IMAGES, columns_of(gallery.images, path))
        if gallery.query_embeddings is not gallery.embeddings:
            np.save(folder / _QUERY_EMBEDDINGS, gallery.query_embeddings, allow_pickle=False)
            names.append(_QUERY_EMBEDDINGS)
        if queries_fingerprint is not None:
            _write_json(folder / _QUERIES, columns_of(gallery.queries, path))
            names.append(_QUERIES)
        sidecar = {
            "kind": _KIND,
            "format": _FORMAT,
            "count": len(gallery.embeddings),
            "dim": int(gallery.embeddings.shape[1]),
            "similarity": gallery.similarity,
            "leave_out": gallery.leave_out,
            "embedder": {"name": gallery.embedder.name, "fingerprint": gallery.embedder.fingerprint},
            "images_fingerprint": images_fingerprint,
            "skipped": [list(entry) for entry in gallery.skipped],
            "queries": _queries_of(gallery, queries_fingerprint),
            "versions": {"dmlviz": __version__, "numpy": np.__version__},
            "sha256": {name: _sha256(folder / name) for name in names},
        }
        _write_json(folder / SIDECAR, sidecar | {"check": check_of(sidecar)})
        for name in (*names, SIDECAR):
            _flush(folder / name)
        replace_folder(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _queries_of(gallery: "Gallery", fingerprint: str | None) -> dict[str, Any] | None:
    """What the sidecar says of the queries."""
    if gallery.query_embeddings is gallery.embeddings:
        return None
    embedder = gallery.query_embedder
    return {
        "count": len(gallery.query_embeddings),
        "embedder": {"name": embedder.name, "fingerprint": embedder.fingerprint},
        "images_fingerprint": fingerprint,
        "skipped": [list(entry) for entry in gallery.skipped_queries],
    }


def read_gallery(path: Path) -> StoredGallery:
    """Read a gallery's folder and check everything that can be checked.

    Raises:
        FileNotFoundError: there is nothing at that path.
        GalleryError: it is no gallery, half-written, of a later format, or a file in it was changed.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no gallery at {path}; build one with Gallery.build(images, embedder, path=...)"
        )
    again = "Build it again with Gallery.build(images, embedder, path=...)"
    if not holds_gallery(path):
        raise GalleryError(
            f"{path} holds no {SIDECAR}: it is no gallery, or was not written to its end. {again}"
        )
    sidecar = _read_json(path / SIDECAR)
    if sidecar.get("kind") != _KIND:
        raise GalleryError(f"{path / SIDECAR} does not describe a gallery. {again}")
    if sidecar.get("format") not in _READABLE:
        raise GalleryError(
            f"{path} was written in format {sidecar.get('format')!r}, this version of dmlviz reads formats "
            f"{' and '.join(map(str, _READABLE))}. Update dmlviz, or build the gallery again"
        )
    try:
        queries = sidecar.get("queries")
        names = [_EMBEDDINGS, _INDEX, _IMAGES] + ([] if queries is None else [_QUERY_EMBEDDINGS])
        if queries is not None and queries["images_fingerprint"] is not None:
            names.append(_QUERIES)
        expected = {name: sidecar["sha256"][name] for name in names}
        count, dim = int(sidecar["count"]), int(sidecar["dim"])
        _ = sidecar["similarity"]
        for said in filter(None, (sidecar, queries)):
            _ = said["embedder"]["fingerprint"], said["embedder"]["name"], said["images_fingerprint"]
            _ = int(said["count"]), skipped_of(said)
        if sidecar["check"] != check_of(sidecar):
            raise GalleryError(f"{SIDECAR} in {path} was changed since it was written. {again}")
    except GalleryError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(f"{path / SIDECAR} lacks {error}: it was changed or cut short. {again}") from error
    for name, checksum in expected.items():
        if not (path / name).is_file():
            raise GalleryError(f"{path} lacks {name}. {again}")
        if _sha256(path / name) != checksum:
            raise GalleryError(f"{name} in {path} was changed or cut short since it was written. {again}")
    embeddings = np.load(path / _EMBEDDINGS, allow_pickle=False)
    index = GalleryIndex.open(path / _INDEX)
    images = _read_json(path / _IMAGES)
    if embeddings.shape != (count, dim) or index.dim != dim or len(images.get("names", ())) != count:
        raise GalleryError(
            f"{path} does not fit together: its sidecar says {count} images of {dim} dimensions, it holds "
            f"embeddings of shape {embeddings.shape}, an index of {index.dim} dimensions and "
            f"{len(images.get('names', ()))} names. {again}"
        )
    asking = None if queries is None else np.load(path / _QUERY_EMBEDDINGS, allow_pickle=False)
    table = _read_json(path / _QUERIES) if _QUERIES in expected else None
    if queries is not None and asking is not None:
        names_of = images if table is None else table
        held = len(names_of.get("names", ()))
        if asking.shape != (int(queries["count"]), dim) or held != len(asking):
            raise GalleryError(
                f"{path} does not fit together: its sidecar says {queries['count']} queries of {dim} dimensions, it "
                f"holds embeddings of shape {asking.shape} and {held} names of them. {again}"
            )
    return StoredGallery(path, embeddings, index, images, sidecar, asking, table)


def check_of(sidecar: dict[str, Any]) -> str:
    """SHA-256 over a sidecar's entries, its own `check` left out."""
    entries = {key: value for key, value in sidecar.items() if key != "check"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=True, allow_nan=False), encoding="ascii")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GalleryError(
            f"{path} is not readable: it was changed or cut short. "
            "Build the gallery again with Gallery.build(images, embedder, path=...)"
        ) from error
    return content if isinstance(content, dict) else {}


def _flush(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
