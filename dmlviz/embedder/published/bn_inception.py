"""BN-Inception with maximum pooling and a linear map: image retrieval with the Multi-Similarity loss.

Names, shapes and wiring after Jeff-Zilence/Explain_Metric_Learning (Image_Retrieval), msight-tech/research-ms-loss
and bnu-wangxun/Deep_Metric, which share the layer names of the Caffe model (Ioffe, Szegedy, 2015).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.published.net import PublishedNet


@dataclass(frozen=True)
class _Block:
    """Channels of one inception block; no `single` and no `pooled` where the block halves the map."""

    name: str
    channels_in: int
    single: int | None  # 1×1
    reduce: int  # 1×1 before the 3×3
    wide: int  # 3×3
    double_reduce: int  # 1×1 before the two 3×3
    double_first: int
    double_second: int
    pooled: int | None  # 1×1 after pooling
    max_pooled: bool = False

    @property
    def halves(self) -> bool:
        return self.single is None


_BLOCKS = (
    _Block("3a", 192, 64, 64, 64, 64, 96, 96, 32),
    _Block("3b", 256, 64, 64, 96, 64, 96, 96, 64),
    _Block("3c", 320, None, 128, 160, 64, 96, 96, None),
    _Block("4a", 576, 224, 64, 96, 96, 128, 128, 128),
    _Block("4b", 576, 192, 96, 128, 96, 128, 128, 128),
    _Block("4c", 576, 160, 128, 160, 128, 160, 160, 128),
    _Block("4d", 608, 96, 128, 192, 160, 192, 192, 128),
    _Block("4e", 608, None, 128, 192, 192, 256, 256, None),
    _Block("5a", 1056, 352, 192, 320, 160, 224, 224, 128),
    _Block("5b", 1024, 352, 192, 320, 192, 224, 224, 128, max_pooled=True),
)
CHANNELS = 1024
"""Channels of the last feature map."""


class BNInceptionTrunk(nn.Module):
    """The convolutional part: (N, 3, H, W), BGR −104/−117/−128 -> (N, 1024, h, w), stride 32.

    Each convolution `name` has a bias and is followed by the normalisation `name_bn` and a ReLU. The two blocks
    that halve the map join convolutions padded by 1 with a pooling that is not padded, so their branches lie half
    a cell apart; the geometry notes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7, stride=2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        for block in _BLOCKS:
            name, stride = f"inception_{block.name}", 2 if block.halves else 1
            if block.single is not None:
                self._add(f"{name}_1x1", block.channels_in, block.single, 1)
            self._add(f"{name}_3x3_reduce", block.channels_in, block.reduce, 1)
            self._add(f"{name}_3x3", block.reduce, block.wide, 3, stride)
            self._add(f"{name}_double_3x3_reduce", block.channels_in, block.double_reduce, 1)
            self._add(f"{name}_double_3x3_1", block.double_reduce, block.double_first, 3)
            self._add(f"{name}_double_3x3_2", block.double_first, block.double_second, 3, stride)
            if block.pooled is not None:
                self._add(f"{name}_pool_proj", block.channels_in, block.pooled, 1)

    def _add(self, name: str, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(channels))

    def _run(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1024, h, w)."""
        x = _halved(self._run("conv1_7x7_s2", images))
        x = _halved(self._run("conv2_3x3", self._run("conv2_3x3_reduce", x)))
        for block in _BLOCKS:
            x = self._inception(block, x)
        return x

    def _inception(self, block: _Block, x: Tensor) -> Tensor:
        name = f"inception_{block.name}"
        single = [] if block.single is None else [self._run(f"{name}_1x1", x)]
        wide = self._run(f"{name}_3x3", self._run(f"{name}_3x3_reduce", x))
        double = self._run(f"{name}_double_3x3_1", self._run(f"{name}_double_3x3_reduce", x))
        double = self._run(f"{name}_double_3x3_2", double)
        if block.halves:
            pooled = _halved(x)
        else:
            pool = F.max_pool2d if block.max_pooled else F.avg_pool2d
            pooled = self._run(f"{name}_pool_proj", pool(x, 3, stride=1, padding=1))
        return torch.cat([*single, wide, double, pooled], 1)


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


class _Classifier(nn.Module):
    """The linear map, and a normalisation that the published file holds and the network never runs."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(CHANNELS)
        self.linear = nn.Linear(CHANNELS, dim)


class ExplainedBNInception(BNInceptionTrunk, PublishedNet):
    """`conv1_7x7_s2.weight`, ..., `classifier.linear.weight`: the file of Zhu, Yang and Chen's demonstration.

    Args:
        dim: Length of the embedding.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        self.classifier = _Classifier(dim)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1024, h, w)."""
        return BNInceptionTrunk.forward(self, images)

    def linear_head(self) -> LinearHead:
        """Maximum pooling, then the linear map with its bias."""
        return LinearHead("max", self.classifier.linear)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), of length 1."""
        pooled = F.adaptive_max_pool2d(self.feature_map(images), 1).flatten(1)
        return F.normalize(self.classifier.linear(pooled))


class MultiSimilarityBNInception(PublishedNet):
    """`backbone.conv1_7x7_s2.weight`, ..., `head.fc.weight`: files of research-ms-loss.

    Args:
        dim: Length of the embedding.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        self.backbone = BNInceptionTrunk()
        self.head = nn.ModuleDict({"fc": nn.Linear(CHANNELS, dim)})

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1024, h, w)."""
        found: Tensor = self.backbone(images)
        return found

    def trunk(self) -> BNInceptionTrunk:
        """The convolutional part alone."""
        return self.backbone

    def linear_head(self) -> LinearHead:
        """Maximum pooling, then the linear map with its bias."""
        return LinearHead("max", _linear(self.head["fc"]))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), of length 1."""
        return F.normalize(self.head["fc"](F.adaptive_max_pool2d(self.feature_map(images), 1).flatten(1)))


def _linear(part: nn.Module) -> nn.Linear:
    if not isinstance(part, nn.Linear):
        raise TypeError(f"the head's linear map must be an nn.Linear, got {type(part).__name__}")
    return part
