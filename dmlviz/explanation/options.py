"""Checks of what users ask for that many methods share, and the words in which they are refused."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dmlviz.embedder import LocalEmbeddings


def one_of(value: Any, what: str, choices: Sequence[str], of: str = "") -> None:
    """Refuse a word that is none of those there are.

    Args:
        value: What was given.
        what: The option's name.
        choices: The words there are.
        of: Whose option it is, where that needs to be said.

    Raises:
        ValueError: If it is none of them; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        whose = f" for {of}" if of else ""
        raise ValueError(f"{what} must be one of {', '.join(map(repr, choices))}{whose}; got {value!r}")


def whole_number(value: Any, what: str, least: int) -> int:
    """Check a count.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is below `least`.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{what} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{what} must be at least {least}, got {value}")
    return int(value)


def same_space(query: int, gallery: int) -> None:
    """Refuse embeddings that cannot be compared, given their dimensions.

    Raises:
        ValueError: If the dimensions differ.
    """
    if query != gallery:
        raise ValueError(
            f"both images must be embedded in the same space; got {query} dimensions for the query and "
            f"{gallery} for the gallery image. Were they made by the same embedder?"
        )


def comparable(query: "LocalEmbeddings", gallery: "LocalEmbeddings") -> int:
    """Check that two images' local embeddings can be held against each other; the dimension that they share.

    Raises:
        ValueError: If the dimensions differ, or a value is NaN or infinite.
    """
    for name, side in (("query", query), ("gallery", gallery)):
        if not side.finite:
            raise ValueError(
                f"the {name}'s local embeddings must be finite; got NaN or infinity. Look at the image and at "
                "the network's output for it"
            )
    same_space(query.dim, gallery.dim)
    return query.dim
