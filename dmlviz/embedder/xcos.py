"""xCos: a similarity of two feature maps that is a weighted mean of the cosines of their cells.

Lin et al., xCos: An Explainable Cosine Metric for Face Verification (arXiv 2003.05383). A learnable
module on top of any trunk. Its score is explained by construction, and only its own score: not the cosine of the
trunk's embeddings, which it is trained to follow.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

FEATURES: Final = 32
"""Channels of a cell after the 1 × 1 convolution, as published."""
_HIDDEN: Final = 16
_EPS_LENGTH: Final = 1e-12
_EPS_COSINE: Final = 1e-6


class XCosParts(NamedTuple):
    """xCos of N pairs of images, with what it is made of.

    Attributes:
        weights: (N, h, w), the attention, ≥ 0; each image pair's weights sum to 1.
        cosines: (N, h, w), from −1 to 1: each cell against the same cell of the other image.
        scores: (N,), from −1 to 1: the sum over the cells of weight × cosine (the Frobenius product).
    """

    weights: Tensor
    cosines: Tensor
    scores: Tensor


def grid_cosines(features: Tensor, others: Tensor) -> Tensor:
    """Cosine of every cell with the same cell of the other image.

    As published, cells are first brought to length 1 (lengths below 1e-12 count as 1e-12) and their cosine is taken
    with an epsilon of 1e-6. A cell of length zero has the cosine 0 with everything.

    Args:
        features: (N, C, h, w) float.
        others: The same shape.

    Returns:
        (N, h, w), the same dtype, from −1 to 1 up to rounding.

    Raises:
        ValueError: The shapes differ.

    Examples:
        >>> import torch
        >>> left = torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]])      # two cells, (3, 4) and (1, 0)
        >>> right = torch.tensor([[[[6.0, 0.0]], [[8.0, 2.0]]]])     # two cells, (6, 8) and (0, 2)
        >>> [round(cosine, 5) for cosine in grid_cosines(left, right)[0, 0].tolist()]
        [1.0, 0.0]
    """
    _check_pair(features, others)
    unit, other = (nn.functional.normalize(cells, dim=1, eps=_EPS_LENGTH) for cells in (features, others))
    return nn.functional.cosine_similarity(unit, other, dim=1, eps=_EPS_COSINE)


class XCosAttention(nn.Module):
    """The published attention network: how much each cell of a pair of images weighs.

    Each image goes through a 3 × 3 convolution (32 -> 16), batch normalisation and PReLU; the two results side by
    side go through another such block and a 3 × 3 convolution to one channel with batch normalisation and PReLU. A
    softmax over all cells makes the weights. 9,462 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding_net = nn.Sequential(
            nn.Conv2d(FEATURES, _HIDDEN, 3, padding=1), nn.BatchNorm2d(_HIDDEN), nn.PReLU()
        )
        self.attention = nn.Sequential(
            nn.Conv2d(2 * _HIDDEN, _HIDDEN, 3, padding=1),
            nn.BatchNorm2d(_HIDDEN),
            nn.PReLU(),
            nn.Conv2d(_HIDDEN, 1, 3, padding=1),
            nn.BatchNorm2d(1),
            nn.PReLU(),
        )

    def forward(self, features: Tensor, others: Tensor) -> Tensor:
        """Weigh the cells of N pairs of images, in this order of the two.

        Args:
            features: (N, 32, h, w) float, of the first images.
            others: The same of the second images.

        Returns:
            (N, h, w), ≥ 0, with sum 1 over the cells of each pair.
        """
        both = self.embedding_net(torch.cat([features, others]))
        fused = torch.cat([both[: len(features)], both[len(features) :]], dim=1)
        levels = self.attention(fused)
        return levels.flatten(1).softmax(1).reshape(len(features), *features.shape[2:])


class XCos(nn.Module):
    """The xCos module on top of a trunk: a 1 × 1 convolution, cosines cell by cell, and attention.

    Cells are compared with the same cell of the other image only, so the images must be aligned for it to work
    well. Parameters are named as in the published code, where those of the convolution stand below ``backbone.``.

    Args:
        channels: C of the trunk's feature maps.
        symmetric: Whether the attention is the mean over both orders of the two images, so that xCos(a, b) =
            xCos(b, a). The published module takes one order only (False), and its score depends on which image is
            called the first. A similarity should not, so the mean is the default. The parameters are the same
            either way.

    Raises:
        ValueError: `channels` is below 1.

    Examples:
        >>> import torch
        >>> module = XCos(channels=8).eval()
        >>> maps = torch.randn(2, 8, 4, 5)
        >>> parts = module.parts(maps, maps)
        >>> tuple(parts.weights.shape), [round(score, 4) for score in parts.scores.tolist()]
        ((2, 4, 5), [1.0, 1.0])
    """

    def __init__(self, channels: int, symmetric: bool = True) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.symmetric = symmetric
        self.conv1x1 = nn.Sequential(
            nn.Conv2d(channels, FEATURES, 1), nn.BatchNorm2d(FEATURES), nn.PReLU(FEATURES)
        )
        self.attention = XCosAttention()

    @property
    def channels(self) -> int:
        """C of the feature maps that the module takes."""
        convolution = self.conv1x1[0]
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101 (made above)
        return convolution.in_channels

    def features(self, maps: Tensor) -> Tensor:
        """Turn the trunk's feature maps (N, C, h, w) into the cells that are compared, (N, 32, h, w).

        Raises:
            ValueError: The maps have another number of channels, or are no maps.
        """
        if maps.ndim != 4 or maps.shape[1] != self.channels:
            raise ValueError(
                f"this xCos head takes feature maps (N, {self.channels}, h, w), got {tuple(maps.shape)}; "
                "it was made for another trunk"
            )
        found: Tensor = self.conv1x1(maps)
        return found

    def compare(self, features: Tensor, others: Tensor) -> XCosParts:
        """Compare N pairs of images whose `features` are known.

        Args:
            features: (N, 32, h, w) float, of the first images.
            others: The same of the second images.

        Returns:
            Weights, cosines and scores.

        Raises:
            ValueError: The shapes differ.
        """
        cosines = grid_cosines(features, others)
        if self.symmetric:  # both orders in one batch, so that batch statistics in training are of both
            both = self.attention(torch.cat([features, others]), torch.cat([others, features]))
            weights = (both[: len(features)] + both[len(features) :]) / 2
        else:
            weights = self.attention(features, others)
        return XCosParts(weights, cosines, (weights * cosines).sum((1, 2)))

    def parts(self, maps: Tensor, others: Tensor) -> XCosParts:
        """Compare N pairs of feature maps, (N, C, h, w) each.

        Returns:
            Weights, cosines and scores.

        Raises:
            ValueError: Shapes that differ or do not suit the module.
        """
        _check_grids(maps, others)
        return self.compare(self.features(maps), self.features(others))

    def forward(self, maps: Tensor, others: Tensor) -> Tensor:
        """XCos of N pairs of feature maps, (N, C, h, w) each: (N,) from −1 to 1."""
        return self.parts(maps, others).scores

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        return f"channels={self.channels}, symmetric={self.symmetric}"


def _check_grids(maps: Tensor, others: Tensor) -> None:
    grids = [tuple(one.shape[2:]) for one in (maps, others)]
    if grids[0] != grids[1]:
        said = " and ".join("{} × {}".format(*grid) if len(grid) == 2 else str(grid) for grid in grids)
        raise ValueError(
            "xCos compares each cell with the same cell of the other image, so both need one grid; got "
            f"{said} cells. The method 'decomposition' compares every cell with every other"
        )


def _check_pair(features: Tensor, others: Tensor) -> None:
    _check_grids(features, others)
    if features.ndim != 4 or features.shape != others.shape:
        raise ValueError(
            "xCos compares as many images with as many others, (N, C, h, w) each; got "
            f"{tuple(features.shape)} and {tuple(others.shape)}"
        )
