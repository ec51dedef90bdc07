"""A place between image and embedding at which an embedding can be taken apart."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating, placement
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.geometry_arithmetic import geometry_on_tape
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.mapped_head import peeled
from dmlviz.embedder.passage import Passage
from dmlviz.embedder.tape import IMAGE, Ref, Tape, record
from dmlviz.embedder.token_places import places_of_tokens
from dmlviz.embedder.tokens_head import TokensHead

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Cut:
    """Activations of one image on its way to the embedding, and what comes before and after them.

    Attributes:
        layer: Name of the layer that gives the activations; "" where no single layer does.
        shape: (C, h, w) of a feature map, or (tokens, C).
        grid: (h, w) of its cells.
        prefix: How many tokens in front stand for no cell; 0 at a feature map.
        geometry: Where the cells lie on the view; None: not known.
        trunk: The embedder's trunk in the dtype that is computed in.
        head: The same of its head.
        before: From the network's input (1, C, H, W) to the activations.
        after: From the activations to the embedding (D,).
    """

    layer: str
    shape: tuple[int, ...]
    grid: tuple[int, int]
    prefix: int
    geometry: CellGeometry | None
    trunk: nn.Module
    head: nn.Module
    before: Function
    after: Function

    @property
    def of_tokens(self) -> bool:
        """Whether the activations are tokens (tokens, C) and no feature map."""
        return len(self.shape) == 2

    @property
    def positions(self) -> Tensor:
        """Which position each activation belongs to, int64, broadcasts to `shape`; prefix tokens come first."""
        device = placement(self.trunk)[0]
        if self.of_tokens:
            return torch.arange(self.shape[0], device=device)[:, None]
        return torch.arange(self.shape[1] * self.shape[2], device=device).reshape(1, *self.shape[1:])

    def values(self, embedder: Embedder, image: Any) -> Tensor:
        """The activations of a picture (h, w, 3) uint8, of shape `shape`."""
        return self._at(embedder._to_input([image]))

    def blank(self, embedder: Embedder) -> Tensor:
        """The activations of an input of zeros."""
        return self._at(embedder.zero_input())

    def _at(self, inputs: Tensor) -> Tensor:
        return self.before(inputs.to(*placement(self.trunk))).reshape(self.shape).detach()


def cut_of(embedder: Embedder, layer: str | None = None, dtype: str = "float32") -> Cut:
    """Cut an embedder at a layer.

    Args:
        embedder: Any embedder.
        layer: None: the last feature map, or the tokens that a network of tokens chooses. Else the name of a layer.
        dtype: "float32": the network as it is (half precision is refused); "float64": in double precision.

    Raises:
        ValueError: An unknown dtype, or no such layer; those that there are, are named.
        TypeError: If `embedder` is no `Embedder`.
    """
    if not isinstance(embedder, Embedder):
        raise TypeError(f"expected a dmlviz.Embedder, got {type(embedder).__name__}")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"unknown dtype {dtype!r}: expected 'float32' or 'float64'")
    embedder._refuse_changed_weights()
    trunk, head = (embedder.trunk, embedder.head) if dtype == "float32" else embedder._in_double()
    device, precision = placement(trunk)
    if precision not in (torch.float32, torch.float64):
        raise ValueError(
            f"the network computes in {precision}, too coarse for derivatives along a path; pass dtype='float64' "
            f"or give the model as model.float()"
        )

    inner, mapped = peeled(head)
    last: Function = lambda feature_map: head(feature_map[None])[0]  # noqa: E731
    if isinstance(inner, JacobianHead) and inner.passage.frozen:  # along a path no length is held
        bent = replace(inner.passage, frozen=False).function(device, precision)
        last = lambda feature_map: mapped(bent(feature_map))  # noqa: E731

    own = getattr(trunk, "layer", "")
    if isinstance(inner, TokensHead) and layer != own:
        name = inner.layer if layer is None else layer
        if name in inner.layers:
            to, since, shape = inner.passages(name, device, precision)
            return Cut(
                name,
                shape,
                embedder.map_size,
                shape[0] - embedder.map_size[0] * embedder.map_size[1],
                embedder.geometry,
                trunk,
                head,
                lambda inputs: to(trunk(inputs)[0]),
                lambda values: mapped(since(values)),
            )
    with torch.no_grad(), evaluating(trunk), evaluating(head):
        if layer is None or (own and layer == own):
            shape = tuple(trunk(embedder.zero_input().to(device, precision)).shape[1:])
            return Cut(
                own,
                shape,
                embedder.map_size,
                0,
                embedder.geometry,
                trunk,
                head,
                lambda inputs: trunk(inputs)[0],
                last,
            )
        tape = record(trunk, embedder.zero_input().to(device, precision))
        places = _places(tape, embedder.map_size)
        if layer not in places:
            known = [*places, *(inner.layers if isinstance(inner, TokensHead) else ())]
            raise ValueError(
                f"there is no layer {layer!r} whose output is a feature map or tokens that everything passes "
                f"through; expected one of {', '.join(map(repr, known)) or '(none)'}"
            )
        ref = places[layer]
        shape = tuple(tape.value(ref).shape[1:])
        map_shape = tuple(tape.value(tape.output).shape[1:])
        before = Passage.cut(tape, IMAGE, ref).function(device, precision)
        rest = Passage.cut(tape, ref, tape.output).function(device, precision)
        grid = (shape[1], shape[2]) if len(shape) == 3 else embedder.map_size
        return Cut(
            layer,
            shape,
            grid,
            shape[0] - grid[0] * grid[1] if len(shape) == 2 else 0,
            embedder.geometry if len(shape) == 2 else _geometry(tape, ref),
            trunk,
            head,
            lambda inputs: before(inputs[0]),
            lambda values: last(rest(values).reshape(map_shape)),
        )


def _geometry(tape: Tape, ref: Ref) -> CellGeometry | None:
    try:
        return geometry_on_tape(tape, ref)
    except ValueError:  # not known to the arithmetic: the half-pixel rule is used, and said
        return None


def _places(tape: Tape, grid: tuple[int, int]) -> dict[str, Ref]:
    """Layers whose output is a feature map or tokens that everything passes through, in the order they run."""
    found = places_of_tokens(tape, grid[0] * grid[1])
    for name, call, ref in tape.module_outputs:
        shape = tape.value(ref).shape
        if not name or call or len(shape) != 4 or shape[2] * shape[3] < 2 or ref == IMAGE:
            continue
        if ref == tape.output or tape.everything_passes(ref, IMAGE, tape.output):
            found[name.removeprefix("model.")] = ref
    return dict(sorted(found.items(), key=lambda item: item[1].step))
