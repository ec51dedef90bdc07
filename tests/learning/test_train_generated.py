import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from dmlviz.embedder.smallnet import SmallNet, read_small
from dmlviz.images import faces, persons
from dmlviz.images.kinfolk import family_size
from dmlviz.learning import train_generated as recipe_module
from dmlviz.learning.people_batches import SUBJECTS, batches_of, many_of
from dmlviz.learning.people_measures import area_under_curve, cells_of, hover_rate, recall_across
from dmlviz.learning.train_generated import PeopleRecipe, train_people_embedder

TINY = PeopleRecipe(
    steps=4, polish_steps=2, families=2, classes=4, per_class=2, warm_up=2, precision="float32", seed=1,
    head_families=2, head_per_class=3, widths=(8, 8, 8, 12, 12, 10), dim=6,
)  # fmt: skip
LITTLE = {"faces": {"people": 7, "per_person": 2}, "persons": {"people": 6, "per_camera": 1, "cameras": 2}}
WHATS = pytest.mark.parametrize("what", list(SUBJECTS))


def run(what, folder, **options):
    return train_people_embedder(
        replace(TINY, what=what), folder, progress=False, held_out={**LITTLE[what], "seed": 0}, **options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Very short runs from end to end: what -> (weights' path, card)."""
    found = {}
    for what in SUBJECTS:
        path = run(what, tmp_path_factory.mktemp("run"))
        found[what] = path, json.loads(path.with_suffix(".json").read_text())
    return found


@WHATS
def test_the_card_describes_the_weights(trained, what):
    path, card = trained[what]
    weights = load_file(path)
    assert path.name == f"{what}.safetensors"
    assert not any("norm" in name or "names" in name for name in weights)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["recipe"]["what"] == what
    assert card["recipe"]["widths"] == [8, 8, 8, 12, 12, 10]
    assert card["images_seen"] == 6 * 8
    assert len(card["loss_curve"]["loss"]) == 6
    held_out = card["held_out"]
    assert held_out["images"] == {"faces": 14, "persons": 12}[what]
    for found in (held_out, held_out["untrained_network"]):
        assert 0 <= found["recall"]["@1"] <= found["recall"]["@8"] <= 1
        assert ("auc" in found) == (what == "faces")
        assert 0 <= found["hover"] <= 1
    assert f"--what {what} --out DIR --seed 1 --steps 4 --polish-steps 2 --families 2" in card["command"]
    assert read_small(path).input_size == SUBJECTS[what].size


@WHATS
def test_one_seed_makes_one_network_interrupted_or_not(trained, what, tmp_path):
    for until in (3, 5):  # before and after the change to the folded network
        assert run(what, tmp_path, until=until) is None
        assert (tmp_path / f"{what}.checkpoint").exists()
    again = run(what, tmp_path)
    assert again.read_bytes() == trained[what][0].read_bytes()
    assert not (tmp_path / f"{what}.checkpoint").exists()


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch, capsys):
    def interrupted(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_module._PeopleRun, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("faces", tmp_path)
    assert "Stopped after 0 of 6 steps; the same command goes on from there" in capsys.readouterr().err
    assert (tmp_path / "faces.checkpoint").exists()


@WHATS
def test_naming_parts_is_learnt_beside_the_embedding(what, tmp_path):
    run_ = recipe_module._PeopleRun(replace(TINY, what=what, steps=40, polish_steps=0), tmp_path / "none")
    images, labels = run_.batches.batch(0)
    before = {name: value.clone() for name, value in run_.net.state_dict().items() if "names" in name}
    assert len(before) == 2
    for _ in range(12):
        run_.advance((images, labels, 0.0))
    assert run_.losses[-1] < run_.losses[0] - 0.1
    assert all(not torch.equal(value, run_.net.state_dict()[name]) for name, value in before.items())
    finished = run_.finished()
    assert not any("names" in name for name in finished.state_dict())
    assert "names.weight" in run_.net.state_dict()  # the run itself goes on as it was


def test_the_loss_of_naming_is_its_definition(tmp_path):
    run_ = recipe_module._PeopleRun(replace(TINY, what="persons"), tmp_path / "none")
    torch.manual_seed(2)
    cells, variants = torch.randn(2, 10, 16, 8), run_.variants[torch.tensor([0, 3])]
    drawn, _ = run_.batches.batch(0)
    regions = drawn[:2, :, :, 3]
    scheme = SUBJECTS["persons"].scheme
    names = run_.net.get_submodule("names")
    scores = (torch.einsum("kc,nchw->nhwk", names.weight, cells) + names.bias).detach().double().numpy()
    total, weight = 0.0, 0.0
    for n in range(2):
        for i in range(16):
            for j in range(8):
                block, at = regions[n, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8], 0
                for number, part in enumerate(scheme.parts):
                    pixels = int((block == scheme.region_id[part.name]).sum())
                    for which, count in enumerate((len(part.shapes), len(part.colours))):
                        for k in range(count):
                            right = pixels >= 10 and k == int(variants[n, 2 * number + which])
                            share = 1 / (1 + np.exp(-scores[n, i, j, at + k]))
                            w = 0.0 if 0 < pixels < 10 else 10.0 if right else 1.0
                            total -= w * np.log(share if right else 1 - share)
                            weight += w
                        at += count
    assert weight > 0
    assert float(run_._naming_loss(cells, regions, variants).detach()) == pytest.approx(
        total / weight, rel=1e-5
    )


def test_the_checkpoint_of_another_recipe_is_refused(tmp_path):
    run("faces", tmp_path, until=1)
    with pytest.raises(ValueError, match="checkpoint of another recipe"):
        train_people_embedder(replace(TINY, seed=2), tmp_path, progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"what": "cats"}, "'faces' or 'persons'; got 'cats'"),
        ({"pooling": "gem"}, "'avg' or 'max'; got 'gem'"),
        ({"steps": 0}, "steps of at least 1; got 0"),
        ({"naming": -1.0}, "naming is a weight of 0 or more; got -1.0"),
    ],
)
def test_a_recipe_that_cannot_be_is_worded(change, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)


def test_the_command_says_what_is_wrong(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        recipe_module.main(["--what", "faces", "--out", str(tmp_path), "--steps", "0"])
    assert stopped.value.code == 2
    assert "steps of at least 1; got 0" in capsys.readouterr().err


def test_the_command_answers_130_to_ctrl_c(monkeypatch, tmp_path):
    def interrupted(recipe, out, workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_module, "train_people_embedder", interrupted)
    assert recipe_module.main(["--what", "persons", "--out", str(tmp_path)]) == 130


@WHATS
def test_batches_are_people_and_kin(what):
    batches = batches_of(what, 6, 5, 8, 3, 300)
    kin = family_size(SUBJECTS[what].scheme)
    images, labels = batches.batch(3)
    assert images.shape == (24, *SUBJECTS[what].size, 4)
    assert images[..., 3].max() < len(SUBJECTS[what].scheme.regions)
    assert np.bincount(labels).max() == 3
    assert np.array_equal(images, batches.batch(3)[0])
    assert not np.array_equal(images, batches.batch(4)[0])
    families = [len(set((batches._classes_of(n) // kin).tolist())) for n in range(60)]
    hard = [n == 2 for n in families]
    assert 0.2 < np.mean(hard) < 0.65
    later = [len(set((batches._classes_of(n) // kin).tolist())) == 2 for n in range(300, 340)]
    assert np.mean(later) > 0.7
    assert all(person.family < 6 for person in batches.people)


def test_persons_of_a_batch_are_seen_by_several_cameras():
    batches = batches_of("persons", 2, 5, 4, 4, 300)
    seen = []
    subject = SUBJECTS["persons"]

    def spy(scene, height):
        seen.append(scene.camera)
        return subject.draw(scene, height)

    SUBJECTS["persons"] = replace(subject, draw=spy)
    try:
        batches.batch(0)
    finally:
        SUBJECTS["persons"] = subject
    assert all(len(set(seen[start : start + 4])) == 4 for start in range(0, 16, 4))


def test_training_people_are_of_the_training_side():
    from dmlviz.images.bird_species import split_of_code

    for what in SUBJECTS:
        people = batches_of(what, 3, 0, 4, 2, 300).people
        assert {split_of_code(person.look.code) for person in people} == {"train"}
        drawn = many_of(what, 1, 2, seed=1, at_once=5)
        assert sum(len(labels) for _, labels in drawn) == 2 * family_size(SUBJECTS[what].scheme)


def test_the_area_by_hand():
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    # pairs of (same, different): .9 > .4, .9 > .1, .4 = .4, .4 > .1
    assert area_under_curve(scores, np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    with pytest.raises(ValueError, match="pairs of both kinds; got 4 same and 0 different"):
        area_under_curve(scores, np.ones(4, bool))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_the_area_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    scores, same = rng.integers(0, 5, 12).astype(float), np.arange(12) % 3 == 0
    wins = [float(a > b) + 0.5 * float(a == b) for a in scores[same] for b in scores[~same]]
    assert area_under_curve(scores, same) == pytest.approx(np.mean(wins))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_recall_across_cameras_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    embeddings, labels, cameras = rng.normal(size=(14, 3)), rng.integers(4, size=14), rng.integers(2, size=14)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for k, share in recall_across(embeddings, labels, cameras, (1, 2, 4)).items():
        found = 0
        for i in range(14):
            kept = [j for j in range(14) if labels[j] != labels[i] or cameras[j] != cameras[i]]
            nearest = sorted(kept, key=lambda j: -float(unit[i] @ unit[j]))[:k]
            found += any(labels[j] == labels[i] for j in nearest)
        assert share == pytest.approx(found / 14)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_local_embeddings_add_up(pooling):
    net = SmallNet((8, 8, 8, 12, 12, 10), pooling, 6).eval()
    pictures = np.stack(list(faces(people=1, per_person=3)))
    cells, whole = cells_of(net, pictures, at_once=2)
    assert cells.shape == (3, 12, 12, 6)
    from dmlviz.embedder.birdnet import images_to_input

    with torch.no_grad():
        expected = net(images_to_input(pictures)).numpy()
    assert np.abs(whole - expected).max() < 1e-5


def test_a_network_that_knows_the_parts_hovers_well():
    """Local embeddings made of the part-id maps themselves: each cell says how much of each region it shows."""
    for images in (faces(people=3, per_person=4), persons(people=3, per_camera=2)):
        regions = len(images.scheme.regions)
        cells = []
        for i in range(len(images)):
            ids = images.part_ids(i)
            shown = (
                np.eye(regions)[ids].reshape(ids.shape[0] // 8, 8, ids.shape[1] // 8, 8, regions).mean((1, 3))
            )
            cells.append(shown / np.linalg.norm(shown, axis=2, keepdims=True))
        local = np.stack(cells)
        labels = np.array([images.person(i) for i in range(len(images))])
        rate, chance = hover_rate(images, local, local.sum((1, 2)), labels, every=1)
        assert rate > 0.8 > 0.3 > chance
        noise = np.random.default_rng(0).normal(size=local.shape)
        assert hover_rate(images, noise, noise.sum((1, 2)), labels, every=1)[0] < 0.4
