"""One generated place as numbers: its objects on the ground, where the camera stands, and the two views of it.

Positions are complex numbers in metres, x to the east and y to the north, the origin in the middle of the aerial
view. Bearings are compass degrees: 0 north, 90 east. What is not the place itself (light, season, clutter, noise,
where exactly the camera stands) is read from named slots of one tape of uniform numbers per view.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from dmlviz.images.bird_scene import uniform_tape

View = Literal["ground", "aerial"]
VIEWS: Final = ("ground", "aerial")
GROUND_SIZE: Final = (64, 192)
"""Height and width of a panorama in pixels; its columns go once round the compass."""
AERIAL_SIZE: Final = (96, 96)
"""Height and width of an aerial view in pixels, north up."""
AERIAL_SCALE: Final = 1.35
"""Pixels of the aerial view per metre."""
OCCLUDER: Final = 255
"""The number, in a map of object ids, of what passes in front: a van on the ground, a cloud in the air."""

_BUILT: Final = ("scarlet", "amber", "blue", "violet", "white")
COLOURS_OF: Final[dict[str, tuple[str, ...]]] = {
    "cottage": _BUILT,
    "barn": _BUILT,
    "tower": _BUILT,
    "mill": _BUILT,
    "tent": _BUILT,
    "tree": ("green", "copper", "blossom"),
    "conifer": ("green", "silver"),
    "pond": ("blue", "green"),
    "field": ("gold", "lavender", "brown"),
    "road": ("grey",),
}
"""The kinds of objects and the colours that each kind may have."""
FLAT: Final = ("pond", "field", "road")
"""Kinds that lie on the ground and hide nothing."""
CLUTTER: Final = 10
"""Most pieces of clutter in one view."""


@dataclass(frozen=True)
class PlaceObject:
    """One object of a place, the same in both views.

    Args:
        kind: A key of ``COLOURS_OF``.
        colour: One of ``COLOURS_OF[kind]``.
        at: Its middle in metres, x east + 1j · y north; a road's is a point on it, 20 m from the origin.
        turn: Where its long side points to, degrees counter-clockwise from east.
        size: Its size, 1 for the usual one.
    """

    kind: str
    colour: str
    at: complex
    turn: float = 0.0
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in COLOURS_OF:
            raise ValueError(f"Unknown kind {self.kind!r}: choose one of {', '.join(COLOURS_OF)}.")
        if self.colour not in COLOURS_OF[self.kind]:
            raise ValueError(
                f"No {self.kind} is {self.colour!r}: choose one of {', '.join(COLOURS_OF[self.kind])}."
            )

    @property
    def name(self) -> str:
        """Colour and kind in two words."""
        return f"{self.colour} {self.kind}"


def _view_ranges() -> dict[str, tuple[float, float]]:
    """Name every slot of a view's tape and the range of the quantity that it feeds."""
    ranges: dict[str, tuple[float, float]] = {
        "camera_east": (-1.5, 1.5),
        "camera_north": (-1.5, 1.5),
        "heading": (0.0, 360.0),
        "season": (0.0, 4.0),
        "season_depth": (0.45, 1.0),
        "grass_hue": (-1.0, 1.0),
        "leaf_hue": (-1.0, 1.0),
        "sky": (0.0, 3.0),
        "sun": (0.0, 360.0),
        "shadow": (0.35, 0.75),
        "mill_angle": (0.0, 90.0),
        "horizon": (29.5, 33.5),
        "gain": (0.84, 1.12),
        "warmth": (-0.07, 0.07),
        "noise": (2.0, 6.0),
        "occluder": (0.0, 1.0),
        "occluder_at": (0.0, 1.0),
        "occluder_across": (0.0, 1.0),
        "occluder_size": (0.8, 1.25),
        "occluder_colour": (0.0, 3.0),
        "clutter_count": (3.0, CLUTTER + 0.999),
    }
    for number in range(4):
        ranges[f"cloud{number}_at"] = (0.0, 1.0)
        ranges[f"cloud{number}_row"] = (0.08, 0.34)
        ranges[f"cloud{number}_size"] = (0.6, 1.5)
        ranges[f"patch{number}_east"] = (-36.0, 36.0)
        ranges[f"patch{number}_north"] = (-36.0, 36.0)
        ranges[f"patch{number}_size"] = (9.0, 20.0)
    for number in range(6):
        ranges[f"hill{number}"] = (0.0, 1.0)
    for number in range(CLUTTER):
        ranges[f"clutter{number}_kind"] = (0.0, 3.999)
        ranges[f"clutter{number}_bearing"] = (0.0, 360.0)
        ranges[f"clutter{number}_far"] = (0.0, 1.0)
        ranges[f"clutter{number}_size"] = (0.75, 1.4)
        ranges[f"clutter{number}_colour"] = (0.0, 0.999)
    return ranges


RANGES: Final = _view_ranges()
"""Every slot of a view's tape by name, in order, and the range its uniform number is stretched to."""
SLOTS: Final = tuple(RANGES)
LOW: Final = np.array([low for low, _ in RANGES.values()])
SPAN: Final = np.array([high - low for low, high in RANGES.values()])


@dataclass(frozen=True)
class PlaceScene:
    """A place before it is drawn: its objects, and the key of the tapes of its two views.

    Args:
        objects: What stands there. Object number n (from 1) is ``objects[n - 1]`` in both views.
        key: Non-negative integers that name the tapes.
        north_known: Whether north is in the middle of the panorama; otherwise the panorama begins anywhere.
    """

    objects: tuple[PlaceObject, ...]
    key: tuple[int, ...]
    north_known: bool = True

    def parameters(self, view: View) -> dict[str, float]:
        """Every quantity of a view by name (degrees, metres, pixels or shares)."""
        tape = uniform_tape((*self.key, VIEWS.index(view)), len(SLOTS))
        return dict(zip(SLOTS, (LOW + SPAN * tape).tolist(), strict=True))

    @property
    def camera(self) -> complex:
        """Where the panorama was taken, metres from the middle of the aerial view: x east + 1j · y north."""
        p = self.parameters("ground")
        return complex(p["camera_east"], p["camera_north"])

    @property
    def heading(self) -> float:
        """The compass bearing at the middle of the panorama, in degrees, 0 where north is known."""
        return 0.0 if self.north_known else self.parameters("ground")["heading"]


def bearing(offset: complex) -> float:
    """Compass bearing of an offset (metres, x east + 1j · y north), in degrees from 0 up to 360.

    Example:
        >>> bearing(1j), bearing(1 + 0j), bearing(-1j)
        (0.0, 90.0, 180.0)
    """
    return (90.0 - math.degrees(cmath.phase(offset))) % 360.0


def towards(degrees: float) -> complex:
    """The unit step in a compass direction, the inverse of `bearing`."""
    return cmath.rect(1.0, math.radians(90.0 - degrees))


def aerial_point(at: complex) -> tuple[float, float]:
    """Where a point of the ground lies in the aerial view: (row, col) in pixels, centres on integers."""
    middle = (AERIAL_SIZE[0] - 1) / 2
    return middle - AERIAL_SCALE * at.imag, middle + AERIAL_SCALE * at.real


def ground_of_aerial(row: float, col: float) -> complex:
    """Which point of the ground lies under a pixel of the aerial view; the inverse of `aerial_point`."""
    middle = (AERIAL_SIZE[0] - 1) / 2
    return complex((col - middle) / AERIAL_SCALE, (middle - row) / AERIAL_SCALE)


def column_of_bearing(degrees: float, heading: float = 0.0) -> float:
    """Which column of a panorama looks into a compass direction, from −0.5 up to 191.5, centres on integers."""
    width = GROUND_SIZE[1]
    return ((degrees - heading) / 360.0 * width + width / 2) % width - 0.5
