"""The results as a table, on the screen and in README.md."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import faiss
import numpy as np
import torch

import dmlviz
from benchmarks.measuring import Duel
from benchmarks.waiting import Wait

_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_README = Path(__file__).with_name("README.md")


def machine() -> dict[str, str]:
    """What was measured on, as a class of machine: no names, no paths."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "cores": f"{cores} ({platform.machine()})",
        "load before": load,
        "torch threads": str(torch.get_num_threads()),
        "FAISS threads": str(faiss.omp_get_max_threads()),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "torch": torch.__version__,
        "FAISS": faiss.__version__,
        "dmlviz": dmlviz.__version__,
    }


def table(duels: Sequence[Duel], waits: Sequence[Wait], where: dict[str, str]) -> str:
    """Markdown: machine, ratios, waits, and how many goals were missed."""
    lines = [", ".join(f"{key} {value}" for key, value in where.items()) + ".", ""]
    lines += [
        "| part | against | ours, ms | baseline, ms | ratio (quartiles) | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for d in duels:
        lines.append(
            f"| {d.what} | {d.baseline} | {_short(d.ours_ms)} | {_short(d.baseline_ms)} | {_ratio(d.ratio)} "
            f"({_ratio(d.low)} – {_ratio(d.high)}) | {_goal(d.goal)} | {_verdict(d.met)} |"
        )
    lines += ["", "| wait | seconds | goal | |", "|---|---|---|---|"]
    lines += [f"| {w.what} | {w.seconds:.2f} | ≤ {w.goal:g} | {_verdict(w.met)} |" for w in waits]
    missed = [x.what for x in (*duels, *waits) if x.met is False]
    total = sum(x.met is not None for x in (*duels, *waits))
    lines += ["", f"{total - len(missed)} of {total} goals met."]
    return "\n".join(lines)


def write(text: str, duels: Sequence[Duel], waits: Sequence[Wait], where: dict[str, str]) -> None:
    """Put the table between the marks in README.md, and the numbers into results.json."""
    readme = _README.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(_BEGIN) + ".*" + re.escape(_END), re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"{_README.name} lacks the marks {_BEGIN} and {_END}")
    _README.write_text(pattern.sub(lambda _: f"{_BEGIN}\n{text}\n{_END}", readme), encoding="utf-8")
    numbers = {"machine": where, "ratios": [asdict(d) for d in duels], "waits": [asdict(w) for w in waits]}
    _README.with_name("results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3g}" if milliseconds < 1000 else f"{milliseconds:.0f}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"≤ {_ratio(goal)}"


def _verdict(met: bool | None) -> str:
    return "" if met is None else ("met" if met else "**missed**")
