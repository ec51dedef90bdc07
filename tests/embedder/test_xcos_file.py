"""xCos heads on disk, and which head belongs to which embedder."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead, XCos, birds_embedder, read_xcos, use_xcos, xcos_of
from dmlviz.embedder.xcos_file import SHIPPED, trunk_sha256, write_xcos
from dmlviz.images import Preprocess


def small(seed: int = 0, channels: int = 6) -> Embedder:
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, channels, 8, stride=8), nn.ReLU())
    return Embedder(trunk, LinearHead("avg"), Preprocess.stretch(16), name="small")


@pytest.fixture
def written(tmp_path):
    embedder = small()
    torch.manual_seed(1)
    module = XCos(6, symmetric=False).eval()
    return embedder, module, write_xcos(module, tmp_path / "head.safetensors", embedder, {"recipe": {"a": 1}})


def test_a_head_comes_back_as_it_was_written_up_to_halves(written):
    embedder, module, path = written
    again = read_xcos(path, embedder)
    assert not again.training
    assert not again.symmetric
    assert not any(p.requires_grad for p in again.parameters())
    for name, value in module.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(again.state_dict()[name], value.half().float()), name
    assert json.loads(path.with_suffix(".json").read_text())["recipe"] == {"a": 1}


def test_another_trunk_is_refused_and_the_same_trunk_is_not(written):
    _, _, path = written
    with pytest.raises(
        ValueError, match=r"trained on another trunk than that of 'small'.*train_xcos --out DIR"
    ):
        read_xcos(path, small(seed=5))
    assert isinstance(read_xcos(path, small(seed=0)), XCos)


def test_one_changed_weight_makes_another_trunk():
    embedder = small()
    before = trunk_sha256(embedder.trunk)
    assert trunk_sha256(embedder.trunk.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        embedder.trunk[0].bias[2] += 1e-3
    assert trunk_sha256(embedder.trunk) != before


def test_damage_is_named(written):
    embedder, _, path = written
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b"xx")
    with pytest.raises(ValueError, match="not the ones their card describes: expected sha256"):
        read_xcos(path, embedder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"weights .* are missing\. Train it anew"):
        read_xcos(path, embedder)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(ValueError, match="not a whole card: it must tell bytes, channels"):
        read_xcos(path, embedder)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"The card .* is missing"):
        read_xcos(path, embedder)


def test_weights_that_halves_cannot_hold_are_not_written(tmp_path):
    module = XCos(6)
    with torch.no_grad():
        module.conv1x1[0].weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"conv1x1\.0\.weight is not finite in float16"):
        write_xcos(module, tmp_path / "head.safetensors", small(), {})
    assert not list(tmp_path.iterdir())


def test_a_head_is_found_once_it_is_named():
    embedder, module = small(), XCos(6)
    with pytest.raises(LookupError, match=r"no head is known for that of 'small': train one with"):
        xcos_of(embedder)
    use_xcos(embedder, module)
    assert xcos_of(embedder) is module
    with pytest.raises(LookupError):
        xcos_of(small())
    with pytest.raises(TypeError, match=r"must be a dmlviz\.embedder\.XCos, got Linear"):
        use_xcos(embedder, nn.Linear(2, 2))
    with pytest.raises(ValueError, match="takes 7 channels, but the trunk of 'small' gives 6"):
        use_xcos(embedder, XCos(7))


def test_the_shipped_head_belongs_to_the_shipped_trunk():
    module = xcos_of(birds_embedder("avg"))
    assert module.symmetric
    assert module.channels == 128
    assert SHIPPED.stat().st_size <= 60_000
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert card["bytes"] == SHIPPED.stat().st_size
    assert card["recipe"]["steps"] * 64 == card["images_seen"]
    with pytest.raises(LookupError, match="'birds, max pooling'"):
        xcos_of(birds_embedder("max"))


def test_the_shipped_head_was_trained():
    """Same species score higher than others, which random weights do not bring about."""
    import dmlviz as dv

    birds, embedder = dv.birds(families=2, per_class=3), birds_embedder("avg")
    module, maps = xcos_of(embedder), embedder.feature_maps(list(birds))
    _, label = np.unique(birds.labels, return_inverse=True)
    first, second = np.triu_indices(len(birds), 1)
    torch.manual_seed(0)
    gaps = []
    for head in (module, XCos(128).eval()):
        with torch.no_grad():
            cells = head.features(maps)
            scores = head.compare(cells[first], cells[second]).scores.numpy()
        same = label[first] == label[second]
        gaps.append((scores[same].mean() - scores[~same].mean()) / scores.std())
    assert gaps[0] > gaps[1] + 0.3, gaps
