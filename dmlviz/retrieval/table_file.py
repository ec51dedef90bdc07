"""A table of images as one file of Arrow's, uncompressed, so that it can be mapped.

Columns: `name`; `label` where there are labels; `file` and `file_from_here` where the images are files; then those
of the image set's table. Which are which, and which types the latter had, stands in the schema's metadata under
"dmlviz"; a further column whose name is taken is called `..._given` in the file.

**Files of others.** Nothing is read but plain columns (numbers, truth values, times, texts), and only after Arrow
has looked at every offset and every text. What Arrow refuses, or does not fit, is refused in words.
"""

import json
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmlviz.retrieval.image_table import ImageTable
from dmlviz.retrieval.table_columns import arrow_texts, is_plain, texts_of, to_arrow, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dmlviz.images import ImageSet

_SAID = b"dmlviz"
_VERSION = 1
_ROWS = 2**16  # written at once
_LABEL, _FILES = ("label",), ("file", "file_from_here")


def write_table(path: Path, images: "ImageSet", gallery: Path) -> None:
    """Write what is known of a gallery's images.

    Args:
        path: the file.
        images: the images.
        gallery: the gallery's folder; files are noted by their full path and relative to this folder, so
            that both may be moved together.

    Raises:
        OSError: the disk is full, say.
    """
    import pyarrow as pa

    files = images.files
    columns = {"name": arrow_texts(images.names)}
    if images.labels is not None:
        columns["label"] = arrow_texts(images.labels.tolist())
    if files is not None:
        columns["file"] = arrow_texts([str(file) for file in files])
        columns["file_from_here"] = arrow_texts([_relative(file, gallery) for file in files])
    table = images.table.drop(columns=["name", "label"])
    further = []
    for n, given in enumerate(table.columns):
        values, was = to_arrow(table.iloc[:, n])
        columns[_free_name(str(given), columns)] = values
        further.append({"name": given if type(given) in (str, int) else str(given), "was": was})
    said = {
        "version": _VERSION,
        "labels": images.labels is not None,
        "files": files is not None,
        "columns": further,
    }
    # in ASCII, so that names that are no UTF-8 are held too
    schema = pa.schema(
        [(_utf8(name), column.type) for name, column in columns.items()],
        metadata={_SAID: json.dumps(said, ensure_ascii=True).encode("ascii")},
    )
    written = pa.Table.from_arrays(list(columns.values()), schema=schema)
    options = pa.ipc.IpcWriteOptions(compression=None, use_threads=False)
    with open(path, "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        writer.write_table(written, max_chunksize=_ROWS)


def _relative(file: Path, gallery: Path) -> str | None:
    try:
        return os.path.relpath(file, gallery.absolute())
    except ValueError:  # another drive
        return None


def _free_name(name: str, taken: dict[str, Any]) -> str:
    while name in taken:
        name += "_given"
    return name


def _utf8(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")


def read_table(path: Path, mapped: bool = False) -> ImageTable:
    """Read what `write_table` wrote.

    Args:
        path: the file.
        mapped: leave it on disk; names are read, and of the rest what is asked for.

    Raises:
        ValueError: it is no such file, or was changed; the message says what does not fit.
        OSError: it cannot be opened.
    """
    import pyarrow as pa

    with open(path, "rb") as file:
        if mapped and os.fstat(file.fileno()).st_size:
            content: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            content = file.read()
    return _checked(lambda: _table_of(pa.py_buffer(content)))


def _checked(read: Callable[[], Any]) -> Any:
    """What a function reads; whatever goes wrong with bytes that were changed becomes a ValueError."""
    import pyarrow as pa

    try:
        return read()
    except (
        *(pa.ArrowException, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError),
        *(NotImplementedError, MemoryError, RecursionError, OSError, RuntimeError),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it is no table of images, or was changed or cut short ({reason[:200]})") from error


def _table_of(content: "pa.Buffer") -> ImageTable:
    import pyarrow as pa

    reader = pa.ipc.open_file(content, options=pa.ipc.IpcReadOptions(use_threads=False))
    said = json.loads((reader.schema.metadata or {})[_SAID])
    if said["version"] != _VERSION:
        raise ValueError(f"its version is {said['version']!r}, this version of dmlviz reads {_VERSION}")
    odd = [field for field in reader.schema if not is_plain(field.type)]
    if odd:
        raise ValueError(f"the column {odd[0].name!r} holds {odd[0].type}")
    known = ("name", *(_LABEL if said["labels"] else ()), *(_FILES if said["files"] else ()))
    names, further = reader.schema.names, list(said["columns"])
    if tuple(names[: len(known)]) != known or len(names) != len(known) + len(further):
        raise ValueError(f"its columns are {', '.join(map(repr, names[:9]))}")
    table = reader.read_all()
    table.validate(full=True)
    parts = {name: table.column(n) for n, name in enumerate(known)}
    given = [(one["name"], one["was"], table.column(len(known) + n)) for n, one in enumerate(further)]
    if not all(isinstance(name, str | int) for name, _, _ in given):
        raise ValueError("the name of a column is neither a text nor a number")
    files = {
        name: texts_of(parts[name], missing=name == "file_from_here") for name in _FILES if name in parts
    }
    return ImageTable(
        names=tuple(texts_of(parts["name"])),
        labels=texts_of(parts["label"]) if "label" in parts else None,
        files=files.get("file"),
        files_from_here=files.get("file_from_here"),
        columns=lambda: _checked(lambda: _frame(given, table.num_rows)),
    )


def _frame(given: "Sequence[tuple[str | int, Any, pa.ChunkedArray]]", count: int) -> "pd.DataFrame | None":
    import pandas as pd

    if not given:
        return None
    frame = pd.DataFrame(
        {n: to_pandas(column, was) for n, (_, was, column) in enumerate(given)}, index=range(count)
    )
    frame.columns = [name for name, _, _ in given]
    return frame
