"""The published networks against their published names, against slow twins, and against the identity."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder import CellGeometry, Embedder
from dmlviz.embedder.published.bn_inception import ExplainedBNInception, MultiSimilarityBNInception
from dmlviz.embedder.published.checkpoint import give_weights, shapes_of
from dmlviz.embedder.published.crossview_vgg import CrossViewVGG
from dmlviz.embedder.published.door import embedder_of_net, fitting_net
from dmlviz.embedder.published.face_resnet import EvolveIR, ExplainedIR
from dmlviz.embedder.published.reid_resnet import ExplainedReid, StrongBaseline
from dmlviz.embedder.published.variants import APPLICATIONS
from dmlviz.images import Preprocess

torchvision = pytest.importorskip("torchvision")
NORM = ("weight", "bias", "running_mean", "running_var")

# ---- the published names and shapes, written out by hand from the repositories -------------------------------

BN_INCEPTION = """
conv1_7x7_s2 64 3 7 | conv2_3x3_reduce 64 64 1 | conv2_3x3 192 64 3
3a_1x1 64 192 1 | 3a_3x3_reduce 64 192 1 | 3a_3x3 64 64 3 | 3a_double_3x3_reduce 64 192 1
3a_double_3x3_1 96 64 3 | 3a_double_3x3_2 96 96 3 | 3a_pool_proj 32 192 1
3b_1x1 64 256 1 | 3b_3x3_reduce 64 256 1 | 3b_3x3 96 64 3 | 3b_double_3x3_reduce 64 256 1
3b_double_3x3_1 96 64 3 | 3b_double_3x3_2 96 96 3 | 3b_pool_proj 64 256 1
3c_3x3_reduce 128 320 1 | 3c_3x3 160 128 3 | 3c_double_3x3_reduce 64 320 1
3c_double_3x3_1 96 64 3 | 3c_double_3x3_2 96 96 3
4a_1x1 224 576 1 | 4a_3x3_reduce 64 576 1 | 4a_3x3 96 64 3 | 4a_double_3x3_reduce 96 576 1
4a_double_3x3_1 128 96 3 | 4a_double_3x3_2 128 128 3 | 4a_pool_proj 128 576 1
4b_1x1 192 576 1 | 4b_3x3_reduce 96 576 1 | 4b_3x3 128 96 3 | 4b_double_3x3_reduce 96 576 1
4b_double_3x3_1 128 96 3 | 4b_double_3x3_2 128 128 3 | 4b_pool_proj 128 576 1
4c_1x1 160 576 1 | 4c_3x3_reduce 128 576 1 | 4c_3x3 160 128 3 | 4c_double_3x3_reduce 128 576 1
4c_double_3x3_1 160 128 3 | 4c_double_3x3_2 160 160 3 | 4c_pool_proj 128 576 1
4d_1x1 96 608 1 | 4d_3x3_reduce 128 608 1 | 4d_3x3 192 128 3 | 4d_double_3x3_reduce 160 608 1
4d_double_3x3_1 192 160 3 | 4d_double_3x3_2 192 192 3 | 4d_pool_proj 128 608 1
4e_3x3_reduce 128 608 1 | 4e_3x3 192 128 3 | 4e_double_3x3_reduce 192 608 1
4e_double_3x3_1 256 192 3 | 4e_double_3x3_2 256 256 3
5a_1x1 352 1056 1 | 5a_3x3_reduce 192 1056 1 | 5a_3x3 320 192 3 | 5a_double_3x3_reduce 160 1056 1
5a_double_3x3_1 224 160 3 | 5a_double_3x3_2 224 224 3 | 5a_pool_proj 128 1056 1
5b_1x1 352 1024 1 | 5b_3x3_reduce 192 1024 1 | 5b_3x3 320 192 3 | 5b_double_3x3_reduce 192 1024 1
5b_double_3x3_1 224 192 3 | 5b_double_3x3_2 224 224 3 | 5b_pool_proj 128 1024 1
"""


def norm(name, n):
    return {f"{name}.{part}": (n,) for part in NORM}


def bn_inception(prefix=""):
    names = {}
    for entry in BN_INCEPTION.replace("\n", "|").split("|"):
        if entry.strip():
            name, out, into, kernel = entry.split()
            name = prefix + (name if name.startswith("conv") else f"inception_{name}")
            names[f"{name}.weight"] = (int(out), int(into), int(kernel), int(kernel))
            names[f"{name}.bias"] = (int(out),)
            names |= norm(f"{name}_bn", int(out))
    return names


def linear(name, out, into, bias=True):
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def torchvision_resnet50():
    with torch.device("meta"):
        state = torchvision.models.resnet50(weights=None).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.startswith("fc.")}


def strong_baseline(classes=751):
    base = {f"base.{key}": shape for key, shape in torchvision_resnet50().items()}
    return base | norm("bottleneck", 2048) | linear("classifier", classes, 2048, bias=False)


def explained_reid(classes=751):
    place = {"conv1": 0, "bn1": 1, "layer1": 3, "layer2": 4, "layer3": 5, "layer4": 6}
    names = {}
    for key, shape in torchvision_resnet50().items():
        first, rest = key.split(".", 1)
        names[f"resnet_conv.{place[first]}.{rest}"] = shape
    return names | norm("classifier.bn", 2048) | linear("classifier.classifier", classes, 2048, bias=False)


def evolve(units, gated=False):
    names = {
        "input_layer.0.weight": (64, 3, 3, 3),
        **norm("input_layer.1", 64),
        "input_layer.2.weight": (64,),
    }
    n, into = 0, 64
    for count, out in zip(units, (64, 128, 256, 512), strict=True):
        for _ in range(count):
            body = f"body.{n}"
            if into != out:
                names[f"{body}.shortcut_layer.0.weight"] = (out, into, 1, 1)
                names |= norm(f"{body}.shortcut_layer.1", out)
            names |= norm(f"{body}.res_layer.0", into)
            names[f"{body}.res_layer.1.weight"] = (out, into, 3, 3)
            names[f"{body}.res_layer.2.weight"] = (out,)
            names[f"{body}.res_layer.3.weight"] = (out, out, 3, 3)
            names |= norm(f"{body}.res_layer.4", out)
            if gated:
                names[f"{body}.res_layer.5.fc1.weight"] = (out // 16, out, 1, 1)
                names[f"{body}.res_layer.5.fc2.weight"] = (out, out // 16, 1, 1)
            n, into = n + 1, out
    names |= norm("output_layer.0", 512) | linear("output_layer.3", 512, 25088) | norm("output_layer.4", 512)
    return names


def explained_ir(units):
    names = {"conv1.weight": (64, 3, 3, 3), **norm("bn1", 64), "prelu.weight": (1,)}
    into = 64
    for layer, (count, out) in enumerate(zip(units, (64, 128, 256, 512), strict=True), start=1):
        for n in range(count):
            unit = f"layer{layer}.{n}"
            names |= norm(f"{unit}.bn0", into) | norm(f"{unit}.bn1", into) | norm(f"{unit}.bn2", out)
            names[f"{unit}.conv1.weight"] = (into, into, 3, 3)
            names[f"{unit}.conv2.weight"] = (out, into, 3, 3)
            names[f"{unit}.prelu.weight"] = (1,)
            if into != out:
                names[f"{unit}.downsample.0.weight"] = (out, into, 1, 1)
                names |= norm(f"{unit}.downsample.1", out)
            into = out
    return names | norm("bn2", 512) | linear("fc", 512, 25088) | norm("bn3", 512)


def crossview():
    names = {}
    for branch in ("ground", "aerial"):
        into = 3
        for layer, out in (
            *(("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128), ("3_1", 256), ("3_2", 256), ("3_3", 256)),
            *(("4_1", 512), ("4_2", 512), ("4_3", 512), ("5_1", 512), ("5_2", 512), ("5_3", 512)),
        ):
            names[f"{branch}.conv{layer}.weight"] = (out, into, 3, 3)
            names[f"{branch}.conv{layer}.bias"] = (out,)
            into = out
    return names | linear("fc1", 4096, 512)


PUBLISHED = {
    ("image-retrieval", "explain-metric-learning"): bn_inception()
    | norm("classifier.bn", 1024)
    | linear("classifier.linear", 512, 1024),
    ("image-retrieval", "research-ms-loss"): bn_inception("backbone.") | linear("head.fc", 512, 1024),
    ("person-reidentification", "reid-strong-baseline"): strong_baseline(),
    ("person-reidentification", "explain-metric-learning"): explained_reid(),
    ("face-verification", "evolve-ir-50"): evolve((3, 4, 14, 3)),
    ("face-verification", "evolve-ir-101"): evolve((3, 13, 30, 3)),
    ("face-verification", "evolve-ir-152"): evolve((3, 8, 36, 3)),
    ("face-verification", "evolve-ir-se-50"): evolve((3, 4, 14, 3), gated=True),
    ("face-verification", "evolve-ir-se-101"): evolve((3, 13, 30, 3), gated=True),
    ("face-verification", "evolve-ir-se-152"): evolve((3, 8, 36, 3), gated=True),
    ("face-verification", "explain-metric-learning"): explained_ir((3, 8, 36, 3)),
    ("geo-localization-ground", "explain-metric-learning"): crossview(),
    ("geo-localization-aerial", "explain-metric-learning"): crossview(),
}


def drawn(shapes, seed=0):
    """Random values by name: variances positive, weights such that signals keep their size."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith(("num_batches_tracked",)):
            continue
        value = torch.empty(shape)
        if key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            value.uniform_(0.3, 1.2, generator=generator)
        elif len(shape) > 1:
            value.uniform_(-1, 1, generator=generator).mul_((4.5 / value[0].numel()) ** 0.5)
        else:
            value.normal_(0, 0.2, generator=generator)
        state[key] = value
    return state


def with_weights(net, seed=0):
    give_weights(net, drawn(shapes_of(net.state_dict()), seed))
    return net.eval()


def batch(size, n=1, seed=5):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("application", "variant"), PUBLISHED)
def test_a_file_of_the_published_names_and_shapes_finds_its_network(application, variant):
    names = {key: shape for key, shape in PUBLISHED[application, variant].items() if "num_batches" not in key}
    state = {key: torch.empty(shape, device="meta") for key, shape in names.items()}
    found, net = fitting_net(application, APPLICATIONS[application], state, "the file")
    assert found.name == variant
    assert shapes_of(net.state_dict()) == names
    held = net.state_dict(keep_vars=True)
    assert all(held[key].shape == value.shape and held[key].is_meta for key, value in state.items())


def test_every_variant_has_its_names_written_out():
    assert set(PUBLISHED) == {(name, one.name) for name, known in APPLICATIONS.items() for one in known}
    trained = [np.prod(s) for key, s in bn_inception().items() if "running" not in key]
    assert sum(trained) == 11_295_240 - 1_000 * 1_025  # the Caffe model without its classes


# ---- what the networks compute, by slow twins on the names alone --------------------------------------------------


class Twin:
    """The published arithmetic, step by step, on a state dict."""

    def __init__(self, net):
        self.w = {key: value.double() for key, value in net.state_dict().items()}

    def conv(self, name, x, stride=1, pad=None):
        w = self.w[f"{name}.weight"]
        pad = w.shape[-1] // 2 if pad is None else pad
        return F.conv2d(x, w, self.w.get(f"{name}.bias"), stride, pad)

    def bn(self, name, x):
        g, b, m, v = (self.w[f"{name}.{part}"] for part in NORM)
        shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        return (x - m.view(shape)) / torch.sqrt(v.view(shape) + 1e-5) * g.view(shape) + b.view(shape)

    def prelu(self, name, x):
        slope = self.w[f"{name}.weight"].view(1, -1, 1, 1)
        return torch.where(x > 0, x, slope * x)

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]


def twin_of_bn_inception(net, x, prefix=""):
    twin = Twin(net)

    def step(name, x, stride=1):
        return twin.bn(f"{prefix}{name}_bn", twin.conv(prefix + name, x, stride)).clamp(min=0)

    def largest(x):  # windows of 3 every 2, those that hang over the edge included
        return F.max_pool2d(F.pad(x, (0, 2, 0, 2), value=-torch.inf), 3, 2)[
            ..., : -(-(x.shape[2] - 3) // 2) + 1, : -(-(x.shape[3] - 3) // 2) + 1
        ]

    x = largest(step("conv1_7x7_s2", x, 2))
    x = largest(step("conv2_3x3", step("conv2_3x3_reduce", x)))
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        at, stride = f"inception_{block}", 2 if block in ("3c", "4e") else 1
        wide = step(f"{at}_3x3", step(f"{at}_3x3_reduce", x), stride)
        twice = step(f"{at}_double_3x3_1", step(f"{at}_double_3x3_reduce", x))
        twice = step(f"{at}_double_3x3_2", twice, stride)
        if stride == 2:
            x = torch.cat([wide, twice, largest(x)], 1)
        else:
            if block == "5b":
                around = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1)
            else:
                around = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1)
            x = torch.cat([step(f"{at}_1x1", x), wide, twice, step(f"{at}_pool_proj", around)], 1)
    return x, twin


@pytest.mark.parametrize("size", [(64, 64), (67, 96)])
@pytest.mark.parametrize("kind", ["explained", "multi-similarity"])
def test_bn_inception_computes_what_its_twin_does(kind, size):
    net = with_weights((ExplainedBNInception if kind == "explained" else MultiSimilarityBNInception)(64))
    prefix, last = ("", "classifier.linear") if kind == "explained" else ("backbone.", "head.fc")
    x = batch(size)
    cells, twin = twin_of_bn_inception(net, x, prefix)
    wanted = twin.linear(last, cells.amax((2, 3)))
    wanted = wanted / wanted.norm()
    with torch.no_grad():
        found = net.double()(x)
        torch.testing.assert_close(net.feature_map(x), cells, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kind", "first"), [(StrongBaseline, "base"), (ExplainedReid, "resnet_conv")])
def test_reid_is_torchvisions_resnet_with_last_stride_1_and_no_first_relu(kind, first):
    net = with_weights(kind(5), seed=3).double()
    own = torchvision.models.resnet50(weights=None).double().eval()
    own.layer4[0].conv2.stride = own.layer4[0].downsample[0].stride = (1, 1)
    parts = [own.conv1, own.bn1, own.maxpool, own.layer1, own.layer2, own.layer3, own.layer4]
    values = iter(v for k, v in net.state_dict().items() if k.startswith(first))
    state = nn.Sequential(*parts).state_dict()
    nn.Sequential(*parts).load_state_dict({key: next(values) for key in state})
    x = batch((64, 32))
    neck = "bottleneck" if kind is StrongBaseline else "classifier.bn"
    with torch.no_grad():
        cells = nn.Sequential(*parts)(x)
        assert cells.shape == (1, 2048, 4, 2)
        wanted = Twin(net).bn(neck, cells.mean((2, 3)))
        torch.testing.assert_close(net(x), wanted, rtol=1e-10, atol=1e-12)


def test_the_necks_shift_is_frozen():
    assert not StrongBaseline(2, (1, 1, 1, 1)).bottleneck.bias.requires_grad
    assert not ExplainedReid(2, (1, 1, 1, 1)).classifier.bn.bias.requires_grad


def twin_of_evolve(net, x, units):
    twin, n = Twin(net), 0
    x = twin.prelu("input_layer.2", twin.bn("input_layer.1", twin.conv("input_layer.0", x)))
    for count in units:
        for unit in range(count):
            at, stride = f"body.{n}", 2 if unit == 0 else 1
            y = twin.conv(f"{at}.res_layer.1", twin.bn(f"{at}.res_layer.0", x))
            y = twin.conv(f"{at}.res_layer.3", twin.prelu(f"{at}.res_layer.2", y), stride)
            y = twin.bn(f"{at}.res_layer.4", y)
            if f"{at}.res_layer.5.fc1.weight" in twin.w:
                gate = twin.conv(f"{at}.res_layer.5.fc1", y.mean((2, 3), keepdim=True)).clamp(min=0)
                y = y / (1 + torch.exp(-twin.conv(f"{at}.res_layer.5.fc2", gate)))
            if f"{at}.shortcut_layer.0.weight" in twin.w:
                x = twin.bn(f"{at}.shortcut_layer.1", twin.conv(f"{at}.shortcut_layer.0", x, stride))
            else:
                x = x[..., ::stride, ::stride]
            x, n = x + y, n + 1
    return twin.bn(
        "output_layer.4", twin.linear("output_layer.3", twin.bn("output_layer.0", x).reshape(len(x), -1))
    )


def twin_of_explained_ir(net, x, units):
    twin = Twin(net)
    x = F.max_pool2d(twin.prelu("prelu", twin.bn("bn1", twin.conv("conv1", x, pad=0))), 2)
    for layer, count in enumerate(units, start=1):
        for n in range(count):
            at, stride = f"layer{layer}.{n}", 2 if n == 0 and layer > 1 else 1
            y = twin.bn(f"{at}.bn1", twin.conv(f"{at}.conv1", twin.bn(f"{at}.bn0", x)))
            y = twin.bn(f"{at}.bn2", twin.conv(f"{at}.conv2", twin.prelu(f"{at}.prelu", y), stride))
            if f"{at}.downsample.0.weight" in twin.w:
                x = twin.bn(f"{at}.downsample.1", twin.conv(f"{at}.downsample.0", x, stride))
            x = twin.prelu(f"{at}.prelu", x + y)
    return twin.bn("bn3", twin.linear("fc", twin.bn("bn2", x).reshape(len(x), -1)))


FACES = {
    "evolve": (EvolveIR, twin_of_evolve, {}),
    "evolve, gated": (EvolveIR, twin_of_evolve, {"gated": True}),
    "explained": (ExplainedIR, twin_of_explained_ir, {}),
}


@pytest.mark.parametrize("name", FACES)
def test_face_networks_compute_what_their_twins_do(name):
    kind, twin, options = FACES[name]
    units = (2, 1, 2, 1)
    net = with_weights(kind(units, **options), seed=7)
    x = batch((112, 112))
    with torch.no_grad():
        wanted = twin(net, x, units)
        torch.testing.assert_close(net.double()(x), wanted, rtol=1e-9, atol=1e-11)


def test_crossview_branches_are_torchvisions_vgg16_and_share_the_linear_map():
    net = with_weights(CrossViewVGG("ground"), seed=2).double()
    own = torchvision.models.vgg16(weights=None).features[:30].double()  # to conv5_3 and its ReLU
    x = batch((32, 64))
    found = {}
    for view in ("ground", "aerial"):
        values = iter(v for k, v in net.state_dict().items() if k.startswith(view))
        own.load_state_dict({key: next(values) for key in own.state_dict()})
        net.view = view
        with torch.no_grad():
            wanted = Twin(net).linear("fc1", own(x).mean((2, 3)))
            found[view] = net(x)
            torch.testing.assert_close(found[view], wanted / wanted.norm(), rtol=1e-10, atol=1e-12)
    assert (found["ground"] - found["aerial"]).abs().max() > 1e-3
    with torch.no_grad():  # an odd edge is pooled alone, as TensorFlow's "SAME" does
        assert net.feature_map(batch((33, 47))).shape == (1, 512, 3, 3)
    with pytest.raises(ValueError, match="unknown view 'street': expected 'ground' or 'aerial'"):
        CrossViewVGG("street")


# ---- the identity, and where the cells lie ---------------------------------------------------------------------

FEED = {
    "bn-inception": (lambda: ExplainedBNInception(64), (96, 64), "max", True),
    "multi-similarity": (lambda: MultiSimilarityBNInception(48), (64, 64), "max", True),
    "strong baseline": (lambda: StrongBaseline(3, (1, 1, 1, 1)), (64, 32), "avg", False),
    "explained reid": (lambda: ExplainedReid(3, (1, 1, 1, 1)), (64, 32), "avg", False),
    "evolve": (lambda: EvolveIR((1, 1, 1, 1)), (112, 112), "flatten", False),
    "explained ir": (lambda: ExplainedIR((1, 1, 1, 1)), (112, 112), "flatten", False),
    "ground": (lambda: CrossViewVGG("ground"), (32, 96), "avg", True),
}
PLACES = {  # stride, first centre
    "bn-inception": (32, 6),
    "multi-similarity": (32, 6),
    "explained ir": (16, 1.5),
    "ground": (16, 7.5),
}


@pytest.mark.parametrize("name", FEED)
def test_parts_add_up_to_the_networks_own_output(name):
    build, size, pooling, normalised = FEED[name]
    net = with_weights(build(), seed=11)
    embedder = embedder_of_net(net, Preprocess.stretch(size), name, "by hand")
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    twin = copy.deepcopy(net).double()
    with torch.no_grad():
        own = twin(torch.from_numpy(embedder.preprocess(image))[None].double())[0].numpy()
    exact = embedder.local_embeddings(image, dtype="float64")
    summed = exact.vectors.sum((0, 1)) + exact.offset
    assert embedder.head.pooling == pooling
    if normalised:
        summed = summed / np.linalg.norm(summed)
    assert np.abs(summed - own).max() <= 1e-10 * np.abs(own).max()
    assert np.abs(exact.offset).max() > 0
    single = embedder.embed(image)[0]
    whole = exact.vectors.sum((0, 1)) + exact.offset
    assert np.abs(single - whole).max() <= 1e-4 * np.abs(whole).max()
    stride, first = PLACES.get(name, (16, 0))
    assert (embedder.geometry.stride, embedder.geometry.first) == ((stride, stride), (first, first))
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", ["bn-inception", "strong baseline", "ground"])
def test_folding_the_whole_network_finds_the_same_head(name):
    build, size, pooling, _ = FEED[name]
    net = with_weights(build(), seed=11)
    direct = embedder_of_net(net, Preprocess.stretch(size), name, "by hand")
    folded = Embedder.from_module(net, Preprocess.stretch(size))
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    assert folded.head.pooling == pooling
    assert (folded.geometry.stride, folded.geometry.first) == (direct.geometry.stride, direct.geometry.first)
    a, b = (e.local_embeddings(image, dtype="float64") for e in (direct, folded))
    scale = np.abs(a.vectors).max()
    np.testing.assert_allclose(a.vectors, b.vectors, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(a.offset, b.offset, rtol=0, atol=1e-9 * np.abs(a.offset).max())


def test_a_gradient_confirms_the_unpadded_first_convolution():
    net = with_weights(ExplainedIR((1, 1, 1, 1)), seed=11)
    measured = CellGeometry.measured(net.trunk(), (160, 160), samples=2)
    row, _ = measured.pixel_of_cell(5, 5)
    assert abs(row - (1.5 + 16 * 5)) < 2.0
