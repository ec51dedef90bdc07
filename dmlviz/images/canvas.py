"""The brushes of the drawn galleries: a canvas that knows, with every stroke, which region it belongs to.

The canvas has four channels: three of colour, one for the number of the region. Every polygon is painted into all
four at once, at twice the size. Colours are then averaged over 2 × 2 pixels; a pixel belongs to the highest number
among the four, so that every pixel a part touches is the part's, unless something with a higher number is there too.
"""

from __future__ import annotations

import cmath
import colorsys
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from dmlviz.images.bird_shapes import Outline

Colour = tuple[float, float, float]
_TONES: Final = {"ink": (0.42, 0.0), "shade": (0.76, 0.0), "base": (1.0, 0.0), "light": (1.0, 0.36)}
ROUND: Final = np.array([cmath.rect(1.0, a) for a in np.linspace(0, 2 * math.pi, 14, endpoint=False)])
"""A circle of radius one as complex corners."""


@dataclass(frozen=True)
class Drawing:
    """A drawn scene.

    Args:
        image: (height, width, 3) uint8, sRGB.
        part_ids: (height, width) uint8, the number of the region that each pixel shows.
    """

    image: np.ndarray
    part_ids: np.ndarray


class Canvas:
    """A four-channel picture at twice the size, and the light that falls on everything in it.

    Args:
        rows: (2·height, 3) float, the colour of each row of the empty canvas under its light, 0 to 255.
        width: Width of the finished picture in pixels.
        unit: Pixels of the finished picture in one unit of the coordinates that are painted with.
        light: What every painted colour is multiplied by, per channel.
    """

    def __init__(
        self, rows: np.ndarray, width: int, unit: float, light: Colour | tuple[float, ...] = (1.0, 1.0, 1.0)
    ) -> None:
        self.height, self.width = len(rows) // 2, width
        self.unit = 2.0 * unit
        self.light = light
        column = np.zeros((len(rows), 1, 4), dtype=np.uint8)
        column[:, 0, :3] = np.clip(rows, 0, 255)
        # CMYK only because it has four plain channels
        narrow = Image.frombytes("CMYK", (1, len(rows)), column.tobytes())
        self.image = narrow.resize((2 * width, len(rows)), Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.image)

    def ink(self, colour: Colour, region: int) -> tuple[int, int, int, int]:
        """Return what to write into the four channels for a colour under this canvas's light."""
        red, green, blue = colour
        lit_red, lit_green, lit_blue = self.light  # written out: a picture takes some forty inks
        return (
            min(255, max(0, round(red * lit_red))),
            min(255, max(0, round(green * lit_green))),
            min(255, max(0, round(blue * lit_blue))),
            region,
        )

    def polygon(self, points: np.ndarray, colour: Colour, region: int) -> None:
        """Paint one polygon given as complex corners x + iy in units; pixel centres are whole numbers."""
        self.draw.polygon(self.placed(points), fill=self.ink(colour, region))

    def placed(self, points: np.ndarray) -> list[float]:
        """Turn complex points in units into coordinates of the canvas."""
        shifted = points * self.unit + complex(0.5 * self.unit - 0.5, 0.5 * self.unit - 0.5)
        values: list[float] = shifted.view(np.float64).tolist()
        return values

    def outline(self, drawn: Outline, points: np.ndarray, colour: Colour, region: int) -> None:
        """Paint an outline whose points were already brought to their place."""
        flat = self.placed(points)
        inks: dict[str, tuple[int, int, int, int]] = {}
        for start, stop, name in drawn.cuts:
            if name not in inks:
                inks[name] = self.ink(tone(colour, name), region)
            self.draw.polygon(flat[2 * start : 2 * stop], fill=inks[name])

    def part_ids(self) -> np.ndarray:
        """Return the region that each pixel of the finished picture shows, (height, width) uint8."""
        region = np.ascontiguousarray(np.asarray(self.image)[..., 3])
        region = np.maximum(region[::2], region[1::2])
        return np.asarray(np.maximum(region[:, ::2], region[:, 1::2]))

    def colours(self) -> np.ndarray:
        """Return the finished picture without noise, (height, width, 3) uint8."""
        return np.asarray(self.image.reduce(2))[..., :3]


def with_grain(colours: np.ndarray, words: np.ndarray, amplitude: float) -> np.ndarray:
    """Add noise to a picture.

    Args:
        colours: (height, width, 3) uint8.
        words: Random words, (n,) uint64 with 8·n at least as many as values in the picture.
        amplitude: About the standard deviation of the noise, in levels; at most 60.

    Returns:
        (height, width, 3) uint8.
    """
    noise = words.view(np.int8)[: colours.size].reshape(colours.shape)
    # A byte is uniform over [-128, 128): times amplitude / 64, it has about the amplitude's standard deviation.
    grain = (noise.astype(np.int16) * np.int16(round(amplitude * 4.0))) >> 9
    grain += colours
    np.minimum(np.maximum(grain, 0, out=grain), 255, out=grain)
    return grain.astype(np.uint8)


def tone(colour: Colour, name: str) -> Colour:
    """Return a shade of a colour: "ink" (darkest), "shade", "base" or "light"."""
    factor, white = _TONES[name]
    red, green, blue = colour[0] * factor, colour[1] * factor, colour[2] * factor
    return red + (255.0 - red) * white, green + (255.0 - green) * white, blue + (255.0 - blue) * white


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that lies ``share`` of the way from ``a`` to ``b``."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def hsv(hue: float, colourfulness: float, value: float) -> Colour:
    """Return a colour by hue, saturation and value, each from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue, colourfulness, value)
    return 255.0 * red, 255.0 * green, 255.0 * blue


def turn(degrees: float) -> complex:
    """Return the factor that turns a complex point by an angle, clockwise on the screen."""
    return cmath.rect(1.0, math.radians(degrees))
