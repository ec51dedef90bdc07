"""`faces()`: a gallery of drawn faces about which everything is known, for face verification.

The faces are drawn when asked for, in little more than a millisecond each, and nothing is downloaded. People come in
families: the eldest and six siblings, each of whom differs from the eldest in exactly one part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.drawn_set import check_split, check_whole
from dmlviz.images.face_drawing import draw_face
from dmlviz.images.face_scheme import FACE_SCHEME
from dmlviz.images.look_set import MOST_PEOPLE, LookSet, images_of_people

if TYPE_CHECKING:
    from dmlviz.images.bird_species import Split

LEAST_SIZE: Final = 24
MOST_SIZE: Final = 1024
_PAIR_STREAM: Final = 31


class FacePairs(NamedTuple):
    """Pairs of images to be verified, as in Labeled Faces in the Wild.

    Args:
        a: (n,) int64, the id of each pair's first image.
        b: (n,) int64, the id of its second image.
        same: (n,) bool, whether both show the same person.
    """

    a: np.ndarray
    b: np.ndarray
    same: np.ndarray


class FaceSet(LookSet):
    """Drawn faces: an image set whose images know their parts. Made by `faces`."""

    scheme = FACE_SCHEME
    draw = staticmethod(draw_face)
    whole = "head"

    def pairs(self, count: int = 600, seed: int = 0, kin: float = 0.25) -> FacePairs:
        """Draw pairs for verification, half of them of the same person.

        Args:
            count: How many pairs, an even number.
            seed: Chooses the pairs.
            kin: Share of the pairs of two people who are of one family and so look much alike, 0 to 1.

        Returns:
            The pairs, same and different in turn. Images of a pair are never one and the same image; a pair may
            come twice.

        Raises:
            TypeError: A number is not a whole number.
            ValueError: A number is out of range, or the set has not the people or images that it takes.
        """
        half, odd = divmod(check_whole("pairs", "count", count, 2, 10_000_000), 2)
        if odd:
            raise ValueError(f"pairs() needs an even count, half of it of the same person; got {count}.")
        check_whole("pairs", "seed", seed, 0, 2**63 - 1)
        if not 0 <= kin <= 1:
            raise ValueError(f"pairs() needs a share kin from 0 to 1; got {kin!r}.")
        people = np.array([image.number for image in self._images])
        families = np.array([image.person.family for image in self._images])
        numbers = uniform_tape((int(seed), _PAIR_STREAM), 5 * half).reshape(half, 5)
        pairs = []
        for first, second, third, fourth, share in numbers.tolist():
            a = _pick(np.flatnonzero(_has_another(people)), first, "two images of one person")
            b = _pick(np.flatnonzero((people == people[a]) & (np.arange(len(self)) != a)), second, "")
            pairs.append((a, b))
            related = share < kin
            asks = np.flatnonzero(_has_kin(people, families)) if related else np.arange(len(self))
            a = _pick(asks, third, "two people of one family")
            others = people != people[a]
            b = _pick(
                np.flatnonzero(others & (families == families[a]) if related else others),
                fourth,
                "two people",
            )
            pairs.append((a, b))
        ids = np.array(pairs, dtype=np.int64)
        return FacePairs(ids[:, 0], ids[:, 1], np.arange(2 * half) % 2 == 0)


def faces(
    people: int = 56, per_person: int = 15, seed: int = 0, split: Split = "test", size: int = 96
) -> FaceSet:
    """Make a gallery of drawn faces, aligned as face recognition wants them.

    Between images of one person change: expression, gaze, pose, light, clothes, background; glasses, masks and caps
    hide parts.

    Args:
        people: How many people; each seven are a family: the eldest, and six siblings who differ from the eldest in
            hair, brows, eyes, nose, mouth or face alone.
        per_person: Images of each person.
        seed: Chooses the people and everything in the images. The same arguments always give the same images.
        split: "test" for people whom the shipped embedder has never seen, "train" for the others.
        size: Height and width in pixels.

    Returns:
        people · per_person images, person by person. By default 56 people of 8 families, 840 images of 96 × 96.

    Raises:
        TypeError: A number is not a whole number.
        ValueError: A number is out of range, or the split has no such name.

    Example:
        >>> images = faces(people=7, per_person=2)
        >>> images
        FaceSet(14 images, 7 classes)
        >>> images.differs(0, 2)
        ('hair',)
        >>> images[0].shape, int(images.mask(0, "hair").sum()) > 100
        ((96, 96, 3), True)
        >>> images.pairs(count=4).same.tolist()
        [True, False, True, False]
    """
    people = check_whole("faces", "people", people, 1, MOST_PEOPLE)
    per_person = check_whole("faces", "per_person", per_person, 1, 2**31)
    seed = check_whole("faces", "seed", seed, 0, 2**63 - 1)
    size = check_whole("faces", "size", size, LEAST_SIZE, MOST_SIZE)
    check_split(split)
    return FaceSet(images_of_people(FACE_SCHEME, people, per_person, split, seed), size)


def _pick(ids: np.ndarray, share: float, lacking: str) -> int:
    if len(ids) == 0:
        raise ValueError(f"pairs() needs {lacking} in the set; there are none. Make a larger set.")
    return int(ids[int(share * len(ids))])


def _has_another(people: np.ndarray) -> np.ndarray:
    """Say for each image whether another one shows the same person."""
    return np.asarray(np.bincount(people)[people] > 1)


def _has_kin(people: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Say for each image whether another person of the same family is in the set."""
    of_family = {family: len(set(people[families == family])) for family in set(families.tolist())}
    return np.array([of_family[family] > 1 for family in families.tolist()])
