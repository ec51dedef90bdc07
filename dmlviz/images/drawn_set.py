"""What birds, faces and persons have in common: an image set whose images are drawn, and know their parts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

import numpy as np

from dmlviz.images.bird_scene import position, uniform_tape
from dmlviz.images.bird_species import SPLITS
from dmlviz.images.image_set import ImageSet

if TYPE_CHECKING:
    from dmlviz.images.canvas import Drawing

_SWAP_STREAM: Final = 5


class DrawnScene(Protocol):
    """One image before it is drawn."""

    @property
    def key(self) -> tuple[int, ...]:
        """Non-negative integers that name the scene's tape of random numbers."""

    def without(self, *parts: str) -> Self:
        """Return the same scene with parts taken away."""

    def swap(self, part: str, shape: str | None = None, colour: str | None = None) -> Self:
        """Return the same scene with one part of another shape, colour or both."""

    def others(self, part: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Return a part's number, and the shapes and the colours that it might have and has not."""


AnyScene = TypeVar("AnyScene", bound=DrawnScene)


class DrawnSet(ImageSet, Generic[AnyScene]):
    """Images drawn from scenes, of which it is known what every pixel shows."""

    whole: ClassVar[str]
    """What all of a subject's regions together are called."""
    _last: tuple[int, np.ndarray] | None = None
    """The image last asked for its parts, and their numbers: it is asked part by part."""

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The parts in which subjects differ."""

    @property
    @abstractmethod
    def _regions(self) -> tuple[str, ...]:
        """What the numbers in a part-id map mean: ``_regions[id]``."""

    @property
    @abstractmethod
    def _of_whole(self) -> tuple[str, ...]:
        """The regions that ``whole`` holds."""

    @abstractmethod
    def scene(self, i: int) -> AnyScene:
        """Return what image i is drawn from."""

    @abstractmethod
    def _drawn(self, scene: AnyScene) -> Drawing:
        """Draw a scene of this set or one made from it."""

    def mask(self, i: int, part: str) -> np.ndarray:
        """Return where a part is visible on image i.

        Args:
            i: Id of the image.
            part: One of ``parts`` or of the other regions that `part_ids` names, or ``whole`` for all of the subject.

        Returns:
            (H, W) bool.

        Raises:
            ValueError: There is no such part.
        """
        number = position("part", part, (*self._regions, self.whole))
        last = self._last
        if last is None or last[0] != self.check_id(i):
            last = self._last = (int(i), self._drawn(self.scene(i)).part_ids)
        ids = last[1]
        if part == self.whole:
            return np.isin(ids, [self._regions.index(name) for name in self._of_whole])
        return np.asarray(ids == number)

    def box(self, i: int) -> tuple[int, int, int, int]:
        """Return the box round all that is visible of the subject on image i.

        Returns:
            (top, left, bottom, right) in pixels; the subject lies in ``image[top:bottom, left:right]``.
        """
        seen = self.mask(i, self.whole)
        rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        return int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1

    def without(self, i: int, *parts: str) -> np.ndarray:
        """Draw image i again without some parts; all else stays as it is.

        Args:
            i: Id of the image.
            parts: One or more of ``parts``.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ValueError: There is no such part, or none is given.
        """
        if not parts:
            raise ValueError(f"Say which part to leave out: one or more of {', '.join(self.parts)}.")
        return self._drawn(self.scene(i).without(*parts)).image

    def swap(self, i: int, part: str, shape: str | None = None, colour: str | None = None) -> np.ndarray:
        """Draw image i again with one part of another shape or colour; all else stays as it is.

        Args:
            i: Id of the image.
            part: One of ``parts``.
            shape: The new shape, one of those that the part may have; the old one stays where only a colour is given.
            colour: The new colour, one of those that the part may have; the old one stays where only a shape is
                given. Where neither is given, another shape, colour or both are chosen, always the same for one
                image and part.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ValueError: There is no such part, shape or colour; the message lists those there are.
        """
        scene = self.scene(i)
        if shape is None and colour is None:
            shape, colour = other_variant(scene, part)
        return self._drawn(scene.swap(part, shape, colour)).image


def other_variant(scene: DrawnScene, part: str) -> tuple[str | None, str | None]:
    """Choose another look for a part: a shape, a colour or both, always the same for one scene and part."""
    number, shapes, colours = scene.others(part)
    kind, shape, colour = uniform_tape((*scene.key, _SWAP_STREAM, number), 3).tolist()
    new_colour = colours[int(colour * len(colours))]
    if not shapes:
        return None, new_colour
    new_shape = shapes[int(shape * len(shapes))]
    return (None if kind < 1 / 3 else new_shape), (None if kind >= 2 / 3 else new_colour)


def check_whole(who: str, name: str, value: Any, least: int, most: int) -> int:
    """Return a whole number within its range.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is out of range.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{who}() needs a whole number for {name}; got {value!r}.")
    if not least <= value <= most:
        raise ValueError(f"{who}() needs {name} from {least} to {most}; got {value}.")
    return int(value)


def check_split(split: Any) -> None:
    """Refuse a split that is none.

    Raises:
        ValueError: It is neither "train" nor "test".
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: choose 'train' or 'test'.")
