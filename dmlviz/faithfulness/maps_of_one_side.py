"""The overall map of one image of each pair, to be held against what is known of that image."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.explanation import SIDES, Side
from dmlviz.explanation.options import one_of
from dmlviz.faithfulness.evaluation import Trial
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.map_pixels import geometry_of
from dmlviz.faithfulness.truth import SideTruth, truth_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Judge = Callable[[int, np.ndarray, CellGeometry | None], Sequence[float]]
"""From an image's id, its overall map (h, w) and where the map's cells lie to numbers; NaN where it says nothing."""


def known_of(gallery: "Gallery", truth: Any, side: Side) -> SideTruth:
    """What is known of the pictures of one side; `truth` as for `truth_of`.

    Raises:
        ValueError: If there is no such side, or there are not as many as images.
    """
    one_of(side, "side", SIDES)
    known = truth_of(gallery, truth)
    return known.query if side == "query" else known.gallery


def judging_maps_of(side: Side, judge: Judge) -> Trial:
    """A trial that judges the map of one side of a pair by itself."""

    def trial(explained: Explained, query: int, item: int) -> Sequence[float]:
        why = explained.of(query, item)
        return judge(query if side == "query" else item, why.overall_map(side), geometry_of(why, side))

    return trial
