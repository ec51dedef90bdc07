"""A comparison as frames and as Markdown."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmlviz.faithfulness import evaluators as registry
from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.estimate import Estimate, short
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.faithfulness.comparison_cells import Skipped

PAIRS, COST = "pairs", "ms per pair"


def long_frame(evaluations: Sequence[Evaluation]) -> "pd.DataFrame":
    """One row per figure; see `Comparison.to_frame`."""
    import pandas as pd

    frames = []
    for evaluation in evaluations:
        frame = evaluation.to_frame()
        frame["beside"] = ["" if by == evaluation.method else evaluation.method for by in frame["method"]]
        if evaluation.method in BASELINES:
            frame["kind"] = "baseline"
        frame["title"] = evaluation.evaluator.title
        frame["headline_figure"] = frame["figure"] == evaluation.evaluator.figures[0]
        frame["headline_test"] = evaluation.evaluator.headline
        frame["pairs"] = len(evaluation.pairs)
        frame["explain_milliseconds"] = evaluation.explain_milliseconds
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def in_words(estimate: Estimate) -> str:
    """A value with its interval in as many digits as tell something; "" without a trial."""
    if not estimate.trials:
        return ""
    value, (low, high) = estimate.value, estimate.interval()
    return f"{short(value)} [{short(low)}, {short(high)}]"


def wide_frame(evaluations: Sequence[Evaluation]) -> "pd.DataFrame":
    """Methods in rows, evaluators in columns; see `Comparison.table`."""
    import pandas as pd

    columns = [evaluator.name for evaluator in evaluators_of(evaluations)]
    rows = {}
    for method in dict.fromkeys(e.method for e in evaluations):
        of_method = {e.evaluator.name: e for e in evaluations if e.method == method}
        cells = [in_words(of_method[name].headline) if name in of_method else "" for name in columns]
        counts = sorted({len(e.pairs) for e in of_method.values()})
        asked = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        costs = [e.explain_milliseconds for e in of_method.values() if math.isfinite(e.explain_milliseconds)]
        rows[method] = [*cells, asked, f"{costs[-1]:.3g}" if costs else ""]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[*columns, PAIRS, COST])
    return frame.rename_axis("method")


def evaluators_of(evaluations: Sequence[Evaluation]) -> list[Evaluator]:
    """The evaluators that found something, headline tests first, then in the order in which they were asked."""
    known = {e.evaluator.name: e.evaluator for e in evaluations}
    order = {name: place for place, name in enumerate(registry.EVALUATORS)}
    return sorted(known.values(), key=lambda of: (not of.headline, order.get(of.name, len(order))))


def markdown(
    evaluations: Sequence[Evaluation], skipped: "Sequence[Skipped]", columns: int, notes: bool
) -> str:
    """The table in pieces of so many columns, on request how to read them, and what was skipped."""
    if columns < 1:
        raise ValueError(f"a table has at least one column; got columns={columns}")
    table = wide_frame(evaluations)
    asked = evaluators_of(evaluations)
    groups = [[e for e in asked if e.headline], [e for e in asked if not e.headline]]
    pieces = [group[at : at + columns] for group in groups for at in range(0, len(group), columns)]
    parts = [_piece(table, piece, last=piece is pieces[-1]) for piece in pieces]
    by_evaluator = [(evaluator, [e for e in evaluations if e.evaluator is evaluator]) for evaluator in asked]
    parts += [own for evaluator, found in by_evaluator if (own := _own(evaluator, found))]
    if notes:
        parts.append("\n".join(_note(evaluator, found) for evaluator, found in by_evaluator))
    if skipped:
        parts.append("Not asked:\n\n" + "\n".join(f"- {line}" for line in skipped_in_words(skipped)))
    return "\n\n".join(parts) + "\n"


def _piece(table: "pd.DataFrame", piece: Sequence[Evaluator], *, last: bool) -> str:
    arrow = {"higher": "↑", "lower": "↓"}
    names = [evaluator.name for evaluator in piece]
    heads = [f"{e.name} {arrow[e.better]}" for e in piece] + ([PAIRS, COST] if last else [])
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for method, row in table[[*names, *([PAIRS, COST] if last else [])]].iterrows():
        if any(row[name] for name in names) or last:
            shown = f"*{method}*" if method in BASELINES else f"`{method}`"
            lines.append(f"| {shown} | " + " | ".join(cell or "–" for cell in row) + " |")
    return "\n".join(lines)


def _own(evaluator: Evaluator, found: Sequence[Evaluation]) -> str:
    """Baselines that were read off each method itself, as a table; "" where there are none."""
    names = list(dict.fromkeys(name for e in found for name in e.baselines))
    if not names:
        return ""
    lines = [
        f"Beside {evaluator.name}, read off each method itself:",
        "",
        "| | " + " | ".join([evaluator.name, *names]) + " |",
        "|---|" + "---|" * (1 + len(names)),
    ]
    for e in found:
        if e.baselines:
            figure = evaluator.figures[0]
            beside = [in_words(e.baselines[n][figure]) if n in e.baselines else "" for n in names]
            lines.append(
                f"| `{e.method}` | {in_words(e.headline)} | " + " | ".join(c or "–" for c in beside) + " |"
            )
    return "\n".join(lines)


def _note(evaluator: Evaluator, found: Sequence[Evaluation]) -> str:
    costs = [e.milliseconds for e in found if math.isfinite(e.milliseconds)]
    said = [
        f"- **{evaluator.name}**: {evaluator.question} The figure is “{evaluator.figures[0]}”, "
        f"{evaluator.better} is better."
    ]
    if evaluator.headline:
        said.append("A headline test.")
    if evaluator.caution:
        said.append(f"Beware: {evaluator.caution.rstrip('.')}.")
    if costs:
        said.append(f"Costs {max(costs):.3g} ms a pair at most, beside the explanation.")
    return " ".join(said)


def skipped_in_words(skipped: "Sequence[Skipped]") -> list[str]:
    """What was not asked, and why: one line for each reason and the methods that it holds for."""
    methods: dict[tuple[str, str], list[str]] = {}
    for evaluator, method, reason in skipped:
        methods.setdefault((evaluator, reason), []).extend([method] if method else [])
    evaluators: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (evaluator, reason), names in methods.items():
        evaluators.setdefault((tuple(names), reason), []).extend([evaluator] if evaluator else [])
    return [
        f"{' about '.join(filter(None, (', '.join(asked), ', '.join(names))))}: {reason}"
        for (names, reason), asked in evaluators.items()
    ]
