"""Files that are whole or not there: written beside and renamed, with a footer that says what they hold."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_ATTEMPTS = 50
_Found = TypeVar("_Found")


@contextmanager
def replacing(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """A file to write to, which takes the place of another at the end, or goes where writing fails.

    Args:
        path: the file to make or replace.
        what: what is saved, for the error messages: "an index".

    Yields:
        The file to write; it is brought to the disk before it is renamed.

    Raises:
        FileNotFoundError: the folder does not exist.
        IsADirectoryError: the path is a folder.
        OSError: the disk is full, say; an older file is as it was.
    """
    target = Path(os.fsdecode(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {target.parent} does not exist; make it before saving {what} there"
        )
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file to save {what} in")
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        yield part
        with open(part, "ab") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
        _flush_folder(target.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        words = (
            f"{what} could not be saved to {target}: {error.strerror or error}. An older file of that name is as it "
            "was; make room, or choose another path, and call again"
        )
        raise (OSError(words) if error.errno is None else OSError(error.errno, words)) from error


def read_whole(source: Path, read: Callable[[], _Found]) -> _Found:
    """Read a file that another process may replace meanwhile: what is read is one file or the other, not of both.

    Args:
        source: the file.
        read: reads it, perhaps by opening it several times.

    Raises:
        ValueError: it is replaced again and again; or what `read` raises of a file that stayed.
    """
    for _ in range(_ATTEMPTS):
        before = _which(source)
        try:
            found = read()
        except (ValueError, OSError):
            if _which(source) == before:
                raise
        else:
            if _which(source) == before:
                return found
    raise ValueError(f"{source} is written again and again while it is read. Open it when that has ended")


def _which(source: Path) -> tuple[int, ...] | None:
    """What tells a file from the one that takes its place."""
    try:
        found = source.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def add_footer(part: Path, said: dict[str, Any], magic: bytes) -> None:
    """Put what a file holds behind it, with the checksum of what stands before, and one of the footer itself."""
    sealed = {**said, "sha256": sha256_of(part)}
    footer = json.dumps({**sealed, "check": _check_of(sealed)}, ensure_ascii=True).encode("ascii")
    with open(part, "ab") as file:
        file.write(footer + len(footer).to_bytes(8, "little") + magic)


def footer_of(source: Path, magic: bytes) -> tuple[dict[str, Any] | None, int]:
    """What stands behind a file's body, and how many bytes the body has; None where nothing does or it changed."""
    size, tail_size = source.stat().st_size, 8 + len(magic)
    with open(source, "rb") as file:
        if size < tail_size:
            return None, size
        file.seek(size - tail_size)
        tail = file.read(tail_size)
        if tail[8:] != magic:
            return None, size
        length = int.from_bytes(tail[:8], "little")
        if length > size - tail_size:
            return None, size
        file.seek(size - tail_size - length)
        try:
            said = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return None, size
    if not isinstance(said, dict) or said.pop("check", None) != _check_of(said):
        return None, size
    return said, size - tail_size - length


def _check_of(said: dict[str, Any]) -> str:
    """SHA-256 over the entries of a footer."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path, length: int | None = None) -> str:
    """Checksum of a file, or of its first bytes."""
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
