"""Images that lie in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dmlviz.images.reading import as_rgb


def checked_arrays(arrays: Any) -> Sequence[np.ndarray] | np.ndarray:
    """Check that these are pictures: one (N, H, W, 3) uint8 array, or a sequence of single ones.

    Returns:
        The array itself, or the list of the arrays.

    Raises:
        TypeError: for values that are not uint8, or things that are not arrays.
        ValueError: for another shape, or no image at all.
    """
    if isinstance(arrays, np.ndarray) and arrays.dtype != object:
        if arrays.ndim != 4:
            hint = "a single image goes into a list: from_arrays([image])" if arrays.ndim in (2, 3) else ""
            hint = hint or "the channels come last"
            if arrays.ndim == 3 and arrays.shape[2] != 3:
                hint = "grey images come as a list: from_arrays(list(stack))"
            raise ValueError(f"expected one array of shape (N, H, W, 3), got {arrays.shape}; {hint}")
        if len(arrays):
            as_rgb(arrays[0], "the images")
    else:
        arrays = list(arrays)
        for i, array in enumerate(arrays):
            _check(array, f"image {i}")
    if len(arrays) == 0:
        raise ValueError("expected at least one image, got none")
    return arrays


def _check(array: Any, name: str) -> None:
    # a picture of one pixel stands for the whole: same checks, no copy of the pixels
    if isinstance(array, np.ndarray) and 0 not in array.shape and array.shape[2:] in ((), (3,)):
        array = array[:1, :1]
    as_rgb(array, name)
