"""The sheet that views of places are painted on: colour and object number with the same strokes.

The canvas has four channels, three of colour and one for the number of the object, at twice the size. Colours are
then averaged over 2 × 2 pixels; a pixel belongs to the highest number among the four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from dmlviz.images.bird_scene import raw_words
from dmlviz.images.place_scene import LOW, SLOTS, SPAN, VIEWS, PlaceObject, PlaceScene, View
from dmlviz.images.place_shapes import Corner, Ink

Colour = tuple[float, float, float]

PALETTE: Final[dict[tuple[str, str], Colour]] = {
    ("tree", "green"): (74.0, 138.0, 60.0),
    ("tree", "copper"): (142.0, 66.0, 52.0),
    ("tree", "blossom"): (244.0, 172.0, 200.0),
    ("conifer", "green"): (30.0, 92.0, 70.0),
    ("conifer", "silver"): (134.0, 172.0, 180.0),
    ("pond", "blue"): (72.0, 152.0, 214.0),
    ("pond", "green"): (70.0, 118.0, 92.0),
    ("field", "gold"): (238.0, 198.0, 66.0),
    ("field", "lavender"): (170.0, 142.0, 214.0),
    ("field", "brown"): (140.0, 98.0, 64.0),
    ("road", "grey"): (150.0, 146.0, 142.0),
}
BUILT: Final[dict[str, Colour]] = {
    "scarlet": (222.0, 56.0, 54.0),
    "amber": (246.0, 178.0, 36.0),
    "blue": (42.0, 98.0, 218.0),
    "violet": (158.0, 62.0, 186.0),
    "white": (240.0, 238.0, 230.0),
}
"""What the colour names mean before light, season and jitter (sRGB, 0 to 255)."""
FIXED: Final[dict[str, Colour]] = {
    "plaster": (236.0, 222.0, 196.0),
    "stone": (196.0, 190.0, 180.0),
    "canvas": (246.0, 240.0, 226.0),
    "glass": (72.0, 86.0, 106.0),
    "door": (112.0, 74.0, 50.0),
    "brick": (150.0, 84.0, 68.0),
    "bark": (108.0, 78.0, 54.0),
    "sand": (206.0, 190.0, 150.0),
    "road": (150.0, 146.0, 142.0),
    "line": (232.0, 228.0, 214.0),
    "white": (244.0, 243.0, 238.0),
}
_GRASS: Final[tuple[Colour, ...]] = (
    (138.0, 188.0, 92.0),
    (104.0, 152.0, 78.0),
    (176.0, 158.0, 96.0),
    (216.0, 222.0, 222.0),
)
_MEADOW: Final[Colour] = (122.0, 160.0, 88.0)
_LEAF: Final[tuple[Colour, ...]] = (
    (150.0, 200.0, 90.0),
    (60.0, 110.0, 60.0),
    (200.0, 150.0, 70.0),
    (210.0, 214.0, 214.0),
)
_SUN_HEIGHT: Final = 0.64
OCCLUDED_SHARE: Final = 0.4
"""Share of views in which something passes in front: a van before the panorama, a cloud below the aerial view."""
ROUND: Final = np.exp(2j * np.pi * np.arange(14) / 14)
"""A circle of radius 1 as a polygon."""


@dataclass(frozen=True)
class Drawing:
    """A drawn view of a place.

    Args:
        image: (H, W, 3) uint8, sRGB.
        object_ids: (H, W) uint8: 0 where no object is seen, n for object number n, 255 for what passes in front.
    """

    image: np.ndarray
    object_ids: np.ndarray


class Canvas:
    """A four-channel picture at twice the size, the light on it, and the tape of its view."""

    def __init__(self, scene: PlaceScene, view: View, size: tuple[int, int]) -> None:
        channels = 3 * size[0] * size[1]
        words = raw_words((*scene.key, VIEWS.index(view)), len(SLOTS) + -(-channels // 8))
        tape = (words[: len(SLOTS)] >> np.uint64(11)).astype(np.float64) * 2.0**-53
        self.p: dict[str, float] = dict(zip(SLOTS, (LOW + SPAN * tape).tolist(), strict=True))
        self.size = size
        self._noise = words[len(SLOTS) :].view(np.int8)[:channels].reshape(*size, 3)
        gain, warmth = self.p["gain"], self.p["warmth"]
        self.light = (gain * (1.0 + warmth), gain, gain * (1.0 - warmth))
        season = int(self.p["season"])
        depth = self.p["season_depth"]
        hue = self.p["grass_hue"]
        red, green, blue = mix(_MEADOW, _GRASS[season], depth)
        self.grass: Colour = (red * (1 + 0.06 * hue), green, blue * (1 - 0.10 * hue))
        self._leaf = (_LEAF[season], 0.22 * depth, self.p["leaf_hue"])
        turn = math.radians(self.p["sun"])
        flat = math.sqrt(1.0 - _SUN_HEIGHT * _SUN_HEIGHT)
        self.sun: Corner = (flat * math.cos(turn), flat * math.sin(turn), _SUN_HEIGHT)

    def begin(self, rows: np.ndarray) -> None:
        """Start from one colour per row, (2 H, 3) float; no object is seen anywhere yet."""
        height, width = 2 * self.size[0], 2 * self.size[1]
        column = np.zeros((height, 1, 4), dtype=np.uint8)
        column[:, 0, :3] = np.clip(rows * self.light, 0, 255)
        plain = Image.frombytes(
            "CMYK", (1, height), column.tobytes()
        )  # CMYK only because it has four channels
        self.image = plain.resize((width, height), Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.image)

    def ink(self, colour: Colour, region: int) -> tuple[int, int, int, int]:
        """Return what to write into the four channels for a colour under this view's light."""
        (red, green, blue), (r, g, b) = colour, self.light
        return min(255, round(red * r)), min(255, round(green * g)), min(255, round(blue * b)), region

    def polygon(self, points: list[float], ink: tuple[int, int, int, int]) -> None:
        """Paint one polygon given by coordinates of the canvas, as `on_canvas` makes them."""
        self.draw.polygon(points, fill=ink)

    def colour_of(self, thing: PlaceObject, number: int) -> Colour:
        """The object's own colour in this view: its name's, with a jitter, and the season on what grows."""
        value = PALETTE.get((thing.kind, thing.colour))
        red, green, blue = BUILT[thing.colour] if value is None else value
        bright, warm, cool = (byte / 128.0 for byte in self._noise[0, number].tolist())  # bytes of the tape
        bright = 1.0 + 0.10 * bright
        colour = (red * bright * (1 + 0.05 * warm), green * bright, blue * bright * (1 + 0.05 * cool))
        if thing.kind in ("tree", "conifer", "field"):
            tint, share, hue = self._leaf
            red, green, blue = mix(colour, tint, share if thing.kind != "conifer" else 0.5 * share)
            return red * (1 + 0.06 * hue), green, blue * (1 - 0.06 * hue)
        return colour

    def face_colour(self, main: Colour, ink: Ink, normal: Corner | None, turn: complex = 1 + 0j) -> Colour:
        """The colour of a face: its ink, lit by the sun if it has a direction."""
        name, bright = ink
        if normal is not None:
            x, y, up = normal
            world = complex(x, y) * turn
            lit = world.real * self.sun[0] + world.imag * self.sun[1] + up * self.sun[2]
            bright *= 0.80 + 0.26 * max(0.0, lit)
        return shaded(main if name == "main" else FIXED[name], bright)

    def finish(self) -> Drawing:
        """Average the colours, settle the numbers, and lay grain over the picture."""
        region = np.ascontiguousarray(np.asarray(self.image)[..., 3])
        region = np.maximum(region[::2], region[1::2])
        colours = np.asarray(self.image.reduce(2))[..., :3]
        # A byte is uniform over [-128, 128): times amplitude / 64, it has about the amplitude's standard deviation.
        grain = (self._noise.astype(np.int16) * np.int16(round(self.p["noise"] * 4.0))) >> 9
        image = np.clip(colours + grain, 0, 255).astype(np.uint8)
        return Drawing(image, np.maximum(region[:, ::2], region[:, 1::2]))


def on_canvas(cols: np.ndarray, rows: np.ndarray) -> list[float]:
    """Turn pixels of a view, whose centres are integers, into coordinates of the canvas: x, y, x, y, ..."""
    flat = np.empty(2 * len(cols))
    flat[0::2] = cols
    flat[1::2] = rows
    flat *= 2.0
    flat += 0.5
    found: list[float] = flat.tolist()
    return found


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """A colour on the way from a (share 0) to b (share 1)."""
    red, green, blue = (x + (y - x) * share for x, y in zip(a, b, strict=True))
    return red, green, blue


def shaded(colour: Colour, bright: float) -> Colour:
    """A colour made darker (below 1) or mixed with white (above 1)."""
    if bright <= 1.0:
        return colour[0] * bright, colour[1] * bright, colour[2] * bright
    return mix(colour, (255.0, 255.0, 255.0), min(1.0, 1.6 * (bright - 1.0)))
