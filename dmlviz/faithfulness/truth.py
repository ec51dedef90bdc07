"""What is known of the pictures: their parts and boxes, in the pixels of the view that the network sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.options import one_of

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.images import ImageSet
    from dmlviz.retrieval import Gallery

Box = tuple[int, int, int, int]
_BOX_COLUMNS = ("box_row", "box_col", "box_height", "box_width")


class KnownParts:
    """Parts of the pictures of one image set, as the user knows them.

    Args:
        part_ids: One (h, w) whole-number array per image, in the picture's own pixels: which part each shows.
        names: What the numbers mean; numbers without a name are no part (background, say).

    Raises:
        ValueError: If no part has a name, or two have the same one.
    """

    def __init__(self, part_ids: Sequence[np.ndarray], names: Mapping[int, str]) -> None:
        self._part_ids = part_ids
        self._number = {str(name): int(number) for number, name in names.items()}
        self.parts = tuple(self._number)
        if not self.parts or len(self.parts) < len(names):
            raise ValueError(
                f"names gives each part's number a name of its own, such as {{1: 'beak'}}; got {names!r}"
            )

    def __len__(self) -> int:
        return len(self._part_ids)

    def mask(self, i: int, part: str) -> np.ndarray:
        """Where a part is visible on image i, (h, w) bool.

        Raises:
            ValueError: If there is no such part.
        """
        one_of(part, "part", self.parts)
        return np.asarray(np.asarray(self._part_ids[i]) == self._number[part])

    def box(self, i: int) -> Box | None:
        """Round all the parts that are visible: (top, left, bottom, right), the last two beyond the box; or None."""
        seen = np.isin(np.asarray(self._part_ids[i]), list(self._number.values()))
        return box_round(seen) if seen.any() else None


class KnownBoxes:
    """The box round what each picture of an image set shows.

    Args:
        boxes: (N, 4): top, left, bottom, right in pixels of the picture; the last two lie beyond the box.

    Raises:
        ValueError: If they have another shape, a value is not finite, or a box is empty.
    """

    def __init__(self, boxes: Any) -> None:
        self._boxes = np.asarray(boxes, dtype=np.float64)
        b = self._boxes
        expected = "boxes are (N, 4): top, left, bottom, right with top < bottom and left < right"
        if b.ndim != 2 or b.shape[1] != 4:
            raise ValueError(f"{expected}; got shape {b.shape}")
        if len(wrong := np.flatnonzero(~(np.isfinite(b).all(axis=1) & (b[:, :2] < b[:, 2:]).all(axis=1)))):
            raise ValueError(f"{expected}; box {wrong[0]} is {b[wrong[0]].tolist()}")

    def __len__(self) -> int:
        return len(self._boxes)

    def box(self, i: int) -> Box:
        """(top, left, bottom, right) in whole pixels."""
        top, left, bottom, right = np.round(self._boxes[i]).astype(int).tolist()
        return top, left, max(bottom, top + 1), max(right, left + 1)


@dataclass(frozen=True, eq=False)
class SideTruth:
    """What is known of the queries, or of the gallery's images.

    Attributes:
        images: The image set.
        embedder: Its embedder, which decides the view.
        known: Whatever knows the parts or boxes: the image set itself, `KnownParts`, `KnownBoxes`; None for nothing.
    """

    images: "ImageSet"
    embedder: "Embedder"
    known: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", lru_cache(maxsize=8192)(self.mask))

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that may be asked about; empty where none are known."""
        return tuple(getattr(self.known, "parts", ())) if hasattr(self.known, "mask") else ()

    @property
    def has_boxes(self) -> bool:
        """Whether each picture's box is known."""
        return hasattr(self.known, "box")

    @property
    def can_redraw(self) -> bool:
        """Whether pictures can be drawn again without a part, or with another one."""
        return all(hasattr(self.known, name) for name in ("without", "swap"))

    @property
    def knows_kin(self) -> bool:
        """Whether it is known in which parts two pictures differ."""
        return hasattr(self.known, "differs")

    def mask(self, i: int, part: str) -> np.ndarray:
        """Where a part is visible on the view of image i, (H, W) bool.

        Raises:
            ValueError: If the user's parts (`KnownParts`) are not of the picture's size.
        """
        mask = np.asarray(self.known.mask(i, part), dtype=bool)
        if isinstance(self.known, KnownParts) and mask.shape != (size := self.images[i].shape[:2]):
            raise ValueError(
                f"part_ids of image {i} have shape {mask.shape}, and the picture has {size[0]} × {size[1]} pixels: "
                "give them in the picture's own pixels"
            )
        return self._in_view(mask)

    def box(self, i: int) -> Box | None:
        """The box on the view of image i, (top, left, bottom, right); None where nothing of it is seen."""
        known = self.known.box(i)
        if known is None:
            return None
        top, left, bottom, right = known
        size = self.images[i].shape[:2]
        inside = np.zeros(size, dtype=bool)
        inside[max(top, 0) : bottom, max(left, 0) : right] = True
        seen = self._in_view(inside)
        return box_round(seen) if seen.any() else None

    def whole(self, i: int) -> np.ndarray:
        """Where what image i shows is visible on its view, (H, W) bool.

        The whole subject where the image set knows it (of a bird its body and head, too), else the union of the
        known parts, else the known box.
        """
        if (name := getattr(self.known, "whole", None)) is not None:
            return self.mask(i, name)
        if self.parts:
            return np.asarray(np.any([self.mask(i, part) for part in self.parts], axis=0))
        inside = np.zeros(self.embedder.input_size, dtype=bool)
        if (box := self.box(i)) is not None:
            inside[box[0] : box[2], box[1] : box[3]] = True
        return inside

    def _in_view(self, mask: np.ndarray) -> np.ndarray:
        """A mask over the picture as the embedder sees it: it takes the way of a black and white picture."""
        picture = np.repeat((mask * np.uint8(255))[:, :, None], 3, axis=2)
        return np.asarray(self.embedder.view(picture)[:, :, 0] >= 128)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of both sides of a gallery's pairs."""

    query: SideTruth
    gallery: SideTruth


def truth_of(gallery: "Gallery", truth: Any = None) -> Truth:
    """What is known of a gallery's pictures.

    Args:
        gallery: The gallery.
        truth: None: what the image sets themselves know (drawn galleries know their parts; a CUB layout its boxes);
            `KnownParts` or `KnownBoxes` of the gallery's images, which are their own queries; or a pair of such,
            of the queries and of the images. A `Truth` is taken as it is.

    Raises:
        ValueError: If there are not as many as images.
    """
    if isinstance(truth, Truth):
        return truth
    if truth is None:
        of_queries, of_images = _own(gallery.queries), _own(gallery.images)
    elif isinstance(truth, tuple):
        of_queries, of_images = truth
    elif gallery.queries is gallery.images:
        of_queries = of_images = truth
    else:
        raise ValueError("this gallery has queries of their own: give truth=(of the queries, of the images)")
    for known, images, name in (
        (of_queries, gallery.queries, "queries"),
        (of_images, gallery.images, "images"),
    ):
        if known is not None and hasattr(known, "__len__") and len(known) != len(images):
            raise ValueError(
                f"truth of {len(known)} pictures for {len(images)} {name}: expected one for each"
            )
    return Truth(
        SideTruth(gallery.queries, gallery.query_embedder, of_queries),
        SideTruth(gallery.images, gallery.embedder, of_images),
    )


def box_round(mask: np.ndarray) -> Box:
    """(top, left, bottom, right) of the smallest box round a mask; the last two lie beyond it.

    Raises:
        ValueError: If the mask is empty.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("an empty mask has no box")
    return int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1


def _own(images: "ImageSet") -> Any:
    if hasattr(images, "mask") or hasattr(images, "box"):
        return images
    table = images.table
    if not all(column in table for column in _BOX_COLUMNS):
        return None
    top, left, height, width = (table[column].to_numpy(np.float64) for column in _BOX_COLUMNS)
    return KnownBoxes(np.stack([top, left, top + height, left + width], axis=1))
