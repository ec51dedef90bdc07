"""What the objects of a place look like from the air."""

from __future__ import annotations

import math
from typing import Final

from dmlviz.images.place_shapes import Corner, Ink, Piece, Shape, along, flat, shape, wavy
from dmlviz.images.place_solids import SOLIDS


def _sectors(radius: float, count: int, inks: tuple[Ink, ...], slope: float = 0.6) -> list[Piece]:
    """A cone seen from above."""
    pieces: list[Piece] = []
    for k in range(count):
        a, b = 2 * math.pi * k / count, 2 * math.pi * (k + 1) / count
        middle = (a + b) / 2
        corners = (0j, radius * complex(math.cos(a), math.sin(a)), radius * complex(math.cos(b), math.sin(b)))
        normal = (slope * math.cos(middle), slope * math.sin(middle), math.sqrt(1 - slope * slope))
        pieces.append((inks[k % len(inks)], flat(corners), normal))
    return pieces


def _disc(x: float, y: float, radius: float, count: int = 14) -> tuple[Corner, ...]:
    angles = [2 * math.pi * k / count for k in range(count)]
    return flat(complex(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def _roof(length: float, width: float, ridge: Ink) -> list[Piece]:
    a, b = length / 2, width / 2
    pieces: list[Piece] = [
        (
            ("main", 1.0),
            ((-a, side * b, 0.0), (a, side * b, 0.0), (a, 0, 0), (-a, 0, 0)),
            (0.0, 0.7 * side, 0.7),
        )
        for side in (1.0, -1.0)
    ]
    pieces.append((ridge, ((-a, -0.35, 0.0), (a, -0.35, 0.0), (a, 0.35, 0.0), (-a, 0.35, 0.0)), None))
    return pieces


def _star(outer: float, inner: float, count: int) -> list[complex]:
    found = []
    for k in range(2 * count):
        a, r = math.pi * k / count, outer if k % 2 == 0 else inner
        found.append(complex(r * math.cos(a), r * math.sin(a)))
    return found


FROM_ABOVE: Final[dict[str, Shape]] = {
    "cottage": shape(
        [
            *_roof(10.7, 8.7, ("main", 0.62)),
            (("brick", 1.0), flat(along(1.5, 3.1, 0.5, 1.9, 1)), None),
        ]
    ),
    "barn": shape(
        [
            *_roof(14.7, 9.5, ("white", 1.0)),
            *((("main", 0.6), flat(along(x - 0.5, x + 0.5, -4.7, 4.7, 1)), None) for x in (-3.6, 3.6)),
        ]
    ),
    "tower": shape(
        [
            (("stone", 0.8), _disc(0, 0, 4.1), None),
            *_sectors(3.6, 8, (("main", 1.0),), 0.75),
            (("stone", 1.0), _disc(0, 0, 0.7, 8), None),
        ]
    ),
    "mill": shape(
        [(("plaster", 1.0), _disc(0, 0, 3.9), None), (("main", 1.0), _disc(0, 0, 2.8), None)],
    ),
    "tent": shape(
        [
            *_sectors(5.5, 12, (("main", 1.0), ("canvas", 1.0)), 0.5),
            (("stone", 0.7), _disc(0, 0, 0.6, 8), None),
        ]
    ),
    "tree": shape(
        [
            (("main", 0.76), flat(wavy(4.9, 4.9, 0.09, 20, 0.0)), None),
            (("main", 1.0), _disc(-0.6, 0.7, 3.5), None),
            (("main", 1.22), _disc(-1.2, 1.4, 1.6, 10), None),
        ]
    ),
    "conifer": shape(
        [
            (("main", 0.74), flat(_star(4.1, 2.5, 9)), None),
            (("main", 1.0), flat(_star(2.9, 1.5, 7)), None),
            (("main", 1.25), _disc(0, 0, 0.8, 8), None),
        ]
    ),
    "pond": SOLIDS["pond"],
    "field": SOLIDS["field"],
    "road": SOLIDS["road"],
}
"""How each kind looks from the air."""

TALL: Final = {
    "cottage": (3.6, 6.5), "barn": (4.4, 8.0), "tower": (2.9, 19.0), "mill": (3.2, 12.0), "tent": (4.6, 6.0),
    "tree": (4.2, 8.5), "conifer": (2.6, 13.0),
}  # fmt: skip
"""The shadow that a kind throws: half its breadth and the height of its top, in metres."""
