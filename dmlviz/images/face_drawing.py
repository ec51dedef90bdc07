"""Drawing a face: the picture, and which part every visible pixel belongs to."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from dmlviz.images.bird_shapes import Outline, corners, disc, outline, smooth
from dmlviz.images.canvas import ROUND, Canvas, Colour, Drawing, hsv, mix, tone, turn, with_grain
from dmlviz.images.face_scheme import (
    CAP_SHARE,
    COLOURS,
    FACE_SCHEME,
    GLASSES_SHARE,
    MASK_SHARE,
    SUNGLASSES_SHARE,
)
from dmlviz.images.face_shapes import (
    BROWS,
    EAR,
    EYES,
    FACES,
    HAIR,
    MOUTHS,
    NECK,
    NOSES,
    Eye,
    Mouth,
    both_sides,
    mirrored,
)
from dmlviz.images.looks import LookScene

_ID: Final = FACE_SCHEME.region_id
_WHITE: Final[Colour] = (250.0, 248.0, 242.0)
_PUPIL: Final[Colour] = (26.0, 22.0, 28.0)
_FRAMES: Final[tuple[Colour, ...]] = (
    (32.0, 30.0, 36.0),
    (150.0, 46.0, 40.0),
    (58.0, 72.0, 150.0),
    (196.0, 160.0, 70.0),
)
_MASKS: Final[tuple[Colour, ...]] = (
    (176.0, 210.0, 226.0),
    (238.0, 238.0, 232.0),
    (58.0, 60.0, 70.0),
    (224.0, 150.0, 160.0),
)
_ALONG: Final = np.linspace(-1.0, 1.0, 11)
_DOME: Final = 1.0 - _ALONG**2


def draw_face(scene: LookScene, size: int = 96) -> Drawing:
    """Draw a face.

    Args:
        scene: Who, and the tape of everything else; its look is one of ``FACE_SCHEME``.
        size: Height and width in pixels; the picture is the same at every size, only finer.

    Returns:
        The picture and the region of every visible pixel.
    """
    p, words = FACE_SCHEME.read_tape(scene.key, -(-3 * size * size // 8))
    canvas = _empty_canvas(p, size)
    _paint_clutter(canvas, p)
    painter = _Painter(canvas, scene, p)
    painter.person()
    painter.things_in_front()
    return Drawing(with_grain(_side_lit(canvas.colours(), p), words, p["noise"]), canvas.part_ids())


def _empty_canvas(p: dict[str, float], size: int) -> Canvas:
    light = tuple(p["gain"] * (1.0 + sign * p["warmth"]) for sign in (1.0, 0.0, -1.0))
    wall = np.array(hsv(p["wall_hue"], p["wall_colour"], p["wall_value"]))
    return Canvas(np.linspace(1.0, 0.72, 2 * size)[:, None] * wall * light, size, size / 96.0, light)


def _side_lit(colours: np.ndarray, p: dict[str, float]) -> np.ndarray:
    """Let light fall from one side: brightness grows evenly across the picture."""
    height, width = colours.shape[:2]
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32) * np.float32(p["side_light"])
    down = np.linspace(-1.0, 1.0, height, dtype=np.float32) * np.float32(p["top_light"])
    lit = colours * (1.0 + across[None, :] + down[:, None])[..., None]
    return np.asarray(np.clip(lit, 0, 255).astype(np.uint8))


def _paint_clutter(canvas: Canvas, p: dict[str, float]) -> None:
    wall = hsv(p["wall_hue"], p["wall_colour"], p["wall_value"])
    for piece in range(int(p["clutter_count"])):
        prefix = f"clutter{piece}_"
        colour = mix(hsv(p[prefix + "hue"], 0.7, 0.85), wall, p[prefix + "fade"])
        at = complex(96.0 * p[prefix + "col"], 96.0 * p[prefix + "row"])
        placed = _CLUTTER[int(p[prefix + "kind"])] * (p[prefix + "size"] * turn(p[prefix + "angle"])) + at
        canvas.polygon(placed, colour, 0)


_CLUTTER: Final = (
    ROUND,
    corners((-1.2, -0.8), (1.2, -0.8), (1.2, 0.8), (-1.2, 0.8)),
    corners((-2.5, -0.22), (2.5, -0.22), (2.5, 0.22), (-2.5, 0.22)),
)
_SHOULDERS: Final = both_sides((0, 36), (14, 37), (36, 43), (46, 60), (46, 80), (0, 80), per=2)
_COLLARS: Final = (
    both_sides((0, 47), (9, 43), (14, 36), (18, 38), (14, 48), (0, 53), per=2),
    corners((-15, 36), (-9, 36), (0, 50), (9, 36), (15, 36), (3, 58), (-3, 58)),
    both_sides((0, 32), (13, 31), (15, 42), (0, 45), per=2),
)
_BLUSH: Final = disc(0, 0, 5.2, 3.6, 14)
_MASK: Final = both_sides((0, 2.5), (12, 5.5), (23.5, 9.5), (19, 25), (8, 33), (0, 34.5))
_PLEATS: Final = tuple(
    np.concatenate(
        [20.0 * w * _ALONG + 1j * (y + d * _DOME), (20.0 * w * _ALONG + 1j * (y + 1.1 + d * _DOME))[::-1]]
    )
    for y, d, w in ((10, 3.0, 0.86), (16, 3.2, 0.84), (22, 3.4, 0.74))
)
_LOOP: Final = corners((21, 9), (27, -3), (28, -2.2), (22, 11.5))
_CAP: Final = outline(
    ("base", both_sides((0, -44), (18, -40), (29, -26), (30, -15), (0, -18))),
    ("shade", corners((-0.5, -43.6), (0.5, -43.6), (0.9, -17), (-0.9, -17))),
    (
        "shade",
        smooth(
            (-27, -17),
            (0, -22),
            (27, -17),
            (31, -10),
            (14, -13.5),
            (0, -14.4),
            (-14, -13.5),
            (-31, -10),
            per=3,
        ),
    ),
    ("light", disc(0, -29, 5.5, 4.6, 14)),
)


def _rings() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """For each shape of glasses the lens on the right and its frame, a ring cut open at one place."""
    lenses = (
        disc(0, 0, 8.2, 7.8, 18),
        smooth((-8.6, -5.2), (0, -6), (8.8, -5.2), (8.8, 4.8), (0, 5.8), (-8.2, 4.8), per=2),
        smooth((-8, -3.4), (0, -5.4), (10.4, -7.6), (8.6, 3.6), (0, 6.2), (-6.4, 3.6), per=2),
    )
    return tuple(
        (lens, np.concatenate([lens, lens[:1], 0.80 * np.append(lens, lens[0])[::-1]])) for lens in lenses
    )


_GLASSES: Final = _rings()
_BRIDGE: Final = smooth((-3.4, -0.4), (0, -2.2), (3.4, -0.4), (3.4, 1.0), (0, -0.6), (-3.4, 1.0), per=2)
_TEMPLE: Final = corners((17.5, -2.0), (25.6, -3.0), (25.6, -1.5), (17.5, -0.2))


class _Painter:
    """Paints one person: where things lie follows from the pose, what they are from the look."""

    def __init__(self, canvas: Canvas, scene: LookScene, p: dict[str, float]) -> None:
        self.canvas, self.p, self.removed = canvas, p, scene.removed
        self.variants = dict(zip(FACE_SCHEME.part_names, scene.look.variants, strict=True))
        self.colour = {part: self._colour_of(part) for part in self.variants}
        self.placing = p["scale"] * turn(p["roll"])
        self.middle = complex(47.5 + p["shift_col"], 50.5 + p["shift_row"])

    def _colour_of(self, part: str) -> Colour:
        names = FACE_SCHEME.part(part).colours
        red, green, blue = COLOURS[part][names[self.variants[part][1]]]
        value, tint = self.p[f"{part}_value"], self.p[f"{part}_tint"]
        return red * value * (1 + tint), green * value * (1 - 0.4 * tint), blue * value * (1 - tint)

    def at(self, points: np.ndarray, depth: float) -> np.ndarray:
        """Turn the head: what lies ``depth`` pixels in front of its axis moves sideways, less towards the rim."""
        x, y = points.real, points.imag
        around = np.maximum(0.0, 1.0 - (x / 34.0) ** 2)
        turned = x + self.p["yaw"] * depth * around + 1j * (y + 0.45 * self.p["pitch"] * depth * around)
        return np.asarray(turned * self.placing + self.middle)

    def paint(self, drawn: Outline, depth: float, colour: Colour, region: str, origin: complex = 0j) -> None:
        self.canvas.outline(drawn, self.at(drawn.points + origin, depth), colour, _ID[region])

    def fill(self, points: np.ndarray, depth: float, colour: Colour, region: str) -> None:
        self.canvas.polygon(self.at(points, depth), colour, _ID[region])

    def person(self) -> None:
        """Paint from back to front."""
        hair = HAIR[self.variants["hair"][0]] if "hair" not in self.removed else None
        skin = self.colour["face"]
        if hair is not None:
            self.paint(hair[0], -2.5, self.colour["hair"], "hair")
        if "face" not in self.removed:
            self.paint(NECK, -1.0, skin, "face")
        self._clothes()
        if "face" not in self.removed:
            for ear in (EAR.points, mirrored(EAR.points)):
                moved = self.at(ear, 0.0) - 2.4 * self.p["yaw"] * self.placing
                self.canvas.outline(EAR, moved, skin, _ID["face"])
            self.paint(FACES[self.variants["face"][0]], 1.0, skin, "face")
            blush = mix(skin, (232.0, 92.0, 92.0), 0.12 + 0.30 * self.p["blush"])
            for x in (-14.5, 14.5):
                self.fill(_BLUSH + complex(x, 9.0), 4.0, blush, "face")
        if "mouth" not in self.removed:
            self._mouth(MOUTHS[self.variants["mouth"][0]], self.colour["mouth"])
        if "nose" not in self.removed:
            self.paint(NOSES[self.variants["nose"][0]], 6.5, self.colour["nose"], "nose", -1.5j)
        for side in (-1.0, 1.0):
            if "eyes" not in self.removed:
                self._eye(EYES[self.variants["eyes"][0]], side)
            if "brows" not in self.removed:
                self._brow(BROWS[self.variants["brows"][0]], side)
        if hair is not None:
            self.paint(hair[1], 2.0, self.colour["hair"], "hair")

    def _clothes(self) -> None:
        p = self.p
        cloth = hsv(p["clothes_hue"], p["clothes_colour"], p["clothes_value"])
        self.fill(_SHOULDERS, 0.0, cloth, "clothes")
        self.fill(_COLLARS[int(p["collar"])], 0.0, tone(cloth, "shade"), "clothes")

    def _eye(self, eye: Eye, side: float) -> None:
        p = self.p
        centre = complex(11.2, -4.0)
        x = eye.half * _ALONG
        arch = _DOME**eye.power
        upper = -eye.upper * p["lids"] * arch + eye.tilt * x
        lower = eye.lower * p["lids"] * arch + eye.tilt * x

        def place(points: np.ndarray) -> np.ndarray:
            moved = points + centre
            return moved if side > 0 else mirrored(moved)

        white = np.concatenate([x + 1j * upper, (x + 1j * lower)[::-1]])
        self.fill(place(white), 4.0, _WHITE, "eyes")
        look = complex(side * (1.5 * p["gaze_col"] + 0.8 * p["yaw"]), 0.9 * p["gaze_row"] + 0.4)
        for radius, colour in ((eye.iris, self.colour["eyes"]), (0.48 * eye.iris, _PUPIL)):
            disc_points = radius * ROUND + look
            share = np.clip(disc_points.real / eye.half, -1.0, 1.0)
            height = (1.0 - share**2) ** eye.power
            level = eye.tilt * disc_points.real
            between = np.clip(
                disc_points.imag,
                level - eye.upper * p["lids"] * height,
                level + eye.lower * p["lids"] * height,
            )
            self.fill(place(disc_points.real + 1j * between), 4.0, colour, "eyes")
        lash = np.concatenate([x + 1j * (upper - 0.5 * eye.lash), (x + 1j * (upper + 0.5 * eye.lash))[::-1]])
        self.fill(place(lash), 4.0, _PUPIL, "eyes")
        shine = 0.75 * ROUND + look + complex(-0.9 * side, -min(1.2, 0.5 * eye.upper))
        self.fill(place(shine), 4.0, (255.0, 255.0, 255.0), "eyes")

    def _brow(self, brow: Outline, side: float) -> None:
        points = brow.points + complex(11.6, -14.2 - 1.7 * self.p["brow_lift"])
        placed = self.at(points if side > 0 else mirrored(points), 4.0)
        self.canvas.outline(brow, placed, self.colour["brows"], _ID["brows"])

    def _mouth(self, mouth: Mouth, lips: Colour) -> None:
        p = self.p
        smile, gap = p["smile"], 3.0 * max(0.0, p["opening"])
        half = mouth.half * (1.0 + 0.12 * smile - 0.05 * gap)
        x = half * _ALONG
        line = 18.0 - 2.6 * smile * (_ALONG**2 - 0.35)
        notch = mouth.bow * np.exp(-((x / (0.28 * mouth.half)) ** 2))
        top = line - 0.5 * gap * _DOME - mouth.upper * _DOME**0.6 + notch
        inner_top, inner_low = line - 0.5 * gap * _DOME, line + gap * _DOME
        low = inner_low + mouth.lower * _DOME**0.7
        draw = partial(self.fill, depth=4.5, region="mouth")
        draw(np.concatenate([x + 1j * top, (x + 1j * low)[::-1]]), colour=lips)
        draw(
            np.concatenate([x + 1j * (inner_low + 0.3), (x + 1j * low)[::-1]]), colour=tone(lips, "light")
        ) if mouth.lower > 3 else None
        if gap > 0.4:
            draw(np.concatenate([x + 1j * inner_top, (x + 1j * inner_low)[::-1]]), colour=(74.0, 20.0, 28.0))
            edge = inner_top + np.minimum(0.35 * gap * _DOME, 1.6)
            draw(np.concatenate([x + 1j * inner_top, (x + 1j * edge)[::-1]])[2:-2], colour=_WHITE)
        else:
            draw(
                np.concatenate([x + 1j * (line - 0.45), (x + 1j * (line + 0.45))[::-1]]),
                colour=tone(lips, "ink"),
            )
        if mouth.teeth:
            at = float(inner_top[5])
            for left in (-3.3, 0.15):
                tooth = corners((left, at), (left + 3.1, at), (left + 2.8, at + 4.4), (left + 0.3, at + 4.4))
                draw(tooth, colour=_WHITE)

    def things_in_front(self) -> None:
        """Paint what hides parts: a mask, glasses, a cap."""
        p = self.p
        if p["mask"] < MASK_SHARE:
            cloth = _MASKS[int(p["mask_colour"])]
            for loop in (_LOOP, mirrored(_LOOP)):
                self.fill(loop, 2.0, tone(cloth, "shade"), "occluder")
            self.fill(_MASK, 4.0, cloth, "occluder")
            for pleat in _PLEATS:
                self.fill(pleat, 4.0, tone(cloth, "shade"), "occluder")
        if p["glasses"] < GLASSES_SHARE:
            lens, ring = _GLASSES[int(p["glasses_shape"])]
            frame = _FRAMES[int(p["glasses_colour"])]
            for side in (1.0, -1.0):
                if p["sunglasses"] < SUNGLASSES_SHARE:
                    inside = lens + complex(11.4, -3.6)
                    self.fill(inside if side > 0 else mirrored(inside), 5.0, (40.0, 42.0, 52.0), "occluder")
                rim = ring + complex(11.4, -3.6)
                self.fill(rim if side > 0 else mirrored(rim), 5.0, frame, "occluder")
                self.fill(_TEMPLE if side > 0 else mirrored(_TEMPLE), 2.0, frame, "occluder")
            self.fill(_BRIDGE - 4.2j, 6.0, frame, "occluder")
        if p["cap"] < CAP_SHARE:
            self.paint(_CAP, 2.5, hsv(p["cap_colour"], 0.62, 0.72), "occluder")
