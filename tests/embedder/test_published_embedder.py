"""The door to published files: what loads, what is refused and in which words."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dmlviz.embedder import published_embedder
from dmlviz.embedder.published.checkpoint import Mismatch, read_checkpoint, shapes_of
from dmlviz.embedder.published.door import fitting_net
from dmlviz.embedder.published.reid_resnet import StrongBaseline
from dmlviz.embedder.published.variants import APPLICATIONS, Variant
from dmlviz.images import Preprocess

IMAGE = np.random.default_rng(4).integers(0, 256, (80, 60, 3), dtype=np.uint8)
SMALL = (
    Variant(
        "small",
        lambda classes=4: StrongBaseline(classes, (1, 1, 1, 1)),
        Preprocess.stretch((64, 32)),
        "somebody/their-repository",
        {"classes": ("classifier.weight", 0)},
    ),
)


def drawn(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes_of(net.state_dict()).items():
        value = torch.empty(shape).uniform_(-1, 1, generator=generator)
        if key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            value = value.abs() + 0.3
        elif len(shape) > 1:
            value *= (4.5 / value[0].numel()) ** 0.5
        state[key] = value
    return state


@pytest.fixture(scope="module")
def small():
    return drawn(StrongBaseline(7, (1, 1, 1, 1)))


@pytest.fixture
def small_files(monkeypatch):
    """The door with one small network behind it, so that files stay small."""
    monkeypatch.setitem(APPLICATIONS, "person-reidentification", SMALL)


@pytest.mark.parametrize(
    "kind", ["plain", "legacy", "state_dict", "model", "module.", "counters", "half", "safetensors"]
)
def test_a_published_file_loads_by_its_path(small, small_files, tmp_path, kind):
    state, path = dict(small), tmp_path / "published.pth.tar"
    if kind == "module.":
        state = {f"module.{key}": value for key, value in state.items()}
    if kind == "counters":
        state |= {
            key.replace("running_mean", "num_batches_tracked"): torch.tensor(9)
            for key in small
            if "running_mean" in key
        }
    if kind == "half":
        state = {key: value.half() for key, value in state.items()}
    if kind == "safetensors":
        path = tmp_path / "published.safetensors"
        save_file(state, path)
    else:
        held = {kind: state, "epoch": 3} if kind in ("state_dict", "model") else state
        torch.save(held, path, _use_new_zipfile_serialization=kind != "legacy")  # as before PyTorch 1.6
    embedder = published_embedder("person-reidentification", path)
    twin = StrongBaseline(7, (1, 1, 1, 1)).eval()
    twin.load_state_dict(small, strict=False)
    with torch.no_grad():
        own = twin(torch.from_numpy(embedder.preprocess(IMAGE))[None])[0].numpy()
    allowed = 0.02 if kind == "half" else 1e-5
    assert np.abs(embedder.embed(IMAGE)[0] - own).max() <= allowed * np.abs(own).max()
    assert path.name in embedder.details
    assert "small (somebody/their-repository)" in embedder.details


def test_the_same_file_gives_the_same_fingerprint_in_every_wrapping(small, small_files, tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in small.items()}}, tmp_path / "a.pth")
    save_file(small, tmp_path / "b.safetensors")
    made = [published_embedder("person-reidentification", tmp_path / f) for f in ("a.pth", "b.safetensors")]
    assert made[0].fingerprint == made[1].fingerprint
    assert made[0].fingerprint != published_embedder("person-reidentification").fingerprint


def test_the_whole_strong_baseline_loads_and_adds_up(tmp_path):
    state = drawn(StrongBaseline(751))
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "market.pth")
    embedder = published_embedder("person-reidentification", tmp_path / "market.pth")
    assert "reid-strong-baseline" in embedder.details
    assert (embedder.map_size, embedder.dim) == ((16, 8), 2048)
    assert (embedder.geometry.stride, embedder.geometry.first) == ((16, 16), (0, 0))
    twin = copy.deepcopy(embedder.trunk).double()
    with torch.no_grad():
        cells = twin(torch.from_numpy(embedder.preprocess(IMAGE))[None].double())
        own = embedder.head.double()(cells)[0].numpy()
    embedder.head.float()
    parts = embedder.local_embeddings(IMAGE, dtype="float64")
    assert np.abs(parts.vectors.sum((0, 1)) + parts.offset - own).max() <= 1e-10 * np.abs(own).max()


def test_without_a_file_the_weights_are_random_and_seeded():
    before = torch.get_rng_state()
    made = [published_embedder("image-retrieval", seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    fingerprints = [embedder.fingerprint for embedder in made]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert "random weights (seed 1)" in made[2].details
    embedding = made[0].embed(IMAGE)[0]
    assert embedding.shape == (512,)
    assert 1e-3 < np.abs(embedding).max() < 1e4
    assert (made[0].map_size, made[0].geometry.first) == ((7, 7), (6, 6))
    assert "lie 0.5 cells apart" in made[0].details


def test_deep_faces_with_random_weights_stay_in_range():
    embedder = published_embedder("face-verification", variant="evolve-ir-50")
    embeddings = embedder.embed([IMAGE, IMAGE[::-1].copy(), np.full((9, 9, 3), 90, np.uint8)])
    assert 1e-3 < np.abs(embeddings).max() < 1e4
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert (unit @ unit.T)[np.triu_indices(3, 1)].max() < 0.999


def test_bgr_networks_are_fed_blue_first():
    red = np.zeros((300, 300, 3), np.uint8)
    red[..., 0] = 200
    fed = {name: known[0].preprocess(red)[:, 5, 5].tolist() for name, known in APPLICATIONS.items()}
    assert fed["image-retrieval"] == [-104, -117, 72]
    assert fed["geo-localization-ground"] == pytest.approx([-103.939, -116.779, 76.4], abs=1e-4)
    assert fed["face-verification"] == pytest.approx([(200 / 255 - 0.5) * 2, -1, -1], abs=1e-6)
    assert fed["person-reidentification"][0] == pytest.approx((200 / 255 - 0.485) / 0.229, abs=1e-5)
    zhu = APPLICATIONS["face-verification"][-1].preprocess(red)[:, 5, 5]
    assert zhu[2] == pytest.approx((200 / 255 - 0.406) / 0.225, abs=1e-5)  # red comes last
    sizes = {name: known[0].preprocess.size for name, known in APPLICATIONS.items()}
    assert sizes == {
        "image-retrieval": (224, 224),
        "person-reidentification": (256, 128),
        "face-verification": (112, 112),
        "geo-localization-ground": (224, 1232),
        "geo-localization-aerial": (512, 512),
    }


# ---- refusals ----------------------------------------------------------------------------------------------------


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"unknown application 'birds': expected one of image-retrieval, person-"
    ):
        published_embedder("birds")
    with pytest.raises(
        ValueError,
        match=r"unknown variant 'ir-50' of face-verification: expected one of evolve-ir-50, .*None",
    ):
        published_embedder("face-verification", variant="ir-50")


def test_a_file_with_other_names_is_refused_with_the_lists(small, small_files, tmp_path):
    state = dict(small)
    for n in range(12):
        state[f"extra.{n}"] = torch.zeros(1)
    del state["base.layer1.0.conv1.weight"], state["bottleneck.running_var"]
    state["base.conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match="are not those of person-reidentification, variant small"
    ) as refused:
        published_embedder("person-reidentification", tmp_path / "other.pth")
    said = str(refused.value)
    assert "2 missing: base.layer1.0.conv1.weight, bottleneck.running_var" in said
    assert "12 not expected: extra.0, " in said
    assert "extra.9, and 2 more" in said
    assert "extra.10" not in said
    assert "1 of another shape: base.conv1.weight is (64, 1, 7, 7), expected (64, 3, 7, 7)" in said
    assert f"of its {len(state)} names" in said
    assert "Expected a file of the repository somebody/their-repository" in said


def test_a_missing_classifier_is_missing(small):
    state = {key: value for key, value in small.items() if not key.startswith("classifier")}
    with pytest.raises(ValueError, match=r"1 missing: classifier\.weight"):
        fitting_net("person-reidentification", SMALL, state, "x.pth")


def test_a_file_of_another_application_names_the_nearest_variant(small):
    with pytest.raises(
        ValueError, match=r"variant \S+ \(the nearest of evolve-ir-50, evolve-ir-101, .*missing"
    ):
        fitting_net("face-verification", APPLICATIONS["face-verification"], small, "x.pth")


def test_a_truncated_ir_152_is_no_ir_101():
    with torch.device("meta"):
        whole = APPLICATIONS["face-verification"][2].build().state_dict()
    state = {key: value for key, value in whole.items() if not key.startswith("body.40.")}
    with pytest.raises(ValueError, match=r"variant evolve-ir-152 .*missing: body\.40\.res_layer\.0\.weight"):
        fitting_net("face-verification", APPLICATIONS["face-verification"], state, "x.pth")


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no file of weights at .*none\.pth; .*weights=None"
    ):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read as weights alone"):
        read_checkpoint(tmp_path / "broken.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"broken\.safetensors cannot be read as weights alone"):
        read_checkpoint(tmp_path / "broken.safetensors")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"cannot be read as weights alone .*save model\.state_dict\(\)"):
        read_checkpoint(tmp_path / "whole.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match=r"must hold tensors by name \(a state dict\), it holds Tensor"):
        read_checkpoint(tmp_path / "tensor.pth")
    torch.save({"a": torch.zeros(3), "epoch": 4}, tmp_path / "mixed.pth")
    with pytest.raises(ValueError, match="1 of its 2 entries are none: 'epoch' is int"):
        read_checkpoint(tmp_path / "mixed.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"state_dict": {"fn": print}}, tmp_path / "code.pth")
    with pytest.raises(
        ValueError, match=r"cannot be read as weights alone .*GLOBAL print .*and you trust it"
    ):
        read_checkpoint(tmp_path / "code.pth")


def test_a_prefix_on_some_names_only_is_no_wrapper(tmp_path):
    torch.save({"module.a": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "some.pth")
    assert set(read_checkpoint(tmp_path / "some.pth")) == {"module.a", "b"}


def test_mismatch_counts():
    found = Mismatch.between({"a": (1,), "b": (2,), "c": (3,)}, {"b": (2,), "c": (4,), "d": (5,)})
    assert (found.missing, found.unexpected, len(found), found.held) == (("a",), ("d",), 3, 3)
    assert found.in_words() == "1 missing: a; 1 not expected: d; 1 of another shape: c is (4,), expected (3,)"
