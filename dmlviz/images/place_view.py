"""One view of drawn places as an image set: pictures that know their objects, by names that both views share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.images.image_set import ImageSet
from dmlviz.images.place_aerial import draw_aerial
from dmlviz.images.place_panorama import draw_ground

if TYPE_CHECKING:
    from dmlviz.images.place_canvas import Drawing
    from dmlviz.images.place_scene import PlaceScene, View


@dataclass(frozen=True)
class PlaceReader:
    """Draws one view of the places; can be sent to another process."""

    scenes: tuple[PlaceScene, ...]
    view: View

    def __call__(self, i: int) -> np.ndarray:
        """Draw picture i."""
        return draw_place(self.scenes[i], self.view).image

    def stamp(self, i: int) -> str:
        """What decides the picture, without drawing it."""
        scene = self.scenes[i]
        objects = [(o.name, o.at, o.turn, o.size) for o in scene.objects]
        return f"place {self.view} {scene.key} {scene.north_known} {objects}"


class PlaceView(ImageSet):
    """Places as they look from the ground, or from the air: an image set whose images know their parts.

    Made by `places`, as `Places.ground` and `Places.aerial`. A part is an object of the place, called by its number
    there: "object 3" is the same thing in both views, and throughout a family.

    Args:
        scenes: What is drawn, one per image.
        families: (N,) int64, the number of each place's family.
        view: "ground" or "aerial".
        labels: The places' names, one per image; an image is called by its label and the view.
    """

    def __init__(
        self,
        scenes: Sequence[PlaceScene],
        families: np.ndarray,
        view: View,
        labels: Sequence[str],
    ) -> None:
        self._scenes = tuple(scenes)
        self._families = np.asarray(families, dtype=np.int64)
        self.view = view
        self._last: tuple[int, np.ndarray] | None = None  # one image is asked for part by part
        super().__init__(PlaceReader(self._scenes, view), [f"{label} {view}" for label in labels], labels)

    @property
    def parts(self) -> tuple[str, ...]:
        """What may be asked for: "object 1", "object 2", ..., as many as the place with the most objects has."""
        most = max((len(scene.objects) for scene in self._scenes), default=0)
        return tuple(_name(number) for number in range(1, most + 1))

    def family(self, i: int) -> int:
        """Return the number of the family that the place on image i belongs to, from 0."""
        return int(self._families[self.check_id(i)])

    def differs(self, i: int, j: int) -> tuple[str, ...]:
        """Name the objects in which two places differ.

        Places of different families have no object in common: they differ in every object that either has.
        """
        one, other = self._scenes[self.check_id(i)], self._scenes[self.check_id(j)]
        if self._families[i] != self._families[j]:
            return self.parts[: max(len(one.objects), len(other.objects))]
        return tuple(_name(number) for number in changed_objects(one, other))

    def mask(self, i: int, part: str) -> np.ndarray:
        """Return where an object is visible on image i.

        Args:
            i: Id of the image.
            part: One of ``parts``.

        Returns:
            (H, W) bool; nothing where the object is hidden, or where the place has fewer objects.

        Raises:
            ValueError: There is no such part.
        """
        parts = self.parts
        if part not in parts:
            raise ValueError(f"Unknown part {part!r}: choose one of {', '.join(parts)}.")
        last = self._last
        if last is None or last[0] != self.check_id(i):
            last = self._last = (int(i), draw_place(self._scenes[i], self.view).object_ids)
        return np.asarray(last[1] == 1 + parts.index(part))

    def subset(self, ids: Sequence[int] | np.ndarray) -> PlaceView:
        """Return the chosen images as a set of their own, renumbered 0, 1, ... in the order given."""
        chosen = self.check_ids(ids)
        labels = [str(label) for label in np.asarray(self.labels)[chosen]]
        return PlaceView([self._scenes[i] for i in chosen], self._families[chosen], self.view, labels)


def draw_place(scene: PlaceScene, view: View) -> Drawing:
    """Draw a place from the ground or from the air."""
    return draw_ground(scene) if view == "ground" else draw_aerial(scene)


def changed_objects(one: PlaceScene, other: PlaceScene) -> tuple[int, ...]:
    """Give the numbers, from 1, of the objects in which two places of one family differ."""
    pairs = zip(one.objects, other.objects, strict=True)
    return tuple(number for number, (mine, theirs) in enumerate(pairs, start=1) if mine != theirs)


def _name(number: int) -> str:
    return f"object {number}"
