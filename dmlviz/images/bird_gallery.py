"""`birds()`: a gallery of drawn birds about which everything is known.

The birds are drawn when asked for, about a millisecond each, and nothing is downloaded. Classes come in families:
a base species and five siblings, each of which differs from the base in exactly one part. Because every part of
every picture is known, an explanation of a similarity can be checked against the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dmlviz.images.bird_drawing import draw_picture, draw_scene
from dmlviz.images.bird_scene import PARTS, REGIONS, Scene, Species
from dmlviz.images.bird_species import Split, bird_families, family_scenes
from dmlviz.images.drawn_set import DrawnSet, check_split, check_whole

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.canvas import Drawing

MOST_FAMILIES: Final = 2000
LEAST_SIZE: Final = 24
MOST_SIZE: Final = 1024


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
        return draw_picture(self.birds[i].scene, self.size)

    def stamp(self, i: int) -> str:
        """What decides the picture, without drawing it."""
        scene = self.birds[i].scene
        return f"bird {self.size} {scene.species.code} {scene.key} {sorted(scene.removed)}"


class BirdSet(DrawnSet[Scene]):
    """Drawn birds: an image set whose images know their parts.

    Made by `birds`. Labels are names of species, names are the species' name and a number.

    Args:
        birds: The birds, in the order of the ids.
        size: Height and width of every image in pixels.
        pictures: (N, H, W, 3) uint8, the birds as drawn already; by default each is drawn when asked for.
    """

    parts: Final = PARTS
    """The five parts in which species differ, in the order of their ids."""
    whole = "bird"
    _regions: Final = REGIONS
    _of_whole: Final = ("body", "head", *PARTS)

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
        return self._drawn(self.scene(i)).part_ids

    def _drawn(self, scene: Scene) -> Drawing:
        return draw_scene(scene, self.size)


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
    families = check_whole("birds", "families", families, 1, MOST_FAMILIES)
    per_class = check_whole("birds", "per_class", per_class, 1, 2**31)
    seed = check_whole("birds", "seed", seed, 0, 2**63 - 1)
    size = check_whole("birds", "size", size, LEAST_SIZE, MOST_SIZE)
    check_split(split)
    drawn = bird_families(families, split, seed)
    digits = max(2, len(str(per_class)))
    flock = []
    for place, scene in enumerate(family_scenes(drawn, per_class, split, seed)):
        within, k = divmod(place, per_class)
        family, member = divmod(within, 1 + len(PARTS))
        label = drawn[family].labels[member]
        flock.append(Bird(scene, family, member, f"{label} {k + 1:0{digits}d}", label))
    return BirdSet(flock, size)
