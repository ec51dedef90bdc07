"""`Ranking`: what a search found, best first."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmlviz.images.frame import frame_for

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Ranking:
    """The images found for one query, best first; images of equal similarity come in the order of their ids.

    Attributes:
        query: id of the query among the gallery's queries (its own images by default); None for another image.
        query_label: the query's class; None where it is not known.
        ids: (k,) int64, ids of the images found.
        similarities: (k,) float32, higher is nearer. Ranked by "similarity": the cosine (from -1 to 1), the
            dot product, or minus the squared distance (never above 0). Ranked by "region": what the chosen
            region of the query contributes to it, signed.
        labels: (k,) str, classes of the images found; None for an unlabelled gallery.
        hits: (k,) bool, whether an image is of the query's class; None where a label is not known.
        names: (k,) names of the images found.
        ranked_by: "similarity" or "region"; or what re-ranked it, such as "structure + cosine".
        left_out: the rule by which images are missing from the ranking: "self" (the query itself) or
            "same-camera" (images of the query's label and camera, and junk); None where nothing is.
        approximate: whether an image may have been missed, because the index looks at some of the rows only. The
            similarities of those found are exact all the same.
        too_few: how many images fewer than were asked for: there are no more that the query may find (an index that
            is approximate may also have looked at too few).
    """

    query: int | None
    query_label: str | None
    ids: np.ndarray
    similarities: np.ndarray
    labels: np.ndarray | None
    hits: np.ndarray | None
    names: tuple[str, ...]
    ranked_by: str = "similarity"
    left_out: str | None = None
    approximate: bool = False
    too_few: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def to_frame(self, backend: str = "pandas") -> Any:
        """The ranking as a data frame: rank (from 1), id, name, label, similarity, hit.

        The columns label and hit hold None where they are not known.

        Args:
            backend: "pandas", "polars" or "pyarrow", whose frame to give.

        Raises:
            ValueError: another backend.
            ImportError: polars is not installed.
        """
        import pandas as pd

        nothing = [None] * len(self)
        frame = pd.DataFrame(
            {
                "rank": np.arange(1, len(self) + 1),
                "id": self.ids,
                "name": pd.Series(self.names, dtype=object),
                "label": pd.Series(nothing if self.labels is None else self.labels.tolist(), dtype=object),
                "similarity": self.similarities,
                "hit": pd.Series(nothing, dtype=object) if self.hits is None else self.hits,
            }
        )
        return frame_for(frame, backend)

    def __repr__(self) -> str:
        asked = "a new image" if self.query is None else f"image {self.query}"
        if self.query_label is not None:
            asked += f" ({self.query_label})"
        by = {"similarity": "", "region": " by a region of it"}.get(self.ranked_by, f" by {self.ranked_by}")
        may_miss = ", approximate: some may be missed" if self.approximate else ""
        cut = f"; {len(self) + self.too_few} were asked for, there are no more" if self.too_few else ""
        lines = [f"Ranking of {len(self)} images for {asked}{by}{may_miss}{cut}"]
        for rank in range(min(len(self), _SHOWN)):
            verdict = "" if self.hits is None else ("  hit " if self.hits[rank] else "  miss")
            label = "" if self.labels is None else f"  {self.labels[rank]}"
            lines.append(
                f"{rank + 1:>4}{verdict}  {self.similarities[rank]:+.6f}  image {self.ids[rank]}{label}"
            )
        if len(self) > _SHOWN:
            lines.append(f"     ... {len(self) - _SHOWN} more; .to_frame() shows all")
        return "\n".join(lines)
