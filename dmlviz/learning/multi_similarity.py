"""The multi-similarity loss."""

from __future__ import annotations

import torch
from torch import Tensor


def multi_similarity_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float = 0.1,
) -> Tensor:
    """Pull together what is alike and push apart what is not, the hardest pairs most.

    Args:
        embeddings: (N, D) float, not normalised; similarities are cosines.
        labels: (N,) integers; two items of one label are a positive pair.
        alpha: Sharpness on positive pairs, > 0.
        beta: Sharpness on negative pairs, > 0.
        base: The similarity λ that divides near from far.
        epsilon: Margin of the pair mining.

    Returns:
        The loss, a scalar ≥ 0: the mean over anchors i of
        1/α · log(1 + Σ_{k∈P_i} e^{−α(S_ik − λ)}) + 1/β · log(1 + Σ_{k∈N_i} e^{β(S_ik − λ)}),
        where a negative k is kept in N_i if S_ik + ε > min over i's positives of S, and a positive k in P_i if
        S_ik − ε < max over i's negatives of S. The mining itself carries no gradient.

    Raises:
        ValueError: The shapes do not belong together.

    Source:
        X. Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019,
        equations 10 to 12.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            "The multi-similarity loss needs embeddings (N, D) and one label for each of the N; "
            f"got embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)}."
        )
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    similarity = unit @ unit.T
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    negative = ~same
    with torch.no_grad():
        infinity = torch.tensor(float("inf"), dtype=similarity.dtype, device=similarity.device)
        worst_positive = torch.where(positive, similarity, infinity).amin(1, keepdim=True)
        worst_negative = torch.where(negative, similarity, -infinity).amax(1, keepdim=True)
        kept_positive = positive & (similarity - epsilon < worst_negative)
        kept_negative = negative & (similarity + epsilon > worst_positive)
    pull = _log_one_plus_sum(-alpha * (similarity - base), kept_positive) / alpha
    push = _log_one_plus_sum(beta * (similarity - base), kept_negative) / beta
    return (pull + push).mean()


def _log_one_plus_sum(exponents: Tensor, kept: Tensor) -> Tensor:
    """Row by row log(1 + Σ e^x) over the kept entries, without overflow."""
    masked = exponents.masked_fill(~kept, float("-inf"))
    one = exponents.new_zeros((len(exponents), 1))
    return torch.logsumexp(torch.cat([one, masked], dim=1), dim=1)
