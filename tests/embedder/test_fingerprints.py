"""Two embedders that answer differently are told apart."""

import torch
from torch import nn

from dmlviz.embedder import Embedder
from dmlviz.images import Preprocess


def embedder(*between: nn.Module) -> Embedder:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), *between, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Embedder.from_module(model.eval(), Preprocess.stretch(16))


def test_layers_without_weights_count():
    prints = {
        embedder(layer).fingerprint for layer in (nn.ReLU(), nn.ReLU6(), nn.ELU(), nn.ELU(0.5), nn.Tanh())
    }
    assert len(prints) == 5
    assert embedder(nn.ELU(0.5)).fingerprint in prints
