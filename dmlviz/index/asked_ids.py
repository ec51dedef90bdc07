"""Ids that a question names, turned into rows; checked in words, the same for every index."""

from typing import Any

import numpy as np

from dmlviz.index.ids import Ids


def slots_of(ids: Ids, items: Any, what: str) -> np.ndarray:
    """(n,) int64, the rows with those ids.

    Raises:
        TypeError: Ids that are no whole numbers, where the index has numbers.
        IndexError: An id is not in the index.
    """
    if ids.numbers:
        array = ids.as_array(items, what)
        if array.size == 0:
            return np.empty(0, dtype=np.int64)
        if array.dtype.kind not in "iu":
            raise TypeError(f"{what} must be whole numbers, got dtype {array.dtype}")
        if ids.plain:
            _check_between(array, 0, len(ids.of_slot), what)
            return array.astype(np.int64).ravel()
    try:
        return ids.slots(items)
    except KeyError as error:
        raise IndexError(f"{what}: {error.args[0]}") from None


def barred_of(ids: Ids, exclude: Any, count: int) -> np.ndarray | None:
    """(Q,) int64, the row that each of so many queries must not find, -1 for none; None where nothing is excluded.

    Raises:
        TypeError, IndexError: As `slots_of`.
        ValueError: Not one id per query.
    """
    if exclude is None:
        return None
    left_out = np.atleast_1d(ids.as_array(exclude, "exclude"))
    if left_out.shape != (count,):
        raise ValueError(f"exclude must hold one id per query, shape ({count},), got {left_out.shape}")
    if ids.numbers and left_out.dtype.kind not in "iu" and left_out.size:
        raise TypeError(f"exclude must be whole numbers, got dtype {left_out.dtype}")
    if ids.plain:
        _check_between(left_out, -1, len(ids.of_slot), "exclude")
    some = left_out != -1 if ids.numbers else np.array([item is not None for item in left_out], dtype=bool)
    found = np.full(count, -1, dtype=np.int64)
    found[some] = slots_of(ids, left_out[some], "exclude")
    return found


def allowed_of(ids: Ids, among: Any) -> np.ndarray | None:
    """(S,) bool, the rows that may be found; None for all.

    Raises:
        TypeError, IndexError: As `slots_of`.
    """
    if among is None:
        return ids.alive
    allowed = np.zeros(len(ids.of_slot), dtype=bool)
    allowed[slots_of(ids, among, "among")] = True
    return allowed


def _check_between(items: np.ndarray, lowest: int, rows: int, what: str) -> None:
    wrong = (items < lowest) | (items >= rows)
    if wrong.any():
        odd = items[wrong].flat[0]
        raise IndexError(
            f"{what} must lie between {lowest} and {rows - 1}, got {odd} ({what}: there is no row with the id {odd})"
        )
