"""Drawing a place from the air, straight down, north up."""

from __future__ import annotations

import cmath
import math
from typing import Final

import numpy as np

from dmlviz.images.place_canvas import OCCLUDED_SHARE, ROUND, Canvas, Colour, Drawing, mix, on_canvas, shaded
from dmlviz.images.place_from_above import FROM_ABOVE, TALL
from dmlviz.images.place_scene import (
    AERIAL_SCALE,
    AERIAL_SIZE,
    FLAT,
    OCCLUDER,
    PlaceObject,
    PlaceScene,
    towards,
)
from dmlviz.images.place_shapes import BLADE

_CLOUD: Final[Colour] = (244.0, 245.0, 248.0)


def draw_aerial(scene: PlaceScene) -> Drawing:
    """Draw a place from the air, north up.

    Returns:
        (96, 96, 3) image and (96, 96) object numbers; 1.35 pixels to the metre.
    """
    canvas = Canvas(scene, "aerial", AERIAL_SIZE)
    p = canvas.p
    canvas.begin(np.tile(canvas.grass, (2 * AERIAL_SIZE[0], 1)))
    for number in range(4):
        at = complex(p[f"patch{number}_east"], p[f"patch{number}_north"])
        shade = 0.955 if number % 2 else 1.035
        outline = at + p[f"patch{number}_size"] * (1.0 + 0.16 * np.sin(3 * np.angle(ROUND) + number)) * ROUND
        _above(canvas, outline, canvas.ink(shaded(canvas.grass, shade), 0))
    for kind in ("field", "pond", "road"):
        for number, thing in enumerate(scene.objects):
            if thing.kind == kind:
                _from_above(canvas, thing, number)
    for piece in range(int(p["clutter_count"])):
        _clutter_above(canvas, piece)
    for thing in scene.objects:
        if thing.kind not in FLAT:
            _shadow(canvas, thing)
    for number, thing in enumerate(scene.objects):
        if thing.kind not in FLAT:
            _from_above(canvas, thing, number)
    if p["occluder"] < OCCLUDED_SHARE:
        _cloud_above(canvas)
    return canvas.finish()


def _above(canvas: Canvas, points: np.ndarray, ink: tuple[int, int, int, int]) -> None:
    middle = (AERIAL_SIZE[0] - 1) / 2
    canvas.polygon(on_canvas(middle + AERIAL_SCALE * points.real, middle - AERIAL_SCALE * points.imag), ink)


def _from_above(canvas: Canvas, thing: PlaceObject, number: int) -> None:
    shape, turn = FROM_ABOVE[thing.kind], cmath.rect(1.0, math.radians(thing.turn))
    main = canvas.colour_of(thing, number)
    points = thing.at + thing.size * turn * shape.points
    middle = (AERIAL_SIZE[0] - 1) / 2
    flat = on_canvas(middle + AERIAL_SCALE * points.real, middle - AERIAL_SCALE * points.imag)
    for face in shape.faces:
        colour = canvas.face_colour(main, face.ink, face.normal, turn)
        canvas.polygon(flat[2 * face.start : 2 * face.stop], canvas.ink(colour, number + 1))
    if thing.kind == "mill":
        facing = thing.size * cmath.rect(1.0, math.radians(canvas.p["mill_angle"]))
        for sign in (1.0, -1.0):
            blade = np.array([complex(sign * x, 0.75 * y) for x, y in BLADE])
            for turned in (blade, blade * 1j):
                _above(canvas, thing.at + facing * turned, canvas.ink(shaded(main, 0.66), number + 1))


def _shadow(canvas: Canvas, thing: PlaceObject) -> None:
    """Darken the ground on the side away from the sun."""
    half, height = TALL[thing.kind]
    sun = complex(canvas.sun[0], canvas.sun[1])
    reach = -sun / abs(sun) * thing.size * height * canvas.p["shadow"]
    across = 1j * reach / abs(reach) * thing.size * half
    slim = 0.25 if thing.kind in ("tower", "conifer") else 0.8
    points = thing.at + np.array(
        [-across, across, reach + slim * across, 1.12 * reach, reach - slim * across]
    )
    _above(canvas, points, canvas.ink(shaded(canvas.grass, 0.7), 0))


def _clutter_above(canvas: Canvas, piece: int) -> None:
    p, prefix = canvas.p, f"clutter{piece}_"
    at = (11.0 + 30.0 * p[prefix + "far"]) * towards(p[prefix + "bearing"])
    kind, size, shade = int(p[prefix + "kind"]), p[prefix + "size"], 0.8 + 0.35 * p[prefix + "colour"]
    leaf = mix((66.0, 108.0, 62.0), canvas.grass, 0.35)
    colours: tuple[Colour, ...] = (leaf, (158.0, 154.0, 148.0), (238.0, 234.0, 226.0), (206.0, 176.0, 110.0))
    colour = shaded(colours[kind], shade if kind != 2 else 1.0)
    _above(
        canvas,
        at + size * complex(0.3, -0.3) + 1.15 * size * ROUND,
        canvas.ink(shaded(canvas.grass, 0.72), 0),
    )
    _above(canvas, at + 1.1 * size * ROUND, canvas.ink(colour, 0))


def _cloud_above(canvas: Canvas) -> None:
    p = canvas.p
    at = complex(70.0 * (p["occluder_at"] - 0.5), 70.0 * (p["occluder_across"] - 0.5))
    size = 5.4 * p["occluder_size"]
    for tone, shift in ((0.90, complex(0.5, -0.7)), (1.0, 0j)):
        ink = canvas.ink(shaded(_CLOUD, tone), OCCLUDER)
        for x, y, r in ((-1.3, -0.1, 0.8), (0.0, 0.25, 1.0), (1.25, -0.1, 0.75), (0.1, -0.5, 0.8)):
            _above(canvas, at + size * complex(x, y) + shift + size * r * ROUND, ink)
