"""The geometry of a trunk by arithmetic over the operations that an image passes through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from dmlviz.embedder.as_found import placement
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.tape import IMAGE, Ref, Step, Tape, record


@dataclass(frozen=True)
class _Axis:
    """Where the cells lie along one image axis, and which axis of the tensor counts them."""

    where: int
    size: int
    jump: float = 1.0
    first: float = 0.0
    field: float = 1.0

    def windowed(self, kernel: int, stride: int, before: int, dilation: int = 1) -> "_Axis":
        """After a window of `kernel` taps that starts `before` cells outside."""
        reach = (kernel - 1) * dilation
        return replace(
            self,
            jump=self.jump * stride,
            first=self.first + (reach / 2 - before) * self.jump,
            field=self.field + reach * self.jump,
        )

    def resized(self, size: int) -> "_Axis":
        """After interpolation to `size` cells with half-pixel centres."""
        ratio = self.size / size
        return replace(
            self, jump=self.jump * ratio, first=self.first + (ratio - 1) / 2 * self.jump, size=size
        )


_Place = tuple[_Axis, _Axis]  # rows, columns


class _Unknown(Exception):  # noqa: N818 (caught here, told to the user as a ValueError)
    pass


def geometry_of_trunk(trunk: nn.Module, input_size: tuple[int, int], channels: int = 3) -> CellGeometry:
    """See `CellGeometry.from_trunk`."""
    device, dtype = placement(trunk)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, *input_size, generator=generator).to(device, dtype)
    tape = record(trunk, image)
    return geometry_on_tape(tape, tape.output)


def geometry_on_tape(tape: Tape, end: Ref) -> CellGeometry:
    """The geometry of the feature map `end` (1, C, h, w) of a tape.

    Raises:
        ValueError: If an operation moves cells in a way the arithmetic does not know.
    """
    height, width = tape.image.shape[2:]
    places: dict[Ref, _Place] = {IMAGE: (_Axis(2, height), _Axis(3, width))}
    notes: list[str] = []
    for step in tape.between(IMAGE, end):
        known = [(ref, places[ref]) for ref in step.reads if ref in places]
        if not known:
            continue  # only gates and other values without a place on the image
        try:
            _follow(tape, step, known, places, notes)
        except _Unknown as what:
            raise ValueError(
                f"the geometry of the feature map is not known: {step.where()} {what}; "
                f"measure it with CellGeometry.measured(trunk, input_size)"
            ) from None
    if end not in places:
        raise ValueError(
            "the geometry of the feature map is not known: it depends on the whole image at every cell"
        )
    rows, cols = places[end]
    shape = tape.value(end).shape
    if (rows.where, cols.where) != (2, 3) or (rows.size, cols.size) != tuple(shape[2:]):
        raise ValueError(
            f"the geometry of the feature map is not known: its cells do not lie on the last two axes of "
            f"{tuple(shape)}"
        )
    return CellGeometry(
        (rows.jump, cols.jump),
        (rows.first, cols.first),
        (rows.field, cols.field),
        "; ".join(dict.fromkeys(notes)),
    )


def _follow(
    tape: Tape, step: Step, known: list[tuple[Ref, _Place]], places: dict[Ref, _Place], notes: list[str]
) -> None:
    """Write down where the results of one step lie on the image; leave out those that lie nowhere."""
    name, args = step.name, step.args
    results = list(tape.refs_of(step.index))
    if name in _RULES:
        place = _RULES[name](tape, step, known[0][1])
        if place is not None:
            places.update(dict.fromkeys(results, place))
        return
    if name in _JOINING or name in _PER_VALUE or torch.Tag.pointwise in step.op.tags:
        if name == "cat" and (args[1] if len(args) > 1 else 0) % 4 in {axis.where for axis in known[0][1]}:
            raise _Unknown("joins maps side by side")
        place, spread = _joined([p for _, p in known])
        if spread > 0.01:
            notes.append(
                f"branches that join at {step.layer or step.layer_type} lie {spread:.2g} cells apart; "
                f"the widest is followed"
            )
        if any(_is_gate(tape, ref, known) for ref in step.reads):
            notes.append("gates that look at the whole image (squeeze and excitation) are left out")
        places.update(dict.fromkeys(results, place))
        return
    raise _Unknown("is not known to the arithmetic")


def _is_gate(tape: Tape, ref: Ref, known: list[tuple[Ref, _Place]]) -> bool:
    if any(ref == k for k, _ in known):
        return False
    return ref.step >= 0 and ref.step in tape.reached_from(IMAGE)


def _joined(places: Sequence[_Place]) -> tuple[_Place, float]:
    """The place of maps that are added or concatenated, and how far apart they lie, in cells."""
    widest = max(places, key=lambda place: place[0].field * place[1].field)
    spread = 0.0
    for place in places:
        for axis, other in zip(place, widest, strict=True):
            if axis.where != other.where or axis.size != other.size:
                raise _Unknown("joins maps of different layouts")
            if abs(axis.jump - other.jump) > 1e-9 * other.jump:
                raise _Unknown(f"joins maps of different strides ({axis.jump:g} and {other.jump:g} pixels)")
            spread = max(spread, abs(axis.first - other.first) / other.jump)
    return widest, spread


def _pair(value: Any, default: int = 0) -> tuple[int, int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        values = [default]
    return (int(values[0]), int(values[-1]))


def _argument(step: Step, position: int, default: Any) -> Any:
    return step.args[position] if len(step.args) > position else default


def _size_of(tape: Tape, step: Step) -> tuple[int, ...]:
    return tuple(tape.value(Ref(step.index)).shape)


def _sized(tape: Tape, step: Step, axes: list[_Axis]) -> _Place:
    shape = _size_of(tape, step)
    rows, cols = (replace(axis, size=shape[axis.where]) for axis in axes)
    return rows, cols


def _spatial(place: _Place) -> None:
    if (place[0].where, place[1].where) != (2, 3):
        raise _Unknown("works on axes that do not count the cells")


def _convolution(tape: Tape, step: Step, place: _Place) -> _Place:
    _spatial(place)
    weight = step.args[1]
    shape = (tape.value(weight) if isinstance(weight, Ref) else weight).shape
    stride, padding, dilation = (_pair(step.args[n]) for n in (3, 4, 5))
    axes = []
    for n, axis in enumerate(place):
        kernel, s, p, d = shape[2 + n], stride[n], padding[n], dilation[n]
        if step.args[6]:  # transposed: cell o reads cells (o + p − tap·d)/s
            jump = axis.jump / s
            reach = (kernel - 1) * d
            grown = axis.field + max(0, -(-(reach + 1) // s) - 1) * axis.jump
            axes.append(replace(axis, jump=jump, first=axis.first + (p - reach / 2) * jump, field=grown))
        else:
            axes.append(axis.windowed(kernel, s, p, d))
    return _sized(tape, step, axes)


def _pooling(dilation_at: int | None) -> Callable[[Tape, Step, _Place], _Place]:
    def rule(tape: Tape, step: Step, place: _Place) -> _Place:
        _spatial(place)
        kernel = _pair(step.args[1])
        stride = _pair(_argument(step, 2, None) or kernel)
        padding = _pair(_argument(step, 3, 0))
        dilation = (1, 1) if dilation_at is None else _pair(_argument(step, dilation_at, 1))
        axes = [axis.windowed(kernel[n], stride[n], padding[n], dilation[n]) for n, axis in enumerate(place)]
        return _sized(tape, step, axes)

    return rule


def _adaptive_pooling(tape: Tape, step: Step, place: _Place) -> _Place | None:
    _spatial(place)
    wanted = _size_of(tape, step)[2:]
    if wanted == (1, 1):
        return None
    axes = []
    for axis, n in zip(place, wanted, strict=True):
        if axis.size % n:
            raise _Unknown(f"pools {axis.size} cells into {n}, windows of unequal size")
        axes.append(axis.windowed(axis.size // n, axis.size // n, 0))
    return _sized(tape, step, axes)


def _reduction(tape: Tape, step: Step, place: _Place) -> _Place | None:
    dims = _argument(step, 1, None)
    ndim = place_ndim = tape.value(step.reads[0]).ndim
    reduced = set(range(ndim)) if not dims and dims != 0 else {d % ndim for d in _as_list(dims)}
    if all(axis.where in reduced for axis in place):
        return None
    if any(axis.where in reduced for axis in place):
        raise _Unknown("pools over one of the two image axes only")
    if len(_size_of(tape, step)) == place_ndim:
        return place
    rows, cols = (replace(axis, where=axis.where - sum(d < axis.where for d in reduced)) for axis in place)
    return rows, cols


def _as_list(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _padding(tape: Tape, step: Step, place: _Place) -> _Place:
    pads, ndim = list(step.args[1]), tape.value(step.reads[0]).ndim
    axes = []
    for axis in place:
        at = 2 * (ndim - 1 - axis.where)
        before = pads[at] if at < len(pads) else 0
        axes.append(replace(axis, first=axis.first - before * axis.jump))
    return _sized(tape, step, axes)


def _slicing(tape: Tape, step: Step, place: _Place) -> _Place:
    ndim = tape.value(step.reads[0]).ndim
    dim = _argument(step, 1, 0) % ndim
    axes = []
    for axis in place:
        if axis.where == dim:
            start, every = _argument(step, 2, 0) or 0, _argument(step, 4, 1)
            start = start + axis.size if start < 0 else start
            axis = replace(axis, first=axis.first + start * axis.jump, jump=axis.jump * every)
        axes.append(axis)
    return _sized(tape, step, axes)


def _splitting(tape: Tape, step: Step, place: _Place) -> _Place:
    if _argument(step, 2, 0) % tape.value(step.reads[0]).ndim in {axis.where for axis in place}:
        raise _Unknown("cuts the map into pieces")
    return place


def _permutation(tape: Tape, step: Step, place: _Place) -> _Place:
    ndim = tape.value(step.reads[0]).ndim
    order = list(range(ndim))
    if step.name == "permute":
        order = [d % ndim for d in step.args[1]]
    elif step.name == "t":
        order = order[::-1]
    else:
        a, b = (d % ndim for d in step.args[1:3])
        order[a], order[b] = order[b], order[a]
    rows, cols = (replace(axis, where=order.index(axis.where)) for axis in place)
    return rows, cols


def _reshaping(tape: Tape, step: Step, place: _Place) -> _Place:
    """Follow each image axis through a change of shape: same extent, same number of values before it."""
    before, after = tuple(tape.value(step.reads[0]).shape), _size_of(tape, step)
    axes = []
    for axis in place:
        if axis.where < 0:  # merged rows and columns, see below
            ahead, size = -axis.where, axis.size
        else:
            ahead, size = int(np.prod(before[: axis.where], dtype=int)), axis.size
        found = [n for n, s in enumerate(after) if s == size and int(np.prod(after[:n], dtype=int)) == ahead]
        if not found:
            # rows and columns are counted by one axis now: remember how many values lay ahead of each
            axes.append(replace(axis, where=-ahead))
        else:
            axes.append(replace(axis, where=found[0]))
    rows, cols = axes
    merged = rows.size * cols.size
    ahead = int(np.prod(before[: place[0].where], dtype=int)) if place[0].where >= 0 else -place[0].where
    if min(rows.where, cols.where) < 0 and not any(
        s % merged == 0 and int(np.prod(after[:n], dtype=int)) <= ahead for n, s in enumerate(after)
    ):
        raise _Unknown("reshapes the map")
    if min(rows.where, cols.where) < 0:
        rows = replace(rows, where=-max(1, ahead))
        cols = replace(cols, where=-max(1, ahead) * rows.size)
    return rows, cols


def _matrix_product(tape: Tape, step: Step, place: _Place) -> _Place:
    """A matrix applied to the channels of each cell; cells themselves must stay rows of the left factor."""
    left = step.args[1] if step.name == "addmm" else step.args[0]
    if left not in step.reads:
        raise _Unknown("mixes cells")
    last = tape.value(left).ndim - 1
    ahead = int(np.prod(tape.value(left).shape[:last], dtype=int))
    if any(axis.where == last for axis in place) or (place[0].where < 0 and -place[0].where >= ahead):
        raise _Unknown("mixes cells")
    return place


def _interpolation(tape: Tape, step: Step, place: _Place) -> _Place:
    _spatial(place)
    if "nearest" not in step.name and step.args[2]:
        raise _Unknown("resizes with aligned corners")
    shape = _size_of(tape, step)
    rows, cols = (axis.resized(shape[axis.where]) for axis in place)
    return rows, cols


def _unshuffling(tape: Tape, step: Step, place: _Place) -> _Place:
    _spatial(place)
    return _sized(tape, step, [axis.windowed(step.args[1], step.args[1], 0) for axis in place])


def _same(tape: Tape, step: Step, place: _Place) -> _Place:
    return place


def _layer_norm(tape: Tape, step: Step, place: _Place) -> _Place:
    ndim = tape.value(step.reads[0]).ndim
    if any(axis.where >= ndim - len(step.args[1]) for axis in place):
        raise _Unknown("normalises over the cells")
    return place


_JOINING = {"cat"}
_PER_VALUE = {
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "leaky_relu",
    "elu",
    "celu",
    "_prelu_kernel",
}
_RULES: dict[str, Callable[[Tape, Step, _Place], _Place | None]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling(4),
    "avg_pool2d": _pooling(None),
    "_adaptive_avg_pool2d": _adaptive_pooling,
    "adaptive_max_pool2d": _adaptive_pooling,
    "constant_pad_nd": _padding,
    "reflection_pad2d": _padding,
    "replication_pad2d": _padding,
    "slice": _slicing,
    "split": _splitting,
    "split_with_sizes": _splitting,
    "permute": _permutation,
    "transpose": _permutation,
    "t": _permutation,
    "view": _reshaping,
    "_unsafe_view": _reshaping,
    "reshape": _reshaping,
    "addmm": _matrix_product,
    "mm": _matrix_product,
    "upsample_nearest2d": _interpolation,
    "upsample_bilinear2d": _interpolation,
    "upsample_bicubic2d": _interpolation,
    "pixel_unshuffle": _unshuffling,
    "native_layer_norm": _layer_norm,
    **dict.fromkeys(["mean", "sum", "amax", "amin", "max", "std", "var", "linalg_vector_norm"], _reduction),
    **dict.fromkeys(
        [
            *(
                "native_batch_norm",
                "_native_batch_norm_legit_no_training",
                "cudnn_batch_norm",
                "miopen_batch_norm",
            ),
            *("native_group_norm", "clone", "alias", "detach", "_to_copy", "native_dropout", "contiguous"),
        ],
        _same,
    ),
}
