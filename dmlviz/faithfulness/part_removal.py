"""Take a part away, or give it another look: does the map put most where the score loses most?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.masked_views import similarities
from dmlviz.faithfulness.changed_queries import Change, ChangedQueries, changed_queries
from dmlviz.faithfulness.correlations import spearman
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator, Measured, evaluate, with_own_baselines
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import dilated, enlarged
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import Truth, truth_of
from dmlviz.faithfulness.variants import variant

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

OWN_BASELINES = ("random part",)
FEWEST_PARTS = 3
_FIGURES = ("skill", "SD", "agreement", "drop")
_AT_ONCE = 16  # queries that are drawn and embedded together
_TIE = 1e-9  # relative; importances that differ by less are one and the same

PART_REMOVAL = Evaluator(
    name="part-removal",
    title="part removal",
    question="Do the parts on which the map puts most cost most when they are taken away?",
    figures=_FIGURES,
    better="higher",
    baselines=("random weights", "feature norm", "centre", "uniform", *OWN_BASELINES),
    needs=("parts", "redrawing"),
    rates=("agreement",),
    caution=(
        "sums over a part follow the part's size, so that even a uniform map scores well: read the skill, which is 0 "
        "for it. A picture without a part is none that the network was trained on unless training left parts out; "
        "part swap stays among pictures of whole subjects"
    ),
    source=(
        "Hesse, Schaub-Meyer, Roth 2023 (FunnyBirds), single deletion: SD = ½ + ½·Spearman(drop, importance) over "
        "the parts; here the drop of s(q, g) for a pair, masks grown by 2 pixels of the view, hidden parts left out, "
        "and the skill (SD − SD of the uniform map)/(1 − SD of the uniform map) beside it"
    ),
)
PART_SWAP = replace(
    PART_REMOVAL,
    name="part-swap",
    title="part swap",
    question="Do the parts on which the map puts most cost most when they are given another look?",
    caution=(
        "sums over a part follow the part's size, so that even a uniform map scores well: read the skill, which is 0 "
        "for it. What a swap costs depends also on the look that was drawn instead, of which the map knows nothing; "
        "on the drawn birds the length of the features alone does as well as the exact decomposition"
    ),
    source=PART_REMOVAL.source.replace("single deletion", "single deletion with another look for the part"),
)


def _with_parts_changed(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 200,
    *,
    change: Change = "remove",
    truth: Any = None,
    density: bool = False,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Change each part of the query and hold the loss against what the map puts on that part.

    Args:
        gallery: The gallery to look at.
        method: A name of `METHODS`, or an `Explained`; it must have a map of the query.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        change: "remove" or "swap".
        truth: What is known of the pictures; see `truth_of`.
        density: Whether a part's importance is the mean over its mask instead of the sum; then its size does not
            count, and the uniform map's SD is ½.
        baselines: Names of `BASELINES`, or "random part"; None for random weights, feature norm, centre, uniform and
            "random part", which picks any of the visible parts.
        seed: Of the choice of pairs.
        progress: Whether to show a progress bar.

    Returns:
        Figures "skill", from 1 (every part in its place) through 0 (no better than the uniform map on the same pairs)
        down to below; "SD", from 0 to 1, ½ where the map tells parts apart no better than chance; "agreement", the
        share of pairs in which the part with most of the map is the one that costs most; "drop", what the part costs
        that the map picks, in units of the similarity. Parts that tie share. The intervals of the skill take the
        uniform map's mean SD in its denominator as given.

    Raises:
        ValueError: If no parts are known or the pictures cannot be drawn again; if the method is unknown, does not
            suit the gallery or has no map of the query.
    """
    known = truth_of(gallery, truth)

    def measure(explained: Explained, chosen: Pairs, step: Callable[[], object]) -> Measured:
        changed = changed_queries(gallery, known.query, change)
        return _measure(explained, chosen, known, changed, density, step)

    evaluator = PART_REMOVAL if change == "remove" else PART_SWAP
    names = evaluator.baselines if baselines is None else baselines
    others = [name for name in names if name not in OWN_BASELINES]
    found = evaluate(
        evaluator, measure, gallery, method, pairs, known, others, seed, progress, density=density
    )
    return with_own_baselines(found, OWN_BASELINES, keep=[name for name in names if name in OWN_BASELINES])


part_removal = variant(
    _with_parts_changed,
    "part_removal",
    """Take away each part of the query and hold the loss against what the map puts on that part.

    For a pair (q, g) and each part p that is visible on q, q is drawn again without it, all else alike: the drop is
    s(q, g) − s(q without p, g), and the part's importance is the sum of q's overall map, in pixels, over p's mask
    grown by 2 pixels. Left out are pairs with fewer than three visible parts, and maps that are not finite.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> gallery = dv.Gallery.build(dv.birds(families=1, per_class=2), birds_embedder(), progress=False)
        >>> found = part_removal(gallery, pairs=5, baselines=["uniform"], progress=False)
        >>> found.headline.name, found.baselines["uniform"]["skill"].value
        ('skill', 0.0)
    """,
    change="remove",
)
part_swap = variant(
    _with_parts_changed,
    "part_swap",
    """Give each part of the query another look and hold the loss against what the map puts on that part.

    As `part_removal`, but the part is drawn with another shape, colour or both instead of being left out, so that the
    picture stays one of a whole subject. The new look is always the same for one image and part.
    """,
    change="swap",
)


def _measure(
    explained: Explained,
    pairs: Pairs,
    truth: Truth,
    changed: ChangedQueries,
    density: bool,
    step: Callable[[], object],
) -> Measured:
    rows = []
    for n, (query, item) in enumerate(pairs):
        if n % _AT_ONCE == 0:
            changed.prepare(pairs.queries[n : n + _AT_ONCE].tolist())
        rows.append(_trial(explained, query, item, truth, changed, density))
        step()
    sd, of_uniform, agreement, drop, chance, mean_drop = np.asarray(rows, np.float64).reshape(-1, 6).T
    of_chance = np.where(np.isfinite(sd), 0.5, np.nan)
    values = {"skill": _skill(sd, of_uniform), "SD": sd, "agreement": agreement, "drop": drop}
    if explained.is_baseline:
        return values
    by_chance = (_skill(of_chance, of_uniform), of_chance, chance, mean_drop)
    return values | {f"random part: {name}": of for name, of in zip(_FIGURES, by_chance, strict=True)}


def _trial(
    explained: Explained, query: int, item: int, truth: Truth, changed: ChangedQueries, density: bool
) -> tuple[float, ...]:
    """SD, SD of the uniform map, agreement, drop of the part picked; agreement and drop of a random part."""
    nothing = (float("nan"),) * 6
    parts, embeddings = changed.of(query)
    if len(parts) < FEWEST_PARTS:
        return nothing
    drops = drops_of(explained.gallery, query, item, embeddings)
    why = explained.of(query, item)
    values = why.overall_map("query")
    if not (np.isfinite(values).all() and np.isfinite(drops).all()):
        return nothing
    masks = np.stack([dilated(truth.query.mask(query, part)) for part in parts])
    pixels = enlarged(values, (masks.shape[1], masks.shape[2]), why.query_geometry)
    sizes = masks.sum(axis=(1, 2))
    held = (masks * pixels).sum(axis=(1, 2)) / (sizes if density else 1)
    of_uniform = np.ones(len(parts)) if density else sizes
    picked, worst = _highest(held), _highest(drops)
    return (
        single_deletion(drops, held),
        single_deletion(drops, of_uniform),
        float(worst[picked].mean()),
        float(drops[picked].mean()),
        float(worst.mean()),
        float(drops.mean()),
    )


def drops_of(gallery: "Gallery", query: int, item: int, embeddings: np.ndarray) -> np.ndarray:
    """What a pair's similarity loses when the query is another picture instead.

    Args:
        gallery: The gallery.
        query: Id of the query.
        item: Id of the gallery image.
        embeddings: (P, D) of the other pictures, not normalised.

    Returns:
        (P,) float64 in units of the similarity, positive where the other picture is less similar; NaN where a cosine
        is undefined.
    """
    asked = np.concatenate([gallery.query_embeddings[query][None], embeddings])
    scores = similarities(asked, gallery.embeddings[item][None], gallery.similarity)[0]
    return np.asarray(scores[0] - scores[1:])


def single_deletion(drops: np.ndarray, importances: np.ndarray) -> float:
    """½ + ½·Spearman(drops, importances).

    Args:
        drops: (P,) what each part costs.
        importances: (P,) what the map puts on it.

    Returns:
        From 0 to 1; ½ where all importances are alike; NaN where all drops are.

    Examples:
        >>> import numpy as np
        >>> single_deletion(np.array([0.3, 0.2, 0.1]), np.array([9.0, 2.0, 1.0]))
        1.0
        >>> single_deletion(np.array([0.3, 0.2, 0.1]), np.ones(3))
        0.5
    """
    if np.isnan(spearman(drops, np.arange(len(drops)))):
        return float("nan")
    agreement = spearman(drops, importances)
    return 0.5 if np.isnan(agreement) else 0.5 + 0.5 * agreement


def _skill(sd: np.ndarray, of_uniform: np.ndarray) -> np.ndarray:
    """Values whose mean is (mean SD − mean SD of the uniform map)/(1 − mean SD of the uniform map)."""
    both = np.isfinite(sd) & np.isfinite(of_uniform)
    room = 1.0 - of_uniform[both].mean() if both.any() else 0.0
    if room <= 0:
        return np.full(len(sd), np.nan)
    return np.where(both, (sd - of_uniform) / room, np.nan)


def _highest(values: np.ndarray) -> np.ndarray:
    """(P,) bool: the highest, and what equals it up to rounding."""
    return np.asarray(values.max() - values <= _TIE * np.abs(values).max())
