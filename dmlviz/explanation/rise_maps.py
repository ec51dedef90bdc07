"""Random masks: which pixels, when they are kept, go along with a high similarity."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dmlviz.explanation.black_box import (
    Probe,
    Scores,
    explain_pair,
    shared_ranking,
    suits_known_similarities,
)
from dmlviz.explanation.covering import Covering, Resolution
from dmlviz.explanation.decomposition import SIDES, Decomposition, Side
from dmlviz.explanation.masked_views import Masks, in_batches
from dmlviz.explanation.method import Method
from dmlviz.explanation.options import whole_number
from dmlviz.explanation.random_masks import RandomMasks

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

_COUNT = 1000
_GRID = 8
_KEEP = 0.5


def rise(
    embedder: "Embedder",
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: "Embedder | None" = None,
    masks: int = _COUNT,
    grid: int | tuple[int, int] = _GRID,
    keep: float = _KEEP,
    seed: int = 0,
    published: bool = False,
    fill: Any = "mean",
    sides: Sequence[Side] = cast("Sequence[Side]", SIDES),
    resolution: Resolution = "cells",
    budget: int | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> Decomposition:
    """The mean similarity over random masks that keep a pixel, less the mean over all masks.

    With masks M_i (0 covered, 1 kept) and S_i the similarity under mask i:

        map(p) = Σ_i S_i·M_i(p) / Σ_i M_i(p) − Σ_i S_i / N

    Positive: masks that keep the pixel leave the pictures more alike than masks do on average. With
    `published=True` it is the sum of RISE (Petsiuk, Das, Saenko, RISE: Randomized Input Sampling for Explanation
    of Black-box Models, BMVC 2018), Σ_i S_i·M_i(p) / (keep·N), in which every pixel carries the mean similarity
    and no sign is left.

    What it means: an effect averaged over random surroundings. Its sum is not the score. It is an estimate: its
    error falls with the square root of the number of masks, and another seed gives another map.

    Cost: one forward pass for each mask and side, and one for each whole picture; no backward pass.

    Args:
        embedder: The network of the gallery image, and of the query unless `query_embedder` is given.
        query: (h, w, 3) uint8, as it came.
        item: (h, w, 3) uint8, as it came.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The query's network, where it has one of its own.
        masks: How many, at least 2.
        grid: Tiles of a mask before it is enlarged, one number or (rows, cols).
        keep: Chance that a tile is kept, between 0 and 1.
        seed: Of the masks; both sides are covered by the same.
        published: The published sum instead of the signed one.
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur" or a
            colour of three numbers from 0 to 255. Pixels in between are mixed.
        sides: Which pictures are covered, each against the other as it is.
        resolution: "cells": over the embedder's cells, each the mean over the pixels nearest to its centre;
            "pixels": over the pixels of the view.
        budget: The most forward passes of covered pictures; fewer masks are drawn, and the note says so.
        batch_size: Pictures per forward pass.
        progress: Show a bar where it takes longer than a second.

    Returns:
        A `Decomposition` without pairs: `query_map` and `gallery_map` float32, signed, in units of the
        similarity. Masks under which a cosine is undefined are left out, and the note says how many.

    Raises:
        ValueError: If a number is out of range or an option unknown.
        TypeError: If a count is no whole number.
        KeyboardInterrupt: Passed on with the passes done; there is no half map.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> from dmlviz.explanation.rise_maps import rise
        >>> birds = dv.birds(families=1, per_class=2)
        >>> why = rise(birds_embedder(), birds[0], birds[1], masks=20, sides=["query"])
        >>> why.grid("query"), why.promises
        ((12, 12), False)
    """
    probe = _rise(masks=masks, grid=grid, keep=keep, seed=seed, published=published)
    covering = Covering(fill, sides, resolution, budget, batch_size, progress)
    return explain_pair(probe, covering, embedder, query, item, similarity, query_embedder)


def corr_rise(
    embedder: "Embedder",
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: "Embedder | None" = None,
    masks: int = _COUNT,
    grid: int | tuple[int, int] = _GRID,
    keep: float = _KEEP,
    seed: int = 0,
    fill: Any = "mean",
    sides: Sequence[Side] = cast("Sequence[Side]", SIDES),
    resolution: Resolution = "cells",
    budget: int | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> Decomposition:
    """Correlate each pixel of random masks with the similarity under them.

    map(p) = Pearson correlation over the masks i of M_i(p) with S_i (CorrRISE: Lu, Xu, Ebrahimi, Towards Visual
    Saliency Explanations of Face Verification, WACV 2024). Positive: the pictures are more alike where the
    pixel is kept; negative: less alike. A pixel that no mask tells apart, and every pixel where the similarity
    stays the same up to rounding, has the value 0.

    What it means: how reliably a pixel moves the similarity, not how far. Values go from −1 to 1 and are no
    shares of the score; two pairs cannot be compared by them.

    Cost: as `rise`.

    Args:
        embedder: As for `rise`.
        query: As for `rise`.
        item: As for `rise`.
        similarity: As for `rise`.
        query_embedder: As for `rise`.
        masks: As for `rise`.
        grid: As for `rise`.
        keep: As for `rise`.
        seed: As for `rise`.
        fill: As for `rise`.
        sides: As for `rise`.
        resolution: As for `rise`; of cells, the mean of their pixels' correlations.
        budget: As for `rise`.
        batch_size: As for `rise`.
        progress: As for `rise`.

    Returns:
        A `Decomposition` without pairs: `query_map` and `gallery_map` float32, from −1 to 1.

    Raises:
        ValueError: As for `rise`.
        TypeError: As for `rise`.
        KeyboardInterrupt: As for `rise`.
    """
    probe = _corr_rise(masks=masks, grid=grid, keep=keep, seed=seed)
    covering = Covering(fill, sides, resolution, budget, batch_size, progress)
    return explain_pair(probe, covering, embedder, query, item, similarity, query_embedder)


def kept_less_all(masks: Masks, scores: Scores) -> np.ndarray:
    """Σ S·M / ΣM − mean(S) for each of k others, (k, H, W) float64; 0 where no mask keeps a pixel."""
    _, kept, product, _, view = _sums(masks, scores)
    found = np.divide(product, kept, out=np.zeros_like(product), where=kept > 0)
    return found.reshape(-1, *view)


def expectation(masks: Masks, scores: Scores, keep: float) -> np.ndarray:
    """Σ S·M / (keep·N) for each of k others, (k, H, W) float64, as RISE has it."""
    mean, kept, product, _, view = _sums(masks, scores)
    return np.asarray((product + mean[:, None] * kept) / (keep * scores.used.sum())).reshape(-1, *view)


def correlations(masks: Masks, scores: Scores) -> np.ndarray:
    """Pearson correlation of M with S for each of k others, (k, H, W) float64; 0 where either is constant."""
    mean, kept, product, squares, view = _sums(masks, scores)
    count = scores.used.sum()
    of_masks = squares - kept**2 / count
    deviations = (scores.covered - mean[:, None]) * scores.used
    of_scores = np.square(deviations).sum(axis=1)
    of_scores[of_scores <= count * scores.rounding**2] = 0.0
    below = np.sqrt(of_scores[:, None] * np.where(of_masks > 1e-9 * count, of_masks, 0.0))
    found = np.divide(product, below, out=np.zeros_like(product), where=below > 0)
    return np.clip(found, -1.0, 1.0).reshape(-1, *view)


def _sums(
    masks: Masks, scores: Scores
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Mean of S (k,), ΣM (P,), Σ(S − mean)·M (k, P), ΣM² (P,), and the view, over the masks that are used."""
    mean = (scores.covered @ scores.used) / scores.used.sum()
    deviations = (scores.covered - mean[:, None]) * scores.used
    height, width = masks.keep(0, 1).shape[1:]
    kept, squares = np.zeros(height * width), np.zeros(height * width)
    product = np.zeros((len(mean), height * width))
    for chosen, keep in in_batches(masks):
        kept += scores.used[chosen] @ keep
        squares += scores.used[chosen] @ np.square(keep)
        product += deviations[:, chosen] @ keep
    return mean, kept, product, squares, (height, width)


def _rise(
    *,
    masks: int = _COUNT,
    grid: int | tuple[int, int] = _GRID,
    keep: float = _KEEP,
    seed: int = 0,
    published: bool = False,
) -> Probe:
    drawn = _drawing(masks, grid, keep, seed)
    if published:
        note = "the published sum: every pixel carries the mean similarity, and the map does not add up to the score"
        return Probe("rise", drawn, partial(expectation, keep=float(keep)), note)
    note = "an estimate from random masks, centred on their mean; it does not add up to the score"
    return Probe("rise", drawn, kept_less_all, note)


def _corr_rise(
    *, masks: int = _COUNT, grid: int | tuple[int, int] = _GRID, keep: float = _KEEP, seed: int = 0
) -> Probe:
    note = "correlations from −1 to 1, estimated from random masks; no shares of the score"
    return Probe("corr-rise", _drawing(masks, grid, keep, seed), correlations, note)


def _drawing(
    masks: int, grid: int | tuple[int, int], keep: float, seed: int
) -> Callable[[tuple[int, int], int | None], tuple[Masks, str]]:
    wanted = whole_number(masks, "masks", 2)
    sides = tuple(grid) if isinstance(grid, Sequence) else (grid, grid)
    if len(sides) != 2:
        raise ValueError(f"grid must be one number or (rows, cols), got {grid!r}")
    rows, cols = (whole_number(side, "grid", 2) for side in sides)
    if not 0 < keep < 1:
        raise ValueError(f"keep is a chance between 0 and 1 (both left out), got {keep!r}")
    whole_number(seed, "seed", 0)

    def drawn(view: tuple[int, int], at_most: int | None) -> tuple[Masks, str]:
        if rows > view[0] or cols > view[1]:
            raise ValueError(
                f"a grid of {rows} × {cols} is finer than the view of {view[0]} × {view[1]} pixels"
            )
        count = wanted if at_most is None else min(wanted, at_most)
        if count < 2:
            raise ValueError(
                f"the budget allows {count} masks for each picture, and 2 are the least; give a larger budget "
                "or fewer sides"
            )
        said = "" if count == wanted else f"the budget allows {count} of {wanted} masks"
        return RandomMasks.draw(view, count, (rows, cols), float(keep), seed), said

    return drawn


OFFERED = (
    Method(
        name="rise",
        title="random masks (RISE)",
        says="The mean similarity over random masks that keep a pixel, less the mean over all masks. Needs "
        "nothing but the network's output. An estimate; the map does not add up to the score.",
        cost=f"{_COUNT} forward passes for each picture as it comes; the query's serve a whole ranking",
        of_ranking=shared_ranking("rise", _rise),
        unsuited=suits_known_similarities,
        linear=True,
    ),
    Method(
        name="corr-rise",
        title="random masks (CorrRISE)",
        says="The correlation of each pixel of random masks with the similarity under them, from −1 to 1. "
        "It says how reliably a pixel moves the similarity, and is no share of the score.",
        cost=f"{_COUNT} forward passes for each picture as it comes; the query's serve a whole ranking",
        of_ranking=shared_ranking("corr-rise", _corr_rise),
        unsuited=suits_known_similarities,
    ),
)
