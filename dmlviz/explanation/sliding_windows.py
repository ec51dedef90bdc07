"""Occlusion: slide a window over a picture and see how far the similarity falls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

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
from dmlviz.explanation.masked_views import Masks, in_batches, similarities
from dmlviz.explanation.method import Method
from dmlviz.explanation.options import whole_number

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

Distance = Literal["euclidean", "cosine"]
DISTANCES = ("euclidean", "cosine")
_WINDOWS_ALONG = 5  # a window is a fifth of the view, unless said otherwise
_NOTE = "what covering takes away is not shared out, so the map does not add up to the score"


def occlusion(
    embedder: "Embedder",
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: "Embedder | None" = None,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    distance: Distance | None = None,
    fill: Any = "mean",
    sides: Sequence[Side] = cast("Sequence[Side]", SIDES),
    resolution: Resolution = "cells",
    budget: int | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> Decomposition:
    """Cover a window of a picture, slide it, and note how far the similarity falls.

    A pixel's value is the mean fall over all windows that cover it, with c_m = 1 on the pixels of window m:

        map(p) = Σ_m (S − S_m)·c_m(p) / Σ_m c_m(p)

    Positive: the similarity falls when the pixel is covered, so the pixel speaks for the match. With `distance`
    it is the formula published as SBSM (Dong, Collins, Hoogs, Explainability for Content-Based Image Retrieval,
    CVPR workshops 2019), which keeps only rises of a distance, max(d_m − d, 0), and so is never negative.

    What it means: the effect of covering one window at a time. Its sum is not the score: windows overlap, what
    two windows show together counts for neither, and the fill has an effect of its own. For average pooling over
    patches, the dot product and windows that are the patches, each cell's value is its exact contribution less
    what the fill contributes in its place.

    Cost: one forward pass for each window and side (about 121 as it comes) and one for each whole picture; no
    backward pass.

    Args:
        embedder: The network of the gallery image, and of the query unless `query_embedder` is given.
        query: (h, w, 3) uint8, as it came.
        item: (h, w, 3) uint8, as it came.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The query's network, where it has one of its own.
        window: Side of the window in pixels of the view, or (height, width); a fifth of the view unless given.
        stride: From one window to the next, the same way; two fifths of the window unless given. The last window
            is moved so that it ends at the edge: every pixel is covered.
        distance: None: signed, of the similarity; "euclidean" or "cosine": the published formula for that
            distance. The Euclidean one is between embeddings of length one where `similarity` is "cosine".
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur" or a
            colour of three numbers from 0 to 255.
        sides: Which pictures are covered, each against the other as it is.
        resolution: "cells": over the embedder's cells, each the mean over the pixels nearest to its centre;
            "pixels": over the pixels of the view.
        budget: The most forward passes of covered pictures; the stride grows until they are enough, and the
            note says so.
        batch_size: Pictures per forward pass.
        progress: Show a bar where it takes longer than a second.

    Returns:
        A `Decomposition` without pairs: `query_map` and `gallery_map` float32, signed, in units of the
        similarity (of the distance, and not negative, where one is given). Under windows that give a picture
        an embedding of length zero a cosine is undefined: they are left out, and the note says how many.

    Raises:
        ValueError: If a window is larger than the view or leaves gaps, the budget is too small for windows that
            cover the view, or an option is unknown.
        TypeError: If a size or count is no whole number.
        KeyboardInterrupt: Passed on with the passes done; there is no half map.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> from dmlviz.explanation.sliding_windows import occlusion
        >>> birds = dv.birds(families=1, per_class=2)
        >>> why = occlusion(birds_embedder(), birds[0], birds[1], window=48, sides=["query"])
        >>> why.grid("query"), why.pairwise, why.promises
        ((12, 12), False, False)
    """
    probe = _probe(window=window, stride=stride, distance=distance)
    covering = Covering(fill, sides, resolution, budget, batch_size, progress)
    return explain_pair(probe, covering, embedder, query, item, similarity, query_embedder)


@dataclass(frozen=True)
class Windows:
    """Windows slid over a view, row by row; every pixel lies in one at least.

    Attributes:
        view: (H, W) in pixels.
        window: (height, width) in pixels, at most the view.
        stride: (down, across) in pixels, at most the window.
    """

    view: tuple[int, int]
    window: tuple[int, int]
    stride: tuple[int, int]

    def __len__(self) -> int:
        down, across = self._starts
        return len(down) * len(across)

    def keep(self, start: int, stop: int) -> np.ndarray:
        """(B, H, W) float32, 0 on the pixels of a window and 1 elsewhere."""
        down, across = self._starts
        rows, cols = np.divmod(np.arange(start, stop), len(across))
        inside = [
            (np.arange(size) >= begin[:, None]) & (np.arange(size) < begin[:, None] + width)
            for size, begin, width in zip(self.view, (down[rows], across[cols]), self.window, strict=True)
        ]
        return np.asarray(~(inside[0][:, :, None] & inside[1][:, None, :]), dtype=np.float32)

    @property
    def _starts(self) -> list[np.ndarray]:
        found = []
        for size, width, step in zip(self.view, self.window, self.stride, strict=True):
            starts = np.arange(0, size - width + 1, step)
            found.append(starts if starts[-1] == size - width else np.append(starts, size - width))
        return found


def windows_over(
    view: tuple[int, int],
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    at_most: int | None = None,
) -> tuple[Windows, str]:
    """Lay windows over a view; widen the stride until there are at most so many.

    Returns:
        The windows, and what to say where the stride was widened.

    Raises:
        ValueError: If they do not fit, leave gaps, or cannot be few enough.
        TypeError: If a size is no whole number.
    """
    size = _pair(window, "window") or (max(1, view[0] // _WINDOWS_ALONG), max(1, view[1] // _WINDOWS_ALONG))
    step = _pair(stride, "stride") or (-(-2 * size[0] // 5), -(-2 * size[1] // 5))
    if size[0] > view[0] or size[1] > view[1]:
        raise ValueError(
            f"the window must fit into the view of {view[0]} × {view[1]} pixels (height × width); "
            f"got {size[0]} × {size[1]}"
        )
    if step[0] > size[0] or step[1] > size[1]:
        raise ValueError(
            f"a stride above the window leaves pixels that are never covered; got stride {step} for "
            f"window {size} (height, width)"
        )
    windows = Windows(view, size, step)
    wanted = len(windows)
    while at_most is not None and len(windows) > at_most:
        wider = (min(windows.stride[0] + 1, size[0]), min(windows.stride[1] + 1, size[1]))
        if wider == windows.stride:
            raise ValueError(
                f"the budget allows {at_most} forward passes for each picture, and windows of "
                f"{size[0]} × {size[1]} pixels that leave no gap need {len(windows)}; give a larger budget, "
                "a larger window, or fewer sides"
            )
        windows = Windows(view, size, wider)
    if len(windows) == wanted:
        return windows, ""
    return windows, (
        f"the budget allows {len(windows)} of {wanted} windows: the stride is {windows.stride} instead of {step}"
    )


def occlusion_maps(masks: Masks, scores: Scores) -> np.ndarray:
    """Σ_m (S − S_m)·c_m / Σ_m c_m for each of k others, (k, H, W) float64; 0 where nothing covers a pixel."""
    return _mean_fall(masks, scores, positive=False)


def published_maps(masks: Masks, scores: Scores) -> np.ndarray:
    """Σ_m max(d_m − d, 0)·c_m / Σ_m c_m, where the scores are distances with their sign turned."""
    return _mean_fall(masks, scores, positive=True)


def _mean_fall(masks: Masks, scores: Scores, *, positive: bool) -> np.ndarray:
    fall = scores.whole[:, None] - scores.covered
    if positive:
        fall = np.maximum(fall, 0.0)
    fall *= scores.used
    height, width = masks.keep(0, 1).shape[1:]
    total, weight = np.zeros((len(fall), height * width)), np.zeros(height * width)
    for chosen, keep in in_batches(masks):
        covers = 1.0 - keep
        total += fall[:, chosen] @ covers
        weight += scores.used[chosen] @ covers
    found = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return found.reshape(-1, height, width)


def _probe(
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    distance: Distance | None = None,
) -> Probe:
    if distance is not None and distance not in DISTANCES:
        raise ValueError(
            f"distance must be None (signed, of the similarity) or one of {', '.join(map(repr, DISTANCES))}; "
            f"got {distance!r}"
        )

    def masks(view: tuple[int, int], at_most: int | None) -> tuple[Masks, str]:
        return windows_over(view, window, stride, at_most)

    if distance is None:
        return Probe("occlusion", masks, occlusion_maps, _NOTE)

    def turned(embeddings: np.ndarray, others: np.ndarray, kind: str) -> np.ndarray:
        return -_distances(embeddings, others, "cosine" if distance == "cosine" else kind, distance)

    note = f"the published formula: mean rise of the {distance} distance, falls left out, in its units"
    return Probe("occlusion", masks, published_maps, f"{note}; {_NOTE}", turned)


def _distances(embeddings: np.ndarray, others: np.ndarray, kind: str, distance: Distance) -> np.ndarray:
    """(k, N): 1 − cosine, or the Euclidean distance (of embeddings of length one for the kind "cosine")."""
    products = similarities(embeddings, others, kind)
    if distance == "cosine":
        return 1.0 - products
    if kind == "cosine":
        return np.asarray(np.sqrt(np.maximum(2.0 - 2.0 * products, 0.0)))
    return np.stack([np.linalg.norm(embeddings - other, axis=1) for other in others.astype(np.float64)])


def _pair(value: Any, what: str) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{what} must be one number or (height, width), got {value!r}")
    return whole_number(sides[0], what, 1), whole_number(sides[1], what, 1)


OFFERED = (
    Method(
        name="occlusion",
        title="occlusion (SBSM)",
        says="How far the similarity falls when a window of the picture is covered, averaged over the windows "
        "that cover a pixel. Needs nothing but the network's output. The map does not add up to the score.",
        cost="about 121 forward passes for each picture as it comes; the query's serve a whole ranking",
        of_ranking=shared_ranking("occlusion", _probe),
        unsuited=suits_known_similarities,
        linear=True,
    ),
)
