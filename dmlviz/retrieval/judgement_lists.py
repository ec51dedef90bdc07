"""The lists behind `Judgements`: checked, and read from the layouts in which they are published."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

CLASSIC = ("good", "ok", "junk")
REVISITED = ("easy", "hard", "junk")
KNOWN = ("good", "ok", "easy", "hard", "junk")

Item = str | int
Box = tuple[float, float, float, float]


def checked_queries(lists: Any) -> dict[Item, dict[str, tuple[Item, ...]]]:
    """Lists of a known name, holding names or ids, each once.

    Raises:
        TypeError: no mapping, or something that is neither a name nor an id.
        ValueError: no query, an unknown list, or an image on two lists of a query.
    """
    if not isinstance(lists, Mapping):
        raise TypeError(f"judgements must map queries to their lists, got {type(lists).__name__}")
    if not lists:
        raise ValueError("there is no query in the judgements")
    return {_item(query, "a query"): dict(_checked_lists(query, named)) for query, named in lists.items()}


def _checked_lists(query: Any, named: Any) -> Iterator[tuple[str, tuple[Item, ...]]]:
    if not isinstance(named, Mapping):
        raise TypeError(
            f"the query {query!r} must have its lists by name, such as {{'easy': [...], 'hard': [...], "
            f"'junk': [...]}}; got {type(named).__name__}"
        )
    on: dict[Item, str] = {}
    for kind, items in named.items():
        if kind not in KNOWN:
            raise ValueError(f"the query {query!r} has a list {kind!r}; lists are called {', '.join(KNOWN)}")
        if isinstance(items, str | bytes | Mapping) or not hasattr(items, "__iter__"):
            raise TypeError(f"the list {kind!r} of the query {query!r} must hold names or ids, got {items!r}")
        checked = tuple(dict.fromkeys(_item(item, "an image") for item in items))
        for item in checked:
            if item in on:
                raise ValueError(
                    f"for the query {query!r} the image {item!r} is on two lists, {on[item]!r} and {kind!r}"
                )
            on[item] = kind
        yield kind, checked


def _item(value: Any, what: str) -> Item:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what} is judged by its name or its id, got {value!r}")
    return int(value)


def revisited_lists(
    held: dict[str, Any], source: str
) -> tuple[dict[Item, dict[str, tuple[Item, ...]]], dict[Item, Box]]:
    """What gnd_roxford5k.pkl holds, as JSON: lists in names of images, and the boxes of the queries.

    Raises:
        ValueError: another layout.
    """
    names, asking, entries = held.get("imlist"), held.get("qimlist"), held["gnd"]
    if not all(isinstance(part, list) for part in (names, asking, entries)) or len(entries) != len(asking):  # type: ignore[arg-type]
        raise ValueError(
            f"{source} must hold lists imlist, qimlist and gnd, the last two of one length; it holds "
            f"{', '.join(f'{key} ({type(value).__name__})' for key, value in held.items())}"
        )
    lists: dict[Any, Any] = {}
    boxes: dict[Item, Box] = {}
    for query, entry in zip(asking, entries, strict=True):  # type: ignore[arg-type]
        if not isinstance(query, str):
            raise ValueError(f"{source}: qimlist must hold names, got {query!r}")
        if not isinstance(entry, dict) or not all(isinstance(entry.get(kind), list) for kind in REVISITED):
            raise ValueError(
                f"{source}: the query {query!r} lacks one of the lists {', '.join(REVISITED)}; the classic ground "
                "truth is read by Judgements.from_oxford"
            )
        lists[query] = {kind: [_named(names, place, query) for place in entry[kind]] for kind in REVISITED}  # type: ignore[arg-type]
        if isinstance(entry.get("bbx"), list) and len(entry["bbx"]) == 4:
            left, top, right, bottom = map(float, entry["bbx"])
            boxes[query] = left, top, right, bottom
    if len(lists) != len(entries):
        raise ValueError(f"{source}: a query comes twice in qimlist")
    return checked_queries(lists), boxes


def _named(names: list[Any], place: Any, query: Any) -> Any:
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(names):
        raise ValueError(
            f"the query {query!r} judges image {place!r}; imlist has the places 0 to {len(names) - 1}"
        )
    return names[place]


def query_line(file: Path) -> tuple[str, Box]:
    """Picture and box of a file ..._query.txt.

    Raises:
        ValueError: another layout.
    """
    words = file.read_text(encoding="utf-8", errors="replace").split()
    try:
        name, left, top, right, bottom = words
        return name.removeprefix("oxc1_"), (float(left), float(top), float(right), float(bottom))
    except ValueError as error:
        raise ValueError(
            f"{file.name} must hold a picture's name and four numbers (left, top, right, bottom), got "
            f"{' '.join(words[:6])!r}"
        ) from error


def names_in(file: Path) -> tuple[str, ...]:
    """The names in a file, one per line.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.name} is missing beside the query file; each query comes with {', '.join(CLASSIC)}"
        )
    return tuple(file.read_text(encoding="utf-8", errors="replace").split())
