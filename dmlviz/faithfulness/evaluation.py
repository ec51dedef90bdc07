"""What an evaluator finds about a method, with its baselines beside it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm.auto import tqdm

from dmlviz.faithfulness.estimate import Estimate, short
from dmlviz.faithfulness.explained import Explained, as_explained
from dmlviz.faithfulness.pairs import Pairs, as_pairs
from dmlviz.images.frame import frame_for

if TYPE_CHECKING:
    from dmlviz.faithfulness.truth import Truth
    from dmlviz.retrieval import Gallery

Better = Literal["higher", "lower"]
Need = Literal[
    "parts",
    "parts of both sides",
    "boxes",
    "kin",
    "kin in the gallery",
    "redrawing",
    "redrawing the gallery",
    "pairs of cells",
    "point maps",
    "linear",
    "a network",
]


@dataclass(frozen=True)
class Evaluator:
    """What an evaluator asks, and how its figures are to be read.

    Attributes:
        name: What `compare` calls it, such as "margin-pointing".
        title: What people call it.
        question: The question it answers, one sentence in plain words.
        figures: Names of its figures, the headline first.
        better: "higher" or "lower": which headline is the better map.
        baselines: Names of the baselines that stand beside it.
        needs: What it needs to be known of the pictures, or of the method's maps; see `Need`.
        caution: What it does not tell; "" where there is nothing to say.
        headline: Whether it tells methods apart where the truth is known, so that it may be quoted.
        source: Paper and equation, and what differs from them.
        own_baselines: Names of baselines that are read off the method itself, such as its overall map where a point
            is asked about; no `BASELINES`, see `with_own_baselines`.
        passed_by: Baselines that pass for a trivial reason, noise for one: to lose against them is no flaw.
        rates: Those of its figures that are rates of hits; see `Estimate.interval`.

    Raises:
        ValueError: If it has no figure, or a rate is none of its figures.
    """

    name: str
    title: str
    question: str
    figures: tuple[str, ...]
    better: Better
    baselines: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    caution: str = ""
    headline: bool = False
    source: str = ""
    own_baselines: tuple[str, ...] = ()
    passed_by: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.figures:
            raise ValueError(f"an evaluator has at least one figure; {self.name!r} has none")
        if strange := [name for name in self.rates if name not in self.figures]:
            raise ValueError(f"rates are some of the figures {', '.join(self.figures)}; got {strange[0]!r}")

    def estimate(self, name: str, values: Sequence[float] | np.ndarray, clusters: np.ndarray) -> Estimate:
        """A figure of this evaluator over its trials.

        "<baseline>: <figure>" and "<figure>: <part>" are figures of the same kind as the figure that they name.
        """
        rate = any(piece in self.rates for piece in name.split(": "))
        return Estimate(name, np.asarray(values, np.float64), clusters, rate)

    def inapplicable(self, truth: "Truth", explained: Explained | None = None) -> str:
        """Why it cannot be asked of this gallery, or of this method; "" where it can."""
        known, given = truth.query, truth.gallery
        no_parts = "no parts of the pictures are known"
        no_kin = "it is not known in which parts two pictures differ"
        no_redrawing = "the pictures cannot be drawn again with another part"
        lacking = {
            "parts": "" if known.parts else no_parts,
            "parts of both sides": "" if known.parts and given.parts else no_parts,
            "boxes": "" if known.has_boxes else "no boxes round what the pictures show are known",
            "kin": "" if known.knows_kin else no_kin,
            "kin in the gallery": "" if given.knows_kin else no_kin,
            "redrawing": "" if known.can_redraw else no_redrawing,
            "redrawing the gallery": "" if given.can_redraw else no_redrawing,
        }
        if explained is not None:
            method = explained.method
            lacking |= {
                "pairs of cells": ""
                if method.pairwise
                else "the method has no contributions of pairs of cells",
                "point maps": ""
                if method.pairwise or explained.is_baseline
                else "the method has no contributions of pairs of cells, and so no map of a point",
                "linear": "" if method.linear else "maps of this method may not be subtracted",
                "a network": "its maps read no network" if explained.is_baseline else "",
            }
        return next((lacking[need] for need in self.needs if lacking.get(need)), "")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one evaluator found about one method.

    Attributes:
        evaluator: What was asked.
        method: The method's name.
        figures: Estimates by name, the headline first.
        baselines: For each baseline its estimates by the same names.
        pairs: Which pairs were asked about.
        milliseconds: What one pair cost on average, without the explanation itself.
        explain_milliseconds: What one explanation cost on average.
        options: What was asked for beside, by name.
    """

    evaluator: Evaluator
    method: str
    figures: Mapping[str, Estimate]
    baselines: Mapping[str, Mapping[str, Estimate]]
    pairs: Pairs
    milliseconds: float = float("nan")
    explain_milliseconds: float = float("nan")
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> Estimate:
        """The first figure."""
        return self.figures[self.evaluator.figures[0]]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per figure of the method and of each baseline.

        Columns: evaluator, figure, method, kind ("method" or "baseline"), value, low, high (95 % interval over
        labels, see `Estimate.interval`), trials, left_out, better, milliseconds (of the evaluator, per pair).

        Args:
            backend: "pandas", "polars" or "pyarrow", whose frame to give.
        """
        import pandas as pd

        rows = []
        found = [("method", self.method, self.figures), *(("baseline", *of) for of in self.baselines.items())]
        for kind, by, figures in found:
            for name, e in figures.items():
                low, high = e.interval()
                asked = {"evaluator": self.evaluator.name, "figure": name, "method": by, "kind": kind}
                told = {
                    "value": e.value,
                    "low": low,
                    "high": high,
                    "trials": e.trials,
                    "left_out": e.left_out,
                }
                rows.append(
                    asked | told | {"better": self.evaluator.better, "milliseconds": self.milliseconds}
                )
        return frame_for(pd.DataFrame(rows), backend)

    def __repr__(self) -> str:
        low, high = self.headline.interval()
        lines = [
            f"Evaluation({self.method}: {self.evaluator.title}, {self.headline.name} {short(self.headline.value)} "
            f"[{short(low)}, {short(high)}], {self.evaluator.better} is better, n = {self.headline.trials})"
        ]
        lines += [
            f"  {name}: {short(found[self.headline.name].value)}"
            for name, found in self.baselines.items()
            if self.headline.name in found
        ]
        return "\n".join(lines + ([f"  caution: {self.evaluator.caution}"] if self.evaluator.caution else []))


Measured = Mapping[str, Sequence[float] | np.ndarray | Estimate]
Measure = Callable[[Explained, Pairs, Callable[[], object]], Measured | tuple[Measured, np.ndarray]]


Trial = Callable[[Explained, int, int], Sequence[float] | np.ndarray]
"""(explained, query, item) -> a row of numbers; NaN where the pair says nothing."""


def rows_of(trial: Trial, explained: Explained, pairs: Pairs, step: Callable[[], object]) -> np.ndarray:
    """What a trial gives for each pair, (n, k) float64; `step` is called after each."""
    rows = []
    for query, item in pairs:
        rows.append(trial(explained, query, item))
        step()
    return np.array(rows, np.float64)


def of_each_pair(figures: Sequence[str], trial: Trial) -> Measure:
    """What `evaluate` measures by, where every pair is one trial and the trial's row holds the figures by turns."""
    return lambda explained, pairs, step: dict(
        zip(figures, rows_of(trial, explained, pairs, step).T, strict=True)
    )


def evaluate(
    evaluator: Evaluator,
    measure: Measure,
    gallery: "Gallery",
    method: "str | Explained",
    pairs: "int | Pairs | Sequence[tuple[int, int]]",
    truth: "Truth",
    baselines: Sequence[str] | None,
    seed: int,
    progress: bool,
    **options: Any,
) -> Evaluation:
    """Ask an evaluator about a method and of its baselines.

    Args:
        evaluator: What is asked.
        measure: (explained, pairs, step) -> values by figure, one per pair, or (values, clusters) where there are
            more trials than pairs; NaN where a trial says nothing. A figure with trials of its own comes as an
            `Estimate`. Calls `step` once per pair.
        gallery: The gallery.
        method: A method's name, or explanations that are there already.
        pairs: Which pairs; a number chooses so many by the usual rule.
        truth: What is known of the pictures.
        baselines: Names of baselines to ask as well; None for those of the evaluator.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.
        **options: What was asked for beside; kept with the result.

    Returns:
        Figures of the method, and of those of the baselines that suit the gallery.

    Raises:
        ValueError: If the evaluator cannot be asked of this gallery or method; the reason is said.
    """
    explained = as_explained(gallery, method)
    if reason := evaluator.inapplicable(truth, explained):
        raise ValueError(
            f"the evaluator {evaluator.name!r} cannot be asked of {explained.name!r} here: {reason}"
        )
    chosen = as_pairs(gallery, pairs, seed)
    beside = [Explained(gallery, name) for name in (evaluator.baselines if baselines is None else baselines)]
    beside = [e for e in beside if not e.unsuited and not evaluator.inapplicable(truth, e)]
    found: dict[str, dict[str, Estimate]] = {}
    seconds = 0.0
    with tqdm(
        total=len(chosen) * (1 + len(beside)), desc=evaluator.title, unit="pair", disable=not progress
    ) as bar:
        for one in (explained, *beside):
            before, start = one.seconds, time.perf_counter()
            measured = measure(one, chosen, bar.update)
            if one is explained:
                seconds = time.perf_counter() - start - (one.seconds - before)
            values, clusters = measured if isinstance(measured, tuple) else (measured, chosen.clusters)
            found[one.name] = {
                name: of if isinstance(of, Estimate) else evaluator.estimate(name, of, clusters)
                for name, of in values.items()
            }
    return Evaluation(
        evaluator,
        explained.name,
        found.pop(explained.name),
        found,
        chosen,
        1000 * seconds / len(chosen),
        explained.milliseconds,
        options,
    )


def with_own_baselines(found: Evaluation, names: Sequence[str], keep: Sequence[str]) -> Evaluation:
    """Take figures called "<baseline>: <figure>" out of an evaluator's figures, and put them among the baselines.

    So an evaluator measures baselines of its own along with the method, such as the method's own overall map.

    Args:
        found: What `evaluate` found.
        names: The evaluator's own baselines.
        keep: Those of them that are asked for; the others are dropped.
    """
    figures: dict[str, Estimate] = {}
    own: dict[str, dict[str, Estimate]] = {name: {} for name in keep}
    for called, estimate in found.figures.items():
        baseline, _, name = called.partition(": ")
        if baseline not in names:
            figures[called] = estimate
        elif baseline in own:
            own[baseline][name] = replace(estimate, name=name)
    own = {name: of for name, of in own.items() if of}
    return replace(found, figures=figures, baselines={**own, **found.baselines})
