"""A part of a tape, played again with another tensor at its start."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dmlviz.embedder.tape import IMAGE, Ref, Step, Tape

aten = torch.ops.aten


@dataclass(eq=False)
class Passage:
    """The part of a tape between two tensors, standing on its own: it can be played with another start.

    Attributes:
        start: The tensor that is replaced.
        end: The tensor wanted in the end.
        shape: Shape of `start`, batch of one.
        steps: The operations on the way, in order.
        before: Operations on weights alone whose results the steps read, in order.
        constants: Values made elsewhere on the tape that the steps read.
        frozen: Whether layer normalisations divide by a length that is held at its value: derivatives do not see it.
    """

    start: Ref
    end: Ref
    shape: tuple[int, ...]
    steps: list[Step]
    before: list[Step]
    constants: dict[Ref, Tensor]
    frozen: bool = False
    _last_use: dict[Ref, int] = field(default_factory=dict)

    @classmethod
    def cut(cls, tape: Tape, start: Ref, end: Ref, frozen: bool = False) -> "Passage":
        """Cut the passage out of a tape."""
        steps = tape.between(start, end)
        moving = tape.reached_from(IMAGE) | {-1}
        fixed = sorted(tape.needed_for(end) - moving)
        inside = {step.index for step in steps} | set(fixed)
        outside = {r for step in steps for r in step.reads if r != start and r.step not in inside}
        bare = [replace(step, results=[None] * len(step.results)) for step in steps]
        before = [replace(tape.steps[i], results=[]) for i in fixed]
        return cls(
            start,
            end,
            tuple(tape.value(start).shape),
            bare,
            before,
            {r: tape.value(r) for r in outside},
            frozen,
        )

    def walker(self, device: torch.device, dtype: torch.dtype) -> Callable[[Step, dict[Ref, Any]], None]:
        """A function that takes one step: it reads the values so far and writes the step's results among them.

        Constants are brought to `device` and `dtype` once.
        """
        known: dict[Ref, Any] = {r: _cast(v, device, dtype) for r, v in self.constants.items()}
        substitutes = _SUBSTITUTES | (_FROZEN if self.frozen else {})

        def ready(x: Any) -> Any:
            return known.get(x, x) if isinstance(x, Ref) else _cast(x, device, dtype)

        def run(step: Step, values: dict[Ref, Any], args: Any, kwargs: Any) -> None:
            put = lambda v: values[v] if isinstance(v, Ref) else v  # noqa: E731
            op = substitutes.get(step.op.overloadpacket, step.op)
            got = op(*_map(args, put), **_map(kwargs, put))
            for n, result in enumerate(got if isinstance(got, list | tuple) else [got]):
                values[Ref(step.index, n)] = result

        with torch.no_grad():
            for step in self.before:
                run(step, known, *_map((step.args, step.kwargs), ready))
        prepared = {step.index: _map((step.args, step.kwargs), ready) for step in self.steps}
        return lambda step, values: run(step, values, *prepared[step.index])

    def last_used_at(self, index: int) -> list[Ref]:
        """The tensors on the way that no step after this one reads."""
        if not self._last_use:
            for step in self.steps:
                self._last_use |= dict.fromkeys([*step.reads, Ref(step.index)], step.index)
            self._last_use[self.end] = -1
        return [ref for ref, last in self._last_use.items() if last == index]

    def player(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], dict[Ref, Tensor]]:
        """A function of a tensor in the place of `start` (batch of one) that returns every floating tensor."""
        walk = self.walker(device, dtype)

        def play(x: Tensor) -> dict[Ref, Tensor]:
            values: dict[Ref, Any] = {self.start: x}
            for step in self.steps:
                walk(step, values)
            return {r: v for r, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()}

        return play

    def function(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """From one value of `start`, without its batch axis, to `end` as a flat vector (D,).

        It can be differentiated and mapped by `torch.func`; values are let go after their last use.
        """
        walk = self.walker(device, dtype)
        done = {step.index: self.last_used_at(step.index) for step in self.steps}

        def play(x: Tensor) -> Tensor:
            values: dict[Ref, Any] = {self.start: x[None]}
            for step in self.steps:
                walk(step, values)
                for ref in done[step.index]:
                    values.pop(ref, None)
            found: Tensor = values[self.end].flatten()
            return found

        return play


def _cast(x: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if isinstance(x, Tensor):
        return x.detach().to(device, dtype if x.is_floating_point() else x.dtype)
    if isinstance(x, torch.dtype) and x.is_floating_point:
        return dtype
    return device if isinstance(x, torch.device) else x


def _map(tree: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, tuple | list):
        return type(tree)(_map(v, change) for v in tree)
    if isinstance(tree, dict):
        return {k: _map(v, change) for k, v in tree.items()}
    return change(tree)


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> tuple[Tensor]:
    eps = rest[-1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    scale = (var + eps).rsqrt() if weight is None else weight * (var + eps).rsqrt()
    shift = -mean * scale if bias is None else bias - mean * scale
    return (x * scale.reshape(shape) + shift.reshape(shape),)


def _native_batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> tuple[Tensor]:
    if training:  # by its own statistics, as layers do that standardise their kernels
        others = [0, *range(2, x.ndim)]
        mean, var = x.mean(others), x.var(others, correction=0)
    return _batch_norm(x, weight, bias, mean, var, eps)


def _frozen_layer_norm(
    x: Tensor, shape: Any, weight: Any, bias: Any, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer normalisation whose length is a fixed number to derivatives; its mean is not."""
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    scale = (x.var(axes, correction=0, keepdim=True) + eps).rsqrt().detach()
    found = (x - mean) * scale
    found = found if weight is None else found * weight
    return found if bias is None else found + bias, mean, scale


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *rest: Any,
) -> Tensor:
    """A grouped convolution as one product over unfolded windows: quick in double precision, too."""
    groups = rest[-1]
    if groups == 1 or transposed or weight.ndim != 4:
        return aten.convolution.default(x, weight, bias, stride, padding, dilation, transposed, *rest)
    rows, cols = (padding[0], padding[-1])
    padded = torch.nn.functional.pad(x, (cols, cols, rows, rows))
    row, col = (
        _taps(padded.shape[axis], weight.shape[axis], stride[axis - 3], dilation[axis - 3], x.device)
        for axis in (2, 3)
    )
    windows = padded[:, :, row[:, None, :, None], col[None, :, None, :]]
    n, _, h, w = windows.shape[:4]
    windows = windows.reshape(n, groups, -1, h, w, *weight.shape[2:])
    kernels = weight.reshape(groups, -1, *weight.shape[1:])
    found = torch.einsum("ngchwij,gocij->ngohw", windows, kernels).reshape(n, -1, h, w)
    return found if bias is None else found + bias.reshape(1, -1, 1, 1)


def _taps(size: int, kernel: int, stride: int, dilation: int, device: torch.device) -> Tensor:
    """Which cells each window reads, (windows, kernel)."""
    reach = (kernel - 1) * dilation
    first = torch.arange(0, size - reach, stride, device=device)
    return first[:, None] + torch.arange(0, reach + 1, dilation, device=device)


# the same functions in a form that runs on any device, in any dtype and under torch.func
_SUBSTITUTES: dict[Any, Any] = {
    aten.convolution: _convolution,
    aten.view: aten.reshape.default,
    aten._unsafe_view: aten.reshape.default,
    aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.native_batch_norm: _native_batch_norm,
    aten.cudnn_batch_norm: _native_batch_norm,
    aten.miopen_batch_norm: _native_batch_norm,
}
_FROZEN: dict[Any, Any] = {aten.native_layer_norm: _frozen_layer_norm}
