import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from dmlviz.embedder.birdnet import fold_batch_norms
from dmlviz.learning import BirdRecipe, train_birds_embedder
from dmlviz.learning import train_birds as recipe_module
from dmlviz.learning.bird_export import recall_at, rounded

TINY = BirdRecipe(
    steps=5, polish_steps=3, families=2, classes=4, per_class=2, warm_up=2, precision="float32", seed=1,
    head_families=2, head_per_class=3,
)  # fmt: skip
LITTLE = {"families": 1, "per_class": 2, "seed": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A very short run from end to end: (weights' path, card)."""
    path = train_birds_embedder(TINY, tmp_path_factory.mktemp("run"), progress=False, held_out=LITTLE)
    return path, json.loads(path.with_suffix(".json").read_text())


def test_a_short_run_lowers_the_loss(trained, tmp_path):
    assert len(trained[1]["loss_curve"]["loss"]) == TINY.all_steps == 8
    run = recipe_module._Run(replace(TINY, steps=12, classes=8), tmp_path / "none")
    batch = next(run.drawn(1, workers=0))
    for _ in range(12):
        run.advance(batch)
    assert run.losses[-1] < run.losses[0] - 0.05


def test_weights_are_halves_and_the_card_describes_them(trained):
    path, card = trained
    assert path.name == "birds_avg.safetensors"
    weights = load_file(path)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert not any("norm" in name for name in weights)
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["bytes"] == path.stat().st_size < 500_000
    assert card["recipe"]["seed"] == 1
    assert card["images_seen"] == 8 * 8
    assert set(card["versions"]) == {"python", "torch", "numpy", "pillow"}
    assert set(card["held_out"]["recall"]) == {"@1", "@2", "@4", "@8"}
    assert card["held_out"]["images"] == 12
    assert card["geometry"] == {"input": [96, 96], "stride": 8.0, "first": 3.5, "receptive_field": 30.0}


def test_one_seed_makes_one_network(trained, tmp_path):
    again = train_birds_embedder(TINY, tmp_path, progress=False, held_out=LITTLE)
    assert again.read_bytes() == trained[0].read_bytes()


def test_drawing_ahead_in_another_process_makes_the_same_network(trained, tmp_path):
    path = train_birds_embedder(TINY, tmp_path, progress=False, held_out=LITTLE, workers=1)
    assert path.read_bytes() == trained[0].read_bytes()


@pytest.mark.parametrize("lag", [0, 4])
def test_every_second_batch_is_an_earlier_one_mirrored(tmp_path, lag):
    run = recipe_module._Run(replace(TINY, mirrored_after=lag), tmp_path / "none")
    seen = [(images, labels) for images, labels, _ in run.drawn(9, workers=0)]
    for step, (images, labels) in enumerate(seen):
        of = {1: 0, 3: 0, 5: 0, 7: 2}.get(step, step) if lag else step
        drawn, expected = run.batches.batch(of)
        assert np.array_equal(images, drawn if of == step else drawn[:, :, ::-1])
        assert np.array_equal(labels, expected)
    for start in range(9):  # a run that goes on from anywhere sees the same
        run.step = start
        again = [images for images, _, _ in run.drawn(9, workers=0)]
        assert len(again) == 9 - start
        assert all(np.array_equal(a, b) for a, (b, _) in zip(again, seen[start:], strict=True))


@pytest.mark.parametrize(("frozen", "changed"), [(0, 6), (2, 4), (6, 0)])
def test_the_second_stage_leaves_the_first_convolutions_as_they_are(tmp_path, frozen, changed):
    run = recipe_module._Run(replace(TINY, steps=1, polish_frozen=frozen), tmp_path / "none")
    batches = run.drawn(4, workers=0)
    run.advance(next(batches))
    before = rounded(fold_batch_norms(run.net)).state_dict()
    for batch in batches:
        run.advance(batch)
    after = run.net.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    expected = [
        f"trunk.conv{number}.{what}" for number in range(frozen + 1, 7) for what in ("weight", "bias")
    ]
    assert len(expected) == 2 * changed
    assert moved == [*expected, "linear.weight"]


@pytest.mark.parametrize("until", [4, 5, 6])  # before, at and after the change to the folded network
def test_an_interrupted_run_goes_on_where_it_stopped(trained, tmp_path, until):
    assert train_birds_embedder(TINY, tmp_path, progress=False, until=until) is None
    assert (tmp_path / "birds_avg.checkpoint").exists()
    path = train_birds_embedder(TINY, tmp_path, progress=False, held_out=LITTLE)
    assert path.read_bytes() == trained[0].read_bytes()
    assert not (tmp_path / "birds_avg.checkpoint").exists()


def test_ctrl_c_after_the_last_step_keeps_all_steps(trained, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_module, "export_birds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_birds_embedder(TINY, tmp_path, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(recipe_module._Run, "advance", interrupted)  # no step is made again
    path = train_birds_embedder(TINY, tmp_path, progress=False, held_out=LITTLE)
    assert path.read_bytes() == trained[0].read_bytes()
    assert not (tmp_path / "birds_avg.checkpoint").exists()


def test_ctrl_c_keeps_what_is_done(trained, tmp_path, monkeypatch, capsys):
    real = recipe_module.BirdBatches.batch

    def batch(self, number):
        if number == 4:
            raise KeyboardInterrupt
        return real(self, number)

    monkeypatch.setattr(recipe_module.BirdBatches, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        train_birds_embedder(TINY, tmp_path, progress=False)
    assert "Stopped after 4 of 8 steps; the same command goes on from there" in capsys.readouterr().err
    monkeypatch.undo()
    path = train_birds_embedder(TINY, tmp_path, progress=False, held_out=LITTLE)
    assert path.read_bytes() == trained[0].read_bytes()


def test_the_checkpoint_of_another_recipe_is_refused(tmp_path):
    train_birds_embedder(TINY, tmp_path, progress=False, until=1)
    with pytest.raises(ValueError, match=r"checkpoint of another recipe .* another folder to start afresh"):
        train_birds_embedder(replace(TINY, seed=2), tmp_path, progress=False)


def test_a_broken_checkpoint_is_named(tmp_path):
    (tmp_path / "birds_avg.checkpoint").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"birds_avg.checkpoint is not a whole checkpoint .* Delete it"):
        train_birds_embedder(TINY, tmp_path, progress=False)


def test_training_leaves_the_callers_random_numbers_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train_birds_embedder(TINY, tmp_path, progress=False, until=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_rises_and_then_falls_to_nothing():
    recipe = BirdRecipe()
    rates = [recipe.rate(step) for step in range(recipe.all_steps)]
    for stage, highest in (
        (rates[: recipe.steps], recipe.learning_rate),
        (rates[recipe.steps :], recipe.polish_rate),
    ):
        assert max(stage) == pytest.approx(highest)
        assert stage.index(max(stage)) in (recipe.warm_up - 1, recipe.warm_up)
        assert stage[0] < 0.05 * highest
        assert stage[-1] < 1e-4 * highest
        assert all(a >= b for a, b in zip(stage[recipe.warm_up :], stage[recipe.warm_up + 1 :], strict=False))


def test_a_run_without_the_second_stage_ends_after_the_first(tmp_path):
    short = replace(TINY, steps=2, polish_steps=0)
    path = train_birds_embedder(short, tmp_path, progress=False, held_out=LITTLE)
    assert json.loads(path.with_suffix(".json").read_text())["images_seen"] == 2 * 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pooling": "gem"}, "'avg' or 'max'; got 'gem'"),
        ({"precision": "float16"}, "'bfloat16' or 'float32'; got 'float16'"),
        ({"steps": 0}, "steps of at least 1; got 0"),
        ({"polish_steps": -1}, "polish_steps is 0 or more; got -1"),
        ({"polish_frozen": -1}, "polish_frozen is 0 or more; got -1"),
        ({"head_families": -1}, "head_families is 0 or more; got -1"),
        ({"seed": -1}, "non-negative integer; got -1"),
        ({"mirrored_after": 3}, "mirrored_after is an even number of steps, or 0; got 3"),
        ({"classes": 6}, "classes must be a multiple of 4"),
        ({"families": 1}, "at least classes / 4"),
    ],
)
def test_a_recipe_that_cannot_be_is_worded(change, words):
    with pytest.raises(ValueError, match=words):
        BirdRecipe(**change)


def test_the_command_says_what_is_wrong(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        recipe_module.main(["--out", str(tmp_path), "--steps", "0"])
    assert stopped.value.code == 2
    assert "steps of at least 1; got 0" in capsys.readouterr().err


def test_the_command_answers_130_to_ctrl_c(monkeypatch, tmp_path):
    def interrupted(recipe, out, workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_module, "train_birds_embedder", interrupted)
    assert recipe_module.main(["--out", str(tmp_path)]) == 130


def test_recall_by_hand():
    embeddings = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.3]])
    # nearest others: 0 -> 1, 3, 2; 1 -> 0, 3, 2; 2 -> 3, 1, 0; 3 -> 1, 0, 2
    assert recall_at(embeddings, np.array([0, 0, 1, 1]), (1, 2, 3)) == {1: 0.75, 2: 0.75, 3: 1.0}


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_recall_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.normal(size=(12, 3)), rng.integers(4, size=12)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for k, share in recall_at(embeddings, labels, (1, 2, 4)).items():
        found = 0
        for i in range(12):
            others = sorted((j for j in range(12) if j != i), key=lambda j: -float(unit[i] @ unit[j]))
            found += any(labels[j] == labels[i] for j in others[:k])
        assert share == pytest.approx(found / 12)
