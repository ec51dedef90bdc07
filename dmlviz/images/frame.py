"""Data frames of three libraries: images whose paths stand in one, and tables on their way out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmlviz.images.folder import existing_folder

if TYPE_CHECKING:
    import pandas as pd

BACKENDS = ("pandas", "polars", "pyarrow")
"""The libraries whose frames the product gives."""

_LOOKED_FOR = 20  # if none of so many files is there, it is the folder that is wrong


def rows_of_frame(
    frame: Any, image: str, label: str | None, root: str | Path | None
) -> tuple[tuple[Path, ...], tuple[str, ...], list[Any] | None, "pd.DataFrame"]:
    """Paths, names, labels and the other columns of a frame; see `ImageSet.from_frame` for the rules."""
    frame = as_pandas(frame)
    _check_columns(frame, image, label)
    if len(frame) == 0:
        raise ValueError("expected at least one image, got a frame without rows")
    missing = frame[image].isna().to_numpy().nonzero()[0]
    if len(missing):
        raise ValueError(
            f"the column {image!r} has no path (None or NaN) in {len(missing)} of {len(frame)} rows, "
            f"first in row {missing[0]}; leave them out with frame.dropna(subset=[{image!r}])"
        )
    paths, names = _paths_and_names([str(value) for value in frame[image]], root)
    if not any(_is_there(path) for path in paths[:_LOOKED_FOR]):
        raise FileNotFoundError(
            f"none of the paths in the column {image!r} exists, from {str(paths[0])!r} on; "
            "give the folder that they start from as root=..."
        )
    labels = None if label is None else frame[label].tolist()
    others = frame.drop(columns=[image] if label is None else [image, label])
    clashing = {name: f"{name}_given" for name in ("name", "label") if name in others.columns}
    return paths, names, labels, others.rename(columns=clashing)


def as_pandas(frame: Any) -> "pd.DataFrame":
    """A frame of pandas, of polars or of Arrow (whatever narwhals knows and is in memory) as one of pandas.

    Raises:
        TypeError: It is none of these, or is not computed yet.
    """
    import pandas as pd

    if isinstance(frame, pd.DataFrame):
        return frame
    got = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
    expected = f"expected a pandas.DataFrame with one row per image, got {got.removeprefix('builtins.')}"
    import narwhals as nw

    try:
        known = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        lazy = "; collect() it first" if hasattr(frame, "collect") else ", or one of polars or Arrow"
        raise TypeError(expected + lazy) from error
    return pd.DataFrame({name: known[name].to_list() for name in known.columns})


def frame_for(frame: "pd.DataFrame", backend: str) -> Any:
    """A frame of pandas as one of the library that was asked for.

    Args:
        frame: of pandas.
        backend: "pandas" gives it as it is; "polars" a polars.DataFrame and "pyarrow" a pyarrow.Table, in which an
            index that has a name is the first column.

    Raises:
        ValueError: no such library is known here.
        ImportError: polars is not installed.

    Examples:
        >>> import pandas as pd
        >>> frame_for(pd.DataFrame({"a": [1, 2]}).rename_axis("id"), "pyarrow").to_pydict()
        {'id': [0, 1], 'a': [1, 2]}
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}; got {backend!r}")
    if backend == "pandas":
        return frame
    import narwhals as nw

    known = nw.from_native(frame.reset_index(drop=frame.index.name is None), eager_only=True)
    try:
        return known.to_polars() if backend == "polars" else known.to_arrow()
    except ImportError as error:
        raise ImportError(f"backend={backend!r} needs {backend}: pip install {backend}") from error


def _check_columns(frame: "pd.DataFrame", image: str, label: str | None) -> None:
    for role, column in (("image", image), ("label", label)):
        if column is not None and column not in frame.columns:
            there = ", ".join(map(str, frame.columns)) or "no columns at all"
            none = ", or label=None for a set without labels" if role == "label" else ""
            raise KeyError(
                f"the frame has no column {column!r} for {role}; it has: {there}. "
                f"Name it with {role}=...{none}"
            )


def _paths_and_names(written: list[str], root: str | Path | None) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    if root is None:
        return tuple(Path(path).expanduser() for path in written), tuple(
            Path(path).as_posix() for path in written
        )
    folder = existing_folder(root)
    inside = folder.resolve()
    paths, names = [], []
    for name in written:
        path = folder / name
        if not _lies_in(path, inside):
            raise ValueError(
                f"the path {name!r} leads out of root {str(root)!r}; leave root out if that is meant"
            )
        paths.append(path)
        names.append((path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix())
    return tuple(paths), tuple(names)


def _lies_in(path: Path, inside: Path) -> bool:
    try:
        return path.resolve().is_relative_to(inside)
    except (OSError, ValueError):  # not a usable path; reading will say so
        return True


def _is_there(path: Path) -> bool:
    """Whether a file lies there; none does under a name that the file system refuses, a too long one for instance."""
    try:
        return path.exists()
    except OSError:
        return False
