"""Drawing a place from the ground, all the way round.

The panorama is a cylinder: a column is a bearing, and a point ``h`` metres above the ground at distance ``d`` lies
``F · (eye − h) / d`` pixels below the horizon, F = 192 / 2π pixels per radian.
"""

from __future__ import annotations

import cmath
import math
from typing import Final

import numpy as np

from dmlviz.images.place_canvas import OCCLUDED_SHARE, ROUND, Canvas, Colour, Drawing, mix, on_canvas, shaded
from dmlviz.images.place_scene import (
    FLAT,
    GROUND_SIZE,
    OCCLUDER,
    PlaceObject,
    PlaceScene,
    bearing,
    column_of_bearing,
    towards,
)
from dmlviz.images.place_shapes import BLADE, Shape
from dmlviz.images.place_solids import CLUTTER_SOLIDS, HUB, SOLIDS

FOCAL: Final = GROUND_SIZE[1] / (2.0 * math.pi)
EYE: Final = 6.0
"""Height of the camera above the ground, in metres."""

_SKIES: Final[tuple[tuple[Colour, Colour], ...]] = (
    ((92.0, 152.0, 222.0), (196.0, 224.0, 244.0)),
    ((160.0, 172.0, 188.0), (218.0, 222.0, 226.0)),
    ((132.0, 146.0, 206.0), (252.0, 214.0, 180.0)),
)
_VANS: Final[tuple[Colour, ...]] = ((228.0, 226.0, 222.0), (96.0, 110.0, 124.0), (120.0, 140.0, 112.0))
_CLOUD: Final[Colour] = (244.0, 245.0, 248.0)
_NEAR: Final = 0.7


def draw_ground(scene: PlaceScene) -> Drawing:
    """Draw the panorama of a place.

    Returns:
        (64, 192, 3) image and (64, 192) object numbers. The middle of the picture looks into ``scene.heading``.
    """
    canvas = Canvas(scene, "ground", GROUND_SIZE)
    p = canvas.p
    camera = complex(p["camera_east"], p["camera_north"])
    heading = p["heading"] if not scene.north_known else 0.0
    _paint_sky(canvas)
    painter = _Panorama(canvas, camera, heading)
    upright: list[tuple[float, int]] = []
    for number, thing in enumerate(scene.objects):
        if thing.kind not in FLAT:
            upright.append((abs(thing.at - camera), number))
    for kind in ("field", "pond", "road"):
        for number, thing in enumerate(scene.objects):
            if thing.kind == kind:
                painter.thing(thing, number)
    for piece in range(int(p["clutter_count"])):
        far = 11.0 + 30.0 * p[f"clutter{piece}_far"]
        upright.append((far, -1 - piece))
    for _, number in sorted(upright, reverse=True):
        if number < 0:
            painter.clutter(-1 - number)
        else:
            painter.thing(scene.objects[number], number)
    if p["occluder"] < OCCLUDED_SHARE:
        painter.van()
    return canvas.finish()


class _Panorama:
    """Paints things of the ground where a camera sees them; what leaves on one side comes back on the other."""

    def __init__(self, canvas: Canvas, camera: complex, heading: float) -> None:
        self.canvas, self.camera, self.heading = canvas, camera, heading
        self.horizon = canvas.p["horizon"]

    def thing(self, thing: PlaceObject, number: int) -> None:
        """Paint an object of the place."""
        shape = SOLIDS[thing.kind]
        away = thing.at - self.camera
        turn = away / abs(away) * -1j if shape.round else cmath.rect(1.0, math.radians(thing.turn))
        main = self.canvas.colour_of(thing, number)
        self.shape(shape, thing.at, turn, thing.size, main, number + 1, road=thing.kind == "road")
        if thing.kind == "mill":
            blades = []
            for quarter in range(4):
                a = math.radians(self.canvas.p["mill_angle"] + 90.0 * quarter)
                c, s = math.cos(a), math.sin(a)
                blades.append([(x * c - y * s, HUB + x * s + y * c) for x, y in BLADE])
            points = np.array(blades)
            cols, rows = self.place(
                thing.at + thing.size * turn * points[..., 0], thing.size * points[..., 1], away
            )
            ink = self.canvas.ink(shaded(main, 0.66), number + 1)
            for k in range(4):
                self.polygon(cols[k], rows[k], ink)

    def shape(
        self,
        shape: Shape,
        at: complex,
        turn: complex,
        size: float,
        main: Colour,
        region: int,
        road: bool = False,
    ) -> None:
        """Paint the faces of a shape that look towards the camera."""
        away = at - self.camera
        points = at + size * turn * shape.points
        if road:  # what lies beside or behind the camera is moved to just before it, below the picture
            ahead = (points - self.camera) * turn.conjugate()
            points = self.camera + turn * (np.maximum(ahead.real, _NEAR) + 1j * ahead.imag)
            away = 20.0 * turn
        copies = self.copies(*self.place(points, size * shape.heights, away))
        for face in shape.faces:
            if face.normal is not None:
                x, y, up = face.normal
                corner = self.camera - complex(points[face.start])
                facing = complex(x, y) * turn
                rise = EYE - size * float(shape.heights[face.start])
                if facing.real * corner.real + facing.imag * corner.imag + up * rise <= 0:
                    continue
            ink = self.canvas.ink(self.canvas.face_colour(main, face.ink, face.normal, turn), region)
            for points_ in copies:
                self.canvas.polygon(points_[2 * face.start : 2 * face.stop], ink)

    def place(self, points: np.ndarray, heights: np.ndarray, away: complex) -> tuple[np.ndarray, np.ndarray]:
        """Project points of one object that lies in the direction ``away``: columns and rows."""
        seen = points - self.camera
        distance = np.maximum(np.abs(seen), 0.3)
        middle = column_of_bearing(bearing(away), self.heading)
        cols = middle - np.angle(seen * (away.conjugate() / abs(away))) * FOCAL
        return cols, self.horizon - FOCAL * (heights - EYE) / distance

    def copies(self, cols: np.ndarray, rows: np.ndarray) -> list[list[float]]:
        """Turn points into coordinates of the canvas, and again one turn away where they reach over an edge."""
        found = [on_canvas(cols, rows)]
        width = GROUND_SIZE[1]
        if cols.min() < -0.5:
            found.append(on_canvas(cols + width, rows))
        if cols.max() > width - 0.5:
            found.append(on_canvas(cols - width, rows))
        return found

    def polygon(self, cols: np.ndarray, rows: np.ndarray, ink: tuple[int, int, int, int]) -> None:
        """Paint a polygon, and again one turn away where it reaches over an edge."""
        for points in self.copies(cols, rows):
            self.canvas.polygon(points, ink)

    def clutter(self, piece: int) -> None:
        """Paint a bush, a stone, a sheep or a bale, which is no object of the place."""
        p, prefix = self.canvas.p, f"clutter{piece}_"
        far, size = 11.0 + 30.0 * p[prefix + "far"], p[prefix + "size"]
        at = self.camera + far * towards(p[prefix + "bearing"])
        turn = towards(p[prefix + "bearing"]) * -1j
        shade = 0.8 + 0.35 * p[prefix + "colour"]
        shape = CLUTTER_SOLIDS[int(p[prefix + "kind"])]
        leaf = shaded(mix((66.0, 108.0, 62.0), self.canvas.grass, 0.35), shade)
        self.shape(shape, at, turn, size, leaf, 0)

    def van(self) -> None:
        """Paint a van that happens to pass before the camera."""
        p = self.canvas.p
        middle, size = GROUND_SIZE[1] * p["occluder_at"], p["occluder_size"]
        colour = _VANS[int(p["occluder_colour"])]
        down = self.horizon + 15.0 + 7.0 * p["occluder_across"]

        def part(points: list[tuple[float, float]], paint: Colour) -> None:
            cols, rows = np.array(points).T
            self.polygon(middle + size * cols, down + size * rows, self.canvas.ink(paint, OCCLUDER))

        part([(-11, -2), (-11, -12), (-10, -13), (5, -13), (9, -8), (11, -7), (11, -2)], colour)
        part([(5, -11.6), (8, -8), (2.6, -8), (2.6, -11.6)], (84.0, 100.0, 120.0))
        part([(-11, -4.4), (11, -4.4), (11, -2), (-11, -2)], shaded(colour, 0.72))
        for x in (-6.5, 6.0):
            wheel = ROUND * 2.3
            part(list(zip(x + wheel.real, -1.8 + wheel.imag, strict=True)), (44.0, 44.0, 48.0))
            hub = ROUND * 0.9
            part(list(zip(x + hub.real, -1.8 + hub.imag, strict=True)), (170.0, 170.0, 170.0))


def _paint_sky(canvas: Canvas) -> None:
    p, (height, width) = canvas.p, GROUND_SIZE
    top, low = _SKIES[int(p["sky"])]
    rows = np.empty((2 * height, 3))
    level = round(2 * p["horizon"] + 1)
    rows[:level] = np.linspace(top, low, level)
    far, near = mix(canvas.grass, low, 0.28), shaded(canvas.grass, 0.86)
    depth = np.sqrt(np.linspace(0.0, 1.0, 2 * height - level))[:, None]
    rows[level:] = np.array(far) + depth * (np.array(near) - np.array(far))
    canvas.begin(rows)
    for number in range(4):
        size = 4.2 * p[f"cloud{number}_size"]
        col, row = width * p[f"cloud{number}_at"], height * p[f"cloud{number}_row"]
        ink = canvas.ink(mix(low, _CLOUD, 0.7), 0)
        for side, up, r in ((-1.5, 0.1, 0.75), (0.0, -0.25, 1.0), (1.5, 0.15, 0.7)):
            puff = size * r * ROUND
            cols, rows_ = col + side * size + 1.3 * puff.real, row + size * up + 0.45 * puff.imag
            for shift in (0, width if col < width / 2 else -width):
                canvas.polygon(on_canvas(cols + shift, rows_), ink)
    for depth_, strength, waves in ((0.30, 5.0, (1, 2, 3)), (0.55, 3.0, (2, 3, 5))):
        x = np.arange(-1.0, width + 2.0, 3.0)
        angle = 2 * np.pi * x / width
        rise = sum(
            np.sin(wave * angle + 2 * np.pi * p[f"hill{number + (3 if depth_ > 0.5 else 0)}"])
            for number, wave in enumerate(waves)
        )
        edge = p["horizon"] - strength * (0.35 + 0.22 * np.asarray(rise)).clip(0.05)
        cols = np.concatenate([x, x[::-1]])
        ridge = np.concatenate([edge, np.full(len(x), p["horizon"] + 0.6)])
        canvas.polygon(on_canvas(cols, ridge), canvas.ink(mix(low, shaded(canvas.grass, 0.8), depth_), 0))
