"""Drawing a person as one of the cameras sees them: the picture, and which part every visible pixel belongs to."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageFilter

from dmlviz.images import person_shapes as shapes
from dmlviz.images.bird_shapes import Outline, corners, disc, smooth
from dmlviz.images.canvas import ROUND, Canvas, Colour, Drawing, hsv, mix, tone, turn, with_grain
from dmlviz.images.face_shapes import both_sides, mirrored
from dmlviz.images.looks import LookScene
from dmlviz.images.person_scheme import CAMERAS, COLOURS, PERSON_SCHEME, VIEWS, Camera

View = Literal["front", "back", "left", "right"]
_ID: Final = PERSON_SCHEME.region_id
_CLOTHS: Final = tuple(COLOURS["top"].values())
_INK: Final[Colour] = (30.0, 26.0, 32.0)
_GREY: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SIDE_WIDTH: Final = 0.62
"""How wide a trunk is from the side, as a share of its width from the front."""


def view_of(scene: LookScene) -> View:
    """Say from where the scene's camera sees the person."""
    return _view(PERSON_SCHEME.read_tape(scene.key)[0], CAMERAS[scene.camera])


def draw_person(scene: LookScene, height: int = 128) -> Drawing:
    """Draw a person.

    Args:
        scene: Who, which camera, and the tape of everything else; its look is one of ``PERSON_SCHEME``.
        height: Height in pixels, an even number; the width is half of it. The picture is the same at every size,
            only finer.

    Returns:
        The picture and the region of every visible pixel.
    """
    width = height // 2
    p, words = PERSON_SCHEME.read_tape(scene.key, -(-3 * height * width // 8))
    camera = CAMERAS[scene.camera]
    canvas = _empty_canvas(p, camera, height)
    _paint_street(canvas, p, camera)
    _Painter(canvas, scene, p, camera).person()
    if p["occluder"] < camera.occluded:
        _paint_occluder(canvas, p)
    return Drawing(with_grain(_through(camera, canvas.colours(), p), words, p["noise"]), canvas.part_ids())


def _view(p: dict[str, float], camera: Camera) -> View:
    at = int(np.searchsorted(np.cumsum(camera.views), p["view"], side="right"))
    found: View = VIEWS[min(at, 3)]  # type: ignore[assignment]
    return found


def _empty_canvas(p: dict[str, float], camera: Camera, height: int) -> Canvas:
    light = tuple(p["gain"] * (1.0 + sign * p["warmth"]) for sign in (1.0, 0.0, -1.0))
    fall = np.linspace(0.86, 1.04, 2 * height)[:, None]
    return Canvas(fall * np.array(_wall(p, camera)) * light, height // 2, height / 128.0, light)


def _wall(p: dict[str, float], camera: Camera) -> Colour:
    hue, colourfulness, value = camera.wall
    return hsv(
        (hue + 0.12 * (p["wall_hue"] - 0.5)) % 1.0,
        colourfulness,
        min(1.0, value * (1 + 0.15 * p["wall_value"])),
    )


def _through(camera: Camera, colours: np.ndarray, p: dict[str, float]) -> np.ndarray:
    """Take the picture with this camera: side light, blur, gains, saturation, gamma."""
    height, width = colours.shape[:2]
    radius = camera.blur * (1.0 + 0.5 * p["blur"]) * height / 128.0
    if radius > 0.05:
        colours = np.asarray(Image.fromarray(colours).filter(ImageFilter.BoxBlur(radius)))
    across = 1.0 + np.linspace(-1.0, 1.0, width, dtype=np.float32) * np.float32(p["side_light"])
    keep = np.float32(camera.saturation)
    mixing = (keep * np.eye(3, dtype=np.float32) + (1 - keep) * _GREY[:, None]) * np.array(
        camera.gains, np.float32
    )
    seen = np.clip((colours * across[None, :, None]) @ mixing, 0, 255).astype(np.uint8)
    curve = 255.0 * (np.arange(256) / 255.0) ** camera.gamma
    return np.asarray(curve.astype(np.uint8)[seen])


def _paint_street(canvas: Canvas, p: dict[str, float], camera: Camera) -> None:
    wall = _wall(p, camera)
    for piece in range(int(p["clutter_count"])):
        prefix = f"clutter{piece}_"
        colour = mix(_CLOTHS[int(p[prefix + "colour"])], wall, p[prefix + "fade"])
        at = complex(64.0 * p[prefix + "col"], 100.0 * p[prefix + "row"])
        canvas.polygon(at + p[prefix + "size"] * _CLUTTER[int(p[prefix + "kind"])], colour, 0)
    level = 96.0 + 10.0 * p["horizon"]
    value = 0.55 + 0.2 * p["ground_value"]
    ground = hsv(camera.wall[0], 0.5 * camera.wall[1], value)
    edge = np.array([-2 + 1j * level, 66 + 1j * level, 66 + 130j, -2 + 130j])
    canvas.polygon(edge, ground, 0)
    kerb = edge.copy()
    kerb[2:] = kerb[1::-1] + 2.5j
    canvas.polygon(kerb, tone(ground, "shade"), 0)


_CLUTTER: Final = (
    corners((-7, -10), (7, -10), (7, 10), (-7, 10)),
    corners((-4, -22), (4, -22), (4, 22), (-4, 22)),
    9.0 * ROUND,
)
_SHADOW: Final = disc(0, 104.5, 17, 3.0, 20)


def _paint_occluder(canvas: Canvas, p: dict[str, float]) -> None:
    """Paint what stands in front: a hedge, a post, a bin or a passer-by's shoulder."""
    kind, at, size, region = int(p["occluder_kind"]), p["occluder_at"], p["occluder_size"], _ID["occluder"]
    if kind == 0:
        top = 108.0 - 26.0 * size
        hedge = np.array([complex(x, top + 2.2 * math.sin(1.1 * x + 9 * at)) for x in range(-2, 68, 3)])
        leaves = (74.0, 116.0 + 30 * at, 66.0)
        canvas.polygon(np.concatenate([hedge, [68 + 130j, -4 + 130j]]), leaves, region)
        canvas.polygon(np.concatenate([hedge + 5j, [68 + 130j, -4 + 130j]]), tone(leaves, "shade"), region)
    elif kind == 1:
        middle, half = 8.0 + 48.0 * at, 2.0 + 2.5 * size
        post = corners((-half, -2), (half, -2), (half, 130), (-half, 130)) + middle
        canvas.polygon(post, (120.0, 122.0, 130.0), region)
        canvas.polygon(
            post.real * 0.5 + 0.5 * (middle - half) + 1j * post.imag, (160.0, 162.0, 168.0), region
        )
    elif kind == 2:
        middle, top = (8.0 + 16.0 * at if at < 0.5 else 40.0 + 16.0 * at), 98.0 - 24.0 * size
        bin_ = corners((-11, top), (11, top), (9, 122), (-9, 122)) + middle
        metal = hsv(p["occluder_hue"], 0.35, 0.55)
        canvas.polygon(bin_, metal, region)
        canvas.polygon(
            corners((-12.5, top - 4), (12.5, top - 4), (12.5, top), (-12.5, top)) + middle,
            tone(metal, "shade"),
            region,
        )
    else:
        coat = hsv(p["occluder_hue"], 0.3, 0.35)
        body = _PASSER.real + 1j * (_PASSER.imag + 30.0 * (1 - size))
        body = body if at < 0.5 else 63.0 - body.conj()
        canvas.polygon(body, coat, region)


_PASSER: Final = smooth((-6, 34), (6, 40), (13, 54), (15, 90), (14, 140), (-10, 140), (-10, 60), per=3)
_FOOT: Final = smooth((-3.6, 42), (2.6, 42), (8.2, 46.4), (8, 48.6), (-3.8, 48.6), per=2)
_BUTTONS: Final = tuple(disc(2.2, y, 0.9, 0.9, 8) for y in (30, 40, 50, 60))
_ZIP: Final = corners((-0.7, 21), (0.7, 21), (0.7, 76), (-0.7, 76))
_DRAWSTRINGS: Final = (
    corners((-3, 26), (-1.8, 26), (-2.2, 35), (-3.4, 35)),
    corners((3, 26), (1.8, 26), (2.2, 35), (3.4, 35)),
)
_HOOD_SIDE: Final = smooth((2, 18.6), (-4, 17.6), (-8.6, 21), (-6.6, 27), (0, 25.4), per=2)
_CROSSED: Final = (
    corners((-8, 21), (-5, 20.4), (6, 45), (2.6, 45)),
    corners((8, 21), (5, 20.4), (-6, 45), (-2.6, 45)),
)
_NECK: Final = corners((-3.0, 14), (3.0, 14), (3.4, 23), (-3.4, 23))
_SIDE_PLEATS: Final = tuple(
    corners((x, 60), (x + 1.0, 60), (1.5 * x + 1.2, 83), (1.5 * x, 83)) for x in (-6, -1, 4)
)
_PLEATED: Final = both_sides((0, 54), (11, 54.5), (14, 66), (18.5, 82), (0, 84.5), per=2)


class _Painter:
    """Paints one person from back to front; the view decides which side of each part shows."""

    def __init__(self, canvas: Canvas, scene: LookScene, p: dict[str, float], camera: Camera) -> None:
        self.canvas, self.p, self.removed = canvas, p, scene.removed
        self.shape = {part: scene.look.shape(part) for part in PERSON_SCHEME.part_names}
        self.colour = {part: self._colour_of(scene, part) for part in PERSON_SCHEME.part_names}
        view = _view(p, camera)
        self.face: str = view if view in ("front", "back") else "side"
        self.side = self.face == "side"
        self.mirror = (view == "left") if self.side else (p["bag_side"] < 0.5)
        self.placing = camera.zoom * (1.0 + 0.07 * p["zoom"]) * turn(p["lean"])
        self.middle = complex(31.5 + p["shift_col"], 66.0 + 4.0 * p["shift_row"])
        self.narrow = _SIDE_WIDTH if self.side else 1.0

    def _colour_of(self, scene: LookScene, part: str) -> Colour:
        red, green, blue = COLOURS[part][scene.look.colour(part)]
        if part == "body":
            value, tint = self.p["skin_value"], 0.0
        else:
            value, tint = self.p[f"{part}_value"], self.p[f"{part}_tint"]
        return red * value * (1 + tint), green * value * (1 - 0.4 * tint), blue * value * (1 - tint)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Bring points of the whole person's frame to their place in the picture."""
        turned = mirrored(points) if self.mirror else points
        return np.asarray((turned - 52j) * self.placing + self.middle)

    def fill(self, points: np.ndarray, colour: Colour, part: str, narrow: bool = False) -> None:
        if narrow and self.side:
            points = _SIDE_WIDTH * points.real + 1j * points.imag
        self.canvas.polygon(self.at(points), colour, _ID[part])

    def paint(
        self, drawn: Outline, part: str, placed: np.ndarray | None = None, colour: Colour | None = None
    ) -> None:
        points = drawn.points if placed is None else placed
        self.canvas.outline(
            drawn, self.at(points), self.colour[part] if colour is None else colour, _ID[part]
        )

    def shown(self, part: str) -> bool:
        return part not in self.removed

    def person(self) -> None:
        """Paint everything."""
        self.canvas.polygon(self.at(_SHADOW), (70.0, 68.0, 72.0), 0)
        near, far = self._arms()
        if self.shown("bag") and self.shape["bag"] == "backpack" and self.face == "front":
            self.paint(shapes.BACKPACK["behind"], "bag")
        if self.shape["hair"] == "long" and self.face == "front" and self.shown("hair"):
            self.paint(shapes.HAIR[1]["back"], "hair", colour=tone(self.colour["hair"], "shade"))
        self._arm(far)
        self._legs()
        self._trunk()
        if self.shown("bag"):
            self._bag_on_trunk()
        self._arm(near)
        if not self.side:
            self._arm_over(far)
        if self.shown("bag"):
            self._bag_in_hand(near)
        self._head()

    # ---- limbs -----------------------------------------------------------------------------------------------

    def _arms(self) -> tuple[tuple[complex, complex], tuple[complex, complex]]:
        """Return (shoulder, turn) of the near and of the far arm."""
        p = self.p
        if self.side:
            return (0.0 + 24j, turn(14.0 * p["arm_right"])), (1.0 + 24j, turn(-12.0 * p["arm_left"]))
        return (11.0 + 24j, turn(-9.0 - 5.0 * p["arm_right"])), (-11.0 + 24j, turn(9.0 + 5.0 * p["arm_left"]))

    def _arm(self, arm: tuple[complex, complex]) -> None:
        origin, along = arm
        skin = self.colour["body"]
        self.canvas.polygon(self.at(origin + along * shapes.ARM), tone(skin, "shade"), _ID["body"])
        self.canvas.polygon(self.at(origin + along * shapes.HAND), skin, _ID["body"])
        if self.shown("top"):
            self._sleeve(origin, along)

    def _arm_over(self, arm: tuple[complex, complex]) -> None:
        """Paint an arm's sleeve once more over the trunk, so that both shoulders look alike."""
        if self.shown("top"):
            self._sleeve(*arm)

    def _sleeve(self, origin: complex, along: complex) -> None:
        colour, shape = self.colour["top"], self.shape["top"]
        sleeve = shapes.LONG_SLEEVE if shape in ("coat", "hoodie", "striped") else shapes.SLEEVE
        cloth = mix(colour, (250.0, 250.0, 250.0), 0.6) if shape == "dungarees" else tone(colour, "shade")
        if shape == "striped":
            cloth = colour
        self.canvas.polygon(self.at(origin + along * sleeve), cloth, _ID["top"])
        if shape == "striped":
            for stripe in shapes.SLEEVE_STRIPES:
                band = 0.85 * stripe.real + 1j * stripe.imag
                self.canvas.polygon(self.at(origin + along * band), _pale(colour), _ID["top"])

    def _legs(self) -> None:
        p, skin, bottom = self.p, self.colour["body"], self.colour["bottom"]
        shoe = shapes.SHOES[PERSON_SCHEME.part("shoes").shapes.index(self.shape["shoes"])]
        swing = p["stride"]
        if self.side:
            hips = ((1.0 + 55j, turn(-10.0 * swing - 5.0), 1.0), (-1.0 + 55j, turn(10.0 * swing + 3.0), 1.0))
        else:
            hips = ((-5.2 + 55j, turn(2.5 + 2.5 * swing), -0.72), (5.2 + 55j, turn(-2.5 + 2.5 * swing), 0.72))
        shape = self.shape["bottom"]
        cloth = {"trousers": shapes.TROUSER, "shorts": shapes.SHORT, "flares": shapes.FLARE}.get(shape)
        for number, (hip, along, toes) in enumerate(hips):
            shade = tone(skin, "shade") if number == 0 else skin
            self.canvas.polygon(self.at(hip + along * shapes.LEG), shade, _ID["body"])
            feet = hip + along * (toes * _FOOT.real + 1j * _FOOT.imag)
            self.canvas.polygon(self.at(feet), shade, _ID["body"])
            if self.shown("shoes"):
                placed = hip + along * (toes * shoe.points.real + 1j * shoe.points.imag)
                self.paint(shoe, "shoes", placed)
            if cloth is not None and self.shown("bottom"):
                fabric = tone(bottom, "shade") if number == 0 else bottom
                self.canvas.polygon(self.at(hip + along * cloth), fabric, _ID["bottom"])
                if shape == "flares":
                    hem = corners((-7.7, 38.6), (7.7, 38.6), (8.4, 42.6), (-8.4, 42.6))
                    self.canvas.polygon(self.at(hip + along * hem), _pale(bottom), _ID["bottom"])

    # ---- trunk -----------------------------------------------------------------------------------------------

    def _trunk(self) -> None:
        skin, bottom = self.colour["body"], self.colour["bottom"]
        self.fill(_NECK, tone(skin, "shade"), "body")
        self.fill(shapes.TORSO, skin, "body", narrow=True)
        self.fill(shapes.HIPS, skin, "body", narrow=True)
        if self.shown("bottom"):
            if self.shape["bottom"] == "skirt":
                wide = 0.85 if self.side else 1.0
                self.fill(wide * _PLEATED.real + 1j * _PLEATED.imag, bottom, "bottom")
                for pleat in _SIDE_PLEATS:
                    self.fill(pleat, tone(bottom, "shade"), "bottom")
            else:
                self.fill(shapes.HIPS, bottom, "bottom", narrow=True)
        if self.shown("top"):
            self._top(self.colour["top"], self.shape["top"])

    def _top(self, colour: Colour, shape: str) -> None:
        shade = tone(colour, "shade")
        if shape == "coat":
            self.fill(shapes.COAT, shade, "top", narrow=True)
            self.fill(0.88 * shapes.COAT.real - 0.6 + 1j * shapes.COAT.imag, colour, "top", narrow=True)
            if self.face == "front":
                self.fill(_ZIP, tone(colour, "ink"), "top")
                for button in _BUTTONS:
                    self.fill(button, _pale(colour), "top")
            elif self.face == "back":
                self.fill(
                    _ZIP[[0, 1, 2, 3]].real + 1j * np.maximum(_ZIP.imag, 58), tone(colour, "ink"), "top"
                )
            return
        if shape == "dungarees":
            self.fill(shapes.TORSO, _pale(colour), "top", narrow=True)
            self.fill(shapes.BIB, colour, "top", narrow=True)
            for brace in _CROSSED if self.face == "back" else shapes.BRACES:
                self.fill(brace, colour, "top", narrow=True)
            if self.face == "front":
                self.fill(corners((-4, 38), (4, 38), (4, 44), (-4, 44)), shade, "top")
            return
        self.fill(shapes.TORSO, shade, "top", narrow=True)
        self.fill(shapes.LIT_TORSO, colour, "top", narrow=True)
        if shape == "striped":
            for stripe in shapes.STRIPES:
                reach = 11.6 if stripe[0].imag < 45 else 11.2
                self.fill(
                    np.clip(stripe.real, -reach, reach) + 1j * stripe.imag, _pale(colour), "top", narrow=True
                )
        elif shape == "hoodie":
            if self.side:
                self.fill(_HOOD_SIDE, shade, "top")
            elif self.face == "back":
                self.fill(shapes.HOOD + 1j, tone(colour, "ink"), "top")
                self.fill(0.8 * shapes.HOOD + 4.6j, shade, "top")
            else:
                for string in _DRAWSTRINGS:
                    self.fill(string, _pale(colour), "top")
                self.fill(shapes.POUCH, shade, "top")

    # ---- bag -------------------------------------------------------------------------------------------------

    def _bag_on_trunk(self) -> None:
        shape, colour = self.shape["bag"], self.colour["bag"]
        if shape == "backpack":
            self.paint(shapes.BACKPACK[self.face], "bag")
        elif shape == "satchel":
            if self.side:
                self.fill(shapes.SATCHEL_SIDE, tone(colour, "shade"), "bag")
                self.paint(shapes.SATCHEL, "bag", shapes.SATCHEL.points + (0.4 * self.p["bag_swing"] + 54j))
            else:
                self.fill(shapes.SATCHEL_STRAP, tone(colour, "shade"), "bag")
                self.paint(shapes.SATCHEL, "bag", shapes.SATCHEL.points + (12.5 + self.p["bag_swing"] + 54j))

    def _bag_in_hand(self, arm: tuple[complex, complex]) -> None:
        shape = self.shape["bag"]
        if shape not in shapes.CARRIED:
            return
        origin, along = arm
        hand = origin + along * 27j
        drawn = shapes.CARRIED[shape]
        if shape == "suitcase":
            foot = complex(hand.real + (0.0 if not self.side else -6.0), 53.0)
            points = drawn.points * turn(3.0 * self.p["bag_swing"])
            self.paint(drawn, "bag", points + foot)
        else:
            self.paint(drawn, "bag", drawn.points * turn(6.0 * self.p["bag_swing"]) + hand)

    # ---- head ------------------------------------------------------------------------------------------------

    def _head(self) -> None:
        skin = self.colour["body"]
        nod = 0.8 * self.p["nod"]
        head = shapes.PROFILE if self.side else shapes.HEAD
        self.fill(head + nod, skin, "body")
        if self.face == "front":
            for eye in shapes.EYES:
                self.fill(eye + nod, _INK, "body")
            self.fill(disc(0, 14.4, 2.0, 0.6, 8) + nod, (150.0, 60.0, 60.0), "body")
        elif self.side:
            self.fill(shapes.SIDE_EYE + nod, _INK, "body")
        if self.shown("hair"):
            number = PERSON_SCHEME.part("hair").shapes.index(self.shape["hair"])
            hair = shapes.HAIR[number][self.face]
            self.paint(hair, "hair", hair.points + nod)


def _pale(colour: Colour) -> Colour:
    """Return what goes well with a cloth: nearly white, or dark grey on cloth that is nearly white itself."""
    if min(colour) > 150.0:
        return mix(colour, (90.0, 96.0, 110.0), 0.62)
    return mix(colour, (252.0, 250.0, 244.0), 0.72)
