"""Maps that know nothing of the pair, or nothing at all: what every figure is to be held against."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dmlviz.explanation import Decomposition, Method, decompose_similarity

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.explanation.decomposition import Similarity
    from dmlviz.retrieval import Gallery

OfImage = Callable[["Embedder", np.ndarray, tuple[int, int], int], np.ndarray]


def _uniform(embedder: "Embedder", image: np.ndarray, grid: tuple[int, int], seed: int) -> np.ndarray:
    return np.full(grid, 1.0 / (grid[0] * grid[1]))


def _random(embedder: "Embedder", image: np.ndarray, grid: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(grid)


def _centre(embedder: "Embedder", image: np.ndarray, grid: tuple[int, int], seed: int) -> np.ndarray:
    """A Gaussian in the middle of the map, its standard deviation a quarter of each side."""
    down, across = ((np.arange(n) - (n - 1) / 2) / (n / 4) for n in grid)
    return np.exp(-0.5 * (down[:, None] ** 2 + across[None, :] ** 2))


def _feature_norm(embedder: "Embedder", image: np.ndarray, grid: tuple[int, int], seed: int) -> np.ndarray:
    features = embedder.feature_maps([image])[0].cpu().numpy().astype(np.float64)
    return np.asarray(np.sqrt((features**2).sum(axis=0)))


def _of_images(name: str, of_image: OfImage) -> Callable[..., list[Decomposition]]:
    """Make maps of both images of a pair, each from its own image alone."""

    def of_ranking(
        gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, seed: int = 0
    ) -> list[Decomposition]:
        asked, given = gallery.query_embedder, gallery.embedder
        made = []
        for item in (int(i) for i in ids):
            seeds = np.random.SeedSequence([seed, int(query), item]).generate_state(2).tolist()
            made.append(
                Decomposition(
                    contributions=None,
                    query_offset=None,
                    gallery_offset=None,
                    constant=0.0,
                    similarity=float(gallery.score(query, [item])[0]),
                    kind=gallery.similarity,
                    method=name,
                    query_geometry=asked.geometry,
                    gallery_geometry=given.geometry,
                    query_map=of_image(asked, gallery.query_image(query), asked.map_size, seeds[0]),
                    gallery_map=of_image(given, gallery.image(item), given.map_size, seeds[1]),
                    promises=False,
                )
            )
        return made

    return of_ranking


@lru_cache(maxsize=4)
def _untrained(embedder: "Embedder", seed: int) -> "Embedder":
    from dmlviz.embedder import randomised

    return randomised(embedder, seed=seed)


def _random_weights(
    gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, seed: int = 0
) -> list[Decomposition]:
    two = gallery.query_embedder is not gallery.embedder  # two networks do not begin with the same weights
    asked, given = _untrained(gallery.query_embedder, seed + two), _untrained(gallery.embedder, seed)
    similarity = cast("Similarity", gallery.similarity)
    of_query = asked.local_embeddings(gallery.query_image(query))
    made = []
    for item in (int(i) for i in ids):
        why = decompose_similarity(of_query, given.local_embeddings(gallery.image(item)), similarity)
        made.append(
            replace(
                why, method="random weights", query_geometry=asked.geometry, gallery_geometry=given.geometry
            )
        )
    return made


def _always(gallery: "Gallery") -> str:
    return ""


def _baseline(
    name: str, title: str, says: str, of_ranking: Callable[..., list[Decomposition]], **rest: Any
) -> Method:
    return Method(name, title, says, "", of_ranking, _always, **rest)


BASELINES: dict[str, Method] = {
    method.name: method
    for method in (
        _baseline(
            "random weights",
            "random weights",
            "the exact decomposition of the same network, untrained",
            _random_weights,
            pairwise=True,
            linear=True,
        ),
        _baseline(
            "feature norm",
            "feature norm",
            "the length of each cell's features: knows its own image, not the other one",
            _of_images("feature norm", _feature_norm),
            linear=True,
        ),
        _baseline(
            "centre",
            "centre",
            "a Gaussian in the middle of the picture: knows no image at all",
            _of_images("centre", _centre),
            linear=True,
        ),
        _baseline("uniform", "uniform", "every cell alike", _of_images("uniform", _uniform), linear=True),
        _baseline("random", "random", "random numbers, seeded", _of_images("random", _random), linear=True),
    )
}
"""Maps to hold every figure against, by name."""
