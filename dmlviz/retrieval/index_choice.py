"""The kind of index that a gallery is asked for, with what else is said of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmlviz.index import GalleryIndex, choose_kind
from dmlviz.index.kinds import check_kind
from dmlviz.index.metrics import Metric

_OF_ALL = ("seed", "memory")


def as_options(options: Any) -> dict[str, int]:
    """What is said of an index beside its kind, as whole numbers by name.

    Raises:
        TypeError: no mapping of names to whole numbers, or something that the gallery itself says.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping) or any(not isinstance(name, str) for name in options):
        raise TypeError(
            f"index_options must be a dict such as {{'neighbours': 16}}, got {type(options).__name__}"
        )
    known: dict[str, int] = {}
    for name, value in options.items():
        if name in ("kind", "metric", "ids"):
            raise TypeError(
                f"index_options cannot say {name!r}: the kind is given as kind=, how rows are compared follows from "
                "the gallery's similarity, and its ids are those of its images"
            )
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"index_options: {name} must be a whole number, got {value!r}")
        known[name] = int(value)
    return known


def check_choice(kind: Any, options: Mapping[str, int], count: int, dim: int) -> None:
    """Refuse, before images are embedded, an index that could not be made of so many.

    Raises:
        TypeError: the kind is no text, or takes no such option.
        ValueError: an unknown kind, or too few images for it.
    """
    if not isinstance(kind, str):
        raise TypeError(f"kind must be the name of a kind of index, got {type(kind).__name__}")
    if kind == "auto":
        kind = choose_kind(count, dim, options.get("memory")).kind
    check_kind(kind, count, dim, {name: value for name, value in options.items() if name not in _OF_ALL})


def indexed(rows: np.ndarray, kind: str, options: Mapping[str, int], metric: Metric) -> GalleryIndex:
    """Rows indexed, to be compared by a metric; arguments as checked.

    Raises:
        TypeError, ValueError: as `GalleryIndex.build`.
    """
    said: dict[str, Any] = dict(options)
    return GalleryIndex.build(rows, kind, metric, **said)
