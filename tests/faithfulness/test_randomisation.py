"""Random weights: planted methods, by loops, cascades, and galleries of the same pictures."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder, randomised
from dmlviz.explanation import Decomposition, Method
from dmlviz.faithfulness import BASELINES, Explained, choose_pairs, randomisation
from dmlviz.faithfulness.evaluators import evaluator_named
from dmlviz.faithfulness.pairs import as_pairs
from dmlviz.faithfulness.twin_galleries import places_in_twin, untrained_twin
from dmlviz.images import ImageSet, Preprocess

HEAD, ALL, PAIRS_HEAD, PAIRS_ALL = FIGURES = (
    "map after the head",
    "map after all",
    "pairs after the head",
    "pairs after all",
)


@pytest.fixture(scope="module")
def birds():
    return dv.Gallery.build(dv.birds(families=1, per_class=4), birds_embedder(), progress=False)


def asked(gallery, method="decomposition", pairs=12, **options):
    return randomisation(gallery, method, pairs, progress=False, **({"baselines": []} | options)).figures


def planted(of_embedder):
    """A method whose maps are a function of the query's network, picture and the similarity."""

    def of_ranking(gallery, query, ids, scale=1.0):
        picture = gallery.query_image(query)
        values = scale * of_embedder(gallery.query_embedder, picture)
        return [
            Decomposition(None, None, None, 0.0, 1.0, query_map=values, gallery_map=values, promises=False)
            for _ in ids
        ]

    return Method("planted", "planted", "", "", of_ranking, lambda gallery: "")


def noise_of(picture, *more):
    return np.random.default_rng([int(picture.astype(int).sum()), *more]).random((12, 12))


def test_maps_that_ignore_the_weights_score_one_and_turned_ones_less(birds, monkeypatch):
    monkeypatch.setitem(BASELINES, "planted", planted(lambda network, picture: noise_of(picture)))
    found = asked(birds, "planted")
    assert found[HEAD].values.tolist() == found[ALL].values.tolist() == [1.0] * 12
    trained = birds.embedder
    for sign, other in ((-1, lambda p: noise_of(p)), (1, lambda p: noise_of(p, 7))):
        monkeypatch.setitem(
            BASELINES,
            "planted",
            planted(lambda n, p, s=sign, o=other: noise_of(p) if n is trained else s * o(p)),
        )
        found = asked(birds, "planted")
        if sign < 0:
            assert found[ALL].values.tolist() == [-1.0] * 12
        else:  # nothing left of it: chance
            low, high = found[ALL].interval()
            assert low < 0 < high
            assert high - low < 0.15


def test_scale_and_order_do_not_matter(birds, monkeypatch):
    def mixed(network, picture):
        return noise_of(picture) + noise_of(picture, network is birds.embedder)

    monkeypatch.setitem(BASELINES, "planted", planted(mixed))
    pairs = list(choose_pairs(birds, 8))
    plain = asked(birds, "planted", pairs)[ALL].values
    scaled = asked(birds, Explained(birds, "planted", scale=1e-5), pairs)[ALL].values
    back = asked(birds, "planted", pairs[::-1])[ALL].values
    np.testing.assert_allclose(scaled, plain, atol=1e-9)
    np.testing.assert_allclose(back[::-1], plain)
    assert 0.2 < plain.mean() < 0.8


def slow_ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    for place, i in enumerate(order):
        ranks[i] = float(place)
    return np.array(ranks)


def slow_spearman(one, other):
    x, y = (slow_ranks(v.ravel().tolist()) for v in (one, other))
    return float(np.corrcoef(x, y)[0, 1])


def test_equals_the_loops(birds):
    pairs = [(0, 2), (9, 8), (21, 3)]
    found = asked(birds, "decomposition", pairs, seed=5)

    def taken_apart(network, q, g):
        x, y = (
            network.local_embeddings(birds.image(i)).vectors.reshape(144, -1).astype(float) for i in (q, g)
        )
        return x @ y.T / np.linalg.norm(x.sum(0)) / np.linalg.norm(y.sum(0))

    twins = [randomised(birds.embedder, count, seed=5) for count in (1, "all")]
    for n, (q, g) in enumerate(pairs):
        own = taken_apart(birds.embedder, q, g)
        for twin, of_map, of_pairs in zip(twins, (HEAD, ALL), (PAIRS_HEAD, PAIRS_ALL), strict=True):
            there = taken_apart(twin, q, g)
            np.testing.assert_allclose(
                found[of_map].values[n], slow_spearman(own.sum(1), there.sum(1)), atol=1e-3
            )
            np.testing.assert_allclose(found[of_pairs].values[n], slow_spearman(own, there), atol=1e-3)


def test_on_birds_the_pairs_of_cells_forget_and_the_centre_does_not(birds):
    found = randomisation(birds, pairs=12, progress=False, depths=[1, 7])
    values = {name: estimate.value for name, estimate in found.figures.items()}
    assert values[HEAD] > values[PAIRS_HEAD] + 0.2
    assert abs(values[PAIRS_ALL]) < 0.2
    assert values[HEAD] < 0.9
    for what in ("map", "pairs"):  # a cascade ends where the two figures stand
        assert values[f"{what} after 1 layer"] == values[f"{what} after the head"]
        assert values[f"{what} after 7 layers"] == values[f"{what} after all"]
    centre, norm, random = (found.baselines[name] for name in ("centre", "feature norm", "random"))
    assert centre[HEAD].value == centre[ALL].value == norm[HEAD].value == 1
    assert norm[ALL].value < 0.9
    low, high = random[ALL].interval()
    assert low < 0 < high
    assert centre[PAIRS_ALL].trials == 0
    assert found.evaluator.figures == FIGURES


def test_a_twin_holds_the_same_pictures_under_other_numbers():
    rng = np.random.default_rng(0)
    sides = []
    for n, size in enumerate([16, 8]):
        with torch.random.fork_rng():
            torch.manual_seed(n)
            trunk, linear = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 5)
        pictures = list(rng.integers(0, 256, (6 + n, size, size, 3), dtype=np.uint8))
        images = ImageSet.from_arrays(pictures, [f"place {i}" for i in range(6 + n)])
        sides.append((images, Embedder(trunk, LinearHead("avg", linear), Preprocess.stretch(size))))
    (queries, asking), (images, embedder) = sides
    gallery = dv.Gallery.build(images, embedder, queries=queries, query_embedder=asking, progress=False)
    pairs = as_pairs(gallery, [(5, 2), (1, 6), (5, 6)])
    twin = untrained_twin(gallery, pairs, "head", 0)
    assert (len(twin.queries), len(twin.images)) == (2, 2)
    assert places_in_twin(pairs) == [(1, 0), (0, 1), (1, 1)]
    for (q, g), (own_q, own_g) in zip(places_in_twin(pairs), pairs, strict=True):
        np.testing.assert_array_equal(twin.query_image(q), gallery.query_image(own_q))
        np.testing.assert_array_equal(twin.image(g), gallery.image(own_g))
    own, drawn = asking.head.linear.weight, twin.query_embedder.head.linear.weight
    assert not torch.equal(own, drawn)
    assert not torch.equal(drawn, twin.embedder.head.linear.weight)  # two networks, two beginnings
    assert torch.equal(asking.trunk.weight, twin.query_embedder.trunk.weight)
    found = asked(gallery, pairs=[(5, 2), (1, 6), (5, 6)])
    assert all(np.isfinite(estimate.values).all() for estimate in found.values())


def test_twins_are_made_once_and_go_with_the_gallery():
    gallery = dv.Gallery.build(dv.birds(families=1, per_class=1), birds_embedder(), progress=False)
    pairs = as_pairs(gallery, [(0, 1), (2, 3)])
    twin = untrained_twin(gallery, pairs, "all", 0)
    assert untrained_twin(gallery, pairs, "all", 0) is twin
    assert untrained_twin(gallery, pairs, "all", 1) is not twin
    assert untrained_twin(gallery, as_pairs(gallery, [(0, 1)]), "all", 0) is not twin
    assert untrained_twin(gallery, pairs, "all", 0) is not twin  # only the last two are kept
    alive = weakref.ref(gallery), weakref.ref(untrained_twin(gallery, pairs, "all", 0))
    del gallery, twin
    gc.collect()
    assert [one() for one in alive] == [None, None]


def test_the_network_is_left_as_it_was(birds):
    before = birds.embedder.fingerprint
    asked(birds, pairs=2)
    assert birds.embedder.fingerprint == before
    assert not birds.embedder.trunk.training


def test_what_belongs_to_this_very_network_is_refused():
    gallery = dv.Gallery.build(dv.birds(families=1, per_class=1), birds_embedder(), progress=False)
    assert Explained(gallery, "xcos").unsuited == ""
    with pytest.raises(ValueError, match="'xcos' does not suit the network with random weights: "):
        asked(gallery, "xcos", [(0, 1)])


@pytest.mark.parametrize("depths", [[0], [True], ["head"], [1.5]])
def test_other_depths_are_refused(birds, depths):
    with pytest.raises(ValueError, match=r"depths are numbers of layers .* at least 1; got "):
        asked(birds, pairs=2, depths=depths)


def test_the_list_knows_it():
    described, function = evaluator_named("randomisation")
    assert function is randomisation
    assert described.better == "lower"
    assert "matrix of pairs of cells tells more" in described.caution
