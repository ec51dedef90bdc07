"""What a gallery's folder remembers of its images, and how they are found again."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmlviz.images import ImageSet
from dmlviz.images.readers import FileReader

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 3


@dataclass(frozen=True, eq=False)
class ImageTable:
    """What a gallery's folder remembers of its images.

    Attributes:
        names: one per image.
        labels: one per image; None for images without labels.
        files: where each image's file lies; None where the images were not files.
        files_from_here: the same from the gallery's folder; None for a file on another drive.
        columns: gives the further columns of the image set's table, None where there are none. ValueError where they
            were changed.
    """

    names: tuple[str, ...]
    labels: Sequence[str] | None
    files: Sequence[str] | None
    files_from_here: Sequence[str | None] | None
    columns: "Callable[[], pd.DataFrame | None]"

    def __len__(self) -> int:
        return len(self.names)


def table_of_json(said: dict[str, Any]) -> ImageTable:
    """The table as formats 1 to 3 noted it.

    Raises:
        ValueError: something lacks or is of another kind.
    """
    try:
        names, labels, columns = said["names"], said["labels"], said["columns"]
        files, from_here = said["files"], said["files_from_here"]
        texts = [
            (names, False),
            *((one, True) for one in (labels, files, from_here) if one is not None),
        ]
        fits = all(isinstance(one, list) and len(one) == len(names) for one, _ in texts)
        fits = fits and all(
            isinstance(text, str) for one in (names, labels or [], files or []) for text in one
        )
        fits = fits and all(isinstance(text, str | None) for text in from_here or [])
        fits = fits and (files is None) == (from_here is None)
        fits = fits and all(isinstance(one, list) and len(one) == len(names) for one in columns.values())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it lacks {error}") from error
    if not fits:
        raise ValueError("its columns are of different lengths, or hold something else than texts")
    return ImageTable(tuple(names), labels, files, from_here, lambda: _frame(columns, len(names)))


def _frame(columns: dict[str, list[Any]], count: int) -> "pd.DataFrame | None":
    import pandas as pd

    return pd.DataFrame(columns, index=range(count)) if columns else None


def images_of(stored: ImageTable, gallery: Path, which: str = "images") -> ImageSet:
    """The image set as it was, from the files where it was made of files.

    Args:
        stored: what was noted of them.
        gallery: the gallery's folder.
        which: "images" or "queries", for messages.

    Raises:
        FileNotFoundError: the images were not files, or the files are gone.
        ValueError: the further columns were changed.

    Warns:
        UserWarning: some of the files are gone.
    """
    names = stored.names
    if stored.files is None or stored.files_from_here is None:
        raise FileNotFoundError(
            f"the {which} of {gallery} were not files, so they cannot be found again from here; "
            f"give the image set that it was built from: Gallery.open(path, embedder, {which}=...)"
        )
    files = [Path(file) for file in stored.files]
    missing = [i for i, file in enumerate(files) if not _is_file(file)]
    if missing:
        moved = [None if file is None else gallery.absolute() / file for file in stored.files_from_here]
        for i in missing:
            other = moved[i]
            if other is not None and _is_file(other):
                files[i] = other
        missing = [i for i in missing if not _is_file(files[i])]
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
    return ImageSet(FileReader(tuple(files), names), names, stored.labels, stored.columns())


def _is_file(path: Path) -> bool:
    """Whether a file lies there; none does under a name that the file system refuses, a too long one for instance."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
