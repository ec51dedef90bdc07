"""xCos (Lin et al., arXiv 2003.05383): a learned similarity that is a weighted mean of cosines, cell by cell.

It explains its own score, completely, and no other: the note of every result says so and gives the index's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.as_found import evaluating, placement
from dmlviz.embedder.xcos import XCos
from dmlviz.embedder.xcos_file import trunk_sha256, xcos_of
from dmlviz.explanation.decomposition import SIMILARITIES, Decomposition, rounding_tolerance
from dmlviz.explanation.method import Method, against_index
from dmlviz.explanation.options import one_of

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.retrieval import Gallery

_BATCH = 64


@dataclass(frozen=True, eq=False)
class XCosMaps:
    """The two maps whose product, summed over the cells, is xCos.

    Attributes:
        weights: (h, w), the attention, ≥ 0, with sum 1.
        cosines: (h, w), from −1 to 1: each cell against the same cell of the other image.
        score: xCos, the sum of weights × cosines, from −1 to 1.
    """

    weights: np.ndarray
    cosines: np.ndarray
    score: float

    @property
    def contributions(self) -> np.ndarray:
        """(h, w), weights × cosines, signed: what each cell adds to the score."""
        return self.weights * self.cosines

    def __repr__(self) -> str:
        h, w = self.weights.shape
        return f"XCosMaps(xCos {self.score:+.6f}; cells {h}×{w}, largest weight {self.weights.max():.3f})"


def xcos(
    embedder: "Embedder",
    query: Any,
    item: Any,
    *,
    similarity: str = "cosine",
    query_embedder: "Embedder | None" = None,
    module: XCos | None = None,
) -> Decomposition:
    """Explain the xCos of two pictures: the attention's weight of each cell times the cosine there.

    xCos compares each cell with the same cell of the other image, so contributions of all other pairs are exactly
    zero and both overall maps are one. The sum over the pairs is xCos by construction; there are no offsets. It is
    not the similarity that the index ranks by: the result's `kind` is "xCos" and its note gives both numbers. It
    ignores what lies elsewhere on the other image, however alike; it needs aligned images and a head that was trained
    on this trunk. Cost: 1 forward pass of each image, and the small head.

    Args:
        embedder: The gallery's embedder; its trunk gives the feature maps.
        query: (h, w, 3) uint8, the picture as it came; the first image in the published order.
        item: The same of the gallery image; the second image.
        similarity: What the index ranks by, "cosine", "dot" or "l2"; named in the note beside xCos.
        query_embedder: The embedder of the query, where it is another one. Its trunk must be the same.
        module: The xCos head; by default the one named by `use_xcos`, or the shipped one on the birds' trunk. It is
            run in eval mode, in its own precision (after ``.double()`` the result is float64), and left as found.

    Returns:
        A `Decomposition` of kind "xCos".

    Raises:
        ValueError: The grids or channels of the feature maps do not fit each other or the head, the score is not
            finite, or the similarity is unknown.
        TypeError: `module` is no `XCos`.
        LookupError: No head is given, and none is known for this trunk.

    Source:
        Lin et al., xCos, arXiv 2003.05383: the patched cosine map, the attention and their Frobenius product.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=2)
        >>> why = xcos(birds_embedder(), birds[0], birds[1])
        >>> why.kind, why.contributions.shape, why.offsets, why.adds_up
        ('xCos', (12, 12, 12, 12), 0.0, True)
        >>> float(why.contributions[3, 4, 3, 5])
        0.0
    """
    asking = embedder if query_embedder is None else query_embedder
    head = _head(embedder, asking, module)
    return _explained(head, embedder, asking, query, [item], similarity)[0]


def xcos_maps(embedder: "Embedder", query: Any, item: Any, *, module: XCos | None = None) -> XCosMaps:
    """Read the attention and the cosines of two pictures separately.

    Args:
        embedder: As for `xcos`.
        query: (h, w, 3) uint8.
        item: (h, w, 3) uint8.
        module: As for `xcos`.

    Returns:
        `XCosMaps`.

    Raises:
        ValueError: As for `xcos`.
        LookupError: No head is given, and none is known for this trunk.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> bird = dv.birds(families=1, per_class=1)[0]
        >>> maps = xcos_maps(birds_embedder(), bird, bird)
        >>> round(float(maps.weights.sum()), 5), round(float(maps.cosines.min()), 5), round(maps.score, 5)
        (1.0, 1.0, 1.0)
    """
    head = _head(embedder, embedder, module)
    weights, cosines, scores, _, _ = _compared(head, embedder, embedder, query, [item])
    return XCosMaps(weights[0], cosines[0], float(scores[0]))


def xcos_scores(
    embedder: "Embedder",
    module: XCos | None,
    query: Any,
    items: Sequence[Any],
    query_embedder: "Embedder | None" = None,
) -> np.ndarray:
    """XCos of a query with many pictures: what to rank them anew by.

    Args:
        embedder: As for `xcos`.
        module: The head; None for the one that is known for the trunk.
        query: (h, w, 3) uint8.
        items: k pictures, (h, w, 3) uint8 each.
        query_embedder: As for `xcos`.

    Returns:
        (k,) of the head's precision (float32), from −1 to 1, higher is nearer. Cost: 1 + k forward passes.

    Raises:
        ValueError: As for `xcos`.
        LookupError: As for `xcos`.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> scores = xcos_scores(birds_embedder(), None, birds[0], [birds[1], birds[0]])
        >>> int(scores.argmax()), round(float(scores[1]), 5)
        (1, 1.0)
    """
    if len(items) == 0:
        return np.zeros(0, np.float32)
    asking = embedder if query_embedder is None else query_embedder
    return _compared(_head(embedder, asking, module), embedder, asking, query, items)[2]


def explain_ranking_by_xcos(
    gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, *, module: XCos | None = None
) -> list[Decomposition]:
    """`xcos` of a query with several gallery images; the query goes through the network once."""
    chosen = [int(i) for i in ids]
    head = _head(gallery.embedder, gallery.query_embedder, module)
    pictures = [gallery.images[i] for i in chosen]
    whys = _explained(
        head,
        gallery.embedder,
        gallery.query_embedder,
        gallery.query_image(query),
        pictures,
        gallery.similarity,
    )
    return against_index(gallery, query, chosen, whys)


def unsuited(gallery: "Gallery") -> str:
    """Why xCos cannot explain a gallery; "" where it can."""
    ours, theirs = gallery.embedder, gallery.query_embedder
    if ours.map_size != theirs.map_size:
        return (
            f"queries have {theirs.map_size[0]} × {theirs.map_size[1]} cells and gallery images "
            f"{ours.map_size[0]} × {ours.map_size[1]}, and xCos compares each cell with the same cell of the other"
        )
    try:
        _head(ours, theirs, None)
    except LookupError as error:
        return str(error.args[0])
    return ""


def _head(embedder: "Embedder", asking: "Embedder", module: XCos | None) -> XCos:
    """The head that is given, or the one that is known for both trunks."""
    if module is None:
        if asking is not embedder and trunk_sha256(asking.trunk) != trunk_sha256(embedder.trunk):
            raise LookupError(
                f"queries go through another trunk ({asking.name!r}) than gallery images ({embedder.name!r}), and no "
                "xCos head is known for the two; give one as module="
            )
        return xcos_of(embedder)
    if not isinstance(module, XCos):
        raise TypeError(f"module must be a dmlviz.embedder.XCos, got {type(module).__name__}")
    return module


@torch.no_grad()
def _compared(
    head: XCos, embedder: "Embedder", asking: "Embedder", query: Any, items: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Tensor, Tensor]:
    """Weights (k, h, w), cosines (k, h, w) and scores (k,) of a query with k items, and the embeddings of both."""
    query_map = asking.feature_maps([query])
    with evaluating(asking.head):
        query_embedding = asking.head(query_map)
    device, dtype = placement(head)
    found, embeddings = [], []
    with evaluating(head):
        for start in range(0, len(items), _BATCH):
            maps = embedder.feature_maps(items[start : start + _BATCH])
            with evaluating(embedder.head):
                embeddings.append(embedder.head(maps))
            against = query_map.expand(len(maps), *query_map.shape[1:]).to(device, dtype)
            found.append(head.parts(against, maps.to(device, dtype)))
    weights, cosines, scores = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(~np.isfinite(scores))
        raise ValueError(
            f"xCos is NaN or infinite for item {int(bad[0])} (of {len(scores)}); look at the pictures, and at the "
            "network's and the head's weights"
        )
    return weights, cosines, scores, query_embedding, torch.cat(embeddings)


def _explained(
    head: XCos,
    embedder: "Embedder",
    asking: "Embedder",
    query: Any,
    items: Sequence[Any],
    similarity: str,
) -> list[Decomposition]:
    one_of(similarity, "similarity", SIMILARITIES)
    weights, cosines, scores, e_q, e_g = _compared(head, embedder, asking, query, items)
    rivals = _rivals(e_q, e_g, similarity)
    count, h, w = weights.shape
    whys = []
    for k in range(count):
        pairs = np.zeros((h * w, h * w), weights.dtype)
        np.fill_diagonal(pairs, weights[k] * cosines[k])
        score = float(scores[k])
        whys.append(
            Decomposition(
                contributions=pairs.reshape(h, w, h, w),
                query_offset=None,
                gallery_offset=None,
                constant=0.0,
                similarity=score,
                kind="xCos",
                tolerance=min(1e-6, rounding_tolerance(pairs.dtype, score)),
                method="xcos",
                note=(
                    f"explains xCos {score:+.4f}, a learned score, and not the {rivals[k]} of this pair; each "
                    "cell is compared with the same cell of the other image only"
                ),
                query_geometry=asking.geometry,
                gallery_geometry=embedder.geometry,
            )
        )
    return whys


def _rivals(e_q: Tensor, e_g: Tensor, similarity: str) -> list[str]:
    """The similarity that the index ranks by, in words, for each item."""
    query, items = e_q.double().cpu().numpy()[0], e_g.double().cpu().numpy()
    products = items @ query
    if similarity == "dot":
        return [f"dot product {value:+.4f}" for value in products]
    if similarity == "l2":
        return [f"minus squared distance {-np.square(item - query).sum():+.4f}" for item in items]
    lengths = np.linalg.norm(items, axis=1) * np.linalg.norm(query)
    return [
        f"cosine {product / length:+.4f}" if length > 0 else "cosine (undefined)"
        for product, length in zip(products, lengths, strict=True)
    ]


OFFERED = (
    Method(
        name="xcos",
        title="xCos",
        says="Each cell against the same cell of the other image: a learned weight times a cosine. The products add "
        "up to xCos, a score of its own, not to the one that ranked. Made for aligned images.",
        cost="1 forward pass of each image, and a small learned head",
        of_ranking=explain_ranking_by_xcos,
        unsuited=unsuited,
        supplied_by=("module",),
        pairwise=True,
        linear=False,
    ),
)
