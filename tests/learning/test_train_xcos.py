"""Training xCos heads: the losses fall, and an interrupted run ends as an uninterrupted one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead, birds_embedder, read_xcos
from dmlviz.images import Preprocess
from dmlviz.learning import XCosRecipe, train_xcos_head
from dmlviz.learning import train_xcos as command
from dmlviz.learning import xcos_training as training

RECIPE = XCosRecipe(steps=6, warm_up=2, learning_rate=1e-2, seed=3)
CLASSES = 4


def small() -> Embedder:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
    embedder = Embedder(
        trunk.eval(), LinearHead("avg", nn.Linear(6, 5)), Preprocess.stretch(12), name="small"
    )
    trunk.train()  # as somebody may have left it
    return embedder


def batches(number: int):
    """Four classes: plain pictures of four colours with noise, two of each."""
    random = np.random.default_rng([5, number])
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [180, 180, 20]])
    labels = np.repeat(np.arange(CLASSES), 2)
    noise = random.integers(-25, 26, (len(labels), 12, 12, 3))
    return (colours[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8), labels


def train(out, recipe=RECIPE, **options):
    return train_xcos_head(small(), batches, CLASSES, recipe, out, progress=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), about={"colours": 4})


@pytest.mark.parametrize(
    ("classifier", "weight", "falls"),
    [("cosface", 1.0, "classification"), ("arcface", 1.0, "classification"), ("cosface", 0.0, "agreement")],
)
def test_the_losses_fall(tmp_path, classifier, weight, falls):
    path = train(tmp_path, replace(RECIPE, steps=25, classifier=classifier, classification=weight))
    curve = json.loads(path.with_suffix(".json").read_text())["loss_curve"][falls]
    assert len(curve) == 25
    assert np.mean(curve[-5:]) < 0.6 * np.mean(curve[:5])


def test_the_head_read_back_follows_the_embedders_cosine(tmp_path):
    embedder = small()
    path = train(tmp_path, replace(RECIPE, steps=40, classification=0.0))
    module = read_xcos(path, embedder)
    images, _ = batches(999)
    maps = embedder.feature_maps(images)
    unit = embedder.embed(images)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    first, second = np.triu_indices(len(images), 1)
    with torch.no_grad():
        scores = module(maps[first], maps[second]).numpy()
    assert np.corrcoef(scores, (unit[first] * unit[second]).sum(1))[0, 1] > 0.8


def test_one_seed_makes_one_head_and_the_card_tells_how(trained, tmp_path):
    again = train(tmp_path, about={"colours": 4})
    assert again.read_bytes() == trained.read_bytes()
    other = train(tmp_path / "other", replace(RECIPE, seed=4))
    assert other.read_bytes() != trained.read_bytes()
    card = json.loads(trained.with_suffix(".json").read_text())
    assert card["recipe"]["seed"] == 3
    assert card["batches"] == {"colours": 4}
    assert card["images_seen"] == 6 * 8
    assert card["grid"] == [3, 3]
    assert card["trunk"]["name"] == "small"


@pytest.mark.parametrize("until", [1, 4])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(trained, tmp_path, until):
    assert train(tmp_path, about={"colours": 4}, until=until) is None
    assert (tmp_path / "xcos.checkpoint").exists()
    path = train(tmp_path, about={"colours": 4})
    assert path.read_bytes() == trained.read_bytes()
    assert not (tmp_path / "xcos.checkpoint").exists()


def test_ctrl_c_keeps_what_is_done(trained, tmp_path, capsys):
    def interrupted(number):
        if number == 3:
            raise KeyboardInterrupt
        return batches(number)

    with pytest.raises(KeyboardInterrupt):
        train_xcos_head(small(), interrupted, CLASSES, RECIPE, tmp_path, about={"colours": 4}, progress=False)
    assert "Stopped after 3 of 6 steps; the same command goes on" in capsys.readouterr().err
    assert train(tmp_path, about={"colours": 4}).read_bytes() == trained.read_bytes()


def test_the_embedder_is_left_as_found(tmp_path):
    embedder = small()
    before = {name: value.clone() for name, value in embedder.trunk.state_dict().items()}
    random = torch.random.get_rng_state()
    train_xcos_head(embedder, batches, CLASSES, RECIPE, tmp_path, progress=False)
    assert embedder.trunk.training
    assert all(torch.equal(before[name], value) for name, value in embedder.trunk.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in embedder.trunk.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_another_runs_checkpoint_is_refused(tmp_path):
    train(tmp_path, until=2)
    with pytest.raises(ValueError, match=r"checkpoint of another run \(another recipe\)"):
        train(tmp_path, replace(RECIPE, seed=9))
    with pytest.raises(ValueError, match=r"\(another batches\)"):
        train(tmp_path, about={"other": 1})
    (tmp_path / "xcos.checkpoint").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"not a whole checkpoint .* Delete it to start afresh"):
        train(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "at least 1 step, got 0"),
        ({"classifier": "softmax"}, "'cosface' or 'arcface', got 'softmax'"),
        ({"seed": -1}, "non-negative integer, got -1"),
        ({"classification": float("nan")}, "finite weight ≥ 0, got nan"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        replace(RECIPE, **wrong)


def test_the_rate_rises_and_falls():
    recipe = XCosRecipe(steps=100, warm_up=10, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] < 1
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 0.001


def test_the_command_trains_on_the_birds(tmp_path, capsys):
    asked = ["--out", str(tmp_path), "--steps", "2", "--families", "1", "--classes", "4", "--published-order"]
    assert command.main(asked) == 0
    path = tmp_path / "xcos_birds.safetensors"
    assert capsys.readouterr().out.strip() == str(path)
    module = read_xcos(path, birds_embedder("avg"))
    assert not module.symmetric
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path), "--classes", "6"])
    assert "classes must be a multiple of 4" in capsys.readouterr().err


def test_ctrl_c_ends_the_command_with_130(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "train_xcos_head", interrupted)
    assert command.main(["--out", str(tmp_path), "--steps", "1"]) == 130


def test_checkpoints_are_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    seen = []

    def watched(number):
        if number == 5:
            seen.append((tmp_path / "xcos.checkpoint").exists())
        return batches(number)

    train_xcos_head(small(), watched, CLASSES, RECIPE, tmp_path, progress=False)
    assert seen == [True]
