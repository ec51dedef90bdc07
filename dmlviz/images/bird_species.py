"""Which species there are: families of a base and five siblings, and the fixed line between training and test.

Every species belongs either to training or to test, by a fixed hash of what it looks like. No choice of seed can
therefore bring a species of one side to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dmlviz.images.bird_scene import COLOURS, PARTS, SHAPES, Scene, Species, uniform_tape

Split = Literal["train", "test"]
SPLITS: Final = ("train", "test")

_EPITHETS: Final = (
    "amberley", "arden", "bracken", "brindle", "bramble", "calder", "clover", "copse", "dapple", "dusky",
    "elder", "ember", "fallow", "fern", "garnet", "glen", "hazel", "heather", "juniper", "larch",
    "lichen", "marlow", "meadow", "merrow", "mossy", "nettle", "orchard", "pebble", "quarry", "reed",
    "rowan", "russet", "saffron", "sedge", "sorrel", "thistle", "tundra", "umber", "willow", "yarrow",
)  # fmt: skip
_KINDS: Final = (
    "bunting", "chat", "dabbler", "finch", "grebe", "hopper", "jay", "lark", "martin", "pipit",
    "plover", "quail", "robin", "sandpiper", "siskin", "starling", "thrush", "wagtail", "warbler", "wren",
)  # fmt: skip
_ENDING: Final = {"beak": "billed", "crest": "crested", "wing": "winged", "tail": "tailed", "feet": "footed"}
_FOOTED: Final = {"talons": "taloned", "webbed": "web-footed", "boots": "booted", "slippers": "slippered"}
_SPLIT_STREAM: Final = {"train": 1, "test": 2}
_SCENE_STREAM: Final = 9
_WORDS_A_TRY: Final = 24


@dataclass(frozen=True)
class Family:
    """A base species and its five siblings.

    Args:
        name: The family's readable name.
        members: Six species; ``members[0]`` is the base, ``members[m]`` differs from it in ``PARTS[m - 1]`` only.
        labels: The six readable species names, in the same order.
    """

    name: str
    members: tuple[Species, ...]
    labels: tuple[str, ...]


def split_of(species: Species) -> Split:
    """Say whether a species belongs to training (two thirds of all) or to test.

    Source:
        The mixing steps of SplitMix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number
        generators, OOPSLA 2014), applied to the species' code.
    """
    return split_of_code(species.code)


def split_of_code(code: int) -> Split:
    """Say on which side of the fixed line a code lies: two thirds of all codes are for training."""
    mixed = (code + 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    mixed ^= mixed >> 31
    return "test" if mixed % 3 == 0 else "train"


def bird_families(count: int, split: Split, seed: int) -> tuple[Family, ...]:
    """Draw families of species.

    Args:
        count: How many families.
        split: Which side of the fixed line all their species lie on.
        seed: Chooses the families; any non-negative integer.

    Returns:
        The families. Within a family the base differs from each sibling in exactly one part (in shape, in colour
        or in both) and siblings differ from each other in exactly two. No species appears twice.

    Example:
        >>> family = bird_families(1, "test", seed=0)[0]
        >>> [family.members[0].differs(sibling) for sibling in family.members[1:]]
        [('beak',), ('crest',), ('wing',), ('tail',), ('feet',)]
    """
    families: list[Family] = []
    seen: set[Species] = set()
    attempt = 0
    first_name = int(uniform_tape((seed, _SPLIT_STREAM[split], 0), 1)[0] * _name_count())
    while len(families) < count:
        attempt += 1
        members = _draw_family((seed, _SPLIT_STREAM[split], attempt), split)
        if members is None or seen.intersection(members):
            continue
        seen.update(members)
        name = _family_name(first_name, len(families))
        labels = (name, *(_sibling_label(name, members[0], sibling) for sibling in members[1:]))
        families.append(Family(name, members, labels))
    return tuple(families)


def family_scenes(families: tuple[Family, ...], per_class: int, split: Split, seed: int) -> list[Scene]:
    """List the scenes of a gallery: family by family, member by member, ``per_class`` scenes each.

    Args:
        families: The families, as ``bird_families`` gave them for this split and seed.
        per_class: Scenes of each species.
        split: The side the families are of.
        seed: Chooses poses, backgrounds and everything else that is not the species.

    Returns:
        len(families) · 6 · per_class scenes.
    """
    return [
        Scene(species, (seed, _SPLIT_STREAM[split], _SCENE_STREAM, f, m, k))
        for f, family in enumerate(families)
        for m, species in enumerate(family.members)
        for k in range(per_class)
    ]


def _draw_family(key: tuple[int, ...], split: Split) -> tuple[Species, ...] | None:
    """Draw one family from the stream ``key``, or None where the line between the splits leaves no room."""
    numbers = iter(uniform_tape(key, _WORDS_A_TRY).tolist())
    base = Species(tuple((int(4 * next(numbers)), int(5 * next(numbers))) for _ in PARTS))
    if split_of(base) != split:
        return None
    members = [base]
    for number in range(len(PARTS)):
        kind, choice = int(3 * next(numbers)), next(numbers)
        shape, colour = base.variants[number]
        shapes = [shape] if kind == 1 else [other for other in range(4) if other != shape]
        colours = [colour] if kind == 0 else [other for other in range(5) if other != colour]
        siblings = [_with_variant(base, number, (s, c)) for s in shapes for c in colours]
        allowed = [sibling for sibling in siblings if split_of(sibling) == split]
        if not allowed:
            return None
        members.append(allowed[int(choice * len(allowed))])
    return tuple(members)


def _with_variant(base: Species, number: int, variant: tuple[int, int]) -> Species:
    return base.swap(PARTS[number], SHAPES[PARTS[number]][variant[0]], COLOURS[variant[1]])


def _name_count() -> int:
    return len(_EPITHETS) * len(_KINDS)


def _family_name(first: int, number: int) -> str:
    """Name the ``number``-th family: neighbours share neither word; numerals begin when names run out."""
    round_number, within = divmod(number, _name_count())
    at = (first + within * 427) % _name_count()  # 427 has no factor in common with 800: every name comes once
    name = f"{_EPITHETS[at // len(_KINDS)]} {_KINDS[at % len(_KINDS)]}"
    return name if round_number == 0 else f"{name} {round_number + 1}"


def _sibling_label(name: str, base: Species, sibling: Species) -> str:
    (part,) = base.differs(sibling)
    words = []
    if base.colour(part) != sibling.colour(part):
        words.append(sibling.colour(part))
    ending = _ENDING[part]
    if base.shape(part) != sibling.shape(part):
        if part == "feet":
            ending = _FOOTED[sibling.shape(part)]
        else:
            words.append(sibling.shape(part))
    return f"{'-'.join([*words, ending])} {name}"
