"""Two VGG-16 branches and one linear map: ground panoramas and aerial views of the same places.

After Jeff-Zilence/Explain_Metric_Learning (Geo-localization), which builds on CVM-Net (Hu and others, 2018,
repository david-husx/crossview_localisation). The published checkpoint is TensorFlow's;
`python -m dmlviz.embedder.published.from_tensorflow` writes it under the names used here.
"""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.published.net import PublishedNet

View = Literal["ground", "aerial"]
VGG_16 = (("1", 2, 64), ("2", 2, 128), ("3", 3, 256), ("4", 3, 512), ("5", 3, 512))
"""Stage, convolutions in it, channels."""
CHANNELS, DIM = 512, 4096


class VGGBranch(nn.Module):
    """The convolutions of VGG-16 (configuration D of Simonyan, Zisserman, 2015) up to conv5_3 and its ReLU.

    `conv1_1.weight`, `conv1_1.bias`, ..., `conv5_3.bias`. Four poolings of 2 × 2: stride 16.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for stage, count, planes in VGG_16:
            for n in range(1, count + 1):
                self.add_module(f"conv{stage}_{n}", nn.Conv2d(channels, planes, 3, padding=1))
                channels = planes

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 512, H / 16, W / 16)."""
        x = images
        for stage, count, _ in VGG_16:
            if stage != "1":
                x = F.max_pool2d(x, 2, 2, ceil_mode=True)  # TensorFlow's "SAME": an odd edge is pooled alone
            for n in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{n}")(x))
        return x


class CrossViewVGG(PublishedNet):
    """`ground.conv1_1.weight`, ..., `aerial.conv5_3.bias`, `fc1.weight`, `fc1.bias`: one of the two views.

    The branches share no weight; the linear map is the same for both. The file holds all three, so one file
    makes both embedders.

    Args:
        view: Which of the two views `feature_map` and `forward` take.
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        if view not in get_args(View):
            raise ValueError(f"unknown view {view!r}: expected 'ground' or 'aerial'")
        self.view: View = view
        self.ground = VGGBranch()
        self.aerial = VGGBranch()
        self.fc1 = nn.Linear(CHANNELS, DIM)

    def feature_map(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 512, H / 16, W / 16)."""
        found: Tensor = self.trunk()(images)
        return found

    def trunk(self) -> VGGBranch:
        """The branch of this view alone."""
        return self.ground if self.view == "ground" else self.aerial

    def linear_head(self) -> LinearHead:
        """Average pooling, then the linear map with its bias."""
        return LinearHead("avg", self.fc1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 4096), of length 1."""
        return F.normalize(self.fc1(self.feature_map(images).mean((2, 3))))
