"""What a gallery's folder remembers of its images, and how they are found again."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.images.readers import FileReader

_NAMED = 3


def columns_of(images: ImageSet, gallery: Path) -> dict[str, Any]:
    """Names, labels, further columns and places of the files, as JSON can hold them.

    Args:
        images: the gallery's images.
        gallery: the gallery's folder; files are noted by their full path and relative to this folder, so
            that both may be moved together.
    """
    table = images.table.drop(columns=["name", "label"], errors="ignore")
    files = images.files
    return {
        "names": list(images.names),
        "labels": None if images.labels is None else [str(label) for label in images.labels],
        "columns": {str(name): [_plain(value) for value in table[name]] for name in table.columns},
        "files": None if files is None else [str(file) for file in files],
        "files_from_here": None if files is None else [_relative(file, gallery) for file in files],
    }


def images_of(stored: dict[str, Any], gallery: Path, which: str = "images") -> ImageSet:
    """The image set as it was, from the files where it was made of files.

    Args:
        stored: what `columns_of` noted.
        gallery: the gallery's folder.
        which: "images" or "queries", for messages.

    Raises:
        FileNotFoundError: the images were not files, or the files are gone.

    Warns:
        UserWarning: some of the files are gone.
    """
    import pandas as pd

    names, labels = tuple(stored["names"]), stored["labels"]
    if stored["files"] is None:
        raise FileNotFoundError(
            f"the {which} of {gallery} were not files, so they cannot be found again from here; "
            f"give the image set that it was built from: Gallery.open(path, embedder, {which}=...)"
        )
    files = [Path(file) for file in stored["files"]]
    missing = [i for i, file in enumerate(files) if not file.is_file()]
    if missing:
        moved = [None if file is None else gallery.absolute() / file for file in stored["files_from_here"]]
        for i in missing:
            other = moved[i]
            if other is not None and other.is_file():
                files[i] = other
        missing = [i for i in missing if not files[i].is_file()]
    if missing and len(missing) == len(files):
        raise FileNotFoundError(
            f"none of the {len(files)} image files of {gallery} is there any more (the first was {files[0]}); "
            f"if they were moved, give the image set: Gallery.open(path, embedder, {which}=...)"
        )
    if missing:
        shown = ", ".join(repr(names[i]) for i in missing[:_NAMED]) + (
            ", ..." if len(missing) > _NAMED else ""
        )
        warnings.warn(
            f"{len(missing)} of {len(files)} image files of {gallery} are gone: {shown}. They are still "
            "ranked, but cannot be shown or explained",
            stacklevel=6,
        )
    table = pd.DataFrame(stored["columns"], index=range(len(names))) if stored["columns"] else None
    return ImageSet(FileReader(tuple(files), names), names, labels, table)


def _relative(file: Path, gallery: Path) -> str | None:
    try:
        return os.path.relpath(file, gallery.absolute())
    except ValueError:  # another drive
        return None


def _plain(value: Any) -> Any:
    """A value of a table as JSON can hold it; what it cannot hold becomes text, what is missing null."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
