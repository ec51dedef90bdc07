"""Columns of a table as Arrow holds them, and back with the types that they had."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_WITH_NOTHING = (
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float32", "Float64", "boolean"),
)
"""Types of pandas that are those of NumPy, and missing values."""


class Texts(Sequence[Any]):
    """The texts of a column, or None where one is missing; each is read from the column when it is asked for."""

    def __init__(self, column: "pa.ChunkedArray") -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, i: int) -> str | None: ...

    @overload
    def __getitem__(self, i: slice) -> Sequence[str | None]: ...

    def __getitem__(self, i: int | slice) -> str | Sequence[str | None] | None:
        return Texts(self._column[i]) if isinstance(i, slice) else _text(self._column[i].as_py())

    def __iter__(self) -> Iterator[str | None]:
        for chunk in self._column.chunks:
            yield from map(_text, chunk.to_pylist())


def _text(value: str | bytes | None) -> str | None:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def arrow_texts(values: Sequence[str | None]) -> "pa.Array":
    """Texts as Arrow has them; as bytes where one is no text for Arrow (a file's name that is no UTF-8)."""
    import pyarrow as pa

    try:
        return pa.array(values, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        coded = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
        return pa.array(coded, pa.large_binary())


def texts_of(column: "pa.ChunkedArray", missing: bool = False) -> Texts:
    """The texts of a column.

    Args:
        column: from a file that someone may have changed.
        missing: whether a text may be missing.

    Raises:
        ValueError: it holds no texts, or one is missing.
    """
    if not _holds_texts(column.type):
        raise ValueError(f"a column of texts holds {column.type}")
    if column.null_count and not missing:
        raise ValueError(f"{column.null_count} texts are missing")
    return Texts(column)


def _holds_texts(kind: "pa.DataType") -> bool:
    import pyarrow.types as is_a

    return any(
        one(kind) for one in (is_a.is_string, is_a.is_large_string, is_a.is_binary, is_a.is_large_binary)
    )


def is_plain(kind: "pa.DataType") -> bool:
    """Whether a type is one that is written here: no dictionary, no extension, nothing nested."""
    import pyarrow.types as is_a

    numbers = (is_a.is_boolean, is_a.is_integer, is_a.is_floating)
    return _holds_texts(kind) or any(one(kind) for one in (*numbers, is_a.is_timestamp, is_a.is_duration))


def to_arrow(series: "pd.Series") -> tuple["pa.Array", Any]:
    """A column as Arrow has it.

    Numbers, truth values, times and texts keep their types. What Arrow has no such type for (objects of several
    kinds, lists) becomes JSON, value by value; what JSON cannot hold becomes text.

    Returns:
        The values, and what they were: see `to_pandas`.
    """
    import pandas as pd
    import pyarrow as pa

    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM":
        values = series.to_numpy()
        if dtype.kind == "f" and dtype.itemsize > 8:
            values = values.astype(np.float64)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return pa.array(values), "times" if dtype.kind in "mM" else "numbers"
    if isinstance(dtype, pd.DatetimeTZDtype):
        try:
            return pa.array(series), "times"
        except pa.ArrowException:  # a time zone that Arrow cannot name
            return _as_json(series)
    if dtype.name in _WITH_NOTHING:
        return pa.array(_listed(series), pa.from_numpy_dtype(dtype.numpy_dtype)), dtype.name
    if isinstance(dtype, pd.StringDtype):
        return arrow_texts(_listed(series)), "string" if dtype.na_value is pd.NA else "texts"
    if isinstance(dtype, pd.CategoricalDtype):
        kinds = dtype.categories.tolist()
        if all(isinstance(one, str) for one in kinds):
            said = {"categories": kinds, "ordered": bool(dtype.ordered)}
            return arrow_texts(_listed(series)), said
    values = _listed(series)
    if isinstance(dtype, np.dtype) and all(value is None or isinstance(value, str) for value in values):
        return arrow_texts(values), "objects"
    return _as_json(series)


def _as_json(series: "pd.Series") -> tuple["pa.Array", str]:
    written = [
        None if value is None else json.dumps(_plain(value), ensure_ascii=True, allow_nan=False)
        for value in _listed(series)
    ]
    return arrow_texts(written), "JSON"


def _listed(series: "pd.Series") -> list[Any]:
    """The values as Python has them, None where one is missing."""
    missing = series.isna().to_numpy()
    return [None if gone else value for value, gone in zip(series.tolist(), missing, strict=True)]


def _plain(value: Any) -> Any:
    """A value of a table as JSON can hold it; what it cannot hold becomes text, what is missing null."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)


def to_pandas(column: "pa.ChunkedArray", was: Any) -> Any:
    """A column of a data frame with the type that it had.

    Args:
        column: from a file that someone may have changed.
        was: "numbers", "times", "objects" (texts as objects), "texts" (of the type that pandas gives texts),
            "string", the name of a type with missing values such as "Int64", the categories of texts, or "JSON".

    Raises:
        ValueError, TypeError, KeyError, RecursionError: the two do not fit.
    """
    import pandas as pd
    import pyarrow.types as is_a

    kind = column.type
    if isinstance(was, dict):
        kinds = was["categories"]
        if not isinstance(kinds, list) or not all(isinstance(one, str) for one in kinds):
            raise ValueError("categories are not texts")
        values = list(texts_of(column, True))
        unknown = set(values) - {None, *kinds}
        if unknown:
            raise ValueError(f"{min(unknown, key=str)!r} is none of the categories")
        return pd.Categorical(values, categories=kinds, ordered=bool(was["ordered"]))
    if was == "numbers" and (is_a.is_boolean(kind) or is_a.is_integer(kind) or is_a.is_floating(kind)):
        if column.null_count:
            raise ValueError(f"{column.null_count} numbers are missing")
        return column.to_numpy()
    if was == "times" and (is_a.is_timestamp(kind) or is_a.is_duration(kind)):
        return column.to_pandas(use_threads=False).array
    if was in _WITH_NOTHING and (is_a.is_boolean(kind) or is_a.is_integer(kind) or is_a.is_floating(kind)):
        return pd.array(column.to_pylist(), dtype=was)
    if was == "JSON":
        values = [None if text is None else json.loads(text) for text in texts_of(column, True)]
        return pd.Series(values, dtype=object)
    kinds_of_text: dict[Any, Callable[[], Any]] = {
        "objects": lambda: object,
        "texts": lambda: pd.Series([""]).dtype,
        "string": lambda: "string",
    }
    if was in kinds_of_text:
        return pd.Series(list(texts_of(column, True)), dtype=kinds_of_text[was]())
    raise ValueError(f"a column of {kind} is said to be {was!r}")
