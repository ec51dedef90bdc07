"""The small network behind the default gallery.

Six convolutions bring 96 × 96 pixels to a 12 × 12 feature map. The strided ones are 4 × 4 with padding 1, so that
cell i is centred at pixel 8·i + 3.5, exactly in the middle of the eight pixels it stands for; one cell sees 30 × 30
pixels. Pooling and one linear map without bias make the embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

BirdPooling = Literal["avg", "max"]
POOLINGS: Final = ("avg", "max")
BIRD_SIZE: Final = 96
"""Height and width of the images the network was made for, in pixels."""
EMBEDDING_DIM: Final = 64
"""Length of the embedding."""
CELL_STRIDE: Final = 8.0
FIRST_CELL: Final = 3.5
RECEPTIVE_FIELD: Final = 30.0
PIXEL_MEAN: Final = (0.5, 0.5, 0.5)
PIXEL_STD: Final = (0.25, 0.25, 0.25)

# (channels out, kernel, stride, padding)
_LAYERS: Final = ((32, 4, 2, 1), (64, 4, 2, 1), (64, 3, 1, 1), (96, 4, 2, 1), (128, 1, 1, 0), (128, 1, 1, 0))


class BirdNet(nn.Module):
    """Trunk, pooling and linear map of the default embedder.

    Args:
        pooling: "avg" or "max", over all cells.
        folded: Whether each batch normalisation has been folded into the convolution before it, as in the shipped
            weights. A network that is to be trained is not folded.

    Raises:
        ValueError: The pooling has no such name.
    """

    def __init__(self, pooling: BirdPooling = "avg", folded: bool = False) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"BirdNet pools by 'avg' or 'max'; got {pooling!r}.")
        self.pooling = pooling
        self.folded = folded
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for number, (out, kernel, stride, padding) in enumerate(_LAYERS, start=1):
            layers[f"conv{number}"] = nn.Conv2d(channels, out, kernel, stride, padding, bias=folded)
            if not folded:
                layers[f"norm{number}"] = nn.BatchNorm2d(out)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            channels = out
        self.trunk = nn.Sequential(layers)
        self.linear = nn.Linear(channels, EMBEDDING_DIM, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: (N, 3, H, W) float, normalised by ``PIXEL_MEAN`` and ``PIXEL_STD``.

        Returns:
            (N, 64) float embeddings, not normalised.
        """
        return self.embed_cells(self.trunk(images))

    def embed_cells(self, cells: Tensor) -> Tensor:
        """Pool feature maps (N, 128, h, w) over their cells and embed them: (N, 64), not normalised."""
        pooled = cells.mean((2, 3)) if self.pooling == "avg" else cells.amax((2, 3))
        embedded: Tensor = self.linear(pooled)
        return embedded


def images_to_input(images: np.ndarray) -> Tensor:
    """Turn images (N, H, W, 3) uint8 into the network's input (N, 3, H, W) float32."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    return pixels.sub_(mean).div_(std)


@torch.no_grad()
def fold_batch_norms(net: BirdNet) -> BirdNet:
    """Return the same function with every batch normalisation folded into its convolution (`fold_trunk`).

    Args:
        net: A network that is not folded yet. It is left as it is.

    Returns:
        A folded network in eval mode, float32.

    Raises:
        ValueError: The network is folded already.
    """
    if net.folded:
        raise ValueError("This BirdNet has no batch normalisation left to fold; it is folded already.")
    folded = BirdNet(net.pooling, folded=True)
    fold_trunk(net.trunk, folded.trunk, len(_LAYERS))
    folded.linear.weight.copy_(net.linear.weight)
    return folded.eval()


@torch.no_grad()
def fold_trunk(trunk: nn.Module, into: nn.Module, count: int) -> None:
    """Give a folded trunk the function of one that is not.

    In eval mode a batch normalisation is y = γ(x − μ)/√(σ² + ε) + β per channel, so the convolution's kernel is
    multiplied by γ/√(σ² + ε) and its bias becomes β − μγ/√(σ² + ε). Computed in float64.

    Args:
        trunk: With layers "conv1", "norm1", "conv2", ... It is left as it is.
        into: With layers "conv1", "conv2", ... of the same shapes, and biases.
        count: How many convolutions there are.
    """
    old, new = trunk.state_dict(), into.state_dict()  # tensors that share their memory with the networks
    for number in range(1, count + 1):
        conv, norm = f"conv{number}", f"norm{number}"
        mean, variance = old[f"{norm}.running_mean"].double(), old[f"{norm}.running_var"].double()
        gain = old[f"{norm}.weight"].double() / (variance + trunk.get_submodule(norm).eps).sqrt()  # type: ignore[operator]
        new[f"{conv}.weight"].copy_(old[f"{conv}.weight"].double() * gain[:, None, None, None])
        new[f"{conv}.bias"].copy_(old[f"{norm}.bias"].double() - mean * gain)
