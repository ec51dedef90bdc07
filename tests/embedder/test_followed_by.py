"""An embedder with a linear map behind it: what it gives, what its parts add up to, and what stays as it was."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmlviz.embedder import (
    Embedder,
    LinearHead,
    XCos,
    birds_embedder,
    embed_kept_cells,
    parametrised_layers,
    randomised,
    use_xcos,
    xcos_of,
)
from dmlviz.embedder.attention import attentions_of, reads_attention
from dmlviz.embedder.integrated import integrated_local_embeddings
from dmlviz.embedder.mapped_head import MappedHead
from dmlviz.embedder.random_weights import head_layers
from dmlviz.images import Preprocess
from dmlviz.index import LinearMap

SIZE = (12, 16)
FEED = Preprocess.stretch(SIZE)
IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8))


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def a_map(to, of, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return SimpleNamespace(matrix=rng.standard_normal((to, of)) * scale, bias=rng.standard_normal(to))


def small(pooling="avg", linear=True, norm=True, double=True, seed=0, **options):
    """A network of 3 × 4 cells with a head in closed form."""

    def make():
        trunk = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.LeakyReLU(0.1))
        inputs = 72 if pooling == "flatten" else 6
        out = 5 if linear else inputs
        batch_norm = nn.BatchNorm1d(out) if norm else None
        if batch_norm is not None:
            batch_norm.running_mean.normal_()
            batch_norm.running_var.uniform_(0.1, 2)
        return trunk, LinearHead(pooling, nn.Linear(inputs, out) if linear else None, batch_norm, **options)

    trunk, head = seeded(make, seed)
    if double:
        trunk, head = trunk.double(), head.double()
    return Embedder(trunk, head, FEED, name="small")


class RowMaxima(nn.Module):
    """Ends in what only a Jacobian takes apart: the mean of the rows' maxima, and a LayerNorm or none."""

    def __init__(self, bent=False):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 5)
        self.norm = nn.LayerNorm(6) if bent else nn.Identity()

    def forward(self, images):
        return self.linear(self.norm(self.conv(images).amax(3).mean(2)))


def vit():
    from torchvision.models.vision_transformer import VisionTransformer

    def make():
        model = VisionTransformer(16, 8, 2, 2, 12, 20, num_classes=5)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.2 * torch.randn_like(weight)
        return model

    model = seeded(make)
    model.heads = nn.Identity()
    return model.eval()


def tokens():
    return Embedder.from_module(vit(), Preprocess.stretch(16), head="linearised")


def mapped_by_hand(embedder, linear_map, image, normalise_first=False):
    """Embedding, vectors and offset in plain float64, from the parts before the map."""
    parts = embedder.local_embeddings(image, dtype="float64")
    whole = parts.vectors.sum((0, 1)) + parts.offset
    length = np.sqrt((whole**2).sum()) if normalise_first else 1.0
    vectors = np.stack([[linear_map.matrix @ cell / length for cell in row] for row in parts.vectors])
    offset = linear_map.matrix @ parts.offset / length + linear_map.bias
    return linear_map.matrix @ whole / length + linear_map.bias, vectors, offset


def agree(found, expected, within):
    assert np.abs(found - expected).max() <= within * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("normalise_first", [False, True])
@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max", "gem", "flatten"])
@settings(deadline=None, max_examples=8)
@given(
    linear=st.booleans(),
    norm=st.booleans(),
    ties=st.sampled_from(["split", "first"]),
    to=st.integers(1, 7),
    flat=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_parts_are_mapped_and_add_up(pooling, linear, norm, ties, to, normalise_first, flat, seed):
    embedder = small(pooling, linear, norm, ties=ties, p=2.5, eps=0.1, seed=seed)
    image = np.full_like(IMAGES[0], 200) if flat else IMAGES[0]  # in a flat picture all cells tie
    linear_map = a_map(to, embedder.dim, seed)
    mapped = embedder.followed_by(linear_map, normalise_first=normalise_first)
    whole, vectors, offset = mapped_by_hand(embedder, linear_map, image, normalise_first)
    for dtype, within in (("float32", 1e-4), ("float64", 1e-12)):
        parts = mapped.local_embeddings(image, dtype=dtype)
        assert parts.vectors.dtype == parts.offset.dtype == dtype
        agree(parts.vectors, vectors, within)
        agree(parts.offset, offset, within)
        agree(parts.vectors.sum((0, 1)) + parts.offset, whole, within)
    agree(mapped.embed(image)[0], whole, 1e-6)
    assert (mapped.dim, mapped.map_size, mapped.input_size) == (to, (3, 4), SIZE)
    assert mapped.exact != normalise_first
    assert isinstance(mapped.head, MappedHead) == normalise_first


@pytest.mark.parametrize("normalise_first", [False, True])
@pytest.mark.parametrize(
    ("make", "head"),
    [(RowMaxima, "fold"), (lambda: RowMaxima(True), "frozen"), (lambda: RowMaxima(True), "linearised")],
)
def test_heads_without_closed_form(make, head, normalise_first):
    model = seeded(make)
    embedder = Embedder.from_module(model, FEED, head=head)
    assert not isinstance(embedder.head, LinearHead)
    linear_map = a_map(4, 5)
    mapped = embedder.followed_by(linear_map, normalise_first=normalise_first)
    whole, vectors, offset = mapped_by_hand(embedder, linear_map, IMAGES[1], normalise_first)
    parts = mapped.local_embeddings(IMAGES[1], dtype="float64")
    agree(parts.vectors, vectors, 1e-12)
    agree(parts.offset, offset, 1e-12)
    agree(parts.vectors.sum((0, 1)) + parts.offset, whole, 1e-12)
    agree(mapped.embed(IMAGES[1])[0], whole, 1e-5)
    assert mapped.exact == (embedder.exact and not normalise_first)
    assert embedder.note in parts.note
    assert ("held at each image" in parts.note) == (normalise_first or head == "frozen")


@pytest.mark.parametrize("normalise_first", [False, True])
def test_a_transformer_with_a_class_token(normalise_first):
    embedder = tokens()
    linear_map = a_map(4, 12)
    mapped = embedder.followed_by(linear_map, normalise_first=normalise_first)
    image = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    whole, vectors, offset = mapped_by_hand(embedder, linear_map, image, normalise_first)
    parts = mapped.local_embeddings(image, dtype="float64")
    agree(parts.vectors, vectors, 1e-12)
    agree(parts.offset, offset, 1e-12)
    agree(mapped.embed(image)[0], whole, 1e-5)
    assert reads_attention(mapped)
    for found, expected in zip(attentions_of(mapped, image), attentions_of(embedder, image), strict=True):
        np.testing.assert_array_equal(found, expected)
    keep = np.random.default_rng(1).random((3, 2, 2))
    rows = embed_kept_cells(embedder, image, keep).astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalise_first else rows
    agree(embed_kept_cells(mapped, image, keep), rows @ linear_map.matrix.T + linear_map.bias, 1e-5)
    found = integrated_local_embeddings(mapped, [image], nodes=4, dtype="float64")[0]
    agree(found.embedding, whole, 1e-12)
    assert found.missed < 0.1  # 4 nodes are few
    if not normalise_first:
        expected = integrated_local_embeddings(embedder, [image], nodes=4, dtype="float64")[0]
        agree(found.local.vectors, expected.local.vectors @ linear_map.matrix.T, 1e-12)


@pytest.mark.parametrize("head", ["fold", "frozen"])
def test_integrated_along_a_path_no_length_is_held(head):
    """A map behind a head is a map behind its path integral, too."""
    embedder = Embedder.from_module(seeded(lambda: RowMaxima(head == "frozen")), FEED, head=head)
    linear_map = a_map(4, 5)
    options = {"nodes": 16, "reference": "blank", "dtype": "float64"}
    before = integrated_local_embeddings(embedder, IMAGES[:1], **options)[0]
    after = integrated_local_embeddings(embedder.followed_by(linear_map), IMAGES[:1], **options)[0]
    agree(after.local.vectors, before.local.vectors @ linear_map.matrix.T, 1e-12)
    agree(after.embedding, linear_map.matrix @ before.embedding + linear_map.bias, 1e-12)


def test_a_path_does_not_start_where_a_length_of_zero_is_divided_by():
    embedder = small(linear=False, norm=False).followed_by(a_map(4, 6), normalise_first=True)
    found, expected = (
        integrated_local_embeddings(embedder, IMAGES[:1], nodes=4, dtype="float64", reference=reference)[0]
        for reference in (None, "blank")
    )
    np.testing.assert_array_equal(found.local.vectors, expected.local.vectors)
    assert found.reference == "a blank picture"
    with pytest.raises(
        ValueError, match=r"no finite embedding of zeros, where the path starts.*reference='blank'"
    ):
        integrated_local_embeddings(embedder, IMAGES[:1], reference="zero")


def test_kept_cells_of_a_mapped_head_in_closed_form():
    embedder, linear_map = small("max"), a_map(4, 5)
    keep = np.random.default_rng(1).random((4, 3, 4)) < 0.6
    rows = embed_kept_cells(embedder, IMAGES[0], keep).astype(np.float64)
    found = embed_kept_cells(embedder.followed_by(linear_map), IMAGES[0], keep)
    agree(found, rows @ linear_map.matrix.T + linear_map.bias, 1e-5)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = embed_kept_cells(embedder.followed_by(linear_map, normalise_first=True), IMAGES[0], keep)
    agree(found, rows @ linear_map.matrix.T + linear_map.bias, 1e-5)


@pytest.mark.parametrize("make", [small, lambda: Embedder.from_module(seeded(RowMaxima), FEED)])
def test_the_identity_changes_nothing_but_the_fingerprint(make):
    embedder = make()
    same = embedder.followed_by(SimpleNamespace(matrix=np.eye(5), bias=np.zeros(5)))
    np.testing.assert_array_equal(same.embed(IMAGES), embedder.embed(IMAGES))
    for found, expected in zip(
        same.local_embeddings(IMAGES, dtype="float64"),
        embedder.local_embeddings(IMAGES, dtype="float64"),
        strict=True,
    ):
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-15)
        np.testing.assert_allclose(found.offset, expected.offset, atol=1e-15)
    assert same.fingerprint != embedder.fingerprint


@pytest.mark.parametrize("make", [small, lambda: Embedder.from_module(seeded(RowMaxima), FEED)])
def test_two_maps_in_a_row_are_their_product(make):
    embedder, first, second = make(), a_map(4, 5, 1), a_map(3, 4, 2)
    product = SimpleNamespace(
        matrix=second.matrix @ first.matrix, bias=second.matrix @ first.bias + second.bias
    )
    row, once = embedder.followed_by(first).followed_by(second), embedder.followed_by(product)
    for found, expected in zip(
        row.local_embeddings(IMAGES, dtype="float64"),
        once.local_embeddings(IMAGES, dtype="float64"),
        strict=True,
    ):
        agree(found.vectors, expected.vectors, 1e-12)
        agree(found.offset, expected.offset, 1e-12)
    agree(row.embed(IMAGES), once.embed(IMAGES), 1e-5)
    assert row.unmapped is embedder
    assert row.name.endswith("mapped from 5 to 4, mapped from 4 to 3")


def test_normalised_between_two_maps():
    embedder, first, second = small(), a_map(4, 5, 1), a_map(3, 4, 2)
    mapped = embedder.followed_by(first, normalise_first=True).followed_by(second, normalise_first=True)
    unit = [
        e / np.linalg.norm(e)
        for e in (p.embedding for p in embedder.local_embeddings(IMAGES, dtype="float64"))
    ]
    once = np.stack([first.matrix @ e + first.bias for e in unit])
    unit = once / np.linalg.norm(once, axis=1, keepdims=True)
    agree(mapped.embed(IMAGES), unit @ second.matrix.T + second.bias, 1e-6)
    parts = mapped.local_embeddings(IMAGES[0], dtype="float64")
    agree(parts.embedding, second.matrix @ unit[0] + second.bias, 1e-12)


def test_the_cosine_of_whitened_unit_embeddings_only_scales_the_bias():
    """(M e/‖e‖ + b) points where (M e + b‖e‖) does: the length that is held stands in the offset alone."""
    embedder, linear_map = small(), a_map(4, 5)
    parts = embedder.local_embeddings(IMAGES[0], dtype="float64")
    length = np.linalg.norm(parts.embedding)
    found = embedder.followed_by(linear_map, normalise_first=True).local_embeddings(
        IMAGES[0], dtype="float64"
    )
    agree(found.vectors * length, parts.vectors @ linear_map.matrix.T, 1e-12)
    agree(found.offset * length, linear_map.matrix @ parts.offset + linear_map.bias * length, 1e-12)


# ---- what it is ------------------------------------------------------------------------------------------------


def test_every_other_map_has_another_fingerprint():
    embedder, linear_map = small(), a_map(4, 5)
    other = copy.deepcopy(linear_map)
    other.bias[0] = np.nextafter(other.bias[0], 9)
    prints = [
        embedder.fingerprint,
        embedder.followed_by(linear_map).fingerprint,
        embedder.followed_by(other).fingerprint,
        embedder.followed_by(linear_map, normalise_first=True).fingerprint,
        small(seed=1).followed_by(linear_map).fingerprint,
        embedder.followed_by(a_map(5, 5)).followed_by(linear_map).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    same = embedder.followed_by(linear_map, name="called otherwise")
    assert (same.fingerprint, same.name) == (prints[1], "called otherwise")


def test_what_is_said_of_it():
    embedder = small()
    mapped = embedder.followed_by(a_map(4, 5))
    assert mapped.name == "small, mapped from 5 to 4"
    assert "then a linear map from 5 to 4 dimensions" in repr(mapped)
    assert "(not exact)" not in repr(mapped)
    assert mapped.note == ""
    assert mapped.unmapped is embedder
    assert embedder.unmapped is embedder
    held = embedder.followed_by(a_map(4, 5), normalise_first=True)
    assert "pooling='avg' (not exact)" in repr(held)
    assert held.local_embeddings(IMAGES[0]).note == held.note
    assert "held at each image" in held.note


def test_a_linear_map_of_the_index_follows_as_it_maps_rows():
    embedder = small(double=False)
    linear_map = LinearMap(a_map(4, 5).matrix, a_map(4, 5).bias)
    agree(embedder.followed_by(linear_map).embed(IMAGES), linear_map.apply(embedder.embed(IMAGES)), 1e-5)


@pytest.mark.parametrize(
    ("linear_map", "error", "words"),
    [
        (np.eye(5), TypeError, r"linear_map must have \.matrix \(D', D\) and \.bias .* got ndarray"),
        (
            SimpleNamespace(matrix=np.eye(5) * 1j, bias=np.zeros(5)),
            TypeError,
            "matrix must hold real numbers",
        ),
        (SimpleNamespace(matrix=np.eye(5), bias=["a"] * 5), TypeError, "bias must hold real numbers"),
        (
            a_map(4, 6),
            ValueError,
            r"shape \(D', 5\) to follow 'small', which gives 5 dimensions; got \(4, 6\)",
        ),
        (SimpleNamespace(matrix=np.ones(5), bias=np.zeros(1)), ValueError, r"got \(5,\)"),
        (SimpleNamespace(matrix=np.ones((0, 5)), bias=np.zeros(0)), ValueError, r"got \(0, 5\)"),
        (
            SimpleNamespace(matrix=np.ones((2, 5)), bias=np.zeros(3)),
            ValueError,
            r"bias must have the shape \(2,\)",
        ),
        (SimpleNamespace(matrix=np.full((2, 5), np.nan), bias=np.zeros(2)), ValueError, "NaN or infinite"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(linear_map, error, words):
    with pytest.raises(error, match=words):
        small().followed_by(linear_map)


def test_an_embedding_without_length_cannot_be_brought_to_length_one():
    embedder = small(linear=False, norm=False)
    with torch.no_grad():
        for weight in embedder.trunk.parameters():
            weight.zero_()
    mapped = embedder.followed_by(a_map(4, 6), normalise_first=True)
    with pytest.raises(ValueError, match=r"embeddings of images \[0\] .* hold NaN"):
        mapped.embed(IMAGES[0])
    with pytest.raises(
        ValueError, match="has length zero, so it cannot be brought to length 1 before the map"
    ):
        mapped.local_embeddings(IMAGES[0])


# ---- what it is made of ----------------------------------------------------------------------------------------


def test_the_model_is_left_as_it_was_found():
    model = seeded(RowMaxima)
    model.train()
    model.linear.eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    hook = model.conv.register_forward_hook(lambda *_: None)
    embedder = Embedder.from_module(model, FEED)
    random, before = torch.get_rng_state(), embedder.embed(IMAGES)
    mapped = embedder.followed_by(a_map(4, 5))
    mapped.embed(IMAGES)
    mapped.local_embeddings(IMAGES[0])
    assert torch.equal(torch.get_rng_state(), random)
    assert (model.training, model.conv.training, model.linear.training) == (True, True, False)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert list(model.conv._forward_hooks) == [hook.id]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(embedder.embed(IMAGES), before)


@pytest.mark.parametrize("where", ["trunk", "head"])
@pytest.mark.parametrize("normalise_first", [False, True])
def test_changed_weights_are_refused(where, normalise_first):
    embedder = small()
    mapped = embedder.followed_by(a_map(4, 5), normalise_first=normalise_first)
    twice = mapped.followed_by(a_map(3, 4))
    mapped.embed(IMAGES)
    with torch.no_grad():
        (embedder.trunk[0] if where == "trunk" else embedder.head.linear).weight.mul_(2)
    embedder.embed(IMAGES)
    for each in (mapped, twice):
        with pytest.raises(RuntimeError, match=r"put one behind it anew with embedder\.followed_by"):
            each.embed(IMAGES)
    with pytest.raises(RuntimeError, match="have changed"):
        mapped.followed_by(a_map(3, 4))
    agree(
        embedder.followed_by(a_map(4, 5)).embed(IMAGES),
        embedder.embed(IMAGES) @ a_map(4, 5).matrix.T + a_map(4, 5).bias,
        1e-6,
    )


def test_moving_it_moves_what_it_is_made_of():
    embedder = small(double=False)
    mapped = embedder.followed_by(a_map(4, 5), normalise_first=True)
    before = mapped.embed(IMAGES)
    assert mapped.to("cpu") is mapped
    np.testing.assert_array_equal(mapped.embed(IMAGES), before)
    embedder.embed(IMAGES)


def test_random_weights_get_the_same_map():
    embedder, linear_map = birds_embedder(), a_map(8, 64)
    mapped = embedder.followed_by(linear_map, "birds in 8 dimensions")
    assert parametrised_layers(mapped) == parametrised_layers(embedder)
    assert head_layers(mapped) == 1
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    for layers in (1, "all"):
        twin, plain = randomised(mapped, layers, seed=3), randomised(embedder, layers, seed=3)
        agree(twin.embed(image), plain.embed(image) @ linear_map.matrix.T + linear_map.bias, 1e-5)
        assert twin.fingerprint == plain.followed_by(linear_map).fingerprint
    assert twin.name == "birds in 8 dimensions with random weights (7 layers)"
    assert twin.geometry == embedder.geometry
    with pytest.raises(ValueError, match="layers must be 'all' or a number from 1 to 7"):
        randomised(mapped, 8)


def test_random_weights_of_a_model_that_was_folded():
    embedder, linear_map = Embedder.from_module(seeded(RowMaxima), FEED), a_map(3, 5)
    twin = randomised(embedder.followed_by(linear_map, normalise_first=True), seed=1)
    rows = randomised(embedder, seed=1).embed(IMAGES).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    agree(twin.embed(IMAGES), rows @ linear_map.matrix.T + linear_map.bias, 1e-5)
    assert "held at each image" in twin.note


def test_an_xcos_head_goes_by_the_trunk():
    embedder = birds_embedder()
    assert xcos_of(embedder.followed_by(a_map(8, 64))).channels == xcos_of(embedder).channels
    own = small()
    given, of_map = XCos(channels=6), XCos(channels=6)
    mapped = own.followed_by(a_map(4, 5))
    use_xcos(own, given)
    assert xcos_of(mapped) is given
    use_xcos(mapped, of_map)
    assert (xcos_of(mapped), xcos_of(own)) == (of_map, given)


@pytest.mark.parametrize("normalise_first", [False, True])
def test_a_classifier_reads_what_is_not_mapped(normalise_first):
    """The map keeps the number of dimensions, so that reading the mapped embedding would go unnoticed."""
    from dmlviz.explanation import cam

    plain = small(norm=False, double=False)
    embedder = Embedder(plain.trunk, plain.head, FEED, classifier=seeded(lambda: nn.Linear(5, 7)))
    mapped = embedder.followed_by(a_map(5, 5), normalise_first=normalise_first)
    expected, found = (cam(one, IMAGES[0], IMAGES[1], target=2) for one in (embedder, mapped))
    for side in ("query", "gallery"):
        np.testing.assert_array_equal(found.overall_map(side), expected.overall_map(side))


def test_gradient_maps_go_through_the_map():
    """Under average pooling and a constant norm: each cell's product with the other image."""
    from dmlviz.explanation import grad_cam

    mapped = small(double=False).followed_by(a_map(4, 5))
    query, item = mapped.local_embeddings(IMAGES[:2])
    lengths = np.linalg.norm(query.embedding) * np.linalg.norm(item.embedding)
    why = grad_cam(mapped, IMAGES[0], IMAGES[1], norm="constant", relu=False)
    agree(why.overall_map("query"), query.vectors @ item.embedding / lengths, 1e-5)
    assert why.similarity == pytest.approx(query.embedding @ item.embedding / lengths, abs=1e-6)


def test_the_published_arithmetic_knows_a_folded_map():
    from dmlviz.explanation import published_decomposition

    embedder, linear_map = small(double=False), a_map(4, 5)
    mapped = embedder.followed_by(linear_map)
    query, item = mapped.local_embeddings(IMAGES[:2])
    pairs = np.maximum(np.einsum("abd,ced->abce", query.vectors, item.vectors), 0)
    found = published_decomposition(mapped, IMAGES[0], IMAGES[1])
    agree(found.contributions, pairs / pairs.max(), 1e-5)
