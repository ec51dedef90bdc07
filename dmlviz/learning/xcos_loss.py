"""The published losses of xCos: telling classes apart by the cells, and following the cosine of the whole network."""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dmlviz.embedder.xcos import XCos
from dmlviz.images.bird_scene import uniform_tape

Classifier = Literal["cosface", "arcface"]
CLASSIFIERS: Final = ("cosface", "arcface")
_PAIR_STREAM: Final = 78
_LEAST_SQUARED_SINE: Final = 1e-12


class XCosLosses(NamedTuple):
    """The two parts of the loss; their sum is what training lowers.

    Attributes:
        classification: Cross entropy of the margin logits of both images' cells, a scalar ≥ 0.
        agreement: Mean squared difference of xCos and the cosine of the embeddings, a scalar ≥ 0.
    """

    classification: Tensor
    agreement: Tensor


def xcos_losses(
    module: XCos,
    centres: Tensor,
    maps: tuple[Tensor, Tensor],
    labels: tuple[Tensor, Tensor],
    cosines: Tensor,
    classifier: Classifier = "cosface",
) -> XCosLosses:
    """Both losses of N pairs of images, each with the published weight 1.

    Gradients flow into the module, the centres and, where they ask for them, the feature maps, so a trunk can be
    trained along. The cosines are a target: they are taken without gradient. As the target the published code takes
    a separate copy of the network, under no_grad but in training mode, so that dropout and batch statistics blur it;
    here it is to be computed in eval mode (`Embedder.embed` does so).

    Args:
        module: The xCos head, in training mode.
        centres: (classes, 32·h·w) float, one learned direction for each class.
        maps: Feature maps of the first and of the second images, (N, C, h, w) each.
        labels: Their classes, (N,) integers each.
        cosines: (N,), the cosine of the two embeddings of each pair.
        classifier: "cosface" or "arcface".

    Returns:
        The two losses.

    Raises:
        ValueError: Shapes that do not belong together, or an unknown classifier.

    Source:
        Lin et al., xCos, arXiv 2003.05383, and the authors' code (its training loss).
    """
    if classifier not in CLASSIFIERS:
        raise ValueError(f"classifier must be 'cosface' or 'arcface', got {classifier!r}")
    count = len(maps[0])
    features = module.features(torch.cat(maps))
    parts = module.compare(features[:count], features[count:])
    if cosines.shape != parts.scores.shape:
        raise ValueError(f"{count} pairs need {count} cosines (N,), got {tuple(cosines.shape)}")
    logits_of = cosface_logits if classifier == "cosface" else arcface_logits
    both = torch.cat(labels)
    return XCosLosses(
        functional.cross_entropy(logits_of(features.flatten(1), centres, both), both),
        functional.mse_loss(parts.scores, cosines.detach().to(parts.scores.dtype)),
    )


def cosface_logits(
    features: Tensor, centres: Tensor, labels: Tensor, scale: float = 30.0, margin: float = 0.35
) -> Tensor:
    """Scaled cosines to the class centres, that of the right class less a margin.

    Args:
        features: (N, D) float, of any length.
        centres: (classes, D) float, of any length.
        labels: (N,) int64.
        scale: s, > 0.
        margin: m, in units of the cosine.

    Returns:
        (N, classes): s·(cos θ − m) for the right class, s·cos θ for the others.

    Raises:
        ValueError: Shapes that do not belong together, or a label without a centre.

    Source:
        Wang et al., CosFace, CVPR 2018, equation 4; s and m as in the xCos code.

    Examples:
        >>> import torch
        >>> logits = cosface_logits(torch.tensor([[2.0, 0.0]]), torch.eye(2), torch.tensor([0]))
        >>> [round(logit, 4) for logit in logits[0].tolist()]
        [19.5, 0.0]
    """
    cosines = _cosines_to_centres(features, centres, labels)
    right = functional.one_hot(labels, len(centres)).to(cosines.dtype)
    return scale * (cosines - margin * right)


def arcface_logits(
    features: Tensor, centres: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.5
) -> Tensor:
    """Scaled cosines to the class centres, the angle to the right one widened by a margin.

    Args:
        features: (N, D) float, of any length.
        centres: (classes, D) float, of any length.
        labels: (N,) int64.
        scale: s, > 0.
        margin: m, in radians, from 0 to π.

    Returns:
        (N, classes): s·cos(θ + m) for the right class, s·cos θ for the others. Where θ + m would pass π it is
        s·(cos θ − m·sin m), as in the authors' code. Where sin θ falls below 1e-6 it counts as 1e-6, so that the
        gradient stays finite.

    Raises:
        ValueError: Shapes that do not belong together, or a label without a centre.

    Source:
        Deng et al., ArcFace, CVPR 2019, equation 3; s, m and the fallback as in the xCos code.

    Examples:
        >>> import math, torch
        >>> logits = arcface_logits(torch.tensor([[0.0, 2.0]]), torch.eye(2), torch.tensor([0]), scale=1.0)
        >>> abs(logits[0, 0].item() + math.sin(0.5)) < 1e-6        # cos(π/2 + m) = −sin m
        True
    """
    cosines = _cosines_to_centres(features, centres, labels)
    sines = (1 - cosines**2).clamp_min(_LEAST_SQUARED_SINE).sqrt()
    widened = cosines * math.cos(margin) - sines * math.sin(margin)
    past = cosines <= math.cos(math.pi - margin)
    widened = torch.where(past, cosines - margin * math.sin(margin), widened)
    right = functional.one_hot(labels, len(centres)).bool()
    return scale * torch.where(right, widened, cosines)


def pair_cosines(embeddings: Tensor, others: Tensor) -> Tensor:
    """Cosine of each embedding with its partner, (N, D) and (N, D) -> (N,), with the published epsilon of 1e-6."""
    unit, other = functional.normalize(embeddings, dim=1), functional.normalize(others, dim=1)
    return functional.cosine_similarity(unit, other, dim=1, eps=1e-6)


def pairs_of(labels: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
    """Choose a partner for every image of a batch: one of its class or one of another, with equal chance.

    Args:
        labels: (N,) integers.
        key: Non-negative integers that name the stream of chance; the same key chooses the same partners.

    Returns:
        (N,) int64, the place of each image's partner, never its own. An image that is alone in its class gets a
        partner of another class, and the other way round where there is only one class.

    Raises:
        ValueError: Fewer than two images.

    Examples:
        >>> import numpy as np
        >>> pairs_of(np.array([0, 0, 1, 1]), key=(7,)).tolist()
        [1, 2, 1, 1]
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) < 2:
        raise ValueError(f"pairs need the labels (N,) of at least two images, got shape {labels.shape}")
    chances = uniform_tape((*key, _PAIR_STREAM), 2 * len(labels)).reshape(-1, 2)
    partners = np.empty(len(labels), dtype=np.int64)
    for place, (kind, which) in enumerate(chances):
        same = labels == labels[place]
        other = np.flatnonzero(~same)
        same[place] = False
        kin = np.flatnonzero(same)
        among = kin if len(kin) and (kind < 0.5 or not len(other)) else other
        partners[place] = among[int(which * len(among))]
    return partners


def _cosines_to_centres(features: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    if features.ndim != 2 or centres.ndim != 2 or features.shape[1] != centres.shape[1]:
        raise ValueError(
            "margin logits need features (N, D) and centres (classes, D); "
            f"got {tuple(features.shape)} and {tuple(centres.shape)}"
        )
    if labels.shape != features.shape[:1]:
        raise ValueError(
            f"margin logits need one label for each of {len(features)}, got {tuple(labels.shape)}"
        )
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < len(centres)):
        raise ValueError(
            f"labels must lie between 0 and {len(centres) - 1}, one for each centre; "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    unit, centre = functional.normalize(features, dim=1), functional.normalize(centres, dim=1)
    return (unit @ centre.T).clamp(-1, 1)
