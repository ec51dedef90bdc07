"""What the objects of a place look like: solids for the panorama, outlines from above for the aerial view.

Everything is in metres in the object's own frame: x along its long side, y across, heights upwards. A panorama's
solid is a list of flat faces; those with a normal are seen only from in front and take the light that their
direction gives them. Round things are drawn as they look from any side: their frame is turned across the view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

Ink = tuple[str, float]
"""A colour's name ("main" for the object's own) and how bright it is, 1 as it is."""
Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Face:
    """One flat polygon of an object.

    Args:
        start: Its first point in the shape's list of points.
        stop: One past its last point.
        ink: Colour and brightness.
        normal: (x, y, up) direction out of the face, or None where it is seen from everywhere.
    """

    start: int
    stop: int
    ink: Ink
    normal: Corner | None


@dataclass(frozen=True)
class Shape:
    """The faces of an object, in the order in which they are painted.

    Args:
        points: (n,) complex, x + 1j · y in metres.
        heights: (n,) float, metres above the ground.
        faces: The polygons.
        round: Whether its frame is turned across the view.
    """

    points: np.ndarray
    heights: np.ndarray
    faces: tuple[Face, ...]
    round: bool = False


Piece = tuple[Ink, Iterable[Corner], Corner | None]


def shape(pieces: Iterable[Piece], round_: bool = False) -> Shape:
    """Put pieces, given as (ink, corners, normal), together in the order in which they are painted."""
    corners: list[Corner] = []
    faces = []
    for ink, polygon, normal in pieces:
        start = len(corners)
        corners += polygon
        faces.append(Face(start, len(corners), ink, normal))
    array = np.array(corners)
    return Shape(array[:, 0] + 1j * array[:, 1], array[:, 2].copy(), tuple(faces), round_)


def flat(points: Iterable[complex]) -> tuple[Corner, ...]:
    """Lay an outline on the ground."""
    return tuple((z.real, z.imag, 0.0) for z in points)


def wavy(
    radius_x: float, radius_y: float, waves: float, count: int = 28, phase: float = 0.6
) -> list[complex]:
    """A soft outline round the origin."""
    found = []
    for k in range(count):
        a = 2 * math.pi * k / count
        r = 1.0 + waves * math.sin(2 * a + phase) + 0.5 * waves * math.sin(3 * a)
        found.append(complex(radius_x * r * math.cos(a), radius_y * r * math.sin(a)))
    return found


def along(left: float, right: float, low: float, high: float, steps: int = 7) -> list[complex]:
    """A rectangle with points along its sides, so that it stays right where the panorama bends it."""
    t = [k / steps for k in range(steps)]
    return [
        *(complex(left + (right - left) * s, low) for s in t),
        *(complex(right, low + (high - low) * s) for s in t),
        *(complex(right + (left - right) * s, high) for s in t),
        *(complex(left, high + (low - high) * s) for s in t),
    ]


BLADE: Final = ((0.5, -0.25), (7.4, -1.0), (7.4, 1.0), (0.5, 0.25))
"""One blade of a mill: along it, across it."""
