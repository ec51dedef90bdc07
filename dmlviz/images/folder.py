"""Find the images under a folder: which files, in which order, of which class."""

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

EXTENSIONS = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip

Found = tuple[tuple[Path, ...], tuple[str, ...], list[str] | None]


def find_images(
    root: str | Path,
    *,
    labelled: bool | None = None,
    extensions: Sequence[str] | None = None,
    follow_links: bool = False,
) -> Found:
    """List the images under a folder; see `ImageSet.from_folder` for the rules.

    Returns:
        Paths, names (relative to root, forward slashes) and labels, or None instead of labels.
    """
    folder = existing_folder(root)
    endings = _endings(extensions)
    files = sorted(
        _files_below(folder, folder.resolve(), follow_links), key=lambda path: _natural(path, folder)
    )
    images = [path for path in files if path.suffix.lower() in endings]
    if not images:
        raise ValueError(f"no image lies in {str(folder)!r}: {_what_lies_there(folder, files, endings)}")
    inside = [path for path in images if path.parent != folder]
    if labelled is None:
        labelled = bool(inside)
        if inside and len(inside) < len(images):
            _refuse_mixed(folder, images, inside)
    if not labelled:
        return tuple(images), _names(images, folder), None
    if len(inside) < len(images):
        _refuse_mixed(folder, images, inside)
    labels = [path.relative_to(folder).parts[0] for path in images]
    _warn_of_empty_classes(folder, set(labels))
    return tuple(images), _names(images, folder), labels


def existing_folder(root: str | Path) -> Path:
    """The folder as a path.

    Raises:
        FileNotFoundError: if there is none.
        NotADirectoryError: if it is a file.
    """
    folder = Path(root).expanduser()
    if not folder.exists():
        raise FileNotFoundError(
            f"no folder {str(root)!r}; looked from {str(Path.cwd())!r}, check the spelling of the path"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(root)!r} is a file; expected the folder that holds the images")
    return folder


def _files_below(
    folder: Path, root: Path, follow_links: bool, above: tuple[Path, ...] = ()
) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:  # a link back to a folder we are in
        return
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_symlink() and not follow_links and not path.resolve().is_relative_to(root):
            raise ValueError(
                f"the symbolic link {str(path)!r} leads out of the folder, to {str(path.resolve())!r}; "
                "remove it, or allow such links with follow_links=True"
            )
        if entry.is_dir():
            yield from _files_below(path, root, follow_links, (*above, here))
        elif entry.is_file() or entry.is_symlink():  # a broken link is told when it is read
            yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, hidden things left out."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]


def _natural(path: Path, folder: Path) -> list[tuple[list[tuple[int, int | str]], str]]:
    """A sort key under which img2 comes before img10, and the files of a folder stay together."""
    key = []
    for part in path.relative_to(folder).parts:
        pieces = [piece for piece in re.split(r"([0-9]+)", part.casefold()) if piece]
        key.append(([(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces], part))
    return key


def _names(images: Sequence[Path], folder: Path) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in images)


def _endings(extensions: Sequence[str] | None) -> tuple[str, ...]:
    if extensions is None:
        return EXTENSIONS
    given = [extensions] if isinstance(extensions, str) else extensions
    return tuple(f".{ending.lower().removeprefix('.')}" for ending in given)


def _what_lies_there(folder: Path, files: Sequence[Path], endings: tuple[str, ...]) -> str:
    if not files:
        inside = sum(path.is_dir() for path in folder.iterdir())
        what = f"it holds {inside} empty folder{'s' * (inside > 1)}" if inside else "it is empty"
        return f"{what}. Point at a folder of images, or at a folder with one folder of images per class"
    kinds = sorted({path.suffix.lower() or path.name for path in files})
    shown = ", ".join(kinds[:6]) + (", ..." if len(kinds) > 6 else "")
    return f"found {len(files)} files of other kinds ({shown}); looked for {', '.join(endings)}"


def _refuse_mixed(folder: Path, images: Sequence[Path], inside: Sequence[Path]) -> None:
    loose = [path.name for path in images if path.parent == folder]
    beside = f"while {len(inside)} lie in folders" if inside else "and none in a folder"
    raise ValueError(
        f"{len(loose)} images lie directly in {str(folder)!r}, e.g. {loose[0]!r}, {beside}, so their class "
        "is unclear; move them into class folders, or read all without labels by labelled=False"
    )


def _warn_of_empty_classes(folder: Path, labels: set[str]) -> None:
    classes = [entry.name for entry in _entries(folder) if entry.is_dir()]
    empty = sorted(set(classes) - labels)
    if empty:
        shown = ", ".join(repr(name) for name in empty[:8]) + (", ..." if len(empty) > 8 else "")
        warnings.warn(
            f"{len(empty)} class folder(s) of {str(folder)!r} hold no image and are left out: {shown}",
            UserWarning,
            stacklevel=4,
        )
