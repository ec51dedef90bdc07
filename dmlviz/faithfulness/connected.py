"""Connected parts of masks, and the boxes round them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Components:
    """The connected parts of one mask or of a stack of them, in reading order.

    Attributes:
        layers: (n,) int64, which mask of the stack each lies in.
        areas: (n,) int64, in pixels.
        boxes: (n, 4) int64: top, left, bottom, right in pixels; the last two lie beyond the box.
    """

    layers: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.layers)

    def largest(self, layer: int = 0) -> np.ndarray:
        """Boxes of the largest component of one mask, (k, 4): all of those that tie; k = 0 for an empty mask."""
        here = self.layers == layer
        areas = self.areas[here]
        return np.asarray(self.boxes[here][areas == areas.max(initial=0)])


def components(masks: np.ndarray, connectivity: int = 8) -> Components:
    """Find the connected parts of masks.

    Works on runs of pixels along rows: two runs of neighbouring rows that touch belong together, and what belongs
    together is joined by pointing each at the lowest number it can reach. All masks of a stack go at once.

    Args:
        masks: (H, W) or (T, H, W) bool.
        connectivity: 8: pixels that meet at a corner touch; 4: only those that share an edge.

    Returns:
        Each component's mask, area and box.

    Raises:
        ValueError: If the masks have another shape or dtype, or the connectivity is neither.

    Examples:
        >>> import numpy as np
        >>> mask = np.array([[1, 0, 0], [0, 1, 0]], bool)
        >>> components(mask).areas.tolist(), components(mask, connectivity=4).areas.tolist()
        ([2], [1, 1])
        >>> components(mask).boxes.tolist()
        [[0, 0, 2, 2]]
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8; got {connectivity!r}")
    stack = np.asarray(masks)
    if stack.ndim not in (2, 3) or stack.dtype != bool:
        raise ValueError(
            f"masks must be bool of shape (H, W) or (T, H, W); got {stack.dtype} of shape {stack.shape}"
        )
    layers, height, width = stack.shape if stack.ndim == 3 else (1, *stack.shape)
    apart = np.zeros((layers, height + 1, width + 1), dtype=bool)  # a blank row and column keep runs apart
    apart[:, :height, :width] = stack
    turns = np.flatnonzero(np.diff(apart.ravel(), prepend=False, append=False))
    starts, ends = turns[::2], turns[1::2]
    line, reach = width + 1, int(connectivity == 8)
    first = np.searchsorted(ends, starts - line - reach, side="right")
    counts = np.maximum(np.searchsorted(starts, ends - line + reach, side="left") - first, 0)
    below = np.repeat(np.arange(len(starts)), counts)
    above = np.arange(len(below)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    lowest, of_run = np.unique(_joined(len(starts), below, above), return_inverse=True)
    rows, lefts = np.divmod(starts, line)
    boxes = np.tile(np.array([layers * (height + 1), line, 0, 0]), (len(lowest), 1))
    np.minimum.at(boxes[:, 0], of_run, rows % (height + 1))
    np.minimum.at(boxes[:, 1], of_run, lefts)
    np.maximum.at(boxes[:, 2], of_run, rows % (height + 1) + 1)
    np.maximum.at(boxes[:, 3], of_run, lefts + ends - starts)
    areas = np.zeros(len(lowest), dtype=np.int64)
    np.add.at(areas, of_run, ends - starts)
    return Components(rows[lowest] // (height + 1), areas, boxes.astype(np.int64))


def overlap(boxes: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Intersection over union of boxes with one box.

    Args:
        boxes: (k, 4): top, left, bottom, right, the last two beyond the box.
        box: The same of one, not empty.

    Returns:
        (k,) float64, 0 to 1.

    Examples:
        >>> import numpy as np
        >>> overlap(np.array([[0, 0, 2, 2]]), (1, 0, 3, 2)).tolist()
        [0.3333333333333333]
    """
    found, known = np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.asarray(box, dtype=np.float64)
    shared = np.minimum(found[:, 2:], known[2:]) - np.maximum(found[:, :2], known[:2])
    inside = np.clip(shared, 0, None).prod(axis=1)
    return np.asarray(
        inside / ((found[:, 2:] - found[:, :2]).prod(axis=1) + (known[2:] - known[:2]).prod() - inside)
    )


def _joined(count: int, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of `count` things the lowest number among all that it hangs together with."""
    root = np.arange(count)
    while True:
        a, b = root[ones], root[others]
        apart = a != b
        if not apart.any():
            return root
        ones, others, a, b = ones[apart], others[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(higher := root[root], root):
            root = higher
