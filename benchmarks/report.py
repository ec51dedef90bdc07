"""The results as a table, on the screen and in README.md."""

import json
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import faiss
import numpy as np
import torch

import dmlviz
from benchmarks.engine import OURS, EngineLine
from benchmarks.faithfulness_cost import EvaluatorCost
from benchmarks.judging import JudgingCost
from benchmarks.measuring import Duel
from benchmarks.methods import Cost
from benchmarks.tools import Likeness
from benchmarks.waiting import Wait

_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_README = Path(__file__).with_name("README.md")


@dataclass
class Results:
    """Everything that was measured; `absent` names tools that are not installed."""

    duels: list[Duel] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    evaluators: list[EvaluatorCost] = field(default_factory=list)
    likenesses: list[Likeness] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    engines: list[EngineLine] = field(default_factory=list)
    judgings: list[JudgingCost] = field(default_factory=list)


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


def table(found: Results, where: dict[str, str]) -> str:
    """Markdown: machine, ratios, waits, goals missed, the engine, costs of methods and evaluators, how maps agree."""
    lines = [", ".join(f"{key} {value}" for key, value in where.items()) + ".", ""]
    lines += [
        "| part | against | ours, ms | baseline, ms | ratio (quartiles) | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for d in found.duels:
        lines.append(
            f"| {d.what} | {d.baseline} | {_short(d.ours_ms)} | {_short(d.baseline_ms)} | {_ratio(d.ratio)} "
            f"({_ratio(d.low)} – {_ratio(d.high)}) | {_goal(d.goal)} | {_verdict(d.met)} |"
        )
    if found.absent:
        lines += ["", f"Not installed, so not measured against: {', '.join(found.absent)}."]
    lines += ["", "| wait | seconds | goal | |", "|---|---|---|---|"]
    lines += [f"| {w.what} | {w.seconds:.2f} | ≤ {w.goal:g} | {_verdict(w.met)} |" for w in found.waits]
    missed = [x.what for x in (*found.duels, *found.waits) if x.met is False]
    total = sum(x.met is not None for x in (*found.duels, *found.waits))
    lines += ["", f"{total - len(missed)} of {total} goals met."]
    parts = [
        lines,
        _engines(found.engines),
        _judgings(found.judgings),
        _costs(found.costs),
        _evaluators(found.evaluators),
        _likenesses(found.likenesses),
    ]
    return "\n".join(line for part in parts for line in part)


def _engines(found: list[EngineLine]) -> list[str]:
    lines: list[str] = []
    for data, title in (
        ("rows", "The engine, rows of 512 numbers"),
        ("codes", "The engine, codes of 512 bits"),
    ):
        own = [one for one in found if one.data == data]
        if not own:
            continue
        lines += ["", f"### {title}", ""]
        lines += [
            "| kind | rows | by | build, s | one query, ms | 100 queries, ms | ours against it, one (quartiles) "
            "| ours against it, 100 (quartiles) | recall@10 | holds, MiB | at most, MiB |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for one in own:
            kind = f"{one.case}, {one.said}" if one.rounds and one.said else one.case
            start = f"| {kind} | {_thousands(one.rows)} | {one.who} "
            if one.rounds == 0:
                lines.append(f"{start}| {one.said} |" + " – |" * 7)
                continue
            against = (
                ("", "") if one.who == OURS[data] else (_spread(one.one_ratio), _spread(one.batch_ratio))
            )
            lines.append(
                f"{start}| {_seconds(one.build_s)} | {_short(one.one_ms)} | {_short(one.batch_ms)} | {against[0]} "
                f"| {against[1]} | {one.recall:.3f} | {_mib(one.held_mib)} | {_mib(one.most_mib)} |"
            )
    return lines


def _judgings(found: list[JudgingCost]) -> list[str]:
    if not found:
        return []
    lines = ["", "### Judging a gallery", ""]
    lines += [
        "| protocol | images, each asking all | ours, s | naive, s | ratio (quartiles) | ours at most, MiB "
        "| naive at most, MiB | a figure differs at most by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.protocol} | {_thousands(one.images)} | {_seconds(one.ours_s)} | {_seconds(one.naive_s)} "
        f"| {_spread(one.ratio)} | {_mib(one.ours_mib)} | {_mib(one.naive_mib)} | {one.differs:.1e} |"
        for one in found
    ]
    return lines


def _costs(costs: list[Cost]) -> list[str]:
    if not costs:
        return []
    lines = ["", "### One pair, method by method", ""]
    lines += [
        "| method | network | ms | forward passes of one image (quartiles) | what the method says of its cost |",
        "|---|---|---|---|---|",
    ]
    for c in costs:
        numbers = (
            "| – | – "
            if c.rounds == 0
            else (f"| {_short(c.milliseconds)} | {c.passes:.1f} ({c.low:.1f} – {c.high:.1f}) ")
        )
        lines.append(f"| {c.method} | {c.network} {numbers}| {c.said} |")
    return lines


def _evaluators(costs: list[EvaluatorCost]) -> list[str]:
    if not costs:
        return []
    lines = ["", "### One pair, evaluator by evaluator", ""]
    lines += [
        "| evaluator | ms | forward passes of one image (quartiles) | one picture per pass against batches |",
        "|---|---|---|---|",
    ]
    for c in costs:
        if c.rounds == 0:
            lines.append(f"| {c.evaluator} | – | – | not run: {c.said} |")
            continue
        batches = "no batches" if c.unbatched is None else f"{c.unbatched:.2f}"
        lines.append(
            f"| {c.evaluator} | {_short(c.milliseconds)} | {c.passes:.1f} ({c.low:.1f} – {c.high:.1f}) | {batches} |"
        )
    return lines


def _likenesses(likenesses: list[Likeness]) -> list[str]:
    if not likenesses:
        return []
    lines = ["", "### Maps of the query, side by side", ""]
    lines += [
        "| map | against | network | correlation (least – greatest) | misses its promised sum by | the other by |",
        "|---|---|---|---|---|---|",
    ]
    for one in likenesses:
        lines.append(
            f"| {one.ours} | {one.other} | {one.network}, {one.pairs} pairs | {one.correlation:.2f} ({one.low:.2f} – "
            f"{one.high:.2f}) | {_miss(one.ours_misses)} | {_miss(one.other_misses)} |"
        )
    return lines


def write(text: str, found: Results, where: dict[str, str]) -> None:
    """Put the table between the marks in README.md, and the numbers into results.json."""
    readme = _README.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(_BEGIN) + ".*" + re.escape(_END), re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"{_README.name} lacks the marks {_BEGIN} and {_END}")
    _README.write_text(pattern.sub(lambda _: f"{_BEGIN}\n{text}\n{_END}", readme), encoding="utf-8")
    numbers = {
        "machine": where,
        "ratios": [asdict(d) for d in found.duels],
        "waits": [asdict(w) for w in found.waits],
        "methods": [asdict(c) for c in found.costs],
        "evaluators": [asdict(c) for c in found.evaluators],
        "maps": [asdict(one) for one in found.likenesses],
        "engines": [asdict(one) for one in found.engines],
        "protocols": [asdict(one) for one in found.judgings],
        "absent": found.absent,
    }
    _README.with_name("results.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def written() -> Results:
    """What results.json holds, to be written again with one part measured anew."""
    numbers = json.loads(_README.with_name("results.json").read_text(encoding="utf-8"))
    return Results(
        [Duel(**one) for one in numbers["ratios"]],
        [Wait(**one) for one in numbers["waits"]],
        [Cost(**one) for one in numbers["methods"]],
        [EvaluatorCost(**one) for one in numbers.get("evaluators", [])],
        [Likeness(**one) for one in numbers["maps"]],
        numbers["absent"],
        [EngineLine(**_with_tuples(one)) for one in numbers.get("engines", [])],
        [JudgingCost(**_with_tuples(one)) for one in numbers.get("protocols", [])],
    )


def _with_tuples(one: dict) -> dict:
    """What a dataclass is made of: JSON knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3g}" if milliseconds < 1000 else f"{milliseconds:.0f}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _spread(ratio: tuple[float, float, float]) -> str:
    middle, low, high = map(_ratio, ratio)
    return middle if low == high else f"{middle} ({low} – {high})"


def _seconds(seconds: float) -> str:
    return "–" if seconds < 5e-4 else f"{seconds:.3f}" if seconds < 1 else f"{seconds:.3g}"


def _mib(mib: float | None) -> str:
    return "not told" if mib is None else f"{mib:,.0f}"


def _thousands(count: int) -> str:
    return f"{count:,}"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"≤ {_ratio(goal)}"


def _verdict(met: bool | None) -> str:
    return "" if met is None else ("met" if met else "**missed**")


def _miss(miss: float | None) -> str:
    return "none promised" if miss is None else f"{miss:.1e}"
