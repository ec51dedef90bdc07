"""The method "integrated-jacobian": the identity of the decomposition, with a stated error."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import dmlviz as dv
from dmlviz.embedder import Embedder
from dmlviz.explanation import explain_ranking, integrated_jacobian, margin_map, methods_for
from dmlviz.explanation.integrated_jacobians import COMPLETE
from dmlviz.images import ImageSet, Preprocess

RNG = np.random.default_rng(4)


class Bent(nn.Module):
    """Two convolutions, average pooling and an MLP with GELU, which nothing folds."""

    def __init__(self, seed=0, bias=True, stride=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 5, 3, stride, 1), nn.ReLU(), nn.Conv2d(5, 6, 3, 2, 1), nn.ReLU()
            )
            self.a, self.b = nn.Linear(6, 9, bias=bias), nn.Linear(9, 4, bias=bias)

    def forward(self, images):
        return self.b(F.gelu(self.a(self.trunk(images).mean((2, 3)))))


def bent(seed=0, size=16, **options):
    return Embedder.from_module(Bent(seed, **options), Preprocess.stretch(size), head="linearised")


def pictures(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(ImageSet.from_arrays(pictures(7), labels=list("aabbccd")), bent(), progress=False)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_four_terms_add_up_to_the_networks_own_similarity(similarity):
    embedder = bent()
    query, item = pictures(2)
    why = integrated_jacobian(embedder, query, item, similarity=similarity, nodes=16, dtype="float64")
    double = Bent().double()
    e_q, e_g = (double(embedder._to_input([p]).double())[0].detach().numpy() for p in (query, item))
    own = e_q @ e_g / (np.linalg.norm(e_q) * np.linalg.norm(e_g) if similarity == "cosine" else 1)
    assert why.similarity == pytest.approx(own, abs=1e-12)
    assert abs(why.residual) < 1e-9
    assert abs(why.query_offset.sum()) + abs(why.gallery_offset.sum()) + abs(why.constant) > 1e-3
    scale = own / (e_q @ e_g)
    for i, j, k, m in ((0, 0, 0, 0), (3, 1, 2, 2)):
        slow = scale * sum(
            float(x) * float(y)
            for x, y in zip(why.query_local.vectors[i, j], why.gallery_local.vectors[k, m], strict=True)
        )
        assert why.contributions[i, j, k, m] == pytest.approx(slow, abs=1e-14)


def test_an_affine_head_gives_the_exact_decomposition_with_any_nodes():
    trunk = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU())
    embedder = Embedder(trunk, dv.LinearHead("avg", nn.Linear(5, 4)), Preprocess.stretch(16))
    query, item = pictures(2)
    exact = dv.decompose_similarity(*embedder.local_embeddings([query, item], dtype="float64"))
    for nodes in (1, 3):
        why = integrated_jacobian(embedder, query, item, nodes=nodes, dtype="float64")
        np.testing.assert_allclose(why.contributions, exact.contributions, atol=1e-13)
        np.testing.assert_allclose(why.query_offset, exact.query_offset, atol=1e-13)
        np.testing.assert_allclose(why.gallery_offset, exact.gallery_offset, atol=1e-13)
        assert why.constant == pytest.approx(exact.constant, abs=1e-13)
        assert why.similarity == pytest.approx(exact.similarity, abs=1e-13)


def test_the_order_of_the_sides_does_not_matter():
    query, item = pictures(2)
    there = integrated_jacobian(bent(), query, item, dtype="float64")
    back = integrated_jacobian(bent(), item, query, dtype="float64")
    np.testing.assert_allclose(there.contributions, back.contributions.transpose(2, 3, 0, 1), atol=1e-14)
    np.testing.assert_allclose(there.query_offset, back.gallery_offset, atol=1e-14)


def test_a_coarse_integral_is_shown_as_an_error_and_more_nodes_cure_it():
    model = Bent(3, bias=False)
    with torch.no_grad():
        model.a.weight *= 40
    embedder = Embedder.from_module(model, Preprocess.stretch(16), head="linearised")
    query, item = pictures(2, seed=5)
    coarse = integrated_jacobian(embedder, query, item, nodes=1, dtype="float64")
    fine = integrated_jacobian(embedder, query, item, nodes=80, dtype="float64")
    assert coarse.promises
    assert not coarse.adds_up
    assert "take more nodes" in coarse.note
    assert fine.adds_up
    assert abs(fine.residual) < abs(coarse.residual) / 20
    assert "take more nodes" not in fine.note
    assert fine.tolerance == pytest.approx(COMPLETE)


def test_a_gallery_is_explained_against_its_index(gallery):
    assert methods_for(gallery)["integrated-jacobian"] == ""
    whys = explain_ranking(gallery, 2, [0, 5], "integrated-jacobian")
    for item, why in zip([0, 5], whys, strict=True):
        assert why.similarity == gallery.score(2, [item])[0]
        assert why.adds_up
        assert why.pairwise
        assert why.query_geometry == why.gallery_geometry == gallery.embedder.geometry
        pair = integrated_jacobian(gallery.embedder, gallery.image(2), gallery.image(item))
        np.testing.assert_allclose(why.contributions, pair.contributions, atol=1e-6)
    margin = margin_map(gallery, 2, 0, 5, method="integrated-jacobian")
    assert margin.adds_up


def test_from_the_mean_of_the_gallery(gallery):
    (why,) = explain_ranking(gallery, 2, [4], "integrated-jacobian", reference="gallery", dtype="float64")
    assert "from the mean of 7 pictures" in why.note
    assert why.adds_up
    trunk, head = gallery.embedder._in_double()
    maps = torch.stack([trunk(gallery.embedder._to_input([p]).double())[0] for p in pictures(7)])
    start = head(maps.mean(0)[None])[0].detach().numpy()
    e_q, e_g = (head(maps[i][None])[0].detach().numpy() for i in (2, 4))
    assert why.constant == pytest.approx(start @ start / np.linalg.norm(e_q) / np.linalg.norm(e_g), abs=1e-9)


def test_a_layer_deeper_down_lies_where_its_own_cells_do(gallery):
    (why,) = explain_ranking(gallery, 0, [1], "integrated-jacobian", layer="trunk.1", nodes=40)
    assert why.contributions.shape == (8, 8, 8, 8)
    assert why.query_geometry.stride == (2, 2)
    assert why.adds_up


def test_two_networks_of_unequal_grids():
    query, item = pictures(2)
    asking = bent(8, size=(8, 16), stride=1)
    why = integrated_jacobian(bent(), query, item, query_embedder=asking, dtype="float64")
    assert why.contributions.shape == (4, 8, 4, 4)
    assert why.adds_up
    e_q, e_g = asking.embed(query)[0].astype(float), bent().embed(item)[0].astype(float)
    assert why.similarity == pytest.approx(e_q @ e_g / np.linalg.norm(e_q) / np.linalg.norm(e_g), abs=1e-5)


def test_an_embedding_without_length_has_no_cosine():
    model = Bent()
    with torch.no_grad():
        for part in (model.a, model.b):
            part.bias.zero_()
        model.trunk[2].weight.abs_()
        model.trunk[2].bias.zero_()
        model.trunk[0].bias.zero_()
    embedder = Embedder.from_module(
        model, Preprocess.stretch(16, mean=(0.0,) * 3, std=(1.0,) * 3), head="linearised"
    )
    black = np.zeros((16, 16, 3), np.uint8)
    why = integrated_jacobian(embedder, black, pictures(1)[0])
    assert np.isnan(why.similarity)
    assert np.isnan(why.residual)
    assert not why.contributions.any()
    assert "its cosine is undefined" in why.note


def test_unknown_options_are_refused(gallery):
    query, item = pictures(2)
    with pytest.raises(ValueError, match="similarity must be one of 'cosine', 'dot', 'l2'; got 'l1'"):
        integrated_jacobian(bent(), query, item, similarity="l1")
    with pytest.raises(ValueError, match="nodes must be"):
        explain_ranking(gallery, 0, [1], "integrated-jacobian", nodes=0)
    other = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    asking = Embedder.from_module(other, Preprocess.stretch(16))
    with pytest.raises(ValueError, match="same space"):
        integrated_jacobian(bent(), query, item, query_embedder=asking)
