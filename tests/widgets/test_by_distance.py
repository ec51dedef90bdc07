"""The Explorer of a gallery that ranks by distance: what it holds for the page is of that distance."""

import numpy as np
import pytest

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.widgets import Explorer
from dmlviz.widgets.finding import region_mask
from dmlviz.widgets.likeness import product_scale


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(
        dv.birds(families=2, per_class=2), birds_embedder(), similarity="l2", progress=False
    )


def test_the_screen_is_of_the_distance(gallery):
    ex = Explorer(gallery, query=1, k=6)
    meta = ex._screen["meta"]
    assert meta["kind"] == ex._gallery["kind"] == "l2"
    assert [item["score"] for item in meta["items"][:6]] == pytest.approx(ex.ranking.similarities.tolist())
    for n, why in enumerate(meta["whys"]["decomposition"]):
        numbers = why["numbers"]
        assert why["kind"] == "l2"
        assert numbers["addsUp"]
        assert why["scale"] == pytest.approx(2)  # likeness divides the pairs by it
        total = numbers["for"] + numbers["against"] + numbers["constant"]
        total += numbers["queryOffset"] + numbers["galleryOffset"]
        assert total == pytest.approx(meta["items"][n]["score"], abs=1e-6)
        assert why["margin"]["addsUp"]


def test_likeness_is_of_local_embeddings_whatever_ranks(gallery):
    why = Explorer(gallery, query=1, k=3).why
    cosine = dv.explain(
        dv.Gallery(gallery.images, gallery.embedder, gallery.embeddings),
        1,
        int(gallery.search(1, k=1).ids[0]),
    )
    assert product_scale(why) == pytest.approx(2)
    np.testing.assert_array_equal(why.likeness_map("query", 3, 4), cosine.likeness_map("query", 3, 4))


def test_a_region_is_ranked_by_the_sum_of_the_map_that_is_shown(gallery):
    ex = Explorer(gallery, query=1, k=6, region=["query", 20, 20, 60, 60], ranked_by="region")
    mask = region_mask(gallery, 1, ex.region)
    for n, item in enumerate(ex._screen["meta"]["items"][:6]):
        shown = ex._explained.why("decomposition", n).overall_map("query")[mask].sum(dtype=float)
        assert item["region"] == pytest.approx(shown, abs=1e-6)
        assert item["score"] == pytest.approx(float(gallery.score(1, [item["id"]])[0]))


def test_methods_that_do_not_suit_are_greyed_with_the_reason(gallery):
    offered = {method["name"]: method["reason"] for method in Explorer(gallery, query=1)._gallery["methods"]}
    assert offered["decomposition"] == offered["occlusion"] == offered["grad-cam"] == ""
    assert "ranks by minus the squared distance" in offered["published-decomposition"]
