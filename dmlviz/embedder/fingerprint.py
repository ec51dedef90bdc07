"""What tells one network from another: a checksum over all that decides an embedding."""

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
