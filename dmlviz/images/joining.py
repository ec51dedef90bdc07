"""Two image sets as one."""

from typing import TYPE_CHECKING

import numpy as np

from dmlviz.images.image_set import ImageSet
from dmlviz.images.readers import JoinedReader

if TYPE_CHECKING:
    import pandas as pd


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """The images of one set, and behind them those of another.

    Args:
        first: keeps its ids.
        second: its ids count on from there.

    Returns:
        The images with their names, their labels and the columns of both tables; a column that one of them lacks
        holds missing values there.

    Raises:
        ValueError: one has labels and the other has none.

    Examples:
        >>> import numpy as np
        >>> one = ImageSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), labels=["a", "b"], names=["x", "y"])
        >>> both = joined(one, one.subset([1]))
        >>> both.names, both.labels.tolist()
        (('x', 'y', 'y'), ['a', 'b', 'b'])
    """
    if (first.labels is None) != (second.labels is None):
        which = "the first has labels and the second has none"
        if first.labels is None:
            which = "the first has no labels and the second has"
        raise ValueError(f"both image sets must have labels, or none of them; {which}")
    labels = None
    if first.labels is not None and second.labels is not None:
        labels = np.concatenate([first.labels, second.labels])
    read = JoinedReader(first._read, len(first), second._read)
    return ImageSet(read, first.names + second.names, labels, _both(first.table, second.table))


def _both(first: "pd.DataFrame", second: "pd.DataFrame") -> "pd.DataFrame | None":
    """The further columns of two tables, one below the other."""
    import pandas as pd

    one, other = (frame.drop(columns=["name", "label"]).astype(object) for frame in (first, second))
    columns = list(one) + [name for name in other if name not in one]
    if not columns:
        return None
    both = [frame.reindex(columns=columns) for frame in (one, other)]
    return pd.concat(both, ignore_index=True).infer_objects()
