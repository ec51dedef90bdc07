"""The outlines that faces are drawn from, in pixels of a 96-pixel image: x to the right, y downwards, as for birds.

The origin is the middle of the face, between nose bridge and tip; skull and chin lie about 30 above and below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dmlviz.images.bird_shapes import Outline, corners, disc, lit, outline, smooth, solid


def both_sides(*right: tuple[float, float], per: int = 3) -> np.ndarray:
    """Round an outline of which the right half is given from top to bottom; the left half mirrors it."""
    left = [(-x, y) for x, y in reversed(right) if x]
    return smooth(*right, *left, per=per)


def mirrored(points: np.ndarray) -> np.ndarray:
    """Turn left into right."""
    return np.asarray(-points.conj())


_CHINS: Final = {
    "oval": ((0, -30), (16, -26), (23.5, -10), (22.0, 9), (13.5, 24.5), (0, 30.5)),
    "round": ((0, -29), (18, -24.5), (26.5, -6), (26.0, 11), (16.5, 23.5), (0, 27.0)),
    "square": ((0, -30), (18, -27), (24.0, -10), (24.0, 10), (21.5, 23.0), (11, 29.0), (0, 29.4)),
    "heart": ((0, -30), (19, -26), (26.5, -10), (21.5, 7), (9.5, 24.5), (0, 32.5)),
}


def _faces() -> tuple[Outline, ...]:
    found = []
    for points in _CHINS.values():
        rim = both_sides(*points)
        found.append(
            outline(
                ("shade", rim),
                ("base", lit(rim, 0.93, -0.9j)),
            )
        )
    return tuple(found)


FACES: Final = _faces()
"""One for each shape of "face"; the cheeks' blush is drawn apart."""
EAR: Final = outline(("shade", disc(24.5, -1, 5.6, 7.4, 16)), ("base", disc(24.8, -1.6, 4.0, 5.6, 14)))
NECK: Final = outline(
    ("shade", corners((-11, 14), (11, 14), (12, 46), (-12, 46))),
    ("ink", both_sides((0, 29), (9.5, 24), (11, 30), (0, 36.5), per=2)),
)


def _bob() -> tuple[Outline, Outline]:
    back = both_sides((0, -38), (19, -35), (30, -20), (32, 4), (31.5, 18), (22, 20.5), (0, 14))
    fringe = both_sides(
        (0, -37.5), (18, -34.5), (28, -20), (30, 2), (24.6, 4), (22.4, -13), (0, -14.5), per=3
    )
    strands = (
        corners((x, -34), (x + 1.3, -34), (1.55 * x + 1, -16.5), (1.55 * x, -16.5)) for x in (-12, -5, 2, 9)
    )
    return outline(("shade", back)), outline(
        ("base", fringe), *(("shade", strand) for strand in strands), ("light", disc(-8, -30, 9, 2.2, 12))
    )


def _curls() -> tuple[Outline, Outline]:
    ring = [(31.0 * np.cos(a), -13 + 25.0 * np.sin(a)) for a in np.linspace(-0.16 * np.pi, -0.84 * np.pi, 9)]
    ring = [(30.5, 12), (32.5, 0), *ring, (-32.5, 0), (-30.5, 12)]
    back = outline(*(("shade", disc(x, y, 8.6, 8.6, 12)) for x, y in ring), ("shade", disc(0, -12, 27, 24)))
    rim = [(25, -14), (18.5, -23.5), (9.5, -29), (0, -30), (-9.5, -29), (-18.5, -23.5), (-25, -14)]
    pieces = [("base", disc(1.12 * x, 1.12 * y, 7.6, 7.6, 12)) for x, y in rim]
    pieces += [("light", disc(1.16 * x - 1.5, 1.16 * y - 2.5, 2.6, 2.0, 8)) for x, y in rim]
    return back, outline(*pieces)


def _long() -> tuple[Outline, Outline]:
    back = both_sides((0, -38), (20, -34), (30.5, -17), (32, 10), (35, 46), (20, 48), (0, 40))
    lock = smooth(
        (-2.5, -37), (-18, -34), (-29, -18), (-31, 10), (-33, 42), (-25.6, 38), (-24.6, 6), (-23, -8), (-13, -18),
        (0, -29), per=3,
    )  # fmt: skip
    shine = smooth((-8, -33), (-20, -27), (-26.5, -12), (-23.6, -14), (-17, -24), per=2)
    return outline(("shade", back)), outline(
        ("base", lock),
        ("base", mirrored(lock)),
        ("light", shine),
        ("shade", corners((-0.9, -36.5), (0.9, -36.5), (0, -28))),
    )


def _quiff() -> tuple[Outline, Outline]:
    sides = both_sides((0, -33), (19, -29), (27, -14), (26.6, 0), (23, -3), (0, -14))
    swoosh = smooth(
        (-25, -8), (-27.5, -22), (-20, -36), (-4, -43), (12, -43.5), (27, -38), (24.6, -33), (28, -27), (24.5, -12),
        (18, -23), (2, -24), (-14, -21), (-21.5, -13), per=3,
    )  # fmt: skip
    lines = (
        smooth((-18, -24), (-10, -35), (8, -40), (20, -37.5), (6, -37.2), (-8, -32), per=2),
        smooth((-12, -24), (-2, -31), (12, -34), (22, -31.5), (10, -31.6), (0, -28), per=2),
    )
    return outline(("shade", sides)), outline(("base", swoosh), ("light", lines[0]), ("shade", lines[1]))


def _bun() -> tuple[Outline, Outline]:
    knot = disc(0, -39, 11.5, 9.5, 18)
    back = outline(("shade", knot), ("base", lit(knot, 0.78, -0.8j)), ("light", disc(-3, -43, 3.6, 1.7, 10)))
    cap = both_sides((0, -33.5), (17, -30), (26, -15), (26.5, -3), (23.6, -4), (18, -17), (0, -22.5))
    lines = (
        corners((x, -32.5), (x + 1.2, -32.5), (2.3 * x + 0.8, -21), (2.3 * x, -20.6))
        for x in (-7, -2.6, 1.6, 6)
    )
    return back, outline(("base", cap), *(("shade", line) for line in lines))


HAIR: Final = (_bob(), _curls(), _long(), _quiff(), _bun())
"""What lies behind the head and what lies in front of it, for each shape of "hair"."""


def _brows() -> tuple[Outline, ...]:
    straight = smooth((-7, -1.4), (0, -2.0), (7.2, -1.2), (7.2, 1.2), (0, 1.4), (-7, 1.7), per=2)
    arched = smooth(
        (-7, 1.8), (-2, -3.0), (3, -3.6), (8.4, 2.0), (3.2, -1.2), (-1.5, -0.6), (-6.4, 3.6), per=3
    )
    bushy = smooth(
        (-8.2, -2.6), (-3, -4.3), (3, -4.2), (8.6, -2.0), (8.4, 2.2), (2, 2.4), (-4, 2.6), (-8.2, 2.4), per=2
    )
    hairs = (
        corners((x, -3.2), (x + 1.0, -3.2), (x + 0.2, 1.6), (x - 0.6, 1.6)) for x in (-5.4, -2, 1.4, 4.8)
    )
    slanted = corners((-7.6, 1.2), (-6.6, 4.2), (8, -1.6), (7.2, -4.6))
    return (
        outline(("base", straight)),
        outline(("base", arched)),
        outline(("base", bushy), *(("shade", hair) for hair in hairs)),
        outline(("base", slanted), ("shade", corners((-7.0, 3.0), (-6.6, 4.2), (8, -1.6), (7.7, -2.7)))),
    )


BROWS: Final = _brows()
"""The right brow (x towards the temple) for each shape of "brows"."""


@dataclass(frozen=True)
class Eye:
    """The right eye (x towards the temple), half open by two lids: y = ±height·(1 − (x/half)²)^power + tilt·x.

    Args:
        half: Half its width.
        upper: Height of the upper lid above the line of the eye.
        lower: Depth of the lower lid.
        tilt: How much the outer corner lies lower, per pixel of x.
        power: Less than one makes lids boxy.
        lash: Thickness of the upper lid's line.
        iris: Radius of the iris.
    """

    half: float
    upper: float
    lower: float
    tilt: float
    power: float
    lash: float
    iris: float


EYES: Final = (
    Eye(6.4, 5.8, 5.4, 0.0, 0.5, 1.1, 3.9),
    Eye(7.6, 4.7, 3.3, -0.10, 1.0, 1.5, 3.5),
    Eye(7.0, 1.0, 4.6, 0.05, 0.6, 2.7, 3.7),
    Eye(8.2, 2.9, 2.5, -0.20, 0.8, 1.3, 2.9),
)


def _noses() -> tuple[Outline, ...]:
    button = disc(0, 5.5, 5.6, 4.9, 16)
    long = smooth(
        (-2.2, -7), (2.2, -7), (3.0, 3), (4.9, 8), (2.8, 11.4), (-2.8, 11.4), (-4.9, 8), (-3.0, 3), per=3
    )
    broad = smooth(
        (-2.6, -2),
        (2.6, -2),
        (4.6, 3),
        (9.0, 6.6),
        (7.0, 10),
        (0, 9.2),
        (-7.0, 10),
        (-9.0, 6.6),
        (-4.6, 3),
        per=3,
    )
    pointed = corners((-1.4, -6), (1.4, -6), (6.8, 8.2), (0, 11.2), (-6.8, 8.2))
    return (
        outline(*solid(button, 0.8, -0.6j), ("light", disc(-1.4, 3.4, 1.7, 1.3, 8))),
        outline(
            *solid(long, 0.78, -0.2j),
            ("ink", disc(-2.3, 10, 1.0, 0.8, 8)),
            ("ink", disc(2.3, 10, 1.0, 0.8, 8)),
        ),
        outline(
            *solid(broad, 0.8, -0.4j),
            ("ink", disc(-4.6, 8.1, 1.6, 0.9, 8)),
            ("ink", disc(4.6, 8.1, 1.6, 0.9, 8)),
        ),
        outline(("base", pointed), ("shade", corners((0.2, -6), (1.4, -6), (6.8, 8.2), (0, 11.2)))),
    )


NOSES: Final = _noses()
"""One for each shape of "nose"."""


@dataclass(frozen=True)
class Mouth:
    """Two lips as heights over x in [−half, half]; expression bends and opens them.

    Args:
        half: Half its width at rest.
        upper: Thickness of the upper lip.
        lower: Thickness of the lower lip.
        bow: How deep the notch in the middle of the upper lip is.
        teeth: Whether two teeth show even when the mouth is closed.
    """

    half: float
    upper: float
    lower: float
    bow: float
    teeth: bool = False


MOUTHS: Final = (
    Mouth(8.6, 3.3, 4.3, 0.6),
    Mouth(11.2, 1.6, 2.0, 0.0),
    Mouth(5.8, 4.2, 3.6, 2.6),
    Mouth(9.0, 1.9, 2.2, 0.3, teeth=True),
)
