"""Queries drawn again with one part taken away or of another look, embedded once for all methods."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np

from dmlviz.faithfulness.truth import SideTruth

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Change = Literal["remove", "swap"]
KEPT_BYTES = 64 * 2**20
_KEPT_SETS = 4
_kept: "WeakKeyDictionary[Gallery, list[ChangedQueries]]" = WeakKeyDictionary()


class ChangedQueries:
    """Embeddings of queries with one visible part changed.

    Args:
        truth: What is known of the queries, which can be drawn again.
        change: "remove": the part is taken away; "swap": it is drawn with another shape, colour or both.
    """

    def __init__(self, truth: SideTruth, change: Change) -> None:
        self.truth, self.change = truth, change
        self._embedded: dict[int, tuple[tuple[str, ...], np.ndarray]] = {}

    def prepare(self, queries: Iterable[int]) -> None:
        """Draw the queries that are still missing and embed them together."""
        todo = {query: self._visible(query) for query in queries if query not in self._embedded}
        pictures = [self._draw(query, part) for query, parts in todo.items() for part in parts]
        embedder = self.truth.embedder
        made = embedder.embed(pictures) if pictures else np.zeros((0, embedder.dim), np.float32)
        for query, parts in todo.items():
            self._embedded[query] = parts, made[: len(parts)]
            made = made[len(parts) :]
        each = 4 * embedder.dim * max(1, len(self.truth.parts))
        while len(self._embedded) > max(KEPT_BYTES // each, len(todo)):
            self._embedded.pop(next(iter(self._embedded)))

    def of(self, query: int) -> tuple[tuple[str, ...], np.ndarray]:
        """The visible parts of a query, and its embedding with each of them changed.

        Returns:
            P names, and (P, D) float32, not normalised.
        """
        if query not in self._embedded:
            self.prepare([query])
        return self._embedded[query]

    def _visible(self, query: int) -> tuple[str, ...]:
        return tuple(part for part in self.truth.parts if self.truth.mask(query, part).any())

    def _draw(self, query: int, part: str) -> np.ndarray:
        known = self.truth.known
        picture: np.ndarray = (
            known.without(query, part) if self.change == "remove" else known.swap(query, part)
        )
        return picture


def changed_queries(gallery: "Gallery", truth: SideTruth, change: Change) -> ChangedQueries:
    """The changed queries of a gallery, those remembered that another method was asked about.

    They are kept as long as the gallery lives, and at most 64 MiB of each kind.
    """
    kept = _kept.setdefault(gallery, [])
    for one in kept:
        if one.change == change and one.truth.known is truth.known:
            return one
    made = ChangedQueries(truth, change)
    kept.append(made)
    del kept[:-_KEPT_SETS]
    return made
