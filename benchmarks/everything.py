"""All parts, one after the other."""

from collections.abc import Sequence

from benchmarks.embedding import sets
from benchmarks.engine import ROWS, engines
from benchmarks.explaining import pair_tensors, rankings
from benchmarks.faithfulness_cost import evaluator_costs
from benchmarks.judging import IMAGES, judgings
from benchmarks.methods import costs
from benchmarks.report import Results, machine, table, write, written
from benchmarks.searching import searches
from benchmarks.tools import likenesses, missing, speeds
from benchmarks.waiting import waits


def measure(
    *, quick: bool, into_readme: bool, only: str, rows: Sequence[int] = (), images: Sequence[int] = ()
) -> None:
    """Measure, print, and write where asked; of the engine and the protocols the sizes named, or the usual ones."""
    parts = {
        "pairs": lambda: pair_tensors(),
        "search": lambda: searches(quick),
        "rankings": lambda: rankings(quick),
        "sets": lambda: sets(quick),
        "tools": lambda: speeds(quick),
    }
    where = machine()
    found = written() if only and into_readme else Results()
    for name, part in parts.items():
        if only not in name:
            continue
        for one in part():
            print(f"{one.ratio:10.4f}  {one.what}  /  {one.baseline}", flush=True)
            found.duels.append(one)
    if only in "waits":
        found.waits = waits(quick)
    if only in "engine":
        found.engines = []
        for one in engines(rows or ROWS[: 1 if quick else None]):
            print(
                f"{one.batch_ms:10.2f}  {one.who}, {one.data}, {one.case}, {one.rows} {one.said}", flush=True
            )
            found.engines.append(one)
    if only in "protocols":
        found.judgings = []
        for one in judgings(images or IMAGES[: 1 if quick else None]):
            print(f"{one.ratio[0]:10.2f}  {one.protocol}, {one.images}", flush=True)
            found.judgings.append(one)
    if only in "methods":
        found.costs = []
        for cost in costs(quick):
            print(f"{cost.passes:10.1f}  {cost.method}, {cost.network}", flush=True)
            found.costs.append(cost)
    if only in "evaluators":
        found.evaluators = []
        for one in evaluator_costs(quick):
            print(f"{one.passes:10.1f}  {one.evaluator}", flush=True)
            found.evaluators.append(one)
    if only in "maps":
        found.likenesses = []
        for one in likenesses(quick):
            print(f"{one.correlation:10.2f}  {one.ours}  /  {one.other}, {one.network}", flush=True)
            found.likenesses.append(one)
    if any(only in name for name in ("tools", "maps")):
        found.absent = missing()
    text = table(found, where)
    print("\n" + text)
    if into_readme:
        write(text, found, where)
