"""What tells one network from another, and from itself after its weights have changed."""

import hashlib
import json
from typing import Any

import torch
from torch import nn


def fingerprint_of(trunk: nn.Module, head: nn.Module, settings: dict[str, Any]) -> str:
    """SHA-256 (hex) over weights, layers without any, and settings; the same on every machine.

    Args:
        trunk: Its weights count, and the kind of each layer that has none.
        head: Its weights count.
        settings: What else decides, fit for JSON.
    """
    layers = [
        (name, type(layer).__name__, layer.extra_repr())
        for name, layer in trunk.named_modules()
        if not (list(layer.children()) or layer.state_dict() or isinstance(layer, nn.Identity))
    ]
    digest = hashlib.sha256(json.dumps({"layers": layers, **settings}, sort_keys=True).encode())
    for part, module in (("trunk", trunk), ("head", head)):
        state = module.state_dict()
        for key in sorted(k for k in state if not k.endswith("num_batches_tracked")):
            value = state[key].detach().cpu().contiguous()
            digest.update(f"{part}.{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def marks_of(*modules: nn.Module) -> tuple[tuple[int, ...], ...]:
    """A mark for every weight and buffer, another one once it is written to, moved or replaced.

    Costs next to nothing, where a checksum reads every number; it holds within this process only.
    """
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return tuple((id(t), t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
