"""Any module becomes a trunk and a head, or is refused by the name of the layer that breaks it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder import Embedder, HeadError, LinearHead
from dmlviz.embedder.jacobian import JacobianHead, cell_products
from dmlviz.images import Preprocess

FEED = Preprocess.stretch(32)
RNG = np.random.default_rng(5)
IMAGES = [RNG.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((32, 32), (40, 30), (20, 50))]


def randomised(model, seed=0):
    """Weights and running statistics far from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(generator=generator)
                part.running_var.uniform_(0.3, 2.0, generator=generator)
                part.weight.normal_(generator=generator)
                part.bias.normal_(generator=generator)
            elif isinstance(part, nn.Linear | nn.Conv2d):
                part.weight.normal_(0, 1.5 / part.weight[0].numel() ** 0.5, generator=generator)
                if part.bias is not None:
                    part.bias.normal_(generator=generator)
    return model.eval()


def trunk():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 6, 3, 2, 1),
        nn.ReLU(),
    )


class Model(nn.Module):
    """A trunk and whatever is done to its feature map in forward."""

    def __init__(self, after, **parts):
        super().__init__()
        self.trunk, self.after = trunk(), after
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, images):
        return self.after(self, self.trunk(images))


class GeM(nn.Module):
    def __init__(self, p, eps=1e-6):
        super().__init__()
        self.p, self.eps = nn.Parameter(torch.tensor(p)), eps

    def forward(self, x):
        return F.avg_pool2d(x.clamp(min=self.eps).pow(self.p), x.shape[-2:]).pow(1.0 / self.p)


def pool(kind=nn.AdaptiveAvgPool2d):
    return [kind(1), nn.Flatten()]


def linear():
    return nn.Linear(6, 5)


CLOSED = {  # model, the pooling it must be recognised as
    "avg": (nn.Sequential(trunk(), *pool(), linear()), "avg"),
    "avg, batch norm": (nn.Sequential(trunk(), *pool(), nn.BatchNorm1d(6)), "avg"),
    "avg, linear, batch norm": (nn.Sequential(trunk(), *pool(), linear(), nn.BatchNorm1d(5)), "avg"),
    "avg, dropout, two linear": (
        nn.Sequential(trunk(), *pool(), nn.Dropout(), linear(), nn.Linear(5, 7)),
        "avg",
    ),
    "avg, 1×1 convolution": (
        nn.Sequential(trunk(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1), nn.Flatten()),
        "avg",
    ),
    "mean in forward": (Model(lambda s, x: s.fc(x.mean((2, 3))), fc=linear()), "avg"),
    "view and mean": (Model(lambda s, x: s.fc(x.view(x.size(0), 6, -1).mean(-1)), fc=linear()), "avg"),
    "identity": (nn.Sequential(trunk(), *pool()), "avg"),
    "max": (nn.Sequential(trunk(), *pool(nn.AdaptiveMaxPool2d), linear()), "max"),
    "amax in forward": (Model(lambda s, x: x.amax((2, 3))), "max"),
    "max_pool2d": (Model(lambda s, x: F.max_pool2d(x, x.shape[-2:]).flatten(1)), "max"),
    "avg + max": (
        Model(
            lambda s, x: s.fc((F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1)).flatten(1)),
            fc=linear(),
        ),
        "avg+max",
    ),
    "gem module": (nn.Sequential(trunk(), GeM(3.7), nn.Flatten(), linear()), "gem"),
    "gem in forward": (Model(lambda s, x: x.clamp(min=1e-4).pow(3).mean((2, 3)).pow(1 / 3)), "gem"),
    "flatten": (nn.Sequential(trunk(), nn.Flatten(), nn.Linear(6 * 64, 5), nn.BatchNorm1d(5)), "flatten"),
    "depthwise": (
        nn.Sequential(
            trunk(), nn.Conv2d(6, 6, 8, groups=6), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 1), nn.Flatten()
        ),
        "flatten",
    ),
    "average over four windows": (
        nn.Sequential(trunk(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)),
        "flatten",
    ),
    "residual made in forward": (
        Model(lambda s, x: F.gelu(s.c(x) + x).mean((2, 3)), c=nn.Conv2d(6, 6, 1)),
        "avg",
    ),
    "activation in forward": (
        Model(lambda s, x: s.fc(F.silu(s.c(x)).mean((2, 3))), c=nn.Conv2d(6, 6, 1), fc=linear()),
        "avg",
    ),
}
GENERAL = {
    "avg and max side by side": Model(lambda s, x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)),
    "regional maxima": Model(lambda s, x: F.max_pool2d(x, 4, 4).sum((2, 3))),
    "MLP without bias": Model(
        lambda s, x: s.b(F.relu(s.a(x.mean((2, 3))))), a=nn.Linear(6, 5, bias=False), b=nn.Linear(5, 4)
    ),
}
NORMALISED = {
    "F.normalize": Model(lambda s, x: F.normalize(s.fc(x.mean((2, 3)))), fc=linear()),
    "by hand, with a scale": Model(
        lambda s, x: (lambda e: 16 * e / e.norm(dim=1, keepdim=True))(s.fc(x.mean((2, 3)))), fc=linear()
    ),
    "of a general head": Model(lambda s, x: F.normalize(F.max_pool2d(x, 4, 4).sum((2, 3)))),
}


def own_output(model, embedder, image, dtype=torch.float64):
    twin = copy.deepcopy(model).to(dtype).eval()
    with torch.no_grad():
        return twin(torch.from_numpy(embedder.preprocess(image))[None].to(dtype))[0].numpy()


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("name", CLOSED)
def test_known_heads_fold_in_closed_form(name):
    model, pooling = CLOSED[name]
    embedder = Embedder.from_module(randomised(model), FEED)
    assert isinstance(embedder.head, LinearHead)
    assert embedder.head.pooling == pooling
    assert (embedder.exact, embedder.note, embedder.map_size) == (True, "", (8, 8))
    for image in IMAGES:
        own = own_output(model, embedder, image)
        double = embedder.local_embeddings(image, dtype="float64")
        assert relative(double.vectors.sum((0, 1)) + double.offset, own) < 1e-10
        assert relative(embedder.local_embeddings(image).embedding, own) < 1e-5
        assert relative(embedder.embed(image)[0], own) < 1e-5


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_equals_the_jacobian(name):
    """The slow twin: the Jacobian of the model's own rest, by autograd, applied to each cell."""
    model, pooling = CLOSED[name]
    embedder = Embedder.from_module(randomised(model), FEED)
    found = embedder.local_embeddings(IMAGES[0], dtype="float64")
    trunk_, head = embedder._in_double()
    maps = trunk_(torch.from_numpy(embedder.preprocess(IMAGES[0])).double()[None])[0].detach()
    expected = cell_products(lambda x: head(x[None])[0], maps).detach().numpy()
    if "max" in pooling or pooling == "gem":  # equal shares of ties; clamped cells keep what eps earns
        np.testing.assert_allclose(found.vectors.sum((0, 1)), expected.sum((0, 1)), atol=1e-3)
    else:
        np.testing.assert_allclose(found.vectors, expected, atol=1e-12)


@pytest.mark.parametrize("name", GENERAL)
def test_other_homogeneous_heads_go_through_the_jacobian(name):
    model = randomised(GENERAL[name])
    embedder = Embedder.from_module(model, FEED)
    assert isinstance(embedder.head, JacobianHead)
    assert (embedder.exact, embedder.note) == (True, "")
    offsets = []
    for image in IMAGES:
        parts = embedder.local_embeddings(image, dtype="float64")
        assert relative(parts.vectors.sum((0, 1)) + parts.offset, own_output(model, embedder, image)) < 1e-10
        assert relative(embedder.local_embeddings(image).embedding, own_output(model, embedder, image)) < 1e-5
        offsets.append(parts.offset)
    assert np.array_equal(offsets[0], offsets[1])


def test_forward_and_reverse_mode_agree():
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide, narrow = (
        (lambda x: torch.relu(weight @ x.flatten())),
        (lambda x: torch.relu(weight[:7] @ x.flatten())),
    )
    np.testing.assert_allclose(
        cell_products(wide, x)[..., :7], cell_products(narrow, x), atol=1e-12
    )  # 20 cells


@pytest.mark.parametrize("name", NORMALISED)
def test_a_final_normalisation_is_taken_off_and_said(name):
    model = randomised(NORMALISED[name])
    embedder = Embedder.from_module(model, FEED)
    assert "L2 normalisation was taken off" in embedder.details
    lengths = []
    for image in IMAGES:
        parts = embedder.local_embeddings(image, dtype="float64").embedding
        own = own_output(model, embedder, image)
        assert relative(parts / np.linalg.norm(parts), own / np.linalg.norm(own)) < 1e-10
        lengths.append(np.linalg.norm(parts))
    assert np.ptp(lengths) > 1e-3


REFUSED = {  # model, the layer that must be named
    "ReLU at the end": (nn.Sequential(trunk(), *pool(), linear(), nn.ReLU()), r"layer '4' \(ReLU"),
    "MLP": (nn.Sequential(trunk(), *pool(), linear(), nn.ReLU(), nn.Linear(5, 3)), r"layer '4' \(ReLU"),
    "tanh": (nn.Sequential(trunk(), *pool(), nn.Tanh()), r"layer '3' \(Tanh"),
    "LayerNorm": (nn.Sequential(trunk(), *pool(), nn.LayerNorm(6)), r"layer '3' \(LayerNorm"),
    "sigmoid in forward": (
        Model(lambda s, x: torch.sigmoid(x.mean((2, 3)))),
        r"operation 'sigmoid' in Model.forward",
    ),
    "attention pooling": (
        Model(
            lambda s, x: (x * torch.softmax(s.a(x).flatten(2), -1).view(x.shape[0], 1, 8, 8)).sum((2, 3)),
            a=nn.Conv2d(6, 1, 1),
        ),
        "softmax",
    ),
    "normalised between": (Model(lambda s, x: s.fc(F.normalize(x.mean((2, 3)))), fc=linear()), "operation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_heads_are_refused_by_name(name):
    model, layer = REFUSED[name]
    randomised(model)
    with pytest.raises(HeadError, match=f'{layer}.*makes the offset differ.*head="linearised"') as caught:
        Embedder.from_module(model, FEED)
    assert caught.value.layer
    assert caught.value.layer in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_linearised_heads_say_so_in_every_result(name):
    model, _ = REFUSED[name]
    embedder = Embedder.from_module(randomised(model), FEED, head="linearised")
    assert not embedder.exact
    assert "linearised" in embedder.note
    for parts, image in zip(embedder.local_embeddings(IMAGES), IMAGES, strict=True):
        assert parts.note == embedder.note
        assert relative(parts.embedding, own_output(model, embedder, image)) < 1e-4
    assert "not exact" in repr(embedder)


def test_a_relu_that_two_similar_inputs_would_let_through():
    """Its mask does not flip between pictures, only under probes that move the activations."""
    model = randomised(nn.Sequential(trunk(), *pool(), linear(), nn.ReLU()))
    with torch.no_grad():
        model[3].bias.copy_(torch.tensor([4.0, 5.0, 6.0, 5.0, 4.0]))
        model[3].weight.mul_(0.1)
    embedder = Embedder.from_module(nn.Sequential(*list(model)[:-1]), FEED)
    assert (embedder.embed(IMAGES) > 0).all()  # on pictures the ReLU does nothing at all
    with pytest.raises(HeadError, match=r"layer '4' \(ReLU"):
        Embedder.from_module(model, FEED)


def test_an_exact_head_that_fails_on_a_picture_raises():
    embedder = Embedder.from_module(randomised(GENERAL["regional maxima"]), FEED)
    embedder.head.offset = embedder.head.offset + 10.0
    with pytest.raises(HeadError, match="passed the probes but is not a sum over cells at this image"):
        embedder.local_embeddings(IMAGES[0])


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (lambda x: x, TypeError, "model must be a torch.nn.Module, got function"),
        (trunk(), ValueError, r"must return embeddings \(N, D\).*\(1, 6, 8, 8\).*add pooling and nn.Flatten"),
        (Model(lambda s, x: (x, x)), TypeError, "returned tuple; wrap it"),
        (Model(lambda s, x: torch.zeros(1, 3)), ValueError, "output does not depend on the image"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), HeadError, "no feature map"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), *pool()),
            ValueError,
            r"layer '1' \(BatchNorm2d\) keeps no running statistics",
        ),
        (
            Model(lambda s, x: x.mean((2, 3)) * float("nan")),
            ValueError,
            "embeddings hold NaN or infinite values",
        ),
        (Model(lambda s, x: x.mean((2, 3)) * 0.0), ValueError, "same embedding for three different pictures"),
    ],
)
def test_models_that_cannot_be_embedders(model, error, words):
    with pytest.raises(error, match=words):
        Embedder.from_module(model, FEED)


def test_channels_last_maps_are_refused():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.last = trunk(), nn.LayerNorm(6)

        def forward(self, x):
            return self.last(self.trunk(x).permute(0, 2, 3, 1)).mean((1, 2))

    with pytest.raises(HeadError, match=r"channels last.*x.permute\(0, 3, 1, 2\)"):
        Embedder.from_module(Last(), FEED)


def test_unknown_head_mode():
    with pytest.raises(ValueError, match="unknown head 'guess': expected 'fold', 'frozen' or 'linearised'"):
        Embedder.from_module(trunk(), FEED, head="guess")


def test_data_parallel_is_unwrapped():
    model = randomised(nn.Sequential(trunk(), *pool(), linear()))
    wrapped = Embedder.from_module(nn.DataParallel(model), FEED)
    np.testing.assert_allclose(
        wrapped.embed(IMAGES[0])[0], own_output(model, wrapped, IMAGES[0]), rtol=1e-4, atol=1e-5
    )


def test_half_precision_models_are_taken():
    model = randomised(nn.Sequential(trunk(), *pool(), linear())).bfloat16()
    parts = Embedder.from_module(model, FEED).local_embeddings(IMAGES[0])
    assert parts.vectors.dtype == np.float32


def test_geometry_and_its_absence_are_said():
    assert Embedder.from_module(randomised(CLOSED["avg"][0]), FEED).geometry.stride == (4, 4)

    class Shuffled(nn.Module):
        def forward(self, x):
            return x.flatten(2).flip(2).reshape(x.shape)

    embedder = Embedder.from_module(nn.Sequential(trunk(), Shuffled(), *pool()), FEED)
    assert embedder.geometry is None
    assert "geometry of the feature map is not known: layer '1' (Shuffled" in embedder.details
