"""Embedders whose last feature maps are known: picture number n gets the n-th planted map."""

import numpy as np
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead
from dmlviz.images import Preprocess

POOLINGS = ["avg", "max", "avg+max", "gem"]


class PlantedMaps(nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.register_buffer("maps", torch.stack([torch.as_tensor(m) for m in maps]))

    def forward(self, x):
        return self.maps[(x[:, 0, 0, 0] * 255).round().long()]


def planted(maps, head, **options):
    """An embedder of pictures `picture(n)`, in the precision of the maps, and of the head brought to it."""
    trunk = PlantedMaps(maps)
    return Embedder(
        trunk,
        head.to(trunk.maps.dtype),
        Preprocess.stretch(4, mean=0.0, std=1.0),
        name="planted",
        **options,
    )


def picture(n):
    return np.full((4, 4, 3), n, np.uint8)


def some_maps(seed=0, count=2, channels=6, grid=(3, 4), signed=False):
    """Activations in float64, above 0 so that GeM clamps nothing, unless signed."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(count, channels, *grid, generator=generator, dtype=torch.float64)
    return drawn * 2 - 1 if signed else drawn + 0.05


def some_head(
    pooling, linear=True, bias=True, batch_norm=False, seed=0, channels=6, cells=12, dim=5, ties="split"
):
    generator = torch.Generator().manual_seed(seed)
    n_in = channels * cells if pooling == "flatten" else channels
    out = dim if linear else n_in
    head = LinearHead(
        pooling,
        nn.Linear(n_in, out, bias=bias) if linear else None,
        nn.BatchNorm1d(out, eps=1e-3) if batch_norm else None,
        ties=ties,
    ).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        if batch_norm:
            norm = head.batch_norm
            norm.running_mean.copy_(torch.randn(out, generator=generator, dtype=torch.float64))
            norm.running_var.copy_(torch.rand(out, generator=generator, dtype=torch.float64) + 0.1)
            if not bias:
                norm.running_mean.zero_()
                norm.bias.zero_()
    return head.eval()
