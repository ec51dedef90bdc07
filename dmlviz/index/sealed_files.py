"""Files that are whole or not there: written beside and renamed, with a footer that says what they hold."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def add_footer(part: Path, said: dict[str, Any], magic: bytes) -> None:
    """Put what a file holds behind it, with the checksum of what stands before."""
    footer = json.dumps({**said, "sha256": sha256_of(part)}, ensure_ascii=True).encode("ascii")
    with open(part, "ab") as file:
        file.write(footer + len(footer).to_bytes(8, "little") + magic)


def footer_of(source: Path, magic: bytes) -> tuple[dict[str, Any] | None, int]:
    """What stands behind a file's body, and how many bytes the body has; None where nothing does."""
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
    return (said if isinstance(said, dict) else None), size - tail_size - length


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
