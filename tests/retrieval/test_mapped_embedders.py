"""Galleries that rank by mapped embeddings: whitening as papers do it, Mahalanobis distances, and their maps."""

import numpy as np
import pytest
from fake_gallery import coloured_images

from dmlviz.images import Preprocess
from dmlviz.index import LinearMap, learned_whitening, mahalanobis, pca
from dmlviz.retrieval import Gallery, GalleryError

torch = pytest.importorskip("torch")
nn = torch.nn


def network(dim=6, seed=0):
    from dmlviz.embedder import Embedder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, dim)
        )
    return Embedder.from_module(model, Preprocess.stretch((16, 24)), name="small")


@pytest.fixture(scope="module")
def embedder():
    return network()


@pytest.fixture(scope="module")
def images():
    return coloured_images(30, 5)


@pytest.fixture(scope="module")
def others(embedder):
    """Embeddings of another set, to fit maps on."""
    pictures = list(np.random.default_rng(5).integers(0, 256, (60, 16, 24, 3), dtype=np.uint8))
    return embedder.embed(pictures + list(coloured_images(20, 4, seed=9)))


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def map_of(kind, others):
    if kind == "pca":
        return pca(others, 4)
    if kind == "whitening":
        return pca(others, 4, whiten=True)
    return learned_whitening(others, np.random.default_rng(0).integers(0, len(others), (40, 2)), 5)


@pytest.mark.parametrize("kind", ["pca", "whitening", "learned"])
@pytest.mark.parametrize("normalise_first", [False, True])
def test_the_gallery_ranks_by_mapped_embeddings_and_its_maps_add_up(
    embedder, images, others, kind, normalise_first
):
    from dmlviz.explanation import explain, margin_map

    linear_map = map_of(kind, unit(others) if normalise_first else others)
    mapped = embedder.followed_by(linear_map, normalise_first=normalise_first)
    gallery = Gallery.build(images, mapped, progress=False)
    rows = embedder.embed(list(images)).astype(np.float64)
    rows = unit(rows) if normalise_first else rows  # length 1, map, length 1: in papers' order
    rows = unit(rows @ linear_map.matrix.T.astype(np.float64) + linear_map.bias)
    ranking = gallery.search(4, k=29)
    np.testing.assert_allclose(ranking.similarities, rows[ranking.ids] @ rows[4], atol=1e-5)
    for query in (4, images[7]):
        for item in gallery.search(query, k=3).ids:
            why = explain(gallery, query, int(item))
            assert abs(why.residual) <= why.tolerance
            whole = why.contributions.sum(dtype=float) + why.query_offset.sum() + why.gallery_offset.sum()
            assert abs(whole + why.constant - why.similarity) < 1e-5
            assert ("held at each image" in why.note) == normalise_first
    margin = margin_map(gallery, 4, int(ranking.ids[0]), int(ranking.ids[-1]))
    assert abs(margin.residual) < 1e-5
    mask = np.zeros((16, 24), bool)
    mask[:8] = True
    region = gallery.search_region(4, mask, k=5)
    local = gallery.query_local(4)
    part = local.vectors[:2].sum((0, 1)).astype(float)
    expected = rows[region.ids] @ part / np.linalg.norm(local.embedding)
    np.testing.assert_allclose(region.similarities, expected, rtol=1e-5, atol=1e-5)


def test_a_mahalanobis_distance_is_the_squared_distance_of_mapped_embeddings(embedder, images):
    from dmlviz.explanation import decompose_squared_distance, explain

    factor = np.random.default_rng(1).standard_normal((6, 6))
    metric = factor @ factor.T
    mapped = embedder.followed_by(mahalanobis(metric))
    before, after = (one.local_embeddings(list(images)[:2], dtype="float64") for one in (embedder, mapped))
    expected = decompose_squared_distance(*before, matrix=metric)
    found = decompose_squared_distance(*after)
    np.testing.assert_allclose(found.similarity, expected.similarity, rtol=1e-5)  # the map is kept in float32
    np.testing.assert_allclose(
        found.contributions, expected.contributions, atol=1e-5 * abs(expected.similarity)
    )
    gallery = Gallery.build(images, mapped, similarity="l2", progress=False)
    ranking = gallery.search(4, k=29)
    rows = embedder.embed(list(images)).astype(np.float64)
    apart = rows - rows[4]
    distances = np.einsum("nd,de,ne->n", apart, metric, apart)
    np.testing.assert_allclose(-ranking.similarities, distances[ranking.ids], rtol=1e-4, atol=1e-6)
    why = explain(gallery, 4, int(ranking.ids[2]))
    assert why.similarity == pytest.approx(-distances[ranking.ids[2]], rel=1e-4)
    assert abs(why.residual) <= why.tolerance


def test_the_factor_in_double_precision_is_exact(images):
    """No rounding of the map: x → Lᵀx by any object with matrix and bias."""
    from types import SimpleNamespace

    from dmlviz.explanation import decompose_squared_distance

    embedder = network()
    factor = np.random.default_rng(2).standard_normal((6, 3))
    mapped = embedder.followed_by(SimpleNamespace(matrix=factor.T, bias=np.zeros(3)))
    before, after = (one.local_embeddings(list(images)[:2], dtype="float64") for one in (embedder, mapped))
    expected = decompose_squared_distance(*before, matrix=factor @ factor.T)
    found = decompose_squared_distance(*after)
    scale = max(1.0, abs(expected.similarity))
    assert abs(found.similarity - expected.similarity) < 1e-12 * scale
    assert np.abs(found.contributions - expected.contributions).max() < 1e-12 * scale


def test_a_stored_gallery_knows_its_map(embedder, images, others, tmp_path):
    path, kept = tmp_path / "white.gallery", tmp_path / "whitening.npz"
    whitening = pca(others, whiten=True)
    whitening.save(kept)
    gallery = Gallery.build(images, embedder.followed_by(whitening), path=path, progress=False)
    again = Gallery.open(path, network().followed_by(LinearMap.open(kept)), images=images)
    np.testing.assert_array_equal(again.embeddings, gallery.embeddings)
    np.testing.assert_array_equal(again.search(images[3], k=5).ids, gallery.search(images[3], k=5).ids)
    for wrong in (
        embedder,
        embedder.followed_by(pca(others)),
        embedder.followed_by(whitening, normalise_first=True),
        network(seed=1).followed_by(whitening),
    ):
        with pytest.raises(GalleryError, match=r"was built with the embedder 'small, mapped from 6 to 6'"):
            Gallery.open(path, wrong, images=images)


def test_queries_of_another_network_have_a_map_of_their_own(embedder, images, others):
    asking, whitening = network(dim=8, seed=1), pca(others, 4, whiten=True)
    own = LinearMap(np.random.default_rng(0).standard_normal((4, 8)), np.ones(4))
    queries = coloured_images(6, 5, seed=3)
    gallery = Gallery.build(
        images,
        embedder.followed_by(whitening),
        queries=queries,
        query_embedder=asking.followed_by(own),
        progress=False,
    )
    left, right = (
        unit(one.apply(of.embed(list(some))))
        for one, of, some in ((own, asking, queries), (whitening, embedder, images))
    )
    ranking = gallery.search(2, k=30)
    np.testing.assert_allclose(ranking.similarities, right[ranking.ids] @ left[2], atol=1e-5)


def test_the_published_arithmetic_refuses_a_held_length(embedder, images, others):
    from dmlviz.explanation import explain

    held = embedder.followed_by(pca(unit(others)), normalise_first=True)
    gallery = Gallery.build(images, held, progress=False)
    with pytest.raises(
        ValueError, match="brought to length 1 before a linear map, which the published code lacks"
    ):
        explain(gallery, 0, 1, method="published-decomposition")
