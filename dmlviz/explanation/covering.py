"""What every black-box method is told beside its own options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from dmlviz.explanation.decomposition import SIDES, Side
from dmlviz.explanation.options import whole_number

Resolution = Literal["cells", "pixels"]
RESOLUTIONS = ("cells", "pixels")


@dataclass(frozen=True)
class Covering:
    """What all black-box methods are told beside their own options.

    Attributes:
        fill: What covered pixels are replaced by: "mean" (the mean colour of the view), "grey", "blur", or a
            colour of three numbers from 0 to 255.
        sides: Which pictures are covered: "query", "gallery" or both. Each side is held against the other
            picture as it is.
        resolution: "cells": maps over the embedder's cells, each the mean over the pixels nearest to its centre;
            "pixels": maps over the pixels of the view.
        budget: The most forward passes of covered pictures, over all pictures of the call; None for no limit.
        batch_size: Pictures per forward pass.
        progress: Show a bar where it takes longer than a second.
    """

    fill: Any = "mean"
    sides: Sequence[Side] = cast("Sequence[Side]", SIDES)
    resolution: Resolution = "cells"
    budget: int | None = None
    batch_size: int = 32
    progress: bool = True

    def __post_init__(self) -> None:
        sides = (self.sides,) if isinstance(self.sides, str) else tuple(self.sides)
        if not sides or any(side not in SIDES for side in sides) or len(set(sides)) != len(sides):
            raise ValueError(
                f"sides must hold 'query', 'gallery' or both, each at most once; got {self.sides!r}"
            )
        object.__setattr__(self, "sides", sides)
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution must be 'cells' or 'pixels'; got {self.resolution!r}")
        whole_number(self.batch_size, "batch_size", 1)
        if self.budget is not None:
            whole_number(self.budget, "budget, the most forward passes,", 1)
