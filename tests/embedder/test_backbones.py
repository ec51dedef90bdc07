"""torchvision networks with random weights: they add up, and their cells lie where the arithmetic says."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dmlviz.embedder import CellGeometry, Embedder
from dmlviz.embedder.backbones import _TRUNKS

torchvision = pytest.importorskip("torchvision")
IMAGE = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
ALIGNED = {"vgg16": 15.5, "convnext_tiny": 15.5, "densenet121": 14.0}  # first centre; all others 0
FIELDS = {"resnet18": 435, "vgg16": 212, "mobilenet_v2": 491, "resnet50": 427}


@pytest.mark.parametrize("name", sorted(_TRUNKS))
def test_parts_add_up_to_the_networks_own_pooled_output(name):
    embedder = Embedder.from_torchvision(name, input_size=(64, 64))
    inputs = torch.from_numpy(embedder.preprocess(IMAGE))[None]
    with torch.no_grad():
        single = embedder.trunk(inputs).mean((2, 3))[0].numpy()
        double = embedder._in_double()[0](inputs.double()).mean((2, 3))[0].numpy()
    parts, exact = embedder.local_embeddings(IMAGE), embedder.local_embeddings(IMAGE, dtype="float64")
    assert np.abs(exact.vectors.sum((0, 1)) + exact.offset - double).max() <= 1e-10 * np.abs(double).max()
    assert np.abs(parts.embedding - single).max() <= 1e-5 * np.abs(single).max()
    assert embedder.dim == len(single)
    geometry = embedder.geometry
    assert (geometry.stride, geometry.first) == ((32, 32), (ALIGNED.get(name, 0.0),) * 2)
    if name in FIELDS:
        assert geometry.receptive_field == (FIELDS[name],) * 2


def test_the_pooled_output_is_torchvisions():
    embedder = Embedder.from_torchvision("densenet121", input_size=(64, 64), seed=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        own = torchvision.models.densenet121(weights=None).eval()
    own.classifier = torch.nn.Identity()
    inputs = torch.from_numpy(embedder.preprocess(IMAGE))[None]
    with torch.no_grad():
        np.testing.assert_allclose(embedder.embed(IMAGE), own(inputs).numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "first"), [("resnet18", 0.0), ("mobilenet_v2", 0.0)])
def test_gradient_confirms_where_the_cells_lie(name, first):
    """Cells 6 and 7 of a 448-pixel input: 32·i, not 32·i + 15.5 as half-pixel resizing would draw them."""
    trunk = Embedder.from_torchvision(name, input_size=(64, 64)).trunk
    measured = CellGeometry.measured(trunk, (448, 448), samples=2)
    row, col = measured.pixel_of_cell(6.5, 6.5)
    assert abs(row - (first + 32 * 6.5)) < 5
    assert abs(col - (first + 32 * 6.5)) < 5
    assert abs(row - (first + 32 * 6.5 + 15.5)) > 8


def test_weights_from_a_file(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        net = torchvision.models.resnet18(weights=None)
    save_file(net.state_dict(), tmp_path / "own.safetensors")
    torch.save(net.state_dict(), tmp_path / "own.pth")
    made = [
        Embedder.from_torchvision("resnet18", tmp_path / f"own.{kind}", input_size=(64, 64))
        for kind in ("safetensors", "pth")
    ]
    seeded = Embedder.from_torchvision("resnet18", input_size=(64, 64), seed=9)
    assert made[0].fingerprint == made[1].fingerprint == seeded.fingerprint
    assert seeded.fingerprint != Embedder.from_torchvision("resnet18", input_size=(64, 64)).fingerprint


def test_weights_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file of weights at"):
        Embedder.from_torchvision("resnet18", tmp_path / "none.pth")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"are not those of torchvision's resnet18 .*missing: "):
        Embedder.from_torchvision("resnet18", tmp_path / "other.safetensors")
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        Embedder.from_torchvision("resnet18", tmp_path / "broken.pth")
    torch.save({"fn": print}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        Embedder.from_torchvision("resnet18", tmp_path / "code.pth")


def test_unknown_network():
    with pytest.raises(
        ValueError, match=r"unknown network 'resnet19': expected one of convnext_tiny, .*from_module"
    ):
        Embedder.from_torchvision("resnet19")


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def offline(*_args, **_rest):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(ConnectionError, match=r"weights of resnet18 could not be downloaded.*weights=None"):
        Embedder.from_torchvision("resnet18", "DEFAULT")


def test_the_random_state_is_left_alone():
    before = torch.get_rng_state()
    Embedder.from_torchvision("resnet18", input_size=(64, 64))
    assert torch.equal(torch.get_rng_state(), before)
