import json

import numpy as np
import pytest
import torch

from dmlviz.embedder import CellGeometry
from dmlviz.embedder.birdnet import images_to_input
from dmlviz.embedder.smallnet import SmallNet, fold_small, read_small, small_card, write_small

CARD = {"command": "make", "recipe": {"seed": 0}}
SHAPES = [("avg", (96, 96)), ("max", (128, 64)), ("flatten", (64, 192))]


def lively(pooling: str, size: tuple[int, int]) -> SmallNet:
    """A network whose batch normalisations have something to fold."""
    torch.manual_seed(3)
    net = SmallNet((8, 8, 8, 12, 12, 10), pooling, 6, size)
    for module in net.trunk:
        if isinstance(module, torch.nn.BatchNorm2d):
            for name in ("weight", "running_var"):
                getattr(module, name).data.uniform_(0.5, 2.0)
            for name in ("bias", "running_mean"):
                getattr(module, name).data.normal_()
    return net.eval()


def pictures(size: tuple[int, int], count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), np.uint8)


@pytest.mark.parametrize(("pooling", "size"), SHAPES)
def test_folding_changes_nothing(pooling, size):
    net = lively(pooling, size)
    seen = images_to_input(pictures(size))
    assert torch.allclose(fold_small(net)(seen), net(seen), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="folded already"):
        fold_small(fold_small(net))


@pytest.mark.parametrize(("pooling", "size"), SHAPES)
def test_what_is_written_is_what_is_read(pooling, size, tmp_path):
    net = lively(pooling, size)
    path = write_small(net, tmp_path / "new", "thing_left", CARD)
    embedder = read_small(path)
    shown = pictures(size)
    with torch.no_grad():
        expected = fold_small(net)(images_to_input(shown)).numpy()
    assert np.abs(embedder.embed(list(shown)) - expected).max() <= 5e-3 * np.abs(expected).max()
    assert embedder.input_size == size
    assert embedder.map_size == (size[0] // 8, size[1] // 8)
    assert embedder.dim == 6
    assert embedder.name == "thing_left"
    assert embedder.geometry == CellGeometry.from_trunk(embedder.trunk, size)
    assert embedder.geometry == CellGeometry((8, 8), (3.5, 3.5), (30, 30))
    card = small_card(path)
    assert card["bytes"] == path.stat().st_size
    assert card["recipe"] == CARD["recipe"]


@pytest.mark.parametrize(("pooling", "size"), SHAPES)
def test_parts_add_up_to_the_embedding(pooling, size, tmp_path):
    embedder = read_small(write_small(lively(pooling, size), tmp_path, "thing", CARD))
    shown = pictures(size, 1)[0]
    local = embedder.local_embeddings(shown, dtype="float64")
    whole = local.vectors.sum((0, 1)) + local.offset
    assert np.abs(whole - embedder.embed(shown)[0]).max() <= 1e-5 * np.abs(whole).max()
    assert embedder.exact
    assert not local.offset.any()


def test_weights_that_are_not_the_cards_are_refused(tmp_path):
    path = write_small(lively("avg", (96, 96)), tmp_path, "thing", CARD)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"expected sha256 .* Install the package again, or make them anew: make"
    ):
        read_small(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"thing.safetensors are missing"):
        read_small(path)
    card = json.loads(path.with_suffix(".json").read_text())
    del card["network"]
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"not a whole card: it must tell .*network"):
        read_small(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pooling": "gem"}, "'avg', 'max' or 'flatten'; got 'gem'"),
        ({"widths": (8, 8)}, r"six widths of at least 1; got \(8, 8\)"),
        ({"dim": 0}, "dim of at least 1; got 0"),
        ({"size": (100, 96)}, r"multiples of 8 pixels; got \(100, 96\)"),
    ],
)
def test_a_network_that_cannot_be_is_worded(change, words):
    with pytest.raises(ValueError, match=words):
        SmallNet(**change)


def test_a_card_without_a_recipe_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must tell command and recipe; .*'recipe'.* is missing"):
        write_small(lively("avg", (96, 96)), tmp_path, "thing", {"command": "make"})
