"""Vision transformers as embedders: mean tokens exactly, class tokens by Jacobians at the last tokens."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from dmlviz.embedder import Embedder, HeadError, LinearHead
from dmlviz.embedder.attention import attentions_of, reads_attention
from dmlviz.embedder.integrated import integrated_local_embeddings
from dmlviz.embedder.token_trunk import TokenTrunk
from dmlviz.embedder.tokens_head import TokensHead
from dmlviz.images import Preprocess

FEED = Preprocess.stretch((32, 32))
IMAGE = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def vit(**options):
    from torchvision.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(32, 8, 2, 2, 12, 20, num_classes=5, **options)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.2 * torch.randn_like(weight)
    model.heads = nn.Identity()
    return model.eval()


class MeanTokens(nn.Module):
    """A vision transformer that returns what is done with its tokens (N, L, C)."""

    def __init__(self, pool, norm=False):
        super().__init__()
        self.vit, self.pool = vit(), pool
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.norm = nn.LayerNorm(12) if norm else nn.Identity()
            self.linear = nn.Linear(12, 6)
            if norm:
                nn.init.normal_(self.norm.weight)
                nn.init.normal_(self.norm.bias)

    def forward(self, images):
        tokens = self.vit._process_input(images)
        tokens = torch.cat([self.vit.class_token.expand(len(tokens), -1, -1), tokens], 1)
        return self.linear(self.norm(self.pool(self.vit.encoder(tokens))))


def mean_of_patches(tokens):
    return tokens[:, 1:].mean(1)


def in_double(model, embedder):
    twin = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        return twin(torch.from_numpy(embedder.preprocess(IMAGE))[None].double())[0].numpy()


def tokens_in_double(model, embedder):
    """The tokens after the final LayerNorm, (L, C) float64."""
    caught = []
    twin = copy.deepcopy(model).double().eval()
    twin.vit.encoder.register_forward_hook(lambda _m, _a, out: caught.append(out[0].detach().numpy()))
    twin(torch.from_numpy(embedder.preprocess(IMAGE))[None].double())
    return caught[0]


def test_mean_tokens_are_exact_token_by_token():
    model = MeanTokens(mean_of_patches)
    embedder = Embedder.from_module(model, FEED)
    assert embedder.exact
    assert isinstance(embedder.trunk, TokenTrunk)
    assert isinstance(embedder.head, LinearHead)
    assert embedder.head.pooling == "avg"
    assert embedder.map_size == (4, 4)
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    np.testing.assert_allclose(parts.embedding, in_double(model, embedder), atol=1e-12)
    weight = model.linear.weight.detach().double().numpy()
    for n, token in enumerate(tokens_in_double(model, embedder)[1:]):
        np.testing.assert_allclose(parts.vectors[n // 4, n % 4], weight @ token / 16, atol=1e-12)
    np.testing.assert_allclose(parts.offset, model.linear.bias.detach().numpy(), atol=1e-7)
    np.testing.assert_allclose(embedder.embed(IMAGE)[0], in_double(model, embedder), atol=1e-5)
    assert embedder.note == ""


def test_patches_lie_where_they_are_cut_out():
    geometry = Embedder.from_module(MeanTokens(mean_of_patches), FEED).geometry
    assert geometry.stride == (8, 8)
    assert geometry.first == (3.5, 3.5)
    assert "through attention it has seen the whole image" in geometry.note


def test_a_layer_norm_after_the_mean_is_exact_with_its_length_held():
    model = MeanTokens(mean_of_patches, norm=True)
    with pytest.raises(
        HeadError, match=r"layer 'norm' \(LayerNorm, .*pass head=\"frozen\" to hold the length"
    ):
        Embedder.from_module(model, FEED)
    embedder = Embedder.from_module(model, FEED, head="frozen")
    assert embedder.exact
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    np.testing.assert_allclose(parts.embedding, in_double(model, embedder), atol=1e-12)
    # γ ⊙ (xᵢ − mean xᵢ) / σ with the one σ of the pooled vector
    tokens = tokens_in_double(model, embedder)[1:]
    pooled = tokens.mean(0)
    sigma = np.sqrt(pooled.var() + model.norm.eps)
    gamma, beta = (p.detach().double().numpy() for p in (model.norm.weight, model.norm.bias))
    weight, bias = (p.detach().double().numpy() for p in (model.linear.weight, model.linear.bias))
    for n, token in enumerate(tokens):
        slow = weight @ (gamma * (token / 16 - token.mean() / 16) / sigma)
        np.testing.assert_allclose(parts.vectors[n // 4, n % 4], slow, atol=1e-12)
    np.testing.assert_allclose(parts.offset, weight @ beta + bias, atol=1e-12)
    for said in (parts.note, embedder.note, embedder.details):
        assert "the length that the LayerNorm of 'norm' divides by is held at each image" in said


def test_a_layer_norm_after_a_convolutional_map_can_be_held_too():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(6)
    )
    embedder = Embedder.from_module(model, FEED, head="frozen")
    assert embedder.exact
    assert "the LayerNorm of '4'" in embedder.note
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    np.testing.assert_allclose(parts.embedding, in_double(model, embedder), atol=1e-12)
    assert np.abs(parts.vectors).sum() > 1


def test_a_class_token_is_refused_and_can_be_linearised_at_the_last_tokens():
    model = vit()
    with pytest.raises(HeadError, match=r"tokens that are no patch.*\"integrated-jacobian\""):
        Embedder.from_module(model, FEED)
    embedder = Embedder.from_module(model, FEED, head="linearised")
    assert isinstance(embedder.head, TokensHead)
    assert embedder.head.layer == "encoder.layers.encoder_layer_0"  # the input of the second and last block
    assert embedder.head.layers[-1] == "encoder.ln"
    assert not embedder.exact
    assert embedder.geometry.first == (3.5, 3.5)
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    np.testing.assert_allclose(parts.embedding, in_double(model, embedder), atol=1e-12)
    assert "holds what the nodes miss and what its 1 token without a patch adds" in parts.note
    # the same by many small steps and finite differences of the model's own last block
    twin = copy.deepcopy(model).double().eval()
    caught = []
    twin.encoder.layers[0].register_forward_hook(lambda _m, _a, out: caught.append(out.detach()))
    inputs = torch.from_numpy(embedder.preprocess(IMAGE))[None].double()
    for one in (inputs, torch.zeros_like(inputs)):
        twin(one)
    tokens, blank = caught
    delta = tokens - blank

    def since(x):
        return twin.encoder.ln(twin.encoder.layers[1](x))[0, 0].detach()

    for n in (0, 6, 15):
        alone = torch.zeros_like(delta)
        alone[0, n + 1] = delta[0, n + 1] * 1e-5
        slow = 0
        for k in range(200):
            at = blank + (k + 0.5) / 200 * delta
            slow = slow + (since(at + alone) - since(at - alone)) / 2e-5 / 200
        found = parts.vectors[n // 4, n % 4]
        np.testing.assert_allclose(found, slow.numpy(), atol=1e-2 * float(slow.abs().max()))
        assert np.abs(found).max() > 1e-4


def test_a_class_token_by_integrated_jacobians_says_how_much_is_spatial():
    embedder = Embedder.from_module(vit(), FEED, head="linearised")
    few, many = (integrated_local_embeddings(embedder, [IMAGE], nodes=n, dtype="float64")[0] for n in (2, 24))
    assert many.missed < few.missed / 10
    assert many.missed < 1e-3
    assert (many.prefix, many.reference) == (1, "a blank picture")
    np.testing.assert_allclose(many.embedding, in_double(vit(), embedder), atol=1e-12)
    spatial = many.local.vectors.sum((0, 1)) @ many.embedding / (many.embedding @ many.embedding)
    assert many.spatial == pytest.approx(spatial)
    assert 0.001 < abs(many.spatial) < 0.9  # the class token and the reference carry the rest
    (all_,) = integrated_local_embeddings(
        embedder, [IMAGE], layer="encoder.layers.encoder_layer_1", nodes=4, dtype="float64"
    )
    assert not all_.local.vectors.any()  # behind the last attention the class token no longer sees a patch


def test_the_mean_of_all_tokens_leaves_the_class_tokens_share_in_the_offset():
    model = MeanTokens(lambda tokens: tokens.mean(1))
    embedder = Embedder.from_module(model, FEED, head="linearised")
    (found,) = integrated_local_embeddings(
        embedder, [IMAGE], layer="vit.encoder.ln", nodes=1, reference="zero", dtype="float64"
    )
    weight, bias = (p.detach().double().numpy() for p in (model.linear.weight, model.linear.bias))
    tokens = tokens_in_double(model, embedder)
    np.testing.assert_allclose(found.local.vectors.reshape(16, -1), tokens[1:] @ weight.T / 17, atol=1e-12)
    np.testing.assert_allclose(found.local.offset, weight @ tokens[0] / 17 + bias, atol=1e-12)
    assert found.missed < 1e-12


def test_attention_is_read_as_the_model_computes_it():
    model = vit()
    embedder = Embedder.from_module(model, FEED, head="linearised")
    (found,) = attentions_of(embedder, IMAGE)
    inputs = torch.from_numpy(embedder.preprocess(IMAGE))[None]
    block = model.encoder.layers[0]
    with torch.no_grad():
        tokens = torch.cat([model.class_token, model._process_input(inputs)], 1) + model.encoder.pos_embedding
        normed = block.ln_1(tokens)
        _, own = block.self_attention(normed, normed, normed, need_weights=True, average_attn_weights=False)
    np.testing.assert_allclose(found, own[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(found.sum(2), 1, atol=1e-5)
    mean = Embedder.from_module(MeanTokens(mean_of_patches), FEED)
    assert [one.shape for one in attentions_of(mean, IMAGE)] == [(2, 17, 17)] * 2
    np.testing.assert_allclose(attentions_of(mean, IMAGE)[0], found, atol=1e-6)
    plain = Embedder(nn.Conv2d(3, 4, 8, 8), LinearHead("avg"), FEED)
    assert not reads_attention(plain)
    with pytest.raises(ValueError, match="expected a transformer of patches"):
        attentions_of(plain, IMAGE)


def test_a_convolutional_trunk_with_a_transformer_after_it_is_one_too():
    class Hybrid(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(3, 6, 8, 4, 2), nn.ReLU())
            self.mix = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)

        def forward(self, images):
            return self.mix(self.trunk(images).flatten(2).transpose(1, 2)).mean(1)

    model = Hybrid().eval()
    embedder = Embedder.from_module(model, FEED)
    assert embedder.map_size == (8, 8)
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    np.testing.assert_allclose(parts.embedding, in_double(model, embedder), atol=1e-12)
    assert len(attentions_of(embedder, IMAGE)) == 1


def test_timm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 0}

    def made(**options):
        return timm.create_model("vit_tiny_patch16_224", pretrained=False, **sizes, **options).eval()

    for options, head in (
        ({"global_pool": "avg", "fc_norm": False}, "fold"),
        ({"global_pool": "avg"}, "frozen"),
        ({"global_pool": "avg", "class_token": False, "fc_norm": False}, "fold"),
        ({"global_pool": "token", "reg_tokens": 2}, "linearised"),
    ):
        model = made(**options)
        embedder = Embedder.from_module(model, FEED, head=head)
        assert embedder.exact == (head != "linearised"), options
        parts = embedder.local_embeddings(IMAGE, dtype="float64")
        np.testing.assert_allclose(
            parts.embedding, in_double(model, embedder), atol=1e-12, err_msg=str(options)
        )
        assert embedder.geometry.first == (3.5, 3.5)
        assert len(attentions_of(embedder, IMAGE)) == (1 if head == "linearised" else 2)
    assert "what its 3 tokens without a patch add" in embedder.note


def test_the_model_is_left_as_found():
    model = vit(dropout=0.1)
    model.train()
    embedder = Embedder.from_module(model, FEED, head="linearised")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    integrated_local_embeddings(embedder, [IMAGE], nodes=1)
    attentions_of(embedder, IMAGE)
    assert all(part.training for part in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_torchvision_by_name(monkeypatch):
    import torchvision
    from torchvision.models.vision_transformer import VisionTransformer

    with pytest.raises(ValueError, match=r"vit_b_32 takes another input_size .* got \(64, 96\)"):
        Embedder.from_torchvision("vit_b_32", input_size=(64, 96))

    def narrower(name, weights, image_size=224):  # the same network with fewer and thinner layers
        return VisionTransformer(image_size, int(name[-2:]), 3, 2, 12, 20)

    monkeypatch.setattr(torchvision.models, "get_model", narrower)
    embedder = Embedder.from_torchvision("vit_b_32", input_size=(64, 64))
    assert (embedder.map_size, embedder.dim, embedder.name) == ((2, 2), 12, "vit_b_32")
    assert embedder.geometry.first == (15.5, 15.5)
    assert embedder.head.layer == "encoder.layers.encoder_layer_1"
    assert embedder.classifier is None
    assert embedder.details.startswith("random weights; ")
