"""Drawing a scene: the picture and, with the same strokes, which part every visible pixel belongs to."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dmlviz.images.bird_scene import COLOURS, PART_ID, PARTS, RANGES, Scene, raw_words
from dmlviz.images.bird_shapes import (
    BODY,
    CLUTTER_OUTLINES,
    EYE,
    HEAD,
    NECK_WIDTH,
    PART_OUTLINES,
    TWIG_LEAF,
)
from dmlviz.images.canvas import ROUND, Canvas, Colour, Drawing, hsv, mix, tone, turn, with_grain

PALETTE: Final[dict[str, Colour]] = {
    "scarlet": (226.0, 54.0, 56.0),
    "amber": (250.0, 190.0, 34.0),
    "green": (46.0, 160.0, 72.0),
    "blue": (38.0, 98.0, 222.0),
    "violet": (164.0, 58.0, 190.0),
}
"""What the five colour names mean before light and jitter (sRGB, 0 to 255)."""

_DRAB: Final[tuple[Colour, ...]] = ((120.0, 104.0, 88.0), (176.0, 172.0, 164.0))
_PLUMAGE: Final[tuple[Colour, ...]] = (
    (92.0, 84.0, 88.0),
    (146.0, 132.0, 118.0),
    (202.0, 188.0, 168.0),
    (132.0, 140.0, 146.0),
    (108.0, 92.0, 78.0),
)
_SLOTS: Final = tuple(RANGES)
_LOW: Final = np.array([low for low, _ in RANGES.values()])
_SPAN: Final = np.array([high - low for low, high in RANGES.values()])
TWIG_SHARE: Final = 0.3
"""Share of scenes with a twig in front of the bird."""


def draw_scene(scene: Scene, size: int = 96) -> Drawing:
    """Draw a scene.

    Args:
        scene: What to draw.
        size: Height and width in pixels; the picture is the same at every size, only finer.

    Returns:
        The picture and the region of every visible pixel.
    """
    canvas, noise, amplitude = _painted(scene, size)
    return Drawing(with_grain(canvas.colours(), noise, amplitude), canvas.part_ids())


def draw_picture(scene: Scene, size: int = 96) -> np.ndarray:
    """Draw a scene's picture alone, (size, size, 3) uint8 sRGB: what `draw_scene` draws, a tenth sooner."""
    canvas, noise, amplitude = _painted(scene, size)
    return with_grain(canvas.colours(), noise, amplitude)


def _painted(scene: Scene, size: int) -> tuple[Canvas, np.ndarray, float]:
    """Return the painted canvas, and the random words and the amplitude of the noise to come over it."""
    channels = 3 * size * size
    words = raw_words(scene.key, len(_SLOTS) + -(-channels // 8))
    tape = (words[: len(_SLOTS)] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    p = dict(zip(_SLOTS, (_LOW + _SPAN * tape).tolist(), strict=True))
    canvas = _empty_canvas(p, size)
    _paint_background(canvas, p)
    _paint_bird(canvas, scene, p)
    if p["twig"] < TWIG_SHARE:
        _paint_twig(canvas, p)
    return canvas, words[len(_SLOTS) :], p["noise"]


def _empty_canvas(p: dict[str, float], size: int) -> Canvas:
    """Prepare a canvas with nothing but sky, under this scene's light."""
    light = tuple(p["gain"] * (1.0 + sign * p["warmth"]) for sign in (1.0, 0.0, -1.0))
    sky = hsv(p["sky_hue"], p["sky_colour"], p["sky_value"])
    fall = np.linspace(1.0, 0.78, 2 * size)[:, None]
    return Canvas(fall * (np.array(sky) * light), size, size / 96.0, light)


def _paint_background(canvas: Canvas, p: dict[str, float]) -> None:
    ground = hsv(p["ground_hue"], p["ground_colour"], p["ground_value"])
    sky = hsv(p["sky_hue"], p["sky_colour"], p["sky_value"])
    level = 96.0 * p["horizon"]
    width, height = 96.0 * p["hill_width"], 96.0 * p["hill_height"]
    hill = 96.0 * p["hill_at"] + width * _HILL.real + 1j * (level - height * _HILL.imag)
    canvas.polygon(hill, mix(sky, ground, 0.45), 0)
    edge = np.array([-2 + level * 1j, 98 + level * 1j, 98 + 98j, -2 + 98j])
    canvas.polygon(edge, ground, 0)
    near = edge.copy()
    near[:2] += 0.45j * (96.0 - level)
    canvas.polygon(near, tone(ground, "shade"), 0)
    for piece in range(int(p["clutter_count"])):
        prefix = f"clutter{piece}_"
        drawn = CLUTTER_OUTLINES[int(p[prefix + "kind"])]
        number = int(p[prefix + "colour"])
        colour = PALETTE[COLOURS[number]] if number < len(COLOURS) else _DRAB[number - len(COLOURS)]
        colour = mix(colour, mix(sky, ground, 0.5), p[prefix + "fade"])
        at = complex(96.0 * p[prefix + "col"], 96.0 * p[prefix + "row"])
        placed = drawn.points * (p[prefix + "size"] * turn(p[prefix + "angle"])) + at
        canvas.outline(drawn, placed, colour, 0)
    under = complex(47.5 + p["shift_col"], 49.5 + p["shift_row"] + 25.5 * p["scale"])
    dark = tone(ground, "shade")
    canvas.polygon(under + 19.0 * _OVAL, mix(ground, dark, 0.75), 0)
    canvas.polygon(under + 13.5 * _OVAL, tone(dark, "shade"), 0)


_HILL = np.array([complex(x, 1.0 - x * x) for x in np.linspace(-1.0, 1.0, 15)])
_OVAL = np.array(
    [complex(math.cos(a), 0.2 * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 20, endpoint=False)]
)


def _plumage(p: dict[str, float]) -> Colour:
    at = p["body_hue"] * len(_PLUMAGE)
    first = int(at)
    colour = mix(_PLUMAGE[first % 5], _PLUMAGE[(first + 1) % 5], at - first)
    value, warmth = 0.78 + 0.4 * p["body_value"], 0.07 * p["body_warmth"]
    red, green, blue = colour
    return red * value * (1 + warmth), green * value, blue * value * (1 - warmth)


def _part_colour(part: str, colour: int, p: dict[str, float]) -> Colour:
    red, green, blue = PALETTE[COLOURS[colour]]
    value, tint = p[f"{part}_value"], p[f"{part}_tint"]
    return red * value * (1 + tint), green * value * (1 - 0.5 * tint), blue * value * (1 - tint)


def _paint_bird(canvas: Canvas, scene: Scene, p: dict[str, float]) -> None:
    side = -1.0 if p["flip"] < 0.5 else 1.0
    placing = p["scale"] * turn(p["rotation"])
    middle = complex(47.5 + p["shift_col"], 49.5 + p["shift_row"])
    variants = dict(zip(PARTS, scene.species.variants, strict=True))

    def place(points: np.ndarray) -> np.ndarray:
        if side < 0:
            points = -points.conj()
        return points * placing + middle

    def part(name: str, origin: complex, turn: complex) -> None:
        if name not in scene.removed:
            shape, colour = variants[name]
            drawn = PART_OUTLINES[name][shape]
            canvas.outline(
                drawn, place(origin + turn * drawn.points), _part_colour(name, colour, p), PART_ID[name]
            )

    plumage = _plumage(p)
    tilt, plump = turn(p["body_tilt"]), p["body_plump"]
    body = (BODY.points.real + 1j * plump * BODY.points.imag) * tilt
    neck = turn(p["neck_angle"])
    shoulder = tilt * complex(11.0, -6.0)
    head = shoulder + neck * complex(4.5, -8.5 - p["neck_length"])
    gaze = turn(p["head_angle"])

    part("tail", tilt * -15.0, tilt * turn(p["tail_angle"]))
    part("feet", tilt * complex(5.2, 10.2 * plump), turn(p["far_leg_angle"]))
    part("feet", tilt * complex(-3.4, 10.2 * plump), turn(p["near_leg_angle"]))
    part("crest", head + gaze * complex(-1.4, -6.0), gaze * turn(p["crest_angle"]))
    part("beak", head + gaze * complex(6.6, 0.6), gaze)
    across = NECK_WIDTH * 1j * (head - shoulder) / abs(head - shoulder)
    throat = np.array([shoulder - 1.5 * across, head - across, head + across, shoulder + 1.3 * across])
    canvas.polygon(place(throat), tone(plumage, "shade"), PART_ID["body"])
    canvas.outline(BODY, place(body), plumage, PART_ID["body"])
    canvas.outline(HEAD, place(head + gaze * HEAD.points), plumage, PART_ID["head"])
    for x, y, radius, colour in EYE:
        at = complex(place(np.array([head + gaze * complex(x, y)]))[0])
        if colour == (255, 255, 255):  # the light comes from one side, whichever way the bird looks
            at = complex(place(np.array([head + gaze * complex(3.0, -1.5)]))[0]) + p["scale"] * complex(
                -0.7, -0.8
            )
        canvas.polygon(at + p["scale"] * radius * ROUND, colour, PART_ID["head"])
    part("wing", tilt * complex(-0.5, -1.5), tilt * turn(p["wing_angle"]))


def _paint_twig(canvas: Canvas, p: dict[str, float]) -> None:
    along = turn(p["twig_angle"])
    middle = complex(47.5, 47.5) + 1j * along * p["twig_at"]
    width = p["twig_width"]
    bark = (104.0 * p["twig_value"], 74.0 * p["twig_value"], 52.0 * p["twig_value"])
    twig = np.array([-80 - 1j * width, 80 - 0.6j * width, 80 + 0.6j * width, -80 + 1j * width])
    bright = np.array([-80 - 1j * width, 80 - 0.6j * width, 80 - 0.1j * width, -80 - 0.2j * width])
    canvas.polygon(middle + along * twig, tone(bark, "shade"), PART_ID["occluder"])
    canvas.polygon(middle + along * bright, bark, PART_ID["occluder"])
    leaf = middle + along * (30.0 * p["twig_leaf"] + TWIG_LEAF.points)
    canvas.outline(TWIG_LEAF, leaf, (116.0, 132.0, 84.0), PART_ID["occluder"])
