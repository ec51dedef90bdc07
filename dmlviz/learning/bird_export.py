"""Writing a trained bird network down: float16 weights, and the card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save

from dmlviz.embedder.birdnet import (
    BIRD_SIZE,
    CELL_STRIDE,
    FIRST_CELL,
    PIXEL_MEAN,
    PIXEL_STD,
    RECEPTIVE_FIELD,
    BirdNet,
    fold_batch_norms,
    images_to_input,
)
from dmlviz.images.bird_drawing import draw_picture
from dmlviz.images.bird_species import bird_families, family_scenes
from dmlviz.learning.bird_head import fit_linear
from dmlviz.learning.run_card import cost_of_run, loss_curve

HELD_OUT: Final = {"families": 8, "per_class": 20, "seed": 0}
"""The gallery of held-out species that cards report on: the default one."""
RECALLS: Final = (1, 2, 4, 8)


def export_birds(
    net: BirdNet,
    untrained: BirdNet,
    folder: Path,
    *,
    recipe: dict[str, Any],
    losses: list[float],
    seconds: float,
    held_out: dict[str, int] | None = None,
) -> Path:
    """Fold, round to float16, measure and write a trained network.

    Args:
        net: The trained network, folded or not.
        untrained: The same network before its first step.
        folder: Where ``birds_{pooling}.safetensors`` and ``birds_{pooling}.json`` go.
        recipe: The options of the training run, for the card.
        losses: The loss of every step.
        seconds: Processor time of all steps.
        held_out: families, per_class and seed of the gallery the card reports on; the default gallery if None.

    Returns:
        The path of the weights.
    """
    where = HELD_OUT if held_out is None else held_out
    folded = rounded(net if net.folded else fold_batch_norms(net))  # what readers will have
    if recipe["head_families"]:
        fit_linear(
            folded,
            recipe["head_families"],
            recipe["head_per_class"],
            recipe["seed"] + 1,
            recipe["head_ridge"],
        )
        folded = rounded(folded)
    halves = {name: value.half().contiguous() for name, value in folded.state_dict().items()}
    path = folder / f"birds_{net.pooling}.safetensors"
    path.write_bytes(save(halves, metadata={"pooling": net.pooling}))
    images, labels = held_out_images(**where)
    card = {
        "name": path.stem,
        "what": "BirdNet of dmlviz.embedder.birdnet, batch normalisation folded, float16",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "geometry": {
            "input": [BIRD_SIZE, BIRD_SIZE],
            "stride": CELL_STRIDE,
            "first": FIRST_CELL,
            "receptive_field": RECEPTIVE_FIELD,
        },
        "preprocessing": {"mean": list(PIXEL_MEAN), "std": list(PIXEL_STD)},
        "command": f"python -m dmlviz.learning.train_birds --pooling {net.pooling} --out DIR",
        "recipe": recipe,
        "images_seen": len(losses) * recipe["classes"] * recipe["per_class"],
        **cost_of_run(seconds),
        "held_out": {
            **where,
            "images": len(labels),
            "classes": int(labels.max()) + 1,
            "recall": _recall_card(folded, images, labels),
            "recall_of_the_untrained_network": _recall_card(untrained.eval(), images, labels),
        },
        "loss_curve": loss_curve(losses),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return path


def rounded(net: BirdNet) -> BirdNet:
    """Return a copy of a folded network, in eval mode, with every weight rounded to float16 and kept in float32."""
    copied = BirdNet(net.pooling, folded=True).eval()
    copied.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    return copied


def held_out_images(families: int, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a gallery of held-out species: images (N, 96, 96, 3) uint8 and class numbers (N,) int64."""
    scenes = family_scenes(bird_families(families, "test", seed), per_class, "test", seed)
    images = np.stack([draw_picture(scene, BIRD_SIZE) for scene in scenes])
    return images, np.repeat(np.arange(6 * families), per_class)


@torch.no_grad()
def embed_birds(net: BirdNet, images: np.ndarray, batch_size: int = 96) -> np.ndarray:
    """Embed images (N, H, W, 3) uint8 with a network in eval mode: (N, 64) float32, not normalised."""
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    return np.concatenate([net(images_to_input(batch)).numpy() for batch in batches])


def recall_at(embeddings: np.ndarray, labels: np.ndarray, ks: tuple[int, ...] = RECALLS) -> dict[int, float]:
    """Measure recall@k by cosine, each image a query against all others.

    Args:
        embeddings: (N, D) float.
        labels: (N,) integers.
        ks: Which k.

    Returns:
        For each k, the share of queries with at least one image of their class among the k most similar others.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : max(ks)]
    found = np.maximum.accumulate(labels[order] == labels[:, None], axis=1)
    return {k: float(found[:, k - 1].mean()) for k in ks}


def _recall_card(net: BirdNet, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {f"@{k}": round(share, 4) for k, share in recall_at(embed_birds(net, images), labels).items()}
