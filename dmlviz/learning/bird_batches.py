"""Training batches of freshly drawn birds, half of them families, where only one part tells two classes apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmlviz.images.bird_drawing import draw_picture
from dmlviz.images.bird_scene import PARTS, Scene, uniform_tape
from dmlviz.images.bird_species import Family, bird_families

_STREAM = 77


@dataclass(frozen=True)
class BirdBatches:
    """Batch number ``t`` of a training run, a pure function of the seed and ``t``.

    Args:
        families: The training families.
        seed: Chooses every image; any non-negative integer.
        classes: Classes in a batch; a multiple of ``siblings``.
        per_class: Images of each class.
        siblings: Classes that a family gives to a hard batch, 2 to 6.
        hard: Share of batches made of siblings, in the beginning.
        harder: Their share from batch ``harder_from`` on, when unrelated species have become easy to tell apart.
        harder_from: Number of the batch from which ``harder`` counts.
        dropped: Share of images that lose one part, so that a missing part is nothing strange.
        size: Height and width of the images in pixels.
    """

    families: tuple[Family, ...]
    seed: int = 0
    classes: int = 24
    per_class: int = 4
    siblings: int = 4
    hard: float = 0.5
    harder: float = 0.9
    harder_from: int = 600
    dropped: float = 0.25
    size: int = 96

    @classmethod
    def of(
        cls, families: int, seed: int, classes: int = 24, per_class: int = 4, harder_from: int = 600
    ) -> BirdBatches:
        """Make batches over freshly drawn training families."""
        return cls(bird_families(families, "train", seed), seed, classes, per_class, harder_from=harder_from)

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one batch.

        Args:
            number: Which batch, from 0.

        Returns:
            Images (N, size, size, 3) uint8 and class numbers (N,) int64, N = classes × per_class.
        """
        chosen = self._classes_of(number)
        drops = uniform_tape((self.seed, _STREAM, number, 1), 2 * len(chosen) * self.per_class)
        images, labels = [], []
        for place, (family, member) in enumerate(chosen):
            species = self.families[family].members[member]
            for k in range(self.per_class):
                slot = place * self.per_class + k
                scene = Scene(species, (self.seed, _STREAM, number, 2, slot))
                if drops[2 * slot] < self.dropped:
                    scene = scene.without(PARTS[int(drops[2 * slot + 1] * len(PARTS))])
                images.append(draw_picture(scene, self.size))
                labels.append(6 * family + member)
        return np.stack(images), np.array(labels, dtype=np.int64)

    def _classes_of(self, number: int) -> list[tuple[int, int]]:
        """Choose a batch's classes as (family, member) pairs."""
        count = 6 * len(self.families)
        numbers = uniform_tape((self.seed, _STREAM, number, 0), 1 + count)
        if numbers[0] >= (self.hard if number < self.harder_from else self.harder):
            order = np.argsort(numbers[1:], kind="stable")[: self.classes]
            return [(int(c) // 6, int(c) % 6) for c in order]
        order = np.argsort(numbers[1 : 1 + len(self.families)], kind="stable")[
            : self.classes // self.siblings
        ]
        chosen = []
        for family in order:
            start = 1 + 6 * int(family)
            members = np.argsort(numbers[start : start + 6], kind="stable")[: self.siblings]
            chosen += [(int(family), int(m)) for m in members]
        return chosen
