"""The recipe of the shipped embedders: ``python -m dmlviz.learning.train_birds --pooling avg --out DIR``.

One command, one seed, one network. Ctrl-C keeps what is done; the same command goes on from there. Some 24 to 27
processor minutes, which two cores do in 13 to 15, the longer where others slow them down: the network computes on
both, and two processes draw whenever it leaves one free. Leave OMP_WAIT_POLICY unset: "passive" made a step ten times
slower.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dmlviz.embedder.birdnet import POOLINGS, BirdNet, BirdPooling, fold_batch_norms, images_to_input
from dmlviz.learning.bird_batches import BirdBatches
from dmlviz.learning.bird_export import export_birds, rounded
from dmlviz.learning.checkpoint import read_checkpoint_of, step_through, write_checkpoint
from dmlviz.learning.command_line import (
    offer_out,
    offer_recipe,
    offer_threads,
    offer_workers,
    start_anew_for_speed,
    train_as_asked,
    training_parser,
)
from dmlviz.learning.multi_similarity import multi_similarity_loss

SAVE_EVERY: Final = 100
"""Steps between two checkpoints."""
OFFERED: Final = (
    "seed",
    "steps",
    "polish_steps",
    "polish_frozen",
    "families",
    "learning_rate",
    "mirrored_after",
    "precision",
)
"""What the command lets one choose of a recipe, beside the pooling."""


@dataclass(frozen=True)
class BirdRecipe:
    """Everything that decides what the trained network becomes.

    Args:
        pooling: "avg" or "max".
        seed: Chooses the first weights, the training families and every image.
        steps: Optimiser steps.
        families: Training families, six species each.
        classes: Classes in a batch.
        per_class: Images of each class in a batch.
        harder_from: Until this step half of the batches are made of siblings, from then on nine in ten.
        learning_rate: Highest learning rate, reached after the warm-up; a half cosine then takes it to zero.
        weight_decay: AdamW's.
        warm_up: Steps over which the learning rate rises.
        mirrored_after: Every second step takes the batch of so many steps before once more (in the beginning the
            first), mirrored, instead of drawing one, which is a quarter of a step's work; an even number. 0 draws
            for every step.
        polish_steps: Steps after that on the folded network, as it will be shipped: without batch normalisation,
            with a fresh optimiser and a second, lower rise and fall of the learning rate.
        polish_frozen: How many convolutions, from the pixels on, these steps leave as they are: they have learned
            their edges and colours by then, and a step without their gradients takes two thirds of the time.
        polish_rate: Highest learning rate of these steps.
        head_families: Families of other training species on which the linear map is fitted once more at the end,
            in closed form; 0 keeps the map that the steps found.
        head_per_class: Images of each of these species.
        head_ridge: As `discriminant_map`'s.
        precision: "bfloat16" for convolutions in bfloat16 (about half the time on processors that have it) or
            "float32". The weights are float32 either way.
    """

    pooling: BirdPooling = "avg"
    seed: int = 0
    steps: int = 3000
    families: int = 500
    classes: int = 24
    per_class: int = 4
    harder_from: int = 600
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warm_up: int = 40
    mirrored_after: int = 40
    polish_steps: int = 2200
    polish_frozen: int = 2
    polish_rate: float = 1e-3
    head_families: int = 60
    head_per_class: int = 20
    head_ridge: float = 0.03
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"The pooling is 'avg' or 'max'; got {self.pooling!r}.")
        if self.precision not in ("bfloat16", "float32"):
            raise ValueError(f"The precision is 'bfloat16' or 'float32'; got {self.precision!r}.")
        for name in ("steps", "families", "classes", "per_class"):
            if getattr(self, name) < 1:
                raise ValueError(f"A training run needs {name} of at least 1; got {getattr(self, name)}.")
        for name in ("polish_steps", "polish_frozen", "head_families"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more; got {getattr(self, name)}.")
        if self.mirrored_after < 0 or self.mirrored_after % 2:
            raise ValueError(f"mirrored_after is an even number of steps, or 0; got {self.mirrored_after}.")
        if self.seed < 0:
            raise ValueError(f"The seed is a non-negative integer; got {self.seed}.")
        if self.classes % 4 or self.families < self.classes // 4:
            raise ValueError(
                "A batch is made of whole groups of four siblings: classes must be a multiple of 4 and families at "
                f"least classes / 4; got classes={self.classes}, families={self.families}."
            )

    @property
    def all_steps(self) -> int:
        """Steps of both stages together."""
        return self.steps + self.polish_steps

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        highest, of, length = self.learning_rate, step, self.steps
        if step >= self.steps:
            highest, of, length = self.polish_rate, step - self.steps, self.polish_steps
        if of < self.warm_up:
            return highest * (of + 1) / self.warm_up
        done = (of - self.warm_up) / max(1, length - self.warm_up)
        return highest * 0.5 * (1.0 + math.cos(math.pi * done))


def first_network(recipe: BirdRecipe) -> BirdNet:
    """Return the untrained network of a recipe; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return BirdNet(recipe.pooling)


def train_birds_embedder(
    recipe: BirdRecipe,
    out: str | Path,
    *,
    progress: bool = True,
    until: int | None = None,
    held_out: dict[str, int] | None = None,
    workers: int = 0,
) -> Path | None:
    """Train an embedder for the default gallery, or go on with a run that was interrupted.

    Args:
        recipe: What to train.
        out: Folder for the checkpoint of a run under way, and in the end for ``birds_{pooling}.safetensors`` and
            its card ``birds_{pooling}.json``. Made if missing.
        progress: Show a progress bar.
        until: Stop, as if interrupted, after this many steps in all.
        held_out: families, per_class and seed of the gallery of unseen species whose recall goes on the card; the
            default gallery if None.
        workers: Processes that draw the batches ahead of their turn; 0 draws in this one. The network that comes
            out is the same.

    Returns:
        The path of the finished weights; None where ``until`` stopped the run.

    Raises:
        ValueError: The folder holds the checkpoint of another recipe, or a broken one.
        KeyboardInterrupt: Passed on after what is done has been saved.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, folder / f"birds_{recipe.pooling}.checkpoint")
    run.resume()
    stop = recipe.all_steps if until is None else min(until, recipe.all_steps)
    shown = ({"loss": f"{run.advance(batch):.3f}"} for batch in run.drawn(stop, workers))
    name = f"birds, {recipe.pooling}"
    if not step_through(run, shown, recipe.all_steps, name, every=SAVE_EVERY, progress=progress):
        return None
    path = export_birds(
        run.net,
        first_network(recipe),
        folder,
        recipe=asdict(recipe),
        losses=run.losses,
        seconds=run.seconds,
        held_out=held_out,
    )
    with suppress(FileNotFoundError):
        run.path.unlink()
    return path


Drawn = tuple[np.ndarray, np.ndarray, float]  # images (N, H, W, 3) uint8, labels (N,), processor seconds


class _Ahead(Dataset[Drawn]):
    """The batches of some numbers, for processes that draw ahead."""

    def __init__(self, batches: BirdBatches, numbers: range) -> None:
        self.batches, self.numbers = batches, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, n: int) -> Drawn:
        began = time.process_time()
        images, labels = self.batches.batch(self.numbers[n])
        return images, labels, time.process_time() - began


def _as_it_is(batch: Any) -> Any:
    return batch


def _channels_last(gradient: Tensor) -> Tensor:
    """Lay a gradient out as the trunk lays out its cells; pooling's own layout makes every layer below slower."""
    return gradient.contiguous(memory_format=torch.channels_last)


def _give_way(_worker: int) -> None:
    """Let the network's threads go first: it computes on all cores, and drawing fills the pauses."""
    if hasattr(os, "nice"):
        os.nice(19)


def freeze_first(trunk: nn.Module, count: int) -> None:
    """Switch off the gradients of a trunk's first convolutions."""
    for layer in [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d)][:count]:
        layer.requires_grad_(False)


class _Run:
    """A training run: network, optimiser, the losses so far, and the file that keeps them."""

    def __init__(self, recipe: BirdRecipe, path: Path) -> None:
        self.recipe = recipe
        self.path = path
        self.batches = BirdBatches.of(
            recipe.families, recipe.seed, recipe.classes, recipe.per_class, recipe.harder_from
        )
        self.step = 0
        self.losses: list[float] = []
        self.seconds = 0.0
        self._take(first_network(recipe), recipe.learning_rate)

    def _take(self, net: BirdNet, rate: float) -> None:
        """Train this network from now on, with a fresh optimiser."""
        self.net = net.to(memory_format=torch.channels_last).train()
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=rate, weight_decay=self.recipe.weight_decay
        )

    def _begin_polish(self) -> None:
        """Go over to the folded network, rounded to what float16 can hold."""
        folded = rounded(fold_batch_norms(self.net))
        freeze_first(folded.trunk, self.recipe.polish_frozen)
        self._take(folded, self.recipe.polish_rate)

    def drawn(self, stop: int, workers: int) -> Iterator[Drawn]:
        """Yield the batches from the next step to before `stop`."""
        lag = self.recipe.mirrored_after
        if lag == 0:
            yield from self._freshly_drawn(range(self.step, stop), workers)
            return
        first = max(0, self.step - 1 - lag) // 2 * 2  # the earliest that is still wanted
        fresh = self._freshly_drawn(range(first, stop, 2), workers)
        held: dict[int, Drawn] = {}
        for step in range(first, stop):
            if step % 2 == 0:
                batch = held[step] = next(fresh)
            elif step >= self.step:
                images, labels, _ = held[max(0, step - 1 - lag)]
                batch = np.ascontiguousarray(images[:, :, ::-1]), labels, 0.0
                if step > lag:
                    held.pop(step - 1 - lag)
            if step >= self.step:
                yield batch

    def _freshly_drawn(self, numbers: range, workers: int) -> Iterator[Drawn]:
        ahead = _Ahead(self.batches, numbers)
        if workers == 0:
            yield from (ahead[n] for n in range(len(ahead)))
            return
        start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        yield from DataLoader(
            ahead,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4,
            multiprocessing_context=start,
            collate_fn=_as_it_is,
            worker_init_fn=_give_way,
        )

    def advance(self, batch: Drawn) -> float:
        """Make one step on a batch and return its loss."""
        images, labels, seconds = batch
        began = time.process_time() - seconds
        if self.step == self.recipe.steps:
            self._begin_polish()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        pixels: Tensor = images_to_input(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            cells = self.net.trunk(pixels)
        if cells.requires_grad:
            cells.register_hook(_channels_last)
        loss = multi_similarity_loss(self.net.embed_cells(cells.float()), torch.from_numpy(labels))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.seconds += time.process_time() - began
        return self.losses[-1]

    def save(self) -> None:
        """Write the checkpoint; a half-written one never takes the place of a whole one."""
        state = {
            "recipe": asdict(self.recipe),
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "seconds": self.seconds,
        }
        write_checkpoint(self.path, state)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one."""
        state = read_checkpoint_of(self.path, asdict(self.recipe))
        if state is None:
            return
        if len(state["losses"]) > self.recipe.steps:
            self._begin_polish()
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = state["losses"]
        self.step = len(self.losses)
        self.seconds = state["seconds"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = training_parser("train_birds", "an embedder of the default gallery")
    offer_recipe(parser, BirdRecipe, "pooling")
    offer_out(parser)
    offer_recipe(parser, BirdRecipe, *OFFERED)
    offer_threads(parser)
    offer_workers(parser, usual=2)

    def train(out: str, workers: int, **options: Any) -> Path | None:
        return train_birds_embedder(BirdRecipe(**options), out, workers=workers)

    return train_as_asked(parser, arguments, train)


if __name__ == "__main__":
    start_anew_for_speed()
    raise SystemExit(main())
