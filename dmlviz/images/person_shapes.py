"""The outlines that persons are drawn from, in pixels of a 128 × 64 image: x to the right, y downwards.

A person is about 104 units tall: the crown lies at y = 0, shoulders at 21, hips at 56, soles at 104; x = 0 is the
middle. Each part has its own frame, named beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dmlviz.images.bird_shapes import Outline, corners, disc, lit, outline, smooth, solid
from dmlviz.images.face_shapes import both_sides

Front = dict[str, Outline]

HEAD: Final = both_sides((0, 2), (6.4, 4.4), (7.6, 10), (6.0, 16), (0, 18.6), per=2)
"""Seen from the front or from behind; frame of the whole person."""
PROFILE: Final = smooth(
    (-5.5, 4), (0, 2), (5.6, 4.6), (6.6, 9), (8.6, 11.6), (6.6, 12.8), (6.2, 16), (2.5, 18.4), (-3.5, 16), (-6.6, 10),
    per=2,
)  # fmt: skip
"""Seen from the side, looking to +x."""


def _hair() -> tuple[Front, ...]:
    """For each shape: "front", "back" and "side" of what covers the head, looking to +x from the side."""
    cap = both_sides((0, 0), (6, 1.6), (8.6, 7), (8, 10.5), (6.4, 6.2), (0, 5.2), per=2)
    nape = both_sides((0, 0), (6, 1.6), (8.6, 8), (6.8, 14.5), (0, 16), per=2)
    crop = smooth(
        (6.4, 4.6), (1.5, -0.4), (-5, 1), (-8.4, 7), (-6.6, 14.6), (-3, 14), (-2.4, 7), (2, 5.4), per=2
    )
    short: Front = {
        "front": outline(*solid(cap)),
        "back": outline(*solid(nape)),
        "side": outline(*solid(crop)),
    }

    lock = smooth((-1, 0), (-6.6, 1.2), (-9.6, 8), (-10.6, 27), (-6.8, 26), (-6.4, 9), (-3, 5.4), per=2)
    curtain = both_sides((0, -0.6), (6.6, 1), (10, 8), (11.2, 30), (0, 33), per=2)
    fall = smooth(
        (6.4, 4.8), (1.5, -0.6), (-6, 0.8), (-9.6, 8), (-11.6, 31), (-4.4, 29), (-2, 13), (1, 6), per=2
    )
    parting = corners((-0.5, 0), (0.5, 0), (0.5, 32), (-0.5, 32))
    long: Front = {
        "front": outline(("base", lock), ("base", -lock.conj()), ("light", disc(-4.6, 2.8, 2.2, 1.0, 8))),
        "back": outline(*solid(curtain, 0.84), ("shade", parting)),
        "side": outline(*solid(fall, 0.8)),
    }

    knot = disc(0, -3.4, 5.6, 4.8, 14)
    behind = disc(-8.4, 1.4, 5.4, 5.0, 14)
    bun: Front = {
        "front": outline(*solid(knot), *solid(cap)),
        "back": outline(*solid(nape), *solid(disc(0, 1.0, 6.0, 5.4, 14))),
        "side": outline(*solid(crop), *solid(behind)),
    }

    around = [(9.4 * np.cos(a), 6.5 + 8.6 * np.sin(a)) for a in np.linspace(0.15 * np.pi, -1.15 * np.pi, 9)]
    balls = [piece for x, y in around for piece in solid(disc(x, y, 4.3, 4.2, 10), 0.66)]
    backs = [("shade", disc(0, 7.5, 10.5, 10, 16)), *balls, ("base", disc(0, 7, 7.6, 7.4, 14))]
    turned = [piece for x, y in around[2:] for piece in solid(disc(x - 2.2, y, 4.3, 4.2, 10), 0.66)]
    curly: Front = {
        "front": outline(*balls),
        "back": outline(*backs),
        "side": outline(("base", disc(-3.4, 6, 6.6, 6.4, 14)), *turned),
    }

    dome = both_sides((0, -5), (6.6, -3), (8.2, 4.6), (0, 5.6), per=2)
    brim = disc(0, 4.8, 14.4, 2.7, 18)
    band = corners((-8.2, 2.2), (8.2, 2.2), (8.4, 4.2), (-8.4, 4.2))
    hat: Front = dict.fromkeys(
        ("front", "back", "side"),
        outline(("shade", brim), *solid(dome, 0.86), ("ink", band), ("base", disc(0, 5.4, 13, 1.5, 16))),
    )
    return short, long, bun, curly, hat


HAIR: Final = _hair()
EYES: Final = (disc(-2.7, 10.2, 1.15, 1.5, 8), disc(2.7, 10.2, 1.15, 1.5, 8))
SIDE_EYE: Final = disc(4.2, 9.6, 1.0, 1.5, 8)

TORSO: Final = both_sides((0, 19.5), (6, 20), (12.4, 23), (12.2, 34), (11.2, 46), (12, 58), (0, 59.5), per=2)
"""The top's trunk, as seen from the front; from the side it is narrower."""
COAT: Final = both_sides((0, 19.5), (6, 20), (12.8, 23), (12.6, 36), (13.2, 52), (15.6, 76), (0, 77.5), per=2)
STRIPES: Final = tuple(corners((-15, y), (15, y), (15, y + 3.6), (-15, y + 3.6)) for y in (26, 34, 42, 50))
BIB: Final = corners((-7.6, 33), (7.6, 33), (10.6, 46), (11.4, 59), (-11.4, 59), (-10.6, 46))
BRACES: Final = (
    corners((-7.2, 21), (-4.4, 20.4), (-4.6, 34), (-7.4, 34)),
    corners((7.2, 21), (4.4, 20.4), (4.6, 34), (7.4, 34)),
)
HOOD: Final = both_sides((0, 17), (7, 17.6), (10, 22), (5.5, 27), (0, 28.4), per=2)
POUCH: Final = corners((-6.2, 45), (6.2, 45), (8.6, 55), (-8.6, 55))

ARM: Final = smooth((-3.0, -1), (0, -2.6), (3.2, 0), (2.9, 14), (2.6, 27), (-2.3, 27), (-2.9, 14), per=2)
"""Frame of an arm: the shoulder at the origin, hanging to +y."""
SLEEVE: Final = smooth((-3.9, -1), (0, -3.2), (4.1, 0), (4.4, 11), (-4.0, 11.6), per=2)
LONG_SLEEVE: Final = smooth(
    (-3.7, -1), (0, -3.2), (3.9, 0), (3.6, 13), (3.3, 23.5), (-2.9, 23.5), (-3.5, 13), per=2
)
SLEEVE_STRIPES: Final = tuple(corners((-4, y), (4, y), (4, y + 3.0), (-4, y + 3.0)) for y in (5, 12, 19))
HAND: Final = disc(0, 27, 3.0, 3.2, 10)

LEG: Final = corners((-4.4, 0), (4.4, 0), (3.4, 24), (2.8, 44), (-2.8, 44), (-3.4, 24))
"""Frame of a leg: the hip at the origin, hanging to +y; the sole lies at 49."""
TROUSER: Final = smooth((-5.9, -1), (0, -2), (5.9, -1), (5.2, 22), (4.7, 44), (-4.7, 44), (-5.2, 22), per=2)
SHORT: Final = corners((-6.0, -2), (6.0, -2), (7.0, 19), (-7.0, 19))
FLARE: Final = corners((-5.8, -2), (5.8, -2), (4.4, 22), (8.2, 42), (-8.2, 42), (-4.4, 22))
HIPS: Final = both_sides((0, 53), (11.2, 53.4), (11.6, 60), (0, 64), per=2)


def _shoes() -> tuple[Outline, ...]:
    """Frame of a leg's end: the ankle at (0, 42), toes to +x."""
    trainer = smooth((-4.0, 41), (3.2, 41), (9.6, 46), (9.8, 49), (-4.6, 49), per=2)
    sole = corners((-4.8, 47.4), (10.0, 47.4), (10.0, 49.8), (-4.8, 49.8))
    boot = smooth((-5.2, 27), (5.2, 27), (4.6, 41), (9.2, 45.5), (9.4, 49.6), (-5.0, 49.6), per=2)
    strap = corners((-3.6, 42), (0.6, 42), (6.4, 47), (3.6, 47.4))
    clog = smooth((-4.6, 42), (1, 42.4), (9, 42), (11.6, 47), (6, 50.2), (-5, 50), per=2)
    return (
        outline(*solid(trainer, 0.8, -0.3j), ("light", sole)),
        outline(*solid(boot, 0.82, -0.3j), ("ink", corners((-5, 48), (9.4, 48), (9.4, 50), (-5, 50)))),
        outline(("base", corners((-4.8, 46.8), (9.8, 46.8), (9.8, 49.4), (-4.8, 49.4))), ("base", strap),
                ("base", corners((-4.8, 41), (-2.8, 41), (-2.8, 48), (-4.8, 48)))),
        outline(*solid(clog, 0.78, -0.5j), ("light", disc(5, 44.6, 2.4, 1.0, 8))),
    )  # fmt: skip


SHOES: Final = _shoes()

_PACK: Final = both_sides((0, 20), (9.6, 21.6), (11.8, 32), (12.4, 50), (0, 53.5), per=2)
_PACK_SIDE: Final = smooth((-5, 21), (-12, 23), (-18, 33), (-18.6, 48), (-12, 52), (-5, 51), per=2)
_STRAPS: Final = (
    corners((-8.8, 20.6), (-5.6, 20), (-6.6, 42), (-9.4, 41)),
    corners((8.8, 20.6), (5.6, 20), (6.6, 42), (9.4, 41)),
)
_PEEP: Final = both_sides((0, 17.6), (9, 18.4), (15.6, 27), (16.4, 50), (11, 54), (0, 50), per=2)
BACKPACK: Final = {
    "front": outline(("base", _STRAPS[0]), ("base", _STRAPS[1])),
    "behind": outline(*solid(_PEEP, 0.94, -0.4j)),
    "back": outline(*solid(_PACK, 0.86, -0.6j), ("ink", corners((-7, 40), (7, 40), (7, 41.2), (-7, 41.2))),
                    ("light", corners((-6, 25), (6, 25), (6, 27.6), (-6, 27.6)))),
    "side": outline(*solid(_PACK_SIDE, 0.84, -0.4j), ("base", corners((-5, 20), (0, 20.6), (-1.4, 36), (-4.2, 38)))),
}  # fmt: skip
"""What shows of a backpack: "behind" is painted before the person who is seen from the front."""


def _carried() -> dict[str, Outline]:
    sack = smooth((-8.6, 8), (8.6, 8), (9.8, 26), (7, 28), (-7, 28), (-9.8, 26), per=2)
    handles = corners(
        (-5, 8.4), (-3.4, -1), (3.4, -1), (5, 8.4), (3.6, 8.4), (2.4, 0.8), (-2.4, 0.8), (-3.6, 8.4)
    )
    case = smooth((-8.4, 14), (8.4, 14), (8.8, 48), (-8.8, 48), per=2)
    pole = corners(
        (-4.6, 14.4), (-4.6, -1), (4.6, -1), (4.6, 14.4), (3, 14.4), (3, 0.8), (-3, 0.8), (-3, 14.4)
    )
    wheels = [("ink", disc(x, 49.4, 1.9, 1.9, 8)) for x in (-5.6, 5.6)]
    ribs = [("shade", corners((x, 17), (x + 1.2, 17), (x + 1.2, 45), (x, 45))) for x in (-4.4, -0.6, 3.2)]
    return {
        "tote": outline(("shade", handles), *solid(sack, 0.86), ("light", disc(0, 18.4, 3.6, 3.6, 12))),
        "suitcase": outline(("ink", pole), *wheels, *solid(case, 0.88), *ribs),
    }


CARRIED: Final = _carried()
"""Bags that hang from, or roll beside, a hand: the hand at the origin."""
SATCHEL: Final = outline(
    *solid(smooth((-8, 0), (8, 0), (8.4, 13), (-8.4, 13), per=2), 0.86),
    ("ink", corners((-7.6, 4.6), (7.6, 4.6), (7.6, 5.8), (-7.6, 5.8))),
)
"""Frame: the middle of its upper edge at the origin."""
SATCHEL_STRAP: Final = corners((-10.6, 21.4), (-7.4, 20), (12.6, 56.0), (10.6, 58.4))
SATCHEL_SIDE: Final = corners((-1.6, 19.6), (1.6, 19.6), (1.4, 56), (-1.4, 56))
LIT_TORSO: Final = lit(TORSO, 0.86, -0.6j)
"""The lit inside of a torso."""
