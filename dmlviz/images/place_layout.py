"""Which places there are: families of a place and three siblings, each with one object changed."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Final, Literal

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.place_scene import COLOURS_OF, FLAT, PlaceObject, PlaceScene, bearing, towards

Split = Literal["train", "test"]
SPLITS: Final = ("train", "test")
FAMILY: Final = 4
"""Places in a family: the base and its siblings."""

_STREAM: Final = {"train": 41, "test": 42}
_OBJECTS: Final = 8
_TRIES: Final = 14
_WEIGHTS: Final = {
    "cottage": 0.22, "barn": 0.12, "tower": 0.12, "mill": 0.10, "tent": 0.10, "tree": 0.12, "conifer": 0.08,
    "pond": 0.07, "field": 0.07,
}  # fmt: skip
RADIUS: Final = {
    "cottage": 5.6, "barn": 7.0, "tower": 3.8, "mill": 4.2, "tent": 5.2, "tree": 4.4, "conifer": 3.6, "pond": 5.8,
    "field": 8.0,
}  # fmt: skip
"""Half the room that an object of usual size takes up, in metres."""
_REACH: Final = 32.0
_NEAREST: Final = 9.5
_MOVE: Final = 40.0


def place_families(families: int, split: Split, seed: int) -> tuple[tuple[tuple[PlaceObject, ...], ...], ...]:
    """Draw families of places.

    Args:
        families: How many families.
        split: Training and test places come from different streams.
        seed: Chooses the places; any non-negative integer.

    Returns:
        For each family its four places, as tuples of objects. Object number n is the same object throughout a
        family; sibling m differs from the base in exactly one object: its kind, its colour or where it stands.
        Siblings differ in different objects.

    Example:
        >>> base, *siblings = place_families(1, "test", seed=0)[0]
        >>> [sum(a != b for a, b in zip(base, sibling, strict=True)) for sibling in siblings]
        [1, 1, 1]
    """
    return tuple(_family((seed, _STREAM[split], number)) for number in range(families))


def place_scenes(
    families: tuple[tuple[tuple[PlaceObject, ...], ...], ...],
    split: Split,
    seed: int,
    north_known: bool = True,
) -> list[PlaceScene]:
    """List the scenes of families, place by place, each with its own light, season and clutter."""
    return [
        PlaceScene(objects, (seed, _STREAM[split], number, 1 + member), north_known)
        for number, family in enumerate(families)
        for member, objects in enumerate(family)
    ]


def _family(key: tuple[int, ...]) -> tuple[tuple[PlaceObject, ...], ...]:
    numbers = _endless(key)
    base: list[PlaceObject] = _roads(numbers)
    roads = len(base)
    while len(base) < roads + _OBJECTS:
        kind = _weighted(next(numbers))
        colour = _one_of(COLOURS_OF[kind], next(numbers))
        turn, size = 360.0 * next(numbers), 0.92 + 0.2 * next(numbers)
        if sum((other.kind, other.colour) == (kind, colour) for other in base) == 2:
            continue
        at = _spot(kind, size, base, numbers)
        if at is None and len(base) >= roads + _OBJECTS - 2:
            break
        if at is not None:
            base.append(PlaceObject(kind, colour, at, turn, size))
    members = [tuple(base)]
    order = sorted(range(roads, len(base)), key=[next(numbers) for _ in base].__getitem__)
    for number in order[: FAMILY - 1]:
        changed = list(base)
        changed[number] = _changed(base, number, numbers)
        members.append(tuple(changed))
    return tuple(members)


def _endless(key: tuple[int, ...]) -> Iterator[float]:
    """Uniform numbers in [0, 1), as many as are asked for."""
    for part in count():
        yield from uniform_tape((*key, 0, part), 256).tolist()


def _roads(numbers: Iterator[float]) -> list[PlaceObject]:
    """One to three arms of a road that meet near the middle."""
    first, spread, share = 360.0 * next(numbers), next(numbers), next(numbers)
    directions = [first]
    if share > 0.25:
        directions.append(first + 95.0 + 170.0 * spread)
    if share > 0.75:
        gap = directions[1] - first
        between = (0.0, gap) if gap > 180.0 else (gap, 360.0 - gap)
        directions.append(first + between[0] + between[1] * (0.4 + 0.2 * next(numbers)))
    return [
        PlaceObject("road", "grey", 20.0 * towards(d), math.degrees(cmath.phase(towards(d))))
        for d in directions
    ]


def _spot(
    kind: str,
    size: float,
    others: list[PlaceObject],
    numbers: Iterator[float],
    away_from: float | None = None,
) -> complex | None:
    """Find room for an object, or None after some tries."""
    for _ in range(_TRIES):
        at = complex(_REACH * (2 * next(numbers) - 1), _REACH * (2 * next(numbers) - 1))
        radius = RADIUS[kind] * size
        if not _NEAREST + 0.4 * radius <= abs(at) <= 40.0:
            continue
        if away_from is not None and abs(_between(bearing(at), away_from)) < _MOVE:
            continue
        if all(_apart(kind, at, radius, other) for other in others):
            return at
    return None


def _apart(kind: str, at: complex, radius: float, other: PlaceObject) -> bool:
    """Whether an object at ``at`` leaves another its room, on the ground and in the panorama."""
    if other.kind == "road":
        along = at * (other.at / abs(other.at)).conjugate()
        return along.real < -radius or abs(along.imag) > radius + 2.6
    room = RADIUS[other.kind] * other.size
    if abs(at - other.at) < radius + room:
        return False
    if kind in FLAT and other.kind in FLAT:
        return True
    wide = math.degrees(math.atan2(radius, abs(at)) + math.atan2(room, abs(other.at)))
    return abs(_between(bearing(at), bearing(other.at))) > 0.62 * wide


def _changed(base: list[PlaceObject], number: int, numbers: Iterator[float]) -> PlaceObject:
    """Change one object of a place in its kind, its colour or its position."""
    old = base[number]
    how, choice = next(numbers), next(numbers)
    others = base[:number] + base[number + 1 :]
    if how < 0.3:
        at = _spot(old.kind, old.size, others, numbers, away_from=bearing(old.at))
        if at is not None:
            return replace(old, at=at)
    elif how < 0.65:
        room = RADIUS[old.kind] * old.size
        kinds = [
            kind
            for kind, radius in RADIUS.items()
            if kind != old.kind and (kind in FLAT) == (old.kind in FLAT) and radius * old.size <= room + 0.6
        ]
        if kinds:
            kind = _one_of(tuple(kinds), choice)
            colour = (
                old.colour if old.colour in COLOURS_OF[kind] else _one_of(COLOURS_OF[kind], next(numbers))
            )
            return replace(old, kind=kind, colour=colour)
    colours = tuple(colour for colour in COLOURS_OF[old.kind] if colour != old.colour)
    return replace(old, colour=_one_of(colours, choice))


def _weighted(share: float) -> str:
    for kind, weight in _WEIGHTS.items():
        share -= weight
        if share < 0:
            return kind
    return "cottage"


def _one_of(names: tuple[str, ...], share: float) -> str:
    return names[int(share * len(names))]


def _between(a: float, b: float) -> float:
    """The angle from b to a in degrees, from −180 up to 180."""
    return (a - b + 180.0) % 360.0 - 180.0
