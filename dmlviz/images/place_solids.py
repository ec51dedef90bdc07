"""What the objects of a place look like from the ground: houses as solids, round things as boards across the view."""

from __future__ import annotations

import math
from typing import Final

from dmlviz.images.place_shapes import Corner, Ink, Piece, Shape, along, flat, shape, wavy


def _gabled(length: float, width: float, wall: float, ridge: float, walls: Ink, barn: bool) -> list[Piece]:
    """A house with a ridge along x; its faces are culled, so they need no order among themselves."""
    a, b, rise = length / 2, width / 2, ridge - wall
    eave, lip = 0.55, 0.55
    drop = eave * rise / b
    name, bright = walls
    pieces: list[Piece] = []
    for side in (1.0, -1.0):
        front = ((-a, side * b, 0.0), (a, side * b, 0.0), (a, side * b, wall), (-a, side * b, wall))
        pieces.append((walls, front, (0.0, side, 0.0)))
        gable = (
            (side * a, -b, 0.0), (side * a, b, 0.0), (side * a, b, wall), (side * a, 0.0, ridge), (side * a, -b, wall)
        )  # fmt: skip
        pieces.append(((name, 0.9 * bright), gable, (side, 0.0, 0.0)))
        if not barn:  # boards along the roof's edge, so that its colour shows from this side too
            for half in (1.0, -1.0):
                board = (
                    (side * a, half * b, wall - 1.2), (side * a, half * b, wall), (side * a, 0.0, ridge),
                    (side * a, 0.0, ridge - 1.7),
                )  # fmt: skip
                pieces.append((("main", 0.94), board, (side, 0.0, 0.0)))
        if barn:
            pieces.append((("white", 1.0), _upright_x(side * a, -1.9, 1.9, 0.0, 4.2), (side, 0.0, 0.0)))
            pieces.append((("main", 0.75), _upright_x(side * a, -1.4, 1.4, 0.0, 3.7), (side, 0.0, 0.0)))
            pieces += [
                (("white", 1.0), _upright_y(side * b, x - 0.7, x + 0.7, 2.0, 3.6), (0.0, side, 0.0))
                for x in (-4.0, 0.0, 4.0)
            ]
        else:
            pieces.append((("glass", 1.0), _upright_x(side * a, -1.0, 1.0, 1.7, 3.9), (side, 0.0, 0.0)))
            pieces += [
                (("glass", 1.0), _upright_y(side * b, x - 0.9, x + 0.9, 1.7, 3.7), (0.0, side, 0.0))
                for x in (-2.9, 2.9)
            ]
            pieces.append((("door", 1.0), _upright_y(side * b, -0.9, 0.9, 0.0, 3.4), (0.0, side, 0.0)))
    if not barn:
        stack = ((1.6, 0.0, wall), (3.0, 0.0, wall), (3.0, 0.0, ridge + 1.7), (1.6, 0.0, ridge + 1.7))
        pieces.append((("brick", 1.0), stack, None))
    for side in (1.0, -1.0):
        low = wall - drop
        roof = (
            (-a - lip, side * (b + eave), low), (a + lip, side * (b + eave), low), (a + lip, 0.0, ridge),
            (-a - lip, 0.0, ridge),
        )  # fmt: skip
        slope = math.hypot(rise, b)
        pieces.append((("main", 1.0), roof, (0.0, side * rise / slope, b / slope)))
        if barn:
            for x in (-0.5 * a, 0.5 * a):
                strip = (
                    (x - 0.6, side * (b + eave), low), (x + 0.6, side * (b + eave), low), (x + 0.6, 0.0, ridge),
                    (x - 0.6, 0.0, ridge),
                )  # fmt: skip
                pieces.append((("main", 0.72), strip, (0.0, side * rise / slope, b / slope)))
    return pieces


def _upright_x(x: float, left: float, right: float, low: float, high: float) -> tuple[Corner, ...]:
    return (x, left, low), (x, right, low), (x, right, high), (x, left, high)


def _upright_y(y: float, left: float, right: float, low: float, high: float) -> tuple[Corner, ...]:
    return (left, y, low), (right, y, low), (right, y, high), (left, y, high)


def _board(*points: tuple[float, float]) -> tuple[Corner, ...]:
    """A polygon across the view: (sideways, up) pairs."""
    return tuple((x, 0.0, up) for x, up in points)


def _blob(x: float, up: float, width: float, height: float, count: int = 14) -> tuple[Corner, ...]:
    angles = [2 * math.pi * k / count for k in range(count)]
    return _board(*((x + width * math.cos(a), up + height * math.sin(a)) for a in angles))


def _tower() -> list[Piece]:
    return [
        (("stone", 1.0), _board((-2.9, 0), (2.9, 0), (2.4, 14), (-2.4, 14)), None),
        (("stone", 0.78), _board((0.9, 0), (2.9, 0), (2.4, 14), (0.7, 14)), None),
        (("main", 1.0), _board((-2.75, 4.5), (2.75, 4.5), (2.6, 8.0), (-2.6, 8.0)), None),
        (("main", 0.75), _board((0.85, 4.5), (2.75, 4.5), (2.6, 8.0), (0.8, 8.0)), None),
        (("glass", 1.0), _board((-1.3, 9.6), (0.0, 9.6), (0.0, 12.2), (-1.3, 12.2)), None),
        (("main", 1.0), _board((-3.5, 13.6), (3.5, 13.6), (0, 21)), None),
        (("main", 0.75), _board((0.9, 13.6), (3.5, 13.6), (0, 21)), None),
    ]


def _mill() -> list[Piece]:
    return [
        (("plaster", 1.0), _board((-3.5, 0), (3.5, 0), (2.2, 10.5), (-2.2, 10.5)), None),
        (("plaster", 0.82), _board((1.0, 0), (3.5, 0), (2.2, 10.5), (0.7, 10.5)), None),
        (("door", 1.0), _board((-1.1, 0), (0.8, 0), (0.8, 3.0), (-1.1, 3.0)), None),
        (
            ("main", 1.0),
            _board((-2.8, 10.2), (2.8, 10.2), (2.3, 12.4), (1, 13.8), (-1, 13.8), (-2.3, 12.4)),
            None,
        ),
        (("main", 0.78), _board((0.9, 10.2), (2.8, 10.2), (2.3, 12.4), (1.0, 13.8)), None),
    ]


def _tent() -> list[Piece]:
    pieces: list[Piece] = []
    edges = [-5.0, -3.9, -1.8, 1.8, 3.9, 5.0]
    for k in range(5):
        ink = ("main", 1.0) if k % 2 == 0 else ("canvas", 1.0)
        left, right = edges[k], edges[k + 1]
        shade = 1.0 if k < 3 else 0.84
        pieces.append(
            ((ink[0], 0.86 * shade), _board((left, 0), (right, 0), (right, 3.4), (left, 3.4)), None)
        )
        pieces.append(((ink[0], shade), _board((1.1 * left, 3.4), (1.1 * right, 3.4), (0.0, 9.4)), None))
    pieces.append((("stone", 0.6), _board((-0.15, 9), (0.15, 9), (0.15, 12.5), (-0.15, 12.5)), None))
    pieces.append((("main", 1.0), _board((0.1, 12.5), (2.4, 11.7), (0.1, 10.9)), None))
    return pieces


def _tree() -> list[Piece]:
    return [
        (("bark", 1.0), _board((-0.75, 0), (0.75, 0), (0.6, 5), (-0.6, 5)), None),
        (("main", 0.78), _blob(0, 7.2, 4.5, 4.2, 16), None),
        (("main", 0.78), _blob(-2.2, 5.8, 2.9, 2.4, 12), None),
        (("main", 0.78), _blob(2.3, 5.9, 2.9, 2.4, 12), None),
        (("main", 1.0), _blob(-0.7, 7.9, 3.4, 3.1, 14), None),
        (("main", 1.22), _blob(-1.4, 9.0, 1.6, 1.3, 10), None),
    ]


def _conifer() -> list[Piece]:
    pieces: list[Piece] = [(("bark", 1.0), _board((-0.6, 0), (0.6, 0), (0.6, 3), (-0.6, 3)), None)]
    for low, high, wide in ((1.8, 8.0, 3.5), (5.4, 11.2, 2.9), (8.8, 15.0, 2.2)):
        pieces.append((("main", 0.8), _board((-wide, low), (wide, low), (0, high)), None))
        pieces.append((("main", 1.08), _board((-wide, low), (0.2 * wide, low), (0, high)), None))
    return pieces


def _pond() -> list[Piece]:
    return [
        (("sand", 1.0), flat(wavy(6.8, 5.2, 0.12)), None),
        (("main", 1.0), flat(0.86 * z for z in wavy(6.8, 5.2, 0.12)), None),
        (("main", 1.22), flat(0.42 * z + complex(-1.2, 0.9) for z in wavy(6.8, 5.2, 0.12)), None),
    ]


def _field() -> list[Piece]:
    pieces: list[Piece] = [(("main", 0.74), flat(along(-8, 8, -6, 6)), None)]
    pieces += [
        (("main", 1.0), flat(along(-7.6, 7.6, y, y + 1.3)), None) for y in (-5.5, -3.2, -0.9, 1.4, 3.7)
    ]
    return pieces


def _road() -> list[Piece]:
    stretch = [-20.6, -18.0, -17.0, -16.0, -14.0, -11.0, -7.0, 0.0, 12.0, 60.0]
    side = [complex(x, -2.1) for x in stretch] + [complex(x, 2.1) for x in reversed(stretch)]
    dashes = [
        (("line", 1.0), flat(along(x, x + 2.6, -0.22, 0.22, 2)), None)
        for x in (-15.0, -9.5, -4.0, 1.5, 7.0, 12.5)
    ]
    return [(("road", 1.0), flat(side), None), *dashes]


SOLIDS: Final[dict[str, Shape]] = {
    "cottage": shape(_gabled(9.6, 7.6, 4.6, 8.6, ("plaster", 1.0), barn=False)),
    "barn": shape(_gabled(13.6, 8.4, 5.6, 10.2, ("main", 0.86), barn=True)),
    "tower": shape(_tower(), round_=True),
    "mill": shape(_mill(), round_=True),
    "tent": shape(_tent(), round_=True),
    "tree": shape(_tree(), round_=True),
    "conifer": shape(_conifer(), round_=True),
    "pond": shape(_pond()),
    "field": shape(_field()),
    "road": shape(_road()),
}
"""How each kind looks from the ground."""

HUB: Final = 11.2
"""How high the blades of a mill are fixed."""

CLUTTER_SOLIDS: Final[tuple[Shape, ...]] = (
    shape(
        [(("main", 0.85), _blob(0, 0.8, 1.5, 1.0), None), (("main", 1.0), _blob(-0.4, 1.1, 0.8, 0.6), None)],
        True,
    ),
    shape(
        [
            (("stone", 0.66), _blob(0, 0.5, 1.3, 0.8), None),
            (("stone", 0.82), _blob(-0.2, 0.7, 0.8, 0.5), None),
        ],
        True,
    ),
    shape(
        [
            (("glass", 0.7), _blob(-0.6, 0.4, 0.16, 0.5, 6), None),
            (("glass", 0.7), _blob(0.6, 0.4, 0.16, 0.5, 6), None),
            (("white", 0.97), _blob(0, 1.1, 1.15, 0.75), None),
            (("glass", 0.7), _blob(1.1, 1.35, 0.42, 0.36, 8), None),
        ],
        True,
    ),
    shape(
        [(("sand", 0.8), _blob(0, 0.9, 1.2, 1.0), None), (("sand", 1.0), _blob(0, 0.9, 0.7, 0.6), None)], True
    ),
)
"""A bush, a stone, a sheep and a bale, which may lie anywhere and are no objects of a place."""
