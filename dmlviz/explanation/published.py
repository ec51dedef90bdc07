"""The decomposition as the authors' code computes it, so that the difference to the exact one can be seen."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder import Embedder, LinearHead
from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.last_maps import LastMap, embedding_of, map_by_map, needs_a_network, two_maps
from dmlviz.explanation.method import Method
from dmlviz.explanation.options import one_of, same_space

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_KNOWN = ("avg", "max", "flatten")
_PRODUCTS = ("cosine", "dot")


def published_decomposition(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
) -> Decomposition:
    """The decomposition by the arithmetic of the published code (Zhu, Yang and Chen, TIP 2021; their `Overall_map`).

    It differs from `method="decomposition"` in four points, kept here as they are published:

    1. All offsets are dropped: the linear map's bias, and the batch normalisation's shift.
    2. Under maximum pooling every cell that ties for a channel's maximum counts in full.
    3. The pairs are divided by the largest of them, so that the score and its unit are gone.
    4. Negative pairs are clipped to 0 before anything is summed.

    Besides, batch normalisation divides by √variance, without its eps. (Where `Embedder.from_module` has folded
    the batch normalisation into one linear map, its eps is inside and stays.)

    What the sum means: nothing; it counts pairs in units of the largest one. `overall_map` sums the clipped
    pairs, as the published overall map does before its last division by its own maximum. Where no pair is
    positive, the published code divides by a negative number, which turns all signs, or by 0, which gives NaN;
    here the result is 0 everywhere, and the note says so. Cost: one forward pass of each image.

    Args:
        embedder: The embedder of gallery images; its head pools by "avg", "max" or "flatten", the three that the
            published code knows.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: "cosine" or "dot": what `similarity` and `residual` refer to; the pairs are the same.
        query_embedder: The embedder of queries, where it is another.

    Returns:
        A `Decomposition` with `contributions` (hq, wq, hg, wg) from 0 to 1, without offsets. It makes no promise
        to add up, and `residual` says how far it is from doing so.

    Raises:
        ValueError: Another pooling, an unknown similarity, embeddings of different spaces, a feature map that is
            not finite, or a batch normalisation with a variance of 0 (the published code divides by it).

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> birds = dv.birds(families=1, per_class=1)
        >>> why = published_decomposition(birds_embedder(), birds[0], birds[1])
        >>> float(why.contributions.min()), float(why.contributions.max()), why.adds_up
        (0.0, 1.0, False)
    """
    asked, found = two_maps(embedder, query, item, query_embedder)
    return _of_maps(asked, found, similarity=similarity)


def published_pairs(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, str]:
    """The published arithmetic on vectors of cells: products, divided by the largest, negative ones clipped.

    Args:
        query: (hq, wq, D) float, the query's vector at each cell.
        gallery: (hg, wg, D), the gallery image's.

    Returns:
        (hq, wq, hg, wg) of the same dtype, from 0 to 1, and what must be known of it ("" if nothing). All 0 where
        no product is positive.

    Examples:
        >>> import numpy as np
        >>> pairs, note = published_pairs(np.array([[[4.0], [-1.0]]]), np.array([[[1.0], [0.5]]]))
        >>> pairs[0, :, 0].tolist(), note
        ([[1.0, 0.5], [0.0, 0.0]], '')
    """
    products = np.einsum("abd,xyd->abxy", query, gallery, optimize=True)
    largest = float(products.max())
    if largest > 0:
        return np.maximum(products / products.max(), 0), ""
    if largest < 0:
        worst = float(products.min()) / largest
        return np.zeros_like(products), (
            "no pair is positive: the published code would turn all signs and draw the strongest dissimilarity "
            f"hottest, up to {worst:.3g}; here all are 0"
        )
    return np.zeros_like(products), (
        "no pair is positive and the largest is 0: the published code would divide by 0; here all are 0"
    )


def _of_maps(query: LastMap, item: LastMap, *, similarity: str = "cosine") -> Decomposition:
    one_of(similarity, "similarity", _PRODUCTS, "the published decomposition, which takes products apart")
    for image in (query, item):
        if reason := _unknown(image.embedder):
            raise ValueError(f"the published decomposition cannot be computed: {reason}")
    of_query, of_item = _cell_vectors(query), _cell_vectors(item)
    same_space(of_query.shape[2], of_item.shape[2])
    pairs, degenerate = published_pairs(of_query, of_item)
    score = _score(query, item, similarity)
    undefined = "" if np.isfinite(score) else "an embedding has no length, so its cosine is undefined"
    plain = "published arithmetic: pairs in units of the largest one, negative ones clipped, offsets dropped"
    return Decomposition(
        contributions=pairs,
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        similarity=score,
        kind=similarity,
        tolerance=rounding_tolerance(pairs.dtype, score),
        method="published-decomposition",
        note="; ".join(filter(None, (plain, degenerate, undefined))),
        promises=False,
    )


def _unknown(embedder: Embedder) -> str:
    head = embedder.head
    if not isinstance(head, LinearHead) and isinstance(embedder.unmapped.head, LinearHead):
        return "embeddings are brought to length 1 before a linear map, which the published code lacks"
    if not isinstance(head, LinearHead):
        return (
            "the head has no closed form (it is taken apart by its Jacobian), which the published code lacks"
        )
    if head.pooling not in _KNOWN:
        return (
            f"the published code knows the poolings {', '.join(_KNOWN)}; this head pools by {head.pooling!r}"
        )
    return ""


@torch.no_grad()
def _cell_vectors(image: LastMap) -> np.ndarray:
    """(h, w, D): each cell's activations through the head's weights alone, as published."""
    head, a = image.embedder.head, image.feature_map
    assert isinstance(head, LinearHead)  # noqa: S101 (the caller has looked)
    c, h, w = a.shape
    if head.pooling == "max":
        a = a * (a == a.amax((1, 2), keepdim=True))
    linear: Tensor | None = None if head.linear is None else head.linear.weight.to(a)
    if head.pooling != "flatten":
        cells = a.permute(1, 2, 0)
        vectors = cells if linear is None else cells @ linear.T
    elif linear is not None:
        vectors = torch.einsum("chw,dchw->hwd", a, linear.reshape(-1, c, h, w))
    else:
        own = torch.eye(h * w, dtype=a.dtype, device=a.device).reshape(h, w, 1, h, w)
        vectors = (own * a).reshape(h, w, c * h * w)
    if head.batch_norm is not None:
        vectors = vectors * _published_scale(head, a)
    return vectors.cpu().numpy()


def _published_scale(head: LinearHead, like: Tensor) -> Tensor:
    """γ/√variance, (D,): the batch normalisation without its eps and its shift."""
    norm = head.batch_norm
    assert norm is not None  # noqa: S101
    assert norm.running_var is not None  # noqa: S101 (LinearHead has looked)
    variance = norm.running_var.to(like)
    if bool((variance <= 0).any()):
        raise ValueError(
            "the batch normalisation has a running variance of 0, and the published code, which leaves out its eps, "
            "divides by it; use method='decomposition'"
        )
    scale = variance.rsqrt()
    return scale if norm.weight is None else scale * norm.weight.to(like)


def _score(query: LastMap, item: LastMap, similarity: str) -> float:
    e_q, e_g = embedding_of(query), embedding_of(item)
    if similarity == "dot":
        return float(e_q @ e_g)
    lengths = float(np.linalg.norm(e_q)) * float(np.linalg.norm(e_g))
    return float(e_q @ e_g) / lengths if lengths > 0 else float("nan")


def _unsuited(gallery: "Gallery") -> str:
    if gallery.similarity not in _PRODUCTS:
        return (
            "the published code takes products apart, and the gallery ranks by minus the squared distance; "
            "method='decomposition' takes that apart exactly"
        )
    return needs_a_network(gallery) or _unknown(gallery.embedder) or _unknown(gallery.query_embedder)


OFFERED = (
    Method(
        name="published-decomposition",
        title="decomposition as published",
        says="The arithmetic of the published code: offsets dropped, ties counted in full, divided by the largest "
        "pair, negative pairs clipped before summing. It cannot be held against the score.",
        cost="1 forward pass of each image",
        of_ranking=map_by_map(_of_maps),
        unsuited=_unsuited,
        pairwise=True,
    ),
)
