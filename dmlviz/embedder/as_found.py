"""Run somebody's model and leave it as it was."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


_lock = threading.Lock()
_in_use: dict[int, list[Any]] = {}  # id of a module: [how many calls hold it in eval mode, its own mode]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every part of the model in eval mode, and each part back in its own mode afterwards.

    Several threads may do so at once: a part gets its mode back when the last of them has finished.
    """
    parts = list(model.modules())
    with _lock:
        for part in parts:
            held = _in_use.setdefault(id(part), [0, part.training])
            held[0] += 1
            part.training = False
    try:
        yield
    finally:
        with _lock:
            for part in parts:
                held = _in_use[id(part)]
                held[0] -= 1
                if held[0] == 0:
                    part.training = held[1]
                    del _in_use[id(part)]


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off the fused attention kernels, so that each of their steps can be seen."""
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def refuse_batch_statistics(model: nn.Module) -> None:
    """Raise ValueError if a batch normalisation would take its statistics from the batch even in eval mode."""
    for name, part in model.named_modules():
        if isinstance(part, _BATCH_NORMS) and (part.running_mean is None or part.running_var is None):
            raise ValueError(
                f"layer {name!r} ({type(part).__name__}) keeps no running statistics, so the embedding of an image "
                f"would depend on the batch it came in; build it with track_running_stats=True and train it"
            )


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and floating dtype of a model's weights (CPU and float32 if it has none).

    Raises:
        ValueError: If the weights are spread over several devices.
    """
    tensors = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    if not tensors:
        return torch.device("cpu"), torch.float32
    devices = sorted({str(t.device) for t in tensors})
    if len(devices) > 1:
        raise ValueError(
            f"the model's weights lie on several devices ({', '.join(devices)}); move it to one with model.to(...)"
        )
    return tensors[0].device, tensors[0].dtype
