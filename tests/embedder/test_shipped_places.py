import hashlib

import numpy as np
import pytest

from dmlviz.embedder import CellGeometry, places_embedders
from dmlviz.embedder.shipped import WEIGHTS
from dmlviz.embedder.shipped_places import places_card
from dmlviz.explanation import decompose_similarity
from dmlviz.images import places
from dmlviz.learning.place_measures import embedder_of, measure_hover, measure_places
from dmlviz.learning.place_recipe import PlaceRecipe, first_networks


@pytest.fixture(scope="module")
def city():
    return places()


@pytest.fixture(scope="module")
def pair():
    return places_embedders()


def test_panoramas_find_their_own_aerial_view(pair, city):
    found, card = measure_places(*pair, city), places_card()["held_out"]["retrieval"]
    assert found["recall@1"] >= 0.78
    assert found["recall@5"] >= 0.97
    assert found["recall@1"] <= found["recall@top 1 %"] <= found["recall@5"]
    for name in ("recall@1", "recall@5", "recall@top 1 %"):
        assert found[name] == pytest.approx(card[name], abs=0.011)  # two of 200, for other versions' rounding
    assert found["recall@1"] < 1  # a gallery without a miss would teach nothing
    assert found["misses within the family"] >= 0.9


def test_untrained_networks_find_next_to_nothing(city):
    untrained = (embedder_of(net.eval()) for net in first_networks(PlaceRecipe()).values())
    assert measure_places(*untrained, city)["recall@1"] <= 0.03
    held_out = places_card()["held_out"]
    assert held_out["retrieval_by_the_untrained_networks"]["recall@5"] <= 0.08
    assert (
        held_out["hover_of_the_untrained_networks"]["contribution"] < 0.3 * held_out["hover"]["contribution"]
    )


def test_hovering_an_object_finds_it_from_the_air(pair, city):
    found = measure_hover(*pair, city, places=25)
    assert found["contribution"] >= 0.5  # chance is the area
    assert found["likeness"] >= 0.5
    assert found["area"] < 0.06
    assert found["azimuth error"] <= 10
    assert found["within 30 degrees"] >= 0.72


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_identity_is_exact_on_unequal_grids(pair, city, similarity):
    ground, aerial = pair
    for i, j in ((0, 0), (3, 9)):
        query = ground.local_embeddings(city.ground[i], dtype="float64")
        item = aerial.local_embeddings(city.aerial[j], dtype="float64")
        why = decompose_similarity(query, item, similarity)
        assert why.contributions.shape == (8, 24, 12, 12)
        q, g = query.vectors.sum((0, 1)) + query.offset, item.vectors.sum((0, 1)) + item.offset
        expected = q @ g / (np.linalg.norm(q) * np.linalg.norm(g) if similarity == "cosine" else 1.0)
        assert abs(why.total - expected) <= 1e-10 * max(1, abs(expected))
        assert abs(why.residual) <= 1e-10 * max(1, abs(expected))
        assert why.point_map("query", 3, 7).shape == (12, 12)
        assert why.point_map("gallery", 3, 7).shape == (8, 24)
        # one entry by hand
        entry = query.vectors[4, 20] @ item.vectors[2, 11]
        scale = expected / (q @ g)
        assert why.contributions[4, 20, 2, 11] == pytest.approx(scale * entry, abs=1e-12)


def test_the_two_networks_share_their_space_and_no_weight(pair):
    ground, aerial = pair
    assert ground.dim == aerial.dim
    assert (ground.input_size, ground.map_size) == ((64, 192), (8, 24))
    assert (aerial.input_size, aerial.map_size) == ((96, 96), (12, 12))
    assert ground.fingerprint != aerial.fingerprint
    for embedder in pair:
        assert embedder.exact
        assert embedder.geometry == CellGeometry.from_trunk(embedder.trunk, embedder.input_size)


def test_the_files_are_small_and_what_their_cards_say():
    card = places_card()
    for view in ("ground", "aerial"):
        data = (WEIGHTS / f"places_{view}.safetensors").read_bytes()
        assert len(data) <= 400_000
        assert hashlib.sha256(data).hexdigest() in (WEIGHTS / f"places_{view}.json").read_text()
    assert card["recipe"]["pooling"] == "flatten"
    assert card["processor_minutes"] <= 8
    curve = card["loss_curve"]["loss"]
    assert curve[-1] < 0.4 * curve[0]
