"""The recipe of the shipped xCos head: ``python -m dmlviz.learning.train_xcos --out DIR``.

The birds' trunk stays as it is; the head is trained with the published losses (`train_xcos_head`). One command, one
seed, one head. Ctrl-C keeps what is done; the same command goes on from there. About three minutes with one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from dmlviz.embedder import birds_embedder
from dmlviz.embedder.birdnet import POOLINGS
from dmlviz.learning.bird_batches import BirdBatches
from dmlviz.learning.xcos_loss import CLASSIFIERS
from dmlviz.learning.xcos_training import XCosRecipe, train_xcos_head


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe on the birds from the command line; returns the exit code (130 after Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="python -m dmlviz.learning.train_xcos",
        description="Train an xCos head on the birds' trunk. Ctrl-C keeps what is done; the same command goes on.",
    )
    parser.add_argument("--out", required=True, help="folder for the weights, their card and the checkpoint")
    parser.add_argument("--pooling", choices=POOLINGS, default="avg", help="which of the two shipped trunks")
    parser.add_argument("--name", help="of the files; xcos_birds, with _max for that trunk, if not given")
    parser.add_argument("--seed", type=int, default=XCosRecipe.seed)
    parser.add_argument("--steps", type=int, default=XCosRecipe.steps)
    parser.add_argument("--families", type=int, default=100, help="training families, six classes each")
    parser.add_argument("--classes", type=int, default=16, help="classes in a batch, four images each")
    parser.add_argument("--classifier", choices=CLASSIFIERS, default=XCosRecipe.classifier)
    parser.add_argument("--classification", type=float, default=XCosRecipe.classification)
    parser.add_argument(
        "--published-order",
        action="store_true",
        help="attention in one order of the images only, as published",
    )
    parser.add_argument("--learning-rate", type=float, default=XCosRecipe.learning_rate)
    parser.add_argument("--threads", type=int, help="threads for torch; its own choice if not given")
    asked = parser.parse_args(arguments)
    name = asked.name or ("xcos_birds" if asked.pooling == "avg" else f"xcos_birds_{asked.pooling}")
    if asked.families < 1 or asked.classes < 4 or asked.classes % 4 or asked.families < asked.classes // 4:
        parser.error("classes must be a multiple of 4, and families at least classes / 4")
    try:
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        recipe = XCosRecipe(
            seed=asked.seed,
            steps=asked.steps,
            classifier=asked.classifier,
            classification=asked.classification,
            symmetric=not asked.published_order,
            learning_rate=asked.learning_rate,
        )
        about = {"families": asked.families, "classes": asked.classes, "per_class": 4, "seed": asked.seed}
        drawn = BirdBatches.of(asked.families, asked.seed, classes=asked.classes)
        path = train_xcos_head(
            birds_embedder(asked.pooling),
            drawn.batch,
            6 * asked.families,
            recipe,
            asked.out,
            name=name,
            about=about,
        )
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
