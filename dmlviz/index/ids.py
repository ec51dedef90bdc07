"""What the rows of an index are called: numbers 0, 1, 2, ... or any names that can be keys."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np


class Ids:
    """Which row is which; never changes after it was made.

    Args:
        of_slot: (S,) int64 or object, the id of each row in the order in which rows came.
        alive: (S,) bool, False for a row that was removed; None where none was.
        following: The number that the next row gets where none is given; behind all there are by default. Numbers of
            removed rows do not come again.
    """

    def __init__(self, of_slot: np.ndarray, alive: np.ndarray | None = None, following: int = 0) -> None:
        self.of_slot = of_slot
        self.alive = alive
        self.numbers = of_slot.dtype != object
        self.following = max(following, int(of_slot.max(initial=-1)) + 1) if self.numbers else 0
        self._plain = alive is None and self.numbers and bool((of_slot == np.arange(len(of_slot))).all())
        self._slots: dict[Hashable, int] | None = None

    @classmethod
    def of(cls, ids: Iterable[Hashable] | None, count: int) -> "Ids":
        """Ids for so many rows; 0, 1, 2, ... where none are given.

        Raises:
            TypeError: an id cannot be a key, or numbers and names are mixed.
            ValueError: not one id per row, or an id twice.
        """
        if ids is None:
            return cls(np.arange(count, dtype=np.int64))
        named = cls(_as_ids(ids, count))
        named._table()
        return named

    @classmethod
    def kept(cls, ids: list[Any] | None, removed: Sequence[int], following: int, count: int) -> "Ids":
        """Ids as a file kept them, of rows of which some were removed; another row may have a removed one's id.

        Raises:
            TypeError, ValueError: as `of`.
            IndexError: a row that was removed is none.
        """
        of_slot = np.arange(count, dtype=np.int64) if ids is None else _as_ids(ids, count)
        found = cls(of_slot, following=following)
        if removed:
            found = found.without(np.asarray(removed, dtype=np.int64))
        if ids is not None:
            found._table()  # large: not for numbers in a row, which are each there once
        return found

    def __len__(self) -> int:
        return len(self.of_slot) if self.alive is None else int(self.alive.sum())

    def __contains__(self, item: Any) -> bool:
        try:
            return item in self._table()
        except TypeError:
            return False

    def slot(self, item: Any) -> int:
        """The row with that id.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._table()[item]
        except (KeyError, TypeError):
            raise KeyError(f"there is no row with the id {item!r} in the index") from None

    def slots(self, items: Any) -> np.ndarray:
        """(n,) int64, the rows with those ids.

        Raises:
            KeyError: there is no such row.
        """
        wanted = self.as_array(items, "ids")
        if self._plain and wanted.dtype.kind in "iu":
            outside = (wanted < 0) | (wanted >= len(self.of_slot))
            if not outside.any():
                return wanted.astype(np.int64)
        return np.array([self.slot(item) for item in wanted.ravel().tolist()], dtype=np.int64)

    def as_array(self, items: Any, what: str) -> np.ndarray:
        """Ids as an array in the shape given. Where ids are names, a tuple in a list is one id, a list in it a row.

        Raises:
            ValueError: The rows are of different lengths.
        """
        if isinstance(items, np.ndarray):
            return items
        try:
            if self.numbers or isinstance(items, str | bytes) or not isinstance(items, Iterable):
                return np.asarray(items)
            listed = list(items)
            if listed and all(isinstance(row, list | np.ndarray) for row in listed):
                return np.stack([self.as_array(row, what) for row in listed])
        except ValueError as error:
            raise ValueError(f"{what} must be rows of one length; got rows of different lengths") from error
        made = np.empty(len(listed), dtype=object)
        for place, item in enumerate(listed):  # one by one: NumPy would take tuples apart
            made[place] = item
        return made

    def named(self, slots: np.ndarray) -> np.ndarray:
        """The ids of rows, in the shape of `slots`."""
        return slots if self._plain else self.of_slot[slots]

    @property
    def plain(self) -> bool:
        """Whether ids are 0, 1, 2, ... and none was removed, so that ids and rows are the same numbers."""
        return self._plain

    @property
    def order(self) -> np.ndarray | None:
        """(S,) what ties are ordered by: the number, or where the row came; None where rows come in that order."""
        if not self.numbers or bool((np.diff(self.of_slot) > 0).all()):
            return None
        return self.of_slot

    def with_rows(self, ids: Iterable[Hashable] | None, count: int) -> "Ids":
        """The same with rows behind them.

        Raises:
            TypeError: as `of`.
            ValueError: not one id per row; an id twice, or one that is there already; no ids for rows that have
                names so far.
        """
        if ids is None:
            if not self.numbers:
                raise ValueError("the rows of this index have names: give ids=, one for each new row")
            new: np.ndarray = np.arange(self.following, self.following + count, dtype=np.int64)
        else:
            new = _as_ids(ids, count)
        if len(self.of_slot) and len(new) and (new.dtype == object) == self.numbers:
            raise TypeError("the ids of an index are all whole numbers or all names, got both")
        known = self._table()
        twice = [item for item in new.tolist() if item in known]
        if twice:
            raise ValueError(
                f"the index holds rows with the ids {twice[:5]!r} already; use update() to replace them"
            )
        alive = None if self.alive is None else np.concatenate([self.alive, np.ones(count, dtype=bool)])
        of_slot = np.concatenate([self.of_slot, new]) if len(self.of_slot) else new
        made = Ids(of_slot, alive, self.following)
        made._table()
        return made

    def without(self, slots: np.ndarray) -> "Ids":
        """The same without some rows."""
        alive = np.ones(len(self.of_slot), dtype=bool) if self.alive is None else self.alive.copy()
        alive[slots] = False
        return Ids(self.of_slot, alive, self.following)

    def _table(self) -> dict[Hashable, int]:
        if self._slots is None:
            there = np.arange(len(self.of_slot)) if self.alive is None else np.flatnonzero(self.alive)
            table = dict(zip(self.of_slot[there].tolist(), there.tolist(), strict=True))
            if len(table) != len(there):
                seen: set[Hashable] = set()
                twice = [i for i in self.of_slot[there].tolist() if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
                raise ValueError(f"every row needs an id of its own; twice there are {twice[:5]!r}")
            self._slots = table
        return self._slots


def _as_ids(ids: Any, count: int) -> np.ndarray:
    """(count,) int64 where all are whole numbers, else object.

    Raises:
        TypeError: an id cannot be a key, or numbers and names are mixed.
        ValueError: another number of ids, or one beyond int64.
    """
    listed = _listed(ids)
    if len(listed) != count:
        raise ValueError(f"expected one id per row: {count} rows, got {len(listed)} ids")
    for item in listed:
        try:
            hash(item)
        except TypeError:
            raise TypeError(
                f"an id must be a key such as a number, a text or a tuple; got {item!r}"
            ) from None
    whole = [isinstance(item, int | np.integer) and not isinstance(item, bool | np.bool_) for item in listed]
    if all(whole):
        if any(not -(2**63) <= int(item) < 2**63 for item in listed):
            raise ValueError("whole numbers as ids must fit 64 bits; give larger ones as text")
        if any(int(item) < 0 for item in listed):
            raise ValueError("whole numbers as ids must not be negative")
        return np.array([int(item) for item in listed], dtype=np.int64)
    if any(whole):
        raise TypeError("the ids of an index are all whole numbers or all names, got both")
    named = np.empty(count, dtype=object)
    for place, item in enumerate(listed):  # one by one: NumPy would take tuples apart
        named[place] = item
    return named


def _listed(ids: Any) -> Sequence[Any]:
    if isinstance(ids, np.ndarray):
        found: list[Any] = ids.ravel().tolist()
        return found
    return list(ids)
