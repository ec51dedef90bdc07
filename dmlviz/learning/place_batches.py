"""Training batches of freshly drawn places: families, turned and mirrored as whole worlds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.place_aerial import draw_aerial
from dmlviz.images.place_layout import place_families, place_scenes
from dmlviz.images.place_panorama import draw_ground
from dmlviz.images.place_scene import GROUND_SIZE

_STREAM = 78
_BATCHES_A_SEED = 1_000_000


@dataclass(frozen=True)
class PlaceBatches:
    """Batch number ``t`` of a training run, a pure function of the seed and ``t``. No place is drawn twice.

    Args:
        seed: Chooses every place; any non-negative integer.
        families: Families drawn for a batch, of four places each: siblings are the hard negatives.
        turns: How many times each family is shown, each time with the world turned by another multiple of 90 degrees
            and half the time mirrored, 1 to 4. This costs no drawing.
    """

    seed: int = 0
    families: int = 8
    turns: int = 2

    @property
    def size(self) -> int:
        """Pairs of views in a batch."""
        return 4 * self.families * self.turns

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one batch.

        Args:
            number: Which batch, from 0.

        Returns:
            Panoramas (N, 64, 192, 3) and aerial views (N, 96, 96, 3), uint8; pair i shows one place.
        """
        seed = self.seed * _BATCHES_A_SEED + number + 1
        scenes = place_scenes(place_families(self.families, "train", seed), "train", seed)
        ground = np.stack([draw_ground(scene).image for scene in scenes]).reshape(
            self.families, -1, *GROUND_SIZE, 3
        )
        aerial = np.stack([draw_aerial(scene).image for scene in scenes]).reshape(
            self.families, -1, 96, 96, 3
        )
        numbers = iter(uniform_tape((self.seed, _STREAM, number), 2 * self.families * self.turns).tolist())
        panoramas, maps = [], []
        for below, above in zip(ground, aerial, strict=True):
            first = int(4 * next(numbers))
            for turn in range(self.turns):
                pair = turned(below, above, first + turn, mirrored=next(numbers) < 0.5)
                panoramas.append(pair[0])
                maps.append(pair[1])
        return np.concatenate(panoramas), np.concatenate(maps)


def turned(
    ground: np.ndarray, aerial: np.ndarray, quarters: int, mirrored: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the world, so that the views of a place become the views of another place, pixel by pixel.

    Args:
        ground: Panoramas (N, 64, 192, ...) with north in the middle.
        aerial: Aerial views (N, 96, 96, ...), north up.
        quarters: By how many times 90 degrees clockwise: what was in the north is then in the east, and so on.
        mirrored: Exchange east and west before.

    Returns:
        Both, of the same shapes.
    """
    if mirrored:
        ground, aerial = ground[:, :, ::-1], aerial[:, :, ::-1]
    ground = np.roll(ground, quarters % 4 * GROUND_SIZE[1] // 4, axis=2)
    return ground, np.rot90(aerial, -quarters, axes=(1, 2))
