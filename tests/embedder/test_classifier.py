"""The classifier that a network was trained with, kept beside its embedding."""

import numpy as np
import pytest
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead
from dmlviz.images import Preprocess

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = torchvision.models.resnet18(num_classes=7).eval()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(net.state_dict(), path)
    return net, path


def test_a_trained_classifier_is_kept_and_reads_the_embedding(saved):
    net, path = saved
    embedder = Embedder.from_torchvision("resnet18", path, input_size=(64, 64))
    assert embedder.classifier.weight.shape == (7, 512)  # as many classes as it was trained on
    with torch.no_grad():
        expected = net(torch.from_numpy(embedder.preprocess(IMAGE)[None]))
        found = embedder.classifier(torch.from_numpy(embedder.embed(IMAGE)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_its_class_map_sums_to_the_networks_own_logit(saved):
    from dmlviz.explanation import cam

    net, path = saved
    embedder = Embedder.from_torchvision("resnet18", path, input_size=(64, 64))
    with torch.no_grad():
        logits = net(torch.from_numpy(embedder.preprocess(IMAGE)[None]))[0].numpy()
    why = cam(embedder, IMAGE, IMAGE)
    assert f"maps of class {logits.argmax()} " in why.note
    assert why.total == pytest.approx(logits.max(), abs=1e-4)


def test_the_classifier_changes_neither_embeddings_nor_fingerprint(saved):
    _, path = saved
    embedder = Embedder.from_torchvision("resnet18", path, input_size=(64, 64))
    bare = Embedder(embedder.trunk, LinearHead("avg"), embedder.preprocess)
    assert bare.classifier is None
    assert bare.fingerprint == embedder.fingerprint


def test_none_without_weights_or_without_a_linear_classifier(saved, tmp_path):
    net, _ = saved
    assert Embedder.from_torchvision("resnet18", input_size=(64, 64)).classifier is None
    headless = tmp_path / "headless.pth"
    torch.save({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}, headless)
    assert Embedder.from_torchvision("resnet18", headless, input_size=(64, 64)).classifier is None
    odd = tmp_path / "odd.pth"
    torch.save(net.state_dict() | {"fc.bias": torch.zeros(3)}, odd)
    with pytest.raises(ValueError, match=r"weights \(7, 512\) \(classes, features\) and a bias \(3,\)"):
        Embedder.from_torchvision("resnet18", odd, input_size=(64, 64))


def test_a_classifier_of_another_type_is_refused():
    with pytest.raises(TypeError, match=r"classifier must be a torch\.nn\.Linear or None, got Sequential"):
        Embedder(nn.Conv2d(3, 4, 4, 4), LinearHead("avg"), Preprocess.stretch(16), classifier=nn.Sequential())


def test_feature_maps_of_changed_weights_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    embedder = Embedder.from_module(net, Preprocess.stretch(16))
    with torch.no_grad():
        net[0].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="weights have changed"):
        embedder.feature_maps(IMAGE)
