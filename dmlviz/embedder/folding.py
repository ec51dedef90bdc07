"""Turning whatever follows the last feature map into a head that is a sum over cells, or refusing it by name."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.head_probes import SAME, first_broken, probes_of, same_offset
from dmlviz.embedder.jacobian import LINEARISED, JacobianHead, jacobian
from dmlviz.embedder.linear_head import LinearHead, linear_of
from dmlviz.embedder.passage import Passage
from dmlviz.embedder.tape import Ref, Step, Tape

HeadMode = Literal["fold", "frozen", "linearised"]
_CPU, _DOUBLE = torch.device("cpu"), torch.float64
_LONGEST_POOLING = 40  # operations
_LARGEST_JACOBIAN = 60_000_000  # numbers; a larger one is applied image by image instead of kept


@dataclass(frozen=True, eq=False)
class FoldedHead:
    """What became of a head.

    Attributes:
        head: `LinearHead` where a closed form was found, else `JacobianHead`.
        end: Where on the tape the embedding stands.
        normalised: Whether an L2 normalisation that followed was taken off.
        note: Empty, or what every result must carry.
    """

    head: LinearHead | JacobianHead
    end: Ref
    normalised: bool
    note: str = field(default="")


@torch.no_grad()
def fold(tape: Tape, start: Ref, feature_maps: Tensor, mode: HeadMode = "fold") -> FoldedHead:
    """Make a head of the part of a tape after the feature map `start`.

    The parts are defined in one way for every head: a cell's local embedding is the head's Jacobian at the
    feature map applied to that cell's activations, the offset is what remains. Pooling followed by affine
    layers, and heads that are affine as a whole, are brought into closed form. Of any other head the offset is
    compared over probes that really move the activations.

    Args:
        tape: The recorded model.
        start: The last feature map on the tape.
        feature_maps: (K, C, h, w) float64 on the CPU, K >= 2 feature maps of images.
        mode: "fold" refuses a head that is not a sum over cells; "frozen" holds the length that layer
            normalisations divide by at each image; "linearised" takes the whole Jacobian at each image.

    Raises:
        HeadError: If the offset is not the same for all probes; `.layer` is the first layer that breaks it.
    """
    _refuse_channels_last(tape, start)
    end, normalised = before_normalisation(tape, start, feature_maps)
    probes = probes_of(feature_maps)
    passage = Passage.cut(tape, start, end)
    head: LinearHead | JacobianHead | None = _pooled(tape, start, end, probes) or _affine(tape, passage)
    if head is None:
        offset = same_offset(passage, probes)
        if offset is None and mode == "frozen":
            frozen = _frozen(tape, start, end, probes)
            if frozen is not None:
                return FoldedHead(frozen[0], end, normalised, frozen[1])
        if offset is not None or mode == "linearised":
            head = JacobianHead(passage, offset)
        else:
            raise _refusal(passage, probes)
    note = LINEARISED if isinstance(head, JacobianHead) and not head.exact else ""
    return FoldedHead(head, end, normalised, note)


def _frozen(tape: Tape, start: Ref, end: Ref, probes: list[Tensor]) -> tuple[JacobianHead, str] | None:
    """The head with the lengths of its layer normalisations held, if it is a sum over cells then, and a note."""
    passage = Passage.cut(tape, start, end, frozen=True)
    norms = [step for step in passage.steps if step.name == "native_layer_norm"]
    offset = same_offset(passage, probes) if norms else None
    if offset is None:
        return None
    said = " and ".join(dict.fromkeys(repr(step.layer) if step.layer else "forward" for step in norms))
    note = (
        f"the length that the LayerNorm of {said} divides by is held at each image: the parts add up exactly, but "
        f"that they also changed this length is not attributed"
    )
    return JacobianHead(passage, offset), note


def _refusal(passage: Passage, probes: list[Tensor]) -> HeadError:
    broken = first_broken(passage, probes)
    norm = "native_layer_norm" in {step.name for step in passage.steps}
    instead = 'head="frozen" to hold the length that a LayerNorm divides by, or ' if norm else ""
    return HeadError(
        f"the head cannot be folded: {broken.where()} makes the offset differ from image to image, so the "
        f"embedding is not a sum over cells. Cut the model before that layer, or pass {instead}"
        f'head="linearised" for a first-order split at each image, marked as such',
        layer=broken.where(),
    )


# ---- closed forms ------------------------------------------------------------------------------------------


def _pooled(tape: Tape, start: Ref, end: Ref, probes: list[Tensor]) -> LinearHead | None:
    """Pooling recognised by what it does to the probes, followed by affine operations only."""
    channels = probes[0].shape[0]
    for step in tape.between(start, end)[:_LONGEST_POOLING]:
        ref = Ref(step.index)
        value = tape.value(ref)
        if value.numel() != channels or not tape.everything_passes(ref, start, end):
            continue
        if ref != end and not all(_is_affine(s, ref, tape) for s in tape.between(ref, end)):
            continue
        pool = Passage.cut(tape, start, ref).function(_CPU, _DOUBLE)
        first = pool(probes[0])
        candidates = [c for c in _POOLINGS if _close(first, c(probes[0][None])[0])]
        has_powers = any(s.name in {"pow", "exp", "sqrt"} for s in tape.between(start, ref))
        if not candidates and not has_powers:
            continue
        pooled = [pool(probe) for probe in probes]
        if not candidates:
            generalised = _generalised_mean(pooled, probes)
            candidates = [] if generalised is None else [generalised]
        for candidate in candidates:
            if all(
                _close(value, candidate(probe[None])[0]) for value, probe in zip(pooled, probes, strict=True)
            ):
                return _with_affine(candidate, tape, ref, end)
    return None


_POOLINGS = (LinearHead("avg"), LinearHead("max"), LinearHead("avg+max"))


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.isfinite(a).all()) and bool(
        (a - b).abs().max() <= SAME * max(float(b.abs().max()), 1e-30)
    )


def _generalised_mean(pooled: list[Tensor], probes: list[Tensor]) -> LinearHead | None:
    """GeM with the exponent and clamp that its results betray: zeros pool to eps, one lone cell to n^(-1/p)."""
    cells = probes[0][0].numel()
    zero = next(p for p, probe in zip(pooled, probes, strict=True) if not bool(probe.any()))
    eps = float(zero.max())
    if (
        not eps > 0
        or not bool(torch.isfinite(zero).all())
        or float(zero.min()) < eps * (1 - 1e-6)
        or cells < 2
    ):
        return None
    for value, probe in zip(pooled, probes, strict=True):
        lone = probe.flatten(1)
        if int((lone.abs().sum(0) > 0).sum()) != 1:
            continue
        height = lone.sum(1)
        usable = height > 1e3 * eps
        if not bool(usable.any()):
            continue
        ratio = (value / height).where(usable, torch.full_like(height, 0.5)).clamp(1e-12, 1 - 1e-12)
        p = torch.full_like(height, 3.0)
        for _ in range(100):  # n·ratio^p = 1 + (n − 1)·(eps/height)^p
            rest = (cells - 1) * (eps / height.where(usable, torch.ones_like(height))) ** p
            p = (torch.log((1 + rest) / cells) / torch.log(ratio)).clamp(1e-3, 1e4)
        known = p[usable]
        if float(known.max() - known.min()) < 1e-6 * float(known.max()):
            return LinearHead("gem", p=float(known.median()), eps=eps)
        return LinearHead("gem", p=p, eps=eps) if bool(usable.all()) else None
    return None


def _with_affine(pool: LinearHead, tape: Tape, ref: Ref, end: Ref) -> LinearHead:
    """The pooling with everything after it folded into one linear map, or a scale where that is enough."""
    options = {"p": pool.p, "eps": pool.eps, "ties": pool.ties}
    if ref == end or all(step.name in _SHAPES for step in tape.between(ref, end)):
        return LinearHead(pool.pooling, **options)  # type: ignore[arg-type]
    shape = tape.value(ref).shape[1:]
    function = Passage.cut(tape, ref, end).function(_CPU, _DOUBLE)
    channels = tape.value(ref).numel()
    offset = function(torch.zeros(shape, dtype=_DOUBLE))
    columns = []
    for some in torch.eye(channels, dtype=_DOUBLE).split(256):
        columns.append(torch.func.vmap(function)(some.reshape(-1, *shape)) - offset)
    weight = torch.cat(columns).T.contiguous()
    if weight.shape[0] == weight.shape[1] and not bool((weight - weight.diag().diag()).any()):
        return LinearHead(pool.pooling, None, _scale_and_shift(weight.diag(), offset), **options)  # type: ignore[arg-type]
    return LinearHead(pool.pooling, linear_of(weight, offset), **options)  # type: ignore[arg-type]


def _affine(tape: Tape, passage: Passage) -> LinearHead | None:
    """A head that is affine as a whole, as one matrix over the flattened feature map, worked out once."""
    start, end = passage.start, passage.end
    if not all(_is_affine(step, start, tape) for step in passage.steps):
        return None
    shape, dim = passage.shape[1:], tape.value(end).numel()
    if math.prod(shape) * dim > _LARGEST_JACOBIAN:
        return None
    function = passage.function(_CPU, _DOUBLE)
    zeros = torch.zeros(shape, dtype=_DOUBLE)
    return LinearHead("flatten", linear_of(jacobian(function, zeros).flatten(1), function(zeros)))


def _scale_and_shift(scale: Tensor, shift: Tensor) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(len(scale), dtype=_DOUBLE).eval().requires_grad_(False)
    norm.running_var = torch.full_like(scale, 1.0 - norm.eps)
    norm.weight.copy_(scale)
    norm.bias.copy_(shift)
    return norm


_SHAPES = {
    "view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze", "clone", "contiguous", "alias", "detach",
    "_to_copy", "lift_fresh",
}  # fmt: skip
_AFFINE_IN_FIRST = _SHAPES | {
    "t", "transpose", "permute", "expand", "repeat", "slice", "select", "split", "split_with_sizes", "unbind",
    "mean", "sum", "avg_pool2d", "_adaptive_avg_pool2d", "neg", "constant_pad_nd", "reflection_pad2d",
    "replication_pad2d", "upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d", "convolution", "div",
    "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "miopen_batch_norm", "index_select", "roll", "flip",
}  # fmt: skip
_AFFINE_IN_ALL = {"add", "sub", "rsub", "cat", "stack"}
_AFFINE_IN_ONE = {"mul", "mm", "bmm"}


def _is_affine(step: Step, start: Ref, tape: Tape) -> bool:
    """Whether a step is affine in those of its tensors that depend on `start`."""
    reached = tape.reached_from(start)
    moving = [n for n, a in enumerate(step.args) if isinstance(a, Ref) and (a == start or a.step in reached)]
    inside = [r for r in step.reads if r == start or r.step in reached]
    if step.name in _AFFINE_IN_ALL:
        return True
    if len(moving) != len(inside):
        return False  # hidden in a list or a keyword
    if step.name in _AFFINE_IN_FIRST:
        return moving == [0] and not (step.name == "div" and len(step.kwargs) > 0)
    if step.name in _AFFINE_IN_ONE:
        return len(moving) == 1
    if step.name == "addmm":
        return len([n for n in moving if n > 0]) <= 1
    if step.name == "native_batch_norm":
        return moving == [0] and not step.args[5]
    return False


# ---- what is taken off, what is refused ----------------------------------------------------------------------


def before_normalisation(tape: Tape, start: Ref, feature_maps: Tensor) -> tuple[Ref, bool]:
    """Where the embedding stands before a trailing L2 normalisation, and whether there is one.

    Recognised by what it does: the output has the same length for every feature map, and points the same way
    as an earlier vector whose length differs.
    """
    if tape.steps[tape.output.step].name not in {"div", "mul", *_SHAPES}:
        return tape.output, False
    passage = Passage.cut(tape, start, tape.output)
    function = passage.function(_CPU, _DOUBLE)
    if not _same_length([function(x) for x in feature_maps[:2]]):
        return tape.output, False
    size = tape.value(tape.output).numel()
    play, runs = passage.player(_CPU, _DOUBLE), []
    for x in (*feature_maps, feature_maps[0] * 10):
        runs.append({ref: value for ref, value in play(x[None]).items() if value.numel() == size})
    outputs = [run[tape.output].flatten() for run in runs]
    if not _same_length(outputs) or float(outputs[0].norm()) == 0:
        return tape.output, False
    for step in reversed(tape.between(start, tape.output)[:-1]):
        ref = Ref(step.index)
        if ref not in runs[0] or runs[0][ref].numel() != outputs[0].numel():
            continue
        vectors = [run[ref].flatten() for run in runs]
        if _same_length(vectors) or not tape.everything_passes(ref, start, tape.output):
            continue
        cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(vectors, outputs, strict=True)]
        if min(cosines) > 1 - 1e-9:
            return ref, True
    return tape.output, False


def _same_length(vectors: list[Tensor]) -> bool:
    lengths = torch.stack([v.norm() for v in vectors])
    return bool(torch.isfinite(lengths).all()) and float(lengths.max() - lengths.min()) <= 1e-7 * float(
        lengths.max()
    )


def _refuse_channels_last(tape: Tape, start: Ref) -> None:
    for index in tape.uses.get(start, ()):
        step = tape.steps[index]
        dims = step.args[1] if len(step.args) > 1 else None
        if (
            step.name in {"mean", "sum", "amax"}
            and isinstance(dims, list | tuple)
            and {d % 4 for d in dims} == {1, 2}
        ):
            raise HeadError(
                f"the last feature map has its channels last (N, h, w, C): {step.where()} pools over axes 1 and 2; "
                f"let the trunk return (N, C, h, w), for example with x.permute(0, 3, 1, 2)",
                layer=step.where(),
            )
