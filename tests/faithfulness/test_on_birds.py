"""Where the truth is known: the maps of the shipped embedder are right far above every baseline."""

import pytest
import torch

import dmlviz as dv
from dmlviz.embedder import BirdNet, birds_embedder
from dmlviz.faithfulness import completeness, margin_pointing, part_transfer


@pytest.fixture(scope="module")
def flock():
    return dv.birds(per_class=5)


@pytest.fixture(scope="module")
def gallery(flock):
    return dv.Gallery.build(flock, birds_embedder("avg"), progress=False)


@pytest.fixture(scope="module")
def untrained(flock):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BirdNet("avg").eval()
    like = birds_embedder("avg")
    embedder = dv.Embedder.from_module(network, preprocess=like.preprocess, input_size=like.input_size)
    return dv.Gallery.build(flock, embedder, progress=False)


@pytest.mark.parametrize("against", ["sibling", "swapped"])
def test_margin_maps_peak_on_the_one_part_that_differs(gallery, untrained, flock, against):
    rates = margin_pointing(gallery, flock, against)
    assert rates["margin map"].interval()[0] > 3 * rates["centre"].value
    assert rates["margin map"].value > 0.7 > 0.4 > rates["overall map"].value
    assert margin_pointing(untrained, flock, against)["margin map"].value < 0.4


def test_hovering_a_part_lights_the_same_part(gallery, flock):
    rates = part_transfer(gallery, flock)
    assert rates["contribution"].value > 0.85
    assert rates["likeness"].value > 0.85
    for baseline in ("same position", "overall map", "centre", "uniform"):
        assert rates["contribution"].interval()[0] > rates[baseline].interval()[1]


def test_all_of_it_adds_up(gallery, untrained):
    assert completeness(gallery, pairs=12, progress=False).headline.values.max() < 1e-6
    assert completeness(untrained, pairs=12, progress=False).headline.values.max() < 1e-6


def test_an_unknown_opponent_is_refused(gallery, flock):
    with pytest.raises(ValueError, match="against must be 'sibling' or 'swapped'; got 'cousin'"):
        margin_pointing(gallery, flock, "cousin")
