"""Does the margin map peak on the one part in which two images differ?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.map_pixels import cell_pixels, dilated, peak_share

if TYPE_CHECKING:
    from dmlviz.images import BirdSet
    from dmlviz.retrieval import Gallery


def margin_pointing(
    gallery: "Gallery", birds: "BirdSet", against: Literal["sibling", "swapped"] = "sibling", seed: int = 0
) -> dict[str, Estimate]:
    """Ask of each bird "why the right one and not the other?", where the other differs in one known part.

    The right one is the query's best-ranked image g of its own species. The other, n, is the best-ranked image
    of a sibling species that differs in exactly one part ("sibling"), or g itself drawn with one part swapped
    ("swapped"). The map of S(q, g) − S(q, n) should peak on that part of q. Hits are counted on the part's mask
    dilated by 2 pixels; queries whose part is hidden are left out.

    Args:
        gallery: A gallery built of `birds`.
        birds: The same birds, with their parts.
        against: "sibling" or "swapped".
        seed: Chooses the swapped part and its new look.

    Returns:
        Rates by name: "margin map"; "overall map", which does not know the other image; "centre", the peak in the
        middle of the image; "uniform", the part's area.

    Raises:
        ValueError: If `against` is neither.
    """
    if against not in ("sibling", "swapped"):
        raise ValueError(f"against must be 'sibling' or 'swapped'; got {against!r}")
    labels = birds.labels
    if labels is None:
        raise ValueError("birds without labels have no species to differ from")
    trials = _siblings(gallery, birds) if against == "sibling" else _swaps(gallery, birds, seed)
    names = ("margin map", "overall map", "centre", "uniform")
    hits: dict[str, list[float]] = {name: [] for name in names}
    clusters = []
    _, species = np.unique(labels, return_inverse=True)
    for query, right, part, other in trials:
        mask = birds.mask(query, part)
        if not mask.any():
            continue
        mask = dilated(mask)
        local = gallery.query_local(query)
        pixels = cell_pixels(local.grid, mask.shape, gallery.embedder.geometry)
        overall = local.vectors @ _unit(gallery.embeddings[right], gallery.similarity)
        lead = overall - local.vectors @ _unit(other, gallery.similarity)
        hits["margin map"].append(peak_share(lead, mask, pixels))
        hits["overall map"].append(peak_share(overall, mask, pixels))
        hits["centre"].append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
        hits["uniform"].append(float(mask.mean()))
        clusters.append(species[query])
    return {name: Estimate(name, np.asarray(hits[name], np.float64), np.asarray(clusters)) for name in names}


Trial = tuple[
    int, int, str, np.ndarray
]  # query, right one, the part in which the other differs, its embedding


def _best_of_own_species(gallery: "Gallery", birds: "BirdSet") -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (query, best-ranked image of its species, the whole ranking's ids)."""
    labels = np.asarray(birds.labels)
    for query in range(len(birds)):
        order = gallery.search(query, k=len(birds)).ids
        same = order[labels[order] == labels[query]]
        if len(same):
            yield query, int(same[0]), order


def _siblings(gallery: "Gallery", birds: "BirdSet") -> Iterator[Trial]:
    for query, right, order in _best_of_own_species(gallery, birds):
        for other in order:
            differs = birds.differs(query, int(other))
            if len(differs) == 1 and birds.family(int(other)) == birds.family(query):
                yield query, right, differs[0], gallery.embeddings[other]
                break


def _swaps(gallery: "Gallery", birds: "BirdSet", seed: int) -> Iterator[Trial]:
    rng = np.random.default_rng(seed)
    chosen = [
        (q, right, str(rng.choice(birds.parts))) for q, right, _ in _best_of_own_species(gallery, birds)
    ]
    embedded = gallery.embedder.embed([birds.swap(right, part) for _, right, part in chosen])
    for (query, right, part), embedding in zip(chosen, embedded, strict=True):
        yield query, right, part, embedding


def _unit(embedding: np.ndarray, similarity: str) -> np.ndarray:
    return embedding / np.linalg.norm(embedding) if similarity == "cosine" else embedding
