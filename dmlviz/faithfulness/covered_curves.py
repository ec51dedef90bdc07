"""How the similarity moves while the pixels of one picture come or go in the order of a map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm.auto import tqdm

from dmlviz.explanation.decomposition import SIDES, Side
from dmlviz.explanation.masked_views import FILLS, cover, finite, similarities
from dmlviz.explanation.options import one_of, whole_number
from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.explained import Explained, as_explained
from dmlviz.faithfulness.map_pixels import geometry_of
from dmlviz.faithfulness.noisy_linear import noisy_linear
from dmlviz.faithfulness.pairs import Pairs, as_pairs
from dmlviz.faithfulness.pixel_order import UNITS, Unit, ranks
from dmlviz.images.frame import frame_for

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Way = Literal["insertion", "deletion"]
WHITE = (255.0, 255.0, 255.0)
_STEPS = {"pixels": 101, "cells": 13}
_STEPS_OF_ROAD = 11
_FLAT = 1e-5


@dataclass(frozen=True)
class Recipe:
    """How pixels come and go.

    Attributes:
        steps: How many thresholds from 0 to 1; None: 101 for pixels, 13 for cells, 11 for the fill "road".
        fill: "white", "mean", "blur", "grey", "road" or a colour of three numbers from 0 to 255.
        side: Whose picture is covered, "query" or "gallery"; the other one is the reference.
        unit: "pixels" or "cells".
        batch_size: Pictures per forward pass.
        seed: Of the order of equal pixels, and of the noise of "road".

    Raises:
        ValueError: If one of them is none of these.
        TypeError: If a count is no whole number.
    """

    steps: int | None = None
    fill: Any = "white"
    side: Side = "query"
    unit: Unit = "pixels"
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self.side, "side", SIDES)
        one_of(self.unit, "unit", UNITS)
        if not (_is(self.fill, "white") or _is(self.fill, "road")):
            try:
                cover(np.zeros((1, 1, 3), np.uint8), self.fill)
            except ValueError:
                names = ", ".join(map(repr, ("white", *FILLS, "road")))
                raise ValueError(
                    f"fill must be {names} or a colour of three numbers from 0 to 255; got {self.fill!r}"
                ) from None
        if self.steps is None:
            usual = _STEPS_OF_ROAD if _is(self.fill, "road") else _STEPS[self.unit]
            object.__setattr__(self, "steps", usual)
        whole_number(self.steps, "steps", 2)
        whole_number(self.batch_size, "batch_size", 1)

    @property
    def thresholds(self) -> np.ndarray:
        """(T,) float64 from 0 to 1."""
        return np.linspace(0.0, 1.0, int(self.steps or 0))


@dataclass(frozen=True, eq=False)
class Curves:
    """Similarities to the other picture while pixels come and go in the order of a map.

    Attributes:
        method: Whose maps they are.
        thresholds: (T,) float64 from 0 to 1, the share of pixels that has come or gone (one at least).
        insertion: (n, T) float64, one row per pair: the similarity with nothing but that share of pixels. NaN where
            it is undefined.
        deletion: (n, T) float64, the same without that share of pixels.
        full: (n,) float64, the similarity of the whole picture.
        pairs: The n pairs.
    """

    method: str
    thresholds: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray
    full: np.ndarray
    pairs: Pairs

    def to_frame(self, backend: str = "pandas") -> Any:
        """The mean curves, one row per curve and threshold.

        Columns: method, curve ("insertion" or "deletion"), threshold, similarity, low, high (the mean over pairs and
        the 95 % interval of a bootstrap over labels), normalised (the mean of the curves after each has had its
        minimum taken away and been divided by its maximum).

        Args:
            backend: "pandas", "polars" or "pyarrow", whose frame to give.
        """
        import pandas as pd

        rows = []
        for name, curves in (("insertion", self.insertion), ("deletion", self.deletion)):
            scaled = normalised(curves)
            for t, threshold in enumerate(self.thresholds):
                here = Estimate(name, curves[:, t], self.pairs.clusters)
                mean = Estimate(name, scaled[:, t], self.pairs.clusters).value
                rows.append((self.method, name, float(threshold), here.value, *here.interval(), mean))
        columns = ["method", "curve", "threshold", "similarity", "low", "high", "normalised"]
        return frame_for(pd.DataFrame(rows, columns=columns), backend)

    def __repr__(self) -> str:
        areas = ", ".join(
            f"{name} {Estimate(name, mean_height(curves, self.thresholds), self.pairs.clusters).value:.3f}"
            for name, curves in (("insertion", self.insertion), ("deletion", self.deletion))
        )
        return f"Curves({self.method}: {len(self.pairs)} pairs, {len(self.thresholds)} thresholds, {areas})"


def insertion_deletion_curves(
    gallery: "Gallery",
    method: "str | Explained" = "decomposition",
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 50,
    *,
    steps: int | None = None,
    fill: Any = "white",
    side: Side = "query",
    unit: Unit = "pixels",
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Curves:
    """The curves behind `insertion` and `deletion`, of each pair; see there for the protocol and the options.

    Args:
        gallery: The gallery.
        method: A name of `METHODS` or of `BASELINES`, or an `Explained`.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        steps: How many thresholds.
        fill: What stands for missing pixels.
        side: Whose picture is covered.
        unit: "pixels" or "cells".
        batch_size: Pictures per forward pass.
        seed: Of the choice of pairs and of the order of equal pixels.
        progress: Whether to show a progress bar.

    Returns:
        Similarities in the gallery's own units, not normalised.

    Raises:
        ValueError: If the method is unknown, does not suit the gallery or has no map of that side; if an option is
            unknown.
        TypeError: If a count is no whole number.

    Examples:
        >>> import dmlviz as dv
        >>> found = insertion_deletion_curves(dv.demo_gallery(), pairs=2, steps=5, progress=False)
        >>> found.insertion.shape, found.thresholds.tolist()
        ((2, 5), [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    recipe = Recipe(steps, fill, side, unit, batch_size, seed)
    explained, chosen = as_explained(gallery, method), as_pairs(gallery, pairs, seed)
    with tqdm(total=2 * len(chosen), desc="insertion, deletion", unit="pair", disable=not progress) as bar:
        inserted, deleted = (
            curves_of(explained, chosen, way, recipe, bar.update) for way in ("insertion", "deletion")
        )
    return Curves(
        explained.name, recipe.thresholds, inserted, deleted, full_similarities(gallery, chosen), chosen
    )


def curves_of(
    explained: Explained, pairs: Pairs, way: Way, recipe: Recipe, step: Callable[[], object]
) -> np.ndarray:
    """(n, T) float64: the similarity of each pair at each threshold; a row of NaN where the map is not finite.

    Raises:
        ValueError: If the method has no map of that side.
    """
    rows = []
    for query, item in pairs:
        rows.append(_curve(explained, query, item, way, recipe))
        step()
    return np.stack(rows)


def _curve(explained: Explained, query: int, item: int, way: Way, recipe: Recipe) -> np.ndarray:
    gallery, why = explained.gallery, explained.of(query, item)
    if recipe.side == "query":
        embedder, view = gallery.query_embedder, gallery.query_view(query)
        reference = gallery.embeddings[item]
    else:
        embedder, view = gallery.embedder, gallery.view(item)
        reference = gallery.query_embeddings[query]
    values = why.overall_map(recipe.side)
    if not np.isfinite(values).all():
        return np.full(len(recipe.thresholds), np.nan)
    turns = ranks(
        values,
        (view.shape[0], view.shape[1]),
        geometry_of(why, recipe.side),
        recipe.unit,
        np.random.default_rng([recipe.seed, query, item, 0]),
        embedder,
    )
    counts = counts_at(recipe.thresholds, turns.size if recipe.unit == "pixels" else values.size)
    put_together = _with_cover(view, recipe.fill, np.random.default_rng([recipe.seed, query, item, 1]))
    found = []
    for start in range(0, len(counts), recipe.batch_size):
        first = turns < counts[start : start + recipe.batch_size, None, None]
        pictures = put_together(first if way == "insertion" else ~first)
        found.append(finite(embedder.embed_views(pictures, recipe.batch_size)))
    return np.asarray(similarities(np.concatenate(found), reference[None], gallery.similarity)[0])


def full_similarities(gallery: "Gallery", pairs: Pairs) -> np.ndarray:
    """(n,) float64: the score of each pair, nothing covered."""
    return np.array([gallery.score(query, [item])[0] for query, item in pairs], dtype=np.float64)


def counts_at(thresholds: np.ndarray, total: int) -> np.ndarray:
    """How many come or go at each threshold: max(round(t·total), 1), (T,) int64."""
    return np.maximum(np.rint(thresholds * total), 1).astype(np.int64)


def normalised(curves: np.ndarray) -> np.ndarray:
    """Each row less its minimum, over its maximum then: (n, T) from 0 to 1; NaN where a row is flat or undefined.

    A row is flat where it moves by no more than 1e-5 of its largest size, which is what rounding in float32 leaves.
    """
    from_zero = curves - curves.min(axis=1, keepdims=True)
    most = from_zero.max(axis=1, keepdims=True)
    moves = most > _FLAT * np.abs(curves).max(axis=1, keepdims=True)
    return np.divide(from_zero, most, out=np.full_like(from_zero, np.nan), where=moves)


def mean_height(curves: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The area under each row by the trapezoidal rule, over thresholds from 0 to 1: (n,)."""
    return np.asarray(((curves[:, 1:] + curves[:, :-1]) / 2 * np.diff(thresholds)).sum(axis=1))


def _with_cover(
    view: np.ndarray, fill: Any, random: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from what is kept, (B, H, W) bool, to pictures (B, H, W, 3) uint8."""
    if _is(fill, "road"):
        return lambda keep: noisy_linear(view, keep, random)
    under = cover(view, WHITE if _is(fill, "white") else fill)
    whole = np.rint(under).clip(0, 255).astype(np.uint8)
    return lambda keep: np.where(keep[..., None], view, whole)


def _is(fill: Any, name: str) -> bool:
    return isinstance(fill, str) and fill == name
