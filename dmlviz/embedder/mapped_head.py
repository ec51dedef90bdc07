"""A head with a linear map behind it: what the map makes of an embedding still comes apart into cells."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.linear_head import LinearHead, linear_of
from dmlviz.embedder.local_embeddings import LocalEmbeddings

HELD = (
    "the length that embeddings are divided by before the map is held at each image: the parts add up exactly, but "
    "that they also changed this length is not attributed"
)


class MappedHead(nn.Module):
    """Any head, then a linear map that is not folded into it.

    With e = Σᵢ xᵢ + o, y = M e + b = Σᵢ M xᵢ + (M o + b): a cell's share is mapped as the embedding is, and the
    bias belongs to no cell. With `normalise_first`, y = M e/‖e‖ + b = Σᵢ M xᵢ/‖e‖ + (M o/‖e‖ + b) with the length
    that this image has, so that the offset differs from image to image.

    Args:
        inner: The head that gives e.
        matrix: M, (D', D) float.
        bias: b, (D',), the same dtype.
        normalise_first: Whether e is divided by its length first.

    Attributes:
        inner: As given, shared.
        normalise_first: As given.
        exact: Whether the offset is the same for every image.
        note: What every result carries on the map's account; "" where nothing is held.
    """

    matrix: Tensor
    bias: Tensor
    exact: bool

    def __init__(self, inner: "Head", matrix: Tensor, bias: Tensor, normalise_first: bool = False) -> None:
        super().__init__()
        self.inner = inner
        self.normalise_first = normalise_first
        self.exact = (isinstance(inner, LinearHead) or inner.exact) and not normalise_first
        self.note = HELD if normalise_first else ""
        self.register_buffer("matrix", matrix)
        self.register_buffer("bias", bias)

    def follow(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (..., D) of the head: (..., D')."""
        if self.normalise_first:
            embeddings = embeddings / embeddings.norm(dim=-1, keepdim=True)
        return embeddings @ self.matrix.to(embeddings).T + self.bias.to(embeddings)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Embed feature maps: (N, C, h, w) -> (N, D'), not normalised; NaN where a length of zero is divided by."""
        return self.follow(self.inner(feature_map))

    def local_embeddings(self, feature_map: Tensor) -> LocalEmbeddings:
        """Take the mapped embedding of one feature map (C, h, w) apart.

        Raises:
            HeadError: As the head itself.
            ValueError: As the head itself; or an embedding of length zero is to be divided by its length.
        """
        return self._mapped([self.inner.local_embeddings(feature_map)])[0]

    def local_embeddings_batch(self, feature_maps: Tensor) -> list[LocalEmbeddings]:
        """`local_embeddings` for each of (N, C, h, w) feature maps."""
        return self._mapped(self.inner.local_embeddings_batch(feature_maps))

    def _mapped(self, many: list[LocalEmbeddings]) -> list[LocalEmbeddings]:
        matrix, bias = (part.detach().cpu().numpy().astype(np.float64) for part in (self.matrix, self.bias))
        found = []
        for parts in many:
            scaled = matrix / _length(parts) if self.normalise_first else matrix
            dtype = parts.vectors.dtype
            found.append(
                LocalEmbeddings(
                    (parts.vectors @ scaled.T).astype(dtype),
                    (scaled @ parts.offset + bias).astype(dtype),
                    "; ".join(filter(None, (parts.note, self.note))),
                )
            )
        return found

    def description(self) -> dict[str, Any]:
        """The settings that are not weights, as plain values."""
        return {"pooling": "mapped", "normalise_first": self.normalise_first, "of": self.inner.description()}

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        return f"matrix={tuple(self.matrix.shape)}, normalise_first={self.normalise_first}"


def _length(parts: LocalEmbeddings) -> float:
    length = float(np.linalg.norm(parts.vectors.sum((0, 1), dtype=np.float64) + parts.offset))
    if length == 0:
        raise ValueError(
            "an embedding has length zero, so it cannot be brought to length 1 before the map; look at the image, or "
            "put the map behind the embedder with normalise_first=False"
        )
    return length


Head = LinearHead | JacobianHead | MappedHead
"""What an embedder may end in."""


def mapped_head(head: Head, matrix: np.ndarray, bias: np.ndarray, normalise_first: bool) -> Head:
    """A head with a linear map behind it; folded into its linear map where it is a `LinearHead`.

    Args:
        head: Left as it is.
        matrix: (D', D) float64.
        bias: (D',) float64.
        normalise_first: Whether embeddings are divided by their lengths before the map; nothing is folded then.

    Returns:
        A head in float64 on the CPU, to be brought to its place by `placed`.
    """
    m, b = (torch.tensor(numbers, dtype=torch.float64) for numbers in (matrix, bias))
    if normalise_first or not isinstance(head, LinearHead):
        return MappedHead(placed(head, torch.device("cpu"), torch.float64), m, b, normalise_first)
    inputs = m.shape[1] if head.linear is None else head.linear.in_features
    weight, offset = head.affine(torch.zeros(1, inputs, 1, 1, dtype=torch.float64))
    whole = m if weight is None else m * weight if weight.ndim == 1 else m @ weight
    linear = linear_of(whole, m @ offset + b)
    return LinearHead(head.pooling, linear, p=head.p.detach(), eps=head.eps, ties=head.ties)


def placed(head: Head, device: torch.device, dtype: torch.dtype) -> Head:
    """A copy of a head on a device and in a dtype; a `JacobianHead` itself, which goes by its input in both."""
    if isinstance(head, LinearHead):
        return copy.deepcopy(head).to(device, dtype)
    if isinstance(head, MappedHead):
        return MappedHead(
            placed(head.inner, device, dtype),
            head.matrix.to(device, dtype),
            head.bias.to(device, dtype),
            head.normalise_first,
        )
    return head


def peeled(head: Head) -> tuple[LinearHead | JacobianHead, Callable[[Tensor], Tensor]]:
    """The head below all maps, and what the maps do to its embeddings, (..., D) -> (..., D')."""
    if not isinstance(head, MappedHead):
        return head, lambda embeddings: embeddings
    inner, first = peeled(head.inner)
    return inner, lambda embeddings: head.follow(first(embeddings))
