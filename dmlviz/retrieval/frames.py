"""Data frames on their way out: one call for the formats that other tools read."""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".json", ".parquet")
"""Endings of the files that `written` can write."""


def written(frame: "pd.DataFrame", path: str | os.PathLike[str]) -> Path:
    r"""Write a data frame to one file, whole or not at all; the ending of its name says in which format.

    An index that has a name becomes the first column. ".csv" has one line of names; ".json" is a list of records,
    with null where a number is missing or not finite; ".parquet" keeps the types.

    Args:
        frame: Such as `Ranking.to_frame`, `Gallery.per_query` and `Gallery.failures` give.
        path: Ends in .csv, .json or .parquet; an older file of that name is replaced.

    Returns:
        The path.

    Raises:
        TypeError: It is no data frame of pandas.
        ValueError: Another ending.
        FileNotFoundError: The folder does not exist.
        OSError: The disk is full, say; an older file stays.

    Examples:
        >>> import pandas as pd, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = written(pd.DataFrame({"a": [1, 2]}), pathlib.Path(folder) / "a.csv")
        ...     file.read_text()
        'a\n1\n2\n'
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"expected a pandas.DataFrame to write, got {type(frame).__name__}")
    target = checked_target(path)
    table = frame if frame.index.name is None else frame.reset_index()
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        if target.suffix.lower() == ".csv":
            table.to_csv(part, index=False)
        elif target.suffix.lower() == ".json":
            table.to_json(part, orient="records", double_precision=15, force_ascii=False)
        else:
            table.to_parquet(part, engine="pyarrow", index=False)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


def checked_target(path: str | os.PathLike[str]) -> Path:
    """Refuse, before any work is done, a file that `written` cannot write.

    Raises:
        ValueError, FileNotFoundError: As `written`.
    """
    target = Path(os.fsdecode(path))
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"a data frame is written as one of {', '.join(FORMATS)}; got {str(target)!r}")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(target.parent)!r} for {target.name!r}; make it first"
        )
    return target
