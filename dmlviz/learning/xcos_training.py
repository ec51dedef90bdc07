"""Training an xCos head on top of any frozen trunk, with progress, interruption and resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder import Embedder
from dmlviz.embedder.as_found import evaluating
from dmlviz.embedder.xcos import FEATURES, XCos
from dmlviz.embedder.xcos_file import trunk_sha256, write_xcos
from dmlviz.learning.checkpoint import read_checkpoint, step_through, write_checkpoint
from dmlviz.learning.run_card import cost_of_run
from dmlviz.learning.xcos_loss import CLASSIFIERS, Classifier, pair_cosines, pairs_of, xcos_losses

Batches = Callable[[int], tuple[Any, np.ndarray]]
"""Number of a step -> its pictures, a sequence of (h, w, 3) uint8, and their classes (N,) integers from 0."""
SAVE_EVERY: Final = 100
"""Steps between two checkpoints."""
_CURVE_POINTS: Final = 40


@dataclass(frozen=True)
class XCosRecipe:
    """Everything that decides what the trained head becomes, beside the embedder and the batches.

    Losses, margins and attention are the published ones. The optimiser is not: AdamW for a few hundred steps with
    one rise and fall of the rate, instead of a hundred epochs of SGD and Adam.

    Args:
        seed: Chooses the first weights and the pairs.
        steps: Optimiser steps.
        classifier: "cosface" (s = 30, m = 0.35) or "arcface" (s = 64, m = 0.5).
        classification: Weight of the classification loss, ≥ 0; 1 as published. The other loss has weight 1.
        symmetric: As for `XCos`; False is the published order.
        learning_rate: Highest learning rate; a half cosine takes it to zero.
        weight_decay: AdamW's.
        warm_up: Steps over which the learning rate rises.
    """

    seed: int = 0
    steps: int = 600
    classifier: Classifier = "cosface"
    classification: float = 1.0
    symmetric: bool = True
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    warm_up: int = 20

    def __post_init__(self) -> None:
        if self.classifier not in CLASSIFIERS:
            raise ValueError(f"classifier must be 'cosface' or 'arcface', got {self.classifier!r}")
        if self.steps < 1:
            raise ValueError(f"a training run needs at least 1 step, got {self.steps}")
        if self.seed < 0:
            raise ValueError(f"seed must be a non-negative integer, got {self.seed}")
        if not (math.isfinite(self.classification) and self.classification >= 0):
            raise ValueError(f"classification must be a finite weight ≥ 0, got {self.classification}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        rising = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * rising * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


def train_xcos_head(
    embedder: Embedder,
    batches: Batches,
    classes: int,
    recipe: XCosRecipe,
    out: str | Path,
    *,
    name: str = "xcos",
    about: dict[str, Any] | None = None,
    progress: bool = True,
    until: int | None = None,
) -> Path | None:
    """Train an xCos head on the trunk of an embedder, or go on where an interrupted run stopped.

    The embedder is frozen: it gives the feature maps, and its embeddings' cosines are what xCos learns to follow
    (in eval mode, without gradient).

    Args:
        embedder: Any embedder; left as it was.
        batches: Step -> pictures and classes; the same step must always give the same, for resuming.
        classes: How many classes there are; labels run from 0 to classes − 1.
        recipe: What to train.
        out: Folder for the checkpoint ``NAME.checkpoint`` while training runs, and in the end for the weights
            ``NAME.safetensors`` and their card ``NAME.json``. Made if missing.
        name: What to call the files.
        about: What the batches are, for the card; a run is only gone on with if it is the same.
        progress: Show a progress bar.
        until: Stop, as if interrupted, after this many steps in all.

    Returns:
        The path of the finished weights, for `dmlviz.embedder.read_xcos`; None where ``until`` stopped the run.

    Raises:
        ValueError: The folder holds the checkpoint of another run, or a broken one; labels out of range.
        KeyboardInterrupt: Passed on after what is done has been saved.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(embedder, batches, classes, recipe, about or {}, folder / f"{name}.checkpoint")
    run.resume()
    stop = recipe.steps if until is None else min(until, recipe.steps)
    shown = (_told(*run.advance()) for _ in range(run.step, stop))
    if not step_through(run, shown, recipe.steps, name, every=SAVE_EVERY, progress=progress):
        return None
    path = write_xcos(run.module.eval(), folder / f"{name}.safetensors", embedder, run.told())
    with suppress(FileNotFoundError):
        run.path.unlink()
    return path


def _told(classification: float, agreement: float) -> dict[str, str]:
    return {"classification": f"{classification:.2f}", "agreement": f"{agreement:.4f}"}


class _Run:
    """A training run: head, class centres, optimiser, the losses so far, and the file that keeps them."""

    def __init__(
        self,
        embedder: Embedder,
        batches: Batches,
        classes: int,
        recipe: XCosRecipe,
        about: dict[str, Any],
        path: Path,
    ) -> None:
        self.embedder, self.batches, self.recipe, self.path = embedder, batches, recipe, path
        self.is_of = {
            "recipe": asdict(recipe),
            "batches": about,
            "classes": classes,
            "trunk": trunk_sha256(embedder.trunk),
        }
        self.losses: list[list[float]] = []
        self.seconds = 0.0
        self.images_seen = 0
        height, width = embedder.map_size
        channels = int(self.maps_of(batches(0)[0][:1])[0].shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.module = XCos(channels, symmetric=recipe.symmetric).to(embedder.device).train()
            directions = torch.randn(classes, FEATURES * height * width)
        self.centres = nn.Parameter(nn.functional.normalize(directions, dim=1).to(embedder.device))
        self.optimiser = torch.optim.AdamW(
            [*self.module.parameters(), self.centres],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.losses)

    @torch.no_grad()
    def maps_of(self, images: Any) -> tuple[Tensor, Tensor]:
        """Feature maps (N, C, h, w) and embeddings (N, D) of pictures, by the frozen embedder."""
        maps = self.embedder.feature_maps(images, batch_size=len(images)).float()
        with evaluating(self.embedder.head):
            return maps, self.embedder.head(maps).float()

    def advance(self) -> tuple[float, float]:
        """Make one step and return its two losses."""
        began = time.process_time()
        images, labels = self.batches(self.step)
        maps, embeddings = self.maps_of(images)
        partner = torch.from_numpy(pairs_of(labels, (self.recipe.seed, self.step))).to(maps.device)
        classes = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(maps.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        losses = xcos_losses(
            self.module,
            self.centres,
            (maps, maps[partner]),
            (classes, classes[partner]),
            pair_cosines(embeddings, embeddings[partner]),
            self.recipe.classifier,
        )
        self.optimiser.zero_grad()
        (self.recipe.classification * losses.classification + losses.agreement).backward()
        self.optimiser.step()
        self.losses.append([loss.item() for loss in losses])
        self.images_seen += len(labels)
        self.seconds += time.process_time() - began
        return losses.classification.item(), losses.agreement.item()

    def told(self) -> dict[str, Any]:
        """What the card tells beside the weights."""
        every = max(1, len(self.losses) // _CURVE_POINTS)
        starts = range(0, len(self.losses), every)
        curve = np.stack([np.mean(self.losses[start : start + every], axis=0) for start in starts])
        return {
            "recipe": asdict(self.recipe),
            "batches": self.is_of["batches"],
            "classes": self.is_of["classes"],
            "grid": list(self.embedder.map_size),
            "images_seen": self.images_seen,
            **cost_of_run(self.seconds, drawn=False),
            "loss_curve": {
                "steps_per_point": every,
                "classification": curve[:, 0].round(4).tolist(),
                "agreement": curve[:, 1].round(5).tolist(),
            },
        }

    def save(self) -> None:
        """Write the checkpoint; a half-written one never takes the place of a whole one."""
        state = {
            "is_of": self.is_of,
            "module": self.module.state_dict(),
            "centres": self.centres.detach(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "seconds": self.seconds,
            "images_seen": self.images_seen,
        }
        write_checkpoint(self.path, state)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one."""
        state = read_checkpoint(self.path, "is_of")
        if state is None:
            return
        others = [what for what, value in self.is_of.items() if state["is_of"].get(what) != value]
        if others:
            raise ValueError(
                f"{self.path} is the checkpoint of another run (another {', '.join(others)}). Give the same options "
                "to go on with it, another folder to start afresh, or delete it."
            )
        self.module.load_state_dict(state["module"])
        with torch.no_grad():
            self.centres.copy_(state["centres"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses, self.seconds = state["losses"], state["seconds"]
        self.images_seen = state["images_seen"]
