"""What drawn faces and drawn persons have in common: an image set whose images know their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np

from dmlviz.images.drawn_set import DrawnSet
from dmlviz.images.kinfolk import Relative, draw_people
from dmlviz.images.looks import Look, LookScene, Scheme

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.bird_species import Split
    from dmlviz.images.canvas import Drawing

MOST_PEOPLE = 20_000
_SPLIT_STREAM = {"train": 1, "test": 2}
_SCENE_STREAM = 9


class Draw(Protocol):
    """A function of the package that draws a scene; named, so that it can be sent to another process."""

    def __call__(self, scene: LookScene, height: int, /) -> Drawing:
        """Draw a scene at a height in pixels."""


@dataclass(frozen=True)
class LookImage:
    """One image of a gallery: its scene, and who is on it.

    Args:
        scene: What is drawn.
        person: Who it is.
        number: The person's number in the gallery, from 0.
        name: The image's name.
    """

    scene: LookScene
    person: Relative
    number: int
    name: str


@dataclass(frozen=True)
class _LookReader:
    """Draws the images of a set; can be sent to another process."""

    images: tuple[LookImage, ...]
    draw: Draw
    height: int

    def __call__(self, i: int) -> np.ndarray:
        return self.draw(self.images[i].scene, self.height).image

    def stamp(self, i: int) -> str:
        """What decides the picture, without drawing it."""
        scene = self.images[i].scene
        look = f"{scene.look.scheme.name} {self.height} {scene.look.code}"
        return f"{look} {scene.camera} {scene.key} {sorted(scene.removed)}"


class LookSet(DrawnSet[LookScene]):
    """Drawn people. Labels are their names; an image's name is the person's and a number.

    Args:
        images: The images, in the order of the ids.
        height: Height of every image in pixels.
    """

    scheme: ClassVar[Scheme]
    draw: ClassVar[Draw]

    def __init__(self, images: Sequence[LookImage], height: int) -> None:
        self._images = tuple(images)
        self.height = height
        super().__init__(
            _LookReader(self._images, type(self).draw, height),
            [image.name for image in self._images],
            [image.person.name for image in self._images],
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in which people differ."""
        return self.scheme.part_names

    @property
    def _regions(self) -> tuple[str, ...]:
        return self.scheme.regions

    @property
    def _of_whole(self) -> tuple[str, ...]:
        return self.scheme.part_names

    @property
    def table(self) -> pd.DataFrame:
        """One row per image: index = id; name, label, person, family, what differs from the eldest, the parts.

        A fresh frame at each call: what is written to it does not reach the set.
        """
        frame = super().table
        frame["person"] = [image.number for image in self._images]
        frame["family"] = [image.person.family for image in self._images]
        members = [image.person.member for image in self._images]
        frame["differs_from_eldest"] = ["" if m == 0 else self.scheme.siblings[m - 1] for m in members]
        for part in self.parts:
            frame[part] = [image.scene.look.describe(part) for image in self._images]
        return frame

    def subset(self, ids: Sequence[int] | np.ndarray) -> Self:
        """Return the chosen images as a set of their own, renumbered 0, 1, ... in the order given."""
        return type(self)([self._images[i] for i in self.check_ids(ids)], self.height)

    def scene(self, i: int) -> LookScene:
        """Return what image i is drawn from."""
        return self._images[self.check_id(i)].scene

    def look(self, i: int) -> Look:
        """Return the shapes and colours of the person on image i."""
        return self.scene(i).look

    def person(self, i: int) -> int:
        """Return the number of the person on image i, from 0."""
        return self._images[self.check_id(i)].number

    def family(self, i: int) -> int:
        """Return the number of the family that the person on image i belongs to, from 0."""
        return self._images[self.check_id(i)].person.family

    def differs(self, i: int, j: int) -> tuple[str, ...]:
        """Name the parts in which the people on two images differ, in shape, in colour or in both."""
        return self.look(i).differs(self.look(j))

    def part_ids(self, i: int) -> np.ndarray:
        """Say for every pixel of image i which region it shows.

        Returns:
            (H, W) uint8: ``scheme.regions[id]`` names the region, 0 is the background and the highest number what
            lies in front. Only what is visible counts.
        """
        return self._drawn(self.scene(i)).part_ids

    def _drawn(self, scene: LookScene) -> Drawing:
        return type(self).draw(scene, self.height)


def images_of_people(
    scheme: Scheme, people: int, per_person: int, split: Split, seed: int, cameras: int = 1
) -> list[LookImage]:
    """List the images of a gallery: person by person, camera by camera, ``per_person`` images from each camera."""
    digits = max(2, len(str(per_person * cameras)))
    return [
        LookImage(
            LookScene(
                person.look,
                (seed, _SPLIT_STREAM[split], _SCENE_STREAM, person.family, person.member, camera, k),
                camera,
            ),
            person,
            number,
            f"{person.name} {camera * per_person + k + 1:0{digits}d}",
        )
        for number, person in enumerate(draw_people(scheme, people, split, seed))
        for camera in range(cameras)
        for k in range(per_person)
    ]
