"""The recipe of the small shipped embedders: ``python -m dmlviz.learning.train_generated --what faces --out DIR``.

One command, one seed, one network, trained on drawn faces or persons as the birds' networks are on birds: the
multi-similarity loss, a second stage on the folded network, the linear map fitted once more at the end. Beside the
embedding every cell learns to name the parts that it shows, their shapes and their colours, which teaches the trunk
in few steps where to look; that second head is thrown away. Ctrl-C keeps what is done; the same command goes on from
there. About 13 minutes with one thread.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.birdnet import images_to_input
from dmlviz.embedder.smallnet import WIDTHS, SmallNet, fold_small, rounded_small, write_small
from dmlviz.learning.checkpoint import step_through
from dmlviz.learning.command_line import (
    offer_out,
    offer_recipe,
    offer_threads,
    offer_workers,
    train_as_asked,
    training_parser,
)
from dmlviz.learning.discriminant import discriminant_map
from dmlviz.learning.multi_similarity import multi_similarity_loss
from dmlviz.learning.people_batches import SUBJECTS, What, batches_of, many_of
from dmlviz.learning.people_measures import HELD_OUT, held_out_set, measure
from dmlviz.learning.run_card import cost_of_run, loss_curve
from dmlviz.learning.train_birds import OFFERED, SAVE_EVERY, BirdRecipe, Drawn, _Run, freeze_first

CHOICES: Final = tuple(SUBJECTS)
SHOWN: Final = 10
"""So many of a cell's 64 pixels must belong to a part for the cell to be asked to name it."""
PRESENT: Final = 10.0
"""Weight of a look that a cell shows, against one that it does not: most cells show few."""


@dataclass(frozen=True)
class PeopleRecipe(BirdRecipe):
    """Everything that decides what the trained network becomes: what the birds' recipe tells, and three things more.

    Args:
        what: "faces" or "persons".
        widths: Channels after each of the six convolutions.
        dim: Length of the embedding.
        naming: Weight of the loss of naming parts, cell by cell, beside the multi-similarity loss, 0 or more.
    """

    steps: int = 2000
    families: int = 400
    classes: int = 16
    harder_from: int = 150
    mirrored_after: int = 0
    polish_steps: int = 600
    polish_frozen: int = 0
    head_families: int = 40
    head_per_class: int = 18
    what: What = "faces"
    widths: tuple[int, ...] = WIDTHS
    dim: int = 64
    naming: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.what not in CHOICES:
            raise ValueError(f"What is learnt is 'faces' or 'persons'; got {self.what!r}.")
        if not self.naming >= 0:
            raise ValueError(f"naming is a weight of 0 or more; got {self.naming}.")

    @property
    def told(self) -> dict[str, Any]:
        """The recipe as it is kept in checkpoints and on the card."""
        return {**asdict(self), "widths": list(self.widths)}


def first_people_network(recipe: PeopleRecipe) -> SmallNet:
    """Return the untrained network of a recipe; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return SmallNet(recipe.widths, recipe.pooling, recipe.dim, SUBJECTS[recipe.what].size)


def train_people_embedder(
    recipe: PeopleRecipe,
    out: str | Path,
    *,
    progress: bool = True,
    until: int | None = None,
    held_out: dict[str, int] | None = None,
    workers: int = 0,
) -> Path | None:
    """Train an embedder of drawn faces or persons, or go on with a run that was interrupted.

    Args:
        recipe: What to train.
        out: Folder for the checkpoint of a run under way, and in the end for ``{what}.safetensors`` and its card
            ``{what}.json``. Made if missing.
        progress: Show a progress bar.
        until: Stop, as if interrupted, after this many steps in all.
        held_out: Arguments of the gallery of unseen people that the card reports on; the default one if None.
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
    run = _PeopleRun(recipe, folder / f"{recipe.what}.checkpoint")
    run.resume()
    stop = recipe.all_steps if until is None else min(until, recipe.all_steps)
    shown = ({"loss": f"{run.advance(batch):.3f}"} for batch in run.drawn(stop, workers))
    if not step_through(run, shown, recipe.all_steps, recipe.what, every=SAVE_EVERY, progress=progress):
        return None
    path = _export(run, recipe, folder, HELD_OUT[recipe.what] if held_out is None else held_out)
    with suppress(FileNotFoundError):
        run.path.unlink()
    return path


class _PeopleRun(_Run):
    """The birds' training run with other batches, a `SmallNet` and a second head that names parts.

    The second head is a child of the network, "names", while it trains: checkpoints keep it, weights do not.
    """

    def __init__(self, recipe: PeopleRecipe, path: Path) -> None:
        self.recipe: PeopleRecipe = recipe
        self.path = path
        batches = batches_of(
            recipe.what, recipe.families, recipe.seed, recipe.classes, recipe.per_class, recipe.harder_from
        )
        self.batches = batches  # type: ignore[assignment]  # has the one method that a run asks for
        self.variants = torch.tensor([person.look.variants for person in batches.people]).flatten(1)
        parts = SUBJECTS[recipe.what].scheme.parts
        self.choices = [count for part in parts for count in (len(part.shapes), len(part.colours))]
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + 1)
            names = nn.Linear(recipe.widths[-1], sum(self.choices))
            nn.init.constant_(names.bias, -3.0)  # most cells show none of the looks
        self._take_small(first_people_network(recipe), names, recipe.learning_rate)

    def _take_small(self, net: SmallNet, names: nn.Linear, rate: float) -> None:
        net.add_module("names", names)
        self._take(net, rate)  # type: ignore[arg-type]

    def _begin_polish(self) -> None:
        names = cast(nn.Linear, self.net.get_submodule("names"))
        folded = rounded_small(fold_small(cast(SmallNet, self.net)))
        freeze_first(folded.trunk, self.recipe.polish_frozen)
        self._take_small(folded, names, self.recipe.polish_rate)

    def advance(self, batch: Drawn) -> float:
        """Make one step on a batch and return its loss."""
        images, people, seconds = batch
        began = time.process_time() - seconds
        if self.step == self.recipe.steps:
            self._begin_polish()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        labels = torch.from_numpy(people)
        pixels = images_to_input(images[..., :3]).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            cells = self.net.trunk(pixels)
        cells = cells.float()
        loss = multi_similarity_loss(self.net.embed_cells(cells), labels)
        loss = loss + self.recipe.naming * self._naming_loss(cells, images[..., 3], self.variants[labels])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.seconds += time.process_time() - began
        return self.losses[-1]

    def _naming_loss(self, cells: Tensor, regions: np.ndarray, variants: Tensor) -> Tensor:
        """Binary cross entropy of naming, at every cell, the shape and the colour of the parts that it shows.

        Args:
            cells: (N, C, h, w) float, the feature maps.
            regions: (N, H, W) uint8, the region that each pixel shows.
            variants: (N, 2 · parts) int64, shape and colour of each part.

        Returns:
            The weighted mean over cells and looks: a look that a cell shows on `SHOWN` of its 64 pixels or more
            weighs `PRESENT`, one that it does not show at all weighs one, and what lies between weighs nothing.
        """
        scores = self.net.get_submodule("names")(cells.permute(0, 2, 3, 1))
        scheme = SUBJECTS[self.recipe.what].scheme
        targets, weights = torch.zeros_like(scores), torch.ones_like(scores)
        at = 0
        for number, count in enumerate(self.choices):
            name = scheme.part_names[number // 2]
            pixels = _by_cell(regions == scheme.region_id[name])
            shown, unseen = pixels >= SHOWN, pixels == 0
            look = nn.functional.one_hot(variants[:, number], count)[:, None, None, :]
            targets[..., at : at + count] = look * shown[..., None]
            weights[..., at : at + count] = (shown | unseen)[..., None].float()
            at += count
        weights = weights * (1.0 + (PRESENT - 1.0) * targets)
        losses = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return (losses * weights).sum() / weights.sum()

    def finished(self) -> SmallNet:
        """Return the network as readers will have it: folded, rounded to float16, without the second head."""
        net = cast(SmallNet, self.net)
        net = copy.deepcopy(net) if net.folded else fold_small(net)
        if "names" in dict(net.named_children()):
            del net.names
        return rounded_small(net)


def _command(recipe: PeopleRecipe) -> str:
    """Return the line that makes the network anew: the options that differ from the recipe's own are spelt out."""
    told = ("pooling", *OFFERED)
    usual = PeopleRecipe(what=recipe.what)
    given = [
        f" --{name.replace('_', '-')} {getattr(recipe, name)}"
        for name in told
        if getattr(recipe, name) != getattr(usual, name)
    ]
    return f"python -m dmlviz.learning.train_generated --what {recipe.what} --out DIR{''.join(given)}"


def _by_cell(mask: np.ndarray) -> Tensor:
    """Count the pixels of each cell, (N, H, W) bool -> (N, h, w) int64."""
    n, height, width = mask.shape
    return torch.from_numpy(mask.reshape(n, height // 8, 8, width // 8, 8).sum((2, 4)))


@torch.no_grad()
def fit_linear_map(net: SmallNet, recipe: PeopleRecipe) -> None:
    """Replace a folded network's linear map by the one that best tells training people apart (`discriminant_map`)."""
    pooled, labels = [], []
    for images, people in many_of(recipe.what, recipe.head_families, recipe.head_per_class, recipe.seed + 1):
        pooled.append(net.pool(net.trunk(images_to_input(images))).numpy())
        labels.append(people)
    weight = net.linear.weight
    found = discriminant_map(np.concatenate(pooled), np.concatenate(labels), weight.shape[0])
    weight.copy_(torch.from_numpy(found * (float(weight.norm()) / float(np.linalg.norm(found)))))


def _export(run: _PeopleRun, recipe: PeopleRecipe, folder: Path, where: dict[str, int]) -> Path:
    """Fold, round to float16, fit the linear map, measure on unseen people and write."""
    net = run.finished()
    if recipe.head_families:
        fit_linear_map(net, recipe)
        net = rounded_small(net)
    images = held_out_set(recipe.what, **where)
    pictures = np.stack(list(images))
    return write_small(
        net,
        folder,
        recipe.what,
        {
            "command": _command(recipe),
            "recipe": recipe.told,
            "images_seen": len(run.losses) * recipe.classes * recipe.per_class,
            **cost_of_run(run.seconds),
            "held_out": {
                **where,
                "images": len(images),
                **measure(net, images, pictures, hover=True),
                "untrained_network": measure(
                    first_people_network(recipe).eval(), images, pictures, hover=True
                ),
            },
            "loss_curve": loss_curve(run.losses),
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = training_parser("train_generated", "the embedder of a drawn gallery")
    parser.add_argument("--what", choices=CHOICES, required=True)
    offer_out(parser)
    offer_recipe(parser, PeopleRecipe, "pooling", *OFFERED)
    offer_threads(parser)
    offer_workers(parser, usual=0)

    def train(out: str, workers: int, **options: Any) -> Path | None:
        return train_people_embedder(PeopleRecipe(**options), out, workers=workers)

    return train_as_asked(parser, arguments, train)


if __name__ == "__main__":
    raise SystemExit(main())
