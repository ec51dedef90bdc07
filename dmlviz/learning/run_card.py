"""What the cards of all training runs tell alike: what the run cost, on what, and how its loss fell."""

from __future__ import annotations

import platform
from typing import Any, Final

import numpy as np
import torch

_CURVE_POINTS: Final = 60


def cost_of_run(seconds: float, drawn: bool = True) -> dict[str, Any]:
    """Tell what a run cost and which versions it ran on.

    Args:
        seconds: Processor time of all steps.
        drawn: Whether pictures were drawn for it, so that Pillow's version counts.

    Returns:
        processor_minutes, threads and versions, fit for JSON.
    """
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
    }
    if drawn:
        import PIL

        versions["pillow"] = PIL.__version__
    return {
        "processor_minutes": round(seconds / 60.0, 1),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def loss_curve(losses: list[float]) -> dict[str, Any]:
    """Average the losses over equal stretches of steps."""
    stretch = max(1, len(losses) // _CURVE_POINTS)
    means = [round(float(np.mean(losses[at : at + stretch])), 4) for at in range(0, len(losses), stretch)]
    return {"steps_per_point": stretch, "loss": means}
