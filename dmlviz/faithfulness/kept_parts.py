"""What an explanation predicts for a pair of which only some cells are kept: the sum of the parts that are left."""

import numpy as np

from dmlviz.explanation import SIDES, Decomposition


def kept_parts(
    why: Decomposition, of_query: np.ndarray | None = None, of_gallery: np.ndarray | None = None
) -> np.ndarray:
    """Sum up the parts that are left when only some cells are kept.

    With A the query's kept cells and B the gallery image's,

        predicted(A, B) = Σ_{i∈A, j∈B} Dᵢⱼ + Σ_{i∈A} rᵢ + Σ_{j∈B} cⱼ + k.

    With one image whole this is that sum of the other's overall map, plus `unmapped`. A method without pairs predicts
    Σ_{i∈A} mapᵢ. Where cells of both images are taken away it knows nothing of their interplay: Σ_{i∈A} mapᵢ +
    Σ_{j∈B} mapⱼ is what is left. Its two maps stand for the similarity each by itself and need have no common scale,
    so each is divided by the sum of its absolute values there; unless both add up to one score together (squared L2
    first order, L1 split), then they are in one unit already.

    Args:
        why: The explanation.
        of_query: (N, hq, wq) bool, True for cells that are kept; None: the query is whole.
        of_gallery: (N, hg, wg) bool, the same of the gallery image. One of both at least is given.

    Returns:
        (N,) float64, in units of the explained similarity (of no unit for two maps brought to one scale).

    Raises:
        ValueError: If the method has no map of a side of which cells are taken away, or no mask is given.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings, decompose_similarity
        >>> query = LocalEmbeddings(np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.zeros(2))
        >>> gallery = LocalEmbeddings(np.array([[[3.0, 1.0]]]), np.zeros(2))
        >>> why = decompose_similarity(query, gallery, similarity="dot")          # 3 + 2
        >>> kept_parts(why, np.array([[[True, False]], [[False, True]]])).tolist()
        [3.0, 2.0]
    """
    masks = {
        side: keep.reshape(len(keep), -1).astype(np.float64)
        for side, keep in zip(SIDES, (of_query, of_gallery), strict=True)
        if keep is not None
    }
    if not masks:
        raise ValueError("kept_parts needs the kept cells of one image at least; got none")
    if len(masks) == 1:
        ((side, keep),) = masks.items()
        flat = why.overall_map(side).astype(np.float64).ravel()  # type: ignore[arg-type]
        return np.asarray(keep @ flat + why.unmapped(side))  # type: ignore[arg-type]
    pairs, query, gallery, rest = pair_form(why)
    a, b = masks["query"], masks["gallery"]
    of_pairs = 0.0 if pairs is None else np.einsum("ni,ij,nj->n", a, pairs, b, optimize=True)
    return np.asarray(of_pairs + a @ query + b @ gallery + rest)


def pair_form(why: Decomposition) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, float]:
    """An explanation as D (nq, ng) or None, r (nq,), c (ng,) and k, float64; see `kept_parts` for single maps."""
    if why.contributions is not None:
        h, w = why.grid("query")
        pairs = why.contributions.reshape(h * w, -1).astype(np.float64)
        offsets = [
            np.zeros(n) if offset is None else offset.astype(np.float64).ravel()
            for offset, n in zip((why.query_offset, why.gallery_offset), pairs.shape, strict=True)
        ]
        return pairs, offsets[0], offsets[1], why.constant
    query, gallery = (why.overall_map(side).astype(np.float64).ravel() for side in SIDES)  # type: ignore[arg-type]
    return None, _scaled(query, why), _scaled(gallery, why), why.constant


def adds_over_both(why: Decomposition) -> bool:
    """Whether what is left of both images has a predicted similarity, in its own unit."""
    return why.contributions is not None or (why.query_map is None and why.gallery_map is None)


def _scaled(values: np.ndarray, why: Decomposition) -> np.ndarray:
    total = float(np.abs(values).sum())
    return values if adds_over_both(why) or total == 0 else values / total
