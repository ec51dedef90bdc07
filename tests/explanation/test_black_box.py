"""What all black-box methods share: whole rankings, sides, budgets, stopping, and pictures without a score."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).parent))  # for patch_network, which tests of this room share

import patch_network as patches

from dmlviz.embedder import Embedder, LinearHead
from dmlviz.explanation import explain, explain_ranking, method_named, methods_for
from dmlviz.explanation.masked_views import cover, covered_views
from dmlviz.explanation.random_masks import RandomMasks
from dmlviz.explanation.rise_maps import corr_rise, rise
from dmlviz.explanation.sliding_windows import Windows, occlusion
from dmlviz.images import ImageSet, Preprocess
from dmlviz.retrieval import Gallery

QUIET = {"progress": False}
FUNCTIONS = {
    "occlusion": (occlusion, {"window": 4, "stride": 2}),
    "rise": (rise, {"masks": 12, "grid": 2}),
    "corr-rise": (corr_rise, {"masks": 12, "grid": 2}),
}


@pytest.fixture
def gallery():
    return Gallery.build(ImageSet.from_arrays(patches.pictures(5)), patches.patch_embedder(), progress=False)


def counted(monkeypatch, embedder):
    """How many pictures go through the network, call by call."""
    seen = []
    really = embedder.embed_views

    def embed_views(views, batch_size=64):
        seen.append(len(views))
        return really(views, batch_size)

    monkeypatch.setattr(embedder, "embed_views", embed_views)
    return seen


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_ranking_equals_its_pairs_and_shares_the_query(name, gallery, monkeypatch):
    function, options = FUNCTIONS[name]
    pairs = [
        function(gallery.embedder, gallery.images[2], gallery.images[i], **options, **QUIET)
        for i in (0, 4, 3)
    ]
    seen = counted(monkeypatch, gallery.embedder)
    whys = explain_ranking(gallery, 2, [0, 4, 3], name, **options, **QUIET)
    per_picture = 15 if name == "occlusion" else 12
    assert sum(seen) == 4 * per_picture + 4  # covered pictures, and each whole one
    for pair, why in zip(pairs, whys, strict=True):
        for side in ("query", "gallery"):
            np.testing.assert_allclose(why.overall_map(side), pair.overall_map(side), atol=3e-5)
        assert why.similarity == pytest.approx(pair.similarity, abs=1e-6)
        assert (why.method, why.kind, why.promises, why.pairwise) == (name, "cosine", False, False)
        assert why.query_geometry == gallery.embedder.geometry
        assert "does not promise to add up" in repr(why)
    assert [why.similarity for why in whys] == gallery.score(2, [0, 4, 3]).tolist()
    seen.clear()
    query_only = explain_ranking(gallery, 2, [0, 4, 3], name, sides=("query",), **options, **QUIET)
    assert sum(seen) == per_picture + 1
    assert not query_only[0].has_map("gallery")
    np.testing.assert_allclose(query_only[1].query_map, whys[1].query_map, atol=1e-6)


def test_only_one_side_is_asked_for():
    embedder = patches.patch_embedder()
    query, item = patches.pictures(2)
    why = occlusion(embedder, query, item, sides="gallery", **QUIET)
    assert (why.has_map("query"), why.has_map("gallery")) == (False, True)
    assert why.residual == pytest.approx(why.gallery_map.sum() - why.similarity, abs=1e-6)
    turned = occlusion(embedder, item, query, sides=["query"], **QUIET)
    np.testing.assert_allclose(turned.query_map, why.gallery_map, atol=1e-6)


def test_two_networks_and_two_view_sizes():
    of_item, of_query = patches.patch_embedder((8, 12)), patches.patch_embedder((16, 8), seed=4)
    query, item = patches.pictures(1, (16, 8))[0], patches.pictures(1)[0]
    why = rise(of_item, query, item, query_embedder=of_query, masks=10, grid=2, **QUIET)
    assert (why.grid("query"), why.grid("gallery")) == ((4, 2), (2, 3))
    expected = of_query.embed(query)[0] @ of_item.embed(item)[0]
    dot = occlusion(of_item, query, item, query_embedder=of_query, similarity="dot", **QUIET)
    assert dot.similarity == pytest.approx(float(expected), rel=1e-5)
    other = patches.patch_embedder(dim=4)
    with pytest.raises(ValueError, match="same space; got 4 dimensions for the query and 5"):
        occlusion(of_item, query, item, query_embedder=other, **QUIET)


def test_a_gallery_asked_by_another_image_set():
    """A query id is a position in the query set, and its own network sees it."""
    queries = ImageSet.from_arrays(patches.pictures(3, (16, 8), seed=8))
    of_query = patches.patch_embedder((16, 8), seed=4)
    gallery = Gallery.build(
        ImageSet.from_arrays(patches.pictures(4)),
        patches.patch_embedder(),
        progress=False,
        queries=queries,
        query_embedder=of_query,
    )
    why = explain(gallery, 2, 1, "occlusion", **QUIET)
    pair = occlusion(gallery.embedder, queries[2], gallery.images[1], query_embedder=of_query, **QUIET)
    assert why.grid("query") == (4, 2)
    np.testing.assert_allclose(why.query_map, pair.query_map, atol=3e-5)
    np.testing.assert_allclose(why.gallery_map, pair.gallery_map, atol=3e-5)
    assert why.similarity == gallery.score(2, [1])[0]


def test_maps_over_pixels_are_drawn_pixel_by_pixel(gallery):
    cells = explain(gallery, 0, 1, "occlusion", window=4, stride=4, **QUIET)
    pixels = explain(gallery, 0, 1, "occlusion", window=4, stride=4, resolution="pixels", **QUIET)
    assert (cells.grid("query"), pixels.grid("query")) == ((2, 3), (8, 12))
    np.testing.assert_allclose(
        pixels.query_map.reshape(2, 4, 3, 4).mean(axis=(1, 3)), cells.query_map, atol=1e-6
    )
    assert pixels.query_geometry.cell_of_pixel(3, 7) == (3, 7)
    alone = occlusion(gallery.embedder, gallery.images[0], gallery.images[1], resolution="pixels", **QUIET)
    assert alone.gallery_geometry.cell_of_pixel(3, 7) == (3, 7)


def test_the_budget_is_for_the_whole_call(gallery, monkeypatch):
    seen = counted(monkeypatch, gallery.embedder)
    whys = explain_ranking(gallery, 0, [1, 2], "rise", masks=40, grid=2, budget=50, **QUIET)
    assert sum(seen) == 3 * 16 + 3
    assert all("the budget allows 16 of 40 masks" in why.note for why in whys)
    whys = explain_ranking(gallery, 0, [1, 2], "occlusion", window=4, stride=1, budget=50, **QUIET)
    assert "the budget allows 15 of 45 windows: the stride is (2, 2) instead of (1, 1)" in whys[0].note
    enough = explain(gallery, 0, 1, "rise", masks=10, grid=2, budget=20, **QUIET)
    assert "budget" not in enough.note


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stopping_says_how_far_it_came(name, monkeypatch):
    function, options = FUNCTIONS[name]
    embedder = patches.patch_embedder()
    really, calls = embedder.embed_views, []

    def interrupted(views, batch_size=64):
        calls.append(len(views))
        if len(calls) == 5:  # the item, the query, and two batches of four
            raise KeyboardInterrupt
        return really(views, batch_size)

    monkeypatch.setattr(embedder, "embed_views", interrupted)
    total = 30 if name == "occlusion" else 24
    words = f"'{name}' was stopped after 8 of {total} forward passes and gives no map; budget= bounds"
    query, item = patches.pictures(2)
    with pytest.raises(KeyboardInterrupt, match=words):
        function(embedder, query, item, batch_size=4, **options, **QUIET)


def test_a_bar_shows_only_where_it_takes_long(capsys, monkeypatch):
    embedder = patches.patch_embedder()
    query, item = patches.pictures(2)
    occlusion(embedder, query, item)
    assert capsys.readouterr().err == ""
    import tqdm.auto

    really = tqdm.auto.tqdm
    monkeypatch.setattr(
        tqdm.auto, "tqdm", lambda **options: really(**{**options, "delay": 0, "mininterval": 0})
    )
    occlusion(embedder, query, item, window=4, stride=4)
    assert "occlusion" in (shown := capsys.readouterr().err)
    assert "12/12" in shown


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_picture_covered_with_its_own_colour_has_an_empty_map(name):
    function, options = FUNCTIONS[name]
    embedder = patches.patch_embedder()
    item = patches.pictures(1)[0]
    why = function(embedder, np.full((8, 12, 3), 77, np.uint8), item, **options, **QUIET)
    np.testing.assert_allclose(why.query_map, 0, atol=1e-6)
    assert np.abs(why.gallery_map).max() > 1e-3


def without_bias():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = nn.Conv2d(3, 6, 4, stride=4, bias=False)
        head = LinearHead("avg", nn.Linear(6, 5, bias=False))
    return Embedder(trunk, head, Preprocess.stretch((8, 12), mean=(0.0,) * 3, std=(1.0,) * 3))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_covered_pictures_without_a_cosine_are_left_out_and_counted(name):
    function, options = FUNCTIONS[name]
    embedder = without_bias()  # black has an embedding of length zero
    query, item = patches.pictures(2)
    query[:4], query[:, 4:] = 0, 0  # only one patch shows anything
    why = function(embedder, query, item, fill=(0, 0, 0), **options, **QUIET)
    assert np.isfinite(why.query_map).all()
    masks = (
        Windows((8, 12), (4, 4), (2, 2))
        if name == "occlusion"
        else RandomMasks.draw((8, 12), 12, (2, 2), 0.5, 0)
    )
    shown = np.rint(masks.keep(0, len(masks))[..., None] * query) > 0
    black = int((~shown.any(axis=(1, 2, 3))).sum())
    assert 0 < black < len(masks)
    said = f"{black} of {len(masks)} covered pictures of the query have an embedding of length zero and are left out"
    assert said in why.note


def test_one_window_over_all_leaves_nothing_to_say():
    embedder = without_bias()
    query, item = patches.pictures(2)
    why = occlusion(embedder, query, item, window=(8, 12), fill=(0, 0, 0), **QUIET)
    assert (why.query_map == 0).all()
    assert "1 of 1 covered pictures of the query have an embedding of length zero" in why.note


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_pair_without_a_cosine_has_an_empty_map_and_no_score(name):
    function, options = FUNCTIONS[name]
    query, item = np.zeros((8, 12, 3), np.uint8), patches.pictures(1)[0]
    why = function(without_bias(), query, item, **options, **QUIET)
    assert np.isnan(why.similarity)
    assert (why.query_map == 0).all()
    assert (why.gallery_map == 0).all()
    assert "an embedding has no length, so its cosine is undefined" in why.note
    dot = function(without_bias(), query, item, similarity="dot", **options, **QUIET)
    assert dot.similarity == 0


def test_embeddings_that_are_not_finite_are_refused():
    embedder = patches.patch_embedder()
    with torch.no_grad():
        embedder.trunk[0].weight[0, 0, 0, 0] = float("nan")
    query, item = patches.pictures(2)
    with pytest.raises(ValueError, match="NaN or infinite values for a covered picture"):
        occlusion(embedder, query, item, **QUIET)


def test_the_registry_knows_them(gallery):
    for name in FUNCTIONS:
        method = method_named(name)
        assert (method.name, method.pairwise, methods_for(gallery)[name]) == (name, False, "")
        assert "forward passes" in method.cost
        with pytest.raises(TypeError, match=f"the method '{name}' has no option 'windows'; it takes "):
            explain(gallery, 0, 1, name, windows=3)
    assert method_named("occlusion").linear
    assert not method_named("corr-rise").linear
    assert len(explain_ranking(gallery, 0, [1, 1], "occlusion", **QUIET)) == 2


def test_the_network_is_left_as_found():
    embedder = patches.patch_embedder()
    embedder.trunk.train()
    query, item = patches.pictures(2)
    copies = [query.copy(), item.copy()]
    corr_rise(embedder, query, item, masks=4, grid=2, **QUIET)
    assert embedder.trunk.training
    assert all(parameter.grad is None for parameter in embedder.trunk.parameters())
    np.testing.assert_array_equal([query, item], copies)


def test_covers():
    view = patches.pictures(1)[0]
    assert cover(view, "grey").tolist() == np.full((8, 12, 3), 128.0).tolist()
    np.testing.assert_allclose(cover(view, "mean")[0, 0], view.reshape(-1, 3).mean(axis=0), rtol=1e-6)
    assert cover(view, [1, 2, 3])[7, 11].tolist() == [1, 2, 3]
    blurred = cover(view, "blur")
    assert blurred.shape == view.shape
    assert blurred.std() < view.std()
    keep = np.ones((1, 8, 12), np.float32)
    keep[0, 0, 0], keep[0, 0, 1] = 0, 0.5
    mixed = covered_views(view, cover(view, "grey"), keep)[0]
    assert mixed[0, 0].tolist() == [128] * 3
    np.testing.assert_array_equal(mixed[0, 1], np.rint((view[0, 1] + 128.0) / 2))
    np.testing.assert_array_equal(mixed[1:], view[1:])
