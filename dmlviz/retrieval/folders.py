"""A folder written whole or not at all."""

import os
import secrets
import shutil
from pathlib import Path


def fresh_folder(path: Path, ending: str) -> Path:
    """A new hidden folder beside a path, with the permissions that new folders have here."""
    folder = path.with_name(f".{path.name}.{secrets.token_hex(8)}.{ending}")
    folder.mkdir()
    return folder


def replace_folder(new: Path, path: Path) -> None:
    """Put a finished folder in the place of an older one, which is kept until the new one stands."""
    if not path.exists():
        os.rename(new, path)
        return
    older = fresh_folder(path, "old")
    os.rename(path, older / "gallery")
    try:
        os.rename(new, path)
    except BaseException:
        os.rename(older / "gallery", path)
        raise
    finally:
        shutil.rmtree(older, ignore_errors=True)
