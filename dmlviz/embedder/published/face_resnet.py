"""Improved residual networks for faces: flatten, one linear map, batch normalisation.

`EvolveIR` after ZhaoJ9014/face.evoLVe (backbone/model_irse.py), `ExplainedIR` after Jeff-Zilence's
Explain_Metric_Learning (Face_Verification), whose weights are those of foamliu's ArcFace. Both: Deng and others,
"ArcFace", 2019, §3.1. Faces are aligned, 112 × 112 pixels; the map has 512 channels and 7 × 7 cells.
"""

from torch import Tensor, nn

from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.published.net import PublishedNet

Units = tuple[int, int, int, int]
IR_50: Units = (3, 4, 14, 3)
IR_101: Units = (3, 13, 30, 3)
IR_152: Units = (3, 8, 36, 3)
_PLANES = (64, 128, 256, 512)
_CELLS = 7 * 7


class SqueezeAndExcite(nn.Module):
    """Gates per channel from the map's average (Hu and others, 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same, each channel times its gate."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class EvolveUnit(nn.Module):
    """One unit of `EvolveIR`: `res_layer` beside `shortcut_layer`."""

    def __init__(self, channels_in: int, channels: int, stride: int, gated: bool) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if channels_in != channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            *([SqueezeAndExcite(channels)] if gated else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, channels, h / stride, w / stride)."""
        found: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return found


class EvolveIR(PublishedNet):
    """`input_layer.0.weight`, `body.0.res_layer.1.weight`, ..., `output_layer.3.weight`: files of face.evoLVe.

    Args:
        units: Units per stage: `IR_50`, `IR_101` or `IR_152`.
        gated: Whether each unit ends in squeeze and excitation (the files called IR-SE).
    """

    def __init__(self, units: Units = IR_50, gated: bool = False) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        made, channels = [], 64
        for count, planes in zip(units, _PLANES, strict=True):
            for n in range(count):
                made.append(EvolveUnit(channels, planes, 2 if n == 0 else 1, gated))
                channels = planes
        self.body = nn.Sequential(*made)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(512 * _CELLS, 512),
            nn.BatchNorm1d(512),
        )

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, 112, 112) -> (N, 512, 7, 7), normalised."""
        found: Tensor = self.output_layer[0](self.body(self.input_layer(images)))
        return found

    def linear_head(self) -> LinearHead:
        """Flatten, linear map, batch normalisation."""
        return _flatten_head(self.output_layer[3], self.output_layer[4])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 112, 112) -> (N, 512), not of length 1."""
        found: Tensor = self.output_layer(self.body(self.input_layer(images)))
        return found

    def residual_norms(self) -> list[nn.BatchNorm2d]:
        """The last normalisation of each `res_layer`."""
        norms = [part.res_layer[4] for part in self.modules() if isinstance(part, EvolveUnit)]
        return [norm for norm in norms if isinstance(norm, nn.BatchNorm2d)]


class ExplainedUnit(nn.Module):
    """One unit of `ExplainedIR`: one PReLU, with one number, serves twice."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, channels, h / stride, w / stride)."""
        out = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        out = self.bn2(self.conv2(out))
        found: Tensor = self.prelu(out + (x if self.downsample is None else self.downsample(x)))
        return found


class ExplainedIR(PublishedNet):
    """`conv1.weight`, `layer1.0.bn0.weight`, ..., `fc.weight`, `bn3.weight`: the file of Zhu, Yang and Chen.

    The first convolution is not padded, and a pooling follows it: 112 -> 110 -> 55 -> 28 -> 14 -> 7 cells.

    Args:
        units: Units per stage.
    """

    def __init__(self, units: Units = IR_152) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.maxpool = nn.MaxPool2d(2, 2)
        channels = 64
        for number, (count, planes) in enumerate(zip(units, _PLANES, strict=True), start=1):
            made = []
            for n in range(count):
                made.append(ExplainedUnit(channels, planes, 2 if n == 0 and number > 1 else 1))
                channels = planes
            self.add_module(f"layer{number}", nn.Sequential(*made))
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(512 * _CELLS, 512)
        self.bn3 = nn.BatchNorm1d(512)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, 112, 112) -> (N, 512, 7, 7), normalised."""
        x = self.maxpool(self.prelu(self.bn1(self.conv1(images))))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        found: Tensor = self.bn2(x)
        return found

    def linear_head(self) -> LinearHead:
        """Flatten, linear map, batch normalisation."""
        return _flatten_head(self.fc, self.bn3)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 112, 112) -> (N, 512), not of length 1."""
        found: Tensor = self.bn3(self.fc(self.dropout(self.feature_map(images)).flatten(1)))
        return found

    def residual_norms(self) -> list[nn.BatchNorm2d]:
        """The last normalisation of each unit's branch."""
        return [part.bn2 for part in self.modules() if isinstance(part, ExplainedUnit)]


def _flatten_head(linear: nn.Module, norm: nn.Module) -> LinearHead:
    if not isinstance(linear, nn.Linear) or not isinstance(norm, nn.BatchNorm1d):
        raise TypeError(
            f"the head must be an nn.Linear and an nn.BatchNorm1d, got {type(linear).__name__} and "
            f"{type(norm).__name__}"
        )
    return LinearHead("flatten", linear, norm)
