"""How far the embedding of a set has come, on disk, so that it can go on after an interruption."""

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

_FORMAT = 1
_SECONDS_BETWEEN_SAVES = 1.0


class Progress:
    """Embeddings as they come in, in memory or in a memory-mapped .npy file with a JSON note beside it.

    The note is replaced in one step and only after the rows it counts have been handed to the disk, so it never
    claims more than is there.

    Attributes:
        done: Images 0 ... done − 1 are finished, embedded or failed.
        failed: (id, name, reason) of those that failed.
        names: Names of all images.
    """

    def __init__(self, rows: np.ndarray, names: Any, path: Path | None, stamp: dict[str, Any]) -> None:
        self.rows, self.names, self.path, self._stamp = rows, names, path, stamp
        self.done = 0
        self.failed: list[tuple[int, str, str]] = []
        self._saved_at = time.monotonic()
        self._saved_done = -1

    @classmethod
    def open(cls, path: str | Path | None, embedder: Any, images: Any) -> "Progress":
        """Start, or go on where the same embedder stopped with the same images.

        Raises:
            ValueError: If the files are of another embedder or other images, or damaged.
            OSError: If the disk has no room for all rows.
        """
        shape = (len(images), embedder.dim)
        if path is None:
            return cls(np.empty(shape, np.float32), images.names, None, {})
        file = Path(path)
        stamp = {
            "format": _FORMAT,
            "embedder": embedder.fingerprint,
            "images": images.fingerprint,
            "count": shape[0],
            "dim": shape[1],
        }
        note = _note_path(file)
        if note.exists():
            return cls._resumed(file, note, stamp, images.names)
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        _hold_room(file)
        started = cls(rows, images.names, file, stamp)
        started.save()
        return started

    @classmethod
    def _resumed(cls, file: Path, note: Path, stamp: dict[str, Any], names: Any) -> "Progress":
        remedy = f"delete {file} and {note} to start afresh, or choose another path"
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            other = [key for key in stamp if said[key] != stamp[key]]
            done, failed = int(said["done"]), [(int(i), str(n), str(r)) for i, n, r in said["failed"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{note} is damaged ({type(error).__name__}: {error}); {remedy}") from error
        if other:
            what = {
                "embedder": "another embedder",
                "images": "other images",
                "count": "another number of images",
            }
            raise ValueError(
                f"{file} holds embeddings made with {what.get(other[0], 'another ' + other[0])} than given now; "
                f"{remedy}"
            )
        try:
            rows = np.load(file, mmap_mode="r+")
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is missing or damaged ({error}); {remedy}") from error
        if rows.shape != (stamp["count"], stamp["dim"]) or rows.dtype != np.float32:
            raise ValueError(f"{file} holds {rows.dtype} {rows.shape}, not what {note} says; {remedy}")
        resumed = cls(rows, names, file, stamp)
        resumed.done, resumed.failed, resumed._saved_done = done, failed, done
        return resumed

    def add(self, ids: list[int], rows: np.ndarray, failed: list[tuple[int, str, str]], done: int) -> None:
        """Take in finished rows (their ids ascending) and failures; images before `done` are finished."""
        if ids:
            self.rows[ids] = rows
        for i, _, _ in failed:
            self.rows[i] = np.nan
        self.failed += failed
        self.done = done
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Bring rows and note to the disk, if there is anything new."""
        if self.path is None or self.done == self._saved_done:
            return
        if isinstance(self.rows, np.memmap):
            self.rows.flush()
        note = _note_path(self.path)
        fresh = note.with_name(note.name + ".new")
        said = self._stamp | {"done": self.done, "failed": self.failed}
        fresh.write_text(json.dumps(said, indent=1), encoding="utf-8")
        os.replace(fresh, note)
        self._saved_at, self._saved_done = time.monotonic(), self.done

    def result(self) -> Any:
        """What was embedded, as an `EmbeddedSet`."""
        from dmlviz.embedder.embedding_a_set import EmbeddedSet

        bad = {i for i, _, _ in self.failed}
        ids = np.array([i for i in range(len(self.rows)) if i not in bad], dtype=np.int64)
        rows = np.array(self.rows if not bad else self.rows[ids], dtype=np.float32)
        return EmbeddedSet(rows, ids, tuple(self.failed))


def _hold_room(file: Path) -> None:
    """Have the disk set the whole file aside: a mapped file that it has no room for ends the process when written to.

    Raises:
        OSError: The disk has no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = file.stat().st_size
    try:
        with open(file, "r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return  # a file system that cannot set room aside
        file.unlink(missing_ok=True)
        words = f"{error.strerror}: {size / 2**20:.1f} MB are needed for the embeddings in {file}; make room for them"
        raise OSError(error.errno, words) from error


def _note_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")
