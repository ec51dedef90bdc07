"""A small real network whose cells see one patch each: what is covered in a patch changes that cell alone."""

import numpy as np
import torch
from torch import nn

from dmlviz.embedder import CellGeometry, Embedder, LinearHead
from dmlviz.images import Preprocess

PATCH = 4


def patch_embedder(size=(8, 12), pooling="avg", seed=0, dim=5, bias=True):
    """Convolution of patches, ReLU, pooling, linear map; receptive field = stride."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = nn.Sequential(nn.Conv2d(3, 6, PATCH, stride=PATCH, bias=bias), nn.ReLU())
        head = LinearHead(pooling, nn.Linear(6, dim, bias=bias))
    preprocess = Preprocess.stretch(size, mean=(0.5,) * 3, std=(0.1,) * 3)
    return Embedder(trunk, head, preprocess, geometry=CellGeometry.from_trunk(trunk, size))


def pictures(count, size=(8, 12), seed=0):
    """Blocks of colour with some noise."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (count, -(-size[0] // PATCH), -(-size[1] // PATCH), 3))
    large = blocks.repeat(PATCH, axis=1).repeat(PATCH, axis=2)[:, : size[0], : size[1]]
    return list((large + random.integers(-30, 31, large.shape)).clip(0, 255).astype(np.uint8))


class Fixed:
    """Masks that are given."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=np.float32)

    def __len__(self):
        return len(self.values)

    def keep(self, start, stop):
        return self.values[start:stop]
