"""Insertion and deletion: by hand, against plain loops, on planted maps, and on birds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dmlviz as dv
from dmlviz.embedder import CellGeometry, Embedder, LinearHead, birds_embedder
from dmlviz.faithfulness import Explained, deletion, insertion, insertion_deletion_curves
from dmlviz.faithfulness.evaluators import EVALUATORS, evaluator_named
from dmlviz.faithfulness.noisy_linear import noisy_linear
from dmlviz.faithfulness.pixel_order import nearest_cells, ranks
from dmlviz.images import ImageSet, Preprocess

SIDE = 8


def darkness(side=SIDE):
    """An embedder whose cells are pixels and whose embedding is the mean darkness: white adds nothing."""
    trunk = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        trunk.weight.copy_(-torch.eye(3)[:, :, None, None])
        trunk.bias.fill_(1.0)
    geometry = CellGeometry(stride=(1, 1), first=(0, 0), receptive_field=(1, 1))
    return Embedder(trunk, LinearHead("avg"), Preprocess.stretch(side, mean=0.0, std=1.0), geometry=geometry)


def gallery_of(pictures, similarity="dot", side=SIDE):
    images = ImageSet.from_arrays(list(pictures), [str(i) for i in range(len(pictures))])
    return dv.Gallery.build(images, darkness(side), similarity=similarity, progress=False)


@pytest.fixture(scope="module")
def noise():
    pictures = np.random.default_rng(3).integers(0, 255, (40, SIDE, SIDE, 3), dtype=np.uint8)
    return gallery_of(pictures)


PAIRS = [(q, (q + 1) % 40) for q in range(40)]


@pytest.fixture(scope="module")
def flock():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder(), progress=False)


def with_map(gallery, pairs, map_of):
    """Explanations of the pairs whose query maps are others."""
    explained = Explained(gallery, "decomposition")
    for q, g in pairs:
        why = explained.of(q, g)
        planted = map_of(why.overall_map("query"), q)
        explained._kept[q, g] = replace(
            why, contributions=None, query_offset=None, query_map=planted, promises=False
        )
    return explained


def areas(ask, gallery, explained, pairs=PAIRS, **options):
    found = ask(gallery, explained, pairs, baselines=(), progress=False, **options)
    return {name: one.values for name, one in found.figures.items()}


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four_pixels():
    levels = np.array([[255, 0], [51, 204]], np.uint8)  # darkness 0, 1, .8, .2
    picture = np.repeat(levels[:, :, None], 3, axis=2)
    return gallery_of([picture, np.zeros_like(picture)], side=2)


def test_four_pixels_by_hand(four_pixels):
    curves = insertion_deletion_curves(four_pixels, pairs=[(0, 1)], steps=5, progress=False)
    np.testing.assert_allclose(curves.insertion, [[0.75, 0.75, 1.35, 1.5, 1.5]], atol=1e-6)
    np.testing.assert_allclose(curves.deletion, [[0.75, 0.75, 0.15, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(curves.full, [1.5], atol=1e-6)
    put = areas(insertion, four_pixels, "decomposition", [(0, 1)], steps=5)
    assert put["auc"] == pytest.approx(0.575, abs=1e-6)
    assert put["raw"] == pytest.approx(1.18125, abs=1e-6)
    assert put["relative"] == pytest.approx(0.7875, abs=1e-6)
    taken = areas(deletion, four_pixels, "decomposition", [(0, 1)], steps=5)
    assert taken["auc"] == pytest.approx(0.425, abs=1e-6)
    assert taken["raw"] == pytest.approx(0.31875, abs=1e-6)
    assert taken["relative"] == pytest.approx(0.2125, abs=1e-6)


def test_the_published_thresholds_are_what_comes_without_being_asked_for(four_pixels):
    curves = insertion_deletion_curves(four_pixels, pairs=[(0, 1)], progress=False)
    np.testing.assert_allclose(curves.thresholds, np.arange(101) / 100)
    for options, steps in (({"unit": "cells"}, 13), ({"fill": "road"}, 11)):
        curves = insertion_deletion_curves(four_pixels, pairs=[(0, 1)], progress=False, **options)
        assert len(curves.thresholds) == steps


def test_the_mean_curves_as_a_frame(noise):
    curves = insertion_deletion_curves(noise, pairs=PAIRS[:6], steps=4, progress=False)
    frame = curves.to_frame()
    assert len(frame) == 8
    first = frame[frame["curve"] == "deletion"].iloc[0]
    assert first["similarity"] == pytest.approx(curves.deletion[:, 0].mean())
    assert first["low"] <= first["similarity"] <= first["high"]
    assert first["normalised"] == pytest.approx(1.0)
    assert "Curves(decomposition: 6 pairs, 4 thresholds" in repr(curves)


# --- against plain loops ------------------------------------------------------------------------------------------


def slow_curve(gallery, query, item, order, per_turn, steps, colour, way):
    """One picture at a time in float64: `order` lists turns, `per_turn(turn)` the pixels of each."""
    embedder, view = gallery.query_embedder, gallery.query_view(query)
    reference = embedder.embed(gallery.image(item)).astype(np.float64)[0]
    found = []
    for step in range(steps):
        n = max(round(step / (steps - 1) * len(order)), 1)
        picture = view.copy() if way == "deletion" else np.empty_like(view)
        if way == "insertion":
            picture[:] = colour
        for turn in order[:n]:
            for r, c in per_turn(turn):
                picture[r, c] = colour if way == "deletion" else view[r, c]
        made = embedder.embed(picture).astype(np.float64)[0]
        s = float(made @ reference)
        found.append(
            s
            if gallery.similarity == "dot"
            else s / float(np.linalg.norm(made)) / float(np.linalg.norm(reference))
        )
    return found


def slow_area(curve):
    least = min(curve)
    most = max(s - least for s in curve)
    scaled = [(s - least) / most for s in curve]
    return sum((a + b) / 2 for a, b in pairwise(scaled)) / (len(curve) - 1)


@pytest.mark.parametrize(("ask", "way"), [(insertion, "insertion"), (deletion, "deletion")])
def test_pixels_equal_the_loops(noise, ask, way):
    explained = Explained(noise, "decomposition")
    found = areas(ask, noise, explained, PAIRS[:3], steps=9, fill=(10, 200, 30))
    for n, (q, g) in enumerate(PAIRS[:3]):
        values = explained.of(q, g).overall_map("query")
        order = sorted(np.ndindex(SIDE, SIDE), key=lambda at, values=values: -values[at])
        curve = slow_curve(noise, q, g, order, lambda at: [at], 9, (10, 200, 30), way)
        assert found["auc"][n] == pytest.approx(slow_area(curve), abs=1e-5)
        assert found["raw"][n] == pytest.approx(sum((a + b) / 2 for a, b in pairwise(curve)) / 8, abs=1e-6)


@pytest.mark.parametrize(("ask", "way"), [(insertion, "insertion"), (deletion, "deletion")])
def test_cells_of_the_birds_equal_the_loops(flock, ask, way):
    explained = Explained(flock, "decomposition")
    found = areas(ask, flock, explained, [(0, 1)], steps=5, unit="cells", fill="mean")
    why = explained.of(0, 1)
    values, geometry = why.overall_map("query"), why.query_geometry
    view = flock.query_view(0)
    own = {at: [] for at in np.ndindex(*values.shape)}
    for r, c in np.ndindex(*view.shape[:2]):
        row, col = geometry.cell_of_pixel(r, c)
        own[min(max(int(row + 0.5), 0), 11), min(max(int(col + 0.5), 0), 11)].append((r, c))
    order = sorted(own, key=lambda at: -values[at])
    colour = np.rint(view.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    curve = slow_curve(flock, 0, 1, order, own.get, 5, colour, way)
    assert found["auc"][0] == pytest.approx(slow_area(curve), abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_nothing(noise, batch_size):
    for fill in ("white", "road"):
        whole = areas(deletion, noise, "decomposition", PAIRS[:3], steps=8, fill=fill)
        parts = areas(deletion, noise, "decomposition", PAIRS[:3], steps=8, fill=fill, batch_size=batch_size)
        np.testing.assert_allclose(whole["auc"], parts["auc"], atol=1e-5)


# --- planted maps -------------------------------------------------------------------------------------------------

# Where the network is linear, a random order gives a straight line on average: over 33 thresholds of 64 pixels, the
# first of which takes one pixel, (n − 1)/63 at n = 1, 2, 4, ..., 64; and its mirror image for deletion.
_LINE = [(max(2 * k, 1) - 1) / 63 for k in range(33)]
_AREA = (sum(_LINE) - (_LINE[0] + _LINE[-1]) / 2) / 32
CHANCE = {insertion: _AREA, deletion: 1 - _AREA}


def test_the_true_map_is_best_a_random_one_is_chance_an_inverted_one_is_worst(noise):
    random = np.random.default_rng(0)
    planted = {
        "true": lambda own, q: own,
        "random": lambda own, q: random.random(own.shape),
        "inverted": lambda own, q: -own,
    }
    for ask, sign in ((insertion, 1), (deletion, -1)):
        found = {
            name: ask(noise, with_map(noise, PAIRS, of), PAIRS, steps=33, baselines=(), progress=False)
            for name, of in planted.items()
        }
        low, high = found["random"].headline.interval()
        assert low < CHANCE[ask] < high
        assert high - low < 0.1
        true, inverted = (sign * found[name].headline.values for name in ("true", "inverted"))
        chance = sign * found["random"].headline.values
        assert (true > chance).all()
        assert (chance > inverted).all()


def test_uniform_and_random_baselines_are_chance(noise):
    for ask in (insertion, deletion):
        found = ask(noise, "decomposition", PAIRS, steps=33, baselines=("uniform", "random"), progress=False)
        for name in ("uniform", "random"):
            low, high = found.baselines[name]["auc"].interval()
            assert low < CHANCE[ask] < high


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_no_order_of_pixels_beats_the_true_one(noise, seed):
    own = with_map(
        noise, PAIRS[:2], lambda true, q: true + np.random.default_rng(seed).normal(0, 0.002, true.shape)
    )
    for ask, sign in ((insertion, 1), (deletion, -1)):
        true = areas(ask, noise, "decomposition", PAIRS[:2], steps=17)["raw"]
        other = areas(ask, noise, own, PAIRS[:2], steps=17)["raw"]
        assert (sign * (true - other) >= -1e-6).all()


def test_what_is_put_in_and_what_is_taken_away_add_up_where_the_network_is_linear(noise):
    curves = insertion_deletion_curves(noise, pairs=PAIRS[:5], steps=21, progress=False)
    together = curves.insertion + curves.deletion
    np.testing.assert_allclose(together, np.broadcast_to(curves.full[:, None], together.shape), atol=1e-5)
    np.testing.assert_allclose(curves.insertion[:, -1], curves.full, atol=1e-5)


# --- invariances --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(factor=st.floats(1e-6, 1e6))
def test_the_maps_scale_does_not_matter(noise, factor):
    scaled = with_map(noise, PAIRS[:3], lambda own, q: own.astype(np.float64) * factor)
    for ask in (insertion, deletion):
        np.testing.assert_allclose(
            areas(ask, noise, scaled, PAIRS[:3], steps=9)["auc"],
            areas(ask, noise, "decomposition", PAIRS[:3], steps=9)["auc"],
            atol=1e-6,
        )


def test_the_order_of_pairs_does_not_matter(noise):
    options = {"steps": 9, "fill": "road"}
    there = areas(insertion, noise, "uniform", PAIRS[:5], **options)["auc"]
    back = areas(insertion, noise, "uniform", PAIRS[:5][::-1], **options)["auc"]
    np.testing.assert_allclose(there, back[::-1], atol=1e-6)
    other = areas(insertion, noise, "uniform", PAIRS[:5], seed=1, **options)["auc"]
    assert not np.allclose(there, other)


def test_every_pair_draws_an_order_of_its_own(noise):
    twins = gallery_of([noise.image(0), noise.image(1), noise.image(1)])
    one, two = areas(insertion, twins, "uniform", [(0, 1), (0, 2)], steps=9)["auc"]
    assert abs(one - two) > 1e-4


def test_the_gallery_side_is_the_query_side_of_the_pair_turned_round(noise):
    turned = [(g, q) for q, g in PAIRS[:4]]
    for ask in (insertion, deletion):
        one = areas(ask, noise, "decomposition", PAIRS[:4], steps=9, side="gallery")["auc"]
        np.testing.assert_allclose(one, areas(ask, noise, "decomposition", turned, steps=9)["auc"], atol=1e-6)
        assert not np.allclose(one, areas(ask, noise, "decomposition", PAIRS[:4], steps=9)["auc"])


def test_two_networks_with_views_of_their_own():
    random = np.random.default_rng(1)
    large, small = (random.integers(0, 255, (3, side, side, 3), dtype=np.uint8) for side in (8, 6))
    gallery = dv.Gallery.build(
        ImageSet.from_arrays(list(small)),
        darkness(6),
        similarity="dot",
        queries=ImageSet.from_arrays(list(large)),
        query_embedder=darkness(8),
        progress=False,
    )
    for side, pixels in (("query", 64), ("gallery", 36)):
        curves = insertion_deletion_curves(gallery, pairs=[(0, 2)], steps=5, side=side, progress=False)
        own = np.sort(Explained(gallery, "decomposition").of(0, 2).overall_map(side).ravel())[::-1]
        expected = [own[: max(round(t * pixels), 1)].sum() for t in curves.thresholds]
        np.testing.assert_allclose(curves.insertion[0], expected, rtol=1e-5)
        np.testing.assert_allclose(curves.full, gallery.score(0, [2]))


# --- the order of pixels ------------------------------------------------------------------------------------------


def test_the_first_pixel_lies_where_the_geometry_puts_the_highest_cell():
    values = np.arange(16.0).reshape(4, 4)[::-1, ::-1].copy()
    values[1, 2] = 99
    for geometry, at in (
        (CellGeometry(stride=(8, 8), first=(0, 0), receptive_field=(9, 9)), (8, 16)),
        (CellGeometry(stride=(8, 8), first=(3, 5), receptive_field=(9, 9)), (11, 21)),
    ):
        turns = ranks(values, (32, 32), geometry, "pixels", np.random.default_rng(0))
        assert np.unravel_index(int(turns.argmin()), turns.shape) == at
        assert sorted(turns.ravel().tolist()) == list(range(32 * 32))
        cells = ranks(values, (32, 32), geometry, "cells", np.random.default_rng(0))
        assert cells[at] == 0
        assert cells.max() == 15
    rows, cols = nearest_cells((4, 4), (32, 32), geometry)
    assert rows[[0, 6, 7, 31]].tolist() == [0, 0, 1, 3]
    assert cols[[0, 8, 9, 31]].tolist() == [0, 0, 1, 3]


def test_the_first_pixel_is_the_one_that_the_best_cell_reads():
    """Cells that read one pixel each, (2i, 2j): half-pixel resizing would keep another one."""
    trunk = nn.Conv2d(3, 3, 1, stride=2)
    with torch.no_grad():
        trunk.weight.copy_(-torch.eye(3)[:, :, None, None])
        trunk.bias.fill_(1.0)
    geometry = CellGeometry(stride=(2, 2), first=(0, 0), receptive_field=(1, 1))
    embedder = Embedder(trunk, LinearHead("avg"), Preprocess.stretch(8, mean=0.0, std=1.0), geometry=geometry)
    pictures = np.random.default_rng(5).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    images = ImageSet.from_arrays(list(pictures))
    gallery = dv.Gallery.build(images, embedder, similarity="dot", progress=False)
    curves = insertion_deletion_curves(gallery, pairs=[(0, 1), (1, 0)], steps=3, progress=False)
    best = [
        Explained(gallery, "decomposition").of(q, g).overall_map("query").max() for q, g in ((0, 1), (1, 0))
    ]
    np.testing.assert_allclose(curves.insertion[:, 0], best, rtol=1e-5)


@pytest.mark.parametrize("unit", ["pixels", "cells"])
def test_a_map_that_says_nothing_comes_in_the_order_of_a_random_map(unit):
    geometry = CellGeometry(
        stride=(7, 9.1), first=(3, 3.7), receptive_field=(9, 9)
    )  # whose weights are rounded

    def turns(values, seed):
        return ranks(values, (96, 96), geometry, unit, np.random.default_rng(seed))

    flat = turns(np.full((12, 12), 0.1), 5)
    np.testing.assert_array_equal(flat, turns(np.full((12, 12), 1.0), 5))
    drawn = np.random.default_rng(5).random((12, 12))
    np.testing.assert_array_equal(flat, turns(drawn, 6))
    assert (flat != turns(np.full((12, 12), 1.0), 6)).any()


def test_equal_cells_come_last_in_random_order_where_others_are_higher():
    values = np.zeros((6, 6))
    values[2, 3] = 1
    first = {
        tuple(np.argwhere(ranks(values, (6, 6), None, "cells", np.random.default_rng(s)) == 1)[0])
        for s in range(30)
    }
    assert len(first) > 10
    assert (2, 3) not in first


# --- missing pixels from their neighbours -------------------------------------------------------------------------


def test_noisy_linear_imputation_equals_the_dense_system():
    random = np.random.default_rng(0)
    view = random.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    keep = random.random((4, 6, 7)) < np.array([0.9, 0.5, 0.2, 0.05])[:, None, None]
    found = noisy_linear(view, keep, random, noise=0.0)
    for b in range(4):
        missing = [tuple(at) for at in np.argwhere(~keep[b])]
        system, right = np.zeros((len(missing),) * 2), np.zeros((len(missing), 3))
        for n, (r, c) in enumerate(missing):
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    at = (r + down, c + across)
                    if (down, across) == (0, 0) or not (0 <= at[0] < 6 and 0 <= at[1] < 7):
                        continue
                    weight = 1 / 12 if down and across else 1 / 6
                    system[n, n] += weight
                    if keep[b][at]:
                        right[n] += weight * view[at]
                    else:
                        system[n, missing.index(at)] -= weight
        solved = np.linalg.solve(system, right)
        made = np.array([found[b][at] for at in missing], np.float64)
        assert np.abs(made - solved).max() < 0.5 + 0.3  # rounded to whole grey levels
        np.testing.assert_array_equal(found[b][keep[b]], view[keep[b]])


def test_noise_is_as_loud_as_said_and_nothing_kept_is_the_mean_colour():
    view = np.full((40, 40, 3), 100, np.uint8)
    view[:20] = 140
    keep = np.zeros((2, 40, 40), bool)
    keep[1] = True
    made = noisy_linear(view, keep, np.random.default_rng(0), noise=5.0)
    assert made[0].mean() == pytest.approx(120, abs=0.5)
    assert made[0].std() == pytest.approx(5.0, abs=0.2)
    np.testing.assert_array_equal(made[1], view)


# --- where nothing can be said ------------------------------------------------------------------------------------


def test_a_flat_curve_is_left_out_and_counted():
    pictures = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 3), dtype=np.uint8)
    pictures[0] = 255  # white on white
    found = insertion(gallery_of(pictures), pairs=[(0, 1), (1, 2)], baselines=(), steps=5, progress=False)
    assert (found.headline.trials, found.headline.left_out) == (1, 1)
    assert np.isnan(found.headline.values[0])
    assert found.figures["raw"].values[0] == 0.0
    assert np.isnan(found.figures["relative"].values[0])


def test_an_undefined_map_is_left_out(noise):
    def broken(own, q):
        return np.full_like(own, np.nan) if q == 0 else own

    found = deletion(
        noise, with_map(noise, PAIRS[:2], broken), PAIRS[:2], baselines=(), steps=5, progress=False
    )
    assert [one.left_out for one in found.figures.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fill": "black"}, r"fill must be 'white', .*'road' or a colour .*; got 'black'"),
        ({"fill": (1, 2)}, r"fill must be 'white', .*got \(1, 2\)"),
        ({"side": "match"}, "side must be one of 'query', 'gallery'; got 'match'"),
        ({"unit": "patches"}, "unit must be one of 'pixels', 'cells'; got 'patches'"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_unknown_options_are_refused(noise, options, words):
    for ask in (insertion, deletion, insertion_deletion_curves):
        with pytest.raises(ValueError, match=words):
            ask(noise, pairs=[(0, 1)], progress=False, **options)


def test_counts_are_whole_numbers(noise):
    with pytest.raises(TypeError, match=r"steps must be a whole number, got 5\.5"):
        insertion(noise, pairs=[(0, 1)], steps=5.5, progress=False)


def test_a_method_without_a_map_of_that_side_is_refused(noise):
    one_sided = Explained(noise, "occlusion", sides=["query"], window=2, progress=False)
    with pytest.raises(ValueError, match="the method 'occlusion' has no map of the gallery side"):
        insertion(noise, one_sided, [(0, 1)], side="gallery", baselines=(), progress=False)


# --- on birds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["insertion", "deletion"])
def test_on_birds_the_decomposition_is_far_from_chance_and_near_the_feature_norm(flock, name):
    described, ask = evaluator_named(name)
    assert name in EVALUATORS
    beside = ("feature norm", "centre", "uniform", "random")
    found = ask(flock, pairs=4, steps=11, baselines=beside, progress=False)
    sign = 1 if described.better == "higher" else -1
    ours = sign * found.headline.value
    for baseline in ("centre", "uniform", "random"):
        assert ours > sign * found.baselines[baseline]["auc"].value + 0.05
        assert sign * found.figures["raw"].value > sign * found.baselines[baseline]["raw"].value
    assert abs(found.headline.value - found.baselines["feature norm"]["auc"].value) < 0.1
    assert found.options == {"steps": 11, "fill": "white", "side": "query", "unit": "pixels"}
    assert "alone it does not separate methods" in repr(found)


@pytest.mark.parametrize("fill", ["mean", "blur", "road"])
def test_other_fills_agree_on_the_birds(flock, fill):
    found = deletion(flock, pairs=2, steps=11, fill=fill, baselines=("random",), progress=False)
    assert found.headline.value < found.baselines["random"]["auc"].value
