"""The embedded default: there at once, complete, and worth looking at."""

import numpy as np
import pytest

from dmlviz.retrieval import demo_gallery

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def gallery():
    return demo_gallery()


def test_forty_eight_species_of_twenty(gallery):
    species, counts = np.unique(gallery.labels, return_counts=True)
    assert (len(gallery), len(species), set(counts)) == (960, 48, {20})
    assert gallery.similarity == "cosine"
    assert gallery.skipped == gallery.unranked == ()


def test_made_once(gallery):
    assert demo_gallery() is gallery


def test_finds_its_species_and_has_failures_to_look_at(gallery):
    result = gallery.evaluate()
    assert 0.85 < result.recall[1] < 1
    failures = gallery.failures()
    assert len(failures) == round((1 - result.recall[1]) * 960)
    assert (failures["margin"] <= 0).all()
    assert failures["margin"].is_monotonic_increasing
    assert (failures["label"] != failures["wrong_label"]).all()


def test_a_beak_can_be_asked_with(gallery):
    query = 0
    beak = gallery.images.mask(query, "beak")
    ranking = gallery.search_region(query, beak, k=20)
    everything = gallery.score(query, ranking.ids)
    assert (np.abs(ranking.similarities) < np.abs(everything)).all()
    assert ranking.ids.tolist() != gallery.search(query, k=20).ids.tolist()


def test_unknown_pooling():
    with pytest.raises(ValueError, match="nothing"):
        demo_gallery("nothing")
