"""Hover a part of one image: does the map peak on the same part of the other?"""

from typing import TYPE_CHECKING

import numpy as np

from dmlviz.explanation import explain
from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.map_pixels import cell_pixels, cell_with_most, dilated, peak_share

if TYPE_CHECKING:
    from dmlviz.images import BirdSet
    from dmlviz.retrieval import Gallery


def part_transfer(gallery: "Gallery", birds: "BirdSet") -> dict[str, Estimate]:
    """Point at each part of each bird and look where the best match of its own species lights up.

    For each query and its best-ranked image of the same species, and each part visible in both: the point is the
    cell that holds most of the part; a hit is a peak on the same part of the match, its mask dilated by 2 pixels.

    Args:
        gallery: A gallery built of `birds`.
        birds: The same birds, with their parts.

    Returns:
        Rates by name: "contribution" and "likeness", the two readings of hover; "overall map" of the match;
        "same position", the peak where the pointer stood; "centre"; "uniform", the part's area; and the
        contribution's rate for each part, "contribution: beak" and so on.
    """
    labels = birds.labels
    if labels is None:
        raise ValueError("birds without labels have no species to match")
    names = ("contribution", "likeness", "overall map", "same position", "centre", "uniform")
    hits: dict[str, list[float]] = {name: [] for name in names}
    parts, clusters = [], []
    _, species = np.unique(labels, return_inverse=True)
    for query in range(len(birds)):
        order = gallery.search(query, k=len(birds)).ids
        same = order[labels[order] == labels[query]]
        if not len(same):
            continue
        match = int(same[0])
        why = explain(gallery, query, match)
        overall = why.overall_map("gallery")
        for part in birds.parts:
            here, there = birds.mask(query, part), birds.mask(match, part)
            if not (here.any() and there.any()):
                continue
            there = dilated(there)
            pixels = cell_pixels(why.grid("query"), here.shape, why.query_geometry)
            row, col = cell_with_most(here, pixels)
            same_row, same_col = pixels[row, col]
            hits["contribution"].append(peak_share(why.point_map("query", row, col), there, pixels))
            hits["likeness"].append(peak_share(why.likeness_map("query", row, col), there, pixels))
            hits["overall map"].append(peak_share(overall, there, pixels))
            hits["same position"].append(bool(there[same_row, same_col]))
            hits["centre"].append(bool(there[there.shape[0] // 2, there.shape[1] // 2]))
            hits["uniform"].append(float(there.mean()))
            parts.append(part)
            clusters.append(species[query])
    cluster = np.asarray(clusters)
    rates = {name: Estimate(name, np.asarray(of, np.float64), cluster) for name, of in hits.items()}
    for part in birds.parts:
        chosen = np.asarray([p == part for p in parts], dtype=bool)
        name = f"contribution: {part}"
        rates[name] = Estimate(name, rates["contribution"].values[chosen], cluster[chosen])
    return rates
