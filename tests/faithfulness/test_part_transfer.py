"""Part transfer: planted maps, a slow twin, cases worked by hand, and what must not matter."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from quadrants import (
    BLUE,
    GREEN,
    RED,
    Quadrants,
    corner_colours,
    gallery_of,
    grown_by_loops,
    mean_colours,
    peak_by_loops,
    planted_pairs,
)

import dmlviz as dv
from dmlviz.embedder import birds_embedder, faces_embedder, persons_embedder, places_embedders
from dmlviz.explanation import METHODS, method_named
from dmlviz.faithfulness import BASELINES, Explained, KnownParts, choose_pairs, part_transfer
from dmlviz.faithfulness.evaluators import evaluator_named
from dmlviz.faithfulness.map_pixels import cell_pixels, dilated
from dmlviz.faithfulness.part_transfer import EVALUATOR, same_place
from dmlviz.images import faces, persons, places


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder("avg"), progress=False)


def ask(gallery, method="decomposition", pairs=12, **options):
    return part_transfer(gallery, method, pairs, progress=False, **({"baselines": ()} | options))


# --- planted maps -----------------------------------------------------------------------------------


def test_a_map_of_the_same_part_scores_1_and_its_inverse_0(gallery, monkeypatch):
    """Every cell of the query is paired with those cells of the match that lie on the same part."""
    flock = gallery.images

    def same_part(sign):
        def pairs_of(asked, query, item):
            pixels = cell_pixels((12, 12), (96, 96), asked.embedder.geometry)
            at = pixels[..., 0], pixels[..., 1]
            found = np.zeros((12, 12, 12, 12))
            for part in flock.parts:
                here = np.zeros((12, 12), bool)
                here[tuple(cell_holding_most(flock.mask(query, part), asked.embedder.geometry))] = True
                there = dilated(flock.mask(item, part))[at]
                found[here] = sign * there
            return found

        return planted_pairs(pairs_of)

    pairs = choose_pairs(gallery, 30)
    monkeypatch.setitem(BASELINES, "planted", same_part(1.0))
    perfect = ask(gallery, "planted", pairs, baselines=["uniform"])
    reach = perfect.baselines["uniform"]["contribution"].values > 0  # some cell's centre lies on the part
    cells = [
        tuple(cell_holding_most(flock.mask(q, p), gallery.embedder.geometry))
        for q, _ in pairs
        for p in flock.parts
    ]
    alone = np.array(
        [cells[5 * (k // 5) : 5 * (k // 5) + 5].count(cell) == 1 for k, cell in enumerate(cells)]
    )
    assert (reach & alone).sum() > 100
    assert (perfect.headline.values[reach & alone] == 1.0).all()
    monkeypatch.setitem(BASELINES, "planted", same_part(-1.0))
    assert (ask(gallery, "planted", pairs).headline.values[reach & alone] == 0.0).all()


def test_random_pairs_of_cells_score_chance(gallery, monkeypatch):
    draws = np.random.default_rng(11)
    monkeypatch.setitem(BASELINES, "planted", planted_pairs(lambda *asked: draws.random((12, 12, 12, 12))))
    found = ask(gallery, "planted", choose_pairs(gallery, None), baselines=["uniform"])
    low, high = found.headline.interval()
    assert low <= found.baselines["uniform"]["contribution"].value <= high
    assert found.headline.trials == 240
    assert high < 0.12


# --- worked by hand -----------------------------------------------------------------------------------

QUERY = ((0, RED), (1, GREEN), (2, BLUE))
MATCH = ((2, RED), (1, GREEN), (3, BLUE))


def test_a_case_of_two_by_two_cells():
    """Each colour finds its own. The body alone stays in its place; the cells of the match weigh the same."""
    gallery = gallery_of([QUERY, MATCH], ["a", "a"])
    found = part_transfer(
        gallery,
        pairs=[(0, 1)],
        grown=0,
        baselines=["same position", "overall map", "centre", "uniform"],
        progress=False,
    )
    assert found.figures["contribution"].values.tolist() == [1.0, 1.0, 1.0]
    assert found.figures["likeness"].values.tolist() == [1.0, 1.0, 1.0]
    values = {name: rates["contribution"].values.tolist() for name, rates in found.baselines.items()}
    assert values == {
        "overall map": pytest.approx([1 / 3] * 3),
        "same position": [0.0, 1.0, 0.0],
        "centre": [0.25] * 3,
        "uniform": [0.25] * 3,
    }
    assert {name: rates["likeness"].value for name, rates in found.baselines.items()} == {
        name: pytest.approx(np.mean(of)) for name, of in values.items()
    }
    assert list(found.figures) == [
        "contribution",
        "likeness",
        "contribution: head",
        "contribution: body",
        "contribution: tail",
    ]


def test_contribution_and_likeness_are_told_apart():
    """The match's tail is a brighter red than its head: it contributes more, and looks the same."""
    query = ((0, (100, 0, 0)), (1, GREEN), (2, BLUE))
    match = ((1, (100, 0, 0)), (2, GREEN), (3, RED))
    found = ask(gallery_of([query, match], ["a", "a"]), pairs=[(0, 1)], grown=0)
    assert found.figures["contribution: head"].values.tolist() == [0.0]
    assert found.figures["likeness"].values.tolist()[0] == 0.5


def test_pointing_at_the_match_lights_the_query():
    """The query's red head is twice there, the match's once: from the match it is half found."""
    query, match = ((0, RED), (1, GREEN), (2, RED)), ((2, RED), (1, GREEN), (3, BLUE))
    gallery = gallery_of([query, match], ["a", "a"])
    from_query = ask(gallery, pairs=[(0, 1)], grown=0)
    from_match = ask(gallery, pairs=[(0, 1)], grown=0, sides=["gallery"])
    assert from_query.figures["contribution"].values.tolist() == [1.0, 1.0, 0.0]
    assert from_match.figures["contribution"].values.tolist() == [0.5, 1.0, pytest.approx(0.25)]
    both = ask(gallery, pairs=[(0, 1)], grown=0, sides=["query", "gallery"])
    assert both.figures["contribution"].values.tolist() == [1.0, 1.0, 0.0, 0.5, 1.0, pytest.approx(0.25)]
    assert both.figures["contribution: head"].values.tolist() == [1.0, 0.5]


def test_each_side_has_cells_where_its_own_network_looks():
    """The match's cells lie at (0, 0), (0, 8), (8, 0) and (8, 8), the query's in the middle of the quadrants."""
    match = ((0, RED), (3, GREEN), (2, BLUE))
    gallery = gallery_of(
        [match],
        ["a"],
        embedder=corner_colours(),
        queries=Quadrants([QUERY, QUERY], ["a", "a"]),
        query_embedder=mean_colours(),
    )
    found = ask(gallery, pairs=[(0, 0)], baselines=["uniform", "same position"])
    assert found.baselines["uniform"]["contribution"].values.tolist() == [1.0, 0.25, 0.5]
    assert found.headline.values.tolist() == [1.0, 1.0, 1.0]
    assert found.baselines["same position"]["contribution"].values.tolist() == [1.0, 0.0, 1.0]
    back = ask(gallery, pairs=[(0, 0)], baselines=["uniform"], sides=["gallery"])
    assert back.baselines["uniform"]["contribution"].values.tolist() == [0.25, 0.25, 0.25]
    assert back.headline.values.tolist() == [1.0, 1.0, 1.0]


def test_hidden_parts_and_pairs_of_two_labels_are_left_out_and_counted():
    hidden = ((None, RED), (1, GREEN), (3, BLUE))
    gallery = gallery_of([QUERY, hidden, MATCH], ["a", "a", "b"])
    found = ask(gallery, pairs=[(0, 1), (1, 0), (0, 2)])
    finite = np.isfinite(found.headline.values)
    assert finite.tolist() == [False, True, True] * 2 + [False] * 3
    assert (found.headline.trials, found.headline.left_out) == (4, 5)
    assert found.headline.clusters.tolist() == [0] * 9
    assert found.figures["contribution: head"].trials == 0
    assert np.isnan(found.figures["contribution: head"].value)
    assert found.figures["contribution: tail"].left_out == 1


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.data(),
)
def test_the_same_place_lies_inside_and_is_the_nearest(size, other, data):
    pixel = tuple(data.draw(st.integers(0, n - 1)) for n in size)
    place = same_place(pixel, size, other)
    assert same_place(pixel, size, size) == pixel
    for at, n, to, m in zip(pixel, size, place, other, strict=True):
        assert 0 <= to < m
        assert abs((to + 0.5) / m - (at + 0.5) / n) <= 0.5 / m + 1e-9


# --- the slow twin ----------------------------------------------------------------------------------


def cell_holding_most(mask, geometry):
    """The cell to which most pixels of a part are nearest, one pixel at a time; the first of equals."""
    held = np.zeros((12, 12), int)
    centres = [[geometry.first[a] + geometry.stride[a] * n for n in range(12)] for a in range(2)]
    for r, c in zip(*np.nonzero(mask), strict=True):
        i, j = (min(range(12), key=lambda n: abs(round(centres[a][n]) - at)) for a, at in ((0, r), (1, c)))
        held[i, j] += 1
    return np.unravel_index(int(held.argmax()), held.shape)


def slow_trial(gallery, query, match, part):
    """Contribution and likeness from the formula, in float64 and by loops."""
    flock, geometry = gallery.images, gallery.embedder.geometry
    ours, theirs = (gallery.local_embeddings(i) for i in (query, match))
    point = ours.vectors[tuple(cell_holding_most(flock.mask(query, part), geometry))].astype(float)
    there = grown_by_loops(flock.mask(match, part), 2)
    contribution, likeness = np.zeros((12, 12)), np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            cell = theirs.vectors[i, j].astype(float)
            contribution[i, j] = sum(a * b for a, b in zip(point, cell, strict=True))
            likeness[i, j] = contribution[i, j] / (np.linalg.norm(point) * np.linalg.norm(cell))
    return peak_by_loops(contribution, there, geometry), peak_by_loops(likeness, there, geometry)


def test_it_agrees_with_a_slow_twin(gallery):
    chosen = choose_pairs(gallery, 4, seed=3)
    found = ask(gallery, pairs=chosen)
    slow = np.array([slow_trial(gallery, q, g, part) for q, g in chosen for part in gallery.images.parts])
    assert found.figures["contribution"].values.tolist() == slow[:, 0].tolist()
    assert found.figures["likeness"].values.tolist() == slow[:, 1].tolist()
    beak = slow[np.arange(len(slow)) % 5 == gallery.images.parts.index("beak"), 0]
    assert found.figures["contribution: beak"].values.tolist() == beak.tolist()


# --- what must not matter -----------------------------------------------------------------------------


def test_the_order_of_the_pairs_does_not_matter(gallery):
    pairs = list(choose_pairs(gallery, 8))
    whole, turned = ask(gallery, pairs=pairs), ask(gallery, pairs=pairs[::-1])
    for name in ("contribution", "likeness"):
        values = whole.figures[name].values.reshape(8, 5)
        assert turned.figures[name].values.reshape(8, 5)[::-1].tolist() == values.tolist()
    assert (
        turned.headline.clusters.reshape(8, 5)[::-1].tolist()
        == whole.headline.clusters.reshape(8, 5).tolist()
    )


@pytest.mark.parametrize("factor", [1e-3, 1e4])
def test_the_scale_of_the_maps_does_not_matter(gallery, factor, monkeypatch):
    scaled = planted_pairs(lambda asked, q, g: factor * dv.explain(asked, q, g).contributions.astype(float))
    monkeypatch.setitem(BASELINES, "planted", scaled)
    found = ask(gallery, "planted")
    assert found.headline.values.tolist() == ask(gallery).headline.values.tolist()


# --- baselines and methods ----------------------------------------------------------------------------


def test_every_baseline_stands_beside_it_and_none_comes_near(gallery):
    found = part_transfer(gallery, pairs=16, progress=False)
    assert list(found.baselines) == ["overall map", "same position", "random weights", "centre", "uniform"]
    for rates in found.baselines.values():
        assert rates["contribution"].trials == rates["likeness"].trials == 80
        assert rates["contribution"].value < found.headline.interval()[0]
    assert found.baselines["same position"]["likeness"].name == "likeness"
    untrained = found.baselines["random weights"]
    assert untrained["contribution"].values.tolist() != untrained["likeness"].values.tolist()


def test_only_the_baselines_that_are_asked_for(gallery):
    assert ask(gallery, pairs=2).baselines == {}
    assert list(ask(gallery, pairs=2, baselines=["uniform", "same position"]).baselines) == [
        "same position",
        "uniform",
    ]


@pytest.mark.parametrize("method", [name for name in METHODS if method_named(name).pairwise])
def test_every_method_of_pairs_can_be_asked(gallery, method):
    options = {"integrated-jacobian": {"nodes": 1}, "mahalanobis": {"matrix": np.eye(gallery.embedder.dim)}}
    explained = Explained(gallery, method, **options.get(method, {}))
    if explained.unsuited:
        with pytest.raises(ValueError, match="does not suit this gallery"):
            ask(gallery, explained, 1)
        return
    found = ask(gallery, explained, 1, baselines=["overall map", "same position"])
    assert found.headline.trials == 5
    why = explained.of(*next(iter(found.pairs)))
    assert found.figures["likeness"].trials == (0 if why.query_local is None else 5)


# --- the other drawn galleries ------------------------------------------------------------------------


def test_faces_and_persons():
    portraits = dv.Gallery.build(faces(6, 2), faces_embedder(), progress=False)
    found = ask(portraits, pairs=6, baselines=["uniform"])
    assert [name for name in found.figures if ": " in name] == [
        f"contribution: {part}" for part in portraits.images.parts
    ]
    assert found.headline.value > 3 * found.baselines["uniform"]["contribution"].value
    queries, images = persons(6, 2).queries_and_gallery("gate")
    seen = dv.Gallery.build(images, persons_embedder(), queries=queries, progress=False)
    found = ask(seen, pairs=8, baselines=["uniform"])
    assert found.headline.value > 3 * found.baselines["uniform"]["contribution"].value


@pytest.fixture(scope="module")
def town():
    city = places(10)
    ground, aerial = places_embedders()
    return city, dv.Gallery.build(
        city.aerial, aerial, queries=city.ground, query_embedder=ground, progress=False
    )


def test_an_object_is_found_from_the_ground_in_the_air_and_back(town):
    city, gallery = town
    for side in ("query", "gallery"):
        found = ask(gallery, pairs=10, sides=[side], baselines=["uniform", "same position"])
        assert found.headline.value > 3 * found.baselines["uniform"]["contribution"].value
        assert found.headline.value > 3 * found.baselines["same position"]["contribution"].value
        shown = [
            city.mask("ground", q, n).any() and city.mask("aerial", q, n).any()
            for q, _ in found.pairs
            for n in range(1, len(city.objects(q)) + 1)
        ]
        assert found.headline.trials == sum(shown)
        assert found.headline.left_out == 10 * len(gallery.images.parts) - sum(shown)


def test_each_view_has_its_own_masks_cells_and_geometry(town, monkeypatch):
    """Planted: every ground cell lights the aerial cell nearest to the middle of what is seen of object 5 there."""
    city, gallery = town

    def pairs_of(asked, query, item):
        found = np.zeros((8, 24, 12, 12))
        mask = city.mask("aerial", item, 5)
        if mask.any():
            row, col = (int(axis.mean().round()) for axis in np.nonzero(mask))
            found[:, :, row // 8, col // 8] = 1.0
        return found

    monkeypatch.setitem(BASELINES, "planted", planted_pairs(pairs_of))
    found = ask(gallery, "planted", [(i, i) for i in range(10)], grown=8).figures["contribution: object 5"]
    assert found.trials >= 5
    assert found.value == 1.0


# --- words --------------------------------------------------------------------------------------------


def test_it_is_in_the_list():
    assert evaluator_named("part-transfer") == (EVALUATOR, part_transfer)
    assert EVALUATOR.headline


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("decomposition", {"sides": ["left"]}, r"sides must be some of 'query', 'gallery'; got \['left'\]"),
        ("decomposition", {"sides": []}, "sides must be some of"),
        ("decomposition", {"grown": -1}, "grown must be at least 0, got -1"),
        ("grad-cam", {}, "'part-transfer' cannot be asked of 'grad-cam' here: .* and so no map of a point"),
        ("no-such", {}, "method must be one of"),
    ],
)
def test_wrong_questions_are_worded(gallery, method, options, words):
    with pytest.raises(ValueError, match=words):
        ask(gallery, method, 2, **options)


def test_parts_must_be_known_on_both_sides(gallery):
    pictures = dv.ImageSet.from_arrays(list(gallery.images)[:4], labels=list("aabb"))
    parts = KnownParts([np.ones((96, 96), int)] * 4, {1: "all"})
    apart = dv.Gallery.build(pictures, birds_embedder("avg"), queries=pictures.subset([0, 2]), progress=False)
    half = KnownParts([np.ones((96, 96), int)] * 2, {1: "all"})
    with pytest.raises(ValueError, match="no parts of the pictures are known"):
        ask(apart, pairs=2, truth=(half, None))
    found = ask(apart, pairs=2, truth=(half, parts))
    assert found.figures["contribution: all"].values.tolist() == [1.0, 1.0]
