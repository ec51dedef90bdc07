"""Cover-up where the answer is known: by construction, by hand, and by plain loops."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))  # for patchwork, which tests of this room share

from patchwork import BLACK, patchwork, planted, slow_keep, slow_prediction, slow_similarity

import dmlviz as dv
from dmlviz import LocalEmbeddings, decompose_similarity
from dmlviz.embedder import CellGeometry, birds_embedder, embed_kept_cells
from dmlviz.faithfulness import BASELINES, Explained, cover_up, cover_up_features
from dmlviz.faithfulness.cover_up import EVALUATOR, random_boxes
from dmlviz.faithfulness.kept_parts import kept_parts
from dmlviz.faithfulness.masked_pairs import KeptCells, MaskedPairs

PAIRS = [(0, 1), (2, 3), (4, 0), (5, 2)]
QUIET = {"baselines": (), "progress": False}


@pytest.fixture(scope="module")
def dots():
    return patchwork("dot")


@pytest.fixture(scope="module")
def cosines():
    return patchwork("cosine")


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)


# ---- known by construction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["query", "gallery", "both"])
def test_the_dot_product_of_averages_falls_by_just_what_the_map_says(dots, side):
    for found in (
        cover_up(dots, pairs=PAIRS, side=side, fill=BLACK, **QUIET),
        cover_up_features(dots, pairs=PAIRS, side=side, **QUIET),
    ):
        assert found.figures["correlation"].values.min() > 1 - 1e-6
        assert found.figures["rank correlation"].values.min() > 1 - 1e-3
        assert found.figures["mean error"].values.max() < 1e-5


@pytest.mark.parametrize("side", ["query", "both"])
def test_pixels_are_features_where_cells_see_themselves_alone(cosines, side):
    of_pixels = cover_up(cosines, pairs=PAIRS, side=side, fill=BLACK, **QUIET)
    of_features = cover_up_features(cosines, pairs=PAIRS, side=side, **QUIET)
    for name in EVALUATOR.figures:
        np.testing.assert_allclose(
            of_pixels.figures[name].values, of_features.figures[name].values, atol=1e-4
        )
    assert (of_pixels.evaluator.name, of_features.evaluator.name) == ("cover-up", "cover-up-features")
    # another fill is another question
    grey = cover_up(cosines, pairs=PAIRS, side=side, fill="grey", **QUIET)
    assert abs(grey.headline.values - of_features.headline.values).max() > 1e-3


def test_under_the_cosine_the_lengths_change_too_and_nothing_else(birds):
    """The linear prediction misses; the same parts, divided by the new length, are the real similarity."""
    why = Explained(birds).of(0, 1)
    keep = ~random_boxes((12, 12), 8, np.random.default_rng(0))
    real = MaskedPairs(birds, "features").similarities(why, 0, 1, keep)
    parts, other = birds.query_local(0), birds.embeddings[1].astype(np.float64)
    left = np.einsum("bhw,hwd->bd", keep, parts.vectors.astype(np.float64)) + parts.offset
    exact = left @ other / np.linalg.norm(left, axis=1) / np.linalg.norm(other)
    np.testing.assert_allclose(real, exact, atol=1e-5)
    assert np.abs(kept_parts(why, keep) - exact).max() > 0.01
    whole = np.linalg.norm(parts.embedding)
    np.testing.assert_allclose(kept_parts(why, keep) * whole / np.linalg.norm(left, axis=1), exact, atol=1e-5)


def test_of_a_maximum_the_runner_up_spoils_the_prediction():
    found = cover_up_features(patchwork("dot", "max"), pairs=PAIRS, **QUIET)
    assert found.figures["mean error"].values.min() > 1e-3
    assert found.headline.values.max() < 0.999


# ---- planted maps --------------------------------------------------------------------------------------------


def times(factor):
    def change(why):
        return replace(
            why,
            contributions=why.contributions * np.float32(factor),
            query_offset=why.query_offset * np.float32(factor),
            gallery_offset=why.gallery_offset * np.float32(factor),
            constant=why.constant * factor,
        )

    return change


def test_inverted_maps_are_wrong_and_scaled_ones_as_right(dots):
    right = cover_up_features(dots, pairs=PAIRS, **QUIET)
    scaled = cover_up_features(dots, planted(dots, PAIRS, times(7.0)), PAIRS, **QUIET)
    inverted = cover_up_features(dots, planted(dots, PAIRS, times(-1.0)), PAIRS, **QUIET)
    for name in ("correlation", "rank correlation"):
        np.testing.assert_allclose(scaled.figures[name].values, right.figures[name].values, atol=1e-4)
        np.testing.assert_allclose(inverted.figures[name].values, -right.figures[name].values, atol=1e-4)
    assert scaled.figures["mean error"].value > 100 * right.figures["mean error"].value


def test_chance_is_within_the_interval_of_random_maps(birds):
    found = cover_up_features(birds, "random", 36, size=4, boxes=12, **QUIET)
    low, high = found.headline.interval()
    assert low < 0 < high
    assert high - low < 0.5
    assert found.figures["mean error"].trials == 0  # random numbers promise no sum
    exact = cover_up_features(birds, pairs=36, size=4, boxes=12, **QUIET)
    assert exact.headline.interval()[0] > high


def test_boxes_of_one_size_leave_uniform_maps_nothing_to_say(birds):
    alike = cover_up_features(birds, "uniform", 6, size=3, **QUIET)
    assert alike.headline.left_out == 6
    assert np.isnan(alike.headline.value)
    assert cover_up_features(birds, "uniform", 6, **QUIET).headline.value > 0.3  # by area


def test_all_baselines_stand_beside_and_see_the_same_boxes(birds, monkeypatch):
    asked = []
    run = MaskedPairs.embeddings

    def counted(self, side, i, why, cells):
        asked.append((side, i))
        return run(self, side, i, why, cells)

    monkeypatch.setattr(MaskedPairs, "embeddings", counted)
    found = cover_up(birds, pairs=3, boxes=4, progress=False)
    assert set(found.baselines) == set(EVALUATOR.baselines) <= set(BASELINES)
    assert len(asked) == len(set(asked)) == 3  # the network ran once for all of them
    assert found.headline.value > found.baselines["random weights"]["correlation"].value
    assert all(np.isnan(of["mean error"].value) for of in found.baselines.values())


def test_a_sum_to_another_score_has_no_error_in_this_one(birds):
    for method in ("squared-l2", "grad-cam", "dist-cam"):
        found = cover_up_features(birds, method, 3, boxes=6, **QUIET)
        assert found.figures["mean error"].trials == 0
        assert found.headline.trials == 3


def test_the_order_of_pairs_and_the_batches_do_not_matter(birds):
    there = cover_up(birds, pairs=[(0, 1), (2, 3)], boxes=5, **QUIET)
    back = cover_up(birds, pairs=[(2, 3), (0, 1)], boxes=5, batch_size=2, **QUIET)
    np.testing.assert_allclose(there.headline.values, back.headline.values[::-1], atol=1e-5)
    other = cover_up(birds, pairs=[(0, 1), (2, 3)], boxes=5, seed=1, **QUIET)
    assert abs(there.headline.values - other.headline.values).max() > 1e-4


# ---- by hand and by loops ------------------------------------------------------------------------------------


def test_two_by_two_worked_by_hand():
    query = LocalEmbeddings(np.array([[[1.0], [2.0]], [[3.0], [4.0]]]), np.array([10.0]))
    gallery = LocalEmbeddings(np.array([[[5.0], [6.0]]]), np.array([7.0]))  # e = 20 and 18
    why = decompose_similarity(query, gallery, "dot")
    diagonal, right = np.array([[[1, 0], [0, 1]]], bool), np.array([[[0, 1]]], bool)
    assert kept_parts(why, diagonal).tolist() == [(1 + 4 + 10) * 18]
    assert kept_parts(why, None, right).tolist() == [20 * (6 + 7)]
    assert kept_parts(why, diagonal, right).tolist() == [(1 + 4 + 10) * (6 + 7)]
    # without pairs: both maps brought to one scale and added up; one alone as it is
    maps = replace(
        why,
        contributions=None,
        query_offset=None,
        gallery_offset=None,
        constant=0.0,
        query_map=np.array([[1.0, 2.0], [3.0, -4.0]]),
        gallery_map=np.array([[1.0, 3.0]]),
    )
    assert kept_parts(maps, diagonal).tolist() == [-3.0]
    assert kept_parts(maps, diagonal, right).tolist() == pytest.approx([-0.3 + 0.75])
    # two maps that add up to one score are in one unit
    of_offsets = replace(
        maps, query_map=None, gallery_map=None, query_offset=maps.query_map, gallery_offset=maps.gallery_map
    )
    assert kept_parts(of_offsets, diagonal, right).tolist() == [0.0]
    with pytest.raises(ValueError, match="kept cells of one image at least; got none"):
        kept_parts(why)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_predictions_equal_the_loops(seed):
    rng = np.random.default_rng(seed)
    (hq, wq), (hg, wg) = rng.integers(1, 4, (2, 2))
    local = [
        LocalEmbeddings(rng.standard_normal((h, w, 3)), rng.standard_normal(3))
        for h, w in ((hq, wq), (hg, wg))
    ]
    why = decompose_similarity(*local)
    a, b = rng.random((3, hq, wq)) < 0.5, rng.random((3, hg, wg)) < 0.5
    both = [slow_prediction(why, x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(kept_parts(why, a, b), both, atol=1e-12)
    np.testing.assert_allclose(kept_parts(why, a, np.ones_like(b)), kept_parts(why, a), atol=1e-12)
    np.testing.assert_allclose(kept_parts(why, None, b), kept_parts(why, np.ones_like(a), b), atol=1e-12)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_pixels_equal_the_loops_on_a_network_whose_cells_are_shifted(similarity):
    gallery = patchwork(similarity)
    moved = CellGeometry(stride=(2, 2), first=(1, 0), receptive_field=(2, 2))
    gallery.embedder.geometry = moved
    found = cover_up(gallery, pairs=[(0, 1)], boxes=5, side="both", **QUIET)
    rng = np.random.default_rng([0, 0, 1])
    of_query, of_gallery = (~random_boxes((4, 4), 5, rng) for _ in range(2))
    why = Explained(gallery).of(0, 1)
    told = [why.total - slow_prediction(why, a, b) for a, b in zip(of_query, of_gallery, strict=True)]
    whole = np.ones((4, 4), bool)
    full = slow_similarity(gallery, 0, 1, whole, whole, "mean")
    real = [
        full - slow_similarity(gallery, 0, 1, a, b, "mean") for a, b in zip(of_query, of_gallery, strict=True)
    ]
    assert found.headline.value == pytest.approx(np.corrcoef(told, real)[0, 1], abs=1e-4)
    assert found.figures["mean error"].value == pytest.approx(
        np.abs(np.subtract(told, real)).mean(), rel=1e-3
    )


def test_features_equal_the_loops_on_birds(birds):
    found = cover_up_features(birds, pairs=[(3, 5)], boxes=6, **QUIET)
    keep = ~random_boxes((12, 12), 6, np.random.default_rng([0, 3, 5]))
    why = Explained(birds).of(3, 5)
    told = [float(why.overall_map("query")[~one].sum(dtype=np.float64)) for one in keep]
    embedded = embed_kept_cells(birds.embedder, birds.query_image(3), keep)
    other = birds.embeddings[5] / np.linalg.norm(birds.embeddings[5])
    real = [why.similarity - float(e @ other) / float(np.linalg.norm(e)) for e in embedded]
    assert found.headline.value == pytest.approx(np.corrcoef(told, real)[0, 1], abs=1e-4)
    assert found.figures["mean error"].value == pytest.approx(
        np.abs(np.subtract(told, real)).mean(), abs=1e-5
    )


def test_what_was_run_is_remembered_by_what_it_was(birds):
    runs, why = MaskedPairs(birds, "features"), Explained(birds).of(0, 1)
    keep = ~random_boxes((12, 12), 3, np.random.default_rng(0))
    first = runs.similarities(why, 0, 1, keep)
    assert runs.similarities(Explained(birds, "grad-cam").of(0, 1), 0, 1, keep.copy()) is first
    for other in (
        runs.similarities(why, 0, 1, None, keep),
        runs.similarities(why, 0, 2, keep),
        runs.similarities(why, 0, 1, keep[:, ::-1]),
        runs.similarities(replace(why, query_geometry=None), 0, 1, keep),
    ):
        assert other is not first
        assert len(other) == 3


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(-96, 192), st.integers(16, 128), st.integers(0, 99))
def test_each_pixel_goes_with_the_nearest_centre(h, w, first, stride, seed):
    first, stride = first / 32, stride / 32  # a tie is exact, and what is none is none by far
    cells = np.random.default_rng(seed).random((2, h, w)) < 0.5
    placed = CellGeometry(stride=(stride, 2), first=(first, 1), receptive_field=(3, 3))
    masks = KeptCells((9, 11), cells, placed)
    assert len(masks) == 2
    for one, kept in zip(cells, masks.keep(0, 2), strict=True):
        np.testing.assert_array_equal(kept, slow_keep(one, (9, 11), (first, 1), (stride, 2)))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.one_of(st.none(), st.integers(1, 12)))
def test_boxes_are_boxes(h, w, seed, size):
    for box in random_boxes((h, w), 7, np.random.default_rng(seed), size):
        rows, cols = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == len(rows) * len(cols) > 0
        assert (np.diff(rows) == 1).all()
        assert (np.diff(cols) == 1).all()
        if size is None:
            assert len(rows) <= -(-h // 2)
            assert len(cols) <= -(-w // 2)
        else:
            assert (len(rows), len(cols)) == (min(size, h), min(size, w))


# ---- refused -------------------------------------------------------------------------------------------------


def test_what_cannot_be_asked_is_refused(dots):
    with pytest.raises(ValueError, match="level must be one of 'pixels', 'features'; got 'cells'"):
        cover_up(dots, pairs=PAIRS, level="cells", **QUIET)
    with pytest.raises(ValueError, match="side must be one of 'query', 'gallery', 'both'; got 'left'"):
        cover_up(dots, pairs=PAIRS, side="left", **QUIET)
    with pytest.raises(ValueError, match="boxes must be at least 3, got 2"):
        cover_up(dots, pairs=PAIRS, boxes=2, **QUIET)
    with pytest.raises(TypeError, match=r"size must be a whole number, got 1\.5"):
        cover_up(dots, pairs=PAIRS, size=1.5, **QUIET)
    with pytest.raises(ValueError, match="fill must be 'mean', 'grey', 'blur' or a colour"):
        cover_up(dots, pairs=PAIRS, fill="white", **QUIET)
    coarse = {"contributions": np.ones((2, 2, 4, 4), np.float32), "query_offset": np.ones((2, 2), np.float32)}
    explained = planted(dots, PAIRS, lambda why: replace(why, **coarse))
    with pytest.raises(
        ValueError, match=r"taken away, 4 × 4; the maps of .* have 2 × 2 cells. Use level='pixels'"
    ):
        cover_up_features(dots, explained, PAIRS, **QUIET)
    one_map = {"contributions": None, "query_offset": None, "gallery_offset": None}
    lacking = planted(dots, PAIRS, lambda why: replace(why, **one_map, query_map=np.ones((4, 4))))
    with pytest.raises(ValueError, match="has no map of the gallery side"):
        cover_up(dots, lacking, PAIRS, side="gallery", **QUIET)


def test_pairs_without_a_cosine_are_left_out():
    gallery = patchwork("cosine", bias=False)
    explained = planted(gallery, PAIRS, lambda why: why)
    # every box takes the whole map away: with no offset nothing is left, and no cosine
    found = cover_up_features(gallery, explained, PAIRS, size=4, **QUIET)
    assert found.headline.left_out == len(PAIRS)
