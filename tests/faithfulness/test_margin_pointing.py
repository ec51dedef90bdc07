"""Margin pointing: planted maps, a slow twin, cases worked by hand, and what must not matter."""

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
    corner_colours,
    enlarged_by_loops,
    gallery_of,
    grown_by_loops,
    peak_by_loops,
    planted,
)

import dmlviz as dv
from dmlviz.embedder import (
    birds_embedder,
    faces_embedder,
    persons_embedder,
    places_embedders,
)
from dmlviz.explanation import METHODS, method_named
from dmlviz.faithfulness import (
    BASELINES,
    Explained,
    KnownParts,
    choose_pairs,
    margin_pointing,
    margin_pointing_swapped,
    truth_of,
)
from dmlviz.faithfulness.evaluators import evaluator_named
from dmlviz.faithfulness.margin_pointing import EVALUATOR, SWAPPED, part_with_most
from dmlviz.faithfulness.opponents import siblings
from dmlviz.faithfulness.pairs import as_pairs
from dmlviz.images import faces, persons, places

AGAINST = ("sibling", "swapped")


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(dv.birds(families=2, per_class=4), birds_embedder("avg"), progress=False)


@pytest.fixture(scope="module")
def everyone(gallery):
    return choose_pairs(gallery, None)


def ask(gallery, method="decomposition", pairs=20, **options):
    return margin_pointing(gallery, method, pairs, progress=False, **({"baselines": ()} | options))


def part_of(gallery, original, query, item):
    """The part of the query in which an opponent differs, "" for the right one itself."""
    if gallery is original:
        return (*gallery.images.differs(query, item), "")[0]
    flock = original.images
    return str(np.random.default_rng(0).choice(flock.parts, size=len(flock))[query])


# --- planted maps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("against", AGAINST)
def test_a_map_of_the_part_that_differs_scores_1_and_its_inverse_worse_than_chance(
    gallery, everyone, against, monkeypatch
):
    def missing(sign):
        def maps(asked, query, item):
            part = part_of(asked, gallery, query, item)
            of_query = np.zeros((96, 96))  # as many cells as pixels
            if part:
                of_query -= sign * gallery.images.mask(query, part)
            return of_query, None

        return planted(maps)

    monkeypatch.setitem(BASELINES, "planted", missing(1.0))
    perfect = ask(gallery, "planted", everyone, against=against, grown=0, baselines=["uniform"])
    assert perfect.headline.trials == 48
    assert perfect.figures["peak"].value == perfect.figures["part"].value == 1.0
    monkeypatch.setitem(BASELINES, "planted", missing(-1.0))
    inverted = ask(gallery, "planted", everyone, against=against, grown=0)
    assert inverted.figures["peak"].value == 0.0 < perfect.baselines["uniform"]["peak"].value
    assert inverted.figures["part"].value == pytest.approx(1 / 5)  # nothing is positive: all parts are equal


@pytest.mark.parametrize(("against", "times"), [("sibling", 6), ("swapped", 3)])
def test_a_random_map_scores_chance(gallery, everyone, against, times, monkeypatch):
    draws = np.random.default_rng(7)

    def maps(asked, query, item):
        return draws.random((12, 12)), asked.query_embedder.geometry

    monkeypatch.setitem(BASELINES, "planted", planted(maps))
    peaks, chances = [], []
    for _ in range(times):
        found = ask(gallery, "planted", everyone, against=against, baselines=["uniform"])
        peaks.append(found.headline.values)
        chances.append(found.baselines["uniform"]["peak"].values)
    hits, chance = np.concatenate(peaks), np.concatenate(chances)
    assert abs(hits.mean() - chance.mean()) < 4 * np.sqrt(chance.mean() / len(hits))
    assert hits.mean() < 0.12


# --- worked by hand -----------------------------------------------------------------------------------

QUERY = ((0, RED), (1, GREEN), (2, BLUE))
MOVED = ((1, RED), (2, GREEN), (3, BLUE))


def test_a_case_of_two_by_two_cells():
    """e_g − e_n is red less blue: the query's red head gains, its blue tail loses, its green body does neither."""
    gallery = gallery_of([QUERY, MOVED, ((1, BLUE), (2, GREEN), (3, BLUE))], ["a", "a", "b"])
    found = ask(gallery, pairs=[(0, 1)])
    assert found.figures["peak"].values.tolist() == [1.0]
    assert found.figures["part"].values.tolist() == [1.0]


def test_where_two_parts_gain_alike_each_has_half():
    """Head and tail are red, and the sibling's head is not: both cells gain the same."""
    twice = ((0, RED), (1, GREEN), (3, RED))
    gallery = gallery_of(
        [twice, ((1, RED), (2, GREEN), (0, RED)), ((1, BLUE), (2, GREEN), (0, RED))], ["a", "a", "b"]
    )
    found = ask(gallery, pairs=[(0, 1)], grown=0)
    assert found.figures["peak"].values.tolist() == [0.5]
    assert found.figures["part"].values.tolist() == [0.5]


def test_the_baselines_of_a_case_of_two_by_two_cells():
    """Four equal cells: one in four; the overall map of (q, g) is the same on its three coloured cells."""
    gallery = gallery_of([QUERY, MOVED, ((1, BLUE), (2, GREEN), (3, BLUE))], ["a", "a", "b"])
    found = margin_pointing(
        gallery, pairs=[(0, 1)], grown=0, baselines=["overall map", "centre", "uniform"], progress=False
    )
    assert list(found.baselines) == ["overall map", "centre", "uniform"]
    assert {name: rates["peak"].value for name, rates in found.baselines.items()} == {
        "overall map": pytest.approx(1 / 3),
        "centre": 0.25,
        "uniform": 0.25,
    }


def test_cells_lie_where_the_network_looks():
    """Cells at (0, 0), (0, 8), (8, 0) and (8, 8): grown by 2, the first quadrant reaches to row and column 9."""
    gallery = gallery_of(
        [QUERY, MOVED, ((1, BLUE), (2, GREEN), (3, BLUE))], ["a", "a", "b"], embedder=corner_colours()
    )
    assert ask(gallery, "uniform", [(0, 1)], grown=2).headline.value == 1.0
    assert ask(gallery, "uniform", [(0, 1)], grown=0).headline.value == 0.25
    assert ask(gallery, pairs=[(0, 1)]).headline.value == 1.0
    found = ask(gallery, "uniform", [(0, 1)], grown=0).figures[
        "part"
    ]  # beyond the last centre the edge is repeated
    assert found.value == pytest.approx(1 / 3)


def test_siblings_are_of_one_family():
    nearer, sibling = ((1, RED), (2, (0, 255, 255)), (3, BLUE)), ((1, BLUE), (2, GREEN), (3, BLUE))
    gallery = gallery_of([QUERY, MOVED, nearer, sibling], ["a", "a", "b", "c"], families=[4, 4, 5, 4])
    assert list(siblings(gallery, as_pairs(gallery, [(0, 1)]), truth_of(gallery).gallery)) == [(3, "head")]


def test_a_swapped_part_is_pointed_at():
    gallery = gallery_of([QUERY, MOVED], ["a", "a"])
    for seed in range(6):  # each part comes up
        found = margin_pointing_swapped(gallery, pairs=[(0, 1)], seed=seed, baselines=(), progress=False)
        assert found.headline.values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("values", "part", "share"),
    [
        ([[1.0, 0.0], [2.0, -9.0]], "bottom", 1.0),
        ([[1.0, 0.0], [2.0, -9.0]], "top", 0.0),
        ([[3.0, 0.0], [2.0, 1.0]], "top", 0.5),
        ([[-3.0, 0.0], [-2.0, -1.0]], "top", 0.5),
        ([[-3.0, 0.0], [-2.0, 0.5]], "bottom", 1.0),
    ],
)
def test_the_part_with_most_positive_mass(values, part, share):
    masks = {"top": np.array([[1, 1], [0, 0]], bool), "bottom": np.array([[0, 0], [1, 1]], bool)}
    assert part_with_most(np.asarray(values), masks, part) == share


def test_a_map_that_is_not_finite_says_nothing():
    masks = {"all": np.ones((1, 2), bool)}
    assert np.isnan(part_with_most(np.array([[1.0, np.nan]]), masks, "all"))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-5, 5), min_size=9, max_size=9), st.integers(0, 8))
def test_shares_of_the_parts_add_up_to_1(values, exponent):
    values = np.asarray(values, float).reshape(3, 3)
    masks = {str(row): np.arange(3)[:, None] * np.ones((1, 3)) == row for row in range(3)}
    shares = [part_with_most(values, masks, part) for part in masks]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == [part_with_most(values * 2.0**exponent, masks, part) for part in masks]


# --- left out ---------------------------------------------------------------------------------------


def test_hidden_parts_pairs_of_two_labels_and_loners_are_left_out_and_counted():
    hidden = ((None, RED), (1, GREEN), (2, BLUE))
    sibling = ((1, BLUE), (2, GREEN), (3, BLUE))
    loner = ((1, BLUE), (2, BLUE), (3, GREEN))
    gallery = gallery_of([QUERY, MOVED, sibling, hidden, loner, loner], ["a", "a", "b", "a", "c", "c"])
    found = ask(gallery, pairs=[(0, 1), (3, 1), (0, 2), (4, 5)])
    assert np.isfinite(found.headline.values).tolist() == [True, False, False, False]
    assert (found.headline.trials, found.headline.left_out) == (1, 3)
    swapped = ask(gallery, pairs=[(0, 1), (0, 2), (4, 5)], against="swapped")
    assert np.isfinite(swapped.headline.values).tolist() == [True, False, True]


def test_a_part_that_is_hidden_cannot_be_swapped():
    gallery = gallery_of([QUERY, ((None, RED), (None, GREEN), (None, BLUE))], ["a", "a"])
    with pytest.raises(
        ValueError, match="no pair has a gallery image of the query's label that shows the part"
    ):
        ask(gallery, pairs=[(0, 1)], against="swapped")


def test_the_sibling_is_the_best_ranked_of_those_that_differ_in_one_part():
    """Of two siblings the brighter one ranks first; it differs in the body, the other in the head."""
    in_head, in_body = ((1, BLUE), (2, GREEN), (3, BLUE)), ((1, RED), (2, (0, 255, 255)), (3, BLUE))
    both = ((1, BLUE), (2, (0, 255, 255)), (3, BLUE))
    gallery = gallery_of([QUERY, MOVED, in_head, in_body, both], ["a", "a", "b", "c", "d"])
    assert gallery.search(0, k=4).ids.tolist().index(3) < gallery.search(0, k=4).ids.tolist().index(2)
    found = siblings(gallery, as_pairs(gallery, [(0, 1), (0, 2)]), truth_of(gallery).gallery)
    assert list(found) == [(3, "body"), (-1, "")]


# --- the slow twin ----------------------------------------------------------------------------------


def slow_trial(gallery, query, right, against):
    """Peak and part from the formula, in float64 and by loops."""
    flock = gallery.images
    if against == "sibling":
        for other in gallery.search(query, k=len(flock)).ids.tolist():
            if flock.family(other) == flock.family(right) and len(flock.differs(other, right)) == 1:
                part, e_n = flock.differs(other, right)[0], gallery.embeddings[other]
                break
    else:
        part = str(np.random.default_rng(0).choice(flock.parts, size=len(flock))[query])
        e_n = gallery.embedder.embed([flock.swap(right, part)])[0]
    e_g, e_n, e_q = (
        np.asarray(e, float) for e in (gallery.embeddings[right], e_n, gallery.embeddings[query])
    )
    local = gallery.query_local(query).vectors.astype(float)
    lead = np.zeros(local.shape[:2])
    for i in range(lead.shape[0]):
        for j in range(lead.shape[1]):
            for d in range(local.shape[2]):
                towards = e_g[d] / np.linalg.norm(e_g) - e_n[d] / np.linalg.norm(e_n)
                lead[i, j] += local[i, j, d] * towards / np.linalg.norm(e_q)
    geometry = gallery.embedder.geometry
    masks = {p: grown_by_loops(flock.mask(query, p), 2) for p in flock.parts if flock.mask(query, p).any()}
    drawn = enlarged_by_loops(lead, (96, 96), geometry)
    held = {p: sum(v for v in drawn[mask] if v > 0) for p, mask in masks.items()}
    return peak_by_loops(lead, masks[part], geometry), float(max(held, key=held.get) == part)


@pytest.mark.parametrize("against", AGAINST)
def test_it_agrees_with_a_slow_twin(gallery, against):
    chosen = choose_pairs(gallery, 8, seed=3)
    found = ask(gallery, pairs=chosen, against=against)
    slow = np.array([slow_trial(gallery, q, g, against) for q, g in chosen])
    assert found.figures["peak"].values.tolist() == slow[:, 0].tolist()
    assert found.figures["part"].values.tolist() == slow[:, 1].tolist()
    assert 0 < slow.mean() <= 1


# --- what must not matter -----------------------------------------------------------------------------


@pytest.mark.parametrize("against", AGAINST)
def test_neither_the_order_of_the_pairs_nor_the_other_pairs_matter(gallery, against):
    pairs = [(q, g) for q, g in choose_pairs(gallery, 16)]
    whole = ask(gallery, pairs=pairs, against=against)
    turned = ask(gallery, pairs=pairs[::-1], against=against)
    some = ask(gallery, pairs=pairs[5:9], against=against)
    for name in ("peak", "part"):
        values = whole.figures[name].values
        assert turned.figures[name].values[::-1].tolist() == values.tolist()
        assert some.figures[name].values.tolist() == values[5:9].tolist()


@pytest.mark.parametrize("factor", [1e-3, 4.0, 1e4])
def test_the_scale_of_the_maps_does_not_matter(gallery, factor, monkeypatch):
    def maps(asked, query, item):
        of_query = dv.explain(asked, query, item).overall_map("query").astype(float)
        return factor * of_query, asked.query_embedder.geometry

    monkeypatch.setitem(BASELINES, "planted", planted(maps))
    for against in AGAINST:
        scaled = ask(gallery, "planted", 12, against=against)
        plain = ask(gallery, "decomposition", 12, against=against)
        for name in ("peak", "part"):
            assert scaled.figures[name].values.tolist() == plain.figures[name].values.tolist()


# --- baselines and methods ----------------------------------------------------------------------------


def test_every_baseline_stands_beside_it_and_none_comes_near(gallery):
    found = margin_pointing(gallery, pairs=40, progress=False)
    assert list(found.baselines) == ["overall map", "random weights", "feature norm", "centre", "uniform"]
    for name, rates in found.baselines.items():
        assert list(rates) == ["peak", "part"], name
        assert rates["peak"].trials == found.headline.trials
        assert rates["peak"].value < 0.5 < found.headline.value
    assert found.baselines["overall map"]["peak"].name == "peak"
    assert list(found.figures) == list(EVALUATOR.figures) == ["peak", "part"]


def test_a_map_of_one_image_is_taken_as_it_is(gallery, everyone):
    """Its margin would be zero everywhere. The length of the features has a peak, and the peak is judged."""
    norm = ask(gallery, "feature norm", everyone).headline
    assert set(np.unique(norm.values)) <= {0.0, 1.0}
    uniform = ask(gallery, "uniform", everyone).headline
    area = np.mean(
        [
            grown_by_loops(gallery.images.mask(q, part), 2).mean()
            for q, part in ((q, part_of_sibling(gallery, q, g)) for q, g in list(everyone)[:10])
        ]
    )
    assert uniform.values[:10].mean() == pytest.approx(area, rel=0.25)


def part_of_sibling(gallery, query, right):
    flock = gallery.images
    for other in gallery.search(query, k=len(flock)).ids.tolist():
        if flock.family(other) == flock.family(right) and len(flock.differs(other, right)) == 1:
            return flock.differs(other, right)[0]
    raise AssertionError("every bird has a sibling")


QUICK = {
    "rise": {"masks": 20, "sides": ["query"], "progress": False},
    "occlusion": {"window": 32, "stride": 32, "sides": ["query"], "progress": False},
    "integrated-jacobian": {"nodes": 1},
}


@pytest.mark.parametrize("method", [name for name in METHODS if method_named(name).linear])
def test_every_method_whose_maps_may_be_subtracted_can_be_asked(gallery, method):
    explained = Explained(gallery, method, **QUICK.get(method, {}))
    if explained.unsuited:
        with pytest.raises(ValueError, match="does not suit this gallery"):
            ask(gallery, explained, 1)
        return
    for against in AGAINST:
        found = ask(gallery, explained, 1, against=against, baselines=["overall map"])
        assert found.method == method
        assert found.headline.trials == 1
        assert found.baselines["overall map"]["part"].trials == 1
    assert explained.computed == 3  # the right one, and the opponent of either evaluator


def test_the_costs_of_swapped_opponents_are_counted(gallery):
    explained = Explained(gallery)
    found = ask(gallery, explained, 3, against="swapped")
    assert explained.computed == 6
    assert found.explain_milliseconds > 0
    assert found.milliseconds >= 0


# --- the other drawn galleries ------------------------------------------------------------------------


def test_faces_against_both():
    gallery = dv.Gallery.build(faces(12, 2), faces_embedder(), progress=False)
    for against in AGAINST:
        found = ask(gallery, pairs=24, against=against, baselines=["uniform"])
        assert found.headline.trials >= 18
        assert found.headline.value > 3 * found.baselines["uniform"]["peak"].value


def test_persons_seen_by_other_cameras():
    queries, images = persons(12, 2).queries_and_gallery("gate")
    gallery = dv.Gallery.build(
        images, persons_embedder(), queries=queries, leave_out="same-camera", progress=False
    )
    for against in AGAINST:
        found = ask(gallery, pairs=24, against=against, baselines=["uniform"])
        assert found.headline.trials >= 18
        assert found.headline.value > 3 * found.baselines["uniform"]["peak"].value


def test_places_from_the_ground_against_a_sibling_from_the_air():
    town = places(24)
    ground, aerial = places_embedders()
    gallery = dv.Gallery.build(
        town.aerial, aerial, queries=town.ground, query_embedder=ground, progress=False
    )
    found = ask(gallery, pairs=24, baselines=["uniform"])
    assert found.headline.trials >= 20
    assert found.headline.value > 5 * found.baselines["uniform"]["peak"].value
    with pytest.raises(ValueError, match="cannot be drawn again with another part"):
        ask(gallery, pairs=4, against="swapped")


# --- words --------------------------------------------------------------------------------------------


def test_both_evaluators_are_in_the_list():
    assert evaluator_named("margin-pointing") == (EVALUATOR, margin_pointing)
    assert evaluator_named("margin-pointing-swapped") == (SWAPPED, margin_pointing_swapped)
    assert EVALUATOR.headline
    assert SWAPPED.headline


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("decomposition", {"against": "cousin"}, "against must be one of 'sibling', 'swapped'; got 'cousin'"),
        ("decomposition", {"grown": -1}, "grown must be at least 0, got -1"),
        (
            "grad-cam",
            {},
            "'margin-pointing' cannot be asked of 'grad-cam' here: maps of this method may not be sub",
        ),
        ("grad-cam", {"against": "swapped"}, "'margin-pointing-swapped' cannot be asked of 'grad-cam'"),
        ("no-such", {}, "method must be one of"),
        ("decomposition", {"baselines": ["chance"]}, "method must be one of"),
    ],
)
def test_wrong_questions_are_worded(gallery, method, options, words):
    with pytest.raises(ValueError, match=words):
        ask(gallery, method, 2, **options)


def test_a_gallery_of_which_nothing_is_known_cannot_be_asked(gallery):
    pictures = dv.ImageSet.from_arrays(list(gallery.images)[:6], labels=list("aabbcc"))
    plain = dv.Gallery.build(pictures, birds_embedder("avg"), progress=False)
    with pytest.raises(ValueError, match="no parts of the pictures are known"):
        ask(plain, pairs=2)
    parts = KnownParts([np.ones((96, 96), int)] * 6, {1: "all"})
    with pytest.raises(ValueError, match="it is not known in which parts two pictures differ"):
        ask(plain, pairs=2, truth=parts)
    with pytest.raises(ValueError, match="cannot be drawn again with another part"):
        ask(plain, pairs=2, truth=parts, against="swapped")
