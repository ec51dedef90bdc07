"""The parts of a drawn person in the street, what varies from picture to picture, and the cameras that look on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dmlviz.images.canvas import Colour
from dmlviz.images.looks import Part, Scheme

_CLOTH: Final[dict[str, Colour]] = {
    "scarlet": (214.0, 48.0, 52.0),
    "amber": (240.0, 174.0, 40.0),
    "green": (52.0, 150.0, 78.0),
    "blue": (46.0, 100.0, 214.0),
    "violet": (146.0, 70.0, 178.0),
    "charcoal": (66.0, 66.0, 78.0),
    "cream": (238.0, 226.0, 200.0),
}
_HAIR: Final[dict[str, Colour]] = {
    "black": (46.0, 42.0, 52.0),
    "brown": (122.0, 74.0, 44.0),
    "blond": (232.0, 190.0, 96.0),
    "ginger": (208.0, 96.0, 44.0),
    "grey": (188.0, 190.0, 198.0),
}
_LEATHER: Final[dict[str, Colour]] = {
    "scarlet": (206.0, 52.0, 54.0),
    "tan": (196.0, 138.0, 78.0),
    "green": (58.0, 138.0, 84.0),
    "navy": (48.0, 62.0, 124.0),
    "white": (242.0, 240.0, 234.0),
}
_SKIN: Final[dict[str, Colour]] = {
    "porcelain": (248.0, 218.0, 196.0),
    "peach": (236.0, 188.0, 152.0),
    "honey": (206.0, 150.0, 104.0),
    "umber": (152.0, 100.0, 68.0),
    "ebony": (104.0, 70.0, 54.0),
}
COLOURS: Final = {
    "hair": _HAIR,
    "top": _CLOTH,
    "bottom": _CLOTH,
    "shoes": _LEATHER,
    "bag": _LEATHER,
    "body": _SKIN,
}
"""What the colour names of each part mean before light and camera (sRGB, 0 to 255)."""

_SHAPES: Final = {
    "body": ("skin",),
    "hair": ("short", "long", "bun", "curly", "hat"),
    "top": ("tee", "striped", "coat", "hoodie", "dungarees"),
    "bottom": ("trousers", "shorts", "skirt", "flares"),
    "shoes": ("trainers", "boots", "sandals", "clogs"),
    "bag": ("backpack", "tote", "satchel", "suitcase"),
}
CLUTTER: Final = 5
"""Most pieces of clutter behind one person."""
VIEWS: Final = ("front", "back", "left", "right")
"""From where a person is seen."""


def _slots() -> tuple[tuple[str, float, float], ...]:
    slots = [
        ("view", 0.0, 1.0),
        ("zoom", -1.0, 1.0),
        ("shift_row", -1.0, 1.0),
        ("shift_col", -5.0, 5.0),
        ("lean", -4.0, 4.0),
        ("stride", -1.0, 1.0),
        ("arm_left", -1.0, 1.0),
        ("arm_right", -1.0, 1.0),
        ("nod", -1.0, 1.0),
        ("bag_side", 0.0, 1.0),
        ("bag_swing", -1.0, 1.0),
        ("skin_value", 0.94, 1.06),
        ("occluder", 0.0, 1.0),
        ("occluder_kind", 0.0, 3.999),
        ("occluder_at", 0.0, 1.0),
        ("occluder_size", 0.0, 1.0),
        ("occluder_hue", 0.0, 1.0),
        ("wall_hue", 0.0, 1.0),
        ("wall_value", -1.0, 1.0),
        ("ground_value", -1.0, 1.0),
        ("horizon", -1.0, 1.0),
        ("clutter_count", 1.0, 5.999),
        ("gain", 0.84, 1.12),
        ("warmth", -0.06, 0.06),
        ("side_light", -0.25, 0.25),
        ("blur", -1.0, 1.0),
        ("noise", 2.0, 7.0),
    ]
    for part in ("hair", "top", "bottom", "shoes", "bag"):
        slots += [(f"{part}_value", 0.88, 1.1), (f"{part}_tint", -0.06, 0.06)]
    for piece in range(CLUTTER):
        slots += [
            (f"clutter{piece}_kind", 0.0, 2.999),
            (f"clutter{piece}_row", 0.0, 1.0),
            (f"clutter{piece}_col", 0.0, 1.0),
            (f"clutter{piece}_size", 0.5, 1.6),
            (f"clutter{piece}_colour", 0.0, 6.999),
            (f"clutter{piece}_fade", 0.2, 0.65),
        ]
    return tuple(slots)


PERSON_SCHEME: Final = Scheme(
    "person",
    tuple(Part(name, shapes, tuple(COLOURS[name])) for name, shapes in _SHAPES.items()),
    siblings=("hair", "top", "bottom", "shoes", "bag"),
    slots=_slots(),
    regions=("background", "body", "bottom", "shoes", "top", "hair", "bag", "occluder"),
)
"""Persons: siblings differ in hair, top, bottom, shoes or bag; skin tells families apart, never siblings."""


@dataclass(frozen=True)
class Camera:
    """A camera on its wall: what it does to every picture it takes.

    Args:
        name: What it is called.
        gains: Red, green and blue, as factors.
        gamma: Exponent after the gains; above one is darker in the shadows.
        saturation: 1 keeps colours, 0 would be grey.
        blur: Radius of a box blur in pixels of a 128-pixel image.
        zoom: Height of a person as a share of 104 pixels.
        views: Share of persons seen from the front, from behind, from the left and from the right.
        wall: Hue, saturation and value of the wall behind.
        occluded: Share of pictures in which something stands in front.
    """

    name: str
    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    blur: float
    zoom: float
    views: tuple[float, float, float, float]
    wall: tuple[float, float, float]
    occluded: float


CAMERAS: Final = (
    Camera(
        "gate", (1.06, 1.00, 0.92), 0.95, 1.0, 0.0, 1.00, (0.7, 0.0, 0.15, 0.15), (0.10, 0.25, 0.82), 0.25
    ),
    Camera(
        "tunnel", (0.70, 0.86, 1.12), 1.30, 0.72, 0.6, 0.90, (0.1, 0.5, 0.2, 0.2), (0.60, 0.30, 0.48), 0.35
    ),
    Camera(
        "market", (1.18, 0.98, 0.70), 0.85, 1.15, 0.3, 1.06, (0.2, 0.2, 0.3, 0.3), (0.06, 0.45, 0.75), 0.45
    ),
    Camera(
        "station", (0.90, 1.08, 0.84), 1.12, 0.85, 0.8, 0.84, (0.3, 0.4, 0.15, 0.15), (0.30, 0.18, 0.66), 0.30
    ),
    Camera(
        "harbour", (0.82, 0.92, 1.05), 0.78, 0.65, 0.4, 0.94, (0.4, 0.3, 0.15, 0.15), (0.52, 0.20, 0.88), 0.25
    ),
    Camera(
        "night", (0.86, 0.66, 0.60), 1.25, 0.75, 0.7, 1.02, (0.25, 0.25, 0.25, 0.25), (0.72, 0.35, 0.34), 0.35
    ),
)
"""The cameras, in the order of their numbers."""
