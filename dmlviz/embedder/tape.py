"""A tape of everything a model does to one image: each operation, what it read and which layer asked for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from dmlviz.embedder.as_found import evaluating, plain_attention
from dmlviz.embedder.model_output import OutputError

aten = torch.ops.aten


@dataclass(frozen=True)
class Ref:
    """The `output`-th result of step number `step`; step −1 is the image."""

    step: int
    output: int = 0


IMAGE = Ref(-1)


@dataclass(eq=False)
class Step:
    """One operation on the tape."""

    index: int
    op: Any  # an aten operation without side effects
    args: tuple[Any, ...]  # tensors made on the tape appear as Ref, all other tensors as themselves
    kwargs: dict[str, Any]
    layer: str  # qualified name of the innermost module whose forward ran it, "" for the model itself
    layer_type: str
    results: list[Any]
    reads: list[Ref]

    @property
    def name(self) -> str:
        """Name of the operation, for example "relu"."""
        return str(self.op.overloadpacket.__name__)

    def where(self, packet_name: str | None = None) -> str:
        """The layer in words, for messages."""
        name = self.name if packet_name is None else packet_name
        if not self.layer:
            return f"operation '{name}' in {self.layer_type}.forward"
        return f"layer '{self.layer}' ({self.layer_type}, operation '{name}')"


@dataclass(eq=False)
class Tape:
    """All steps of one forward pass on one image, and the value each step gave."""

    steps: list[Step]
    image: Tensor
    output: Ref
    module_outputs: list[
        tuple[str, int, Ref]
    ]  # (qualified name, number of the call, what it returned), in order
    uses: dict[Ref, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps:
            for ref in step.reads:
                self.uses.setdefault(ref, []).append(step.index)

    def occurrence(self, index: int) -> int:
        """How many operations of the same name came before this step."""
        name = self.steps[index].name
        return sum(step.name == name for step in self.steps[:index])

    def value(self, ref: Ref) -> Tensor:
        """The tensor that was recorded there."""
        return self.image if ref.step < 0 else self.steps[ref.step].results[ref.output]

    def refs_of(self, index: int) -> Iterable[Ref]:
        """The tensors that a step gave."""
        return (Ref(index, n) for n, r in enumerate(self.steps[index].results) if isinstance(r, Tensor))

    def reached_from(self, start: Ref, avoiding: Ref | None = None) -> set[int]:
        """Numbers of the steps that depend on `start` (on a path that does not lead through `avoiding`)."""
        seen: set[int] = set()
        todo = list(self.uses.get(start, ()))
        while todo:
            index = todo.pop()
            if index in seen:
                continue
            seen.add(index)
            todo += [
                user for ref in self.refs_of(index) if ref != avoiding for user in self.uses.get(ref, ())
            ]
        return seen

    def needed_for(self, end: Ref) -> set[int]:
        """Numbers of the steps that `end` depends on, its own included."""
        seen: set[int] = set()
        todo = [end.step]
        while todo:
            index = todo.pop()
            if index < 0 or index in seen:
                continue
            seen.add(index)
            todo += [ref.step for ref in self.steps[index].reads]
        return seen

    def everything_passes(self, ref: Ref, start: Ref, end: Ref) -> bool:
        """Whether `end` depends on `start` through `ref` alone."""
        return ref == end or end.step not in self.reached_from(start, avoiding=ref)

    def between(self, start: Ref, end: Ref) -> list[Step]:
        """The steps from `start` (left out) to `end` (its own step included), in order."""
        inside = self.reached_from(start) & self.needed_for(end)
        return [self.steps[i] for i in sorted(inside)]


def record(model: nn.Module, image: Tensor) -> Tape:
    """Run the model once on one image (1, C, H, W), in eval mode, and write down every operation.

    Works for any Python code in `forward`, modules or functions; nothing is left on the model.

    Raises:
        OutputError: If the model returns something else than one tensor.
        ValueError: If its output does not depend on the image.
    """
    recorder = _Recorder(image)
    handles = []
    try:
        for name, part in model.named_modules():
            handles.append(part.register_forward_pre_hook(recorder.entering(name, part)))
            handles.append(part.register_forward_hook(recorder.leaving(name)))
        with torch.no_grad(), evaluating(model), plain_attention(), recorder:
            output = model(image)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor):
        raise OutputError(output)
    ref = recorder.ref_of.get(id(output))
    if ref is None or not recorder.from_image(ref):
        raise ValueError("the model's output does not depend on the image; check its forward")
    return Tape(recorder.steps, image, ref, recorder.module_outputs)


def run_to_step(model: nn.Module, images: Tensor, name: str, number: int) -> Tensor:
    """Run the model on a batch up to its `number`-th operation called `name` and return what that gives.

    The result carries no gradient: it is caught below the automatic differentiation.
    """
    try:
        with evaluating(model), plain_attention(), _StopAt(name, number):
            model(images)
    except _Reached as reached:
        return reached.value
    raise RuntimeError(
        f"operation '{name}' ran fewer than {number + 1} times: the model does not run the same way twice"
    )


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and importing the compiler takes seconds


class _Recorder(_Mode):
    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.ref_of: dict[int, Ref] = {id(image): IMAGE}
        self.alive: list[Any] = [image]  # ids stay unique while the tensors live
        self.image = image
        self.layers: list[tuple[str, str]] = []
        self.calls: dict[str, int] = {}
        self.module_outputs: list[tuple[str, int, Ref]] = []
        self._from_image: set[int] = {-1}

    def from_image(self, ref: Ref) -> bool:
        return ref.step in self._from_image

    def entering(self, name: str, part: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            self.layers.append((name, type(part).__name__))

        return hook

    def leaving(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self.layers.pop()
            number = self.calls.get(name, 0)
            self.calls[name] = number + 1
            if isinstance(output, Tensor) and id(output) in self.ref_of:
                self.module_outputs.append((name, number, self.ref_of[id(output)]))

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        as_ref = lambda t: self.ref_of.get(id(t), t)  # noqa: E731
        noted_args, noted_kwargs = tree_map_only(Tensor, as_ref, (tuple(args), dict(kwargs)))
        op = func
        if func._schema.is_mutable:
            op = _without_side_effect(func)
            for given, argument in zip(args, func._schema.arguments, strict=False):
                if (
                    isinstance(given, Tensor)
                    and argument.alias_info is not None
                    and argument.alias_info.is_write
                ):
                    self._keep_old_value(given)
        result = func(*args, **kwargs)
        results = list(result) if isinstance(result, list | tuple) else [result]
        reads = [x for x in tree_flatten((noted_args, noted_kwargs))[0] if isinstance(x, Ref)]
        index = len(self.steps)
        layer, layer_type = self.layers[-1] if self.layers else ("", "model")
        self.steps.append(Step(index, op, noted_args, noted_kwargs, layer, layer_type, results, reads))
        if any(ref.step in self._from_image for ref in reads):
            self._from_image.add(index)
        for n, one in enumerate(results):
            if isinstance(one, Tensor):
                self.ref_of[id(one)] = Ref(index, n)
                self.alive.append(one)
        return result

    def _keep_old_value(self, given: Tensor) -> None:
        """An operation in place is about to overwrite a recorded value: keep a copy of what was there."""
        ref = self.ref_of.get(id(given))
        if ref is None:
            return
        with torch.utils._python_dispatch._disable_current_modes():
            copy = given.detach().clone()
        if ref.step >= 0:
            self.steps[ref.step].results[ref.output] = copy
            self.alive.append(given)


def _without_side_effect(func: Any) -> Any:
    """The operation that computes the same without writing in place: relu_ -> relu."""
    name = func.overloadpacket.__name__
    if name.endswith("_"):
        packet = getattr(aten, name[:-1], None)
        overload = getattr(packet, func._overloadname, None) if packet is not None else None
        if overload is not None:
            return overload
    return func


class _Reached(Exception):  # noqa: N818 (not an error: a way out of somebody's forward)
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


class _StopAt(_Mode):
    def __init__(self, name: str, number: int) -> None:
        super().__init__()
        self.name, self.left = name, number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.rstrip("_") == self.name:
            if self.left == 0:
                raise _Reached(result[0] if isinstance(result, list | tuple) else result)
            self.left -= 1
        return result
