"""The last step of the recipe: the bird network's linear map, fitted once more in closed form."""

from __future__ import annotations

import numpy as np
import torch

from dmlviz.embedder.birdnet import BIRD_SIZE, BirdNet, images_to_input
from dmlviz.images.bird_drawing import draw_picture
from dmlviz.images.bird_species import bird_families, family_scenes
from dmlviz.learning.discriminant import discriminant_map


@torch.no_grad()
def fit_linear(net: BirdNet, families: int, per_class: int, seed: int, ridge: float) -> None:
    """Replace a network's linear map by the one that best tells training species apart.

    Steps of gradient see a hundred images at a time; the scatter of pooled features within and between species is
    measured here over thousands, and the best linear map for it is known in closed form (`discriminant_map`).

    Args:
        net: A folded network; its ``linear`` is changed in place, its trunk stays.
        families: How many families of six training species to draw.
        per_class: Images of each species.
        seed: Chooses the species and the images.
        ridge: As for `discriminant_map`.
    """
    scenes = family_scenes(bird_families(families, "train", seed), per_class, "train", seed)
    pooled = []
    for start in range(0, len(scenes), 96):
        images = np.stack([draw_picture(scene, BIRD_SIZE) for scene in scenes[start : start + 96]])
        cells = net.trunk(images_to_input(images))
        pooled.append((cells.mean((2, 3)) if net.pooling == "avg" else cells.amax((2, 3))).numpy())
    labels = np.repeat(np.arange(len(scenes) // per_class), per_class)
    weight = net.linear.weight
    found = discriminant_map(np.concatenate(pooled), labels, weight.shape[0], ridge)
    length = np.sqrt(len(found)) / np.linalg.norm(
        found
    )  # cosines do not mind; rows are of length 1 on average
    weight.copy_(torch.from_numpy(found * length))
