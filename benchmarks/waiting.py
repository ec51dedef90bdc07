"""What a user waits for, in seconds, from a fresh process."""

import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

_FIRST_PAIR = """
import dmlviz as dv
gallery = dv.demo_gallery()
assert dv.explain(gallery, 0, gallery.search(0, k=1).ids[0]).adds_up
"""
_TORCH = "import torch"


@dataclass(frozen=True)
class Wait:
    """One line of the results: seconds (median of `rounds`), and the most that the design allows."""

    what: str
    seconds: float
    goal: float
    rounds: int

    @property
    def met(self) -> bool:
        """Whether it is no longer than the goal."""
        return self.seconds <= self.goal


class NoNetwork:
    """Stands where an embedder stands, for a gallery that is only ranked."""

    dim, input_size, map_size, name, note = 128, (1, 1), (1, 1), "none", ""
    geometry: CellGeometry | None = None
    fingerprint = "none"


def waits(quick: bool) -> list[Wait]:
    """From process start to the first explained pair; every query of ten thousand judged."""
    rounds = 1 if quick else 5
    first, torch_alone = zip(*[(_until(_FIRST_PAIR), _until(_TORCH)) for _ in range(rounds)], strict=True)
    random = np.random.default_rng(0)
    labels = [f"class {c}" for c in np.arange(10_000) % 500]
    rows = random.standard_normal((500, 128))[np.arange(10_000) % 500] + random.standard_normal((10_000, 128))
    images = ImageSet.from_arrays(np.zeros((10_000, 1, 1, 3), np.uint8), labels)
    judged = [
        _seconds(Gallery(images, NoNetwork(), rows.astype(np.float32)).failures)  # type: ignore[arg-type]
        for _ in range(rounds)
    ]
    return [
        Wait(
            "process start to first explained pair of the default gallery "
            f"(to import torch alone takes {sorted(torch_alone)[rounds // 2]:.2f})",
            sorted(first)[rounds // 2],
            5.0,
            rounds,
        ),
        Wait(
            "every query of 10,000 × 128 ranked in full and judged", sorted(judged)[rounds // 2], 4.0, rounds
        ),
    ]


def _until(code: str) -> float:
    """Seconds from the start of a Python process until it has run some code; its end is not waited for."""
    start = time.time()
    ended = f"{code}\nimport time; print(time.time())"
    run = subprocess.run([sys.executable, "-c", ended], check=True, capture_output=True, text=True)
    return float(run.stdout) - start


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
