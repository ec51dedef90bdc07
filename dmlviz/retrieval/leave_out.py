"""Which images of a gallery a query must not find."""

import math
from typing import Any, Literal, get_args

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.side import Side

LeaveOut = Literal["self", "same-camera"]
RULES: tuple[str, ...] = get_args(LeaveOut)
JUNK = "-1"
"""The label of Market-1501's junk: detections that are neither a hit nor a miss."""

_NOTHING = np.zeros(0, dtype=np.int64)


class LeavingOut:
    """A rule at work: for each query, the rows of the index that are neither found nor judged.

    - "self": the query itself, where the queries are the gallery's own images; nothing for a separate set of
      queries.
    - "same-camera": images of the query's label from the query's camera, the query itself among them, and
      images labelled "-1" (Zheng et al., Scalable person re-identification: a benchmark, ICCV 2015,
      section 4: "junk"). Cameras are the column `camera` of `ImageSet.table`, on both sides.
    - None: nothing.

    Args:
        rule: "self", "same-camera" or None.
        queries: the side that asks.
        items: the side that is ranked.

    Raises:
        ValueError: unknown rule; for "same-camera" no labels, or an image of which the camera is not known.
    """

    def __init__(self, rule: str | None, queries: Side, items: Side) -> None:
        check_rule(rule)
        self.rule = rule
        self._own = queries.images is items.images
        self._items = items
        if rule == "same-camera":
            groups: dict[tuple[str, str], list[int]] = {}
            for row, key in zip(items.row_of.tolist(), label_and_camera(items.images, "images"), strict=True):
                groups.setdefault(key, []).append(row)
            self._groups = {key: _rows(rows) for key, rows in groups.items()}
            self._keys = label_and_camera(queries.images, "queries")
            self._junk = _rows([row for (label, _), g in groups.items() if label == JUNK for row in g])

    def applied_to(self, query: int | None) -> str | None:
        """The rule's name where it leaves something out of what this query may find; None where it does not."""
        if query is None or (self.rule == "self" and not self._own):
            return None
        return self.rule

    def rows_of(self, query: int) -> np.ndarray:
        """(m,) int64, the rows that the query with this id must not find."""
        if self.rule == "self" and self._own:
            return _rows([int(self._items.row_of[query])])
        if self.rule == "same-camera":
            label, _ = self._keys[query]
            group = self._groups.get(self._keys[query], _NOTHING)
            return self._junk if label == JUNK else np.concatenate([group, self._junk])
        return _NOTHING


def check_rule(rule: Any) -> None:
    """Refuse a rule that is none.

    Raises:
        ValueError: it is not the name of a rule, nor None.
    """
    if rule is not None and rule not in RULES:
        raise ValueError(f"leave_out must be one of {', '.join(map(repr, RULES))} or None; got {rule!r}")


def _rows(rows: list[int]) -> np.ndarray:
    return np.array([row for row in rows if row >= 0], dtype=np.int64)


def label_and_camera(images: ImageSet, which: str) -> list[tuple[str, str]]:
    """Label and camera of each image.

    Args:
        images: the images.
        which: "images" or "queries", for messages.

    Raises:
        ValueError: there are no labels or no column `camera`, or a camera is missing.
    """
    table = images.table
    if images.labels is None or "camera" not in table:
        lacks = "labels" if images.labels is None else f"column 'camera'; there is {list(table.columns)}"
        raise ValueError(
            f"the rule 'same-camera' needs a label and a camera for every image, on both sides; the {which} have no "
            f"{lacks}. Give them in the ImageSet's table, as ImageSet.from_frame does, or leave out by another rule"
        )
    cameras = [_camera(value) for value in table["camera"]]
    unknown = [i for i, camera in enumerate(cameras) if camera is None]
    if unknown:
        raise ValueError(
            f"the rule 'same-camera' needs the camera of every image; among the {which} it is missing for "
            f"{len(unknown)} of {len(cameras)}, the first is image {unknown[0]} ({images.names[unknown[0]]!r})"
        )
    return list(zip(images.labels.tolist(), map(str, cameras), strict=True))


def _camera(value: Any) -> str | None:
    """A camera's name as text, whole numbers without a fraction; None where it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value == int(value) else str(value)
    return str(value)
