"""The results as a table, on the screen and in README.md."""

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
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
    lines += _ruled(
        "part | against | ours, ms | baseline, ms | ratio (quartiles) | goal | ", map(_duel, found.duels)
    )
    if found.absent:
        lines += ["", f"Not installed, so not measured against: {', '.join(found.absent)}."]
    lines += ["", *_ruled("wait | seconds | goal | ", map(_wait, found.waits))]
    missed = [x.what for x in (*found.duels, *found.waits) if x.met is False]
    total = sum(x.met is not None for x in (*found.duels, *found.waits))
    lines += ["", f"{total - len(missed)} of {total} goals met."]
    for data, title in (
        ("rows", "The engine, rows of 512 numbers"),
        ("codes", "The engine, codes of 512 bits"),
    ):
        lines += _section(title, _ENGINE, [_engine(one) for one in found.engines if one.data == data])
    for title, head, rows in (
        ("Judging a gallery", _JUDGING, map(_judging, found.judgings)),
        ("One pair, method by method", _COST, map(_cost, found.costs)),
        ("One pair, evaluator by evaluator", _EVALUATOR, map(_evaluator, found.evaluators)),
        ("Maps of the query, side by side", _LIKENESS, map(_likeness, found.likenesses)),
    ):
        lines += _section(title, head, list(rows))
    return "\n".join(lines)


_ENGINE = (
    "kind | rows | by | build, s | one query, ms | 100 queries, ms | ours against it, one (quartiles) "
    "| ours against it, 100 (quartiles) | recall@10 | holds, MiB | at most, MiB"
)
_JUDGING = (
    "protocol | images, each asking all | ours, s | naive, s | ratio (quartiles) | ours at most, MiB "
    "| naive at most, MiB | a figure differs at most by"
)
_COST = "method | network | ms | forward passes of one image (quartiles) | what the method says of its cost"
_EVALUATOR = "evaluator | ms | forward passes of one image (quartiles) | one picture per pass against batches"
_LIKENESS = (
    "map | against | network | correlation (least – greatest) | misses its promised sum by | the other by"
)

_Cells = Sequence[str]


def _section(title: str, head: str, rows: Sequence[_Cells]) -> list[str]:
    """A table under its title; nothing where there are no rows."""
    return ["", f"### {title}", "", *_ruled(head, rows)] if rows else []


def _ruled(head: str, rows: Iterable[_Cells]) -> list[str]:
    """A table: the head, its cells divided by " | ", a rule, a line for each row."""
    rule = "---|" * len(head.split(" | "))
    return [
        f"| {head} |".replace("|  |", "| |"),
        f"|{rule}",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _duel(d: Duel) -> _Cells:
    ratio = f"{_ratio(d.ratio)} ({_ratio(d.low)} – {_ratio(d.high)})"
    return d.what, d.baseline, _short(d.ours_ms), _short(d.baseline_ms), ratio, _goal(d.goal), _verdict(d.met)


def _wait(w: Wait) -> _Cells:
    return w.what, f"{w.seconds:.2f}", f"≤ {w.goal:g}", _verdict(w.met)


def _engine(one: EngineLine) -> _Cells:
    kind = f"{one.case}, {one.said}" if one.rounds and one.said else one.case
    start = (kind, _thousands(one.rows), one.who)
    if one.rounds == 0:
        return *start, one.said, *("–",) * 7
    own = one.who == OURS[one.data]
    against = ("", "") if own else (_spread(one.one_ratio), _spread(one.batch_ratio))
    times = (_seconds(one.build_s), _short(one.one_ms), _short(one.batch_ms))
    return *start, *times, *against, f"{one.recall:.3f}", _mib(one.held_mib), _mib(one.most_mib)


def _judging(one: JudgingCost) -> _Cells:
    times = (_seconds(one.ours_s), _seconds(one.naive_s), _spread(one.ratio))
    return (
        one.protocol,
        _thousands(one.images),
        *times,
        _mib(one.ours_mib),
        _mib(one.naive_mib),
        f"{one.differs:.1e}",
    )


def _cost(c: Cost) -> _Cells:
    passes = f"{c.passes:.1f} ({c.low:.1f} – {c.high:.1f})"
    numbers = ("–", "–") if c.rounds == 0 else (_short(c.milliseconds), passes)
    return c.method, c.network, *numbers, c.said


def _evaluator(c: EvaluatorCost) -> _Cells:
    if c.rounds == 0:
        return c.evaluator, "–", "–", f"not run: {c.said}"
    batches = "no batches" if c.unbatched is None else f"{c.unbatched:.2f}"
    return c.evaluator, _short(c.milliseconds), f"{c.passes:.1f} ({c.low:.1f} – {c.high:.1f})", batches


def _likeness(one: Likeness) -> _Cells:
    like = f"{one.correlation:.2f} ({one.low:.2f} – {one.high:.2f})"
    asked = f"{one.network}, {one.pairs} pairs"
    return one.ours, one.other, asked, like, _miss(one.ours_misses), _miss(one.other_misses)


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
