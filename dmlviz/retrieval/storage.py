"""A gallery as a folder: written whole or not at all.

The folder holds no pickle:

- `gallery.json`, the sidecar: dimension, similarity, count, kind of index, embedder, rule of leaving out, versions,
  and the names, sizes and checksums of the other files;
- `embeddings.npy`: (N, D) float32, un-normalised, and `lengths.npy`: (N,) float64, their lengths;
- `index.faiss`: the rows as they are ranked, of any kind of index;
- `images.arrow`: names, labels, further columns, and where the image files lie, as a table of Arrow's;

and, where the queries or their embedder are not the gallery's own, `query_embeddings.npy` and `query_lengths.npy`,
with a separate query set also `queries.arrow`, in the same form. Earlier versions wrote `images.json` and
`queries.json`; galleries of theirs are read, and written anew in today's form.

**Another in its place.** A new folder is written under a hidden name and renamed. Where a gallery lies already, the
files of the newer one are put beside those of the older one under names of their own; then the sidecar, which names
them, is replaced. That is one step on every file system: whoever opens the gallery finds the older one or the newer
one, also where the writer was killed. At last the older files are removed; a process that has them open, or mapped,
keeps them as long as it needs them (on Windows they are removed by the next writer). The command line's note of the
network (`model.json`) stays where the newer gallery is of that network too, and goes otherwise; the note says which
network it is of, so that one that a killed writer left is not taken for the newer gallery's.
"""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz._version import __version__
from dmlviz.retrieval.folders import flush_folder, fresh_folder, is_abandoned, place_folder, sweep_beside
from dmlviz.retrieval.stored_gallery import (
    FORMAT,
    KIND,
    NAMES,
    OLDER_NAMES,
    SIDECAR,
    GalleryError,
    Skipped,
    StoredGallery,
    check_of,
    checked_sidecar,
    files_of,
    read_gallery,
    sha256_of,
    skipped_of,
)
from dmlviz.retrieval.table_file import write_table

if TYPE_CHECKING:
    from dmlviz.retrieval.gallery import Gallery

__all__ = [
    "SIDECAR",
    "GalleryError",
    "Skipped",
    "StoredGallery",
    "check_of",
    "check_target",
    "holds_gallery",
    "read_gallery",
    "skipped_of",
    "write_gallery",
]

_BLOCK = 2**24  # bytes written at once
_NOTE = "model.json"  # see dmlviz.cli.model_file


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
    """Write a gallery into a hidden folder beside its path, and put it in its place at the end.

    Args:
        path: the gallery's folder; a gallery that lies there is replaced.
        gallery: the gallery.
        images_fingerprint: of the image set as it was given, with the images that were skipped.
        queries_fingerprint: of the query set as it was given; None where the gallery's own images ask.

    Raises:
        OSError: the disk is full, say; what lay there stays.
        GalleryError: something else has come to lie there meanwhile.
    """
    try:
        sweep_beside(path)
        folder = fresh_folder(path, "part")
        try:
            over = holds_gallery(path)
            token = f"-{secrets.token_hex(8)}" if over else ""
            sidecar = _write_files(folder, path, gallery, token, queries_fingerprint)
            sidecar["images_fingerprint"] = images_fingerprint
            sidecar["queries"] = _queries_of(gallery, queries_fingerprint)
            _write_json(folder / SIDECAR, sidecar | {"check": check_of(sidecar)})
            for name in (*sidecar["files"].values(), SIDECAR):
                _flush(folder / name)
            flush_folder(folder)
            if over:
                _move_in(folder, path, list(sidecar["files"].values()))
                _keep_note(path, {gallery.embedder.fingerprint, gallery.query_embedder.fingerprint})
            elif not place_folder(folder, path):
                raise GalleryError(
                    f"something came to lie at {path} while the gallery was written, another process's gallery "
                    "perhaps; it was left as it is. Choose another path, or call again"
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        words = (
            f"the gallery could not be written to {path}: {reason}. What lay there before is as it was. The gallery "
            f"needs about {_megabytes(gallery)} MB; make room for it, or choose another path, and call again"
        )
        raise (OSError(words) if error.errno is None else OSError(error.errno, words)) from error


def _megabytes(gallery: "Gallery") -> int:
    """About how large a gallery is on disk: embeddings and ranked rows; other than flat indexes hold more."""
    asking = gallery.query_embeddings
    rows = 2 * gallery.embeddings.nbytes + (0 if asking is gallery.embeddings else asking.nbytes)
    return max(1, round(rows * 1.1 / 2**20))


def _write_files(
    folder: Path, path: Path, gallery: "Gallery", token: str, queries_fingerprint: str | None
) -> dict[str, Any]:
    """Write all files but the sidecar, and return what it says of them; `token` goes into their names."""
    names = {
        role: f"{Path(name).stem}{token}{Path(name).suffix}"
        for role, name in NAMES.items()
        if role in ("embeddings", "lengths", "index", "images")
        or (
            role in ("query_embeddings", "query_lengths")
            and gallery.query_embeddings is not gallery.embeddings
        )
        or (role == "queries" and queries_fingerprint is not None)
    }
    _write_rows(folder / names["embeddings"], gallery.embeddings)
    _write_rows(folder / names["lengths"], gallery._item_side.lengths)
    gallery.index.save(folder / names["index"])
    write_table(folder / names["images"], gallery.images, path)
    if "query_embeddings" in names:
        _write_rows(folder / names["query_embeddings"], gallery.query_embeddings)
        _write_rows(folder / names["query_lengths"], gallery._query_side.lengths)
    if "queries" in names:
        write_table(folder / names["queries"], gallery.queries, path)
    index = gallery.index
    return {
        "kind": KIND,
        "format": FORMAT,
        "count": len(gallery.embeddings),
        "dim": int(gallery.embeddings.shape[1]),
        "similarity": gallery.similarity,
        "leave_out": gallery.leave_out,
        "index": {
            "asked": gallery.kind,
            "options": gallery.index_options,
            "kind": index.kind,
            "reason": index.reason,
        },
        "embedder": {"name": gallery.embedder.name, "fingerprint": gallery.embedder.fingerprint},
        "skipped": [list(entry) for entry in gallery.skipped],
        "versions": {"dmlviz": __version__, "numpy": np.__version__},
        "files": names,
        "bytes": {name: (folder / name).stat().st_size for name in names.values()},
        "sha256": {name: sha256_of(folder / name) for name in names.values()},
    }


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


def _move_in(folder: Path, path: Path, names: list[str]) -> None:
    """Put a gallery's files beside those of an older one, then its sidecar in the place of the older one's."""
    try:
        for name in names:
            os.rename(folder / name, path / name)
        flush_folder(path)
        older = _named_there(path)
        os.replace(folder / SIDECAR, path / SIDECAR)
    except BaseException:
        if not _named_there(path) & set(names):  # an interruption may come when all is done
            for name in names:
                (path / name).unlink(missing_ok=True)
        raise
    flush_folder(path)
    for name in older - set(names):
        _remove(path / name)
    _sweep_inside(path, set(names))


def _keep_note(path: Path, embedders: set[str]) -> None:
    """Remove the command line's note of a network where the gallery's, or that of its queries, is another."""
    try:
        said = json.loads((path / _NOTE).read_bytes())
        fits = {said["embedder"]} == embedders
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        _remove(path / _NOTE)


def _named_there(path: Path) -> set[str]:
    """The files that the sidecar in a folder names, as far as it can be read."""
    try:
        return set(files_of(checked_sidecar(path, (path / SIDECAR).read_bytes())).values())
    except (GalleryError, FileNotFoundError):
        return {*NAMES.values(), *OLDER_NAMES.values()}


def _sweep_inside(path: Path, kept: set[str]) -> None:
    """Remove the files that writers who were killed left in a gallery's folder, when they are a day old."""
    names = (*NAMES.values(), *OLDER_NAMES.values())
    anew = (f"{Path(name).stem}-{'[0-9a-f]' * 16}{Path(name).suffix}" for name in names)
    for pattern in (*names, *anew):  # the first gallery's files have plain names
        for entry in path.glob(pattern):
            if entry.name not in kept and is_abandoned(entry):
                _remove(entry)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # Windows keeps a file that a process has open; the next writer tries again
        return


def _write_rows(path: Path, rows: np.ndarray) -> None:
    """As `np.save`, in blocks: a full disk is told as such, and rows that lie on disk stay there."""
    with open(path, "wb") as file:
        said = np.lib.format.header_data_from_array_1_0(rows)
        np.lib.format.write_array_header_1_0(file, said | {"fortran_order": False})
        step = max(1, _BLOCK // max(rows[:1].nbytes, 1))
        for start in range(0, len(rows), step):
            file.write(np.ascontiguousarray(rows[start : start + step]).data)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=True, allow_nan=False), encoding="ascii")


def _flush(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
