"""Pictures with parts covered, and what the network makes of them: the ground of every black-box method."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder

FILLS = ("mean", "grey", "blur")


class Masks(Protocol):
    """Masks over the pixels of one view, made when they are asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def keep(self, start: int, stop: int) -> np.ndarray:
        """(B, H, W) float32 from 0 (covered) to 1 (kept), the masks from `start` up to `stop`."""


def cover(view: np.ndarray, fill: Any) -> np.ndarray:
    """What covered pixels are replaced by.

    Args:
        view: (H, W, 3) uint8.
        fill: "mean": the mean colour of the view; "grey": (128, 128, 128); "blur": the view itself, blurred by a
            Gaussian whose standard deviation is a tenth of its shorter side; or a colour, three numbers from 0
            to 255.

    Returns:
        (H, W, 3) float32, from 0 to 255.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(fill, str):
        if fill == "mean":
            colour = view.mean(axis=(0, 1), dtype=np.float64)
        elif fill == "grey":
            colour = np.full(3, 128.0)
        elif fill == "blur":
            from PIL import Image, ImageFilter

            soft = ImageFilter.GaussianBlur(min(view.shape[:2]) / 10)
            return np.asarray(Image.fromarray(view).filter(soft), dtype=np.float32)
        else:
            raise ValueError(_fill_refused(fill))
    else:
        try:
            colour = np.asarray(fill, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(_fill_refused(fill)) from None
        if colour.shape != (3,) or not ((colour >= 0) & (colour <= 255)).all():
            raise ValueError(_fill_refused(fill))
    return np.broadcast_to(colour.astype(np.float32), view.shape)


def covered_views(view: np.ndarray, fill: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Mix a view and its cover: keep·view + (1 − keep)·cover, rounded to whole grey levels.

    Args:
        view: (H, W, 3) uint8.
        fill: (H, W, 3) float32, as `cover` gives it.
        keep: (B, H, W) from 0 to 1.

    Returns:
        (B, H, W, 3) uint8.
    """
    picture = view.astype(np.float32)
    mixed = fill + keep[..., None].astype(np.float32) * (picture - fill)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def embed_covered(
    embedder: "Embedder",
    view: np.ndarray,
    masks: Masks,
    fill: Any,
    batch_size: int,
    done: Callable[[int], object],
) -> np.ndarray:
    """Embed a view under each of its masks.

    Args:
        embedder: The network.
        view: (H, W, 3) uint8, a view of the embedder's.
        masks: N masks over it.
        fill: As for `cover`.
        batch_size: Pictures per forward pass.
        done: Called with the number of pictures after each batch.

    Returns:
        (N, D) float64 embeddings, not normalised.

    Raises:
        ValueError: If an embedding is not finite.
    """
    under = cover(view, fill)
    rows = []
    for start in range(0, len(masks), batch_size):
        keep = masks.keep(start, min(start + batch_size, len(masks)))
        rows.append(finite(embedder.embed_views(covered_views(view, under, keep), batch_size)))
        done(len(keep))
    return np.concatenate(rows)


def finite(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (N, D) as float64, refused where a value is not finite.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    if not np.isfinite(embeddings).all():
        raise ValueError(
            "the network gives NaN or infinite values for a covered picture, so nothing can be said about it; "
            "try another fill, or look at the network's weights"
        )
    return embeddings.astype(np.float64)


def similarities(embeddings: np.ndarray, others: np.ndarray, kind: str) -> np.ndarray:
    """The similarity of each of N embeddings to each of k others.

    Args:
        embeddings: (N, D).
        others: (k, D).
        kind: "cosine", "dot" or "l2", minus the squared distance.

    Returns:
        (k, N) float64; NaN where a cosine is undefined, because an embedding has length zero.
    """
    products = others.astype(np.float64) @ embeddings.astype(np.float64).T
    if kind == "dot":
        return products
    if kind == "l2":
        squares = [np.square(one.astype(np.float64)).sum(1) for one in (others, embeddings)]
        return np.minimum(2.0 * products - squares[0][:, None] - squares[1], 0.0)
    lengths = np.linalg.norm(others, axis=1)[:, None] * np.linalg.norm(embeddings, axis=1)
    return np.divide(products, lengths, out=np.full_like(products, np.nan), where=lengths > 0)


def in_batches(masks: Masks, batch_size: int = 64) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield all masks batch by batch: which they are, and their pixels in a row, (B, H·W) float64."""
    for start in range(0, len(masks), batch_size):
        chosen = slice(start, min(start + batch_size, len(masks)))
        keep = masks.keep(chosen.start, chosen.stop)
        yield chosen, keep.reshape(len(keep), -1).astype(np.float64)


def _fill_refused(fill: Any) -> str:
    return (
        f"fill must be {', '.join(map(repr, FILLS))} or a colour of three numbers from 0 to 255; got {fill!r}"
    )
