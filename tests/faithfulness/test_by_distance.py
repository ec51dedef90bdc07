"""Evaluators on galleries that rank by distance: what they hold maps against is that distance."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import (
    coalitions_features,
    completeness,
    cover_up_features,
    insertion_deletion_curves,
    margin_pointing,
    part_removal,
    part_transfer,
    symmetry,
)
from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.explained import Explained
from dmlviz.faithfulness.localisation_table import localisation_table
from dmlviz.faithfulness.masked_pairs import MaskedPairs, paired
from dmlviz.faithfulness.opponents import swapped
from dmlviz.faithfulness.pairs import as_pairs
from dmlviz.faithfulness.truth import truth_of
from dmlviz.faithfulness.twin_galleries import reversed_gallery, untrained_twin


@pytest.fixture(scope="module")
def near():
    images = dv.birds(families=2, per_class=4)
    return dv.Gallery.build(images, birds_embedder(), similarity="l2", progress=False)


def test_rows_are_paired_by_distance():
    rng = np.random.default_rng(0)
    queries, items = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    slow = [-sum((a - b) ** 2) for a, b in zip(queries, items, strict=True)]
    np.testing.assert_allclose(paired(queries, items, "l2"), slow)
    np.testing.assert_allclose(paired(queries[:1], items, "l2"), -np.square(queries[0] - items).sum(1))


def test_what_is_kept_is_held_against_the_distance_of_what_is_kept(near):
    """With average pooling and no offset: S(A) = −‖Σ_{i∈A} xᵢ − e_g‖², from the local embeddings alone."""
    why = Explained(near).of(0, 4)
    kept = np.random.default_rng(0).random((6, 12, 12)) < 0.5
    real = MaskedPairs(near, level="features").similarities(why, 0, 4, kept)
    x, e_g = near.query_local(0).vectors.astype(float), near.embeddings[4].astype(float)
    expected = [-np.square(x[mask].sum(0) - e_g).sum() for mask in kept]
    np.testing.assert_allclose(real, expected, rtol=1e-4, atol=1e-7)


def test_the_exact_parts_miss_nothing_and_point_rightly(near):
    assert completeness(near, pairs=8, progress=False).headline.value < 1e-6
    assert symmetry(near, pairs=3, baselines=["random"], progress=False).headline.value < 1e-3
    pointed = margin_pointing(near, pairs=8, baselines=["uniform"], progress=False)
    assert pointed.headline.value > 3 * pointed.baselines["uniform"][pointed.headline.name].value
    moved = part_transfer(near, pairs=8, baselines=["uniform"], progress=False)
    assert moved.headline.value > 0.5


@pytest.mark.parametrize("ask", [cover_up_features, coalitions_features])
def test_predictions_go_with_what_the_distance_does(near, ask):
    found = ask(near, pairs=5, baselines=["random"], progress=False)
    by = found.headline.name
    assert found.headline.value > 0.7
    assert found.headline.value > found.baselines["random"][by].value + 0.1
    assert np.isfinite(found.figures["mean error" if ask is cover_up_features else "MAE"].value)


def test_drops_and_curves_are_in_units_of_the_distance(near):
    removed = part_removal(near, pairs=6, baselines=[], progress=False)
    assert np.isfinite(removed.headline.value)
    curves = insertion_deletion_curves(near, pairs=as_pairs(near, [(0, 1)]), steps=5, progress=False)
    assert (curves.insertion <= 0).all()
    assert curves.insertion[0, -1] == pytest.approx(float(near.score(0, [1])[0]), abs=1e-5)
    assert curves.full[0] == near.score(0, [1])[0]


def test_baselines_and_made_galleries_go_by_distance(near):
    for name, method in BASELINES.items():
        (why,) = method.of_ranking(near, 0, [4])
        assert why.kind == "l2", name
    untrained = BASELINES["random weights"].of_ranking(near, 0, [4])[0]
    assert untrained.adds_up
    assert untrained.similarity <= 0
    pairs = as_pairs(near, [(0, 1), (4, 5)])
    for made in (
        untrained_twin(near, pairs, "head", 0),
        swapped(near, pairs, truth_of(near).gallery).gallery,
        reversed_gallery(near),
    ):
        assert made.similarity == "l2"
        assert made.search(0, k=1).similarities[0] <= 0


def test_the_table_of_localisation_finds_the_nearest_prototype_by_distance():
    birds = dv.birds(families=2, per_class=3)
    asking = np.arange(len(birds)) % 3 == 0
    images, queries = (birds.subset(np.flatnonzero(of)) for of in (~asking, asking))
    near = dv.Gallery.build(images, birds_embedder(), similarity="l2", queries=queries, progress=False)
    table = localisation_table({"birds": near}, baselines=[], queries=4, progress=False)
    row = table[table["method"] == "decomposition, prototype"].iloc[0]
    labels = np.unique(near.labels)
    means = np.stack([near.embeddings[near.labels == label].mean(0) for label in labels])
    from dmlviz.faithfulness.localisation_table import _chosen

    asked = _chosen("birds", near, 4, 0)
    nearest = [labels[np.square(means - near.query_embeddings[q]).sum(1).argmin()] for q in asked]
    assert row["class_error"] == pytest.approx(np.mean(nearest != near.query_labels[asked]))
    assert row["class_error"] < 0.5
