"""The Hamming distance of sign codes: exact bit by bit, with a stated surrogate for where a bit comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import Embedder, LocalEmbeddings
from dmlviz.explanation.decomposition import Decomposition, rounding_tolerance
from dmlviz.explanation.method import Method, against_index, suits_all
from dmlviz.explanation.options import comparable

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

SURROGATE = (
    "signs are no sums over cells: the cells share each bit as they share the value before the sign, its size "
    "held fixed"
)


@dataclass(frozen=True, eq=False)
class HammingBits:
    """What each bit does in a comparison of two sign codes.

    Attributes:
        query: (D,) bool, the query's code: bit k is set where component k of its embedding is above zero.
        gallery: (D,) bool, the gallery image's.
        query_margin: (D,) ≥ 0, how far each component is from changing its bit: its magnitude.
        gallery_margin: (D,) ≥ 0, the same of the gallery image.
    """

    query: np.ndarray
    gallery: np.ndarray
    query_margin: np.ndarray
    gallery_margin: np.ndarray

    @property
    def differs(self) -> np.ndarray:
        """(D,) bool, the bits that make the distance."""
        return np.asarray(self.query != self.gallery)

    @property
    def distance(self) -> int:
        """The Hamming distance, 0 to D."""
        return int(self.differs.sum())


def hamming_bits(query: LocalEmbeddings, gallery: LocalEmbeddings) -> HammingBits:
    """Compare the sign codes of two images bit by bit; exact.

    Raises:
        ValueError: If the dimensions differ, or a value is NaN or infinite.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings
        >>> query = LocalEmbeddings(np.array([[[2.0, -1.0, 0.5]]]), np.zeros(3))
        >>> gallery = LocalEmbeddings(np.array([[[1.0, 3.0, 0.0]]]), np.zeros(3))
        >>> bits = hamming_bits(query, gallery)
        >>> bits.distance, bits.differs.tolist()
        (2, [False, True, True])
    """
    comparable(query, gallery)
    e_q, e_g = _embedding(query), _embedding(gallery)
    return HammingBits(e_q > 0, e_g > 0, np.abs(e_q), np.abs(e_g))


def decompose_hamming(query: LocalEmbeddings, gallery: LocalEmbeddings) -> Decomposition:
    """Spread the Hamming distance of two sign codes over pairs of cells, by a surrogate.

    With z = Σᵢ xᵢ + b before the sign and h_k = +1 where z_k > 0, else −1, the distance is d = (D − ⟨h_q, h_g⟩)/2,
    exact for every bit. A sign is no sum over cells. The surrogate holds the size of each component fixed,
    h_k = z_k/|z_k| = Σᵢ x_ik/|z_k| + b_k/|z_k|, so that a cell's share of a bit is its share of the component. The
    parts add up to −d, but covering a cell need not change the distance by its part: a bit far from zero does not
    flip, and one near zero has large shares of both signs. A component of exactly zero has no shares: its bit is
    in the offset.

    Args:
        query: The query's local embeddings.
        gallery: The gallery image's; its grid may differ, its dimension may not.

    Returns:
        A `Decomposition` of kind "Hamming" whose similarity is −d, in bits; `promises` is False and the note
        names the surrogate.

    Raises:
        ValueError: If the dimensions differ, or a value is NaN or infinite.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings
        >>> query = LocalEmbeddings(np.array([[[3.0, 1.0], [-1.0, 1.0]]]), np.zeros(2))   # z = (2, 2)
        >>> gallery = LocalEmbeddings(np.array([[[4.0, -2.0]]]), np.zeros(2))             # one bit differs
        >>> why = decompose_hamming(query, gallery)
        >>> why.similarity, why.contributions[0, :, 0, 0].tolist(), why.constant
        (-1.0, [0.5, -0.5], -1.0)
    """
    dimension = comparable(query, gallery)
    dtype = np.result_type(query.vectors, gallery.vectors)
    (xq, bq), (xg, bg) = _shares(query), _shares(gallery)
    distance = hamming_bits(query, gallery).distance
    size = max(float(np.abs(xq).max(initial=0)) * float(np.abs(xg).max(initial=0)), 1.0)
    return Decomposition(
        contributions=(0.5 * (xq @ xg.T)).reshape(*query.grid, *gallery.grid).astype(dtype),
        query_offset=(0.5 * (xq @ bg)).reshape(query.grid).astype(dtype),
        gallery_offset=(0.5 * (xg @ bq)).reshape(gallery.grid).astype(dtype),
        constant=0.5 * (float(bq @ bg) - dimension),
        similarity=0.0 - float(distance),
        kind="Hamming",
        tolerance=rounding_tolerance(dtype, size * dimension),
        method="hamming",
        note=SURROGATE,
        promises=False,
    )


def hamming(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: str = "cosine",
    query_embedder: Embedder | None = None,
) -> Decomposition:
    """The Hamming distance of two pictures' sign codes over pairs of cells; see `decompose_hamming`.

    Its sum is −d; where a bit comes from is a surrogate. Cost: one forward pass of each image.

    Args:
        embedder: The embedder of gallery images.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: Not used: the signs of an embedding are those of its direction.
        query_embedder: The embedder of queries, where it is another.

    Returns:
        A `Decomposition` of kind "Hamming", as `decompose_hamming` gives it.

    Raises:
        HeadError: A head that is not a sum over cells at one of the images.
    """
    asked = (query_embedder or embedder).local_embeddings([query])[0]
    return decompose_hamming(asked, embedder.local_embeddings([item])[0])


def _embedding(local: LocalEmbeddings) -> np.ndarray:
    """The embedding in float64, summed as the shares are."""
    vectors = local.vectors.reshape(-1, local.offset.shape[0]).astype(np.float64)
    return np.asarray(vectors.sum(0) + local.offset.astype(np.float64))


def _shares(local: LocalEmbeddings) -> tuple[np.ndarray, np.ndarray]:
    """(cells, D) and (D,): each component's shares over its magnitude, and what is left of the bit."""
    vectors = local.vectors.reshape(-1, local.offset.shape[0]).astype(np.float64)
    z = _embedding(local)
    size = np.abs(z)
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    offset = np.where(size > 0, local.offset.astype(np.float64) * inverse, -1.0)
    return vectors * inverse, offset


def _of_ranking(gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray) -> list[Decomposition]:
    chosen = [int(i) for i in ids]
    asked = gallery.query_local(query)
    whys = [decompose_hamming(asked, local) for local in gallery.local_embeddings_of(chosen)]
    return [replace(why, method="hamming") for why in against_index(gallery, query, chosen, whys)]


OFFERED = (
    Method(
        name="hamming",
        title="Hamming",
        says="Minus the Hamming distance of the embeddings' signs, exact for every bit. Over the cells it is a "
        "surrogate: each cell's share of the value before the sign.",
        cost="1 forward pass of each image, none once they are remembered",
        of_ranking=_of_ranking,
        unsuited=suits_all,
        pairwise=True,
    ),
)
