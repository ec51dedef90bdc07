"""`dmlviz evaluate-explanations`: the tables of the docs, made again."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Collection

    from dmlviz.faithfulness import Comparison

DEAR_METHODS = {"occlusion": 24, "rise": 24, "corr-rise": 24, "integrated-jacobian": 24}
"""Methods that take many passes through the network, and about how many pairs they are asked."""
DEAR_EVALUATORS = {
    "insertion": 40,
    "deletion": 40,
    "coalitions": 40,
    "second-order-curves": 40,
    "randomisation": 40,
}
"""Evaluators that show the network many pictures for each pair, likewise."""
FEWER_MASKS: dict[str, dict[str, Any]] = {"rise": {"masks": 100}, "corr-rise": {"masks": 100}}
"""Methods that are asked with a tenth of their usual passes."""


def cheaper(methods: "Collection[str]", evaluators: "Collection[str]") -> dict[str, Any]:
    """What `compare` takes so that the dear ones do not take days, of those that are asked.

    Args:
        methods: Their names.
        evaluators: Their names.
    """
    dear = DEAR_METHODS | DEAR_EVALUATORS
    return {
        "method_options": {name: options for name, options in FEWER_MASKS.items() if name in methods},
        "at_most": {name: pairs for name, pairs in dear.items() if name in (*methods, *evaluators)},
    }


def evaluate(
    galleries: tuple[str, ...],
    unseen: bool,
    methods: tuple[str, ...],
    evaluators: tuple[str, ...],
    pairs: int,
    budget: float | None,
    seed: int,
    resume: Path | None,
    as_json: bool,
    out: Path | None,
    small: bool,
) -> None:
    """Compare methods on drawn galleries and print or write what was found.

    Raises:
        click.ClickException: If nothing can be compared, or a file cannot be read or written.
    """
    for path in (out, resume):
        if path is not None and not path.absolute().parent.is_dir():
            raise click.ClickException(
                f"there is no folder {str(path.parent)!r} for {path.name!r}; make it first."
            )
    from dmlviz.faithfulness.drawn_galleries import SEED, UNSEEN_SEED

    names = galleries or ("birds",)
    seeds = (SEED, UNSEEN_SEED) if unseen else (SEED,)
    found: dict[str, Comparison] = {}
    for name, drawn_with in ((name, of) for name in names for of in seeds):
        title = f"{name}, families never looked at" if drawn_with == UNSEEN_SEED else name
        click.echo(f"{title}: drawing and embedding ...", err=True)
        kept = None if resume is None else kept_file(resume, name, unseen=drawn_with == UNSEEN_SEED)
        found[title] = _compared(
            name, drawn_with, small, methods, evaluators, pairs, budget, seed, kept, title
        )
    text = _as_json(found) if as_json else page(found)
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{str(out)!r} cannot be written ({error.strerror or error}).") from None
    click.echo(f"Wrote {out}.", err=True)


def kept_file(resume: Path, name: str, *, unseen: bool) -> Path:
    """Where the findings about one gallery are kept: its name before the ending."""
    return resume.with_name(f"{resume.stem}.{name}{'-unseen' if unseen else ''}{resume.suffix}")


def page(found: "dict[str, Comparison]") -> str:
    """Markdown: a section for each gallery."""
    sections = []
    for title, comparison in found.items():
        pairs = f"{len(comparison.pairs)} pairs: {comparison.pairs.rule}."
        sections.append(f"## {title}\n\n{pairs}\n\n{comparison.to_markdown().rstrip()}")
    return "\n\n".join(sections)


def _compared(
    name: Any,
    drawn_with: int,
    small: bool,
    methods: tuple[str, ...],
    evaluators: tuple[str, ...],
    pairs: int,
    budget: float | None,
    seed: int,
    kept: Path | None,
    title: str,
) -> "Comparison":
    from dmlviz.explanation import METHODS
    from dmlviz.faithfulness import compare, drawn_gallery
    from dmlviz.faithfulness.evaluators import EVALUATORS

    try:
        return compare(
            drawn_gallery(name, drawn_with, small=small),
            methods or None,
            evaluators or None,
            pairs,
            budget=budget,
            path=kept,
            seed=seed,
            progress=sys.stderr.isatty(),
            **cheaper(methods or METHODS, evaluators or EVALUATORS),
        )
    except KeyboardInterrupt:
        on = (
            ""
            if kept is None
            else f" What is finished is kept in {kept}: the same command goes on from there."
        )
        raise click.ClickException(f"stopped at {title}.{on}") from None
    except (ValueError, OSError) as error:
        raise click.ClickException(f"{title}: {error}") from None


def _as_json(found: "dict[str, Comparison]") -> str:
    """Figures as records, and what was skipped; no NaN, which JSON does not know."""
    said = {
        title: {
            "pairs": len(comparison.pairs),
            "rule": comparison.pairs.rule,
            "figures": json.loads(comparison.to_frame().to_json(orient="records", double_precision=15)),
            "skipped": [skipped._asdict() for skipped in comparison.skipped],
        }
        for title, comparison in found.items()
    }
    return json.dumps(said, indent=1, ensure_ascii=False)
