"""What each cell of a feature map adds to the embedding."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class LocalEmbeddings:
    """An embedding taken apart: one vector per cell, and an offset that belongs to no cell.

    The parts add up: `vectors.sum((0, 1)) + offset` is the embedding, before any L2 normalisation.

    Attributes:
        vectors: (h, w, D) float32 or float64; the local embedding of each cell (row, column of the
            feature map), signed, in the unit of the embedding. The array is made read-only.
        offset: (D,) of the same dtype; what remains when every activation is zero (biases and
            normalisation shifts), signed. The array is made read-only.
        note: Empty when the parts are exact for any input; otherwise one sentence that says what was
            assumed, for example that the head was linearised at this image.

    Raises:
        ValueError: If the shapes do not fit each other.
        TypeError: If the arrays are not floating point.

    Examples:
        >>> import numpy as np
        >>> parts = LocalEmbeddings(np.ones((2, 3, 4), np.float32), np.full(4, 0.5, np.float32))
        >>> parts.grid, parts.embedding.tolist()
        ((2, 3), [6.5, 6.5, 6.5, 6.5])
    """

    vectors: np.ndarray
    offset: np.ndarray
    note: str = ""

    def __post_init__(self) -> None:
        vectors, offset = np.asarray(self.vectors), np.asarray(self.offset)
        for what, array in (("vectors", vectors), ("offset", offset)):
            if array.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"{what} must be float32 or float64, got {array.dtype}; "
                    f"convert them with .astype(numpy.float32)"
                )
        if vectors.ndim != 3 or min(vectors.shape) == 0:
            raise ValueError(f"vectors must have shape (h, w, D) with no empty axis, got {vectors.shape}")
        if offset.shape != vectors.shape[2:]:
            raise ValueError(
                f"offset must have shape ({vectors.shape[2]},) to match vectors {vectors.shape}, "
                f"got {offset.shape}"
            )
        dtype = np.result_type(vectors, offset)
        for name, array in (("vectors", vectors), ("offset", offset)):
            frozen = array.astype(dtype, copy=False).view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)

    @property
    def grid(self) -> tuple[int, int]:
        """Number of cells, (rows, columns)."""
        return self.vectors.shape[0], self.vectors.shape[1]

    @property
    def dim(self) -> int:
        """Number of components D of the embedding."""
        return int(self.vectors.shape[2])

    @cached_property
    def embedding(self) -> np.ndarray:
        """The embedding (D,): all local embeddings plus the offset, summed in float64, dtype of the parts."""
        total = (self.vectors.sum(axis=(0, 1), dtype=np.float64) + self.offset).astype(self.vectors.dtype)
        total.flags.writeable = False
        return total

    @cached_property
    def finite(self) -> bool:
        """Whether no number in the parts is NaN or infinite."""
        return bool(np.isfinite(self.vectors).all() and np.isfinite(self.offset).all())

    @property
    def norms(self) -> np.ndarray:
        """Length of each cell's local embedding, (h, w), not negative, dtype of the parts."""
        return np.sqrt(np.square(self.vectors, dtype=np.float64).sum(axis=2)).astype(self.vectors.dtype)

    def __repr__(self) -> str:
        h, w = self.grid
        said = f", note={self.note!r}" if self.note else ""
        return f"LocalEmbeddings({h} × {w} cells, {self.dim} dimensions, {self.vectors.dtype}{said})"
