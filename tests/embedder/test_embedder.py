"""The embedder itself: what it returns, what it leaves alone, what it refuses."""

import hashlib
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dmlviz.embedder import CellGeometry, Embedder, LinearHead, LocalEmbeddings
from dmlviz.embedder.measured_preprocess import MeasuredPreprocess
from dmlviz.images import Preprocess

RNG = np.random.default_rng(1)
IMAGES = [RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(5)]
FEED = Preprocess.resize_crop(32, 32)


def model(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
            nn.BatchNorm1d(4),
        )


def test_one_picture_and_many():
    embedder = Embedder.from_module(model(), FEED)
    one, many = embedder.embed(IMAGES[0]), embedder.embed(IMAGES, batch_size=2)
    assert (one.shape, many.shape, one.dtype) == ((1, 4), (5, 4), np.float32)
    np.testing.assert_allclose(many[0], one[0], atol=1e-6)
    np.testing.assert_array_equal(embedder.embed(Image.fromarray(IMAGES[0])), one)
    np.testing.assert_allclose(embedder.embed(np.stack(IMAGES)), many, atol=1e-6)
    assert isinstance(embedder.local_embeddings(IMAGES[0]), LocalEmbeddings)
    parts = embedder.local_embeddings(IMAGES, batch_size=2)
    np.testing.assert_allclose([p.embedding for p in parts], many, atol=1e-6)
    np.testing.assert_allclose(embedder.embed_views([embedder.view(i) for i in IMAGES]), many, atol=1e-6)
    assert embedder.feature_maps(IMAGES).shape == (5, 8, 16, 16)
    assert (embedder.dim, embedder.map_size, embedder.input_size) == (4, (16, 16), (32, 32))
    assert embedder.geometry == CellGeometry((2, 2), (0, 0), (3, 3))


def snapshot(net):
    return {
        "modes": [part.training for part in net.modules()],
        "hooks": [len(p._forward_hooks) + len(p._forward_pre_hooks) for p in net.modules()],
        "grad": [(p.requires_grad, p.grad is None) for p in net.parameters()],
        "versions": [t._version for t in (*net.parameters(), *net.buffers())],
        "state": hashlib.sha256(b"".join(v.numpy().tobytes() for v in net.state_dict().values())).hexdigest(),
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_found(training):
    net = model().train(training)
    net[1].train(not training)  # a mixed state, as with frozen batch normalisation
    net[0].weight.requires_grad_(False)
    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    before = snapshot(net)
    embedder = Embedder.from_module(net, FEED)
    embedder.embed(IMAGES)
    embedder.local_embeddings(IMAGES[0], dtype="float64")
    assert snapshot(net) == before
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random_state)


def test_nothing_stays_on_the_model_after_a_failure():
    class Failing(nn.Module):
        def forward(self, x):
            raise OSError("no")

    net = nn.Sequential(nn.Conv2d(3, 4, 3), Failing()).train()
    before = snapshot(net)
    with pytest.raises(OSError, match="no"):
        Embedder.from_module(net, FEED)
    assert snapshot(net) == before


def test_a_model_in_training_mode_is_run_in_eval_mode():
    net = model()
    expected = Embedder.from_module(net.eval(), FEED).embed(IMAGES)
    np.testing.assert_array_equal(Embedder.from_module(net.train(), FEED).embed(IMAGES), expected)
    assert net.training


def test_changed_weights_are_noticed():
    net = model()
    embedder = Embedder.from_module(net, FEED)
    with torch.no_grad():
        net[5].weight.add_(1.0)
    for call in (embedder.embed, embedder.local_embeddings):
        with pytest.raises(RuntimeError, match=r"weights have changed.*Embedder.from_module"):
            call(IMAGES)


def test_an_unfolded_embedder_follows_its_weights():
    trunk, head = nn.Conv2d(3, 4, 3), LinearHead("avg", nn.Linear(4, 2))
    embedder = Embedder(trunk, head, FEED)
    before = embedder.local_embeddings(IMAGES[0], dtype="float64").embedding
    with torch.no_grad():
        head.linear.weight.mul_(2.0)
        head.linear.bias.mul_(2.0)
    np.testing.assert_allclose(embedder.local_embeddings(IMAGES[0], dtype="float64").embedding, 2 * before)


def test_gradients_flow_through_the_trunk_for_those_who_want_them():
    embedder = Embedder.from_module(model(), FEED)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    embedder.head(embedder.trunk(images)).sum().backward()
    assert images.grad.abs().sum() > 0


def test_two_threads_may_embed_at_once():
    embedder = Embedder.from_module(model(), FEED)
    expected, found, errors = embedder.embed(IMAGES), [], []

    def work():
        try:
            for _ in range(5):
                found.append(embedder.embed(IMAGES))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 20
    assert all(np.array_equal(f, expected) for f in found)


# ---- fingerprint -----------------------------------------------------------------------------------------------

FINGERPRINT = """
import numpy, torch
from torch import nn
from dmlviz.embedder import Embedder
from dmlviz.images import Preprocess
torch.manual_seed(3)
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
"""


def test_fingerprint_is_the_same_in_another_process():
    code = FINGERPRINT + "print(Embedder.from_module(net, Preprocess.stretch(16)).fingerprint)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(1)
    }
    namespace = {}
    with torch.random.fork_rng(devices=[]):
        exec(FINGERPRINT, namespace)
    here = Embedder.from_module(namespace["net"], Preprocess.stretch(16)).fingerprint
    assert found == {here}
    assert len(here) == 64
    assert int(here, 16) >= 0


def test_fingerprint_tells_embedders_apart():
    made = [
        Embedder.from_module(model(), FEED),
        Embedder.from_module(model(seed=1), FEED),
        Embedder.from_module(model(), Preprocess.stretch(32)),
        Embedder.from_module(model(), Preprocess.resize_crop(32, 32, mean=0.5)),
        Embedder(model()[:3], LinearHead("max"), FEED),
        Embedder(model()[:3], LinearHead("max", ties="first"), FEED),
        Embedder(model()[:3], LinearHead("gem", p=2.0), FEED),
        Embedder(model()[:3], LinearHead("gem", p=3.0), FEED),
    ]
    assert len({e.fingerprint for e in made}) == len(made)
    assert Embedder.from_module(model(), FEED, name="other").fingerprint == made[0].fingerprint


# ---- preprocessing ---------------------------------------------------------------------------------------------


def shrink(image, size=(24, 36)):
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.float32)


def bgr(image):
    return torch.from_numpy(((shrink(image) - 100.0) / 50.0)[:, :, ::-1].transpose(2, 0, 1).copy())


def cropped(image):
    small = shrink(image, (40, 60))[8:32, 12:48]
    return torch.from_numpy((small / 255.0).transpose(2, 0, 1).copy())


def grey(image):
    return torch.from_numpy(1.0 - np.asarray(image.convert("L").resize((36, 24)), np.float32)[None] / 255)


def standardised(image):
    a = shrink(image).transpose(2, 0, 1)
    return (a - a.mean()) / (a.std() + 1e-3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (bgr, lambda i: shrink(i)),
        (cropped, lambda i: shrink(i, (40, 60))[8:32, 12:48]),
        (grey, lambda i: np.repeat(np.asarray(i.convert("L").resize((36, 24)))[..., None], 3, axis=2)),
    ],
)
def test_the_view_of_a_function_is_recovered_from_its_numbers(function, expected):
    found = MeasuredPreprocess(function)
    assert found.size == (24, 36)
    assert "exact up to rounding" in found.note
    for image in IMAGES:
        np.testing.assert_array_equal(found.view(image), expected(Image.fromarray(image)).astype(np.uint8))
        np.testing.assert_allclose(found.array(found.view(image)), found(image), atol=1e-5)


def test_a_function_that_is_not_affine_in_the_colours_is_said():
    found = MeasuredPreprocess(standardised)
    assert "stretched over the network's input" in found.note
    assert found.view(IMAGES[0]).shape == (24, 36, 3)
    with pytest.raises(ValueError, match="not an affine function of the colours"):
        found.array(found.view(IMAGES[0]))


def test_torchvision_transforms_are_read():
    from torchvision import transforms

    steps = [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor()]
    embedder = Embedder.from_module(
        model(), transforms.Compose([*steps, transforms.Normalize([0.5] * 3, [0.2] * 3)])
    )
    assert isinstance(embedder.preprocess, Preprocess)
    assert embedder.preprocess.size == (32, 32)


class Jumpy:
    def __init__(self):
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return np.full((3, 8, 8), self.calls, np.float32)


@pytest.mark.parametrize(
    ("preprocess", "error", "words"),
    [
        (None, TypeError, "preprocess must be a dmlviz.images.Preprocess, torchvision's"),
        ("resize", TypeError, "got str"),
        (Jumpy(), ValueError, "the preprocessing is random"),
        (
            lambda i: np.asarray(i, np.float32).transpose(2, 0, 1),
            ValueError,
            "different shapes for pictures of",
        ),
        (lambda i: i, TypeError, r"must turn a Pillow image into numbers \(C, H, W\)"),
        (lambda i: np.zeros(3), TypeError, r"of shape \(3,\)"),
        (
            Preprocess.as_is(),
            ValueError,
            r"leaves the pictures as large as they are.*input_size=\(height, width\)",
        ),
    ],
)
def test_preprocessing_that_is_refused(preprocess, error, words):
    with pytest.raises(error, match=words):
        Embedder.from_module(model(), preprocess)


def test_contradicting_sizes():
    with pytest.raises(ValueError, match=r"input_size \(64, 64\) contradicts the preprocessing"):
        Embedder.from_module(model(), FEED, input_size=(64, 64))
    embedder = Embedder.from_module(model(), Preprocess.as_is(), input_size=(40, 50))
    assert embedder.embed(IMAGES).shape == (5, 4)
    with pytest.raises(ValueError, match=r"gives an input of \(20, 50\).*the network is fed \(40, 50\)"):
        embedder.embed(IMAGES[0][:20])


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda e: e.embed([]), ValueError, "no images were given"),
        (lambda e: e.embed(np.zeros((4, 4, 3), np.float32)), TypeError, "uint8"),
        (lambda e: e.embed(np.zeros((4, 4, 4), np.uint8)), ValueError, r"\(4, 4, 4\)"),
        (lambda e: e.embed("photo.jpg"), TypeError, "expected a NumPy array"),
        (lambda e: e.embed(IMAGES, batch_size=0), ValueError, "batch_size must be at least 1"),
        (lambda e: e.local_embeddings(IMAGES, dtype="half"), ValueError, "expected 'float32' or 'float64'"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call(Embedder.from_module(model(), FEED))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((lambda x: x, LinearHead("avg"), FEED), TypeError, "trunk must be a torch.nn.Module"),
        ((nn.Conv2d(3, 4, 3), nn.Flatten(), FEED), TypeError, "head must be a LinearHead, got Flatten"),
        ((nn.Flatten(), LinearHead("avg"), FEED), ValueError, r"must return feature maps \(N, C, h, w\)"),
        (
            (nn.BatchNorm2d(3, track_running_stats=False), LinearHead("avg"), FEED),
            ValueError,
            "no running statistics",
        ),
    ],
)
def test_parts_that_do_not_make_an_embedder(arguments, error, words):
    with pytest.raises(error, match=words):
        Embedder(*arguments)


def test_embeddings_that_are_not_finite_are_refused():
    net = model()
    with torch.no_grad():
        net[0].weight[0] = float("inf")
    embedder = Embedder(net[:3], LinearHead("avg"), FEED)
    with pytest.raises(ValueError, match=r"images \[0, 1, 2, 3, 4\] \(of 5\) hold NaN or infinite values"):
        embedder.embed(IMAGES)
    with pytest.raises(ValueError, match="embeddings hold NaN or infinite values"):
        Embedder.from_module(net, FEED)


def test_local_embeddings_check_their_arrays():
    with pytest.raises(
        ValueError, match=r"offset must have shape \(4,\) to match vectors \(2, 3, 4\), got \(3,\)"
    ):
        LocalEmbeddings(np.zeros((2, 3, 4)), np.zeros(3))
    with pytest.raises(ValueError, match=r"vectors must have shape \(h, w, D\)"):
        LocalEmbeddings(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(TypeError, match="vectors must be float32 or float64, got int64"):
        LocalEmbeddings(np.zeros((2, 3, 4), np.int64), np.zeros(4))
    parts = LocalEmbeddings(np.full((1, 2, 2), 3.0), np.array([4.0, 5.0]))
    assert parts.embedding.tolist() == [10.0, 11.0]
    np.testing.assert_allclose(parts.norms, [[np.sqrt(18)] * 2])
    with pytest.raises(ValueError, match="read-only"):
        parts.vectors[0, 0, 0] = 1.0


def test_said_in_words():
    text = repr(Embedder.from_module(model(), FEED, name="mine"))
    assert "Embedder 'mine': 32 × 32 pixels -> 16 × 16 cells -> 4 dimensions" in text
    assert "pooling='avg'" in text
    assert json.dumps(FEED.to_dict())  # what goes into the fingerprint is plain
