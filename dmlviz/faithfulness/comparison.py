"""Every method asked by every evaluator, its baselines beside it: one table."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.comparison_cells import Skipped, cells_of
from dmlviz.faithfulness.comparison_file import KeptFindings, stamp_of
from dmlviz.faithfulness.comparison_run import ask_all
from dmlviz.faithfulness.comparison_tables import long_frame, markdown, skipped_in_words, wide_frame
from dmlviz.faithfulness.evaluation import Evaluation
from dmlviz.faithfulness.pairs import Pairs, as_pairs
from dmlviz.faithfulness.truth import truth_of
from dmlviz.images.frame import frame_for

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.retrieval import Gallery


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the evaluators found about several methods, on the same pairs.

    Attributes:
        evaluations: One per evaluator and method or baseline, method by method. `BASELINES` stand for themselves;
            an evaluation's own `baselines` are only those that were read off the method itself.
        skipped: What was not asked, and why.
        pairs: The pairs that were chosen; an evaluation was asked about the first of them, see its own `pairs`.
    """

    evaluations: tuple[Evaluation, ...]
    skipped: tuple[Skipped, ...]
    pairs: Pairs

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods that something was found about, in the order asked for."""
        return tuple(dict.fromkeys(e.method for e in self.evaluations if e.method not in BASELINES))

    @property
    def baselines(self) -> tuple[str, ...]:
        """Baselines that something was found about."""
        return tuple(name for name in BASELINES if any(e.method == name for e in self.evaluations))

    def found(self, evaluator: str, method: str) -> Evaluation | None:
        """What one evaluator found about one method or baseline; None where it was not asked."""
        return next(
            (e for e in self.evaluations if (e.evaluator.name, e.method) == (evaluator, method)), None
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per figure of each method and baseline.

        Columns: those of `Evaluation.to_frame`; beside ("" except for a baseline that was read off a method itself:
        that method); title (of the evaluator); headline_figure (whether the figure is the evaluator's first);
        headline_test (whether the evaluator is one); pairs (how many were asked about); explain_milliseconds (what
        one explanation cost).

        Args:
            backend: "pandas", "polars" or "pyarrow", whose frame to give.
        """
        return frame_for(long_frame(self.evaluations), backend)

    def table(self) -> "pd.DataFrame":
        """Methods, then baselines, in rows; the headline figure of each evaluator in columns.

        Cells are text, "value [low, high]" with the 95 % interval, "" where nothing was asked. Two more columns:
        "pairs", how many were asked about (two numbers where evaluators differ), and "ms per pair", what one
        explanation cost.
        """
        return wide_frame(self.evaluations)

    def to_markdown(self, columns: int = 6, *, notes: bool = True) -> str:
        """The table in Markdown, the headline tests first; how to read each column; what was skipped, and why.

        Args:
            columns: How many evaluators stand side by side at most, ≥ 1.
            notes: Whether to say how to read each column.
        """
        return markdown(self.evaluations, self.skipped, columns, notes)

    def __repr__(self) -> str:
        asked = len({e.evaluator.name for e in self.evaluations})
        return (
            f"Comparison({len(self.methods)} methods and {len(self.baselines)} baselines by {asked} evaluators, "
            f"{len(self.pairs)} pairs, {len(self.skipped)} skipped; see .table())"
        )

    def _repr_html_(self) -> str:
        skipped = "".join(f"<li>{escape(line)}</li>" for line in skipped_in_words(self.skipped))
        table: str = self.table().to_html(escape=True)
        return table + (f"<p>Not asked:</p><ul>{skipped}</ul>" if skipped else "")


def compare(
    gallery: "Gallery",
    methods: Sequence[str] | None = None,
    evaluators: Sequence[str] | None = None,
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    truth: Any = None,
    method_options: Mapping[str, Mapping[str, Any]] | None = None,
    evaluator_options: Mapping[str, Mapping[str, Any]] | None = None,
    at_most: Mapping[str, int] | None = None,
    baselines: Sequence[str] | None = None,
    budget: float | None = None,
    path: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Comparison:
    """Ask every evaluator about every method, on the same pairs, and of each baseline once.

    Args:
        gallery: The gallery.
        methods: Names of `METHODS`; None for all that suit the gallery.
        evaluators: Names of `EVALUATORS`; None for all that can be asked here.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: What is known of the pictures, see `truth_of`.
        method_options: For a method what it takes beside the pair, such as {"rise": {"masks": 100}}.
        evaluator_options: For an evaluator what it takes beside the method and the pairs.
        at_most: For a method or an evaluator how many of the pairs it is asked about at most, such as {"rise": 40}.
        baselines: Names of `BASELINES`; None for those that an evaluator names. No evaluator is asked of a baseline
            that it does not name.
        budget: Seconds that all of it may take, one pair's cost being tried out first; None for as long as it takes.
            What does not fit with 20 pairs is left out, of the rest as many pairs are asked about as fit. Headline
            tests come first, then what costs least. It may be exceeded by the last question begun.
        path: A file that keeps every finished question, so that a stopped call goes on where it was: call it again
            with the same arguments. None keeps nothing.
        seed: Of the choice of pairs, and of whatever evaluators draw.
        progress: Whether to show a progress bar.

    Returns:
        What was found; its `skipped` names everything that was not asked, and why.

    Raises:
        ValueError: If a name is unknown, nothing at all can be asked, or `path` holds findings about another
            gallery, other pairs, another truth or seed.
        FileNotFoundError: If the folder that should hold `path` does not exist.

    Examples:
        >>> import dmlviz as dv
        >>> found = compare(dv.demo_gallery(), ["decomposition"], ["completeness"], pairs=5, progress=False)
        >>> found.methods, found.found("completeness", "decomposition").headline.value < 1e-6
        (('decomposition',), True)
    """
    if budget is not None and not budget > 0:
        raise ValueError(f"budget is in seconds, above 0, or None for no limit; got {budget!r}")
    known = truth_of(gallery, truth)
    chosen = as_pairs(gallery, pairs, seed)
    questions = cells_of(
        gallery, known, methods, evaluators, baselines, method_options or {}, evaluator_options or {}
    )
    kept = KeptFindings(path, {} if path is None else stamp_of(gallery, known, chosen, seed))
    evaluations, skipped = ask_all(questions, known, chosen, at_most or {}, budget, kept, seed, progress)
    if not evaluations:
        said = "; ".join(skipped_in_words(skipped)[:6]) or "no question is left"
        raise ValueError(f"there is nothing to compare here: {said}")
    return Comparison(tuple(evaluations), tuple(skipped), chosen)
