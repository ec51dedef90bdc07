"""Where the pixels of an image set come from: small objects called with an id.

Each can be sent to another process, as loader workers need. `stamp(i)` says cheaply what lies behind id i
(size of a file, a sample of an array), so that two sets can be told apart without reading them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dmlviz.images.reading import ImageReadError, as_rgb, from_pillow, read_image

Read = Callable[[int], np.ndarray]

_SAMPLED = 4096  # bytes of an array looked at for its stamp
_RAW_SUFFIXES = (".bmp", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")


@dataclass(frozen=True)
class FileReader:
    """Pictures in files; `names` are what errors call them."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]

    def __call__(self, i: int) -> np.ndarray:
        """Read the file."""
        return read_image(self.paths[i], self.names[i])

    def stamp(self, i: int) -> str:
        """Size in bytes; for formats without compression, whose size says little, the time of change too."""
        try:
            found = self.paths[i].stat()
        except OSError:
            return "missing"
        changed = f" {found.st_mtime_ns}" if self.paths[i].suffix.lower() in _RAW_SUFFIXES else ""
        return f"{found.st_size}{changed}"


@dataclass(frozen=True)
class ArrayReader:
    """Pictures in memory: a sequence of (H, W, 3) or (H, W) uint8, or one (N, H, W, 3) array."""

    arrays: Sequence[np.ndarray] | np.ndarray

    def __call__(self, i: int) -> np.ndarray:
        """Copy the array."""
        return as_rgb(self.arrays[i], f"array {i}")

    def stamp(self, i: int) -> str:
        """Shape and a hash over evenly spaced bytes."""
        array = self.arrays[i]
        flat = array.reshape(-1)
        sample = np.ascontiguousarray(flat[:: max(1, flat.size // _SAMPLED)])
        return f"{array.shape} {hashlib.sha256(sample.tobytes()).hexdigest()[:16]}"


@dataclass(frozen=True)
class DatasetReader:
    """Pictures of a map-style dataset: `dataset[i]` holds one under `key` (a position or a column name)."""

    dataset: Any
    names: tuple[str, ...]
    key: int | str = 0

    def __call__(self, i: int) -> np.ndarray:
        """Ask the dataset."""
        return picture_of(self.dataset[i][self.key], self.names[i])


@dataclass(frozen=True)
class SubsetReader:
    """The pictures of another reader, chosen and renumbered."""

    read: Read
    ids: np.ndarray

    def __call__(self, i: int) -> np.ndarray:
        """Ask the other reader."""
        return self.read(int(self.ids[i]))

    def stamp(self, i: int) -> str:
        """What the other reader says of the same picture."""
        return stamp_of(self.read, int(self.ids[i]))


@dataclass(frozen=True)
class JoinedReader:
    """The pictures of one reader, and behind them those of another."""

    first: Read
    count: int
    second: Read

    def __call__(self, i: int) -> np.ndarray:
        """Ask the one that has it."""
        read, there = self.at(i)
        return read(there)

    def stamp(self, i: int) -> str:
        """What the one that has it says of the picture."""
        return stamp_of(*self.at(i))

    def at(self, i: int) -> tuple[Read, int]:
        """The reader that has picture i, and what it is called there."""
        return (self.first, i) if i < self.count else (self.second, i - self.count)


@dataclass(frozen=True)
class CroppedReader:
    """The pictures of another reader, each cut to a box: top, left, height and width in pixels.

    Sides are rounded to whole pixels; what lies outside the picture is left out.
    """

    read: Read
    boxes: tuple[tuple[float, float, float, float], ...]
    names: tuple[str, ...]

    def __call__(self, i: int) -> np.ndarray:
        """Ask the other reader, and cut."""
        picture = self.read(i)
        top, left, height, width = self.boxes[i]
        cut = picture[
            max(0, round(top)) : max(0, round(top + height)),
            max(0, round(left)) : max(0, round(left + width)),
        ]
        if cut.size == 0:
            raise ImageReadError(
                self.names[i],
                f"its box (top {top:g}, left {left:g}, height {height:g}, width {width:g}) holds no pixel of the "
                f"picture, which is {picture.shape[0]} pixels high and {picture.shape[1]} wide",
            )
        return np.ascontiguousarray(cut)

    def stamp(self, i: int) -> str:
        """What the other reader says of the picture, and the box."""
        return f"{stamp_of(self.read, i)} {self.boxes[i]}"


def stamp_of(read: Read, i: int) -> str:
    """The stamp of image i where its reader knows one, otherwise an empty text."""
    stamp = getattr(read, "stamp", None)
    return str(stamp(i)) if stamp is not None else ""


def file_of(read: Read, i: int) -> Path | None:
    """The file that image i is read from, or None where it comes from elsewhere."""
    if isinstance(read, SubsetReader):
        return file_of(read.read, int(read.ids[i]))
    if isinstance(read, JoinedReader):
        return file_of(*read.at(i))
    return read.paths[i] if isinstance(read, FileReader) else None


def picture_of(item: Any, name: str) -> np.ndarray:
    """Turn whatever a dataset calls an image into (H, W, 3) uint8.

    Args:
        item: Pillow image, (H, W, 3) or (H, W) uint8 array, path, or `{"bytes": ..., "path": ...}`.
        name: what to call it in an error.

    Raises:
        TypeError: for tensors and anything else that is not a picture yet.
        ValueError: for an array of another shape.
        ImageReadError: for a picture that cannot be decoded.
    """
    if isinstance(item, Image.Image):
        return from_pillow(item, name)
    if isinstance(item, np.ndarray):
        return as_rgb(item, f"image {name!r}")
    if isinstance(item, str | Path):
        return read_image(item, name)
    if isinstance(item, dict) and ("bytes" in item or "path" in item):
        if item.get("bytes") is not None:
            return read_image(item["bytes"], name)
        if item.get("path") is not None:
            return read_image(item["path"], name)
        raise ImageReadError(name, "the dataset holds neither bytes nor a path for it")
    if item is None:
        raise ImageReadError(name, "the dataset holds nothing for it")
    raise TypeError(
        f"image {name!r}: expected a Pillow image or a (H, W, 3) uint8 array, got {type(item).__module__}."
        f"{type(item).__name__}; build the dataset without its transform, "
        "the embedder's Preprocess does that work"
    )
