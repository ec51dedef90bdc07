"""Which published files there are for each application, and what their networks are fed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from dmlviz.embedder.published.bn_inception import ExplainedBNInception, MultiSimilarityBNInception
from dmlviz.embedder.published.checkpoint import Shapes, shapes_of
from dmlviz.embedder.published.crossview_vgg import CrossViewVGG
from dmlviz.embedder.published.face_resnet import IR_50, IR_101, IR_152, EvolveIR, ExplainedIR
from dmlviz.embedder.published.net import PublishedNet
from dmlviz.embedder.published.reid_resnet import ExplainedReid, StrongBaseline
from dmlviz.images import Preprocess


@dataclass(frozen=True)
class Variant:
    """One family of published files.

    Attributes:
        name: What it is called.
        build: Makes the network.
        preprocess: What the network is fed.
        source: The repository whose files they are.
        free: Settings of `build` that are read off the file: name of the setting -> (name of a tensor, its axis).
    """

    name: str
    build: Callable[..., PublishedNet]
    preprocess: Preprocess
    source: str
    free: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def settings(self, given: Shapes) -> dict[str, Any]:
        """Settings of `build` that a file's shapes fix."""
        return {
            setting: given[key][axis]
            for setting, (key, axis) in self.free.items()
            if key in given and axis < len(given[key])
        }

    def without_weights(self, **settings: Any) -> PublishedNet:
        """The network on the meta device: names and shapes, no numbers."""
        with torch.device("meta"):
            return self.build(**settings)

    def shapes(self, given: Shapes) -> Shapes:
        """The names and shapes that this variant wants of a file with the given ones."""
        return shapes_of(self.without_weights(**self.settings(given)).state_dict())


def _bgr(crop: int) -> Preprocess:
    return Preprocess.resize_crop(256, crop, mean=(104.0, 117.0, 128.0), std=1.0, channels="BGR", scale=1.0)


_PERSON = Preprocess.stretch((256, 128))
_FACE = Preprocess.stretch(112, mean=0.5, std=0.5)
_FACE_BGR = Preprocess.stretch(
    112, channels="BGR"
)  # ImageNet's numbers for R, G, B on B, G, R, as it was trained


def _view(size: tuple[int, int]) -> Preprocess:
    return Preprocess.stretch(size, mean=(103.939, 116.779, 123.6), std=1.0, channels="BGR", scale=1.0)


_EXPLAINED = "Jeff-Zilence/Explain_Metric_Learning"
_EVOLVE = "ZhaoJ9014/face.evoLVe"

APPLICATIONS: dict[str, tuple[Variant, ...]] = {
    "image-retrieval": (
        Variant(
            "explain-metric-learning",
            ExplainedBNInception,
            _bgr(224),
            _EXPLAINED,
            {"dim": ("classifier.linear.weight", 0)},
        ),
        Variant(
            "research-ms-loss",
            MultiSimilarityBNInception,
            _bgr(227),
            "msight-tech/research-ms-loss",
            {"dim": ("head.fc.weight", 0)},
        ),
    ),
    "person-reidentification": (
        Variant(
            "reid-strong-baseline",
            StrongBaseline,
            _PERSON,
            "michuanhaohao/reid-strong-baseline",
            {"classes": ("classifier.weight", 0)},
        ),
        Variant(
            "explain-metric-learning",
            ExplainedReid,
            _PERSON,
            _EXPLAINED,
            {"classes": ("classifier.classifier.weight", 0)},
        ),
    ),
    "face-verification": (
        Variant("evolve-ir-50", EvolveIR, _FACE, _EVOLVE),
        Variant("evolve-ir-101", partial(EvolveIR, IR_101), _FACE, _EVOLVE),
        Variant("evolve-ir-152", partial(EvolveIR, IR_152), _FACE, _EVOLVE),
        Variant("evolve-ir-se-50", partial(EvolveIR, IR_50, gated=True), _FACE, _EVOLVE),
        Variant("evolve-ir-se-101", partial(EvolveIR, IR_101, gated=True), _FACE, _EVOLVE),
        Variant("evolve-ir-se-152", partial(EvolveIR, IR_152, gated=True), _FACE, _EVOLVE),
        Variant("explain-metric-learning", ExplainedIR, _FACE_BGR, _EXPLAINED),
    ),
    "geo-localization-ground": (
        Variant("explain-metric-learning", partial(CrossViewVGG, "ground"), _view((224, 1232)), _EXPLAINED),
    ),
    "geo-localization-aerial": (
        Variant("explain-metric-learning", partial(CrossViewVGG, "aerial"), _view((512, 512)), _EXPLAINED),
    ),
}
"""The applications and their files; where no file is given, the first is built with random weights."""
