"""ResNet-50 with last stride 1, average pooling and a batch normalisation as neck: person re-identification.

Names, shapes and wiring after michuanhaohao/reid-strong-baseline (Luo and others, "Bag of Tricks and a Strong
Baseline for Deep Person Re-identification", 2019) and Jeff-Zilence/Explain_Metric_Learning
(Person_Re-identification). Both leave out the ReLU after the first normalisation, and so does this module: the
published weights were trained without it.
"""

from abc import abstractmethod
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.published.net import PublishedNet

Layers = tuple[int, int, int, int]
RESNET_50: Layers = (3, 4, 6, 3)
CHANNELS = 2048
"""Channels of the last feature map."""
MARKET_PERSONS = 751
"""Identities that Market-1501 trains on."""


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut (He and others, 2016, figure 5)."""

    def __init__(self, channels_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != 4 * planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 4·planes, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def _parts(layers: Layers) -> "OrderedDict[str, nn.Module]":
    """The trunk's parts in order, under torchvision's names."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64), maxpool=nn.MaxPool2d(3, 2, 1)
    )
    channels = 64
    for number, (blocks, planes, stride) in enumerate(
        zip(layers, (64, 128, 256, 512), (1, 2, 2, 1), strict=True), start=1
    ):
        made = []
        for n in range(blocks):
            made.append(Bottleneck(channels, planes, stride if n == 0 else 1))
            channels = 4 * planes
        parts[f"layer{number}"] = nn.Sequential(*made)
    return parts


class _ReidResNet(PublishedNet):
    """Trunk, average pooling and neck; how the parts are called is up to the subclass."""

    @abstractmethod
    def _neck(self) -> nn.BatchNorm1d: ...

    def residual_norms(self) -> list[nn.BatchNorm2d]:
        """The normalisation after each block's last convolution."""
        return [part.bn3 for part in self.modules() if isinstance(part, Bottleneck)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2048), normalised by the neck, not of length 1."""
        found: Tensor = self._neck()(self.feature_map(images).mean((2, 3)))
        return found

    def linear_head(self) -> LinearHead:
        """Average pooling, then the neck; the classes' weights are not part of the embedding."""
        return LinearHead("avg", batch_norm=self._neck())


class StrongBaseline(_ReidResNet):
    """`base.conv1.weight`, ..., `bottleneck.weight`, ..., `classifier.weight`: files of reid-strong-baseline.

    Args:
        classes: Identities that the classifier was trained on; its weights are kept, not used.
        layers: Blocks per stage.
    """

    def __init__(self, classes: int = MARKET_PERSONS, layers: Layers = RESNET_50) -> None:
        super().__init__()
        self.base = nn.Sequential(_parts(layers))
        self.bottleneck = _frozen_shift(nn.BatchNorm1d(CHANNELS))
        self.classifier = nn.Linear(CHANNELS, classes, bias=False)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2048, H / 16, W / 16)."""
        found: Tensor = self.base(images)
        return found

    def trunk(self) -> nn.Sequential:
        """The convolutional part alone."""
        return self.base

    def _neck(self) -> nn.BatchNorm1d:
        return self.bottleneck


class _BNClassifier(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bn = _frozen_shift(nn.BatchNorm1d(CHANNELS))
        self.classifier = nn.Linear(CHANNELS, classes, bias=False)


class ExplainedReid(_ReidResNet):
    """`resnet_conv.0.weight`, ..., `classifier.bn.weight`, ...: the file of Zhu, Yang and Chen's demonstration.

    Args:
        classes: Identities that the classifier was trained on; its weights are kept, not used.
        layers: Blocks per stage.
    """

    def __init__(self, classes: int = MARKET_PERSONS, layers: Layers = RESNET_50) -> None:
        super().__init__()
        self.resnet_conv = nn.Sequential(*_parts(layers).values())
        self.classifier = _BNClassifier(classes)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2048, H / 16, W / 16)."""
        found: Tensor = self.resnet_conv(images)
        return found

    def trunk(self) -> nn.Sequential:
        """The convolutional part alone."""
        return self.resnet_conv

    def _neck(self) -> nn.BatchNorm1d:
        return self.classifier.bn


def _frozen_shift(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    norm.bias.requires_grad_(False)
    return norm
