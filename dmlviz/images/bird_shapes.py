"""The outlines that birds are drawn from: each part in its own frame, in pixels of a 96-pixel image.

A frame has x to the right and y downwards, and the part starts at its origin: beaks point to +x, crests to −y,
wings and tails to −x, feet to +y. Points are complex numbers x + iy, so that turning is one multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True)
class Outline:
    """Polygons that are painted one after another.

    Args:
        points: (n,) complex128, the corners of all polygons one after another, x + iy in pixels.
        cuts: One (start, stop, tone) for each polygon: its corners are ``points[start:stop]``, and the tone says
            how the part's colour is used: "ink" (darkest), "shade", "base", "light", "bone" (pale, any part).
    """

    points: np.ndarray
    cuts: tuple[tuple[int, int, str], ...]


def outline(*polygons: tuple[str, np.ndarray]) -> Outline:
    """Join (tone, corners) pairs into one outline."""
    cuts, start = [], 0
    for tone, corners in polygons:
        cuts.append((start, start + len(corners), tone))
        start += len(corners)
    return Outline(np.concatenate([corners for _, corners in polygons]), tuple(cuts))


def grown(drawn: Outline, factor: float) -> Outline:
    """Enlarge an outline about its origin."""
    return Outline(drawn.points * factor, drawn.cuts)


def corners(*points: tuple[float, float]) -> np.ndarray:
    """Turn (x, y) pairs into complex corners."""
    return np.array([complex(x, y) for x, y in points])


def smooth(*points: tuple[float, float], per: int = 4) -> np.ndarray:
    """Round a closed outline: a Catmull-Rom curve through the points, ``per`` corners for each."""
    p1 = corners(*points)
    p0, p2, p3 = np.roll(p1, 1), np.roll(p1, -1), np.roll(p1, -2)
    t = (np.arange(per) / per)[None, :]
    p0, p1, p2, p3 = (p[:, None] for p in (p0, p1, p2, p3))
    curve = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve.ravel()


def disc(x: float, y: float, width: float, height: float | None = None, count: int = 18) -> np.ndarray:
    """Return an ellipse round (x, y) with half axes ``width`` and ``height``."""
    angle = 2 * np.pi * np.arange(count) / count
    return x + width * np.cos(angle) + 1j * (y + (width if height is None else height) * np.sin(angle))


def lit(polygon: np.ndarray, share: float = 0.74, lift: complex = -0.5j) -> np.ndarray:
    """Shrink a polygon about its middle and lift it: the side that the light falls on."""
    middle = polygon.mean()
    return middle + share * (polygon - middle) + lift


def solid(
    polygon: np.ndarray, share: float = 0.74, lift: complex = -0.5j
) -> tuple[tuple[str, np.ndarray], ...]:
    """Give a polygon soft volume: a shaded rim and a lit inside."""
    return ("shade", polygon), ("base", lit(polygon, share, lift))


BODY: Final = outline(
    ("shade", smooth((17, -4), (14, 5), (5, 11.5), (-7, 10), (-17, 1), (-15, -6), (-4, -9.5), (9, -11))),
    ("base", smooth((16, -4.5), (12.5, 3), (4, 8), (-7, 7), (-15.5, 0), (-14, -5.5), (-4, -9), (9, -10.3))),
    ("light", smooth((15.5, -2), (13, 4.5), (5, 9.5), (0, 8.5), (5, 3.5), (10, -3), per=3)),
)
NECK_WIDTH: Final = 5.6
HEAD: Final = outline(
    ("shade", disc(0, 0, 7.9, 7.6)),
    ("base", disc(-0.2, -0.9, 7.0, 6.4)),
    ("light", disc(2.6, 2.3, 3.4, 2.6, 12)),
)
EYE: Final = (
    (2.6, -1.6, 3.0, (247, 246, 240)),
    (3.0, -1.5, 1.95, (24, 21, 26)),
    (3.8, -2.4, 0.75, (255, 255, 255)),
)
"""Circles of the eye in the head's frame: x, y, radius, colour."""


def _beaks() -> tuple[Outline, ...]:
    cone = corners((-1.5, -5), (4, -3.6), (11.4, 1.2), (4, 3.8), (-1.5, 4.8))
    hook = smooth(
        (-1.5, -6), (4.5, -7), (10, -4), (11.8, 2.5), (9.8, 9.8), (7.6, 4), (3.2, 3.2), (-1.5, 4), per=3
    )
    needle = corners((-1.5, -2.1), (6, -1.4), (18.4, 1.7), (6, 1.7), (-1.5, 2.2))
    handle = corners((-1.5, -2.4), (8, -1.5), (8, 2), (-1.5, 2.8))
    bowl = disc(11.2, 0.2, 5.0, 4.9)
    return (
        outline(*solid(cone), ("ink", corners((0, 0.5), (9, 0.8), (9, 1.3), (0, 1.5)))),
        outline(*solid(hook), ("ink", corners((0, 1.0), (6, 1.0), (6.4, 1.8), (0, 2.0)))),
        outline(*solid(needle, 0.8, 0j), ("ink", corners((0, -0.1), (14, 1.0), (14, 1.3), (0, 0.7)))),
        outline(("base", handle), *solid(bowl), ("ink", corners((0, 0.0), (13, 0.2), (13, 0.8), (0, 0.9)))),
    )


def _crests() -> tuple[Outline, ...]:
    spikes = ((-6.8, 1.5), (-11, -8.5), (-4, -2.6), (-2.4, -14), (1.2, -2.8), (8, -11), (6, 1.2))
    tips = ((-10.3, -7.8), (-2.3, -13), (7.4, -10.3))
    ball = disc(0.6, -12, 5.0)
    stalk = corners((-1.3, 1.5), (-0.9, -8), (1.5, -8), (1.6, 1.5))
    plume = smooth(
        (4.6, 0.5), (1, -4.4), (-8, -6.6), (-19.5, -10.8), (-13, -3.6), (-5, 0.8), (-1, 2.4), per=3
    )
    dome = smooth((-8, 2), (-8.8, -4), (-5, -9.2), (0.4, -10.6), (5.6, -8.6), (8.2, -3), (6.6, 2), per=3)
    ribs = (corners((x, 0), (2.3 * x, -7.8), (2.3 * x + 0.9, -7.6), (x + 0.9, 0)) for x in (-2.6, -0.3, 1.8))
    return (
        outline(
            *solid(corners(*spikes), 0.62, 0.8j), *(("light", disc(x, y, 1.4, count=8)) for x, y in tips)
        ),
        outline(("shade", stalk), *solid(ball), ("light", disc(1.8, -13.6, 1.5, count=8))),
        outline(
            *solid(plume, 0.8, -0.3j), ("shade", corners((0, -2.6), (-14.5, -7.6), (-14, -6.8), (0, -1.4)))
        ),
        outline(*solid(dome), *(("shade", rib) for rib in ribs)),
    )


def _wings() -> tuple[Outline, ...]:
    leaf = smooth((8.5, -2.8), (5, 4.4), (-4, 6.8), (-12.5, 3.4), (-15.5, -0.8), (-8, -4.8), (2, -6.6), per=3)
    veins = (
        corners((3 - x, y - 0.5), (-7 - x, y + 1.6), (-7 - x, y + 2.4), (3 - x, y + 0.5))
        for x, y in ((1, -2.6), (0, 1.2))
    )
    sickle = smooth(
        (8, -3), (6.5, 2.4), (-1, 3.0), (-9, -0.6), (-20.5, -12.5), (-14, -9.8), (-3, -6.8), (4, -6.4), per=3
    )
    bars = (
        corners((8, -7.5), (7.4, -3.6), (-12.4, -3.8), (-12.8, -7.3)),
        corners((7.4, -1.2), (6, 2.4), (-11.2, 2.0), (-12, -1.4)),
        corners((4.6, 4.8), (1.8, 8.4), (-8.2, 8.0), (-9.8, 4.4)),
    )
    dots = ((-10.2, 0.8), (-3.6, -4.6), (-1.6, 4.8), (5.2, -1.4))
    return (
        outline(*solid(leaf, 0.78, -0.7j), *(("shade", vein) for vein in veins)),
        outline(
            *solid(sickle, 0.78, -0.4j), ("shade", corners((4, -1.8), (-12, -7), (-12, -6.2), (3, -0.8)))
        ),
        outline(*(piece for bar in bars for piece in solid(bar, 0.82, -0.35j))),
        outline(*(piece for x, y in dots for piece in solid(disc(x, y, 3.7, count=12), 0.72, 0.1 - 0.4j))),
    )


def _tails() -> tuple[Outline, ...]:
    fan = smooth(
        (2.5, -3),
        (-6, -9.4),
        (-12.6, -9.4),
        (-16.4, -4.8),
        (-17.4, 0.4),
        (-15.4, 5.6),
        (-10.4, 9),
        (-4.5, 8),
        (2.5, 3),
        per=3,
    )
    feathers = (
        corners((-1, 0.15 * y), (-13, y), (-12.8, y + 0.9), (-1, 0.15 * y + 0.5)) for y in (-5.6, -0.6, 4.4)
    )
    prongs = (
        (2.5, -3.2),
        (-4, -5),
        (-21, -13.5),
        (-18.4, -8.6),
        (-7.4, -0.2),
        (-18.4, 8),
        (-20.5, 12.5),
        (-4.5, 4.8),
        (2.5, 3.2),
    )
    streamer = smooth(
        (2.5, -2.4), (-8, -2.8), (-17, -4.6), (-22.5, -7.6), (-20, -1.0), (-9, 2.4), (2.5, 2.6), per=3
    )
    stem = corners((2.5, -1.9), (-8, -1.6), (-8, 1.2), (2.5, 2.1))
    paddle = disc(-13.4, -0.3, 6.6, 6.4)
    return (
        outline(*solid(fan, 0.8, -0.3j), *(("shade", feather) for feather in feathers)),
        outline(*solid(corners(*prongs), 0.7, -0.2j)),
        outline(
            *solid(streamer, 0.8, -0.2j), ("light", corners((0, -0.9), (-19, -4.1), (-19, -3.4), (0, 0.0)))
        ),
        outline(("shade", stem), *solid(paddle), ("ink", disc(-13.8, -0.5, 2.4, count=10))),
    )


def _feet() -> tuple[Outline, ...]:
    leg = corners((-1.05, -2.5), (1.05, -2.5), (0.95, 8), (-0.95, 8))
    toes = corners(
        (-0.9, 7), (0.9, 7), (1.6, 8.2), (7.0, 10.6), (6.6, 11.8), (2.0, 10.6), (1.5, 13.2), (0.2, 13.2),
        (0, 10.4), (-4.4, 12.2), (-5.0, 11.0),
    )  # fmt: skip
    web = corners(
        (-1.1, -2.5), (1.1, -2.5), (1.4, 4.0), (8.8, 11.2), (4.8, 10.2), (1.6, 12.6), (-1.4, 10.2), (-5.2, 11.4),
        (-1.4, 4.0),
    )  # fmt: skip
    boot = smooth((-4.4, -2.5), (4.4, -2.5), (4.7, 3), (2.9, 8.0), (-2.9, 8.0), (-4.8, 3), per=3)
    sole = corners((-2.6, 7.6), (2.8, 7.6), (5.8, 9.8), (5.6, 11.2), (-2.8, 11.2))
    ball = disc(0.6, 9.6, 4.1, 3.9, 14)
    return (
        outline(
            ("base", leg), ("base", toes), ("shade", corners((-0.95, 0), (-0.1, 0), (-0.1, 9), (-0.95, 9)))
        ),
        outline(*solid(web, 0.72, 0.3j)),
        outline(("shade", sole), *solid(boot, 0.8, -0.2j)),
        outline(("shade", leg), *solid(ball), ("light", disc(1.6, 8.2, 1.3, count=8))),
    )


PART_OUTLINES: Final[dict[str, tuple[Outline, ...]]] = {
    "beak": tuple(grown(drawn, 1.14) for drawn in _beaks()),
    "crest": tuple(grown(drawn, 1.14) for drawn in _crests()),
    "wing": tuple(grown(drawn, 1.08) for drawn in _wings()),
    "tail": tuple(grown(drawn, 1.05) for drawn in _tails()),
    "feet": tuple(grown(drawn, 1.12) for drawn in _feet()),
}
"""The outlines of each part's four shapes, in the order of ``bird_scene.SHAPES``. Feet hold one leg."""

CLUTTER_OUTLINES: Final[tuple[Outline, ...]] = (
    outline(("base", smooth((-1.6, 12), (-2.4, 2), (2, -13), (1.9, 2), (1.2, 12), per=2))),
    outline(("base", disc(0, 0, 4.6)), ("light", disc(-1.2, -1.5, 1.7, count=8))),
    outline(
        ("base", smooth((-8.5, 0), (-2.5, -4.4), (8.5, 0), (-2.5, 4.4), per=3)),
        ("shade", corners((-8, -0.35), (7, -0.35), (7, 0.35), (-8, 0.35))),
    ),
    outline(
        ("shade", corners((-1.0, -14), (1.0, -14), (1.0, 14), (-1.0, 14))),
        ("base", corners((-1.0, -14), (0.2, -14), (0.2, 14), (-1.0, 14))),
    ),
)
"""Blades, berries, leaves and sticks: what lies about, in the parts' own colours."""
TWIG_LEAF: Final = outline(
    ("base", smooth((0, 0), (4, -3.6), (10, -1.5), (4.5, 2.0), per=3)),
    ("shade", corners((1, -0.4), (9, -1.6), (9, -1.1), (1, 0.1))),
)
