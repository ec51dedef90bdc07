"""Patch tokens of a transformer as a feature map: the trunk that gives it, and the tape with the map on it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.geometry_arithmetic import geometry_on_tape
from dmlviz.embedder.tape import IMAGE, Ref, Step, Tape
from dmlviz.embedder.trunk import Trunk

aten = torch.ops.aten
OF_PATCHES = "each cell lies where its patch does; through attention it has seen the whole image"


class TokenTrunk(Trunk):
    """A transformer up to its patch tokens (N, h·w, C), which become feature maps (N, C, h, w).

    Attributes:
        grid: (h, w) of the patches, row by row.
    """

    def __init__(
        self, model: nn.Module, layer: str, call: int = 0, operation: str = "", grid: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__(model, layer, call, (), operation)
        self.grid = grid

    def __deepcopy__(self, memo: dict[int, Any]) -> "TokenTrunk":
        import copy

        return TokenTrunk(copy.deepcopy(self.model, memo), self.layer, self._call, self._operation, self.grid)

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        return f"up to its patch tokens{f' after {self.layer!r}' if self.layer else ''}, {self.grid}"

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> patch tokens as feature maps (N, C, h, w)."""
        tokens = super().forward(images)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *self.grid)


def token_trunk(
    model: nn.Module, tape: Tape, patch_map: Ref, known: Mapping[str, Ref]
) -> tuple[Tape, Ref, TokenTrunk] | None:
    """Cut a transformer at the last patch tokens that everything passes through.

    Args:
        model: The recorded model.
        tape: Its tape.
        patch_map: The feature map (1, C', h, w) whose cells are the patches.
        known: Layers that give tokens, from `places_of_tokens`.

    Returns:
        The tape with the tokens as a feature map on it, where that map stands, and the trunk that ends there;
        None where the embedding does not follow from the patch tokens alone.
    """
    end = tape.output
    h, w = (int(n) for n in tape.value(patch_map).shape[2:])
    inside = {step.index for step in tape.between(patch_map, end)}
    for index in sorted(inside, reverse=True):
        ref = Ref(index)
        result = tape.steps[index].results[0]
        if ref == end or not isinstance(result, Tensor) or tuple(result.shape[:2]) != (1, h * w):
            continue
        if result.ndim != 3 or not tape.everything_passes(ref, IMAGE, end):
            continue
        if result.shape[2] == h * w and not _is_part_of(tape, ref, set(known.values())):
            continue  # as many channels as patches: which axis counts the patches must be known otherwise
        named = [(n, c) for n, c, r in tape.module_outputs if r == ref and n]
        if named:
            name, call = min(named, key=lambda pair: pair[0].count("."))
            trunk = TokenTrunk(model, name, call, "", (h, w))
        else:
            trunk = TokenTrunk(model, "", tape.occurrence(index), tape.steps[index].name, (h, w))
        longer, place = with_map(tape, ref, (h, w))
        return longer, place, trunk
    return None


def _is_part_of(tape: Tape, ref: Ref, known: set[Ref]) -> bool:
    step = tape.steps[ref.step]
    return ref in known or (step.name == "slice" and step.args[1] == 1 and step.args[0] in known)


def with_map(tape: Tape, ref: Ref, grid: tuple[int, int]) -> tuple[Tape, Ref]:
    """A tape on which the tokens `ref`, (1, h·w, C), are turned into a feature map and back.

    Returns:
        The tape, and where the map (1, C, h, w) stands on it; what follows reads the tokens that come of it.
    """
    tokens = tape.value(ref)
    channels = int(tokens.shape[2])
    turned = tokens.transpose(1, 2)
    rounds: list[tuple[Any, tuple[Any, ...], Tensor]] = [
        (aten.transpose.int, (1, 2), turned),
        (aten.reshape.default, ((1, channels, *grid),), turned.reshape(1, channels, *grid)),
        (aten.reshape.default, ((1, channels, grid[0] * grid[1]),), turned),
        (aten.transpose.int, (1, 2), tokens),
    ]
    extra, last = len(rounds), ref.step

    def moved(one: Any) -> Any:
        if isinstance(one, Ref):
            if one == ref:
                return Ref(last + extra)
            return Ref(one.step + extra, one.output) if one.step > last else one
        if isinstance(one, tuple | list):
            return type(one)(moved(part) for part in one)
        return {key: moved(part) for key, part in one.items()} if isinstance(one, dict) else one

    steps = list(tape.steps[: last + 1])
    where = tape.steps[last]
    reading = ref
    for op, rest, result in rounds:
        index = len(steps)
        steps.append(
            Step(index, op, (reading, *rest), {}, where.layer, where.layer_type, [result], [reading])
        )
        reading = Ref(index)
    for step in tape.steps[last + 1 :]:
        steps.append(
            replace(
                step,
                index=step.index + extra,
                args=moved(step.args),
                kwargs=moved(step.kwargs),
                reads=[moved(one) for one in step.reads],
            )
        )
    outputs = [(name, call, moved(one)) for name, call, one in tape.module_outputs]
    return Tape(steps, tape.image, moved(tape.output), outputs), Ref(last + 2)


def geometry_of_patches(tape: Tape, patch_map: Ref) -> CellGeometry:
    """Where the patches lie on the image.

    Raises:
        ValueError: If the arithmetic does not know the way to the patch map.
    """
    found = geometry_on_tape(tape, patch_map)
    return replace(found, note="; ".join(filter(None, (found.note, OF_PATCHES))))
