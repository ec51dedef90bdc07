"""The recipe of the shipped embedders: ``python -m dmlviz.learning.train_birds --pooling avg --out DIR``.

One command, one seed, one network. Ctrl-C keeps what is done; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import math
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from dmlviz.embedder.birdnet import POOLINGS, BirdNet, BirdPooling, images_to_input
from dmlviz.learning.bird_batches import BirdBatches
from dmlviz.learning.bird_export import export_birds
from dmlviz.learning.multi_similarity import multi_similarity_loss

SAVE_EVERY: Final = 100
"""Steps between two checkpoints."""


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
        precision: "bfloat16" for convolutions in bfloat16 (about half the time on processors that have it) or
            "float32". The weights are float32 either way.
    """

    pooling: BirdPooling = "avg"
    seed: int = 0
    steps: int = 2200
    families: int = 500
    classes: int = 24
    per_class: int = 4
    harder_from: int = 600
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warm_up: int = 40
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"The pooling is 'avg' or 'max'; got {self.pooling!r}.")
        if self.precision not in ("bfloat16", "float32"):
            raise ValueError(f"The precision is 'bfloat16' or 'float32'; got {self.precision!r}.")
        for name in ("steps", "families", "classes", "per_class"):
            if getattr(self, name) < 1:
                raise ValueError(f"A training run needs {name} of at least 1; got {getattr(self, name)}.")
        if self.seed < 0:
            raise ValueError(f"The seed is a non-negative integer; got {self.seed}.")
        if self.classes % 4 or self.families < self.classes // 4:
            raise ValueError(
                "A batch is made of whole groups of four siblings: classes must be a multiple of 4 and families at "
                f"least classes / 4; got classes={self.classes}, families={self.families}."
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


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
    stop = recipe.steps if until is None else min(until, recipe.steps)
    bar = tqdm(total=recipe.steps, initial=run.step, desc=f"birds, {recipe.pooling}", disable=not progress)
    try:
        while run.step < stop:
            loss = run.advance()
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if run.step % SAVE_EVERY == 0:
                run.save()
    except KeyboardInterrupt:
        run.save()
        print(
            f"Stopped after {run.step} of {recipe.steps} steps; the same command goes on from there.",
            file=sys.stderr,
        )
        raise
    finally:
        bar.close()
    if run.step < recipe.steps:
        run.save()
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


class _Run:
    """A training run: network, optimiser, the losses so far, and the file that keeps them."""

    def __init__(self, recipe: BirdRecipe, path: Path) -> None:
        self.recipe = recipe
        self.path = path
        self.batches = BirdBatches.of(
            recipe.families, recipe.seed, recipe.classes, recipe.per_class, recipe.harder_from
        )
        self.net = first_network(recipe).to(memory_format=torch.channels_last).train()
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.losses: list[float] = []
        self.seconds = 0.0

    def advance(self) -> float:
        """Make one step and return its loss."""
        began = time.perf_counter()
        images, labels = self.batches.batch(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        pixels: Tensor = images_to_input(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            embeddings = self.net(pixels)
        loss = multi_similarity_loss(embeddings.float(), torch.from_numpy(labels))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.seconds += time.perf_counter() - began
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
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.path)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one."""
        if not self.path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{self.path} is not a whole checkpoint ({type(error).__name__}). Delete it to start afresh."
            ) from error
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(
                f"{self.path} is the checkpoint of another recipe ({state['recipe']}). Give the same options to go "
                "on with it, another folder to start afresh, or delete it."
            )
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = state["losses"]
        self.step = len(self.losses)
        self.seconds = state["seconds"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="python -m dmlviz.learning.train_birds",
        description="Train an embedder of the default gallery. Ctrl-C keeps what is done; the same command goes on.",
    )
    parser.add_argument("--pooling", choices=POOLINGS, default="avg")
    parser.add_argument("--out", required=True, help="folder for the weights, their card and the checkpoint")
    parser.add_argument("--seed", type=int, default=BirdRecipe.seed)
    parser.add_argument("--steps", type=int, default=BirdRecipe.steps)
    parser.add_argument("--families", type=int, default=BirdRecipe.families)
    parser.add_argument("--learning-rate", type=float, default=BirdRecipe.learning_rate)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default=BirdRecipe.precision)
    parser.add_argument("--threads", type=int, help="threads for torch; its own choice if not given")
    options = vars(parser.parse_args(arguments))
    out, threads = options.pop("out"), options.pop("threads")
    try:
        recipe = BirdRecipe(**options)
        if threads is not None:
            torch.set_num_threads(threads)
        path = train_birds_embedder(recipe, out)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
