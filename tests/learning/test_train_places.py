import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmlviz.embedder.smallnet import read_small
from dmlviz.images import places
from dmlviz.learning import train_places as recipe_module
from dmlviz.learning.train_places import PlaceRecipe, train_places_embedders

TINY = PlaceRecipe(steps=3, families=1, turns=2, dim=6, warm_up=1, precision="float32", seed=1)
LITTLE = {"places": 4, "seed": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A very short run from end to end: (paths of the weights, card)."""
    paths = train_places_embedders(TINY, tmp_path_factory.mktemp("run"), progress=False, held_out=LITTLE)
    return paths, json.loads(paths[0].with_suffix(".json").read_text())


def test_a_short_run_lowers_the_loss(tmp_path, monkeypatch):
    run = recipe_module._Run(replace(TINY, steps=12, dim=16), tmp_path / "none")
    first = run.batches.batch(0)
    monkeypatch.setattr(recipe_module.PlaceBatches, "batch", lambda self, number: first)
    for _ in range(10):
        run.advance()
    assert run.losses[-1] < 0.7 * run.losses[0]


def test_weights_are_halves_and_the_cards_describe_them(trained):
    (ground, aerial), card = trained
    assert (ground.name, aerial.name) == ("places_ground.safetensors", "places_aerial.safetensors")
    for path in (ground, aerial):
        own = json.loads(path.with_suffix(".json").read_text())
        assert {value.dtype for value in load_file(path).values()} == {torch.float16}
        assert own["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert own["command"] == "python -m dmlviz.learning.train_places --out DIR"
    assert card["pairs_seen"] == 3 * 8
    assert card["geometry"]["input"] == [64, 192]
    assert set(card["versions"]) == {"python", "torch", "numpy", "pillow"}
    held_out = card["held_out"]
    assert held_out["places"] == 4
    assert {"recall@1", "recall@5", "recall@top 1 %"} <= held_out["retrieval"].keys()
    assert {"contribution", "area", "azimuth error"} <= held_out["hover"].keys()
    assert len(card["loss_curve"]["loss"]) == 3


def test_what_was_written_can_be_used(trained):
    ground, aerial = (read_small(path) for path in trained[0])
    town = places(1)
    assert ground.map_size == (8, 24)
    assert aerial.map_size == (12, 12)
    assert ground.embed(town.ground[0]).shape == aerial.embed(town.aerial[0]).shape == (1, 6)


@pytest.mark.parametrize("until", [1, 2])
def test_an_interrupted_run_goes_on_where_it_stopped(trained, tmp_path, until):
    assert train_places_embedders(TINY, tmp_path, progress=False, until=until) is None
    assert (tmp_path / "places.checkpoint").exists()
    paths = train_places_embedders(TINY, tmp_path, progress=False, held_out=LITTLE)
    for mine, theirs in zip(paths, trained[0], strict=True):
        assert mine.read_bytes() == theirs.read_bytes()
    assert not (tmp_path / "places.checkpoint").exists()


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch, capsys):
    real = recipe_module.PlaceBatches.batch

    def batch(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return real(self, number)

    monkeypatch.setattr(recipe_module.PlaceBatches, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        train_places_embedders(TINY, tmp_path, progress=False)
    assert "Stopped after 2 of 3 steps; the same command goes on from there" in capsys.readouterr().err
    assert len(torch.load(tmp_path / "places.checkpoint", weights_only=True)["losses"]) == 2


def test_another_recipes_checkpoint_and_a_broken_one_are_refused(tmp_path):
    train_places_embedders(TINY, tmp_path, progress=False, until=1)
    with pytest.raises(ValueError, match=r"checkpoint of another recipe .* another folder to start afresh"):
        train_places_embedders(replace(TINY, seed=2), tmp_path, progress=False)
    (tmp_path / "places.checkpoint").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"places.checkpoint is not a whole checkpoint .* Delete it"):
        train_places_embedders(TINY, tmp_path, progress=False)


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    recipe_module.first_networks(TINY)
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_rises_and_then_falls_to_nothing():
    recipe = PlaceRecipe()
    rates = np.array([recipe.rate(step) for step in range(recipe.steps)])
    assert rates.max() == pytest.approx(recipe.learning_rate)
    assert rates.argmax() in (recipe.warm_up - 1, recipe.warm_up)
    assert rates[0] < 0.05 * recipe.learning_rate
    assert rates[-1] < 1e-4 * recipe.learning_rate
    assert (np.diff(rates[recipe.warm_up :]) <= 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pooling": "gem"}, "'avg', 'max' or 'flatten'; got 'gem'"),
        ({"precision": "float16"}, "'bfloat16' or 'float32'; got 'float16'"),
        ({"steps": 0}, "steps of at least 1; got 0"),
        ({"turns": 5}, "1 to 4 turns of the world; got turns=5"),
        ({"seed": -1}, "non-negative integer; got -1"),
        ({"temperature": 0.0}, r"temperature must be > 0; got 0\.0"),
    ],
)
def test_a_recipe_that_cannot_be_is_worded(change, words):
    with pytest.raises(ValueError, match=words):
        PlaceRecipe(**change)


def test_the_command_says_what_is_wrong_and_answers_130_to_ctrl_c(capsys, monkeypatch, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        recipe_module.main(["--out", str(tmp_path), "--steps", "0"])
    assert stopped.value.code == 2
    assert "steps of at least 1; got 0" in capsys.readouterr().err

    def interrupted(recipe, out):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_module, "train_places_embedders", interrupted)
    assert recipe_module.main(["--out", str(tmp_path)]) == 130
