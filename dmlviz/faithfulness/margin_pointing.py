"""Does the margin map peak on the one part in which two images differ?"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from dmlviz.explanation import margin_map
from dmlviz.faithfulness.part_masks import cell_pixels, dilated, peak_inside
from dmlviz.faithfulness.rates import Rate

if TYPE_CHECKING:
    from dmlviz.images import BirdSet
    from dmlviz.retrieval import Gallery


def margin_pointing(
    gallery: "Gallery", birds: "BirdSet", against: Literal["sibling", "swapped"] = "sibling", seed: int = 0
) -> dict[str, Rate]:
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
    rng = np.random.default_rng(seed)
    trials: list[tuple[int, int, str, int | np.ndarray]] = []
    for query in range(len(birds)):
        order = gallery.search(query, k=len(birds)).ids
        same = order[labels[order] == labels[query]]
        if not len(same):
            continue
        right = int(same[0])
        if against == "sibling":
            near = (i for i in order if birds.family(i) == birds.family(query) and labels[i] != labels[query])
            other = next((int(i) for i in near if len(birds.differs(query, int(i))) == 1), None)
            if other is not None:
                trials.append((query, right, birds.differs(query, other)[0], other))
        else:
            part = str(rng.choice(birds.parts))
            trials.append((query, right, part, birds.swap(right, part)))

    swapped = [other for *_, other in trials if isinstance(other, np.ndarray)]
    embedded = iter(gallery.embedder.embed(swapped)) if swapped else iter(())
    hits: dict[str, list[float]] = {"margin map": [], "overall map": [], "centre": [], "uniform": []}
    clusters = []
    _, species = np.unique(labels, return_inverse=True)
    for query, right, part, other in trials:
        embedding = next(embedded) if isinstance(other, np.ndarray) else None
        mask = birds.mask(query, part)
        if not mask.any():
            continue
        mask = dilated(mask)
        local = gallery.query_local(query)
        pixels = cell_pixels(local.grid, mask.shape, gallery.embedder.geometry)
        overall = local.vectors @ _unit(gallery.embeddings[right], gallery.similarity)
        if isinstance(other, np.ndarray):
            lead = overall - local.vectors @ _unit(embedding, gallery.similarity)
        else:
            lead = -margin_map(gallery, query, wrong=other, right=right).map
        hits["margin map"].append(peak_inside(lead, mask, pixels))
        hits["overall map"].append(peak_inside(overall, mask, pixels))
        hits["centre"].append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
        hits["uniform"].append(float(mask.mean()))
        clusters.append(species[query])
    return {name: Rate(name, np.asarray(of, np.float64), np.asarray(clusters)) for name, of in hits.items()}


def _unit(embedding: np.ndarray | None, similarity: str) -> np.ndarray:
    vector = np.asarray(embedding, dtype=np.float32)
    return vector / np.linalg.norm(vector) if similarity == "cosine" else vector
