"""The parts of a drawn face, and everything that varies from one picture of a person to the next."""

from __future__ import annotations

from typing import Final

from dmlviz.images.canvas import Colour
from dmlviz.images.looks import Part, Scheme

HAIR_COLOURS: Final[dict[str, Colour]] = {
    "raven": (46.0, 42.0, 58.0),
    "chestnut": (128.0, 72.0, 40.0),
    "golden": (238.0, 192.0, 78.0),
    "copper": (214.0, 96.0, 40.0),
    "silver": (196.0, 200.0, 210.0),
    "teal": (30.0, 140.0, 146.0),
}
IRIS_COLOURS: Final[dict[str, Colour]] = {
    "hazel": (128.0, 78.0, 30.0),
    "blue": (44.0, 116.0, 226.0),
    "green": (40.0, 158.0, 84.0),
    "violet": (146.0, 72.0, 200.0),
    "amber": (240.0, 156.0, 20.0),
}
NOSE_COLOURS: Final[dict[str, Colour]] = {
    "rosy": (236.0, 104.0, 112.0),
    "apricot": (246.0, 166.0, 84.0),
    "plum": (158.0, 84.0, 136.0),
    "clay": (160.0, 82.0, 52.0),
    "cream": (252.0, 228.0, 178.0),
}
LIP_COLOURS: Final[dict[str, Colour]] = {
    "coral": (240.0, 88.0, 76.0),
    "cherry": (170.0, 18.0, 46.0),
    "grape": (122.0, 50.0, 132.0),
    "peach": (250.0, 164.0, 140.0),
    "cocoa": (104.0, 56.0, 46.0),
}
SKIN_COLOURS: Final[dict[str, Colour]] = {
    "porcelain": (250.0, 222.0, 202.0),
    "peach": (240.0, 194.0, 158.0),
    "honey": (212.0, 156.0, 108.0),
    "umber": (156.0, 102.0, 68.0),
    "ebony": (106.0, 70.0, 52.0),
}
COLOURS: Final = {
    "face": SKIN_COLOURS,
    "hair": HAIR_COLOURS,
    "brows": HAIR_COLOURS,
    "eyes": IRIS_COLOURS,
    "nose": NOSE_COLOURS,
    "mouth": LIP_COLOURS,
}
"""What the colour names of each part mean before light and jitter (sRGB, 0 to 255)."""

_SHAPES: Final = {
    "face": ("oval", "round", "square", "heart"),
    "hair": ("bob", "curls", "long", "quiff", "bun"),
    "brows": ("straight", "arched", "bushy", "slanted"),
    "eyes": ("round", "almond", "sleepy", "narrow"),
    "nose": ("button", "long", "broad", "pointed"),
    "mouth": ("full", "wide", "bow", "toothy"),
}
CLUTTER: Final = 5
"""Most pieces of clutter behind one face."""


def _slots() -> tuple[tuple[str, float, float], ...]:
    slots = [
        ("scale", 0.93, 1.05),
        ("roll", -9.0, 9.0),
        ("shift_row", -2.0, 2.0),
        ("shift_col", -2.5, 2.5),
        ("yaw", -1.0, 1.0),
        ("pitch", -1.0, 1.0),
        ("smile", -0.35, 1.25),
        ("opening", -0.7, 1.0),
        ("brow_lift", -1.0, 1.0),
        ("lids", 0.74, 1.12),
        ("gaze_col", -1.0, 1.0),
        ("gaze_row", -1.0, 1.0),
        ("blush", 0.0, 1.0),
        ("glasses", 0.0, 1.0),
        ("glasses_shape", 0.0, 2.999),
        ("glasses_colour", 0.0, 3.999),
        ("sunglasses", 0.0, 1.0),
        ("mask", 0.0, 1.0),
        ("mask_colour", 0.0, 3.999),
        ("cap", 0.0, 1.0),
        ("cap_colour", 0.0, 1.0),
        ("clothes_hue", 0.0, 1.0),
        ("clothes_colour", 0.1, 0.8),
        ("clothes_value", 0.3, 0.95),
        ("collar", 0.0, 2.999),
        ("wall_hue", 0.0, 1.0),
        ("wall_colour", 0.06, 0.5),
        ("wall_value", 0.38, 0.97),
        ("clutter_count", 0.0, 5.999),
        ("gain", 0.72, 1.14),
        ("warmth", -0.11, 0.11),
        ("side_light", -0.42, 0.42),
        ("top_light", -0.2, 0.2),
        ("noise", 2.0, 8.0),
    ]
    for part in _SHAPES:
        slots += [(f"{part}_value", 0.9, 1.1), (f"{part}_tint", -0.06, 0.06)]
    for piece in range(CLUTTER):
        slots += [
            (f"clutter{piece}_kind", 0.0, 2.999),
            (f"clutter{piece}_row", 0.0, 1.0),
            (f"clutter{piece}_col", 0.0, 1.0),
            (f"clutter{piece}_size", 5.0, 17.0),
            (f"clutter{piece}_angle", 0.0, 90.0),
            (f"clutter{piece}_hue", 0.0, 1.0),
            (f"clutter{piece}_fade", 0.35, 0.75),
        ]
    return tuple(slots)


FACE_SCHEME: Final = Scheme(
    "face",
    tuple(Part(name, shapes, tuple(COLOURS[name])) for name, shapes in _SHAPES.items()),
    siblings=("hair", "brows", "eyes", "nose", "mouth", "face"),
    slots=_slots(),
    regions=("background", "clothes", "face", "hair", "brows", "eyes", "nose", "mouth", "occluder"),
)
"""Faces: six parts in which people differ; the region "face" is skin, ears and neck."""

GLASSES_SHARE: Final = 0.27
SUNGLASSES_SHARE: Final = 0.2
"""Share of glasses that hide the eyes."""
MASK_SHARE: Final = 0.14
CAP_SHARE: Final = 0.10
