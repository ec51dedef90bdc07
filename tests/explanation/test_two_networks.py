"""Queries through one network, gallery images through another of another shape: every explanation still adds up."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.explanation import explain_ranking, margin_map, methods_for, ranking_maps
from dmlviz.explanation.methods import method_named
from dmlviz.images import ImageSet, Preprocess
from dmlviz.retrieval import Gallery

torch = pytest.importorskip("torch")
nn = torch.nn


def network(seed, size, pooling, kernel):
    """A small network whose map is a quarter of its input; with a kernel of 2 its cells lie elsewhere than with 3."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 6, kernel, stride=2, padding=kernel - 2),
        nn.ReLU(),
        nn.Conv2d(6, 8, kernel, stride=2, padding=kernel - 2),
        nn.ReLU(),
        pooling,
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    return dv.Embedder.from_module(model, Preprocess.stretch(size), name=f"{size[0]}×{size[1]}")


def pictures(seed, count, size):
    random = np.random.default_rng(seed)
    arrays = list(random.integers(0, 256, (count, *size, 3), dtype=np.uint8))
    return ImageSet.from_arrays(arrays, labels=[f"place {i % 5}" for i in range(count)])


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def gallery(request):
    """Panoramas (3 × 8 cells, average pooling) ask for aerial views (4 × 4 cells, max pooling)."""
    return Gallery.build(
        pictures(0, 10, (20, 20)),
        network(1, (16, 16), nn.AdaptiveMaxPool2d(1), kernel=3),
        similarity=request.param,
        progress=False,
        queries=pictures(1, 14, (16, 40)),
        query_embedder=network(2, (12, 32), nn.AdaptiveAvgPool2d(1), kernel=2),
    )


def test_the_decomposition_is_exact_on_unequal_grids(gallery):
    for query in (0, 13, gallery.query_image(13)):  # 13 is the id of no gallery image
        ids = gallery.search(query, k=10).ids
        scores = gallery.score(query, ids)
        for item, score, why in zip(ids, scores, explain_ranking(gallery, query, ids), strict=True):
            assert why.contributions.shape == (3, 8, 4, 4)
            assert why.query_offset.shape == (3, 8)
            assert why.gallery_offset.shape == (4, 4)
            assert why.similarity == score
            assert why.adds_up
            assert why.query_geometry == gallery.query_embedder.geometry
            assert why.gallery_geometry == gallery.embedder.geometry
            assert why.point_map("query", 1.2, 6.7).shape == (4, 4)
            assert why.point_map("gallery", 3, 0).shape == (3, 8)
            mine, other = gallery.query_local(query), gallery.local_embeddings(int(item))
            scale = 2.0 if gallery.similarity == "l2" else gallery.scale(mine.embedding, [item])[0]
            slow = scale * float(mine.vectors[2, 7].astype(float) @ other.vectors[0, 3].astype(float))
            assert why.contributions[2, 7, 0, 3] == pytest.approx(slow, abs=1e-6)


def test_the_score_is_that_of_the_two_networks(gallery):
    query, item = 13, 7
    mine = gallery.query_embedder.embed([gallery.query_image(query)])[0].astype(float)
    other = gallery.embedder.embed([gallery.image(item)])[0].astype(float)
    expected = mine @ other
    if gallery.similarity == "cosine":
        expected /= np.linalg.norm(mine) * np.linalg.norm(other)
    if gallery.similarity == "l2":
        expected = -np.square(mine - other).sum()
    assert dv.explain(gallery, query, item).similarity == pytest.approx(expected, abs=1e-5)


def test_maps_of_a_whole_ranking_are_those_of_its_pairs(gallery):
    ids = gallery.search(12, k=6).ids
    maps = ranking_maps(gallery, 12, ids)
    assert maps.shape == (6, 3, 8)
    for one, why in zip(maps, explain_ranking(gallery, 12, ids), strict=True):
        np.testing.assert_allclose(one, why.overall_map("query"), atol=1e-6)


def test_margins_add_up(gallery):
    for query in range(len(gallery.queries)):
        margin = margin_map(gallery, query, 1, 2)
        wrong, right = gallery.score(query, [1, 2]).astype(float)
        assert margin.map.shape == (3, 8)
        assert margin.margin == pytest.approx(wrong - right, abs=1e-7)
        assert margin.adds_up
    missed = gallery.failures()
    assert len(missed) > 0
    worst = missed.iloc[0]
    margin = margin_map(gallery, int(worst["query"]), int(worst["wrong"]), int(worst["right"]))
    assert margin.margin == pytest.approx(-worst["margin"], abs=1e-6)


def test_a_region_counts_what_the_map_shows(gallery):
    mask = np.zeros((12, 32), bool)
    mask[:, 16:] = (
        True  # the right half: cells 4 to 7 of the panorama, but for where the geometry puts their edge
    )
    ranking = gallery.search_region(11, mask, k=10)
    from dmlviz.retrieval.region import cell_weights

    weights = cell_weights(mask, (3, 8), (12, 32), gallery.query_embedder.geometry)
    maps = ranking_maps(gallery, 11, ranking.ids)
    np.testing.assert_allclose(ranking.similarities, (maps * weights).sum(axis=(1, 2)), atol=1e-5)


def test_every_method_that_suits_keeps_the_sides_apart(gallery):
    suited = [name for name, reason in methods_for(gallery).items() if not reason]
    assert "decomposition" in suited
    for name in suited:
        options = {"masks": 60, "progress": False} if name.endswith("rise") else {}
        (why,) = explain_ranking(gallery, 13, [3], method=name, **options)
        if why.promises:
            assert why.adds_up, name
        if why.kind == gallery.similarity:
            assert why.similarity == gallery.score(13, [3])[0], name
        if not method_named(name).pairwise:
            continue
        for side, grid, embedder in (
            ("query", (3, 8), gallery.query_embedder),
            ("gallery", (4, 4), gallery.embedder),
        ):
            rows, cols = why.grid(side)
            assert rows <= grid[0], name  # structural matching pools cells
            assert cols <= grid[1], name
            if (rows, cols) == grid:
                assert getattr(why, f"{side}_geometry") == embedder.geometry, name
    assert gallery.query_embedder.geometry != gallery.embedder.geometry
