"""What all published networks have in common: a feature map, and a head in closed form."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dmlviz.embedder.linear_head import LinearHead

_RESIDUAL_GAIN = (
    0.25  # of the last normalisation of a residual branch, so that 50 random blocks stay in range
)


class PublishedNet(nn.Module, ABC):
    """A network whose parameters are called as in a published file.

    `forward` gives what the published network gives; `feature_map` and `linear_head` give the same in two steps.
    """

    @abstractmethod
    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float, preprocessed -> the last feature map (N, C, h, w)."""

    @abstractmethod
    def linear_head(self) -> LinearHead:
        """The head, sharing its weights with the network: feature map -> embedding before L2 normalisation."""

    def trunk(self) -> nn.Module:
        """`feature_map` as a module."""
        return TrunkOf(self)

    def residual_norms(self) -> list[nn.BatchNorm2d]:
        """The last batch normalisation of each residual branch; none where nothing is added up."""
        return []


class TrunkOf(nn.Module):
    """A published network up to its feature map, as a module of its own."""

    def __init__(self, net: PublishedNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, h, w)."""
        return self.net.feature_map(images)


@torch.no_grad()
def fill_with_random_weights(net: PublishedNet, seed: int) -> None:
    """Draw every weight anew: He's initialisation (2015, eq. 10), normalisations as if fresh.

    The last normalisation of a residual branch starts at a quarter, so that the sums of many blocks stay in
    range. The global random state is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            gain = 2.0 if isinstance(part, nn.Conv2d) else 1.0
            part.weight.normal_(0, (gain / part.weight[0].numel()) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_parameters()
        elif isinstance(part, nn.PReLU):
            part.weight.fill_(part.init)
    for norm in net.residual_norms():
        norm.weight.fill_(_RESIDUAL_GAIN)
