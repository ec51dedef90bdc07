"""What the Explorer's public traits accept, and the words for what they do not."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import traitlets

MODES = ("overall", "point", "margin")
READINGS = ("contribution", "likeness")
SCALES = ("pair", "ranking")
THEMES = ("auto", "light", "dark")
RANKED_BY = ("similarity", "region")


class Checked(traitlets.TraitType):
    """A trait whose values go through a function `check(explorer, value) -> value` that may raise.

    Unlike traitlets' own types it raises ValueError, TypeError or IndexError with words that say what was
    expected; the trait keeps the value it had.
    """

    def __init__(self, default: Any, check: Callable[[Any, Any], Any], help: str, sync: bool = True) -> None:
        super().__init__(default, allow_none=True, help=help)
        self.check = check
        if sync:
            self.tag(sync=True, echo_update=False)

    def validate(self, obj: Any, value: Any) -> Any:
        """Return the value in its kept form, or raise."""
        return self.check(obj, value)

    def _validate(self, obj: Any, value: Any) -> Any:
        return self.validate(obj, value)  # None goes through the check like everything else


def one_of(name: str, choices: tuple[str, ...]) -> Callable[[Any, Any], str]:
    """A check for a name out of a few."""

    def check(_: Any, value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")
        return str(value)

    return check


def whole(name: str, value: Any) -> int:
    """A whole number, whatever integer type it came as."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number; got {value!r} ({type(value).__name__})")
    return int(value)


def between(name: str, value: Any, low: float, high: float) -> float:
    """A finite number within limits."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r} ({type(value).__name__})")
    kept = float(value)
    if not low <= kept <= high:  # also refuses NaN
        raise ValueError(f"{name} must lie between {low:g} and {high:g}; got {value!r}")
    return kept


def opacity(_: Any, value: Any) -> float:
    """From 0 (no map) to 1."""
    return between("opacity", value, 0.0, 1.0)


def query_id(explorer: Any, value: Any) -> int:
    """The id of a query: of an image of the gallery, unless it has a query set of its own."""
    gallery = explorer.gallery
    size = len(gallery.queries)
    query = whole("query", value)
    if not 0 <= query < size:
        of = "the gallery" if gallery.queries is gallery.images else "the gallery's queries"
        raise IndexError(f"query must be an id of {of}, from 0 to {size - 1}; got {query}")
    return query


def method(explorer: Any, value: Any) -> str:
    """A method that suits the gallery."""
    reasons: dict[str, str] = explorer._reasons
    chosen = one_of("method", tuple(reasons))(explorer, value)
    if reasons[chosen]:
        suited = ", ".join(repr(name) for name, reason in reasons.items() if not reason)
        raise ValueError(
            f"the method {chosen!r} does not suit this gallery: {reasons[chosen]}. Those that suit: {suited}"
        )
    return chosen


def compare(explorer: Any, value: Any) -> str | None:
    """None, or another suitable method than the one it is held against."""
    if value is None:
        return None
    chosen = method(explorer, value)
    if chosen == explorer.method:
        raise ValueError(
            f"compare must be another method than the Explorer's own, or None; {chosen!r} is on the screen already"
        )
    return chosen


def depth(explorer: Any, value: Any) -> int:
    """How many images are ranked: at least 1."""
    k = whole("k", value)
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    return k


def rank(explorer: Any, value: Any) -> int:
    """A rank of the ranking that is shown."""
    most = len(explorer.ranking)
    focus = whole("focus", value)
    if not 1 <= focus <= most:
        raise ValueError(f"focus is a rank, from 1 (best) to {most}; got {focus}")
    return focus


def mode(explorer: Any, value: Any) -> str:
    """One of `MODES`; margins need labels."""
    chosen = one_of("mode", MODES)(explorer, value)
    if chosen == "margin" and explorer.gallery.labels is None:
        raise ValueError(
            "mode 'margin' compares hits with misses, and this gallery has no labels; build it from an image "
            "set with labels"
        )
    return chosen


def pin(explorer: Any, value: Any) -> list | None:
    """None, or [side, row, col] in pixels of that side's view."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(
            f'pin must be None or ["query" or "match", row, col] in pixels of the view; got {value!r}'
        )
    side = one_of("the pin's side", ("query", "match"))(explorer, value[0])
    rows, cols = explorer._view_size(side)
    return [
        side,
        between("the pin's row", value[1], -0.5, rows - 0.5),
        between("the pin's col", value[2], -0.5, cols - 0.5),
    ]


def region(explorer: Any, value: Any) -> list | None:
    """None, or ["query", top, left, bottom, right] in pixels of the query's view."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 5:
        raise ValueError(
            'region must be None or ["query", top, left, bottom, right] in pixels of the query\'s view; '
            f"got {value!r}"
        )
    side = one_of("the region's side", ("query",))(explorer, value[0])
    rows, cols = explorer._view_size("query")
    limits = {"top": rows, "left": cols, "bottom": rows, "right": cols}
    edges = [
        between(f"the region's {name}", edge, -0.5, size - 0.5)
        for (name, size), edge in zip(limits.items(), value[1:], strict=True)
    ]
    if edges[2] < edges[0] or edges[3] < edges[1]:
        raise ValueError(f"the region's bottom and right must not lie before its top and left; got {value!r}")
    return [side, *edges]


def ranked_by(explorer: Any, value: Any) -> str:
    """One of `RANKED_BY`; a region has to be there first."""
    chosen = one_of("ranked_by", RANKED_BY)(explorer, value)
    if chosen == "region" and explorer.region is None:
        raise ValueError(
            "ranked_by='region' needs a region of the query; set "
            'region = ["query", top, left, bottom, right] first'
        )
    return chosen
