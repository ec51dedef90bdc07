"""`places()`: drawn places, each seen once from the ground and once from the air, about which everything is known.

A panorama is to find the aerial view of its own place. Columns of a panorama are compass bearings, aerial views have
north up, and every object has one number in both views, so that an explanation of a match can be checked: what the
pointer rests on in one view must light up in the other, in the same direction. Every place has siblings that differ
from it in one object, one by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from dmlviz.images.drawn_set import check_whole
from dmlviz.images.place_layout import FAMILY, SPLITS, Split, place_families, place_scenes
from dmlviz.images.place_scene import (
    AERIAL_SIZE,
    GROUND_SIZE,
    VIEWS,
    PlaceScene,
    View,
    aerial_point,
    bearing,
    column_of_bearing,
    ground_of_aerial,
)
from dmlviz.images.place_view import PlaceView, changed_objects, draw_place

if TYPE_CHECKING:
    import pandas as pd

Heading = Literal["known", "unknown"]
HEADINGS: Final = get_args(Heading)
MOST_PLACES: Final = 20_000


@dataclass(frozen=True, eq=False)
class Places:
    """Drawn places in two views: panoramas as queries, aerial views as the gallery.

    Made by `places`. Image i of `ground` and image i of `aerial` show the same place and have the same label.
    Bearings are compass degrees from 0 up to 360: 0 north, 90 east. Points are (row, col), pixel centres lie on
    integers.

    Attributes:
        scenes: What is drawn, one per place.
        families: (N,) int64, the number of each place's family; its places differ from each other in one or two
            objects.
        ground: The panoramas, (64, 192, 3) uint8 each; an image set that knows its objects as parts.
        aerial: The aerial views, (96, 96, 3) uint8 each, north up; the same.
    """

    scenes: tuple[PlaceScene, ...]
    families: np.ndarray
    ground: PlaceView = field(init=False)
    aerial: PlaceView = field(init=False)

    def __post_init__(self) -> None:
        digits = max(4, len(str(len(self.scenes))))
        labels = [f"place-{i + 1:0{digits}d}" for i in range(len(self.scenes))]
        for view in VIEWS:
            object.__setattr__(self, view, PlaceView(self.scenes, self.families, view, labels))

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        return f"Places({len(self)} places, {len(np.unique(self.families))} families, heading {self.heading})"

    @cached_property
    def heading(self) -> Heading:
        """Whether north is in the middle of every panorama ("known"), or panoramas begin anywhere ("unknown")."""
        return "known" if all(scene.north_known for scene in self.scenes) else "unknown"

    @property
    def table(self) -> pd.DataFrame:
        """One row per place: index = id; label, family, how many objects, what differs from the family's first place.

        A fresh frame at each call.
        """
        import pandas as pd

        first = {int(family): i for i, family in reversed(list(enumerate(self.families)))}
        changes = []
        for i, family in enumerate(self.families):
            base = first[int(family)]
            changes.append(
                "; ".join(_change(self.scenes[base], self.scenes[i], n) for n in self.differs(base, i))
            )
        return pd.DataFrame(
            {
                "label": self.ground.labels,
                "family": self.families,
                "objects": [len(scene.objects) for scene in self.scenes],
                "differs_from_base": changes,
            },
            index=pd.RangeIndex(len(self), name="id"),
        )

    def objects(self, i: int) -> pd.DataFrame:
        """Return what stands at place i.

        Args:
            i: Id of the place.

        Returns:
            One row per object; index = its number in `object_ids`, from 1. Columns: kind, colour; azimuth, the
            bearing in which the panorama sees its middle (degrees); distance from the camera (metres); col, where
            that bearing is in the panorama; aerial_row and aerial_col, its middle in the aerial view (pixels). A
            road's middle is a point on it.

        Raises:
            IndexError: There is no such place.
        """
        import pandas as pd

        scene = self.scenes[self._checked(i)]
        camera, heading = scene.camera, scene.heading
        rows = []
        for thing in scene.objects:
            azimuth = bearing(thing.at - camera)
            col = column_of_bearing(azimuth, heading)
            where = aerial_point(thing.at)
            rows.append((thing.kind, thing.colour, azimuth, abs(thing.at - camera), col, *where))
        columns = ["kind", "colour", "azimuth", "distance", "col", "aerial_row", "aerial_col"]
        return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(1, len(rows) + 1, name="object"))

    def object_ids(self, view: View, i: int) -> np.ndarray:
        """Say for every pixel of one view of place i which object it shows.

        Args:
            view: "ground" or "aerial".
            i: Id of the place.

        Returns:
            (H, W) uint8: 0 no object, n the object of row n of `objects(i)`, the same in both views, 255 a van or a
            cloud in front. Only what is visible counts.

        Raises:
            ValueError: There is no such view.
            IndexError: There is no such place.
        """
        if view not in VIEWS:
            raise ValueError(f"Unknown view {view!r}: choose 'ground' or 'aerial'.")
        return draw_place(self.scenes[self._checked(i)], view).object_ids

    def mask(self, view: View, i: int, number: int) -> np.ndarray:
        """Where object ``number`` of place i is visible in a view, (H, W) bool."""
        count = len(self.scenes[self._checked(i)].objects)
        if not 1 <= number <= count:
            raise IndexError(f"place {i} has no object {number}; its objects are 1 to {count}")
        return np.asarray(self.object_ids(view, i) == number)

    def differs(self, i: int, j: int) -> tuple[int, ...]:
        """Give the numbers of the objects in which two places of one family differ.

        Raises:
            ValueError: The places belong to different families, so that their objects have nothing in common.
        """
        one, other = self._checked(i), self._checked(j)
        if self.families[one] != self.families[other]:
            raise ValueError(
                f"places {i} and {j} belong to different families ({self.families[one]} and "
                f"{self.families[other]}); only places of one family share their objects"
            )
        return changed_objects(self.scenes[one], self.scenes[other])

    def azimuth_of_column(self, col: float, i: int | None = None) -> float:
        """Say into which direction a column of a panorama looks.

        Args:
            col: Column in pixels, centres on integers, from −0.5 to 191.5.
            i: Id of the place. Needed only where headings are unknown.

        Returns:
            The bearing in degrees: column 95.5 looks north where the heading is known, columns to its right look
            east of north.

        Raises:
            ValueError: The column lies outside the panorama, or the heading is unknown and no place is given.

        Example:
            >>> places(4).azimuth_of_column(95.5), places(4).azimuth_of_column(143.5)
            (0.0, 90.0)
        """
        width = GROUND_SIZE[1]
        if not -0.5 <= col <= width - 0.5:  # also refuses NaN
            raise ValueError(
                f"column {col} lies outside the panorama: expected -0.5 <= column <= {width - 0.5}"
            )
        if i is None:
            if self.heading == "unknown":
                raise ValueError(
                    "every panorama of this set has a heading of its own: say which place, azimuth_of_column(col, i)"
                )
            heading = 0.0
        else:
            heading = self.scenes[self._checked(i)].heading
        return float((heading + (col + 0.5 - width / 2) * 360.0 / width) % 360.0)

    def azimuth_of_point(self, row: float, col: float, i: int | None = None) -> float:
        """Say in which direction a point of an aerial view lies.

        Args:
            row: Row in pixels of the aerial view, −0.5 to 95.5.
            col: Column, the same.
            i: Id of the place: the bearing is then taken from where its panorama was made, which may lie up to 2
                pixels from the middle of the aerial view in each direction. None: from the middle.

        Returns:
            The bearing in degrees; with ``i`` exactly the one in which the panorama sees that point.

        Raises:
            ValueError: The point lies outside the aerial view, or is the camera's own.

        Example:
            >>> places(4).azimuth_of_point(20.0, 47.5), places(4).azimuth_of_point(47.5, 90.0)
            (0.0, 90.0)
        """
        for name, value, size in (("row", row, AERIAL_SIZE[0]), ("col", col, AERIAL_SIZE[1])):
            if not -0.5 <= value <= size - 0.5:
                raise ValueError(
                    f"{name} {value} lies outside the aerial view: expected -0.5 <= {name} <= {size - 0.5}"
                )
        camera = 0j if i is None else self.scenes[self._checked(i)].camera
        offset = ground_of_aerial(row, col) - camera
        if offset == 0:
            raise ValueError(f"({row}, {col}) is where the camera stands: no direction leads there")
        return bearing(offset)

    def subset(self, ids: Any) -> Places:
        """Return the chosen places as a set of their own, renumbered and labelled anew in the order given."""
        chosen = self.ground.check_ids(ids)
        return Places(tuple(self.scenes[i] for i in chosen), self.families[chosen])

    def _checked(self, i: int) -> int:
        return self.ground.check_id(i)


def places(
    places: int = 200, seed: int = 0, split: Split = "test", heading: Heading = "known", siblings: int = 1
) -> Places:
    """Make a gallery of drawn places in two views, for cross-view geo-localization.

    Args:
        places: How many places, family by family: a place and its siblings.
        seed: Chooses the places and everything in their pictures. The same arguments give the same pictures.
        split: "test" for places that the shipped embedders have never seen, "train" for the others.
        heading: "known": north is in the middle of every panorama; "unknown": panoramas begin anywhere.
        siblings: How many siblings a place has, 0 to 3. Each differs from it in one object (its kind, its colour or
            where it stands) and from the others in two; the more there are, the harder it is to find the right one.

    Returns:
        Panoramas `.ground` of 64 × 192 pixels, aerial views `.aerial` of 96 × 96 pixels, and all that is known.

    Raises:
        TypeError: A number is not a whole number.
        ValueError: A number is out of range, or split or heading have no such name.

    Example:
        >>> town = places(8, siblings=3)
        >>> town
        Places(8 places, 2 families, heading known)
        >>> town.ground[0].shape, town.aerial[0].shape, str(town.aerial.labels[0])
        ((64, 192, 3), (96, 96, 3), 'place-0001')
        >>> len(town.differs(0, 1)), len(town.differs(1, 2))
        (1, 2)
    """
    check_whole("places", "places", places, 1, MOST_PLACES)
    check_whole("places", "seed", seed, 0, 2**63 - 1)
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: choose 'train' or 'test'.")
    if heading not in HEADINGS:
        raise ValueError(f"Unknown heading {heading!r}: choose 'known' or 'unknown'.")
    check_whole("places", "siblings", siblings, 0, FAMILY - 1)
    members = 1 + int(siblings)
    drawn = place_families(-(-int(places) // members), split, int(seed))
    scenes = place_scenes(tuple(family[:members] for family in drawn), split, int(seed), heading == "known")
    return Places(tuple(scenes[:places]), np.arange(int(places)) // members)


def _change(base: PlaceScene, sibling: PlaceScene, number: int) -> str:
    old, new = base.objects[number - 1], sibling.objects[number - 1]
    return f"{old.name} elsewhere" if old.name == new.name else f"{new.name} for {old.name}"
