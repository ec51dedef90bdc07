"""`birds()`: a gallery of drawn birds about which everything is known.

The birds are drawn when asked for, about a millisecond each, and nothing is downloaded. Classes come in families:
a base species and five siblings, each of which differs from the base in exactly one part. Because every part of
every picture is known, an explanation of a similarity can be checked against the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dmlviz.images.bird_drawing import draw_scene
from dmlviz.images.bird_scene import (
    COLOURS,
    PART_ID,
    PARTS,
    REGIONS,
    SHAPES,
    Scene,
    Species,
    part_number,
    uniform_tape,
)
from dmlviz.images.bird_species import SPLITS, Split, bird_families, family_scenes
from dmlviz.images.image_set import ImageSet

if TYPE_CHECKING:
    import pandas as pd

MOST_FAMILIES: Final = 2000
LEAST_SIZE: Final = 24
MOST_SIZE: Final = 1024
_SWAP_STREAM: Final = 5


@dataclass(frozen=True)
class Bird:
    """One bird of a gallery: its scene, and where it stands among its kin.

    Args:
        scene: What is drawn.
        family: Number of its family in the gallery, from 0.
        member: 0 for the base species, m for the sibling that differs in ``PARTS[m - 1]``.
        name: The image's name.
        label: The species' name.
    """

    scene: Scene
    family: int
    member: int
    name: str
    label: str


@dataclass(frozen=True)
class _BirdReader:
    """Draws the birds of a set; can be sent to another process."""

    birds: tuple[Bird, ...]
    size: int
    pictures: np.ndarray | None = None

    def __call__(self, i: int) -> np.ndarray:
        if self.pictures is not None:
            return self.pictures[i].copy()
        return draw_scene(self.birds[i].scene, self.size).image

    def stamp(self, i: int) -> str:
        """What decides the picture, without drawing it."""
        scene = self.birds[i].scene
        return f"bird {self.size} {scene.species.code} {scene.key} {sorted(scene.removed)}"


class BirdSet(ImageSet):
    """Drawn birds: an image set whose images know their parts.

    Made by `birds`. Labels are names of species, names are the species' name and a number.

    Args:
        birds: The birds, in the order of the ids.
        size: Height and width of every image in pixels.
        pictures: (N, H, W, 3) uint8, the birds as drawn already; by default each is drawn when asked for.
    """

    parts: Final = PARTS
    """The five parts in which species differ, in the order of their ids."""

    def __init__(self, birds: Sequence[Bird], size: int = 96, pictures: np.ndarray | None = None) -> None:
        self._birds = tuple(birds)
        self.size = size
        super().__init__(
            _BirdReader(self._birds, size, pictures),
            [bird.name for bird in self._birds],
            [bird.label for bird in self._birds],
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row per image: index = id; name, label, family, the part that differs from the base, the five parts.

        A fresh frame at each call: what is written to it does not reach the set.
        """
        frame = super().table
        frame["family"] = [bird.family for bird in self._birds]
        frame["differs_from_base"] = ["" if b.member == 0 else PARTS[b.member - 1] for b in self._birds]
        for part in PARTS:
            frame[part] = [bird.scene.species.describe(part) for bird in self._birds]
        return frame

    def subset(self, ids: Sequence[int] | np.ndarray) -> BirdSet:
        """Return the chosen birds as a set of their own, renumbered 0, 1, ... in the order given."""
        return BirdSet([self._birds[i] for i in self.check_ids(ids)], self.size)

    def drawn(self, pictures: np.ndarray) -> BirdSet:
        """Return the same set with its pictures in memory, (N, H, W, 3) uint8 as this set draws them."""
        return BirdSet(self._birds, self.size, pictures)

    def scene(self, i: int) -> Scene:
        """Return what image i is drawn from."""
        return self._birds[self.check_id(i)].scene

    def species(self, i: int) -> Species:
        """Return the shapes and colours of the bird on image i."""
        return self.scene(i).species

    def family(self, i: int) -> int:
        """Return the number of the family that image i's species belongs to, from 0."""
        return self._birds[self.check_id(i)].family

    def differs(self, i: int, j: int) -> tuple[str, ...]:
        """Name the parts in which the species of two images differ, in shape, in colour or in both."""
        return self.species(i).differs(self.species(j))

    def part_ids(self, i: int) -> np.ndarray:
        """Say for every pixel of image i which part it shows.

        Returns:
            (H, W) uint8: 0 background, 1 body, 2 head, 3 to 7 the five ``parts`` in their order, 8 what lies in
            front of the bird. Only what is visible counts.
        """
        return draw_scene(self.scene(i), self.size).part_ids

    def mask(self, i: int, part: str) -> np.ndarray:
        """Return where a part is visible on image i.

        Args:
            i: Id of the image.
            part: One of ``parts``, or "body", "head", "occluder", "background", or "bird" for all of the bird.

        Returns:
            (H, W) bool.

        Raises:
            ValueError: There is no such part.
        """
        ids = self.part_ids(i)
        if part == "bird":
            return np.asarray((ids != PART_ID["background"]) & (ids != PART_ID["occluder"]))
        if not isinstance(part, str) or part not in PART_ID:
            raise ValueError(f"Unknown part {part!r}: choose one of {', '.join(REGIONS)}, bird.")
        return np.asarray(ids == PART_ID[part])

    def box(self, i: int) -> tuple[int, int, int, int]:
        """Return the box round all that is visible of the bird on image i.

        Returns:
            (top, left, bottom, right) in pixels; the bird lies in ``image[top:bottom, left:right]``.
        """
        bird = self.mask(i, "bird")
        rows, cols = np.flatnonzero(bird.any(axis=1)), np.flatnonzero(bird.any(axis=0))
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
            raise ValueError(f"Say which part to leave out: one or more of {', '.join(PARTS)}.")
        return draw_scene(self.scene(i).without(*parts), self.size).image

    def swap(self, i: int, part: str, shape: str | None = None, colour: str | None = None) -> np.ndarray:
        """Draw image i again with one part of another shape or colour; all else stays as it is.

        Args:
            i: Id of the image.
            part: One of ``parts``.
            shape: The new shape, one of ``SHAPES[part]``; the old one stays where only a colour is given.
            colour: The new colour, one of ``COLOURS``; the old one stays where only a shape is given. Where
                neither is given, another shape, colour or both are chosen, always the same for one image and part.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ValueError: There is no such part, shape or colour.
        """
        scene = self.scene(i)
        if shape is None and colour is None:
            shape, colour = _other_variant(scene, part)
        return draw_scene(scene.swap(part, shape, colour), self.size).image


def birds(
    families: int = 8, per_class: int = 20, seed: int = 0, split: Split = "test", size: int = 96
) -> BirdSet:
    """Make a gallery of drawn birds.

    Args:
        families: How many families of six species: a base, and five siblings that differ from it in one part each.
        per_class: Images of each species, each with its own pose, background, clutter and light.
        seed: Chooses the species and everything in the images. The same arguments always give the same images.
        split: "test" for species that the shipped embedders have never seen, "train" for the others.
        size: Height and width in pixels.

    Returns:
        families · 6 · per_class images, species by species. By default 48 species, 960 images of 96 × 96.

    Raises:
        TypeError: A number is not a whole number.
        ValueError: A number is out of range, or the split has no such name.

    Example:
        >>> images = birds(families=1, per_class=2)
        >>> images
        BirdSet(12 images, 6 classes)
        >>> images.differs(0, 2)
        ('beak',)
        >>> images[0].shape, int(images.mask(0, "wing").sum()) > 100
        ((96, 96, 3), True)
    """
    _check_whole("families", families, 1, MOST_FAMILIES)
    _check_whole("per_class", per_class, 1, 2**31)
    _check_whole("seed", seed, 0, 2**63 - 1)
    _check_whole("size", size, LEAST_SIZE, MOST_SIZE)
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: choose 'train' or 'test'.")
    drawn = bird_families(int(families), split, int(seed))
    digits = max(2, len(str(per_class)))
    flock = []
    for place, scene in enumerate(family_scenes(drawn, int(per_class), split, int(seed))):
        within, k = divmod(place, int(per_class))
        family, member = divmod(within, 1 + len(PARTS))
        label = drawn[family].labels[member]
        flock.append(Bird(scene, family, member, f"{label} {k + 1:0{digits}d}", label))
    return BirdSet(flock, int(size))


def _other_variant(scene: Scene, part: str) -> tuple[str | None, str | None]:
    """Choose another look for a part: a shape, a colour or both, always the same for one scene and part."""
    kind, shape, colour = uniform_tape((*scene.key, _SWAP_STREAM, part_number(part)), 3).tolist()
    shapes = [name for name in SHAPES[part] if name != scene.species.shape(part)]
    colours = [name for name in COLOURS if name != scene.species.colour(part)]
    new_shape, new_colour = shapes[int(shape * len(shapes))], colours[int(colour * len(colours))]
    return (None if kind < 1 / 3 else new_shape), (None if kind >= 2 / 3 else new_colour)


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"birds() needs a whole number for {name}; got {value!r}.")
    if not least <= value <= most:
        raise ValueError(f"birds() needs {name} from {least} to {most}; got {value}.")
