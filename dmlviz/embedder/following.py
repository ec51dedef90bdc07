"""An embedder with a linear map behind it, such as PCA, whitening or the root of a Mahalanobis metric."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.mapped_head import HELD, mapped_head


@dataclass(frozen=True, eq=False)
class Following:
    """What stands behind which embedder.

    Attributes:
        embedder: The embedder whose embeddings are mapped.
        matrix: (D', D) float64.
        bias: (D',) float64.
        normalise_first: Whether embeddings are divided by their lengths before the map.
    """

    embedder: Embedder
    matrix: np.ndarray
    bias: np.ndarray
    normalise_first: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the embedder's own and the numbers of the map; the same everywhere."""
        said = {
            "embedder": self.embedder.fingerprint,
            "shape": self.matrix.shape,
            "normalise_first": self.normalise_first,
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for numbers in (self.matrix, self.bias):
            digest.update(np.ascontiguousarray(numbers + 0.0, dtype="<f8").tobytes())  # −0 counts as 0
        return digest.hexdigest()


def followed_by(
    embedder: Embedder, linear_map: Any, name: str | None, normalise_first: bool = False
) -> Embedder:
    """See `Embedder.followed_by`."""
    matrix, bias = _numbers(linear_map, embedder)
    return _behind(Following(embedder, matrix, bias, bool(normalise_first)), name)


def behind_another(mapped: Embedder, other: Embedder, name: str) -> Embedder:
    """Put the map that stands behind one embedder behind another one of the same dimension."""
    following = mapped._following
    assert following is not None  # noqa: S101 (the caller has looked)
    return _behind(Following(other, following.matrix, following.bias, following.normalise_first), name)


def _behind(following: Following, name: str | None) -> Embedder:
    embedder, (to, of) = following.embedder, following.matrix.shape
    embedder._refuse_changed_weights()
    said = f"then a linear map from {of} to {to} dimensions"
    if following.normalise_first:
        said += " of embeddings brought to length 1"
    mapped = Embedder(
        embedder.trunk,
        mapped_head(embedder._master, following.matrix, following.bias, following.normalise_first),
        embedder.preprocess,
        geometry=embedder.geometry,
        input_size=embedder.input_size,
        name=name or f"{embedder.name}, mapped from {of} to {to}",
        note="; ".join(filter(None, (embedder.note, HELD if following.normalise_first else ""))),
        details="; ".join(filter(None, (embedder.details, said))),
        folded=True,
        classifier=embedder.classifier,
    )
    mapped._following = following
    mapped._weights_seen = mapped._weights_now()
    return mapped


def _numbers(linear_map: Any, embedder: Embedder) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and bias of a map, checked, in float64."""
    if not (hasattr(linear_map, "matrix") and hasattr(linear_map, "bias")):
        raise TypeError(
            "linear_map must have .matrix (D', D) and .bias (D',), as those of dmlviz.index (pca, learned_whitening, "
            f"mahalanobis) do; got {type(linear_map).__name__}"
        )
    matrix, bias = np.asarray(linear_map.matrix), np.asarray(linear_map.bias)
    for what, array in (("matrix", matrix), ("bias", bias)):
        if array.dtype.kind not in "fiu":
            raise TypeError(f"the map's {what} must hold real numbers, got {array.dtype}")
    if matrix.ndim != 2 or matrix.shape[1] != embedder.dim or len(matrix) == 0:
        raise ValueError(
            f"the map's matrix must have the shape (D', {embedder.dim}) to follow {embedder.name!r}, which gives "
            f"{embedder.dim} dimensions; got {matrix.shape}"
        )
    if bias.shape != matrix.shape[:1]:
        raise ValueError(
            f"the map's bias must have the shape ({len(matrix)},), one number per row of the matrix; got {bias.shape}"
        )
    matrix, bias = matrix.astype(np.float64), bias.astype(np.float64)
    if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
        raise ValueError("the map holds NaN or infinite values; look at how it was fitted")
    matrix.flags.writeable = bias.flags.writeable = False
    return matrix, bias
