"""The part of a model up to its last feature map, run without the rest."""

import threading
from typing import Any

from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating
from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.tape import IMAGE, Ref, Step, Tape, run_to_step

ACTIVATIONS = {
    "relu", "hardtanh", "silu", "gelu", "hardswish", "leaky_relu", "elu", "celu", "selu", "tanh", "sigmoid",
    "hardsigmoid", "mish", "softplus",
}  # fmt: skip
_LONG = 40  # operations; a head longer than that is tried last
_MAP_MAKERS = ACTIVATIONS | {
    "convolution", "add", "cat", "max_pool2d_with_indices", "avg_pool2d", "native_group_norm",
}  # fmt: skip


class Trunk(nn.Module):
    """A model up to its last feature map: images (N, 3, H, W) -> feature maps (N, C, h, w).

    The model itself runs, always in eval mode, until the feature map is there; then it is stopped. Nothing
    stays on it: no hook, no changed mode.

    Attributes:
        model: The whole model.
        layer: Qualified name of the module whose output is the feature map; "" where no single module gives it.
    """

    def __init__(
        self, model: nn.Module, layer: str, call: int = 0, tail: tuple[Step, ...] = (), operation: str = ""
    ) -> None:
        super().__init__()
        self.model, self.layer = model, layer
        self._call, self._tail, self._operation = call, tail, operation
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Trunk":
        import copy

        return Trunk(copy.deepcopy(self.model, memo), self.layer, self._call, self._tail, self._operation)

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        return f"up to {self.layer!r}" if self.layer else "up to its last feature map"

    def forward(self, images: Tensor) -> Tensor:
        """Run the trunk; differentiable where gradients are enabled and a module gives the feature map."""
        if self._operation:
            with self._lock:
                return run_to_step(self.model, images, self._operation, self._call)
        feature_map = self._module_output(images)
        for step in self._tail:
            feature_map = step.op(feature_map, *step.args[1:], **step.kwargs)
        return feature_map

    def _module_output(self, images: Tensor) -> Tensor:
        left = [self._call]

        def stop(_module: nn.Module, _args: Any, output: Any) -> None:
            if threading.get_ident() != owner:
                return
            if left[0] == 0:
                raise _FeatureMap(output)
            left[0] -= 1

        owner = threading.get_ident()
        with self._lock, evaluating(self.model):
            handle = self.model.get_submodule(self.layer).register_forward_hook(stop)
            try:
                output = self.model(images)
            except _FeatureMap as found:
                return found.value
            finally:
                handle.remove()
        if self.layer == "":
            return output
        raise HeadError(
            f"layer {self.layer!r} did not run on this batch; the model's path depends on the image"
        )


class _FeatureMap(Exception):  # noqa: N818 (not an error: a way out of somebody's forward)
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


def possible_trunks(model: nn.Module, tape: Tape) -> list[tuple[Ref, Trunk]]:
    """Where the model may be cut: feature maps that everything after them follows from, likeliest first.

    The first choice is the last module whose output is (1, C, h, w) with more than one cell, carried on
    through activation functions called in `forward`. After it come feature maps made by plain operations
    later on, last first. Pooling modules to several cells count as head.

    Raises:
        HeadError: If there is no such feature map.
    """
    end = tape.output
    needed = tape.needed_for(end)

    def is_cut(ref: Ref) -> bool:
        shape = tape.value(ref).shape
        return (
            len(shape) == 4
            and shape[2] * shape[3] > 1
            and ref != end
            and ref.step in needed
            and tape.everything_passes(ref, IMAGE, end)
        )

    found: list[tuple[Ref, Trunk]] = []
    types = {name: type(part).__name__ for name, part in model.named_modules()}
    for name, call, ref in reversed(tape.module_outputs):
        if name == "" or types[name].startswith("Adaptive") or ref == IMAGE or not is_cut(ref):
            continue
        # the outermost module of those that return this very tensor gives the clearest name
        same = [(n, c) for n, c, r in tape.module_outputs if r == ref and n]
        name, call = min(same, key=lambda pair: pair[0].count("."))
        last, tail = _with_activations(tape, ref, needed)
        found.append((last, Trunk(model, name, call, tail)))
        break
    after = found[0][0].step if found else -1
    for step in reversed(tape.steps):
        ref = Ref(step.index)
        if step.index > after and step.name in _MAP_MAKERS and step.results and is_cut(ref):
            found.append((ref, Trunk(model, "", tape.occurrence(step.index), (), step.name)))
    if len(found) > 1 and len(tape.between(found[0][0], end)) > _LONG:
        found.append(found.pop(0))
    if not found:
        raise HeadError(
            "no feature map (N, C, h, w) with more than one cell was found that the whole embedding follows from; "
            "give a model that ends in a convolutional feature map, pooling and a linear map",
            layer=tape.steps[end.step].where(),
        )
    return found


def _with_activations(tape: Tape, ref: Ref, needed: set[int]) -> tuple[Ref, tuple[Step, ...]]:
    tail: list[Step] = []
    while True:
        users = [i for i in tape.uses.get(ref, ()) if i in needed]
        if len(users) != 1 or tape.steps[users[0]].name not in ACTIVATIONS:
            return ref, tuple(tail)
        step = tape.steps[users[0]]
        if len(step.reads) != 1 or any(isinstance(a, Tensor) for a in step.args) or not _is_map(tape, step):
            return ref, tuple(tail)
        tail.append(step)
        ref = Ref(step.index)


def _is_map(tape: Tape, step: Step) -> bool:
    value = tape.value(Ref(step.index))
    return value.ndim == 4 and value.shape[2] * value.shape[3] > 1
