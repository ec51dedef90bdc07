"""What decides the places' networks: the options of a training run, and the networks it begins with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from dmlviz.embedder.smallnet import SMALL_POOLINGS, SmallNet, SmallPooling
from dmlviz.images.place_scene import AERIAL_SIZE, GROUND_SIZE

WIDTHS: Final = {"ground": (16, 32, 40, 48, 48, 12), "aerial": (20, 40, 48, 64, 64, 12)}
"""Channels of the two networks after each of their six convolutions."""


@dataclass(frozen=True)
class PlaceRecipe:
    """Everything that decides what the two networks become.

    Args:
        pooling: "flatten" gives every cell its own columns of the linear map, so that a cell's direction counts;
            "avg" and "max" know only what is there, not where.
        seed: Chooses the first weights and every place.
        steps: Optimiser steps.
        families: Families of four places drawn for a batch.
        turns: How many times each is shown in it, with the world turned.
        dim: Length of both embeddings.
        temperature: Of the loss.
        learning_rate: Highest learning rate, reached after the warm-up; a half cosine then takes it to zero.
        weight_decay: AdamW's.
        warm_up: Steps over which the learning rate rises.
        precision: "bfloat16" for convolutions in bfloat16 (about half the time on processors that have it) or
            "float32". The weights are float32 either way.
    """

    pooling: SmallPooling = "flatten"
    seed: int = 0
    steps: int = 1000
    families: int = 8
    turns: int = 2
    dim: int = 60
    temperature: float = 0.03
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warm_up: int = 40
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    def __post_init__(self) -> None:
        if self.pooling not in SMALL_POOLINGS:
            raise ValueError(f"The pooling is 'avg', 'max' or 'flatten'; got {self.pooling!r}.")
        if self.precision not in ("bfloat16", "float32"):
            raise ValueError(f"The precision is 'bfloat16' or 'float32'; got {self.precision!r}.")
        for name in ("steps", "families", "dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"A training run needs {name} of at least 1; got {getattr(self, name)}.")
        if not 1 <= self.turns <= 4:
            raise ValueError(f"A family is shown in 1 to 4 turns of the world; got turns={self.turns}.")
        if self.seed < 0:
            raise ValueError(f"The seed is a non-negative integer; got {self.seed}.")
        if not self.temperature > 0:
            raise ValueError(f"The temperature must be > 0; got {self.temperature}.")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def first_networks(recipe: PlaceRecipe) -> nn.ModuleDict:
    """Return the two untrained networks, "ground" and "aerial"; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        sizes = {"ground": GROUND_SIZE, "aerial": AERIAL_SIZE}
        return nn.ModuleDict(
            {view: SmallNet(WIDTHS[view], recipe.pooling, recipe.dim, size) for view, size in sizes.items()}
        )
