"""The published geo-localization checkpoint, from TensorFlow's names to `CrossViewVGG`'s.

    python -m dmlviz.embedder.published.from_tensorflow model.ckpt crossview.safetensors

Needs TensorFlow (any version from 1.13 on) for this one step. The file of safetensors that it writes needs none:

    published_embedder("geo-localization-ground", "crossview.safetensors")

The variables are those of Jeff-Zilence/Explain_Metric_Learning (Geo-localization): `Sat/conv1_1/weights` and
`Grd/conv1_1/weights` with kernels (rows, columns, in, out), `.../biases`, and `Gap_local/fc1/weights` (in, out).
What else a checkpoint holds, such as the optimiser's averages, is left behind.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.embedder.published.crossview_vgg import CHANNELS, DIM, VGG_16

Read = Callable[[str], np.ndarray]
_BRANCHES = {"Sat": "aerial", "Grd": "ground"}
_SHOWN = 10


def tensorflow_names() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name of each TensorFlow variable, and the shape that the variable has there."""
    names: dict[str, tuple[str, tuple[int, ...]]] = {}
    for scope, branch in _BRANCHES.items():
        channels = 3
        for stage, count, planes in VGG_16:
            for n in range(1, count + 1):
                theirs, ours = f"{scope}/conv{stage}_{n}", f"{branch}.conv{stage}_{n}"
                names[f"{theirs}/weights"] = (f"{ours}.weight", (3, 3, channels, planes))
                names[f"{theirs}/biases"] = (f"{ours}.bias", (planes,))
                channels = planes
    names["Gap_local/fc1/weights"] = ("fc1.weight", (CHANNELS, DIM))
    names["Gap_local/fc1/biases"] = ("fc1.bias", (DIM,))
    return names


def convert(held: Iterable[str], read: Read) -> dict[str, np.ndarray]:
    """The weights of `CrossViewVGG` by name, float32, from TensorFlow variables.

    Args:
        held: The names of the variables that there are.
        read: Called with a name, gives that variable's values.

    Returns:
        Kernels (out, in, rows, columns), the linear map (out, in), biases (out,).

    Raises:
        ValueError: A variable is missing, or has another shape.
    """
    there = {name.removesuffix(":0"): name for name in held}
    wanted = tensorflow_names()
    missing = [name for name in wanted if name not in there]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(wanted)} variables are missing: {_listed(missing)}; the checkpoint holds "
            f"{len(there)}: {_listed(sorted(there))}. Expected the checkpoint of the geo-localization demonstration "
            f"in Jeff-Zilence/Explain_Metric_Learning"
        )
    found = {}
    for theirs, (ours, shape) in wanted.items():
        values = np.asarray(read(there[theirs]), dtype=np.float32)
        if values.shape != shape:
            raise ValueError(f"the variable {theirs} has shape {values.shape}, expected {shape}")
        order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[values.ndim]
        found[ours] = np.ascontiguousarray(values.transpose(order))
    return found


def open_checkpoint(path: str | Path) -> tuple[list[str], Read]:
    """The names in a TensorFlow checkpoint, and a function that reads one.

    Raises:
        ImportError: TensorFlow is not installed.
        FileNotFoundError: No checkpoint at that path.
    """
    path = Path(path)
    if not any(path.parent.glob(f"{path.name}*")):
        raise FileNotFoundError(
            f"there is no checkpoint at {path}; pass the path without its ending, such as model.ckpt where "
            f"model.ckpt.index and model.ckpt.data-00000-of-00001 lie (unpack model.ckpt.tar first)"
        )
    try:
        tensorflow: Any = import_module("tensorflow")
    except ImportError as error:
        raise ImportError(
            "reading a TensorFlow checkpoint needs TensorFlow, which is not installed here; run this once where it "
            "is (pip install tensorflow) and copy the .safetensors file that it writes"
        ) from error
    reader = tensorflow.train.load_checkpoint(str(path))
    return list(reader.get_variable_to_shape_map()), reader.get_tensor


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a checkpoint from the command line; returns 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m dmlviz.embedder.published.from_tensorflow",
        description="Write the published geo-localization checkpoint of TensorFlow as safetensors.",
    )
    parser.add_argument("checkpoint", help="path of the checkpoint without its ending, such as model.ckpt")
    parser.add_argument("out", help="the file to write, ending in .safetensors")
    given = parser.parse_args(arguments)
    out = Path(given.out)
    try:
        if out.suffix != ".safetensors":
            raise ValueError(f"the file to write must end in .safetensors, got {out}")
        held, read = open_checkpoint(given.checkpoint)
        weights = convert(held, read)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    from safetensors.numpy import save_file

    save_file(weights, out)
    print(f"wrote {len(weights)} tensors to {out}; left {len(held) - len(weights)} variables behind")
    return 0


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


if __name__ == "__main__":
    sys.exit(main())
