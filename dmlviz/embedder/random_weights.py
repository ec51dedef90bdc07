"""The same network with fresh random weights, in all of its layers or from the head downwards."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.folding import HeadMode
from dmlviz.embedder.following import behind_another
from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.mapped_head import Head
from dmlviz.embedder.tape import record
from dmlviz.embedder.tokens_head import TokensHead
from dmlviz.embedder.trunk import Trunk

_MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def parametrised_layers(embedder: Embedder) -> list[str]:
    """Name the layers with weights or running statistics, from the head down to the first convolution.

    A layer is a module with tensors of its own, placed where the last of them is read on the way from image to
    embedding; modules that are never read, such as a classifier that was cut off, are none.

    Args:
        embedder: Any embedder of `from_module`, or of a trunk and a `LinearHead`.

    Returns:
        Qualified names: those of the model that `from_module` was given, else "head.…" and "trunk.…".

    Raises:
        TypeError: If it is no embedder.

    Examples:
        >>> from dmlviz.embedder import birds_embedder
        >>> parametrised_layers(birds_embedder())
        ['head.linear', 'trunk.conv6', 'trunk.conv5', 'trunk.conv4', 'trunk.conv3', 'trunk.conv2', 'trunk.conv1']
    """
    if not isinstance(embedder, Embedder):
        raise TypeError(f"expected a dmlviz.Embedder, got {type(embedder).__name__}")
    return list(_layers(embedder.unmapped, *_parts(embedder.unmapped)))


def head_layers(embedder: Embedder) -> int:
    """How many of `parametrised_layers` make the head: down to the first linear map or convolution, at least one.

    A normalisation above it does not count by itself: fresh, it changes scales only.

    Examples:
        >>> from dmlviz.embedder import birds_embedder
        >>> head_layers(birds_embedder())
        1
    """
    found = list(_layers(embedder.unmapped, *_parts(embedder.unmapped)).values())
    maps = (
        n for n, part in enumerate(found, 1) if any(own.ndim >= 2 for own in part.parameters(recurse=False))
    )
    return next(maps, 1)


def randomised(embedder: Embedder, layers: Literal["all"] | int = "all", seed: int = 0) -> Embedder:
    """Copy an embedder and draw the weights of its layers anew; the given one is left as it is.

    Convolutions and linear maps are drawn after He et al. (2015, eq. 10; linear maps with half the variance), biases
    are zero: torch's own rule lets the signal die away under the biases where batch normalisation has been folded,
    and the maps of such a network are flat. Other layers are initialised the way their own type does
    (`reset_parameters`), normalisations forget their running statistics, and tensors without a rule of their own
    (class tokens, position embeddings) are drawn from a normal distribution with the mean and standard deviation that
    they have. A smaller number of layers is the beginning of a larger one: with the same seed the layers that both
    draw get the same weights, as cascading randomisation asks (Adebayo et al. 2018, section 4). Pooling is no layer:
    its exponent stays. Nor is a map that follows (`Embedder.followed_by`): the copy gets the same.

    Args:
        embedder: Any embedder of `from_module`, or of a trunk and a `LinearHead`.
        layers: "all", or how many of `parametrised_layers`, from the head downwards, >= 1.
        seed: Of the weights; the global random state is left alone.

    Returns:
        An embedder with the same preprocessing, geometry, grid and dimension, on the same device. A classifier that
        the embedder carries is drawn anew with the first layer.

    Raises:
        TypeError: If it is no embedder.
        ValueError: If there are not so many layers; or if the head is no sum over cells with these weights.

    Examples:
        >>> from dmlviz.embedder import birds_embedder
        >>> randomised(birds_embedder(), layers=1).name
        'birds, avg pooling with random weights (1 layer)'
    """
    names = parametrised_layers(embedder)
    if layers != "all" and (
        isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= len(names)
    ):
        raise ValueError(
            f"layers must be 'all' or a number from 1 to {len(names)}, the layers of {embedder.name!r} from "
            f"{names[0]!r} down to {names[-1]!r}; got {layers!r}"
        )
    count = len(names) if layers == "all" else int(layers)
    embedder._refuse_changed_weights()
    said = f"{count} layer{'s' if count > 1 else ''}"
    name = f"{embedder.name} with random weights ({said})"
    if embedder._following is not None:
        return behind_another(embedder, randomised(embedder._following.embedder, layers, seed), name)
    trunk, head, classifier = copy.deepcopy((*_parts(embedder), embedder.classifier))
    found = _layers(embedder, trunk, head)
    drawn = [found[name] for name in names[:count]]
    _draw([*([classifier] if classifier is not None else []), *drawn], seed)
    twin = _embedder_of(embedder, trunk, head, classifier, name)
    if (twin.map_size, twin.dim) != (embedder.map_size, embedder.dim):
        raise ValueError(
            f"with random weights {embedder.name!r} is cut at another place: {twin.map_size} cells and {twin.dim} "
            f"dimensions instead of {embedder.map_size} and {embedder.dim}; try another seed"
        )
    twin.geometry = embedder.geometry
    twin.details = "; ".join(filter(None, (twin.details, f"random weights in {said}, seed {seed}")))
    return twin


def _parts(embedder: Embedder) -> tuple[nn.Module, nn.Module]:
    """What there is to draw: the whole model behind a folded embedder, or trunk and head.

    A folded head is worked out from the model's weights, so it has none of its own; it is folded anew.
    """
    if isinstance(embedder.trunk, Trunk) and embedder._folded:
        return embedder.trunk.model, nn.Identity()
    if isinstance(embedder.head, JacobianHead):
        raise ValueError(
            f"the head of {embedder.name!r} was taken from a model that is not at hand, so it cannot be drawn "
            f"anew; make the embedder with Embedder.from_module(model, ...)"
        )
    return embedder.trunk, embedder._master


def _layers(embedder: Embedder, trunk: nn.Module, head: nn.Module) -> dict[str, nn.Module]:
    """The layers of trunk and head, by name, from the head downwards."""
    prefix = "" if isinstance(head, nn.Identity) else "trunk."
    found: dict[str, nn.Module] = {}
    if isinstance(head, LinearHead):
        for name in ("batch_norm", "linear"):
            part = getattr(head, name)
            if part is not None and _own(part):
                found[f"head.{name}"] = part
    of_head = {id(part) for part in found.values()}
    owner = {
        id(tensor): name
        for name, part in trunk.named_modules()
        if id(part) not in of_head
        for tensor in _own(part)
    }
    last: dict[str, int] = {}
    device, dtype = embedder.device, next((t.dtype for t in trunk.parameters()), torch.float32)
    with torch.no_grad():
        tape = record(trunk, embedder.zero_input().to(device, dtype))
    for step in tape.steps:
        for value in tree_leaves((step.args, step.kwargs)):
            if id(value) in owner:
                last[owner[id(value)]] = step.index
    for name in sorted(last, key=last.__getitem__, reverse=True):
        found[f"{prefix}{name}"] = trunk.get_submodule(name)
    return found


def _own(part: nn.Module) -> list[Tensor]:
    """The weights of a module itself, and the running statistics of a normalisation."""
    own = list(part.parameters(recurse=False))
    statistics = (getattr(part, name, None) for name in ("running_mean", "running_var"))
    return own + [one for one in statistics if isinstance(one, Tensor)]


@torch.no_grad()
def _draw(parts: Sequence[nn.Module], seed: int) -> None:
    """Draw the weights of modules anew, in their order; on the CPU, so that every device gets the same."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for part in parts:
            kept = copy.deepcopy(part).cpu()
            _draw_one(kept)
            for old, new in zip(_own(part), _own(kept), strict=True):
                old.copy_(new)


def _draw_one(part: nn.Module) -> None:
    own = dict(part.named_parameters(recurse=False))
    if isinstance(part, _MAPS) and "weight" in own:
        gain = 1.0 if isinstance(part, nn.Linear) else 2.0
        weight = own.pop("weight")
        weight.copy_(torch.randn(weight.shape) * (gain / weight[0].numel()) ** 0.5)
        if "bias" in own:
            own.pop("bias").zero_()
    elif (rule := _own_rule(part)) is not None:
        rule()
        return
    for tensor in own.values():
        _as_spread(tensor)


def _own_rule(part: nn.Module) -> Any:
    """How a module's type initialises it; None where it has no rule that can be called without more ado."""
    rule = getattr(
        part, "_reset_parameters" if isinstance(part, nn.MultiheadAttention) else "reset_parameters", None
    )
    if not callable(rule):
        return None
    asked = inspect.signature(rule).parameters.values()
    needs = [p for p in asked if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return None if needs else rule


def _as_spread(tensor: Tensor) -> None:
    """Normal numbers with a tensor's own mean and standard deviation; what is all alike stays."""
    if tensor.is_floating_point() and tensor.numel() > 1:
        mean, spread = float(tensor.double().mean()), float(tensor.double().std(correction=0))
        tensor.copy_(torch.randn(tensor.shape) * spread + mean)


def _embedder_of(
    embedder: Embedder, trunk: nn.Module, head: nn.Module, classifier: nn.Linear | None, name: str
) -> Embedder:
    if isinstance(head, LinearHead):
        return Embedder(
            trunk,
            head,
            embedder.preprocess,
            input_size=embedder.input_size,
            name=name,
            note=embedder.note,
            details=embedder.details,
            classifier=classifier,
        )
    try:
        twin = Embedder.from_module(
            trunk, embedder.preprocess, embedder.input_size, _mode(embedder.head), name
        )
    except HeadError as error:
        raise ValueError(
            f"with random weights the head of {embedder.name!r} cannot be taken apart the way it was: {error}"
        ) from error
    twin.classifier = classifier
    return twin


def _mode(head: Head) -> HeadMode:
    """How `from_module` was asked to take the head."""
    if isinstance(head, TokensHead) or not (isinstance(head, LinearHead) or head.exact):
        return "linearised"
    return "frozen" if isinstance(head, JacobianHead) and head.passage.frozen else "fold"
