"""Which people there are: families of a first-born and siblings who differ in one part, on a fixed side of a line.

Every look belongs either to training or to test, by a fixed hash of it (`split_of_code`, as for the birds). No choice
of seed can therefore bring a person of one side to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.bird_species import Split, split_of_code
from dmlviz.images.looks import Look, Part, Scheme

_FIRST_NAMES: Final = (
    "Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena", "Milo", "Nia",
    "Otto", "Pia", "Quinn", "Rosa", "Sami", "Tess", "Uma", "Vito", "Wren", "Xena", "Yuri", "Zoe",
)  # fmt: skip
_SURNAMES: Final = (
    "Abel", "Baker", "Carver", "Dyer", "Ellis", "Fisher", "Glover", "Harper", "Inman", "Joiner", "Keeler", "Lorimer",
    "Mason", "Naylor", "Osler", "Potter", "Quiller", "Reeve", "Sadler", "Tanner", "Usher", "Vintner", "Weaver",
    "Yeoman", "Archer", "Brewer", "Cooper", "Draper", "Farmer", "Gardner", "Hooper", "Jenner", "Keeper", "Lister",
    "Miller", "Parker", "Ryder", "Sawyer", "Thatcher", "Wright",
)  # fmt: skip
_STREAM: Final = {"train": 1, "test": 2}


@dataclass(frozen=True)
class Relative:
    """One person and their place among kin.

    Args:
        look: What they look like.
        name: First name and surname; no two people of one gallery share both.
        family: Number of the family, from 0.
        member: 0 for the first-born, m for the sibling who differs in the scheme's ``siblings[m - 1]`` alone.
    """

    look: Look
    name: str
    family: int
    member: int


def family_size(scheme: Scheme) -> int:
    """Return how many people a whole family has: the first-born and one sibling for each part that makes one."""
    return 1 + len(scheme.siblings)


def draw_people(scheme: Scheme, count: int, split: Split, seed: int) -> tuple[Relative, ...]:
    """Draw people, family by family; the last family may be cut short.

    Args:
        scheme: The parts there are.
        count: How many people.
        split: Which side of the fixed line all of them lie on.
        seed: Chooses the people; any non-negative integer.

    Returns:
        The people. Within a family the first-born differs from each sibling in exactly one part (in shape, in colour
        or in both), siblings from each other in exactly two. Nobody appears twice.
    """
    people: list[Relative] = []
    seen: set[Look] = set()
    attempt = family = 0
    numbers = uniform_tape((seed, _STREAM[split], 0), 2)
    first, last = int(numbers[0] * len(_FIRST_NAMES)), int(numbers[1] * len(_SURNAMES))
    while len(people) < count:
        attempt += 1
        looks = _draw_family(scheme, (seed, _STREAM[split], attempt), split)
        if looks is None or seen.intersection(looks):
            continue
        seen.update(looks)
        for member, look in enumerate(looks):
            people.append(Relative(look, _name(first, last, family, member), family, member))
        family += 1
    return tuple(people[:count])


def _draw_family(scheme: Scheme, key: tuple[int, ...], split: Split) -> tuple[Look, ...] | None:
    """Draw one family from the stream ``key``, or None where the line between the splits leaves no room."""
    numbers = iter(uniform_tape(key, 2 * len(scheme.parts) + 2 * len(scheme.siblings)).tolist())
    eldest = Look(
        scheme,
        tuple(
            (int(len(p.shapes) * next(numbers)), int(len(p.colours) * next(numbers))) for p in scheme.parts
        ),
    )
    if split_of_code(eldest.code) != split:
        return None
    looks = [eldest]
    for part in scheme.siblings:
        allowed = [
            other
            for other in _others(eldest, scheme.part(part), int(3 * next(numbers)))
            if split_of_code(other.code) == split
        ]
        choice = next(numbers)
        if not allowed:
            return None
        looks.append(allowed[int(choice * len(allowed))])
    return tuple(looks)


def _others(look: Look, part: Part, kind: int) -> list[Look]:
    """List the looks that differ in one part: in shape (kind 0), in colour (1) or in both (2)."""
    shapes = [None] if kind == 1 else [name for name in part.shapes if name != look.shape(part.name)]
    colours = [None] if kind == 0 else [name for name in part.colours if name != look.colour(part.name)]
    return [look.swap(part.name, shape, colour) for shape in shapes for colour in colours]


def _name(first: int, last: int, family: int, member: int) -> str:
    """Name a person: kin share their surname; numerals begin when surnames run out."""
    again, within = divmod(family, len(_SURNAMES))
    given = _FIRST_NAMES[(first + 7 * family + 3 * member) % len(_FIRST_NAMES)]
    surname = _SURNAMES[(last + 11 * within) % len(_SURNAMES)]
    return f"{given} {surname}" if again == 0 else f"{given} {surname} {again + 1}"
