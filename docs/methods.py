"""Write docs/methods.md: every method of explanation on one and the same pair of birds.

python docs/methods.py
"""

from pathlib import Path

import numpy as np

import dmlviz as dv
from dmlviz.explanation import METHODS, Decomposition, explain, method_named

INTRODUCTION = """# Methods

Written by `python docs/methods.py`. Every method answers `dv.explain(gallery, query, item, method=name)`, returns a
`Decomposition`, and stands in the Explorer's menu with what it says about itself. The figures below are for query
{query} of the default gallery and its best match, similarity {similarity:+.4f}.

How to read it. *Explains*: the score that the method speaks of; where it is not the gallery's own, that score stands
behind it. *Sum*: what its parts add up to. *Residual*: the sum less the score. A method that promises to add up is
exact to rounding; one that does not says by how much it misses, which is a finding about the method and no error.
*Pairs*: whether it knows which cell goes with which, so that a point of one image has a map on the other. *Like the
exact map*: the correlation of its map of the query with that of the exact decomposition, on this pair; of a method
that explains another score it says how far the two questions lie apart.

| method | pairs | explains | sum | residual | like the exact map |
|---|---|---|---|---|---|
"""


def main() -> None:
    gallery = dv.demo_gallery()
    query = 0
    item = int(gallery.search(query, k=1).ids[0])
    exact = explain(gallery, query, item)
    lines, words = [], []
    for name in METHODS:
        method = method_named(name)
        words.append(f"**{method.title}** (`{name}`). {method.says} Cost: {method.cost}.")
        if reason := method.unsuited(gallery):
            lines.append(f"| `{name}` | {'yes' if method.pairwise else 'no'} | not here: {reason} | | | |")
            continue
        quiet = {"progress": False} if name in ("occlusion", "rise", "corr-rise") else {}
        why = explain(gallery, query, item, method=name, **quiet)
        own = why.kind == gallery.similarity
        score = f"{why.kind}" if own else f"{why.kind} {why.similarity:+.4f}"
        promise = "" if why.promises else ", not promised"
        lines.append(
            f"| `{name}` | {'yes' if why.pairwise else 'no'} | {score} | {why.total:+.4f} | "
            f"{why.residual:+.1e}{promise} | {likeness(why, exact)} |"
        )
    page = INTRODUCTION.format(query=query, similarity=exact.similarity) + "\n".join(lines)
    page += "\n\n## What each says\n\n" + "\n\n".join(words) + "\n"
    Path(__file__).with_name("methods.md").write_text(page, encoding="utf-8")


def likeness(why: Decomposition, exact: Decomposition) -> str:
    """The correlation of two maps of the query, where they lie on the same cells and neither is flat."""
    if not why.has_map("query") or why.grid("query") != exact.grid("query"):
        return "other cells" if why.has_map("query") else "no map of the query"
    ours, theirs = why.overall_map("query").ravel(), exact.overall_map("query").ravel()
    if np.ptp(ours) == 0:
        return "flat"
    return f"{np.corrcoef(ours, theirs)[0, 1]:.2f}"


if __name__ == "__main__":
    main()
