"""Reading the text lists that come with data sets: what they must hold, and which line does not."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dmlviz.images.folder import existing_folder

SHOWN = 5
"""How many of many are named in a message."""

_SHAPES = {
    "number": r"[0-9]{1,18}",
    "name": r"\S(?:.*\S)?",
    "word": r"\S+",
    "size": r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?",
}


def check_choice(what: str, given: Any, known: Sequence[str]) -> None:
    """Refuse a split or part that the data set does not have.

    Raises:
        ValueError: It is none of those known.
    """
    if given not in known:
        raise ValueError(f"unknown {what} {given!r}: expected one of {', '.join(map(repr, known))}")


def folder_with(root: str | Path, wanted: Iterable[str], usual: str) -> Path:
    """The folder of a data set, where it holds all that is wanted.

    Args:
        root: The folder.
        wanted: Names of files and folders that must lie in it.
        usual: What it is usually called.

    Raises:
        FileNotFoundError: There is no such folder, or something is missing; the message says what lies there.
    """
    folder = existing_folder(root)
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{str(root)!r} lacks {', '.join(missing)}; expected the folder as it was unpacked, usually called "
            f"{usual}; {what_it_holds(folder)}"
        )
    return folder


def what_it_holds(folder: Path) -> str:
    """'it holds a, b, ...', the first few entries of a folder."""
    there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"it holds {', '.join(there[:8]) or 'nothing'}{', ...' if len(there) > 8 else ''}"


def existing_file(path: Path, hint: str) -> Path:
    """The path, where a file lies there.

    Raises:
        FileNotFoundError: None does.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; {hint}")
    return path


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text that are not blank, stripped, with their numbers from 1.

    Raises:
        ValueError: The file is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{str(path)!r} is no text in UTF-8: byte {error.start} cannot be read; was it damaged?"
        ) from None
    if "\0" in text:
        raise ValueError(f"{str(path)!r} is no text: it holds a byte of value 0; was it damaged?")
    return [(n, line.strip()) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]


def columns(path: Path, kinds: str, heads: int = 0) -> list[tuple[str, ...]]:
    """The lines of a list whose columns are separated by blanks.

    Args:
        path: The list.
        kinds: What the columns hold: "number", "size" (a number with a point), "word" or "name" (may hold blanks).
        heads: How many lines that are not blank come before the list.

    Raises:
        ValueError: A line that does not hold that (by its number), or no line at all.
    """
    pattern = re.compile(r"\s+".join(f"({_SHAPES[kind]})" for kind in kinds.split()))
    found = []
    for n, line in numbered_lines(path)[heads:]:
        match = pattern.fullmatch(line)
        if match is None:
            raise ValueError(f"line {n} of {str(path)!r} must hold {kinds!r}, it is {shortened(line)!r}")
        found.append(match.groups())
    if not found:
        raise ValueError(f"{str(path)!r} is empty")
    return found


def shortened(line: str) -> str:
    """A line as a message shows it."""
    return line if len(line) <= 100 else line[:100] + "..."


def all_numbers(words: Sequence[str]) -> bool:
    """Whether there are words, and all are whole numbers of up to 18 digits."""
    return bool(words) and all(re.fullmatch(_SHAPES["number"], word) for word in words)


def refuse_twice(path: Path, values: Sequence[Any], what: str) -> None:
    """Refuse a list that names something twice.

    Raises:
        ValueError: It does.
    """
    if len(set(values)) < len(values):
        seen: set[Any] = set()
        first = next(value for value in values if value in seen or seen.add(value))  # type: ignore[func-returns-value]
        raise ValueError(
            f"{len(values) - len(set(values))} {what} come twice in {str(path)!r}, such as {first!r}"
        )
