"""Many arrays and files in one buffer, each known by where it lies."""

from typing import Any

import numpy as np

Ref = dict[str, Any]


class Buffer:
    """Collects bytes one after the other, each start on a multiple of four.

    Examples:
        >>> import numpy as np
        >>> buffer = Buffer()
        >>> buffer.floats(np.array([[1.0, 2.0]])), buffer.file(b"jpg"), buffer.floats(np.zeros(1))
        ({'o': 0, 'n': 2}, {'o': 8, 'n': 3}, {'o': 12, 'n': 1})
        >>> len(buffer.taken())
        16
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def file(self, content: bytes) -> Ref:
        """Add bytes as they are; returns {"o": byte offset, "n": number of bytes}."""
        start = self._size
        self._parts.append(content)
        self._size += len(content)
        if rest := -self._size % 4:
            self._parts.append(bytes(rest))
            self._size += rest
        return {"o": start, "n": len(content)}

    def floats(self, array: np.ndarray) -> Ref:
        """Add an array as little-endian float32, row-major; "n" counts its elements."""
        return {"o": self.file(_little(array, "<f4"))["o"], "n": int(np.size(array))}

    def integers(self, array: np.ndarray) -> Ref:
        """Add an int8 or int16 array, row-major; "n" counts its elements."""
        ref = self.file(_little(array, f"<i{array.dtype.itemsize}"))
        ref["n"] = int(array.size)
        return ref

    def taken(self) -> bytes:
        """Everything added so far."""
        return b"".join(self._parts)


def _little(array: np.ndarray, dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def number(value: float | None) -> float | None:
    """A float as JSON can carry it: NaN and infinities become None."""
    return float(value) if value is not None and np.isfinite(value) else None
