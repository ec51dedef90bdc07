"""Whom a right match is held against: an image that differs from it in one known part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import SideTruth
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

Against = Literal["sibling", "swapped"]
AGAINST: tuple[str, ...] = get_args(Against)


@dataclass(frozen=True, eq=False)
class Opponents:
    """One opponent for each pair.

    Attributes:
        gallery: Where the opponents are found: the gallery itself, or one of pictures drawn for this, which the same
            queries ask.
        items: (n,) int64, their ids there; −1 where a pair has none.
        parts: The part in which each differs from the pair's gallery image; "" where there is none.
    """

    gallery: Gallery
    items: np.ndarray
    parts: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return zip(self.items.tolist(), self.parts, strict=True)


def same_label(gallery: Gallery, pairs: Pairs) -> np.ndarray:
    """(n,) bool: whether query and gallery image of each pair have one label; True where labels are not known."""
    if gallery.labels is None or gallery.query_labels is None:
        return np.ones(len(pairs), dtype=bool)
    return np.asarray(
        np.asarray(gallery.labels)[pairs.items] == np.asarray(gallery.query_labels)[pairs.queries]
    )


def siblings(gallery: Gallery, pairs: Pairs, truth: SideTruth) -> Opponents:
    """For each pair the query's best-ranked image of a sibling of the right one, different in exactly one part.

    Args:
        gallery: The gallery.
        pairs: The pairs; one of two labels has no opponent.
        truth: What is known of the gallery's images; they know in which parts two of them differ, and where they
            have families, siblings are of one family.
    """
    known = truth.known
    family = getattr(known, "family", lambda i: 0)
    items, parts = np.full(len(pairs), -1, dtype=np.int64), [""] * len(pairs)
    for n, ((query, right), fits) in enumerate(zip(pairs, same_label(gallery, pairs), strict=True)):
        if not fits or query in gallery.unranked_queries:
            continue
        for other in gallery.search(query, k=len(gallery.images)).ids.tolist():
            if family(other) == family(right) and len(differs := known.differs(right, other)) == 1:
                items[n], parts[n] = other, differs[0]
                break
    return Opponents(gallery, items, tuple(parts))


def swapped(gallery: Gallery, pairs: Pairs, truth: SideTruth, seed: int = 0) -> Opponents:
    """For each pair the right one itself, drawn again with one part of another look.

    Which part it is depends on the seed and the query alone, so that neither the order of the pairs nor the other
    pairs decide it.

    Args:
        gallery: The gallery.
        pairs: The pairs; one of two labels, or whose gallery image hides the part, has no opponent.
        truth: What is known of the gallery's images, which can be drawn again.
        seed: Chooses the part.

    Raises:
        ValueError: If no pair has an opponent.
    """
    chosen = np.random.default_rng(seed).choice(truth.parts, size=len(gallery.queries))
    pictures: list[np.ndarray] = []
    items, parts = np.full(len(pairs), -1, dtype=np.int64), [""] * len(pairs)
    for n, ((query, right), fits) in enumerate(zip(pairs, same_label(gallery, pairs), strict=True)):
        part = str(chosen[query])
        if fits and truth.mask(right, part).any():
            items[n], parts[n] = len(pictures), part
            pictures.append(truth.known.swap(right, part))
    if not pictures:
        raise ValueError("no pair has a gallery image of the query's label that shows the part to be swapped")
    drawn = Gallery(
        ImageSet.from_arrays(pictures),
        gallery.embedder,
        gallery.embedder.embed(pictures),
        gallery.similarity,
        queries=gallery.queries,
        query_embedder=gallery.query_embedder,
        query_embeddings=gallery.query_embeddings,
        leave_out=None,
    )
    return Opponents(drawn, items, tuple(parts))
