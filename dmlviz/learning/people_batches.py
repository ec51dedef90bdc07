"""Training batches of freshly drawn faces or persons, many of them kin, whom only one part tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from dmlviz.images.bird_scene import uniform_tape
from dmlviz.images.bird_species import Split
from dmlviz.images.face_drawing import draw_face
from dmlviz.images.face_scheme import FACE_SCHEME
from dmlviz.images.kinfolk import Relative, draw_people, family_size
from dmlviz.images.look_set import Draw
from dmlviz.images.looks import LookScene, Scheme
from dmlviz.images.person_drawing import draw_person
from dmlviz.images.person_scheme import CAMERAS, PERSON_SCHEME

What = Literal["faces", "persons"]
_STREAM: Final = 77
_HEAD_STREAM: Final = 78


@dataclass(frozen=True)
class Subject:
    """What a run learns to tell apart.

    Args:
        scheme: The parts there are.
        draw: Draws a scene.
        size: (height, width) of the images in pixels.
        cameras: How many cameras see each of them.
    """

    scheme: Scheme
    draw: Draw
    size: tuple[int, int]
    cameras: int = 1


SUBJECTS: Final[dict[str, Subject]] = {
    "faces": Subject(FACE_SCHEME, draw_face, (96, 96)),
    "persons": Subject(PERSON_SCHEME, draw_person, (128, 64), len(CAMERAS)),
}


@dataclass(frozen=True)
class PeopleBatches:
    """Batch number ``t`` of a training run, a pure function of the seed and ``t``.

    Args:
        what: "faces" or "persons".
        people: The people, whole families one after another.
        seed: Chooses every image; any non-negative integer.
        classes: People in a batch; a multiple of ``siblings``.
        per_class: Images of each of them; of persons, each from another camera while there are any.
        siblings: People that a family gives to a hard batch.
        hard: Share of batches made of kin, in the beginning.
        harder: Their share from batch ``harder_from`` on.
        harder_from: Number of the batch from which ``harder`` counts.
        dropped: Share of images that lose one part, so that a missing part is nothing strange.
    """

    what: What
    people: tuple[Relative, ...]
    seed: int = 0
    classes: int = 24
    per_class: int = 4
    siblings: int = 4
    hard: float = 0.4
    harder: float = 0.85
    harder_from: int = 300
    dropped: float = 0.15

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one batch.

        Args:
            number: Which batch, from 0.

        Returns:
            Images (N, H, W, 4) uint8, three channels of colour and one for the region that each pixel shows, and
            people's numbers (N,) int64, N = classes × per_class.
        """
        subject = SUBJECTS[self.what]
        parts = subject.scheme.siblings
        labels = np.repeat(self._classes_of(number), self.per_class)
        drops = uniform_tape((self.seed, _STREAM, number, 1), 2 * len(labels))
        cameras = uniform_tape((self.seed, _STREAM, number, 3), subject.cameras * self.classes)
        turns = np.argsort(cameras.reshape(self.classes, -1), axis=1, kind="stable")
        images = []
        for slot, label in enumerate(labels.tolist()):
            place, k = divmod(slot, self.per_class)
            camera = int(turns[place, k % subject.cameras])
            scene = LookScene(self.people[label].look, (self.seed, _STREAM, number, 2, slot), camera)
            if drops[2 * slot] < self.dropped:
                scene = scene.without(parts[int(drops[2 * slot + 1] * len(parts))])
            drawn = subject.draw(scene, subject.size[0])
            images.append(np.dstack([drawn.image, drawn.part_ids]))
        return np.stack(images), labels

    def _classes_of(self, number: int) -> np.ndarray:
        """Choose a batch's people, (classes,) int64."""
        kin = family_size(SUBJECTS[self.what].scheme)
        numbers = uniform_tape((self.seed, _STREAM, number, 0), 1 + len(self.people))
        shares = numbers[1:]
        if numbers[0] >= (self.hard if number < self.harder_from else self.harder):
            return np.argsort(shares, kind="stable")[: self.classes]
        by_family = shares.reshape(-1, kin)
        families = np.argsort(by_family[:, 0], kind="stable")[: self.classes // self.siblings]
        members = np.argsort(by_family[families], axis=1, kind="stable")[:, : self.siblings]
        return np.asarray((families[:, None] * kin + members).ravel())


def batches_of(
    what: What, families: int, seed: int, classes: int, per_class: int, harder_from: int
) -> PeopleBatches:
    """Make batches over freshly drawn training families."""
    people = families_of(what, families, "train", seed)
    return PeopleBatches(what, people, seed, classes, per_class, harder_from=harder_from)


def families_of(what: What, families: int, split: Split, seed: int) -> tuple[Relative, ...]:
    """Draw whole families."""
    scheme = SUBJECTS[what].scheme
    return draw_people(scheme, families * family_size(scheme), split, seed)


def many_of(
    what: What, families: int, per_person: int, seed: int, at_once: int = 96
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw training people for a fit in closed form.

    Args:
        what: "faces" or "persons".
        families: How many families.
        per_person: Images of each person, from all cameras in turn.
        seed: Chooses the people and the images.
        at_once: How many images one array holds.

    Returns:
        Pairs of images (N, H, W, 3) uint8 and people's numbers (N,) int64.
    """
    subject = SUBJECTS[what]
    people = families_of(what, families, "train", seed)
    found = []
    for start in range(0, len(people) * per_person, at_once):
        slots = range(start, min(start + at_once, len(people) * per_person))
        labels = np.array(slots) // per_person
        images = [
            subject.draw(
                LookScene(
                    people[slot // per_person].look, (seed, _HEAD_STREAM, slot), slot % subject.cameras
                ),
                subject.size[0],
            ).image
            for slot in slots
        ]
        found.append((np.stack(images), labels))
    return found
