"""Fresh weights from the head downwards: what is drawn, what stays, and that the given embedder is left alone."""

import numpy as np
import pytest
import torch
from torch import nn

import dmlviz as dv
from dmlviz.embedder import Embedder, LinearHead, birds_embedder, parametrised_layers, randomised
from dmlviz.embedder.tokens_head import TokensHead
from dmlviz.faithfulness import Explained, choose_pairs
from dmlviz.images import Preprocess

FEED = Preprocess.stretch((32, 32))
IMAGE = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
BIRD_LAYERS = ["head.linear", *(f"trunk.conv{n}" for n in range(6, 0, -1))]


class Layered(nn.Module):
    """A convolutional network with everything that is drawn in a way of its own, and a layer that nothing reads."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.unused = nn.Linear(4, 4)
            self.linear = nn.Linear(8, 5)  # made first, read last
            self.conv = nn.Conv2d(3, 8, 4, 4)
            self.norm = nn.BatchNorm2d(8)
            self.gain = nn.Parameter(torch.randn(8, 1, 1) + 5)
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(1, 2)

    def forward(self, images):
        return self.linear(self.norm(self.conv(images) * self.gain).relu().mean((2, 3)))


def vit():
    from torchvision.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(32, 8, 2, 2, 12, 20, num_classes=5)
        nn.init.normal_(model.class_token)
    model.heads = nn.Identity()
    return model.eval()


def adds_up(embedder, image=IMAGE):
    parts = embedder.local_embeddings(image)
    whole = embedder.embed(image)[0]
    error = np.abs(parts.vectors.sum((0, 1)) + parts.offset - whole).max()
    return error <= 1e-5 * max(1.0, np.abs(whole).max())


def test_layers_are_named_from_the_head_down_in_the_order_they_are_read():
    assert parametrised_layers(birds_embedder()) == BIRD_LAYERS
    model = Layered()
    assert parametrised_layers(Embedder.from_module(model, FEED)) == ["linear", "norm", "", "conv"]
    names = parametrised_layers(Embedder.from_module(vit(), FEED, head="linearised"))
    assert names[0] == "encoder.ln"
    assert names[-1] == "conv_proj"
    attention = [n for n in names if n.endswith(("self_attention", "out_proj"))]
    assert attention[0].endswith("encoder_layer_1.self_attention.out_proj")
    assert len(attention) == 4


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_birds_with_random_weights(pooling):
    embedder = birds_embedder(pooling)
    before = embedder.fingerprint
    twin = randomised(embedder)
    assert embedder.fingerprint == before != twin.fingerprint
    assert (twin.map_size, twin.dim, twin.input_size) == (
        embedder.map_size,
        embedder.dim,
        embedder.input_size,
    )
    assert twin.geometry == embedder.geometry
    assert twin.preprocess == embedder.preprocess
    assert twin.name == f"birds, {pooling} pooling with random weights (7 layers)"
    assert adds_up(twin)
    assert twin.fingerprint == randomised(embedder).fingerprint != randomised(embedder, seed=1).fingerprint


def test_a_few_layers_are_the_beginning_of_more():
    embedder = birds_embedder()
    own = dict(_weights(embedder))
    everything = dict(_weights(randomised(embedder)))
    for count in (1, 3):
        for name, weight in _weights(randomised(embedder, layers=count)):
            drawn = name.rpartition(".")[0] in BIRD_LAYERS[:count]
            torch.testing.assert_close(weight, (everything if drawn else own)[name], rtol=0, atol=0)
            assert drawn != torch.equal(weight, own[name])


def _weights(embedder):
    for side, part in (("trunk", embedder.trunk), ("head", embedder.head)):
        yield from ((f"{side}.{name}", value) for name, value in part.named_parameters())


def test_a_folded_head_is_folded_anew():
    model = Layered()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.conv.register_forward_hook(lambda *_: None)
    model.train()
    embedder = Embedder.from_module(model, FEED)
    hooks = [len(part._forward_hooks) for part in model.modules()]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    twin = randomised(embedder, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert [len(part._forward_hooks) for part in model.modules()] == hooks
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    drawn = twin.trunk.model
    assert isinstance(twin.head, LinearHead)
    assert adds_up(twin)
    with torch.no_grad():
        own = drawn.eval()(torch.from_numpy(twin.preprocess(IMAGE))[None])[0].numpy()
    np.testing.assert_allclose(twin.embed(IMAGE)[0], own, rtol=1e-4, atol=1e-6)
    assert drawn.norm.running_mean.abs().max() == 0
    assert drawn.norm.running_var.eq(1).all()
    assert torch.equal(drawn.unused.weight, model.unused.weight)
    assert 3 < drawn.gain.mean() < 7  # a tensor without a rule keeps its mean and spread
    assert not torch.equal(drawn.gain, model.gain)
    assert not torch.equal(drawn.linear.weight, model.linear.weight)
    head_only = randomised(embedder, layers=1, seed=2).trunk.model
    assert torch.equal(head_only.linear.weight, drawn.linear.weight)
    assert torch.equal(head_only.norm.running_mean, model.norm.running_mean)


def test_random_weights_let_the_signal_through():
    picture = dv.birds(families=1, per_class=1)[0]
    for seed in range(3):
        twin = randomised(birds_embedder(), seed=seed)
        assert all(not part.bias.any() for part in twin.trunk if hasattr(part, "bias"))
        for name in ("conv1", "conv4", "conv6"):
            weight = twin.trunk.get_submodule(name).weight
            np.testing.assert_allclose(float(weight.detach().std()), (2 / weight[0].numel()) ** 0.5, rtol=0.1)
        cells = twin.local_embeddings(picture).vectors.reshape(144, -1)
        share = cells @ cells.sum(0)  # a cell's contribution to the similarity with the picture itself
        assert share.std() > 0.1 * share.mean()  # torch's own rule leaves less than a hundredth


def test_resnet18_carries_its_classifier_along():
    embedder = Embedder.from_torchvision("resnet18", input_size=(64, 64))
    embedder.classifier = nn.Linear(512, 3)
    kept = embedder.classifier.weight.clone()
    twin = randomised(embedder, layers=2)
    assert parametrised_layers(embedder)[:2] == ["trunk.7.1.bn2", "trunk.7.1.conv2"]
    assert twin.name == "resnet18 with random weights (2 layers)"
    assert torch.equal(embedder.classifier.weight, kept)
    assert not torch.equal(twin.classifier.weight, kept)
    assert twin.geometry == embedder.geometry
    assert adds_up(twin)


def test_class_tokens_are_taken_apart_again():
    embedder = Embedder.from_module(vit(), FEED, head="linearised")
    twin = randomised(embedder)
    assert isinstance(twin.head, TokensHead)
    assert twin.head.layer == embedder.head.layer
    assert twin.note == embedder.note
    token, own = twin.trunk.model.class_token, embedder.trunk.model.class_token
    assert not torch.equal(token, own)
    assert 0.2 < float(token.detach().std() / own.detach().std()) < 3
    assert adds_up(twin)


def test_a_held_length_is_held_again():
    class Normed(Layered):
        def forward(self, images):
            return nn.functional.layer_norm(self.conv(images).relu().mean((2, 3)), (8,))

    twin = randomised(Embedder.from_module(Normed(), FEED, head="frozen"))
    assert "is held at each image" in twin.note
    assert twin.exact
    assert adds_up(twin)


def test_random_weights_hardly_find_a_species():
    flock = dv.birds(families=2, per_class=4)
    trained = dv.Gallery.build(flock, birds_embedder(), progress=False)
    untrained = dv.Gallery.build(flock, randomised(birds_embedder()), progress=False)
    chance = 3 / (len(flock) - 1)
    assert trained.evaluate().precision_at_1 > 0.9
    assert untrained.evaluate().precision_at_1 < 4 * chance
    pair = next(iter(choose_pairs(trained, 1)))
    why = Explained(trained, "random weights").of(*pair)
    assert abs(why.residual) < 1e-6
    assert np.corrcoef(why.contributions.ravel(), _own_pairs(trained, pair).ravel())[0, 1] < 0.5


def _own_pairs(gallery, pair):
    return Explained(gallery).of(*pair).contributions


@pytest.mark.parametrize("layers", [0, 8, True, "some", 1.0])
def test_another_number_of_layers_is_refused(layers):
    with pytest.raises(
        ValueError, match=r"a number from 1 to 7, .* from 'head.linear' down to 'trunk.conv1'; got"
    ):
        randomised(birds_embedder(), layers=layers)


def test_what_is_no_embedder_is_refused():
    with pytest.raises(TypeError, match=r"expected a dmlviz.Embedder, got Conv2d"):
        randomised(nn.Conv2d(3, 4, 1))


def test_a_network_of_one_channel_is_drawn_anew():
    grey = Preprocess.stretch((32, 32), channels="L")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 6, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    embedder = Embedder.from_module(model, grey)
    assert embedder.zero_input().shape == (1, 1, 32, 32)
    assert parametrised_layers(embedder) == ["0"]
    assert np.abs(randomised(embedder).embed(IMAGE) - embedder.embed(IMAGE)).max() > 1e-3
