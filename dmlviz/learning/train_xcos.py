"""The recipe of the shipped xCos head: ``python -m dmlviz.learning.train_xcos --out DIR``.

The birds' trunk stays as it is; the head is trained with the published losses (`train_xcos_head`). One command, one
seed, one head. Ctrl-C keeps what is done; the same command goes on from there. About three minutes with one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmlviz.embedder import birds_embedder
from dmlviz.embedder.birdnet import POOLINGS, BirdPooling
from dmlviz.learning.bird_batches import BirdBatches
from dmlviz.learning.command_line import (
    offer_out,
    offer_recipe,
    offer_threads,
    train_as_asked,
    training_parser,
)
from dmlviz.learning.xcos_training import XCosRecipe, train_xcos_head


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe on the birds from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = training_parser("train_xcos", "an xCos head on the birds' trunk")
    offer_out(parser)
    parser.add_argument("--pooling", choices=POOLINGS, default="avg", help="which of the two shipped trunks")
    parser.add_argument("--name", help="of the files; xcos_birds, with _max for that trunk, if not given")
    offer_recipe(parser, XCosRecipe, "seed", "steps")
    parser.add_argument("--families", type=int, default=100, help="training families, six classes each")
    parser.add_argument("--classes", type=int, default=16, help="classes in a batch, four images each")
    offer_recipe(parser, XCosRecipe, "classifier", "classification")
    parser.add_argument(
        "--published-order",
        action="store_true",
        help="attention in one order of the images only, as published",
    )
    offer_recipe(parser, XCosRecipe, "learning_rate")
    offer_threads(parser)
    return train_as_asked(parser, arguments, _train)


def _train(
    out: str,
    pooling: BirdPooling,
    name: str | None,
    families: int,
    classes: int,
    published_order: bool,
    **options: Any,
) -> Path | None:
    if families < 1 or classes < 4 or classes % 4 or families < classes // 4:
        raise ValueError("classes must be a multiple of 4, and families at least classes / 4")
    recipe = XCosRecipe(symmetric=not published_order, **options)
    return train_xcos_head(
        birds_embedder(pooling),
        BirdBatches.of(families, recipe.seed, classes=classes).batch,
        6 * families,
        recipe,
        out,
        name=name or ("xcos_birds" if pooling == "avg" else f"xcos_birds_{pooling}"),
        about={"families": families, "classes": classes, "per_class": 4, "seed": recipe.seed},
    )


if __name__ == "__main__":
    raise SystemExit(main())
