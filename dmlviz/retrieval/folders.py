"""A folder written whole or not at all."""

import os
import secrets
import shutil
import time
from pathlib import Path

_ABANDONED_AFTER = 24 * 3600.0  # seconds


def fresh_folder(path: Path, ending: str) -> Path:
    """A new hidden folder beside a path, with the permissions that new folders have here."""
    folder = path.with_name(f".{path.name}.{secrets.token_hex(8)}.{ending}")
    folder.mkdir()
    return folder


def place_folder(new: Path, path: Path) -> bool:
    """Rename a finished folder to a path where nothing lies yet, or an empty folder.

    Returns:
        False where something lies there; then nothing was done.
    """
    try:
        if os.name == "nt" and path.is_dir():
            path.rmdir()  # renaming to an empty folder is for others
        os.rename(new, path)
    except OSError:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            return False
        raise
    flush_folder(path.parent)
    return True


def discard_folder(path: Path) -> None:
    """Remove a folder so that it is there whole, or gone: it is renamed before it is emptied."""
    if not path.is_dir():
        return
    gone = path.with_name(f".{path.name}.{secrets.token_hex(8)}.old")
    os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def sweep_beside(path: Path) -> None:
    """Remove the hidden folders that writers who were killed left beside a path.

    Those that were being removed go at once, those that were being written when they are a day old: a younger one may
    belong to a writer at work.
    """
    for entry in path.parent.glob(f".{_literally(path.name)}.{'[0-9a-f]' * 16}.*"):
        if entry.suffix == ".old" or (entry.suffix == ".part" and is_abandoned(entry)):
            shutil.rmtree(entry, ignore_errors=True)


def is_abandoned(entry: Path) -> bool:
    """Whether nothing was written to a file, or into a folder, for a day."""
    try:
        inside = list(entry.iterdir()) if entry.is_dir() else []
        return time.time() - max(one.stat().st_mtime for one in (entry, *inside)) > _ABANDONED_AFTER
    except OSError:
        return False


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _literally(name: str) -> str:
    """A name as a pattern that means only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
