"""The in-batch softmax loss: among all items of a batch, each query is to find its own."""

import torch
from torch import Tensor


def in_batch_softmax_loss(queries: Tensor, items: Tensor, temperature: float = 0.03) -> Tensor:
    """Tell the item that belongs to each query from all others of the batch, and the other way round.

    Args:
        queries: (N, D) float, not normalised; similarities are cosines.
        items: (N, D) float; item i belongs to query i, all others do not.
        temperature: What similarities are divided by, > 0; the smaller, the more the hardest others count.

    Returns:
        The loss, a scalar ≥ 0: with S the cosines over the temperature,
        −1/(2N) · Σᵢ (log e^{S_ii}/Σⱼ e^{S_ij} + log e^{S_ii}/Σⱼ e^{S_ji}).

    Raises:
        ValueError: The shapes do not belong together, or the temperature is not positive.

    Source:
        A. van den Oord, Y. Li, O. Vinyals, Representation Learning with Contrastive Predictive Coding, 2018,
        equation 4, taken in both directions as in A. Radford et al., Learning Transferable Visual Models From Natural
        Language Supervision, ICML 2021, figure 3.

    Examples:
        >>> axes = torch.eye(2)
        >>> float(in_batch_softmax_loss(axes, axes, temperature=1.0))  # log(1 + 1/e)
        0.31326...
    """
    if queries.ndim != 2 or queries.shape != items.shape:
        raise ValueError(
            "The in-batch softmax needs one item for each query, both (N, D); "
            f"got queries {tuple(queries.shape)} and items {tuple(items.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"The temperature must be > 0; got {temperature}.")
    normalize, cross_entropy = torch.nn.functional.normalize, torch.nn.functional.cross_entropy
    logits = normalize(queries, dim=1) @ normalize(items, dim=1).T / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
