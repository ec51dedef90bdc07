"""`ImageSet`: pictures in a fixed order, with names, labels and whatever else is known of them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.images import readers
from dmlviz.images.from_layouts import FromLayouts
from dmlviz.images.reading import as_rgb

if TYPE_CHECKING:
    import pandas as pd


class ImageSet(FromLayouts):
    """Images in a fixed order; an image's id is its position.

    Made by one of the `from_...` constructors, or from a function that knows how to read image i.
    Images are read when asked for, never held. A set made from a folder, a frame or arrays can be sent to
    another process, so that loader workers read in parallel.

    Args:
        read: called with an id 0..N-1, returns that image as (H, W, 3) uint8 (or (H, W) uint8, grey).
            Raises `ImageReadError` for an image that cannot be read.
        names: one name per image; kept as they are, whatever characters they hold.
        labels: one class label per image, turned into text; or None where nothing is known of classes.
        table: what else is known, one row per image; its own columns called name or label are replaced.

    Raises:
        ValueError: if labels or table are not as many as names, or a label is missing.

    Examples:
        >>> import numpy as np
        >>> images = ImageSet.from_arrays(np.zeros((3, 8, 8, 3), np.uint8), labels=["a", "a", "b"])
        >>> len(images), images[0].shape, images.labels.tolist()
        (3, (8, 8, 3), ['a', 'a', 'b'])
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        names: Sequence[str],
        labels: Sequence[Any] | np.ndarray | None = None,
        table: "pd.DataFrame | None" = None,
    ) -> None:
        self._read = read
        self._names = tuple(str(name) for name in names)
        self._labels = None if labels is None else _labels_as_text(labels, len(self._names))
        self._extra = None if table is None else _extra_columns(table, len(self._names))

    # --- where images come from -----------------------------------------------------------------

    @classmethod
    def from_folder(
        cls,
        root: str | Path,
        *,
        labelled: bool | None = None,
        extensions: Sequence[str] | None = None,
        follow_links: bool = False,
    ) -> "ImageSet":
        """All images under a folder, in natural order (img2 before img10).

        With one folder per class, the name of the first folder below `root` is the label, however deep
        the image lies. A folder of images without subfolders gives a set without labels.

        Args:
            root: the folder. Names are paths relative to it, with forward slashes.
            labelled: True: folders are classes; False: no labels, whatever the folders; None (default):
                folders are classes if the images lie in folders.
            extensions: file name endings that count as images; by default the usual ones
                (`dmlviz.images.folder.EXTENSIONS`). Hidden files and folders are left out.
            follow_links: allow symbolic links that lead out of `root`. They are refused by default.

        Raises:
            FileNotFoundError: if there is no such folder.
            NotADirectoryError: if it is a file.
            ValueError: if no image lies in it, if images lie both beside and inside class folders, or
                if a symbolic link leads out of it.

        Warns:
            UserWarning: for class folders that hold no image; they are left out.
        """
        from dmlviz.images.folder import find_images

        paths, names, labels = find_images(
            root, labelled=labelled, extensions=extensions, follow_links=follow_links
        )
        return ImageSet(readers.FileReader(paths, names), names, labels)

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[np.ndarray] | np.ndarray,
        labels: Sequence[Any] | np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> "ImageSet":
        """Images in memory; kept by reference, not copied.

        Args:
            arrays: list of (H, W, 3) or (H, W) uint8 arrays, sizes may differ; or one (N, H, W, 3) array.
            labels: one per image, or None.
            names: one per image; "image 0", "image 1", ... by default.

        Raises:
            TypeError: for values that are not uint8.
            ValueError: for another shape, for no image at all, or for labels or names of another length.
        """
        from dmlviz.images.arrays import checked_arrays

        kept = checked_arrays(arrays)
        if names is not None and len(names) != len(kept):
            raise ValueError(f"expected one name per image: {len(kept)} images, got {len(names)} names")
        names = [f"image {i}" for i in range(len(kept))] if names is None else names
        return ImageSet(readers.ArrayReader(kept), names, labels)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        image: str = "path",
        label: str | None = "label",
        root: str | Path | None = None,
    ) -> "ImageSet":
        """Images whose paths are in a data frame; its other columns are kept in `.table`.

        Args:
            frame: one row per image, in the order of the ids: a pandas.DataFrame, or a frame of polars or Arrow.
            image: the column that holds the paths.
            label: the column that holds the labels; None for a set without labels.
            root: folder that relative paths start from; the current folder by default. With a root, no
                path may lead out of it.

        Raises:
            TypeError: if frame is none of these.
            KeyError: if a column is missing; the message lists those there are.
            ValueError: if the frame has no rows, a path or a label is missing (NaN), or a path leads out
                of root.
            FileNotFoundError: if root, or every one of the first files, does not exist.
        """
        from dmlviz.images.frame import rows_of_frame

        paths, names, labels, table = rows_of_frame(frame, image, label, root)
        return ImageSet(readers.FileReader(paths, names), names, labels, table)

    @classmethod
    def from_torchvision(
        cls,
        dataset: Any,
        labels: Sequence[Any] | np.ndarray | None = None,
        names: Sequence[str] | None = None,
    ) -> "ImageSet":
        """A map-style dataset that yields (picture, target), such as those of torchvision.

        Labels are read from `dataset.targets` where there is one, otherwise every item is asked once for
        its target, which decodes every image: give `labels` to avoid that. Whole numbers become names by
        `dataset.classes`.

        Args:
            dataset: any object with `len(dataset)` and `dataset[i] -> (picture, target)`, where picture is
                a Pillow image or a (H, W, 3) uint8 array: build it without `transform`.
            labels: one per image, instead of the dataset's targets.
            names: one per image; by default the file names that an ImageFolder knows, else the position.

        Raises:
            TypeError: if it has no length, or its pictures are tensors.
            ValueError: if it is empty, or a target cannot be a label.
        """
        from dmlviz.images.datasets import torchvision_items

        names, labels = torchvision_items(dataset, labels, names)
        return ImageSet(readers.DatasetReader(dataset, tuple(names), 0), names, labels)

    @classmethod
    def from_huggingface(
        cls,
        dataset: Any,
        image: str = "image",
        label: str | None = "label",
        names: Sequence[str] | None = None,
    ) -> "ImageSet":
        """One split of a Hugging Face `datasets.Dataset`.

        Args:
            dataset: the split, e.g. `load_dataset("cifar10")["test"]`.
            image: the column of pictures.
            label: the column of labels (class names are used where the dataset knows them); None for none.
            names: one per image; the position by default.

        Raises:
            TypeError: for a dict of splits or a streaming dataset.
            KeyError: if a column is missing; the message lists those there are.
            ValueError: if it is empty or a label is missing.
        """
        from dmlviz.images.datasets import huggingface_items

        names, labels = huggingface_items(dataset, image, label, names)
        return ImageSet(readers.DatasetReader(dataset, tuple(names), image), names, labels)

    # --- what is known of them --------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """One name per image, in id order."""
        return self._names

    @property
    def labels(self) -> np.ndarray | None:
        """Class labels (N,), text, read-only; None for a set without labels."""
        return self._labels

    @property
    def table(self) -> "pd.DataFrame":
        """One row per image: index = id; columns name, label (None in a set without labels), then the rest.

        A fresh frame at each call: what is written to it does not reach the set.
        """
        import pandas as pd

        index = pd.RangeIndex(len(self), name="id")
        frame = pd.DataFrame({"name": pd.Series(self._names, index=index, dtype=object)}, index=index)
        labels = [None] * len(self) if self._labels is None else self._labels.tolist()
        frame["label"] = pd.Series(labels, index=index, dtype=object)
        if self._extra is not None:
            frame = pd.concat([frame, self._extra.set_axis(index)], axis=1)
        return frame

    def to_frame(self, backend: str = "pandas") -> Any:
        """`table`, as a frame of another library.

        Args:
            backend: "pandas", "polars" or "pyarrow"; in the latter two the id is a column.

        Raises:
            ValueError: another backend.
            ImportError: polars is not installed.
        """
        from dmlviz.images.frame import frame_for

        return frame_for(self.table, backend)

    @property
    def files(self) -> tuple[Path, ...] | None:
        """The file of each image, absolute, in id order; None for a set that is not made of files."""
        found = tuple(readers.file_of(self._read, i) for i in range(len(self)))
        return None if None in found else tuple(path.absolute() for path in found if path is not None)

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits over names, labels and what is cheaply known of each image.

        For files that is the size in bytes (and the time of change for formats without compression), for
        arrays a sample of the values, for foreign datasets nothing. Equal for a folder and its copy.
        """
        digest = hashlib.sha256(f"{len(self)}".encode())
        for i, name in enumerate(self._names):
            label = "" if self._labels is None else f"={self._labels[i]}"
            line = f"{name}\0{label}\0{readers.stamp_of(self._read, i)}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    # --- reading ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, i: int) -> np.ndarray:
        """Image i as (H, W, 3) uint8.

        Raises:
            TypeError: for anything that is no whole number.
            IndexError: for a negative id, or one that is not in the set.
            ImageReadError: if the image cannot be read.
        """
        return as_rgb(self._read(self.check_id(i)), f"image {self._names[int(i)]!r}")

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        classes = "no labels" if self._labels is None else f"{len(np.unique(self._labels))} classes"
        return f"{type(self).__name__}({len(self)} images, {classes})"

    def check_id(self, i: Any) -> int:
        """The id as a Python int.

        Raises:
            TypeError: for anything that is no whole number.
            IndexError: for a negative id, or one that is not in the set.
        """
        if isinstance(i, bool | np.bool_) or not isinstance(i, int | np.integer):
            raise TypeError(
                f"an image's id is a whole number, got {type(i).__name__}; "
                "for several images use images.subset(ids)"
            )
        if not 0 <= i < len(self):
            held = f"0 to {len(self) - 1}" if len(self) else "none, as the set is empty"
            raise IndexError(f"no image has the id {int(i)}; the ids of this set are {held}")
        return int(i)

    def subset(self, ids: Sequence[int] | np.ndarray) -> "ImageSet":
        """The chosen images as a set of their own, renumbered 0, 1, ... in the order given.

        Args:
            ids: whole numbers, or one truth value per image.

        Raises:
            IndexError: for an id that is not in the set.
            ValueError: for truth values of another length.
            TypeError: for anything else.
        """
        chosen = self.check_ids(ids)
        return ImageSet(
            readers.SubsetReader(self._read, chosen),
            [self._names[i] for i in chosen],
            None if self._labels is None else self._labels[chosen],
            None if self._extra is None else self._extra.iloc[chosen],
        )

    def check_ids(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Ids (or one truth value per image) as int64 (M,).

        Raises:
            IndexError: for an id that is not in the set.
            ValueError: for truth values of another length.
            TypeError: for anything else.
        """
        array = np.asarray(ids)
        if array.size == 0 and array.dtype.kind != "b":
            return np.zeros(0, np.int64)
        if array.ndim != 1 or array.dtype.kind not in "biu":
            raise TypeError(
                f"expected a list of ids or of truth values, got {array.dtype} of shape {array.shape}"
            )
        if array.dtype.kind == "b":
            if len(array) != len(self):
                raise ValueError(
                    f"expected one truth value per image: {len(self)} images, got {len(array)} values"
                )
            return np.flatnonzero(array).astype(np.int64)
        for i in (array.min(), array.max()):
            self.check_id(i)
        return array.astype(np.int64)


def _labels_as_text(labels: Sequence[Any] | np.ndarray, n: int) -> np.ndarray:
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if len(values) != n:
        raise ValueError(f"expected one label per image: {n} images, got {len(values)} labels")
    missing = [i for i, value in enumerate(values) if _is_missing(value)]
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"expected a label for every image, got none (None or NaN) for {len(missing)} of {n}: "
            f"ids {shown}; leave those images out, or pass no labels at all"
        )
    text = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
    array = np.array(text, dtype=np.str_) if text else np.zeros(0, np.str_)
    array.setflags(write=False)
    return array


def _is_missing(value: Any) -> bool:
    # NaN differs from itself; so does pandas' NA, whose comparison is neither true nor false
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and value != value


def _extra_columns(table: "pd.DataFrame", n: int) -> "pd.DataFrame":
    if len(table) != n:
        raise ValueError(f"expected one row of the table per image: {n} images, got {len(table)} rows")
    return table.drop(columns=["name", "label"], errors="ignore").reset_index(drop=True)
