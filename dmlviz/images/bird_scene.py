"""One generated bird as numbers: its species, and the tape of random numbers that places it in a scene.

Every quantity of a scene is read from its own named slot of one **tape** of uniform numbers. A part that is taken
away or swapped changes no slot, so pose, background, clutter and noise stay exactly as they were. The tape uses
the raw bits of PCG64 only, which NumPy keeps unchanged between versions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

PARTS: Final = ("beak", "crest", "wing", "tail", "feet")
"""The five class-defining parts, in the order of their ids."""

SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "beak": ("cone", "hook", "needle", "spoon"),
    "crest": ("crown", "bobble", "plume", "dome"),
    "wing": ("leaf", "sickle", "barred", "dotted"),
    "tail": ("fan", "fork", "streamer", "racket"),
    "feet": ("talons", "webbed", "boots", "slippers"),
}
"""The four shapes of each part."""

COLOURS: Final = ("scarlet", "amber", "green", "blue", "violet")
"""The five colours that any part may have."""

REGIONS: Final = ("background", "body", "head", *PARTS, "occluder")
"""What the numbers in a part-id map mean: ``REGIONS[id]``."""

PART_ID: Final[dict[str, int]] = {name: number for number, name in enumerate(REGIONS)}

CLUTTER: Final = 9
"""Most pieces of clutter in one scene."""


def _ranges() -> dict[str, tuple[float, float]]:
    """Name every slot of the tape and the range of the quantity that it feeds."""
    ranges: dict[str, tuple[float, float]] = {
        "flip": (0.0, 1.0),
        "scale": (0.98, 1.20),
        "rotation": (-17.0, 17.0),
        "shift_row": (-4.0, 4.0),
        "shift_col": (-4.0, 4.0),
        "body_tilt": (-9.0, 9.0),
        "body_plump": (0.92, 1.10),
        "neck_length": (-1.5, 2.0),
        "neck_angle": (-12.0, 12.0),
        "head_angle": (-15.0, 15.0),
        "crest_angle": (-12.0, 12.0),
        "wing_angle": (-15.0, 15.0),
        "tail_angle": (-18.0, 18.0),
        "near_leg_angle": (-16.0, 16.0),
        "far_leg_angle": (-16.0, 16.0),
        "body_hue": (0.0, 1.0),
        "body_value": (0.0, 1.0),
        "body_warmth": (-1.0, 1.0),
        "sky_hue": (0.0, 1.0),
        "sky_value": (0.62, 0.97),
        "sky_colour": (0.08, 0.42),
        "ground_hue": (0.0, 1.0),
        "ground_value": (0.34, 0.82),
        "ground_colour": (0.10, 0.50),
        "horizon": (0.42, 0.88),
        "hill_at": (-0.1, 1.1),
        "hill_height": (0.05, 0.26),
        "hill_width": (0.30, 0.70),
        "clutter_count": (4.0, 9.999),
        "twig": (0.0, 1.0),
        "twig_angle": (0.0, 180.0),
        "twig_at": (-26.0, 26.0),
        "twig_width": (1.6, 3.2),
        "twig_value": (0.55, 1.25),
        "twig_leaf": (-1.0, 1.0),
        "gain": (0.82, 1.14),
        "warmth": (-0.07, 0.07),
        "noise": (2.0, 7.0),
    }
    for part in PARTS:
        ranges[f"{part}_value"] = (0.84, 1.14)
        ranges[f"{part}_tint"] = (-0.09, 0.09)
    for piece in range(CLUTTER):
        ranges[f"clutter{piece}_kind"] = (0.0, 3.999)
        ranges[f"clutter{piece}_row"] = (0.0, 1.0)
        ranges[f"clutter{piece}_col"] = (0.0, 1.0)
        ranges[f"clutter{piece}_size"] = (0.75, 1.55)
        ranges[f"clutter{piece}_angle"] = (0.0, 360.0)
        ranges[f"clutter{piece}_colour"] = (0.0, 6.499)
        ranges[f"clutter{piece}_fade"] = (0.18, 0.52)
    return ranges


RANGES: Final = _ranges()
"""Every slot of the tape by name, in order, and the range its uniform number is stretched to."""

_LOW = np.array([low for low, _ in RANGES.values()])
_SPAN = np.array([high - low for low, high in RANGES.values()])
_NAMES = tuple(RANGES)
_SEED_LIMIT = 2**63


def uniform_tape(key: tuple[int, ...], count: int, skip: int = 0) -> np.ndarray:
    """Read uniform numbers from the raw bits of PCG64.

    Args:
        key: Non-negative integers that name the stream.
        count: How many numbers.
        skip: How many numbers of the stream to pass over first.

    Returns:
        (count,) float64 in [0, 1): the upper 53 bits of each 64-bit word over 2**53.

    Source:
        M. O'Neill, PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
        Generation (2014); the 53-bit conversion is the usual one.
    """
    raw = raw_words(key, count + skip)[skip:]
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def raw_words(key: tuple[int, ...], count: int) -> np.ndarray:
    """Return the first ``count`` raw 64-bit words of the stream named ``key``, as (count,) uint64."""
    return np.asarray(np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(count))


@dataclass(frozen=True, order=True)
class Species:
    """What a bird is: the shape and the colour of each of its five parts.

    Args:
        variants: Five pairs (shape, colour) of positions in ``SHAPES[part]`` and ``COLOURS``, in the order of
            ``PARTS``.

    Example:
        >>> Species(((0, 0), (1, 1), (2, 2), (3, 3), (0, 4))).describe("tail")
        'blue racket'
    """

    variants: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(self.variants) != len(PARTS) or any(
            not (0 <= shape < 4 and 0 <= colour < len(COLOURS)) for shape, colour in self.variants
        ):
            raise ValueError(
                f"A species is five pairs (shape 0-3, colour 0-4), one for each of {', '.join(PARTS)}; "
                f"got {self.variants!r}."
            )

    @property
    def code(self) -> int:
        """The species as one number in [0, 20**5)."""
        code = 0
        for shape, colour in self.variants:
            code = code * 20 + shape * 5 + colour
        return code

    def shape(self, part: str) -> str:
        """Name the shape of a part."""
        return SHAPES[part][self.variants[part_number(part)][0]]

    def colour(self, part: str) -> str:
        """Name the colour of a part."""
        return COLOURS[self.variants[part_number(part)][1]]

    def describe(self, part: str) -> str:
        """Say a part in two words, colour first."""
        return f"{self.colour(part)} {self.shape(part)}"

    def differs(self, other: Species) -> tuple[str, ...]:
        """Name the parts in which two species differ, in the order of ``PARTS``."""
        pairs = zip(PARTS, self.variants, other.variants, strict=True)
        return tuple(part for part, mine, theirs in pairs if mine != theirs)

    def swap(self, part: str, shape: str | None = None, colour: str | None = None) -> Species:
        """Return the species with one part's shape, colour or both replaced.

        Raises:
            ValueError: The part, shape or colour has no such name, or neither shape nor colour is given.
        """
        number = part_number(part)
        if shape is None and colour is None:
            raise ValueError(
                f"Swapping the {part} needs a new shape ({', '.join(SHAPES[part])}), "
                f"a new colour ({', '.join(COLOURS)}) or both; got neither."
            )
        old_shape, old_colour = self.variants[number]
        new_shape = old_shape if shape is None else position(f"{part} shape", shape, SHAPES[part])
        new_colour = old_colour if colour is None else position(f"{part} colour", colour, COLOURS)
        variants = list(self.variants)
        variants[number] = (new_shape, new_colour)
        return Species(tuple(variants))


def part_number(part: str) -> int:
    """Return the position of a part's name in ``PARTS``, or say which names there are."""
    return position("part", part, PARTS)


def position(what: str, name: str, names: tuple[str, ...]) -> int:
    """Return the position of a name among those there are.

    Raises:
        ValueError: It is none of them; the message lists them.
    """
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"Unknown {what} {name!r}: choose one of {', '.join(names)}.")
    return names.index(name)


@dataclass(frozen=True)
class Scene:
    """One image before it is drawn: a species, the key of its tape, and the parts that were taken away.

    Args:
        species: What bird it is.
        key: Non-negative integers that name the tape. Scenes with one key have one pose, one background, one
            clutter and one noise.
        removed: Parts that are not drawn.

    Example:
        >>> scene = Scene(Species(((0, 0), (1, 1), (2, 2), (3, 3), (0, 4))), key=(7, 1))
        >>> scene.without("beak").parameters == scene.parameters
        True
    """

    species: Species
    key: tuple[int, ...]
    removed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.key or any(not 0 <= number < _SEED_LIMIT for number in self.key):
            raise ValueError(f"A scene's key is one or more integers from 0 to 2**63 - 1; got {self.key!r}.")

    @property
    def parameters(self) -> dict[str, float]:
        """Every quantity of the scene by name (degrees, pixels of a 96-pixel image, or shares)."""
        values = _LOW + _SPAN * uniform_tape(self.key, len(_NAMES))
        return dict(zip(_NAMES, values.tolist(), strict=True))

    def without(self, *parts: str) -> Scene:
        """Return the same scene with parts taken away."""
        for part in parts:
            part_number(part)
        return replace(self, removed=self.removed | frozenset(parts))

    def swap(self, part: str, shape: str | None = None, colour: str | None = None) -> Scene:
        """Return the same scene with one part of another shape, colour or both."""
        return replace(self, species=self.species.swap(part, shape, colour))

    def others(self, part: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Return a part's number, and the shapes and the colours that it might have and has not."""
        number, bird = part_number(part), self.species
        shapes = tuple(name for name in SHAPES[part] if name != bird.shape(part))
        return number, shapes, tuple(name for name in COLOURS if name != bird.colour(part))

    def to_dict(self) -> dict[str, object]:
        """Return the scene as plain numbers and words, fit for JSON."""
        return {
            "key": list(self.key),
            "parts": {part: self.species.describe(part) for part in PARTS},
            "removed": sorted(self.removed),
            "parameters": self.parameters,
        }
