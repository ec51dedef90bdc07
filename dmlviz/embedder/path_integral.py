"""Integrals of Jacobians along a straight path, by Gauss–Legendre nodes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.jacobian import contracted

Function = Callable[[Tensor], Tensor]


def gauss_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights on 0 ... 1, (nodes,) float64 each: exact for polynomials up to degree 2·nodes − 1.

    Raises:
        ValueError: If there is no node.

    Examples:
        >>> places, weights = gauss_legendre(2)
        >>> round(float(weights @ places**3), 12)
        0.25
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int | np.integer) or nodes < 1:
        raise ValueError(f"nodes must be a whole number >= 1, got {nodes!r}")
    places, weights = np.polynomial.legendre.leggauss(int(nodes))
    return (places + 1) / 2, weights / 2


def integrated_products(
    function: Function, values: Tensor, reference: Tensor, positions: Tensor, nodes: int = 8, chunk: int = 32
) -> Tensor:
    """∫₀¹ J(r + t·δ) δᵢ dt for each position i, δ = values − reference, δᵢ its part at position i.

    The integrated Jacobians of Möller, Nikolaev and Padó (An Attribution Method for Siamese Encoders, 2023,
    eq. 7), contracted with δ position by position, and by Gauss–Legendre nodes. One forward-mode pass per
    position and node, or one reverse-mode pass per dimension and node, whichever is fewer; no tensor of pairs of
    features is ever made.

    Args:
        function: From values to (D,); differentiable.
        values: Activations of one image, any shape, float.
        reference: The same shape; where the path starts.
        positions: int64, broadcasts to `values`: which position (0 ... n − 1) each activation belongs to.
        nodes: How many places on the path.
        chunk: Passes at once.

    Returns:
        (n, D) in the dtype of `values`.
    """
    delta = values - reference
    total = torch.zeros(())
    for place, weight in zip(*gauss_legendre(nodes), strict=True):
        at = (reference + float(place) * delta).detach()
        total = total.to(at) + float(weight) * contracted(function, at, delta, positions, chunk)
    return total
