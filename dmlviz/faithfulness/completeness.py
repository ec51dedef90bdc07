"""Do the parts add up to the score that ranked?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, evaluate, of_each_pair
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import truth_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="completeness",
    title="completeness",
    question="Do the parts of the map add up to the score that ranked?",
    figures=("missing", "missing share"),
    better="lower",
    baselines=(),
    caution=(
        "that parts add up does not make each of them right; a method that promises no sum is not wrong to miss it"
    ),
    source="reference: Sundararajan et al. 2017, axiom of completeness, for a pair: |pairs + offsets − score|",
)


def completeness(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask how much of the score a method's parts miss.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        baselines: None: none has a sum to keep.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "missing", |pairs + offsets − score| in units of the similarity, 0 up to rounding for an exact method,
        and "missing share", the same over |score|; NaN where the score is 0 or undefined.

    Raises:
        ValueError: If the method is unknown, or does not suit the gallery.

    Examples:
        >>> import dmlviz as dv
        >>> completeness(dv.demo_gallery(), pairs=5, progress=False).headline.value < 1e-6
        True
    """
    measure = of_each_pair(EVALUATOR.figures, _missing)
    truth = truth_of(gallery)
    return evaluate(EVALUATOR, measure, gallery, method, pairs, truth, baselines, seed, progress)


def _missing(explained: Explained, query: int, item: int) -> tuple[float, float]:
    why = explained.of(query, item)
    share = abs(why.residual / why.similarity) if why.similarity else float("nan")
    return abs(why.residual), share
