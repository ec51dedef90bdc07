"""Is a head a sum over cells plus one offset? Asked of feature maps that really move its activations."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from dmlviz.embedder.jacobian import load_forward_mode, value_and_pull
from dmlviz.embedder.passage import Passage
from dmlviz.embedder.tape import Ref, Step

SAME = 1e-9  # relative; probes are compared in float64
_CPU, _DOUBLE = torch.device("cpu"), torch.float64


def probes_of(feature_maps: Tensor) -> list[Tensor]:
    """Probes (C, h, w) made of K >= 2 real feature maps (K, C, h, w).

    First two real maps and what differs from them most in scale, then the other real ones, zeros, flipped signs,
    noise and single cells. Two similar maps would not do: the mask of a ReLU need not flip between them.
    """
    first, second = feature_maps[0], feature_maps[1]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(first.shape, generator=generator, dtype=first.dtype) * first.abs().mean()
    flat = first.flatten(1)
    alone = []
    for cell in sorted({0, int(flat.abs().sum(0).argmax()), flat.shape[1] - 1}):
        one = torch.zeros_like(flat)
        one[:, cell] = flat[:, cell]
        alone.append(one.reshape(first.shape))
    rest = [*feature_maps[2:], torch.zeros_like(first), -first, -10 * second, noise, *alone]
    return [first, second, first * 10, first * 0.1, second * 10, *rest]


def same_offset(passage: Passage, probes: list[Tensor]) -> Tensor | None:
    """The offset (D,) float64 of a head if it is the same for all probes, else None.

    The offset at a feature map is the head's value minus its Jacobian applied to the feature map.
    """
    function = passage.function(_CPU, _DOUBLE)
    known: Tensor | None = None
    scale = 0.0
    for n, probe in enumerate(probes):
        value, pull = value_and_pull(function, probe) if bool(probe.any()) else (function(probe), 0.0)
        offset = value - pull
        if n < 2:
            scale = max(scale, float(value.abs().max()))
        if not _agrees(offset, known, max(scale, float(value.abs().max())), must=n < 2):
            return None
        known = offset if known is None else known
    return known


def _agrees(offset: Tensor, known: Tensor | None, scale: float, must: bool) -> bool:
    """Whether an offset is the known one.

    Outside a head's domain (0/0, powers of negative numbers) made-up probes say nothing; real ones always do.
    """
    if not bool(torch.isfinite(offset).all()):
        return not must
    if known is None or not offset.numel():
        return True
    return float((offset - known).abs().max()) <= SAME * max(scale, 1e-30)


def first_broken(passage: Passage, probes: list[Tensor]) -> Step:
    """The first step of a head after which the offset is no longer the same for all probes.

    All probes go through the head side by side, each with its derivative in its own direction.
    """
    walk = passage.walker(_CPU, _DOUBLE)
    load_forward_mode()
    with forward_ad.dual_level():
        many: list[dict[Ref, Any]] = [{passage.start: forward_ad.make_dual(p[None], p[None])} for p in probes]
        for step in passage.steps:
            try:
                for values in many:
                    walk(step, values)
            except (NotImplementedError, RuntimeError):
                return step  # it has no derivative in this direction at all
            for n in range(len(step.results) or 1):
                if not _constant_at(Ref(step.index, n), many):
                    return step
            for values in many:
                for ref in passage.last_used_at(step.index):
                    values.pop(ref, None)
    return passage.steps[-1]


def _constant_at(ref: Ref, many: list[dict[Ref, Any]]) -> bool:
    found = [values.get(ref) for values in many]
    if not all(isinstance(v, Tensor) and v.is_floating_point() for v in found):
        return True
    known: Tensor | None = None
    scale = 0.0
    for n, value in enumerate(found):
        primal, tangent = forward_ad.unpack_dual(value)
        offset = primal if tangent is None else primal - tangent
        size = float(primal.abs().max()) if primal.numel() else 0.0
        scale = max(scale, size) if n < 2 else scale
        if not _agrees(offset, known, max(scale, size), must=n < 2):
            return False
        known = offset if known is None else known
    return True
