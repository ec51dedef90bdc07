"""TensorFlow's variables of the geo-localization checkpoint under our names: the same numbers, moved."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmlviz.embedder.published import from_tensorflow
from dmlviz.embedder.published.door import fitting_net
from dmlviz.embedder.published.from_tensorflow import convert, main, open_checkpoint, tensorflow_names
from dmlviz.embedder.published.variants import APPLICATIONS

LAYERS = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"]
PLANES = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


def published_variables():
    """Name -> shape as the published TensorFlow code makes them."""
    shapes = {}
    for scope in ("Sat", "Grd"):
        into = 3
        for layer in LAYERS:
            out = PLANES[layer[0]]
            shapes[f"{scope}/conv{layer}/weights"] = (3, 3, into, out)
            shapes[f"{scope}/conv{layer}/biases"] = (out,)
            into = out
    shapes["Gap_local/fc1/weights"] = (512, 4096)
    shapes["Gap_local/fc1/biases"] = (4096,)
    return shapes


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(8)
    return {
        name: rng.random(shape, dtype=np.float32) * np.float32(0.1) - np.float32(0.05)
        for name, shape in published_variables().items()
    }


@pytest.fixture(scope="module")
def converted(variables):
    return convert(variables, variables.__getitem__)


def test_the_names_are_the_published_ones():
    assert {theirs: shape for theirs, (_, shape) in tensorflow_names().items()} == published_variables()


def test_kernels_and_linear_map_are_turned_round(variables, converted):
    """One pixel of conv1_1 and one embedding, by the loops that TensorFlow's layouts mean."""
    state = {name: torch.from_numpy(values) for name, values in converted.items()}
    _, net = fitting_net(
        "geo-localization-aerial", APPLICATIONS["geo-localization-aerial"], state, "converted"
    )
    picture = np.random.default_rng(2).random((5, 6, 3))  # TensorFlow's (rows, columns, channels)
    for scope, branch in (("Sat", net.aerial), ("Grd", net.ground)):
        kernel, bias = variables[f"{scope}/conv1_1/weights"], variables[f"{scope}/conv1_1/biases"]
        wanted = bias[7].astype(np.float64)
        for dr in range(3):
            for dc in range(3):
                for c in range(3):
                    wanted += kernel[dr, dc, c, 7] * picture[2 + dr - 1, 4 + dc - 1, c]
        with torch.no_grad():
            found = branch.conv1_1.double()(torch.from_numpy(picture).permute(2, 0, 1)[None])
        assert abs(float(found[0, 7, 2, 4]) - wanted) < 1e-12
    pooled = np.random.default_rng(3).random(512)
    wanted = (
        pooled @ variables["Gap_local/fc1/weights"].astype(np.float64) + variables["Gap_local/fc1/biases"]
    )
    with torch.no_grad():
        found = net.fc1.double()(torch.from_numpy(pooled)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_the_command_writes_a_file_that_loads(variables, tmp_path, monkeypatch, capsys):
    held = {**variables, "Sat/conv1_1/weights/Adam": np.zeros(1), "beta1_power": np.zeros(())}
    asked = []

    class Reader:
        def get_variable_to_shape_map(self):
            return {name: list(values.shape) for name, values in held.items()}

        def get_tensor(self, name):
            asked.append(name)
            return held[name]

    fake = SimpleNamespace(train=SimpleNamespace(load_checkpoint=lambda path: Reader()))
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    out = tmp_path / "crossview.safetensors"
    assert main([str(tmp_path / "model.ckpt"), str(out)]) == 0
    assert "wrote 54 tensors" in capsys.readouterr().out
    assert set(asked) == set(variables)  # the optimiser's averages are not read
    for view in ("ground", "aerial"):
        name = f"geo-localization-{view}"
        found, net = fitting_net(name, APPLICATIONS[name], load_file(out), str(out))
        assert (found.name, net.view) == ("explain-metric-learning", view)


def test_what_is_refused(variables, converted, tmp_path, monkeypatch, capsys):
    some = {name: values for name, values in variables.items() if not name.startswith("Grd")}
    with pytest.raises(
        ValueError, match=r"26 of the 54 variables are missing: Grd/conv1_1/weights, .*16 more"
    ):
        convert(some, some.__getitem__)
    turned = {**variables, "Gap_local/fc1/weights": variables["Gap_local/fc1/weights"].T}
    with pytest.raises(
        ValueError, match=r"Gap_local/fc1/weights has shape \(4096, 512\), expected \(512, 4096\)"
    ):
        convert(turned, turned.__getitem__)
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint at .*model\.ckpt; .*unpack"):
        open_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(
        ImportError, match="needs TensorFlow, which is not installed here; run this once where"
    ):
        open_checkpoint(tmp_path / "model.ckpt")
    assert main([str(tmp_path / "model.ckpt"), "out.safetensors"]) == 1
    assert "needs TensorFlow" in capsys.readouterr().err
    assert main([str(tmp_path / "model.ckpt"), "out.pth"]) == 1
    assert "must end in .safetensors" in capsys.readouterr().err


def test_names_with_an_output_number_are_the_same_names(variables, converted):
    numbered = {f"{name}:0": values for name, values in variables.items()}
    again = convert(numbered, numbered.__getitem__)
    assert all(np.array_equal(again[name], converted[name]) for name in converted)


def test_tensorflow_is_not_imported_by_the_module():
    assert "tensorflow" not in from_tensorflow.__dict__
