"""Models of timm and of Hugging Face through `Embedder.from_module`: exact, or refused by the layer's name."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder import Embedder, HeadError
from dmlviz.embedder.model_output import FieldOf, OutputError
from dmlviz.images import Preprocess

FEED = Preprocess.stretch(64)
IMAGE = np.random.default_rng(3).integers(0, 256, (50, 80, 3), dtype=np.uint8)


def optional(name):
    """The package, whose own import may warn of what is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def shaken(model, seed=0):
    """Every weight and statistic moved, so that no bias is zero and no scale is one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and value.numel() > 1:
                noise = torch.rand(value.shape, generator=generator) * 0.2
                value += noise if name.endswith("var") else noise - 0.1
    return model.eval()


def adds_up(model, embedder, field=None):
    """The parts' sum in float64 against the model's own output in float64: the largest relative difference."""
    twin = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        own = twin(torch.from_numpy(embedder.preprocess(IMAGE))[None].double())
    own = (own if field is None else getattr(own, field))[0].flatten().numpy()
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    return np.abs(parts.vectors.sum((0, 1)) + parts.offset - own).max() / np.abs(own).max()


# ---- timm --------------------------------------------------------------------------------------------------------

TIMM = {  # options, pooling, first centre
    "resnet18": ({}, "avg", 0),
    "resnet10t": ({"global_pool": "max"}, "max", 0),
    "efficientnet_b0": ({}, "avg", 0),
    "convnext_atto": ({"head_norm_first": True}, "avg", 15.5),
    "nf_resnet26": ({}, "avg", 0),  # kernels standardised by batch_norm on the weights
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_networks_that_end_in_pooling_add_up(name):
    timm = optional("timm")
    options, pooling, first = TIMM[name]
    model = shaken(timm.create_model(name, pretrained=False, num_classes=0, **options))
    embedder = Embedder.from_module(model, FEED)
    assert adds_up(model, embedder) <= 1e-10
    assert embedder.head.pooling == pooling
    assert (embedder.geometry.stride, embedder.geometry.first) == ((32, 32), (first, first))


def test_timm_with_a_layer_norm_after_pooling_is_refused_by_its_name_and_can_be_linearised():
    timm = optional("timm")
    model = shaken(timm.create_model("convnext_atto", pretrained=False, num_classes=0))
    with pytest.raises(HeadError, match=r"layer 'head\.norm' \(LayerNorm2d, .*head=\"linearised\""):
        Embedder.from_module(model, FEED)
    linearised = Embedder.from_module(model, FEED, head="linearised")
    assert not linearised.exact
    assert adds_up(model, linearised) <= 1e-10
    model.head.norm = nn.Identity()
    exact = Embedder.from_module(model, FEED)
    assert exact.exact
    assert adds_up(model, exact) <= 1e-10


def test_timm_with_an_activation_after_pooling_is_refused_by_its_name():
    timm = optional("timm")
    model = shaken(timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0))
    with pytest.raises(HeadError, match=r"layer 'act2' \(Hardswish, operation 'hardswish'\)"):
        Embedder.from_module(model, FEED)


def test_timms_own_transform_is_read():
    timm = optional("timm")
    model = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    settings = timm.data.resolve_data_config({"input_size": (3, 64, 64)}, model=model)
    embedder = Embedder.from_module(model, timm.data.create_transform(**settings))
    assert embedder.input_size == (64, 64)
    assert "cut out" in embedder.view_note


# ---- Hugging Face ------------------------------------------------------------------------------------------------

SMALL = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}


@pytest.mark.parametrize("kind", ["ResNet", "RegNet"])
def test_huggingface_networks_give_their_pooler_output(kind):
    transformers = optional("transformers")
    options = {"embedding_size": 8} | ({"groups_width": 8} if kind == "RegNet" else {})
    config = getattr(transformers, f"{kind}Config")(**SMALL, **options)
    model = shaken(getattr(transformers, f"{kind}Model")(config))
    embedder = Embedder.from_module(model, FEED)
    assert adds_up(model, embedder, "pooler_output") <= 1e-10
    assert (embedder.name, embedder.dim, embedder.head.pooling) == (f"{kind}Model", 64, "avg")
    assert "the embedding is the model's pooler_output" in embedder.details
    assert (embedder.geometry.stride, embedder.geometry.first) == ((32, 32), (0, 0))


def test_huggingface_convnext_ends_in_a_layer_norm():
    transformers = optional("transformers")
    model = shaken(transformers.ConvNextModel(transformers.ConvNextConfig(**SMALL)))
    with pytest.raises(
        HeadError, match=r"layer 'model\.layernorm' \(LayerNorm, operation 'native_layer_norm'\)"
    ):
        Embedder.from_module(model, FEED)
    model.layernorm = nn.Identity()
    embedder = Embedder.from_module(model, FEED)
    assert adds_up(model, embedder, "pooler_output") <= 1e-10


def test_huggingface_classifier_is_refused_with_its_fields():
    transformers = optional("transformers")
    config = transformers.ResNetConfig(**SMALL, embedding_size=8)
    with pytest.raises(
        TypeError,
        match=r"image_embeds and pooler_output; it returned \w+ with logits; .*without its classifier",
    ):
        Embedder.from_module(transformers.ResNetForImageClassification(config), FEED)


def test_huggingface_processor_is_a_preprocessing():
    transformers = optional("transformers")
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1.0)
    model = transformers.ResNetModel(transformers.ResNetConfig(**SMALL, embedding_size=8))

    def preprocess(picture):
        return processor(picture, return_tensors="pt").pixel_values[0]

    embedder = Embedder.from_module(model, preprocess)
    assert embedder.input_size == (64, 64)
    assert adds_up(model, embedder, "pooler_output") <= 1e-10


# ---- outputs of several fields, without either package -------------------------------------------------------------


class Fields:
    def __init__(self, **fields):
        self.__dict__ |= fields


class Several(nn.Module):
    """A small network that returns whatever fields are asked for."""

    def __init__(self, *fields):
        super().__init__()
        self.trunk, self.linear = nn.Conv2d(3, 6, 8, 8), nn.Linear(6, 5)
        self.fields = fields

    def forward(self, images):
        cells = self.trunk(images)
        pooled = cells.mean((2, 3))
        every = {"last_hidden_state": cells, "pooler_output": pooled, "image_embeds": self.linear(pooled)}
        return Fields(**{field: every.get(field) for field in self.fields})


@pytest.mark.parametrize(
    ("fields", "taken", "dim"),
    [
        (("last_hidden_state", "pooler_output"), "pooler_output", 6),
        (("pooler_output", "image_embeds"), "image_embeds", 5),
        (("image_embeds",), "image_embeds", 5),
    ],
)
def test_the_field_of_the_embedding_is_taken(fields, taken, dim):
    model = Several(*fields)
    model.train()
    embedder = Embedder.from_module(model, FEED)
    assert embedder.dim == dim
    assert f"the embedding is the model's {taken}" in embedder.details
    assert adds_up(model, embedder, taken) <= 1e-10
    assert model.training
    assert isinstance(embedder.trunk.model, FieldOf)


@pytest.mark.parametrize("fields", [("last_hidden_state",), ("pooler_output_of_another_kind",)])
def test_an_output_without_an_embedding_is_refused(fields):
    with pytest.raises(OutputError, match=r"must return one tensor .* it returned Fields; wrap it"):
        Embedder.from_module(Several(*fields), FEED)


def test_a_tuple_is_refused():
    class Pair(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)), images

    with pytest.raises(TypeError, match=r"it returned tuple; wrap it in an nn\.Module"):
        Embedder.from_module(Pair(), FEED)


# ---- kernels standardised in forward, as NFNets and BiT do -------------------------------------------------------


class Standardised(nn.Conv2d):
    """A convolution whose kernels are brought to mean 0 and variance 1 each time it runs."""

    def forward(self, x):
        kernels = self.weight.reshape(1, self.out_channels, -1)
        kernels = F.batch_norm(kernels, None, None, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, kernels.reshape_as(self.weight), self.bias, self.stride, self.padding)


def test_standardised_kernels_after_pooling_are_a_linear_map():
    torch.manual_seed(2)
    model = nn.Sequential(
        Standardised(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), Standardised(8, 5, 1), nn.Flatten()
    )
    embedder = Embedder.from_module(model, FEED)
    assert embedder.head.pooling == "avg"
    assert adds_up(model, embedder) <= 1e-10


def test_activations_standardised_by_their_own_statistics_are_refused():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())

        def forward(self, x):
            cells = self.trunk(x)
            pooled = cells.mean((2, 3))
            return F.batch_norm(pooled[:, None], None, None, training=True)[:, 0]

    with pytest.raises(HeadError, match="cannot be folded"):
        Embedder.from_module(Whole(), FEED)
