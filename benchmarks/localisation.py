"""Weakly supervised localisation on drawn birds, in the form of Dist-CAM's Table 1. Prints Markdown.

    python -m benchmarks.localisation

Every other image of each species is a training sample, the rest are judged. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import nn

import dmlviz as dv
from benchmarks.evidence import table
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.faithfulness import localisation_table

SEEDS = {"default families (seed 0)": 0, "unseen families (seed 4001)": 4001}
RIDGES = tuple(10.0**power for power in range(-6, 2))
NETWORKS = {
    "birds, average pooling": lambda: birds_embedder("avg"),
    "birds, max pooling": lambda: birds_embedder("max"),
    "ResNet-18, random weights": lambda: Embedder.from_torchvision("resnet18", seed=0),
}


FEWER = {"ResNet-18, random weights": 120}
"""Networks that are slow here, and how many queries they are judged on at most."""


def ridge_classifier(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One-against-all ridge regression in closed form, its strength chosen by leaving one out.

    With centred features X, targets Y (1 for the own class, else 0, centred) and a penalty λ: W = Yᵀ X (XᵀX + λI)⁻¹.
    The prediction for a row that was left out is known without fitting again: (ŷ − h y)/(1 − h), h the row's
    diagonal entry of X (XᵀX + λI)⁻¹ Xᵀ + 1/N. λ is the mean of the diagonal of XᵀX times that of `RIDGES` which
    puts the fewest rows into a wrong class, the largest of those that tie.

    Args:
        features: (N, F) float, one row per image.
        labels: (N,).

    Returns:
        weight (K, F) and bias (K,) float64; class k is the k-th of the sorted labels.
    """
    classes, own = np.unique(labels, return_inverse=True)
    means = features.mean(axis=0, dtype=np.float64)
    x = features.astype(np.float64) - means
    shares = np.bincount(own) / len(own)
    y = np.eye(len(classes))[own] - shares
    left, lengths, axes = np.linalg.svd(x, full_matrices=False)
    best: tuple[int, float] | None = None
    for ridge in RIDGES:
        penalty = ridge * float((lengths**2).sum()) / x.shape[1]
        kept = lengths**2 / (lengths**2 + penalty)
        fitted = (left * kept) @ (left.T @ y)
        leverage = (left**2 @ kept)[:, None] + 1 / len(x)
        without = (fitted - leverage * y) / (1 - leverage) + shares
        wrong = int((without.argmax(axis=1) != own).sum())
        if best is None or wrong <= best[0]:
            best = wrong, penalty
    assert best is not None
    weight = ((left.T @ y).T * (lengths / (lengths**2 + best[1]))) @ axes
    return weight, shares - weight @ means


def pooled(embedder: Embedder, images: dv.ImageSet) -> np.ndarray:
    """What a CAM's classifier reads: the pooled feature maps before the head's linear map, (N, C) float64."""
    if not isinstance(embedder.head, LinearHead):
        raise TypeError("the head has no pooling that is known")
    pool = LinearHead(embedder.head.pooling)
    with torch.no_grad():
        return np.concatenate(
            [pool(embedder.feature_maps([images[i]])).cpu().double().numpy() for i in range(len(images))]
        )


def with_classifier(embedder: Embedder, images: dv.ImageSet) -> Embedder:
    """Give an embedder a classifier of the labels of some images, fitted in closed form."""
    weight, bias = ridge_classifier(pooled(embedder, images), np.asarray(images.labels))
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    embedder.classifier = linear.requires_grad_(False)
    return embedder


def galleries(seed: int, networks: dict = NETWORKS, **of_birds: int) -> Iterator[tuple[str, dv.Gallery]]:
    """Each network's gallery: every other bird a training sample, the rest its queries."""
    birds = dv.birds(seed=seed, **of_birds)
    training, judged = (birds.subset(np.arange(first, len(birds), 2)) for first in (0, 1))
    for name, make in networks.items():
        embedder = with_classifier(make(), training)
        yield name, dv.Gallery.build(training, embedder, queries=judged, progress=False)


def found(seed: int, queries: int = 480, progress: bool = True, **of_birds: int) -> pd.DataFrame:
    """The table of one gallery of birds, all networks and methods."""
    parts = [
        localisation_table({name: gallery}, queries=min(queries, FEWER.get(name, queries)), progress=progress)
        for name, gallery in galleries(seed, **of_birds)
    ]
    return pd.concat(parts, ignore_index=True)


def as_markdown(frame: pd.DataFrame) -> str:
    """One gallery's figures as a Markdown table, errors in per cent as in the paper."""

    def cell(value: float, low: float, high: float) -> str:
        return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    rows = []
    for row in frame.itertuples():
        rows.append(
            (
                row.network,
                row.method,
                cell(row.error, row.low, row.high),
                f"{cell(row.best_error, row.best_low, row.best_high)} at {row.best_threshold:g}",
                f"{100 * row.class_error:.1f}",
                f"{100 * row.box_error:.1f}",
                f"{100 * row.best_box_error:.1f}",
                str(row.queries),
            )
        )
    head = (
        "Network",
        "Method",
        "Top-1 error at 0.20",
        "Top-1 error, best threshold",
        "class wrong",
        "box wrong at 0.20",
        "box wrong, best threshold",
        "queries",
    )
    return table(rows, head)


def section(queries: int = 480, progress: bool = True, seeds: dict[str, int] = SEEDS, **of_birds: int) -> str:
    """Markdown: both galleries, what the columns mean, what differs from the paper, what follows."""
    parts = []
    for name, seed in seeds.items():
        frame = found(seed, queries, progress, **of_birds)
        parts.append(f"### {name[0].upper() + name[1:]}\n\n{as_markdown(frame)}")
    return f"""## Weakly supervised localisation, in the form of Dist-CAM's Table 1

Top-1 localisation error in per cent, lower is better: an image counts as wrong where its class is wrong, or where the
box round its map meets the known box with an intersection over union below 0.5 (Shen et al., *Distance-Based Class
Activation Map for Metric Learning*, Table 1). In brackets the 95 % interval of a bootstrap over species, Wilson's
where all species agree.

{(chr(10) * 2).join(parts)}

How to read it. *CAM* gives the class of a classifier and the map of that class. *Dist-CAM, prototype* is the
paper's: the class whose mean feature map is nearest, and the map against it; *best match* takes label and map from
the image ranked first, as the paper does for retrieval. *decomposition* is the exact one, against the image ranked
first or against the mean of the most similar class. The other rows take their label from the image ranked first, and
their maps know no pair: *uniform* is the whole view, *centre* a Gaussian in its middle, *feature norm* the length of
each cell's features, *random weights* the exact decomposition of the same network with its weights drawn anew.

**The box does not separate methods here.** A bird's box, from beak to tail, fills most of its view and lies in its
middle, so that a Gaussian in the centre, which has seen no image, beats every explanation, and at CAM's threshold
so does the whole view. With average pooling even the exact map of a network that has learnt nothing, whose weights
are drawn at random, finds the box where the trained network's map does not. Explanations lose this game because
they are true to a few small parts: at 20 % of the maximum their box holds the part that decided, not the bird.
Lower thresholds mend that by taking in more and more of the view; the best one is chosen on the very images that
are judged. With it Dist-CAM comes out before CAM, as in the paper, and before the exact decomposition too, clearly
so with max pooling, where only the few cells that hold a maximum count.

What differs from the paper: no network is trained on ImageNet here, and none twice, once with a softmax and once
with a distance. The birds' networks were trained by metric learning on other species; every other image of each
species is a training sample (prototypes, gallery, classifier), the rest are judged. CAM's classifier reads the
pooled features and is fitted in closed form (ridge regression, its strength chosen by leaving one out), not by
softmax. ResNet-18 with random weights stands for a network that has learnt nothing. The paper states no threshold;
20 % of the maximum is CAM's own. Maps are placed by the geometry of the cells, and only what speaks for the class or
the match is read. Photographs are left out: no boxes are known for those at hand.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=480, help="how many images to judge at most")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(section(asked.queries))


if __name__ == "__main__":
    main()
