"""Does the map change when the network forgets what it has learnt?"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.sanity import correlation_of
from dmlviz.faithfulness.truth import truth_of
from dmlviz.faithfulness.twin_galleries import Depth, explained_there, places_in_twin, untrained_twin

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

EVALUATOR = Evaluator(
    name="randomisation",
    title="weight randomisation",
    question="Does the map change when the network forgets what it has learnt?",
    figures=("map after the head", "map after all", "pairs after the head", "pairs after all"),
    better="lower",
    baselines=("feature norm", "centre", "random"),
    caution=(
        "near 0 is what to hope for. Overall maps stay alike because both networks see the same edges and the same "
        "empty ground; the matrix of pairs of cells tells more. A map of random numbers passes, too: this test finds "
        "maps that cannot be true, not those that are"
    ),
    passed_by=("random",),
    source=(
        "Adebayo et al. 2018, section 4, cascading randomisation from the top: Spearman's rank correlation of the "
        "map before and after. Here of signed maps: the query's overall map, and the whole tensor of pairs; cells "
        "are ranked, not pixels, since both maps have the same grid"
    ),
)


def randomisation(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 50,
    *,
    depths: Sequence[int] = (),
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Ask how much of a method's maps survives when layers of the network get random weights.

    The images of the pairs are embedded by a copy of the network whose layers are drawn anew from the head downwards
    (see `dmlviz.embedder.randomised`), and the method explains the same pairs there.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`; it must have a map of the query.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        depths: Numbers of layers from the head downwards to look at as well, for the whole cascade; each gives the
            figures "map after 3 layers" and "pairs after 3 layers", say.
        baselines: Names of `BASELINES`; None for feature norm, centre and random.
        seed: Of the choice of pairs and of the weights.
        progress: Whether to show a progress bar.

    Returns:
        Figures "map after the head" and "map after all", Spearman's correlation of the query's overall map with the
        one from the network whose head, or all of it, is random; from −1 to 1, 1 for maps that are equal. "pairs
        after the head" and "pairs after all", the same of all contributions of pairs of cells; left out where the
        method has none. The head is all layers down to the first linear map or convolution. Maps that are not finite,
        or constant and another one before, are left out.

    Raises:
        ValueError: If the method is unknown, or does not suit the gallery or its twin of random weights, as those do
            not that were trained on this very network; or if it has no map of the query; or if a depth is below 1.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder(), progress=False)
        >>> found = randomisation(gallery, pairs=6, baselines=["centre"], progress=False)
        >>> found.figures["pairs after all"].value < 0.3, found.baselines["centre"]["map after all"].value
        (True, 1.0)
    """
    if strange := [d for d in depths if isinstance(d, bool) or not isinstance(d, int | np.integer) or d < 1]:
        raise ValueError(
            f"depths are numbers of layers from the head downwards, at least 1; got {strange[0]!r}"
        )
    after: dict[str, Depth] = {"the head": "head", "all": "all"}
    after |= {f"{int(depth)} layer{'s' if depth > 1 else ''}": int(depth) for depth in depths}
    galleries: list[Gallery] = []

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        if not galleries:
            galleries.extend(untrained_twin(gallery, chosen, depth, seed) for depth in after.values())
        twins = [explained_there(explained, twin, "the network with random weights") for twin in galleries]
        rows = []
        for pair, there in zip(chosen, places_in_twin(chosen), strict=True):
            why = explained.of(*pair)
            rows.append([agreement(why, twin.of(*there)) for twin in twins])
            step()
        values = np.asarray(rows, np.float64).reshape(-1, len(after), 2)
        return {
            f"{what} after {said}": values[:, n, k]
            for k, what in enumerate(("map", "pairs"))
            for n, said in enumerate(after)
        }

    truth = truth_of(gallery)
    said = {"depths": tuple(int(depth) for depth in depths)}
    return evaluate(EVALUATOR, measure, gallery, method, pairs, truth, baselines, seed, progress, **said)


def agreement(one: Decomposition, other: Decomposition) -> tuple[float, float]:
    """Spearman's correlation of two explanations of one pair: of the query's overall maps, of the pairs of cells."""
    pairs = float("nan")
    if one.contributions is not None and other.contributions is not None:
        pairs = correlation_of(one.contributions, other.contributions)
    return correlation_of(one.overall_map("query"), other.overall_map("query")), pairs
