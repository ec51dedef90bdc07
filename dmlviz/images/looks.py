"""What a drawn person looks like, in words: a shape and a colour for every part; and one image of it as numbers.

Faces and persons share this. A `Scheme` lists the parts with their shapes and colours and the slots of the tape of
random numbers; a `Look` is one choice for every part; a `LookScene` is a look, a tape and a camera. A part that is
taken away or swapped changes no slot, so pose, light, background and noise stay exactly as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from dmlviz.images.bird_scene import position, raw_words

_SEED_LIMIT: Final = 2**63


@dataclass(frozen=True)
class Part:
    """A part by which people differ.

    Args:
        name: Its name.
        shapes: The shapes it may have.
        colours: The colours it may have.
    """

    name: str
    shapes: tuple[str, ...]
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Scheme:
    """What a kind of drawing is made of.

    Args:
        name: What is drawn.
        parts: The parts, in the order of their numbers.
        siblings: The parts for which a family has a sibling that differs in that part alone.
        slots: (name, low, high) of every quantity that varies from image to image, in the order of the tape.
        regions: What the numbers in a part-id map mean: ``regions[id]``.
    """

    name: str
    parts: tuple[Part, ...]
    siblings: tuple[str, ...]
    slots: tuple[tuple[str, float, float], ...]
    regions: tuple[str, ...]

    @cached_property
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts."""
        return tuple(part.name for part in self.parts)

    @cached_property
    def region_id(self) -> dict[str, int]:
        """The number of each region."""
        return {name: number for number, name in enumerate(self.regions)}

    @cached_property
    def _stretch(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        names, low, high = zip(*self.slots, strict=True)
        return names, np.array(low), np.array(high) - np.array(low)

    def part(self, name: str) -> Part:
        """Return a part, or say which there are."""
        return self.parts[position("part", name, self.part_names)]

    def read_tape(self, key: tuple[int, ...], more: int = 0) -> tuple[dict[str, float], np.ndarray]:
        """Read the tape named ``key``.

        Args:
            key: Non-negative integers that name the tape.
            more: How many random words to return beside the quantities.

        Returns:
            Every quantity by name, and (more,) uint64.
        """
        names, low, span = self._stretch
        words = raw_words(key, len(names) + more)
        tape = (words[: len(names)] >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return dict(zip(names, (low + span * tape).tolist(), strict=True)), words[len(names) :]


@dataclass(frozen=True)
class Look:
    """What one person looks like: a shape and a colour for each part.

    Args:
        scheme: The parts there are.
        variants: Pairs (shape, colour) of positions in each part's ``shapes`` and ``colours``.

    Raises:
        ValueError: The pairs do not fit the scheme.
    """

    scheme: Scheme
    variants: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        parts = self.scheme.parts
        if len(self.variants) != len(parts) or any(
            not (0 <= shape < len(part.shapes) and 0 <= colour < len(part.colours))
            for part, (shape, colour) in zip(parts, self.variants, strict=True)
        ):
            raise ValueError(
                f"A {self.scheme.name}'s look is one pair (shape, colour) for each of "
                f"{', '.join(self.scheme.part_names)}; got {self.variants!r}."
            )

    @property
    def code(self) -> int:
        """The look as one number."""
        code = 0
        for part, (shape, colour) in zip(self.scheme.parts, self.variants, strict=True):
            code = (code * len(part.shapes) + shape) * len(part.colours) + colour
        return code

    def shape(self, part: str) -> str:
        """Name the shape of a part."""
        return self.scheme.part(part).shapes[self._variant(part)[0]]

    def colour(self, part: str) -> str:
        """Name the colour of a part."""
        return self.scheme.part(part).colours[self._variant(part)[1]]

    def describe(self, part: str) -> str:
        """Say a part in a few words, colour first."""
        return f"{self.colour(part)} {self.shape(part)}"

    def differs(self, other: Look) -> tuple[str, ...]:
        """Name the parts in which two looks differ, in the scheme's order."""
        pairs = zip(self.scheme.part_names, self.variants, other.variants, strict=True)
        return tuple(part for part, mine, theirs in pairs if mine != theirs)

    def swap(self, part: str, shape: str | None = None, colour: str | None = None) -> Look:
        """Return the look with one part's shape, colour or both replaced.

        Raises:
            ValueError: The part, shape or colour has no such name, or neither shape nor colour is given.
        """
        whole = self.scheme.part(part)
        if shape is None and colour is None:
            raise ValueError(
                f"Swapping the {part} needs a new shape ({', '.join(whole.shapes)}), "
                f"a new colour ({', '.join(whole.colours)}) or both; got neither."
            )
        old_shape, old_colour = self._variant(part)
        new = (
            old_shape if shape is None else position(f"{part} shape", shape, whole.shapes),
            old_colour if colour is None else position(f"{part} colour", colour, whole.colours),
        )
        number = self.scheme.part_names.index(part)
        return replace(self, variants=(*self.variants[:number], new, *self.variants[number + 1 :]))

    def _variant(self, part: str) -> tuple[int, int]:
        return self.variants[position("part", part, self.scheme.part_names)]


@dataclass(frozen=True)
class LookScene:
    """One image before it is drawn.

    Args:
        look: Who it is.
        key: Non-negative integers that name the tape. Scenes with one key have one pose, one background, one light
            and one noise.
        camera: Number of the camera that sees it; 0 where there is only one.
        removed: Parts that are not drawn.

    Raises:
        ValueError: The key is empty or holds a number out of range.
    """

    look: Look
    key: tuple[int, ...]
    camera: int = 0
    removed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.key or any(not 0 <= number < _SEED_LIMIT for number in self.key):
            raise ValueError(f"A scene's key is one or more integers from 0 to 2**63 - 1; got {self.key!r}.")

    @property
    def parameters(self) -> dict[str, float]:
        """Every quantity of the scene by name, before the camera has its say."""
        return self.look.scheme.read_tape(self.key)[0]

    def without(self, *parts: str) -> LookScene:
        """Return the same scene with parts taken away."""
        for part in parts:
            position("part", part, self.look.scheme.part_names)
        return replace(self, removed=self.removed | frozenset(parts))

    def swap(self, part: str, shape: str | None = None, colour: str | None = None) -> LookScene:
        """Return the same scene with one part of another shape, colour or both."""
        return replace(self, look=self.look.swap(part, shape, colour))

    def others(self, part: str) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Return a part's number, and the shapes and the colours that it might have and has not."""
        look, kind = self.look, self.look.scheme.part(part)
        shapes = tuple(name for name in kind.shapes if name != look.shape(part))
        colours = tuple(name for name in kind.colours if name != look.colour(part))
        return look.scheme.part_names.index(part), shapes, colours

    def to_dict(self) -> dict[str, object]:
        """Return the scene as plain numbers and words, fit for JSON."""
        return {
            "key": list(self.key),
            "camera": self.camera,
            "parts": {part: self.look.describe(part) for part in self.look.scheme.part_names},
            "removed": sorted(self.removed),
            "parameters": self.parameters,
        }
