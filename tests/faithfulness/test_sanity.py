"""Reference swap and symmetry: planted maps, by hand, by loops, and what must not change them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.explanation import Decomposition
from dmlviz.faithfulness import Explained, choose_pairs, reference_swap, symmetry
from dmlviz.faithfulness.evaluators import evaluator_named
from dmlviz.faithfulness.sanity import asymmetry, correlation_of, other_item
from dmlviz.faithfulness.twin_galleries import reversed_gallery
from dmlviz.images import ImageSet, Preprocess

KEPT, MAP, PAIRS = "map kept", "map changed", "pairs changed"


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=1, per_class=4), birds_embedder(), progress=False)


@pytest.fixture(scope="module")
def two_networks():
    """Queries of 12 × 16 pixels through one network, images of 8 × 8 through another."""
    rng = np.random.default_rng(0)
    sides = []
    for n, (height, width) in enumerate([(12, 16), (8, 8)]):
        with torch.random.fork_rng():
            torch.manual_seed(n)
            trunk, linear = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 5)
        embedder = Embedder(trunk, LinearHead("avg", linear), Preprocess.stretch((height, width)))
        pictures = list(rng.integers(0, 256, (5 + n, height, width, 3), dtype=np.uint8))
        sides.append((ImageSet.from_arrays(pictures, [f"place {i}" for i in range(5 + n)]), embedder))
    (queries, asking), (images, given_) = sides
    return dv.Gallery.build(images, given_, queries=queries, query_embedder=asking, progress=False)


class Planted(Explained):
    """Explanations whose query maps come from a function of the query and the item."""

    def __init__(self, gallery, of_pair):
        super().__init__(gallery)
        self._of_pair = of_pair

    def of(self, query, item):
        why = super().of(query, item)
        own = {"query_map": self._of_pair(query, item), "gallery_map": None}
        return replace(why, contributions=None, query_offset=None, gallery_offset=None, **own)


def noise(*seeds):
    return np.random.default_rng(seeds).random((12, 12))


def kept(gallery, method, pairs=20, **options):
    return reference_swap(gallery, method, pairs, progress=False, **({"baselines": []} | options)).figures[
        KEPT
    ]


def by_hand(contributions, query_offset=None, gallery_offset=None, **rest):
    return Decomposition(
        contributions=contributions,
        query_offset=query_offset,
        gallery_offset=gallery_offset,
        constant=0.0,
        similarity=1.0,
        **rest,
    )


def slow_spearman(one, other):
    ranked = []
    for values in (one.ravel().tolist(), other.ravel().tolist()):
        ranked.append(
            [1 + sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]
        )
    x, y = (np.array(r) - np.mean(r) for r in ranked)
    return float(sum(x * y) / np.sqrt(sum(x * x) * sum(y * y)))


# ---- reference swap ------------------------------------------------------------------------------------------


def test_a_map_that_ignores_the_other_image_keeps_one_and_a_random_one_nothing(birds):
    assert kept(birds, Planted(birds, lambda q, g: noise(q))).values.tolist() == [1.0] * 20
    low, high = kept(birds, Planted(birds, lambda q, g: noise(q, g))).interval()
    assert low < 0 < high
    assert high - low < 0.1
    labels = np.asarray(birds.labels)
    turns = Planted(birds, lambda q, g: noise(q) * (1 if labels[g] == labels[q] else -1))
    assert kept(birds, turns).values.tolist() == [-1.0] * 20  # as far from ignoring it as can be


def test_baselines_that_know_one_image_keep_one(birds):
    found = reference_swap(birds, pairs=12, progress=False)
    for name in ("feature norm", "centre"):
        assert found.baselines[name][KEPT].values.tolist() == [1.0] * 12
    low, high = found.baselines["random"][KEPT].interval()
    assert low < 0 < high
    # siblings of one family have four parts of five in common, and so much of their maps
    assert found.headline.interval()[1] < found.baselines["random weights"][KEPT].interval()[0] < 1


def test_reference_swap_by_loops(birds):
    pairs = [(0, 3), (5, 6), (20, 21)]
    found = kept(birds, "decomposition", pairs, seed=3)
    explained = Explained(birds)
    for value, (q, g) in zip(found.values, pairs, strict=True):
        h = other_item(birds, q, g, 3)
        one, other = (explained.of(q, i).contributions.astype(float).sum((2, 3)) for i in (g, h))
        np.testing.assert_allclose(value, slow_spearman(one, other), atol=1e-4)


def test_scale_and_order_do_not_matter_to_the_reference_swap(birds):
    pairs = list(choose_pairs(birds, 10))
    plain = kept(birds, Planted(birds, lambda q, g: noise(q) + noise(q, g)), pairs).values
    scaled = kept(birds, Planted(birds, lambda q, g: 1e-6 * (noise(q) + noise(q, g))), pairs).values
    back = kept(birds, Planted(birds, lambda q, g: noise(q) + noise(q, g)), pairs[::-1]).values
    np.testing.assert_allclose(scaled, plain, atol=1e-9)
    np.testing.assert_allclose(back[::-1], plain)
    assert 0.2 < plain.mean() < 0.8


def test_the_other_image_has_another_label_and_is_neither_of_the_pair(birds, two_networks):
    labels = np.asarray(birds.labels)
    chosen = [other_item(birds, q, g, 0) for q, g in choose_pairs(birds, 24)]
    assert all(labels[h] != labels[q] for h, (q, _) in zip(chosen, choose_pairs(birds, 24), strict=True))
    assert len(set(chosen)) > 5
    assert other_item(birds, 0, 1, 0) == other_item(birds, 0, 1, 0)
    assert len({other_item(birds, 0, 1, seed) for seed in range(20)}) > 5
    assert all(two_networks.images.labels[other_item(two_networks, 2, 1, s)] != "place 2" for s in range(20))
    pictures = [birds.image(i) for i in range(3)]
    bare = dv.Gallery.build(ImageSet.from_arrays(pictures), birds.embedder, progress=False)
    assert {other_item(bare, 0, 1, seed) for seed in range(9)} == {2}
    alike = dv.Gallery.build(ImageSet.from_arrays(pictures, ["one"] * 3), birds.embedder, progress=False)
    assert other_item(alike, 0, 1, 0) is None
    assert kept(alike, "decomposition", [(0, 1)]).left_out == 1


def test_constant_maps_that_differ_and_broken_ones_are_left_out(birds):
    pairs = list(choose_pairs(birds, 6))
    same_label = {(q, g) for q, g in pairs}
    assert kept(birds, Planted(birds, lambda q, g: np.ones((12, 12))), pairs).value == 1
    differ = Planted(birds, lambda q, g: np.full((12, 12), float((q, g) in same_label)))
    assert kept(birds, differ, pairs).left_out == 6
    broken = Planted(birds, lambda q, g: np.full((12, 12), np.nan))
    assert kept(birds, broken, pairs).left_out == 6


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=4, max_size=4))
def test_correlations_of_two_by_two_maps(cells):
    one, other = np.array(cells, float).T.reshape(2, 2, 2)
    found = correlation_of(one, other)
    if np.array_equal(one, other):
        assert found == 1
    elif np.ptp(one) == 0 or np.ptp(other) == 0:
        assert np.isnan(found)
    else:
        np.testing.assert_allclose(found, slow_spearman(one, other), atol=1e-12)
        np.testing.assert_allclose(correlation_of(5 * one, other), found, atol=1e-12)
        np.testing.assert_allclose(correlation_of(other, one), found, atol=1e-12)


# ---- symmetry ------------------------------------------------------------------------------------------------


def test_asymmetry_by_hand():
    # two cells each: A's are rows; B asked for A has them the other way round
    there = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 2)
    back = np.array([[1.0, 3.0], [2.0, 4.0]]).reshape(1, 2, 1, 2)
    assert asymmetry(by_hand(there), by_hand(back)) == (0.0, 0.0)
    # not turned: pairs differ by (0, -1, 1, 0); A's map is (3, 7) and (4, 6), B's (4, 6) and (3, 7)
    maps, pairs = asymmetry(by_hand(there), by_hand(there))
    np.testing.assert_allclose(pairs, np.sqrt(2 / 30))
    np.testing.assert_allclose(maps, np.sqrt(4 / (9 + 49 + 16 + 36)))
    # an offset of the query's cells counts in its map: A's becomes (3.5, 7.5)
    offset = np.array([[0.5, 0.5]])
    maps, _ = asymmetry(by_hand(there, query_offset=offset), by_hand(back))
    np.testing.assert_allclose(maps, np.sqrt(0.5 / (3.5**2 + 7.5**2 + 16 + 36)))
    assert np.isnan(asymmetry(by_hand(0 * there), by_hand(0 * back))).all()


def test_asymmetry_of_single_maps_looks_at_the_sides_there_are():
    one = by_hand(None, query_map=np.array([[3.0, 4.0]]))
    turned = by_hand(None, gallery_map=np.array([[3.0, 4.0]]))
    assert asymmetry(one, turned)[0] == 0.0
    assert np.isnan(asymmetry(one, one)).all()  # the same side both ways: nothing to compare
    minus = by_hand(None, gallery_map=np.array([[-3.0, -4.0]]))
    assert asymmetry(one, minus)[0] == 2.0


def test_the_decomposition_is_symmetric_and_random_maps_are_not(birds):
    found = symmetry(birds, pairs=10, progress=False)
    assert found.figures[MAP].values.max() < 1e-6
    assert found.figures[PAIRS].values.max() < 1e-6
    assert found.baselines["feature norm"][MAP].value == 0
    low, high = found.baselines["random"][MAP].interval()
    assert low < np.sqrt((2 / 12) / (1 / 3)) < high  # two independent uniform numbers
    assert found.baselines["random"][PAIRS].trials == 0


@pytest.mark.parametrize("scale", [1, 1000])
def test_a_map_with_a_turned_sign_is_changed_by_twice_its_length(birds, scale):
    class Turning(Explained):
        def of(self, query, item):
            why = super().of(query, item)
            times = scale if query < item else -scale
            return replace(
                why, contributions=times * why.contributions, query_offset=None, gallery_offset=None
            )

    pairs = [(0, 1), (3, 2), (7, 9)]
    found = symmetry(birds, Turning(birds), pairs, baselines=[], progress=False).figures
    back = symmetry(birds, Turning(birds), pairs[::-1], baselines=[], progress=False).figures
    for name in (MAP, PAIRS):
        np.testing.assert_allclose(found[name].values, 2, rtol=1e-5)
        np.testing.assert_allclose(back[name].values[::-1], found[name].values)


def test_pairs_of_two_networks_are_asked_back_through_their_own(two_networks):
    back = reversed_gallery(two_networks)
    assert (len(back.images), len(back.queries)) == (5, 6)
    assert back.embedder is two_networks.query_embedder
    there, turned = Explained(two_networks).of(4, 2), Explained(back).of(2, 4)
    np.testing.assert_allclose(there.similarity, turned.similarity, atol=1e-6)
    assert there.contributions.shape == (3, 4, 2, 2)
    found = symmetry(two_networks, pairs=[(4, 2), (0, 5)], baselines=["random"], progress=False)
    assert found.figures[PAIRS].values.max() < 1e-6
    assert found.baselines["random"][MAP].value > 0.3


def test_galleries_that_ask_themselves_are_their_own_reverse(birds):
    assert reversed_gallery(birds) is birds


def test_the_list_knows_both(birds):
    for name, ask in (("reference-swap", reference_swap), ("symmetry", symmetry)):
        described, function = evaluator_named(name)
        assert (described.name, described.better) == (name, "lower")
        assert function is ask
    with pytest.raises(ValueError, match="does not suit this gallery"):
        symmetry(birds, "cam", pairs=[(0, 1)], progress=False)
