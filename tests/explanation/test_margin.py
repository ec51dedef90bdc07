"""Margin maps by every method whose maps may be subtracted."""

import numpy as np
import pytest
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder
from dmlviz.explanation import METHODS, explain_ranking, margin_map, method_named


@pytest.fixture(scope="module")
def gallery():
    birds = birds_embedder()
    linear = nn.Linear(128, 16)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(16, 128, generator=torch.Generator().manual_seed(0)))
        linear.bias.copy_(torch.randn(16, generator=torch.Generator().manual_seed(1)))
    embedder = Embedder(birds.trunk, LinearHead("avg", linear), birds.preprocess, geometry=birds.geometry)
    return dv.Gallery.build(dv.birds(families=1, per_class=3), embedder, progress=False)


def test_the_decomposition_by_subtraction_equals_the_product_with_the_difference(gallery):
    quick = margin_map(gallery, 0, 4, 1)
    slow = margin_map(gallery, 0, 4, 1, offsets="separate")
    np.testing.assert_allclose(quick.map, slow.map, atol=1e-6)
    assert quick.offset == pytest.approx(slow.offset, abs=1e-6)
    assert abs(quick.offset) > 1e-4
    assert quick.margin == slow.margin
    assert quick.adds_up
    assert slow.adds_up
    assert (quick.kind, quick.method, quick.promises) == ("cosine", "decomposition", True)


def test_spread_offsets_leave_none_and_dropped_ones_are_the_residual(gallery):
    apart = margin_map(gallery, 0, 4, 1)
    spread = margin_map(gallery, 0, 4, 1, offsets="spread")
    assert spread.offset == 0
    assert spread.adds_up
    dropped = margin_map(gallery, 0, 4, 1, offsets="drop")
    whys = explain_ranking(gallery, 0, [4, 1])
    assert dropped.residual == pytest.approx(whys[1].offsets - whys[0].offsets, abs=1e-6)
    assert not dropped.promises
    assert "the offsets are dropped" in dropped.note
    assert dropped.margin == apart.margin


def test_of_its_own_score_where_the_method_has_one(gallery):
    for of in ("channels", "embedding"):
        margin = margin_map(gallery, 0, 4, 1, method="l1-split", of=of)
        whys = explain_ranking(gallery, 0, [4, 1], "l1-split", of=of)
        assert margin.margin == whys[0].similarity - whys[1].similarity
        np.testing.assert_array_equal(margin.map, whys[0].overall_map("query") - whys[1].overall_map("query"))
        assert margin.adds_up
        assert margin.kind == "L1"
        assert "l1-split" in repr(margin)


def test_an_image_against_itself_has_no_margin(gallery):
    for method in ("decomposition", "l1-split"):
        margin = margin_map(gallery, 0, 4, 4, method=method)
        assert (margin.margin, margin.offset) == (0, 0)
        assert not margin.map.any()


def test_methods_that_cannot_be_subtracted_are_refused_by_name(gallery):
    curved = [name for name in METHODS if not method_named(name).linear]
    assert {"grad-cam", "dist-cam", "published-decomposition"} <= set(curved)
    for name in ("grad-cam", "dist-cam", "published-decomposition"):
        with pytest.raises(
            ValueError, match=f"'{name}' does not explain the difference .* one of 'decomposition'"
        ):
            margin_map(gallery, 0, 4, 1, method=name)
    with pytest.raises(ValueError, match="method must be one of 'decomposition', "):
        margin_map(gallery, 0, 4, 1, method="cams")
    with pytest.raises(TypeError, match="unexpected keyword argument 'ofs'"):
        margin_map(gallery, 0, 4, 1, method="l1-split", ofs="channels")
