"""Where the truth is known: the maps of the shipped embedder are right far above every baseline."""

import pytest

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import choose_pairs, completeness, margin_pointing, part_transfer


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(dv.birds(families=4, per_class=5), birds_embedder("avg"), progress=False)


@pytest.mark.parametrize("against", ["sibling", "swapped"])
def test_margin_maps_peak_on_the_one_part_that_differs(gallery, against):
    everyone = choose_pairs(gallery, None)
    found = margin_pointing(gallery, pairs=everyone, against=against, progress=False)
    assert len(found.pairs) == 120
    assert found.headline.interval()[0] > 3 * found.baselines["centre"]["peak"].value
    assert found.headline.value > 0.7
    assert found.figures["part"].value > 0.7
    assert found.baselines["overall map"]["peak"].value < 0.4
    assert found.baselines["random weights"]["peak"].value < 0.4
    assert found.baselines["random weights"]["part"].value < 0.5


def test_hovering_a_part_lights_the_same_part(gallery):
    found = part_transfer(gallery, pairs=60, progress=False)
    assert found.headline.trials == 300
    assert found.figures["contribution"].value > 0.85
    assert found.figures["likeness"].value > 0.85
    assert list(found.baselines) == [
        "overall map",
        "same position",
        "random weights",
        "centre",
        "uniform",
    ]
    for rates in found.baselines.values():
        assert found.headline.interval()[0] > rates["contribution"].interval()[1]


def test_all_of_it_adds_up(gallery):
    assert completeness(gallery, pairs=12, progress=False).headline.values.max() < 1e-6
