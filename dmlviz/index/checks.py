"""What may enter the index: rows of finite numbers, checked before FAISS could stop the process."""

import operator
from typing import Any

import numpy as np

_NAMED = 5


def as_rows(values: Any, what: str) -> np.ndarray:
    """Bring anything that holds numbers into a NumPy array, without copying where it already is one.

    Args:
        values: array, nested sequence or torch-like tensor (on any device, with or without gradient).
        what: how the value is called in an error message.

    Returns:
        An array of a real or integer dtype, of the shape given.

    Raises:
        TypeError: the values are not numbers.
        ValueError: the rows are of different lengths.
    """
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a tensor, without importing torch
        values = values.detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()
        values = values.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} must be rows of one length; got rows of different lengths") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what} must be real numbers, got an array of dtype {array.dtype}; "
            "convert it with np.asarray(..., dtype=np.float32)"
        )
    return array


def as_float32(rows: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    """Turn rows into C-ordered float32, and refuse NaN and infinity by the ids of their rows.

    Args:
        rows: (N, D), any real dtype and memory order.
        what: how the value is called in an error message.
        first: id of the first row, for the message.

    Returns:
        (N, D) float32, C-contiguous; the same array where it already was that.

    Raises:
        ValueError: a row holds NaN, infinity or a number beyond float32.
    """
    if rows.dtype == np.float32:
        converted = np.ascontiguousarray(rows)
    else:
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(rows, dtype=np.float32)
    if np.isfinite(converted).all():
        return converted
    bad = first + np.flatnonzero(~np.isfinite(converted).all(axis=1))
    raise ValueError(
        f"{what} must be finite in float32; {named_rows(bad)} NaN, infinity or a number beyond 3.4e38. "
        "Look at the images or the network behind these rows, or leave them out"
    )


def named_rows(ids: np.ndarray) -> str:
    """Say which rows, the first few by id: 'row 3 holds', 'rows 3, 4, 5, ... (12 in all) hold'."""
    if len(ids) == 1:
        return f"row {ids[0]} holds"
    listed = ", ".join(str(i) for i in ids[:_NAMED])
    return f"rows {listed} hold" if len(ids) <= _NAMED else f"rows {listed}, ... ({len(ids)} in all) hold"


def as_count(k: Any) -> int:
    """Check a number of items asked for.

    Raises:
        TypeError: not a whole number.
        ValueError: smaller than 1.
    """
    if isinstance(k, (bool, np.bool_)):
        raise TypeError(f"k must be a whole number, got {k!r}")
    try:
        count = operator.index(k)
    except TypeError:
        raise TypeError(f"k must be a whole number, got {k!r} of type {type(k).__name__}") from None
    if count < 1:
        raise ValueError(f"k must be at least 1, got {count}")
    return count
