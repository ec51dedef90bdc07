"""`Judgements`: which images are right for a query, and which are neither right nor wrong, as lists say."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.judgement_lists import (
    CLASSIC,
    KNOWN,
    Box,
    Item,
    checked_queries,
    names_in,
    query_line,
    revisited_lists,
)

_ENDINGS = frozenset({"jpg", "jpeg", "png", "ppm", "webp", "tif", "tiff", "bmp"})
_PICKLE = (
    "a pickle can run any program when it is opened, so it is not read here. If you trust where it comes from, turn "
    "it into JSON yourself:\n"
    "    gnd = pickle.loads(Path('gnd_roxford5k.pkl').read_bytes())\n"
    "    Path('gnd_roxford5k.json').write_text(json.dumps(gnd, default=lambda array: array.tolist()))\n"
    "and give that file"
)


@dataclass(frozen=True, eq=False)
class Judgements:
    """Lists of images per query, as Oxford5k, Paris6k and their revisited forms come with.

    A query or an image is a name in its image set, or an id (a position). A name need not be whole: without the
    folder and the ending it is enough where only one image is called so.

    Made by `from_mapping`, `from_json` or `from_oxford`.

    Attributes:
        lists: query -> name of a list ("good", "ok", "junk" of the classic lists; "easy", "hard", "junk" of the
            revisited ones) -> names or ids of images; read-only.
        pictures: query -> name of the picture in which it was marked, where it is known; read-only.
        boxes: query -> (left, top, right, bottom) in pixels of that picture, the region that asks, where it is
            known; read-only.
        source: where they come from, for messages.
    """

    lists: Mapping[Item, Mapping[str, tuple[Item, ...]]]
    pictures: Mapping[Item, str]
    boxes: Mapping[Item, Box]
    source: str = "a mapping"

    def __len__(self) -> int:
        return len(self.lists)

    def __repr__(self) -> str:
        return f"Judgements of {len(self)} queries, lists {', '.join(self.kinds)}, from {self.source}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the lists that there are."""
        there = {kind for lists in self.lists.values() for kind in lists}
        return tuple(kind for kind in KNOWN if kind in there)

    # --- read -----------------------------------------------------------------------------------------

    @classmethod
    def from_mapping(
        cls, lists: Mapping[Any, Mapping[str, Sequence[Any]]], source: str = "a mapping"
    ) -> "Judgements":
        """Lists that are already there.

        Args:
            lists: query (name or id) -> name of a list -> names or ids of images.
            source: where they come from, for messages.

        Raises:
            ValueError: no query, an unknown list, or an image on two lists of one query.
            TypeError: something that is no mapping, or a name or id that is none.

        Example:
            >>> Judgements.from_mapping({0: {"easy": [3, 4], "hard": [7], "junk": []}})
            Judgements of 1 queries, lists easy, hard, junk, from a mapping
        """
        return _judgements(checked_queries(lists), source)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "Judgements":
        """Lists from a JSON file.

        Either `{query: {"easy": [names], "hard": [...], "junk": [...]}, ...}`, or what the revisited data sets' own
        file holds: `imlist` and `qimlist` (names) and `gnd`, one entry per query with `easy`, `hard`, `junk`
        (positions in imlist) and `bbx`. Their file is a pickle, which is refused; these lines, run by whoever
        trusts it, turn it into JSON:

            gnd = pickle.loads(Path("gnd_roxford5k.pkl").read_bytes())
            Path("gnd_roxford5k.json").write_text(json.dumps(gnd, default=lambda array: array.tolist()))

        Args:
            path: the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a pickle, no JSON, or JSON of another layout; else as `from_mapping`.
        """
        path = Path(path)
        raw = path.read_bytes()
        if path.suffix.lower() in (".pkl", ".pickle") or raw[:1] == b"\x80":
            raise ValueError(f"{path.name} is a pickle; {_PICKLE}")
        try:
            held = json.loads(raw.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path.name} is no JSON: {error}") from error
        if not isinstance(held, dict):
            raise ValueError(
                f"{path.name} must hold an object with one entry per query, got {type(held).__name__}"
            )
        if "gnd" in held:
            lists, boxes = revisited_lists(held, path.name)
            return _judgements(lists, path.name, boxes=boxes)
        return cls.from_mapping(held, path.name)

    @classmethod
    def from_oxford(cls, folder: str | os.PathLike[str]) -> "Judgements":
        """The classic lists of Oxford5k or Paris6k: all_souls_1_query.txt, ..._good.txt, ..._ok.txt, ..._junk.txt.

        A query is called as its files are ("all_souls_1"); its picture and its box are what the query file says
        (the prefix "oxc1_" of Oxford's is taken off).

        Args:
            folder: where the files lie.

        Raises:
            FileNotFoundError: there is no such folder, no query in it, or a list of a query is missing.
            ValueError: a query file of another layout; else as `from_mapping`.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        lists: dict[str, dict[str, tuple[str, ...]]] = {}
        pictures: dict[Item, str] = {}
        boxes: dict[Item, Box] = {}
        for file in sorted(folder.glob("*_query.txt")):
            query = file.name.removesuffix("_query.txt")
            pictures[query], boxes[query] = query_line(file)
            lists[query] = {kind: names_in(folder / f"{query}_{kind}.txt") for kind in CLASSIC}
        if not lists:
            raise FileNotFoundError(
                f"{folder} holds no file called ..._query.txt; give the folder into which the ground truth of "
                "Oxford5k or Paris6k was unpacked"
            )
        return _judgements(checked_queries(lists), folder.name, pictures, boxes)

    # --- applied --------------------------------------------------------------------------------------

    def within(self, images: ImageSet) -> "Judgements":
        """These lists without the images that are not in an image set (Paris6k lacks 20 that cannot be read).

        Args:
            images: the image set that will be ranked.
        """
        find = _Finder(images, "images")
        kept = {
            query: {
                kind: tuple(item for item in items if find.id_of(item) is not None)
                for kind, items in lists.items()
            }
            for query, lists in self.lists.items()
        }
        return _judgements(kept, self.source, self.pictures, self.boxes)

    def ids(self, queries: ImageSet, images: ImageSet) -> dict[int, dict[str, np.ndarray]]:
        """The lists in ids.

        Args:
            queries: the images that ask. A query is found by its name, or by that of its picture.
            images: the images that are ranked.

        Returns:
            Id of a query -> name of a list -> (n,) int64, ids of images, ascending; in the order of the ids.

        Raises:
            ValueError: a query or an image that is not there, or a name that several share; two queries that are
                one image.
        """
        ask, find = _Finder(queries, "queries"), _Finder(images, "images")
        unknown = [query for query in self.lists if self._query_id(ask, query) is None]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of the {len(self)} judged queries are not among the {len(queries)} queries of the "
                f"gallery, the first is {unknown[0]!r}; name the queries as the judgements do, or judge by ids"
            )
        lost = {
            item: None
            for lists in self.lists.values()
            for items in lists.values()
            for item in items
            if find.id_of(item) is None
        }
        if lost:
            raise ValueError(
                f"{len(lost)} of the judged images are not among the {len(images)} images of the gallery, the first "
                f"is {next(iter(lost))!r}; if they are meant to be missing, give judgements.within(gallery.images)"
            )
        found: dict[int, dict[str, np.ndarray]] = {}
        for query, lists in self.lists.items():
            number = self._query_id(ask, query)
            if number in found:
                raise ValueError(
                    f"two judged queries are one image: {queries.names[number]!r} is asked twice"
                )
            found[number] = {  # type: ignore[index]
                kind: np.unique(np.array([find.id_of(item) for item in items], dtype=np.int64))
                for kind, items in lists.items()
            }
        return dict(sorted(found.items()))

    def _query_id(self, ask: "_Finder", query: Item) -> int | None:
        if query in self.pictures and not ask.has(query):  # "all_souls_1" is no picture without its ending
            number = ask.id_of(self.pictures[query])
            if number is not None:
                return number
        return ask.id_of(query)


class _Finder:
    """Ids of images by name, with or without folder and ending."""

    def __init__(self, images: ImageSet, what: str) -> None:
        self._count = len(images)
        self._what = what
        self._whole = _places(images.names)
        self._stems = _places([_stem(name) for name in images.names])

    def has(self, item: Item) -> bool:
        """Whether an image is called so, folder and ending included."""
        return item in self._whole

    def id_of(self, item: Item) -> int | None:
        """The id, or None where there is no such image.

        Raises:
            ValueError: several are called so.
        """
        if isinstance(item, int):
            return item if 0 <= item < self._count else None
        places = self._whole.get(item) or ([] if "/" in item else self._stems.get(_stem(item), []))
        if len(places) > 1:
            raise ValueError(
                f"{len(places)} of the {self._what} are called {item!r}, ids {places[0]} and {places[1]} among them; "
                "judge by ids instead"
            )
        return places[0] if places else None


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    return places


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    front, _, ending = last.rpartition(".")
    return front if front and ending.lower() in _ENDINGS else last


def _judgements(
    lists: Mapping[Item, Mapping[str, tuple[Item, ...]]],
    source: str,
    pictures: Mapping[Item, str] = MappingProxyType({}),
    boxes: Mapping[Item, Box] = MappingProxyType({}),
) -> Judgements:
    frozen = {query: MappingProxyType(dict(named)) for query, named in lists.items()}
    return Judgements(
        MappingProxyType(frozen), MappingProxyType(dict(pictures)), MappingProxyType(dict(boxes)), source
    )
