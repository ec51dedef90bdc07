"""The geometry of a trunk, measured: the slow twin of the arithmetic."""

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating, placement
from dmlviz.embedder.geometry import CellGeometry


def measured_geometry(
    trunk: nn.Module, input_size: tuple[int, int], *, channels: int = 3, samples: int = 8, seed: int = 0
) -> CellGeometry:
    """Measure where the cells lie: the centroid of |gradient| of central cells over random images.

    Args:
        trunk: Module (N, channels, H, W) -> (N, C, h, w); left as found.
        input_size: (H, W) in pixels; large enough that a central cell sees no border.
        channels: Channels of the image.
        samples: Random normal images to average over.
        seed: Of the random images.

    Returns:
        The geometry; its receptive field is the extent in which the gradient is not zero, which is the
        theoretical one only while it fits inside the image.

    Raises:
        ValueError: If the feature map has fewer than 2 × 2 cells.
    """
    device, dtype = placement(trunk)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, channels, *input_size, generator=generator).to(device, dtype)
    with evaluating(trunk):
        with torch.no_grad():
            h, w = trunk(images[:1]).shape[2:]
        if min(h, w) < 2:
            raise ValueError(
                f"a feature map of {h} × {w} cells has no stride to measure; take a larger input"
            )
        near, far = (
            _cell_weight(trunk, images, i, j) for i, j in (((h - 1) // 2, (w - 1) // 2), (h // 2, w // 2))
        )
        if h % 2 or w % 2:  # an odd side has one central cell: take its neighbour as well
            far = _cell_weight(trunk, images, (h - 1) // 2 + 1, (w - 1) // 2 + 1)
    first, stride, field = [], [], []
    for axis, cells in enumerate((h, w)):
        profiles = [weight.sum(1 - axis) for weight in (near, far)]
        centres = [float((p * np.arange(p.size)).sum() / p.sum()) for p in profiles]
        seen = np.flatnonzero(profiles[0] > 0)
        stride.append(centres[1] - centres[0])
        first.append(centres[0] - stride[-1] * ((cells - 1) // 2))
        field.append(float(seen[-1] - seen[0] + 1))
    return CellGeometry(
        (stride[0], stride[1]), (first[0], first[1]), (field[0], field[1]), "measured by gradient"
    )


def _cell_weight(trunk: nn.Module, images: Tensor, i: int, j: int) -> np.ndarray:
    """|gradient| of one cell with random signs over its channels, per pixel (H, W) float64, summed over images."""
    total = 0.0
    for image in images:
        leaf = image[None].clone().requires_grad_(True)
        with torch.enable_grad():
            cell = trunk(leaf)[0, :, i, j]
            sign = torch.randn(cell.shape, generator=torch.Generator().manual_seed(i * 131 + j)).to(cell)
            (gradient,) = torch.autograd.grad((cell * sign).sum(), leaf)
        total = total + gradient[0].abs().sum(0).double().cpu().numpy()
    return np.asarray(total)
