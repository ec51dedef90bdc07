"""What becomes of the offsets of an exact decomposition: shown by themselves, spread over the cells, or dropped."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from dmlviz.explanation.decomposition import Decomposition
from dmlviz.explanation.options import one_of

Offsets = Literal["separate", "spread", "drop"]
OFFSETS: tuple[str, ...] = get_args(Offsets)


def with_offsets(why: Decomposition, offsets: Offsets = "separate") -> Decomposition:
    """Show the offsets of a decomposition in another way.

    With n_q and n_g cells, S = Σᵢⱼ Dᵢⱼ + Σᵢ rᵢ + Σⱼ cⱼ + k:

    - "separate": as it is. Pairs and offsets apart; exact.
    - "spread": each cell takes its part of its image's offset, xᵢ + b/n, so that
      D′ᵢⱼ = Dᵢⱼ + rᵢ/n_g + cⱼ/n_q + k/(n_q·n_g) and Σᵢⱼ D′ᵢⱼ = S. One tensor, exact; but what belongs to no cell
      now lies over all of them as an even plate.
    - "drop": Dᵢⱼ alone, as in the code of Zhu, Yang and Chen (Visual Explanation for Deep Metric Learning, TIP
      2021). The parts miss the score by −(Σrᵢ + Σcⱼ + k), which is the result's `residual`.

    The local embeddings that `likeness_map` compares stay as they are in every mode.

    Args:
        why: A decomposition with pairs of cells, offsets separate.
        offsets: "separate", "spread" or "drop".

    Returns:
        A `Decomposition`; under "spread" and "drop" its `query_offset` and `gallery_offset` are None and its
        `constant` is 0. Under "drop" it makes no promise to add up, and its note says what is left out.

    Raises:
        ValueError: If the mode is unknown, or the decomposition has no pairs.

    Examples:
        >>> import numpy as np
        >>> from dmlviz import LocalEmbeddings, decompose_similarity
        >>> query = LocalEmbeddings(np.array([[[1.0], [2.0]]]), np.array([1.0]))      # e = 1 + 2 + 1 = 4
        >>> gallery = LocalEmbeddings(np.array([[[3.0]]]), np.array([-1.0]))          # e = 3 − 1 = 2
        >>> why = decompose_similarity(query, gallery, similarity="dot")
        >>> spread = with_offsets(why, "spread")
        >>> spread.contributions[0, :, 0, 0].tolist(), spread.offsets, spread.residual
        ([3.0, 5.0], 0.0, 0.0)
        >>> dropped = with_offsets(why, "drop")
        >>> dropped.total, dropped.similarity, dropped.residual
        (9.0, 8.0, 1.0)
    """
    one_of(offsets, "offsets", OFFSETS)
    if why.contributions is None:
        raise ValueError(
            f"the offsets of a decomposition with pairs can be {offsets}; the method {why.method!r} has no pairs. "
            "Use method='decomposition'"
        )
    if offsets == "separate":
        return why
    if offsets == "drop":
        return replace(
            why,
            query_offset=None,
            gallery_offset=None,
            constant=0.0,
            promises=False,
            note=_joined(why.note, f"the offsets are dropped: {why.offsets:+.4g} of the score is in no map"),
        )
    hq, wq, hg, wg = why.contributions.shape
    n_q, n_g = hq * wq, hg * wg
    plate = why.constant / (n_q * n_g)
    spread = why.contributions.astype(np.float64) + plate
    if why.query_offset is not None:
        spread += why.query_offset[:, :, None, None] / n_g
    if why.gallery_offset is not None:
        spread += why.gallery_offset[None, None] / n_q
    return replace(
        why,
        contributions=spread.astype(why.contributions.dtype),
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        note=_joined(
            why.note,
            f"the offsets, {why.offsets:+.4g}, are spread evenly over the cells: the maps hold a plate that belongs "
            "to no place",
        ),
    )


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
