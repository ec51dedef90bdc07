"""The recipe of the places' embedders: ``python -m dmlviz.learning.train_places --out DIR``.

Two networks that share no weight, one for panoramas and one for aerial views, learn to put the two views of one place
side by side: the in-batch softmax loss over freshly drawn places, siblings among them. Ctrl-C keeps what is done; the
same command goes on from there. About 6 minutes with one thread of a quiet machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.birdnet import images_to_input
from dmlviz.embedder.smallnet import (
    SmallNet,
    fold_small,
    rounded_small,
    write_small,
)
from dmlviz.images.place_gallery import Places, places
from dmlviz.learning.checkpoint import read_checkpoint_of, step_through, write_checkpoint
from dmlviz.learning.command_line import (
    offer_out,
    offer_recipe,
    offer_threads,
    train_as_asked,
    training_parser,
)
from dmlviz.learning.in_batch_softmax import in_batch_softmax_loss
from dmlviz.learning.place_batches import PlaceBatches
from dmlviz.learning.place_measures import embedder_of, measure_hover, measure_places
from dmlviz.learning.place_recipe import WIDTHS, PlaceRecipe, first_networks
from dmlviz.learning.run_card import cost_of_run, loss_curve

SAVE_EVERY: Final = 50
"""Steps between two checkpoints."""
HELD_OUT: Final = {"places": 200, "seed": 0}
"""The places that cards report on: the default ones."""


def train_places_embedders(
    recipe: PlaceRecipe,
    out: str | Path,
    *,
    progress: bool = True,
    until: int | None = None,
    held_out: dict[str, int] | None = None,
) -> tuple[Path, Path] | None:
    """Train the two embedders of the places, or go on with a run that was interrupted.

    Args:
        recipe: What to train.
        out: Folder for the checkpoint of a run under way, and in the end for ``places_ground.safetensors``,
            ``places_aerial.safetensors`` and their cards. Made if missing.
        progress: Show a progress bar.
        until: Stop, as if interrupted, after this many steps in all.
        held_out: places and seed of the unseen places that the cards report on; the default ones if None.

    Returns:
        The paths of the finished weights; None where ``until`` stopped the run.

    Raises:
        ValueError: The folder holds the checkpoint of another recipe, or a broken one.
        KeyboardInterrupt: Passed on after what is done has been saved.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, folder / "places.checkpoint")
    run.resume()
    stop = recipe.steps if until is None else min(until, recipe.steps)
    shown = ({"loss": f"{run.advance():.3f}"} for _ in range(run.step, stop))
    if not step_through(run, shown, recipe.steps, "places", every=SAVE_EVERY, progress=progress):
        return None
    paths = _export(run, folder, HELD_OUT if held_out is None else held_out)
    with suppress(FileNotFoundError):
        run.path.unlink()
    return paths


class _Run:
    """A training run: two networks, their optimiser, the losses so far, and the file that keeps them."""

    def __init__(self, recipe: PlaceRecipe, path: Path) -> None:
        self.recipe = recipe
        self.path = path
        self.batches = PlaceBatches(recipe.seed, recipe.families, recipe.turns)
        self.step = 0
        self.losses: list[float] = []
        self.seconds = 0.0
        self.nets = first_networks(recipe).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.nets.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def advance(self) -> float:
        """Make one step and return its loss."""
        began = time.process_time()
        views = dict(zip(("ground", "aerial"), self.batches.batch(self.step), strict=True))
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        panoramas, maps = (self._embed(view, images) for view, images in views.items())
        loss = in_batch_softmax_loss(panoramas, maps, self.recipe.temperature)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.seconds += time.process_time() - began
        return self.losses[-1]

    def _embed(self, view: str, images: np.ndarray) -> Tensor:
        net = cast(SmallNet, self.nets[view])
        pixels = images_to_input(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            cells = net.trunk(pixels)
        return net.embed_cells(cells.float())

    def save(self) -> None:
        """Write the checkpoint; a half-written one never takes the place of a whole one."""
        state = {
            "recipe": asdict(self.recipe),
            "nets": self.nets.state_dict(),
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
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = state["losses"]
        self.step = len(self.losses)
        self.seconds = state["seconds"]


def _export(run: _Run, folder: Path, where: dict[str, int]) -> tuple[Path, Path]:
    """Fold, round to float16, measure on unseen places and write both networks."""
    nets = {view: rounded_small(fold_small(net)) for view, net in run.nets.items()}  # type: ignore[arg-type]
    untrained = {view: net.eval() for view, net in first_networks(run.recipe).items()}
    count, seed = where["places"], where["seed"]
    city, lost = places(count, seed), places(count, seed, heading="unknown")
    card: dict[str, Any] = {
        "command": "python -m dmlviz.learning.train_places --out DIR",
        "recipe": {**asdict(run.recipe), "widths": {view: list(widths) for view, widths in WIDTHS.items()}},
        "pairs_seen": len(run.losses) * run.batches.size,
        **cost_of_run(run.seconds),
        "held_out": {
            **where,
            "retrieval": _retrieval(nets, city),
            "retrieval_with_three_siblings": _retrieval(nets, places(count, seed, siblings=3)),
            "retrieval_by_the_untrained_networks": _retrieval(untrained, city),
            "retrieval_with_unknown_headings": _retrieval(nets, lost),
            "hover": _hover(nets, city),
            "hover_of_the_untrained_networks": _hover(untrained, city),
        },
        "loss_curve": loss_curve(run.losses),
    }
    ground, aerial = (
        write_small(nets[view], folder, f"places_{view}", card) for view in ("ground", "aerial")
    )
    return ground, aerial


def _retrieval(nets: dict[str, Any], city: Places) -> dict[str, float]:
    found = measure_places(embedder_of(nets["ground"]), embedder_of(nets["aerial"]), city)
    return {name: round(value, 4) for name, value in found.items() if not math.isnan(value)}


def _hover(nets: dict[str, Any], city: Places) -> dict[str, float]:
    found = measure_hover(embedder_of(nets["ground"]), embedder_of(nets["aerial"]), city)
    return {name: round(value, 4) for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = training_parser("train_places", "the embedders of the places")
    offer_out(parser, card="cards")
    offer_recipe(parser, PlaceRecipe, "pooling", "seed", "steps", "temperature", "learning_rate", "precision")
    offer_threads(parser)

    def train(out: str, **options: Any) -> tuple[Path, Path] | None:
        return train_places_embedders(PlaceRecipe(**options), out)

    return train_as_asked(parser, arguments, train)


if __name__ == "__main__":
    raise SystemExit(main())
