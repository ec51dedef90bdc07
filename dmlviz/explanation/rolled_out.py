"""Attention rollout that keeps the sum: from the tokens of a late layer back to the patches of the image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import Embedder, LocalEmbeddings
from dmlviz.embedder.attention import attentions_of, reads_attention
from dmlviz.explanation.decomposition import Decomposition, Similarity, decompose_similarity
from dmlviz.explanation.integrated_jacobians import Precision, integrated_jacobian
from dmlviz.explanation.last_maps import needs_a_network
from dmlviz.explanation.method import Method, pair_by_pair

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_ROWS = 1e-4  # how far the sum of a row may lie from 1


def rollout(attentions: Sequence[np.ndarray]) -> np.ndarray:
    """Attention rollout: how much each token of the last layer took from each token of the first.

    R = Ā_L ⋯ Ā_1 with Ā = (A + I)/2, A the mean over the heads, rows brought to the sum 1 (Abnar and Zuidema,
    Quantifying Attention Flow in Transformers, 2020, §3). A heuristic: it sees neither values nor MLPs.

    Args:
        attentions: (heads, L, L) per layer, the first layer first, not negative.

    Returns:
        (L, L) float64; rows sum to 1.

    Raises:
        ValueError: If there are none, shapes differ, or a value is negative or not finite.

    Examples:
        >>> rollout([np.array([[[0.0, 1.0], [0.0, 1.0]]])]).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    if len(attentions) == 0:
        raise ValueError("expected the attention of at least one layer, got none")
    arrays = [np.asarray(one, dtype=np.float64) for one in attentions]
    size = arrays[0].shape[-1] if arrays[0].ndim == 3 else -1
    rolled = np.eye(max(size, 0))
    for number, one in enumerate(arrays):
        if one.ndim != 3 or one.shape[1:] != (size, size) or one.shape[0] == 0:
            raise ValueError(
                f"attention must have shape (heads, L, L), the same L in all layers; layer {number} has {one.shape}"
            )
        if not np.isfinite(one).all() or one.min() < 0:
            raise ValueError(f"the attention of layer {number} holds negative or not finite values")
        mixed = one.mean(0) + np.eye(size)
        rolled = (mixed / mixed.sum(1, keepdims=True)) @ rolled
    return rolled


def roll_out(why: Decomposition, query_rollout: np.ndarray, gallery_rollout: np.ndarray) -> Decomposition:
    """Carry the contributions of late tokens back to the patches they took from: D' = R_qᵀ D R_g.

    Rows of R sum to 1, so that ΣD' = ΣD: the transposed first factor hands each cell's share out; R D R_gᵀ would
    weigh shares instead and lose the sum (Black et al., Visualizing Paired Image Similarity in Transformer
    Networks, 2022, multiply so). What flows to tokens without a patch goes to the offsets of that side.

    Args:
        why: A decomposition with pairs.
        query_rollout: (L, L) with L >= n the query's tokens, the last n of them its cells in row order; or (n, n).
            Rows sum to 1, as `rollout` gives it.
        gallery_rollout: The same of the gallery image.

    Returns:
        A `Decomposition` with the same `total`; its point and overall maps lie on the patches.

    Raises:
        ValueError: If there are no pairs, shapes do not fit or rows do not sum to 1.

    Examples:
        >>> query = LocalEmbeddings(np.array([[[1.0], [2.0]]]), np.zeros(1))
        >>> gallery = LocalEmbeddings(np.array([[[3.0]]]), np.zeros(1))
        >>> why = decompose_similarity(query, gallery, "dot")
        >>> roll_out(why, np.array([[0.0, 1.0], [0.5, 0.5]]), np.eye(1)).contributions[0, :, 0, 0].tolist()
        [3.0, 6.0]
    """
    if why.contributions is None or why.query_offset is None or why.gallery_offset is None:
        raise ValueError(
            f"the method {why.method!r} has no pairs of cells with offsets to roll out; use 'decomposition'"
        )
    hq, wq, hg, wg = why.contributions.shape
    of_query = _cell_rows(query_rollout, hq * wq, "query_rollout")
    of_gallery = _cell_rows(gallery_rollout, hg * wg, "gallery_rollout")
    full = of_query.T @ why.contributions.reshape(hq * wq, hg * wg).astype(np.float64) @ of_gallery
    own = of_query.T @ why.query_offset.reshape(-1).astype(np.float64)
    other = of_gallery.T @ why.gallery_offset.reshape(-1).astype(np.float64)
    p, q = len(own) - hq * wq, len(other) - hg * wg
    dtype = why.contributions.dtype
    return replace(
        why,
        contributions=full[p:, q:].reshape(hq, wq, hg, wg).astype(dtype),
        query_offset=(own[p:] + full[p:, :q].sum(1)).reshape(hq, wq).astype(dtype),
        gallery_offset=(other[q:] + full[:p, q:].sum(0)).reshape(hg, wg).astype(dtype),
        constant=why.constant + float(own[:p].sum() + other[:q].sum() + full[:p, :q].sum()),
        query_local=_rolled(why.query_local, of_query),
        gallery_local=_rolled(why.gallery_local, of_gallery),
    )


def attention_rollout(
    embedder: Embedder,
    query: np.ndarray,
    item: np.ndarray,
    *,
    similarity: Similarity = "cosine",
    query_embedder: Embedder | None = None,
    nodes: int = 8,
    reference: Any = None,
    dtype: Precision = "float32",
) -> Decomposition:
    """The decomposition of a transformer's similarity, carried back to the patches by attention rollout.

    The base is the exact decomposition where the embedder is exact, else `integrated_jacobian` at the tokens before
    the last attention. It is rolled out over the attentions before those tokens (see `roll_out`).

    What it sums to: what its base sums to, the similarity. What it ignores: how values and MLPs move content
    between tokens; where the shares land is a heuristic.
    Cost: that of its base, and one forward pass more of each image.

    Args:
        embedder: The embedder of gallery images, a transformer.
        query: (h, w, 3) uint8, the picture as it came.
        item: The same of the gallery image.
        similarity: "cosine", "dot" or "l2".
        query_embedder: The embedder of queries, where it is another.
        nodes: As for `integrated_jacobian`; without effect where the embedder is exact.
        reference: The same.
        dtype: "float64" computes the base in double precision; attention weights are those of the network as it is.

    Returns:
        A `Decomposition` with pairs over the patches, signed, in units of the similarity.

    Raises:
        ValueError: An unknown option, or a network whose attention cannot be read.
    """
    asking = embedder if query_embedder is None else query_embedder
    rolled = [rollout(attentions_of(of, one)) for of, one in ((asking, query), (embedder, item))]
    if asking.exact and embedder.exact:
        parts = [of.local_embeddings(one, dtype=dtype) for of, one in ((asking, query), (embedder, item))]
        base = decompose_similarity(parts[0], parts[1], similarity)
        base = replace(base, note="; ".join(dict.fromkeys(filter(None, (asking.note, embedder.note)))))
    else:
        base = integrated_jacobian(
            embedder,
            query,
            item,
            similarity=similarity,
            query_embedder=query_embedder,
            nodes=nodes,
            reference=reference,
            dtype=dtype,
        )
    note = "shares are carried to the patches by attention rollout, a heuristic that keeps their sum"
    found = roll_out(base, rolled[0], rolled[1])
    return replace(found, method="attention-rollout", note="; ".join(filter(None, (note, base.note))))


def _cell_rows(rolled: np.ndarray, cells: int, name: str) -> np.ndarray:
    """The rows of a rollout that belong to cells, (n, L) float64."""
    array = np.asarray(rolled, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < cells:
        raise ValueError(f"{name} must be (L, L) with L >= {cells} cells, got {array.shape}")
    rows = array[len(array) - cells :]
    if not np.isfinite(rows).all() or np.abs(rows.sum(1) - 1).max() > _ROWS:
        raise ValueError(f"the rows of {name} must sum to 1, as those of rollout(...) do")
    return rows


def _rolled(local: LocalEmbeddings | None, rows: np.ndarray) -> LocalEmbeddings | None:
    if local is None:
        return None
    vectors = rows.T @ local.vectors.reshape(len(rows), -1).astype(np.float64)
    prefix = rows.shape[1] - len(rows)
    dtype = local.vectors.dtype
    offset = local.offset + vectors[:prefix].sum(0)
    return LocalEmbeddings(
        vectors[prefix:].reshape(local.vectors.shape).astype(dtype), offset.astype(dtype), local.note
    )


def _unsuited(gallery: "Gallery") -> str:
    if reason := needs_a_network(gallery):
        return reason
    for side in ("query_embedder", "embedder"):
        network = getattr(gallery, side)
        if not reads_attention(network):
            return f"it reads the attention of a transformer, and {network.name!r} is none"
    return ""


OFFERED = (
    Method(
        name="attention-rollout",
        title="attention rollout",
        says="The shares of a transformer's late tokens, carried back to the patches they attended to. The sum is "
        "kept; where the shares land is a heuristic that sees neither values nor MLPs.",
        cost="that of the decomposition (or of integrated Jacobians) and 1 forward pass more of each image",
        of_ranking=pair_by_pair(attention_rollout),
        unsuited=_unsuited,
        pairwise=True,
        linear=True,
    ),
)
