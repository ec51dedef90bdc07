"""All parts, one after the other."""

from benchmarks.embedding import sets
from benchmarks.explaining import pair_tensors, rankings
from benchmarks.measuring import Duel
from benchmarks.report import machine, table, write
from benchmarks.searching import searches
from benchmarks.waiting import waits


def measure(*, quick: bool, into_readme: bool, only: str) -> None:
    """Measure, print, and write where asked."""
    parts = {
        "pairs": lambda: pair_tensors(),
        "search": lambda: searches(quick),
        "rankings": lambda: rankings(quick),
        "sets": lambda: sets(quick),
    }
    where = machine()
    duels: list[Duel] = []
    for name, part in parts.items():
        if only not in name:
            continue
        for one in part():
            print(f"{one.ratio:10.4f}  {one.what}  /  {one.baseline}", flush=True)
            duels.append(one)
    waited = waits(quick) if only in "waits" else []
    text = table(duels, waited, where)
    print("\n" + text)
    if into_readme:
        write(text, duels, waited, where)
