"""Searching with a region of the query: its exact part of the score."""

import numpy as np
import pytest
from fake_gallery import DIM, GRID, VIEW, FakeEmbedder, coloured_images
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.embedder import CellGeometry
from dmlviz.retrieval import Gallery
from dmlviz.retrieval.region import cell_weights


def slow_part(gallery, query, weights, item):
    """Sum over the region's cells i and all cells j of w_i s <x_i, x_j>, and of w_i s <x_i, b>."""
    mine, other = gallery.local_embeddings(query), gallery.local_embeddings(item)
    s = 1.0
    if gallery.similarity == "cosine":
        s = 1 / (
            np.linalg.norm(gallery.embeddings[query].astype(float))
            * np.linalg.norm(gallery.embeddings[item].astype(float))
        )
    total = 0.0
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            x = mine.vectors[row, column].astype(float)
            for other_row in range(GRID[0]):
                for other_column in range(GRID[1]):
                    total += (
                        weights[row, column] * s * (x @ other.vectors[other_row, other_column].astype(float))
                    )
            total += weights[row, column] * s * (x @ other.offset.astype(float))
    return total


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99), query=st.integers(0, 11), binary=st.booleans())
def test_similarity_is_the_regions_part_of_the_score(similarity, seed, query, binary):
    images, embedder = coloured_images(12), FakeEmbedder()
    gallery = Gallery(images, embedder, embedder.embed(list(images)), similarity)
    random = np.random.default_rng(seed)
    weights = random.random(GRID) if not binary else random.random(GRID) < 0.5
    weights[0, 0] = 1
    ranking = gallery.search_region(query, weights, k=12)
    assert ranking.ranked_by == "region"
    assert query not in ranking.ids
    assert len(ranking) == 11
    expected = [slow_part(gallery, query, weights, item) for item in ranking.ids]
    np.testing.assert_allclose(ranking.similarities, expected, atol=2e-6)
    assert (np.diff(ranking.similarities) <= 0).all()


def test_regions_and_offset_add_up_to_the_score(gallery):
    left = np.array([[1, 1, 0], [1, 0, 0]], dtype=bool)
    of_left = gallery.search_region(2, left, k=99)
    of_rest = gallery.search_region(2, ~left, k=99)
    everything = gallery.search_region(2, np.ones(GRID, dtype=bool), k=99)
    by_id = {}
    for ranking in (of_left, of_rest):
        for i, value in zip(ranking.ids, ranking.similarities, strict=True):
            by_id[i] = by_id.get(i, 0.0) + float(value)
    np.testing.assert_allclose([by_id[i] for i in everything.ids], everything.similarities, atol=1e-6)
    local = gallery.local_embeddings(2)
    offset = gallery.scale(local.embedding, everything.ids) * (
        gallery.embeddings[everything.ids] @ local.offset
    )
    np.testing.assert_allclose(everything.similarities + offset, gallery.score(2, everything.ids), atol=1e-6)


def test_regions_of_another_image(gallery, images):
    mask = np.zeros(GRID)
    mask[1, 2] = 1
    mine = gallery.search_region(4, mask, k=24, exclude_self=False)
    other = gallery.search_region(images[4], mask, k=24)
    assert other.query is None
    assert other.ids.tolist() == mine.ids.tolist()
    np.testing.assert_allclose(other.similarities, mine.similarities, atol=1e-6)


def test_a_mask_over_pixels_is_the_mask_over_its_cells(gallery):
    cells = np.array([[0, 1, 0], [0, 1, 1]], dtype=bool)
    pixels = np.kron(cells, np.ones((4, 4))).astype(bool)
    assert pixels.shape == VIEW
    np.testing.assert_array_equal(
        gallery.search_region(0, pixels).similarities, gallery.search_region(0, cells).similarities
    )


def slow_weights(mask, map_size, geometry, fine=8):
    """Cut every pixel into fine × fine parts and give each to the nearest cell."""
    height, width = mask.shape
    total, count = np.zeros(map_size), np.zeros(map_size)
    parts = (np.arange(fine) + 0.5) / fine - 0.5
    for row in range(height):
        for column in range(width):
            for down in parts:
                for across in parts:
                    i = np.floor((row + down - geometry.first[0]) / geometry.stride[0] + 0.5)
                    j = np.floor((column + across - geometry.first[1]) / geometry.stride[1] + 0.5)
                    i = int(np.clip(i, 0, map_size[0] - 1))
                    j = int(np.clip(j, 0, map_size[1] - 1))
                    total[i, j] += mask[row, column]
                    count[i, j] += 1
    return np.divide(total, count, out=np.zeros(map_size), where=count > 0)


@pytest.mark.parametrize(
    ("first", "stride", "map_size"),
    [
        ((0, 0), (4, 4), (3, 4)),
        ((1.5, 1.5), (4, 4), (3, 3)),
        ((-1, 2), (2.5, 5), (5, 2)),
        ((20, 0), (4, 4), (2, 3)),
    ],
)
def test_pixels_go_to_the_nearest_cell(first, stride, map_size):
    geometry = CellGeometry(stride=stride, first=first, receptive_field=(9, 9))
    mask = np.random.default_rng(0).random((11, 13))
    weights = cell_weights(mask, map_size, mask.shape, geometry)
    np.testing.assert_allclose(weights, slow_weights(mask, map_size, geometry), atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 9), width=st.integers(1, 9), h=st.integers(1, 5), w=st.integers(1, 5))
def test_a_full_mask_gives_every_cell_its_full_weight(height, width, h, w):
    weights = cell_weights(np.ones((height, width), dtype=bool), (h, w), (height, width), None)
    np.testing.assert_allclose(weights, 1.0)


def test_without_a_geometry_cells_tile_the_view():
    mask = np.zeros((4, 4))
    mask[:2, 2:] = 1
    np.testing.assert_allclose(cell_weights(mask, (2, 2), (4, 4), None), [[0, 1], [0, 0]])


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.zeros(GRID), ValueError, "the mask is empty: choose at least one cell or pixel"),
        (np.zeros(VIEW, dtype=bool), ValueError, "the mask is empty"),
        (
            np.ones((3, 3)),
            ValueError,
            r"per cell, shape \(2, 3\), or one per pixel of the view, shape \(8, 12\)",
        ),
        (np.ones(6), ValueError, r"got \(6,\)"),
        (np.full(GRID, 1.5), ValueError, "numbers from 0 to 1, got values from 1.5 to 1.5"),
        (np.full(GRID, -0.5), ValueError, "numbers from 0 to 1"),
        (np.full(GRID, np.nan), ValueError, "numbers from 0 to 1"),
        (np.full(GRID, "x"), TypeError, "a mask must be bool or numbers"),
    ],
)
def test_refuses_masks(gallery, mask, error, words):
    with pytest.raises(error, match=words):
        gallery.search_region(0, mask)


def test_dimension_of_the_fake_is_as_written(gallery):
    assert gallery.local_embeddings(0).vectors.shape == (*GRID, DIM)
