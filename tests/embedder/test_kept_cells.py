"""Feature maps with cells taken away: sums where the head is a sum, the runner-up where it is a maximum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmlviz.embedder import Embedder, LinearHead, embed_kept_cells
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.passage import Passage
from dmlviz.embedder.tape import record
from dmlviz.embedder.tokens_head import TokensHead
from dmlviz.images import Preprocess

FEED = Preprocess.stretch((12, 16))
IMAGE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
KEEP = np.random.default_rng(1).random((5, 3, 4)) < 0.5
KEEP[0], KEEP[1] = True, False


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def trunk():
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU()))


def embedder(pooling, **options):
    linear = seeded(lambda: nn.Linear(6 * 12 if pooling == "flatten" else 6, 5))
    batch_norm = nn.BatchNorm1d(5)
    batch_norm.running_mean.copy_(torch.linspace(-1, 1, 5))
    return Embedder(trunk(), LinearHead(pooling, linear, batch_norm, **options), FEED)


def in_loops(network, keep):
    """Zeros written cell by cell, the head run on one map at a time."""
    rows = []
    for mask in keep:
        features = network.feature_maps([IMAGE]).clone()
        for row in range(3):
            for col in range(4):
                features[0, :, row, col] *= float(mask[row, col])
        with torch.no_grad():
            network.head.eval()
            rows.append(network.head(features)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["avg", "flatten"])
def test_affine_heads_keep_the_sum_of_the_kept_local_embeddings(pooling):
    network = embedder(pooling)
    parts = network.local_embeddings(IMAGE)
    for keep in (KEEP, KEEP * np.float32(0.25), np.random.default_rng(2).random((3, 3, 4))):
        summed = np.einsum("bhw,hwd->bd", keep, parts.vectors) + parts.offset
        found = embed_kept_cells(network, IMAGE, keep)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, summed, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_any_mask_and_its_complement_share_out_the_embedding(bits):
    network = embedder("avg")
    keep = np.array(bits).reshape(1, 3, 4)
    both = embed_kept_cells(network, IMAGE, np.concatenate([keep, ~keep]))
    parts = network.local_embeddings(IMAGE)
    np.testing.assert_allclose(both.sum(0), parts.embedding + parts.offset, atol=1e-5)


@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max", "gem", "flatten"])
def test_every_pooling_equals_the_loops(pooling):
    network = embedder(pooling)
    for batch_size in (1, 2, 64):
        found = embed_kept_cells(network, IMAGE, KEEP, batch_size=batch_size)
        np.testing.assert_allclose(found, in_loops(network, KEEP), atol=1e-5)
    np.testing.assert_allclose(embed_kept_cells(network, IMAGE, KEEP[:1]), network.embed(IMAGE), atol=1e-5)


class Given(nn.Module):
    """A trunk that returns one known map."""

    def __init__(self, values):
        super().__init__()
        self.register_buffer("values", torch.tensor(values))

    def forward(self, images):
        return self.values.expand(len(images), *self.values.shape)


def test_of_a_maximum_the_runner_up_takes_over():
    network = Embedder(Given([[[1.0, 5.0], [3.0, -2.0]]]), LinearHead("max"), FEED)
    keep = np.ones((4, 2, 2), bool)
    keep[1, 0, 1] = False  # without the 5 the 3 is seen
    keep[2, 0, 1] = keep[2, 1, 0] = False  # then the 1
    keep[3] = [[False, False], [False, True]]  # a zero that was taken away stands above −2
    assert embed_kept_cells(network, IMAGE, keep)[:, 0].tolist() == [5.0, 3.0, 1.0, 0.0]
    # the local embeddings would have left nothing at once
    assert network.local_embeddings(IMAGE).vectors[..., 0].tolist() == [[0.0, 5.0], [0.0, 0.0]]


def with_jacobian_head(after):
    """An embedder whose head is whatever is done with the trunk's feature map, taken from a tape of it."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = trunk()

        def forward(self, images):
            return after(self.trunk(images))

    model = Whole().eval()
    tape = record(model, torch.from_numpy(FEED(IMAGE))[None])
    start = next(ref for name, _, ref in tape.module_outputs if name == "trunk")
    return Embedder(model.trunk, JacobianHead(Passage.cut(tape, start, tape.output), None), FEED)


def test_a_head_without_closed_form_is_run_as_it_is():
    network = with_jacobian_head(lambda maps: torch.tanh(3 * maps.mean((2, 3))))
    with torch.no_grad():
        masked = network.feature_maps([IMAGE]) * torch.from_numpy(KEEP)[:, None]
    np.testing.assert_allclose(
        embed_kept_cells(network, IMAGE, KEEP), torch.tanh(3 * masked.mean((2, 3))).numpy(), atol=1e-6
    )


def test_in_a_transformer_a_blank_pictures_tokens_take_their_place():
    from torchvision.models.vision_transformer import VisionTransformer

    model = seeded(lambda: VisionTransformer(32, 8, 2, 2, 12, 20, num_classes=5))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * seeded(lambda w=weight: torch.randn_like(w))
    model.heads = nn.Identity()
    feed = Preprocess.stretch((32, 32))
    picture = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tape = record(model.eval(), torch.from_numpy(feed(picture))[None])
    patches = next(ref for name, _, ref in tape.module_outputs if name == "conv_proj")
    with torch.no_grad():
        blank = model.conv_proj(torch.zeros(1, 3, 32, 32))[0]
    network = Embedder(model.conv_proj, TokensHead(tape, patches, tape.output, blank), feed)
    keep = np.random.default_rng(4).random((3, 4, 4)) < 0.5
    keep[0] = True
    found = embed_kept_cells(network, picture, keep)
    np.testing.assert_allclose(found[0], network.embed(picture)[0], atol=1e-4)

    # the same by hooks: the layer's tokens caught, mixed, and put back
    def at_layer(action):
        layer = dict(model.named_modules())[network.head.layer]
        return layer.register_forward_hook(action)

    caught = []
    hook = at_layer(lambda _m, _a, out: caught.append(out.detach().clone()))
    with torch.no_grad():
        model(torch.from_numpy(network.preprocess(picture))[None])
        model(torch.zeros(1, 3, 32, 32))
    hook.remove()
    own, blank = caught
    for row in (1, 2):
        mixed = own.clone()
        for cell in np.flatnonzero(~keep[row].ravel()):
            mixed[0, 1 + cell] = blank[0, 1 + cell]
        hook = at_layer(lambda _m, _a, _o, mixed=mixed: mixed)
        with torch.no_grad():
            expected = model(torch.zeros(1, 3, 32, 32))[0].numpy()
        hook.remove()
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_the_model_is_left_as_it_was():
    network = embedder("avg")
    network.head.train()
    network.trunk.train()
    before = network.head.batch_norm.running_mean.clone()
    embed_kept_cells(network, IMAGE, KEEP)
    assert network.head.training
    assert network.trunk.training
    assert torch.equal(network.head.batch_norm.running_mean, before)


def test_masks_that_say_nothing_sensible_are_refused():
    network = embedder("avg")
    with pytest.raises(ValueError, match=r"one value per cell, shape \(B, 3, 4\); got \(5, 4, 3\)"):
        embed_kept_cells(network, IMAGE, KEEP.transpose(0, 2, 1))
    with pytest.raises(ValueError, match=r"numbers from 0 \(taken away\) to 1 \(kept\), and no NaN"):
        embed_kept_cells(network, IMAGE, np.full((1, 3, 4), np.nan))
    with pytest.raises(ValueError, match=r"numbers from 0 \(taken away\) to 1 \(kept\)"):
        embed_kept_cells(network, IMAGE, np.full((1, 3, 4), 1.5))
    with pytest.raises(TypeError, match="bool or numbers from 0 to 1, got dtype <U1"):
        embed_kept_cells(network, IMAGE, np.full((1, 3, 4), "x"))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        embed_kept_cells(network, IMAGE, KEEP, batch_size=0)
    assert embed_kept_cells(network, IMAGE, KEEP[:0]).shape == (0, 5)


def test_a_head_that_divides_by_nothing_says_so():
    network = with_jacobian_head(lambda maps: maps.mean((2, 3)) / maps.mean((1, 2, 3))[:, None])
    assert np.isfinite(embed_kept_cells(network, IMAGE, KEEP[:1])).all()
    with pytest.raises(ValueError, match=r"with 0 of 12 cells kept the head gives NaN .* \(mask 1 of 5\)"):
        embed_kept_cells(network, IMAGE, KEEP)
