"""The questions of a comparison, one per evaluator and method."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dmlviz.explanation import METHODS
from dmlviz.faithfulness import evaluators as registry
from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import Truth

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


class Cell(NamedTuple):
    """One question: an evaluator asked about a method or a baseline."""

    evaluator: str
    method: str


class Skipped(NamedTuple):
    """What was not asked.

    Attributes:
        evaluator: The evaluator; "" for all of them.
        method: The method or baseline; "" for all of them.
        reason: Why.
    """

    evaluator: str
    method: str
    reason: str


@dataclass
class Questions:
    """Everything that is to be asked.

    Attributes:
        asked: Evaluators by name: what each is and its function.
        explained: Explanations by method or baseline, methods first.
        cells: The questions, method by method.
        skipped: What cannot be asked.
        options: Of evaluators, by name.
    """

    asked: dict[str, tuple[Evaluator, Callable[..., Evaluation]]]
    explained: dict[str, Explained]
    cells: list[Cell] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def asked_with(self, cell: Cell) -> dict[str, Any]:
        """The options of method and evaluator: with others it is another question."""
        of_evaluator = self.options.get(cell.evaluator, {})
        return {"method": dict(self.explained[cell.method].options), "evaluator": dict(of_evaluator)}

    def ask(self, cell: Cell, pairs: Pairs, truth: Truth, seed: int) -> Evaluation:
        """Ask one of them.

        Raises:
            ValueError: If it shows only now that the evaluator cannot be asked this.
        """
        evaluator, function = self.asked[cell.evaluator]
        given = {"truth": truth} if "truth" in inspect.signature(function).parameters else {}
        explained = self.explained[cell.method]
        return function(
            explained.gallery,
            explained,
            pairs,
            baselines=evaluator.own_baselines,
            seed=seed,
            progress=False,
            **given,
            **self.options.get(cell.evaluator, {}),
        )


def cells_of(
    gallery: "Gallery",
    truth: Truth,
    methods: Sequence[str] | None,
    evaluators: Sequence[str] | None,
    baselines: Sequence[str] | None,
    method_options: Mapping[str, Mapping[str, Any]],
    evaluator_options: Mapping[str, Mapping[str, Any]],
) -> Questions:
    """Find the questions that can be asked of a gallery; arguments as `compare`.

    Raises:
        ValueError: If a name is unknown, or options are given of something that is not asked for.
    """
    names = list(dict.fromkeys(registry.EVALUATORS if evaluators is None else evaluators))
    asked = {name: registry.evaluator_named(name) for name in names}
    rows = list(dict.fromkeys(METHODS if methods is None else methods))
    if methods is not None and (own := [name for name in rows if name in BASELINES]):
        raise ValueError(f"baselines are asked of by themselves: leave {own[0]!r} out of methods")
    named = BASELINES if baselines is None else dict.fromkeys(baselines)
    if strange := [name for name in named if name not in BASELINES]:
        raise ValueError(f"baselines are {', '.join(map(repr, BASELINES))}; got {strange[0]!r}")
    for what, options, known in (
        ("method", method_options, (*rows, *BASELINES)),
        ("evaluator", evaluator_options, names),
    ):
        if strange := [name for name in options if name not in known]:
            raise ValueError(f"{what}_options are given of {strange[0]!r}, which is not asked for")
    explained = {name: Explained(gallery, name, **method_options.get(name, {})) for name in (*rows, *named)}
    found = Questions(asked, explained, options=evaluator_options)
    for name, (evaluator, _) in asked.items():
        if reason := evaluator.inapplicable(truth):
            found.skipped.append(Skipped(name, "", reason))
    open_to = {name for name in names if name not in {s.evaluator for s in found.skipped}}
    for name in list(explained):
        if reason := explained[name].unsuited:
            found.skipped.append(Skipped("", name, reason))
            continue
        for evaluator in (asked[n][0] for n in names if n in open_to):
            if name in BASELINES and name not in evaluator.baselines:
                continue
            if reason := evaluator.inapplicable(truth, explained[name]):
                if name not in BASELINES:
                    found.skipped.append(Skipped(evaluator.name, name, reason))
                continue
            found.cells.append(Cell(evaluator.name, name))
    return found
