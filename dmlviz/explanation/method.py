"""What a method of explanation is, as the registry, the screen and the evaluators see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation.decomposition import Decomposition

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

OfRanking = Callable[..., list[Decomposition]]
OfPair = Callable[..., Decomposition]


@dataclass(frozen=True)
class Method:
    """A method of explanation.

    Attributes:
        name: What `explain(..., method=...)` calls it, such as "grad-cam".
        title: What people call it, such as "Grad-CAM".
        says: One or two sentences for the reader of its maps: what they sum to and what they leave out.
        cost: Its passes through the network for one pair, in words.
        of_ranking: (gallery, query, ids, **options) -> a `Decomposition` per id.
        unsuited: (gallery) -> why the method cannot explain this gallery; "" where it can.
        pairwise: Whether it has contributions of pairs of cells, and so point maps.
        linear: Whether the difference of two of its maps explains the difference of two similarities.
        supplied_by: Options that supply what `unsuited` may miss: with one of them given it is not asked.
    """

    name: str
    title: str
    says: str
    cost: str
    of_ranking: OfRanking
    unsuited: Callable[["Gallery"], str]
    pairwise: bool = False
    linear: bool = False
    supplied_by: tuple[str, ...] = ()


def suits_all(gallery: "Gallery") -> str:
    """No gallery is unsuited."""
    return ""


def pair_by_pair(of_pair: OfPair) -> OfRanking:
    """Make the explanation of a ranking from that of one pair.

    Args:
        of_pair: (embedder, query, item, *, similarity, query_embedder, **options) -> `Decomposition`; query and
            item are pictures (h, w, 3) uint8.

    Returns:
        (gallery, query, ids, **options) -> list of `Decomposition`, each held against the score that the index
        ranks by.
    """

    def of_ranking(
        gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
    ) -> list[Decomposition]:
        chosen = [int(i) for i in ids]
        picture = gallery.query_image(query)
        whys = [
            of_pair(
                gallery.embedder,
                picture,
                gallery.images[item],
                similarity=gallery.similarity,
                query_embedder=gallery.query_embedder,
                **options,
            )
            for item in chosen
        ]
        return against_index(gallery, query, chosen, whys)

    return of_ranking


def against_index(
    gallery: "Gallery", query: Any, ids: Sequence[int], whys: Sequence[Decomposition]
) -> list[Decomposition]:
    """Hold explanations of a gallery's similarity against the scores that its index ranks by, and place them.

    An explanation of another similarity than the gallery's (`kind` differs) keeps its own score.
    """
    scores = gallery.score(query, np.asarray(ids, dtype=np.int64))
    held = []
    for why, score in zip(whys, scores, strict=True):
        own = why.kind != gallery.similarity or not np.isfinite(why.similarity)
        notes = (why.note, gallery.query_embedder.note, gallery.embedder.note)
        held.append(
            replace(
                why,
                similarity=why.similarity if own else float(score),
                note="; ".join(dict.fromkeys(filter(None, notes))),
                query_geometry=gallery.query_embedder.geometry,
                gallery_geometry=gallery.embedder.geometry,
            )
        )
    return held
