"""The embedding of a picture of whose feature map only some cells are kept."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.as_found import evaluating
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.mapped_head import peeled
from dmlviz.embedder.tokens_head import TokensHead


@torch.no_grad()
def embed_kept_cells(embedder: Embedder, image: Any, keep: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Embed a picture with cells of its feature map taken away: the head sees zeros in their place.

    The trunk runs once on the whole picture, so what a kept cell saw of its surroundings stays in it. For average
    pooling and flattened features the result is the offset plus the sum of the kept local embeddings, up to rounding
    (`LocalEmbeddings`): those heads are affine in the feature map. A maximum does not work so: the runner-up takes
    the place of a cell that is taken away, a cell with zeros still competes, and so does the floor `eps` in GeM.

    In a transformer that is cut at its patches (`TokensHead`) zeros would not be nothing: a LayerNorm makes a full
    token of them. There the tokens at the head's layer that stand for the patches taken away are replaced by those
    of a blank picture, where the paths of its local embeddings start; tokens without a patch stay.

    No kind of head is refused, since each is merely run; an input that its arithmetic cannot bear is.

    Args:
        embedder: The network.
        image: (h, w, 3) uint8 or a Pillow image.
        keep: (B, h, w) over the cells of `embedder.map_size`: bool, or weights from 0 (taken away) to 1 (kept) that
            the cell's features are multiplied by.
        batch_size: How many masked feature maps go through the head at once.

    Returns:
        (B, D) float32 embeddings, not normalised.

    Raises:
        TypeError: If the mask holds no numbers.
        ValueError: If the mask has another shape or values outside 0 to 1, the batch size is less than 1, or an
            embedding is not finite: heads that divide by the length of a pooled vector have nothing to divide by
            where nothing is kept.

    Examples:
        >>> import numpy as np
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> image, embedder = dv.birds(families=1, per_class=1)[0], birds_embedder()
        >>> keep = np.random.default_rng(0).random((1, 12, 12)) < 0.5
        >>> parts = embedder.local_embeddings(image)
        >>> kept = parts.vectors[keep[0]].sum(0) + parts.offset
        >>> bool(np.allclose(embed_kept_cells(embedder, image, keep)[0], kept, atol=1e-5))
        True
    """
    masks = _checked(keep, embedder.map_size)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    features = embedder.feature_maps([image])[0]
    found = []
    with evaluating(embedder.trunk), evaluating(embedder.head):
        for start in range(0, len(masks), batch_size):
            some = torch.from_numpy(masks[start : start + batch_size]).to(features)
            found.append(_embedded(embedder, features, some).float().cpu().numpy())
    embedded = np.concatenate(found) if found else np.zeros((0, embedder.dim), np.float32)
    if not np.isfinite(embedded).all():
        row = int(np.flatnonzero(~np.isfinite(embedded).all(1))[0])
        raise ValueError(
            f"with {masks[row].sum():g} of {masks[row].size} cells kept the head gives NaN or infinite values "
            f"(mask {row} of {len(masks)}); it cannot embed a feature map with so little in it, keep more cells"
        )
    return embedded


def _embedded(embedder: Embedder, features: Tensor, keep: Tensor) -> Tensor:
    head, mapped = peeled(embedder.head)
    if isinstance(head, TokensHead):
        return mapped(head.embed_kept(features, keep))
    found: Tensor = embedder.head(features[None] * keep[:, None])
    return found


def _checked(keep: Any, map_size: tuple[int, int]) -> np.ndarray:
    masks = np.asarray(keep)
    if masks.dtype.kind not in "biuf":
        raise TypeError(f"keep must be bool or numbers from 0 to 1, got dtype {masks.dtype}")
    if masks.ndim != 3 or masks.shape[1:] != tuple(map_size):
        raise ValueError(
            f"keep must have one value per cell, shape (B, {map_size[0]}, {map_size[1]}); got {masks.shape}"
        )
    masks = masks.astype(np.float32)
    if not ((masks >= 0) & (masks <= 1)).all():  # also false for NaN
        raise ValueError("keep must be bool or hold numbers from 0 (taken away) to 1 (kept), and no NaN")
    return masks
