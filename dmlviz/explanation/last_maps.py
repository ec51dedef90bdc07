"""Pictures at the end of the trunk: what the methods read that look at the last feature maps themselves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder import Embedder
from dmlviz.embedder.as_found import evaluating
from dmlviz.explanation.decomposition import Decomposition
from dmlviz.explanation.method import OfRanking, against_index

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_BATCH = 16


@dataclass(frozen=True, eq=False)
class LastMap:
    """A picture at the end of the trunk.

    Attributes:
        embedder: Whose trunk it went through.
        feature_map: (C, h, w) float32 or float64 (that of the network; half precision is brought to float32),
            finite, without a gradient, on the embedder's device.
    """

    embedder: Embedder
    feature_map: Tensor

    @property
    def pooled(self) -> np.ndarray:
        """The mean over the cells of each channel, (C,) float64."""
        return self.feature_map.cpu().double().mean((1, 2)).numpy()


OfMaps = Callable[..., Decomposition]


def last_maps(embedder: Embedder, pictures: Sequence[np.ndarray]) -> list[LastMap]:
    """Run the trunk on a few pictures, in one batch.

    Raises:
        ValueError: If a feature map holds NaN or infinity.
    """
    maps = embedder.feature_maps(pictures, batch_size=max(len(pictures), 1))
    if not bool(torch.isfinite(maps).all()):
        raise ValueError(
            "the feature map holds NaN or infinite values; look for them in the image or in the weights of the trunk"
        )
    return [LastMap(embedder, one.detach()) for one in maps]


def embedding_of(image: LastMap) -> np.ndarray:
    """The embedding of a picture by its head, (D,) float64, not normalised."""
    head = image.embedder.head
    with torch.no_grad(), evaluating(head):
        found: np.ndarray = head(image.feature_map[None])[0].cpu().double().numpy()
    return found


def two_maps(
    embedder: Embedder, query: np.ndarray, item: np.ndarray, query_embedder: Embedder | None
) -> tuple[LastMap, LastMap]:
    """Run the trunk on a query and on a gallery image: in one batch where both go through the same network."""
    if query_embedder is None or query_embedder is embedder:
        asked, found = last_maps(embedder, [query, item])
        return asked, found
    return last_maps(query_embedder, [query])[0], last_maps(embedder, [item])[0]


def map_by_map(of_maps: OfMaps) -> OfRanking:
    """Make the explanation of a ranking from that of two last feature maps; the query goes through once.

    Args:
        of_maps: (query, item, *, similarity, **options) -> `Decomposition`; query and item are `LastMap`.

    Returns:
        (gallery, query, ids, **options) -> list of `Decomposition`, each held against the score that the index
        ranks by where it explains that similarity.
    """

    def of_ranking(
        gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
    ) -> list[Decomposition]:
        if reason := needs_a_network(gallery):
            raise ValueError(f"the method does not suit this gallery: {reason}")
        chosen = [int(i) for i in ids]
        (asked,) = last_maps(gallery.query_embedder, [gallery.query_image(query)])
        whys = [
            of_maps(asked, found, similarity=gallery.similarity, **options)
            for found in _of_items(gallery, chosen)
        ]
        return against_index(gallery, query, chosen, whys)

    return of_ranking


def _of_items(gallery: "Gallery", ids: Sequence[int]) -> Iterator[LastMap]:
    for start in range(0, len(ids), _BATCH):
        yield from last_maps(gallery.embedder, [gallery.images[i] for i in ids[start : start + _BATCH]])


def needs_a_network(gallery: "Gallery") -> str:
    """Why a method that reads last feature maps cannot explain a gallery; "" where it can."""
    for side in ("embedder", "query_embedder"):
        network = getattr(gallery, side, None)
        if not isinstance(network, Embedder):
            return (
                "it reads the network's last feature map, and the gallery's "
                f"{side.replace('_', ' ')} is no dmlviz.Embedder but {type(network).__name__}"
            )
    return ""


def hidden_by_rounding(query: np.ndarray, item: np.ndarray, dtype: np.dtype) -> float:
    """Below which difference two pooled features are the same but for rounding.

    1e-5 of the largest magnitude among both (1e-12 in float64): batches of another size, and other devices, move
    the features of one and the same picture by up to about that.
    """
    largest = max(float(np.abs(query).max(initial=0.0)), float(np.abs(item).max(initial=0.0)))
    return (1e-12 if np.dtype(dtype) == np.float64 else 1e-5) * largest
