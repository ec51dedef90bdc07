"""`persons()`: a gallery of drawn persons seen by several cameras, for person re-identification.

The persons are drawn when asked for, in little more than a millisecond each, and nothing is downloaded. Every camera
has its own light, colours, blur, distance and side from which it sees people. Families are the eldest and five
siblings, each of whom differs from the eldest in exactly one part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dmlviz.images.bird_scene import position
from dmlviz.images.drawn_set import check_split, check_whole
from dmlviz.images.look_set import MOST_PEOPLE, LookSet, images_of_people
from dmlviz.images.person_drawing import draw_person, view_of
from dmlviz.images.person_scheme import CAMERAS, PERSON_SCHEME

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.bird_species import Split

LEAST_HEIGHT: Final = 32
MOST_HEIGHT: Final = 1024
CAMERA_NAMES: Final = tuple(camera.name for camera in CAMERAS)
"""The names of the cameras, in the order in which `persons` takes them."""


class PersonSet(LookSet):
    """Drawn persons before cameras: an image set whose images know their parts. Made by `persons`."""

    scheme = PERSON_SCHEME
    draw = staticmethod(draw_person)
    whole = "person"

    @property
    def table(self) -> pd.DataFrame:
        """As for every drawn set, and the columns camera (its name) and view (front, back, left or right)."""
        frame = super().table
        at = list(frame.columns).index("person") + 1
        frame.insert(at, "camera", [self.camera(i) for i in range(len(self))])
        frame.insert(at + 1, "view", [view_of(image.scene) for image in self._images])
        return frame

    def camera(self, i: int) -> str:
        """Return the name of the camera that took image i."""
        return CAMERA_NAMES[self.scene(i).camera]

    def queries_and_gallery(
        self, camera: str | None = None, per_camera: int = 1
    ) -> tuple[PersonSet, PersonSet]:
        """Split into images that ask and images that are searched.

        Args:
            camera: Its images ask, those of all other cameras are searched. None: as in Market-1501, the first
                ``per_camera`` images of each person from each camera ask, all others are searched, and a search must
                leave out the same person from the same camera (``leave_out="same-camera"``).
            per_camera: How many images of each person and camera ask; only where ``camera`` is None.

        Returns:
            The queries and the gallery.

        Raises:
            TypeError: ``per_camera`` is no whole number.
            ValueError: No image is of that camera or of another one, or there are not enough images of each person.
        """
        cameras = np.array([image.scene.camera for image in self._images])
        if camera is not None:
            asks = cameras == position("camera", camera, CAMERA_NAMES)
        else:
            check_whole("queries_and_gallery", "per_camera", per_camera, 1, 2**31)
            seen: dict[tuple[int, int], int] = {}
            asks = np.zeros(len(self), dtype=bool)
            for i, image in enumerate(self._images):
                key = (image.number, image.scene.camera)
                seen[key] = seen.get(key, 0) + 1
                asks[i] = seen[key] <= per_camera
        if asks.all() or not asks.any():
            raise ValueError(
                f"queries_and_gallery() would leave no {'gallery' if asks.all() else 'query'}: this set has "
                f"{len(self)} images of the cameras {', '.join(CAMERA_NAMES[c] for c in np.unique(cameras))}. Make "
                "it with more cameras, or with more images of each person and camera."
            )
        return self.subset(asks), self.subset(~asks)


def persons(
    people: int = 48,
    per_camera: int = 6,
    seed: int = 0,
    cameras: int = 2,
    split: Split = "test",
    height: int = 128,
) -> PersonSet:
    """Make a gallery of drawn persons, each of them seen by every camera.

    Between images of one person change: the side they are seen from, walk, distance, light, background; a hedge, a
    post, a bin or a passer-by may hide parts. Cameras differ in colours, gamma, blur, distance and mostly see people
    from different sides.

    Args:
        people: How many people; each six are a family: the eldest, and five siblings who differ from the eldest in
            hair, top, bottom, shoes or bag alone.
        per_camera: Images of each person from each camera.
        seed: Chooses the people and everything in the images. The same arguments always give the same images.
        cameras: How many cameras, 1 to 6: gate, tunnel, market, station, harbour, night.
        split: "test" for people whom the shipped embedder has never seen, "train" for the others.
        height: Height in pixels, an even number; the width is half of it.

    Returns:
        people · cameras · per_camera images, person by person and camera by camera. By default 48 people of 8
        families, 576 images of 128 × 64.

    Raises:
        TypeError: A number is not a whole number.
        ValueError: A number is out of range, or the split has no such name.

    Example:
        >>> images = persons(people=6, per_camera=2)
        >>> images
        PersonSet(24 images, 6 classes)
        >>> images[0].shape, images.camera(0), images.camera(2), images.differs(0, 4)
        ((128, 64, 3), 'gate', 'tunnel', ('hair',))
        >>> images.queries_and_gallery()
        (PersonSet(12 images, 6 classes), PersonSet(12 images, 6 classes))
    """
    people = check_whole("persons", "people", people, 1, MOST_PEOPLE)
    per_camera = check_whole("persons", "per_camera", per_camera, 1, 2**31)
    seed = check_whole("persons", "seed", seed, 0, 2**63 - 1)
    cameras = check_whole("persons", "cameras", cameras, 1, len(CAMERAS))
    height = check_whole("persons", "height", height, LEAST_HEIGHT, MOST_HEIGHT)
    check_split(split)
    if height % 2:
        raise ValueError(f"persons() needs an even height; got {height}.")
    return PersonSet(images_of_people(PERSON_SCHEME, people, per_camera, split, seed, cameras), height)
