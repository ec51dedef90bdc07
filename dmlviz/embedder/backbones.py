"""torchvision networks as embedders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.from_module import embedder_of_module, made_up_inputs
from dmlviz.embedder.geometry_arithmetic import geometry_on_tape
from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.tape import record


def _resnet(net: Any) -> nn.Module:
    return nn.Sequential(
        net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4
    )


def _features(net: Any) -> nn.Module:
    features: nn.Module = net.features
    return features


def _densenet(net: Any) -> nn.Module:
    return nn.Sequential(net.features, nn.ReLU())  # torchvision calls this ReLU in forward, before pooling


_TRUNKS: dict[str, Callable[[Any], nn.Module]] = {
    "convnext_tiny": _features,
    "densenet121": _densenet,
    "efficientnet_b0": _features,
    "mobilenet_v2": _features,
    "mobilenet_v3_large": _features,
    "mobilenet_v3_small": _features,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "vgg16": _features,
}
_TRANSFORMERS = ("vit_b_16", "vit_b_32")
_CLASSIFIER = {  # the linear map to class scores, of the networks where it reads the average of the last feature map
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "resnet18": "fc",
    "resnet50": "fc",
}


def embedder_of_torchvision(
    name: str, weights: str | Path | None = None, *, input_size: tuple[int, int] | None = None, seed: int = 0
) -> Embedder:
    """A torchvision network up to its classifier.

    The embedding is the plain average of the last feature map over its cells. For most networks that is what
    their classifier reads; for convnext_tiny it is the average before the LayerNorm of its classifier (which
    would not be a sum over cells), for vgg16 the average of the 512 last channels instead of its fully connected
    layers. Size and normalisation of the input are those of torchvision's best weights, also when `weights` is
    None. For another embedding, give the network to `Embedder.from_module`.

    A vision transformer ends in its class token, the embedding that its classifier reads. That is no sum over
    cells: local embeddings are integrated Jacobians at the patch tokens before the last attention, from a blank
    picture, and most of the embedding may lie in the offset. For an exact sum, give a network that returns the mean
    of its patch tokens to `Embedder.from_module`.

    Where weights are given and their classifier is one linear map of that average (densenet121, efficientnet_b0,
    mobilenet_v2, resnet18, resnet50), it is kept as `Embedder.classifier`, with as many classes as it has.

    Args:
        name: See `Embedder.from_torchvision`.
        weights: None, "DEFAULT", or the path of a state dict (.safetensors, .pth; loaded with weights_only=True).
            Entries of the classifier may be missing.
        input_size: (H, W) in pixels; pictures are then stretched to it. For vision transformers H = W, a multiple
            of the patch, and without weights only (their position embeddings are for one size).
        seed: Of the random weights; the global random state is left alone.

    Raises:
        ImportError: torchvision is not installed.
        ValueError: An unknown name; a state dict of another network; a size that a transformer cannot take.
        FileNotFoundError: No file at that path.
        ConnectionError: The weights could not be downloaded.
    """
    if name not in (*_TRUNKS, *_TRANSFORMERS):
        raise ValueError(
            f"unknown network {name!r}: expected one of {', '.join((*_TRUNKS, *_TRANSFORMERS))}; any other "
            f"torchvision network goes through Embedder.from_module(model, preprocess=weights.transforms())"
        )
    import torchvision

    from dmlviz.images import Preprocess

    best = torchvision.models.get_model_weights(name).DEFAULT
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = torchvision.models.get_model(name, weights=None, **_size_option(name, weights, input_size))
    classifier = None
    if weights == "DEFAULT":
        state = _downloaded(best, name)
        net.load_state_dict(state)
        classifier = _classifier(state, name)
    elif weights is not None:
        classifier = _classifier(_load(net, Path(weights), name), name)
    prepared = Preprocess.from_torchvision(best.transforms())
    if input_size is not None:
        prepared = Preprocess.stretch(
            input_size, mean=prepared.mean, std=prepared.std, interpolation=prepared.interpolation
        )
    if name in _TRANSFORMERS:
        return _of_transformer(net, prepared, name, _said_of(weights, best))
    trunk = _TRUNKS[name](net).eval().requires_grad_(False)
    tape = record(trunk, made_up_inputs(prepared, prepared.size)[:1])
    geometry = geometry_on_tape(tape, tape.output)
    details = _said_of(weights, best)
    return Embedder(
        trunk,
        LinearHead("avg"),
        prepared,
        geometry=geometry,
        name=name,
        details="; ".join(filter(None, (details, geometry.note))),
        classifier=classifier,
    )


def _of_transformer(net: Any, prepared: Any, name: str, said: str) -> Embedder:
    """A vision transformer up to its class token."""
    net.heads = nn.Identity()
    embedder = embedder_of_module(
        net.eval().requires_grad_(False), prepared, prepared.size, "linearised", name
    )
    embedder.details = f"{said}; {embedder.details}"
    return embedder


def _size_option(name: str, weights: Any, size: tuple[int, int] | None) -> dict[str, Any]:
    """What torchvision needs to know to build a transformer for another size."""
    if name not in _TRANSFORMERS or size is None:
        return {}
    patch = int(name.rsplit("_", 1)[1])
    if weights is not None or size[0] != size[1] or size[0] % patch or size[0] <= patch:
        raise ValueError(
            f"{name} takes another input_size than its usual one only with weights=None, and square ones of several "
            f"patches of {patch} pixels; got {tuple(size)} with weights={weights!r}"
        )
    return {"image_size": size[0]}


def _said_of(weights: Any, best: Any) -> str:
    if weights is None:
        return "random weights"
    return f"weights: {best if weights == 'DEFAULT' else Path(weights).name}"


def _downloaded(best: Any, name: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = best.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"the weights of {name} could not be downloaded from {best.url} ({error}); go online, or save the file "
            f"elsewhere and pass its path as weights=, or take weights=None for random weights"
        ) from error
    return state


def _classifier(state: dict[str, Tensor], name: str) -> nn.Linear | None:
    """The linear map from the average of the last feature map to class scores, where the state dict has one."""
    layer = _CLASSIFIER.get(name)
    weight, bias = state.get(f"{layer}.weight"), state.get(f"{layer}.bias")
    if weight is None or weight.ndim != 2:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"the classifier of {name} has weights {tuple(weight.shape)} (classes, features) and a bias "
            f"{tuple(bias.shape)}; expected one bias per class"
        )
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta").to_empty(
        device="cpu"
    )
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear.eval().requires_grad_(False)


def _load(net: nn.Module, path: Path, name: str) -> dict[str, Tensor]:
    """Load a state dict from a file, all but its classifier, and return it whole."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file of weights at {path}; pass the path of a .safetensors or .pth state dict, "
            f'"DEFAULT" or None'
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a state dict ({type(error).__name__}: {error}); save one with "
            f"torch.save(model.state_dict(), path) or safetensors.torch.save_file"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    wanted = net.state_dict()
    classifier = ("fc.", "classifier.", "heads.")
    missing = [k for k in wanted if k not in state and not k.startswith(classifier)]
    unknown = [k for k in state if k not in wanted]
    kept = {k: v for k, v in state.items() if k in wanted and not k.startswith(classifier)}
    shapes = [k for k, v in kept.items() if tuple(v.shape) != tuple(wanted[k].shape)]
    if missing or unknown or shapes:
        wrong = "; ".join(
            f"{what}: {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
            for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
            if keys
        )
        raise ValueError(f"the weights in {path} are not those of torchvision's {name} ({wrong})")
    net.load_state_dict(kept, strict=False)
    return dict(state)
