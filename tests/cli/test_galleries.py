"""`dmlviz index`, `search` and `evaluate`: what they write, print and say, and how they go on after Ctrl-C."""

import hashlib
import json
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dmlviz.cli import main, model_file
from dmlviz.embedder import Embedder
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery
from dmlviz.retrieval.protocols import PROTOCOLS

QUICK = ("--model", "mobilenet_v3_small", "--weights", "random")


def run(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments], prog_name="dmlviz")


def photos(root, classes="abc", each=3):
    made = np.random.default_rng(0)
    for name in classes:
        for n in range(each):
            path = root / name / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A gallery made by the command, and what the command said."""
    folder = tmp_path_factory.mktemp("cli")
    root, out = photos(folder / "photos"), folder / "photos.gallery"
    return root, out, run("index", root, "--out", out, *QUICK, "--seed", 3, "--json")


@pytest.fixture
def one_network(monkeypatch):
    """Make the network once: what is asked for is remembered, what comes is always the same."""
    asked = []
    real = Embedder.from_torchvision
    kept = {}

    def from_torchvision(name, weights=None, *, seed=0):
        asked.append((name, weights, seed))
        if not kept:
            kept["network"] = real("mobilenet_v3_small", None, seed=3)
        return kept["network"]

    monkeypatch.setattr(Embedder, "from_torchvision", from_torchvision)
    return asked


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_names_what_there_is_and_the_way_for_ones_own_module():
    said = run("--help").output
    assert [f"\n  {name} " in said for name in ("index", "search", "evaluate", "demo")] == [True] * 4
    said = " ".join(run("index", "--help").output.split())
    assert "the same command goes on from there" in said
    assert "Galleries of your own modules are built and opened from Python" in said
    for command, options in {
        "search": ("--query", "-k", "--json", "--out", "--weights"),
        "evaluate": ("--protocol", "--json", "--per-query", "--weights"),
    }.items():
        said = run(command, "--help").output
        assert all(option in said for option in options)
        assert "\b" not in said


# --- index --------------------------------------------------------------------------------------------------------


def test_index_says_json_on_stdout_and_nothing_else_there(indexed):
    _, out, result = indexed
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["images"] == 9
    assert (said["classes"], said["similarity"], said["kind"]) == (3, "cosine", "flat")
    assert said["model"] == {"network": "mobilenet_v3_small", "weights": "random", "seed": 3, "sha256": None}
    assert said["gallery"] == str(out)
    assert "random weights make a gallery to try things on" in result.stderr


def test_the_model_is_noted_and_opens_the_gallery_again(indexed):
    _, out, _ = indexed
    noted = json.loads((out / "model.json").read_text())
    assert (noted["network"], noted["weights"], noted["seed"]) == ("mobilenet_v3_small", "random", 3)
    model = model_file.read_model(out)
    gallery = Gallery.open(out, model.embedder())  # refuses a network of another fingerprint
    assert len(gallery) == 9


@pytest.mark.usefixtures("one_network")
def test_index_again_does_nothing_and_mends_the_note(indexed, monkeypatch):
    root, out, first = indexed
    (out / "model.json").write_text("{")
    result = run("search", out, "--query", 0)
    assert result.exit_code == 1
    assert "cannot be read" in result.output
    assert "it was changed or cut short. The same `dmlviz index` that" in result.output
    monkeypatch.setattr(Embedder, "embed_inputs", lambda *_: pytest.fail("nothing is to be embedded again"))
    again = run("index", root, "--out", out, *QUICK, "--seed", 3, "--json")
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    assert run("search", out, "--query", 0).exit_code == 0


@pytest.mark.usefixtures("one_network")
def test_another_gallery_is_not_overwritten(indexed, tmp_path):
    _, out, _ = indexed
    before = (out / "gallery.json").read_bytes()
    result = run("index", photos(tmp_path / "other", "xy"), "--out", out, *QUICK, "--seed", 3)
    assert result.exit_code == 1
    assert "already holds a gallery, built with other images or labels; nothing was written" in result.output
    assert (out / "gallery.json").read_bytes() == before


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="no signals to raise")
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, one_network, monkeypatch):
    root, out = photos(tmp_path / "photos", "ab", 4), tmp_path / "g.gallery"
    command = ("index", root, "--out", out, "--batch-size", 2, *QUICK)
    real = Embedder.embed_inputs
    passes = []

    def embed(self, inputs):
        if len(passes) == 2:
            signal.raise_signal(signal.SIGINT)
        passes.append(len(inputs))
        return real(self, inputs)

    monkeypatch.setattr(Embedder, "embed_inputs", embed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = run(*command)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.exit_code == 130
    assert (
        f"Stopped. What is embedded is kept beside {out}: the same command goes on from there."
        in stopped.stderr
    )
    assert stopped.stdout == ""
    assert "Traceback" not in stopped.output
    assert not out.exists()
    assert passes == [2, 2]
    passes.clear()
    monkeypatch.setattr(
        Embedder, "embed_inputs", lambda self, inputs: passes.append(len(inputs)) or real(self, inputs)
    )
    finished = run(*command)
    assert finished.exit_code == 0, finished.output
    assert passes == [2, 2]  # only the other half
    assert (
        f"{out}: 8 images, 576 dimensions, by mobilenet_v3_small with random weights (seed 0)."
        in finished.stdout
    )
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
    assert one_network == [("mobilenet_v3_small", None, 0)] * 2


@pytest.mark.usefixtures("one_network")
@pytest.mark.parametrize(("asked", "found"), [("hnsw", "hnsw"), ("auto", "flat")])
def test_a_kind_of_index_may_be_chosen(tmp_path, asked, found):
    root, out = photos(tmp_path / "photos", "ab", 2), tmp_path / "g.gallery"
    result = run("index", root, "--out", out, *QUICK, "--kind", asked, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["kind"] == found
    assert bool(said["reason"]) == (asked == "auto")
    assert len(json.loads(run("search", out, "--query", 0, "--json").stdout)["ranking"]) == 3
    result = run("index", root, "--out", tmp_path / "other", *QUICK, "--kind", "none")
    assert result.exit_code == 1
    assert "unknown kind of index 'none'" in result.output


def test_images_that_cannot_be_read(tmp_path, one_network):
    root, out = photos(tmp_path / "photos", "ab", 2), tmp_path / "g.gallery"
    (root / "a" / "bad.png").write_bytes(b"\x89PNG rubbish")
    result = run("index", root, "--out", out, *QUICK)
    assert result.exit_code == 1
    assert "'a/bad.png' cannot be read" in result.output
    assert not out.exists()
    result = run("index", root, "--out", out, *QUICK, "--skip-unreadable")
    assert result.exit_code == 0, result.output
    assert "1 images could not be read and were left out:\n  a/bad.png:" in result.stderr
    assert "4 images" in result.stdout


@pytest.mark.usefixtures("one_network")
def test_a_data_set_in_its_layout_with_its_queries_and_rule(tmp_path):
    names = {
        "bounding_box_test": ["0001_c2s1_000001_01", "0002_c1s1_000001_01", "-1_c1s1_000002_01"],
        "query": ["0001_c1s1_000451_00", "0002_c3s1_000451_00"],
    }
    made = np.random.default_rng(0)
    for folder, stems in names.items():
        (tmp_path / "market" / folder).mkdir(parents=True)
        for stem in stems:
            picture = Image.fromarray(made.integers(0, 255, (24, 16, 3), dtype=np.uint8))
            picture.save(tmp_path / "market" / folder / f"{stem}.jpg")
    out = tmp_path / "market.gallery"
    result = run("index", tmp_path / "market", "--layout", "market1501", "--out", out, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["images"], said["queries"], said["leave_out"]) == (3, 2, "same-camera")
    judged = run("evaluate", out, "--protocol", "market1501", "--json", "--per-query", tmp_path / "q.csv")
    assert judged.exit_code == 0, judged.output
    values = json.loads(judged.stdout)
    assert values["queries"] == 2
    assert 0 < values["values"]["mAP"] <= 1
    assert "are removed" in values["definition"]
    frame = pd.read_csv(tmp_path / "q.csv")
    assert frame["query"].tolist() == [0, 1]
    assert frame["name"].tolist() == ["query/0001_c1s1_000451_00.jpg", "query/0002_c3s1_000451_00.jpg"]
    assert frame["average_precision"].mean() == pytest.approx(values["values"]["mAP"])


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A gallery by weights in a file."""
    import torchvision

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), folder / "mine.pth")
    root, out = photos(folder / "photos", "ab", 2), folder / "w.gallery"
    result = run(
        "index", root, "--out", out, "--model", "mobilenet_v3_small", "--weights", folder / "mine.pth"
    )
    assert result.exit_code == 0, result.output
    return folder / "mine.pth", out


def test_weights_of_a_file_are_found_again_where_they_lie_now(weighted, tmp_path):
    file, out = weighted
    noted = json.loads((out / "model.json").read_text())
    assert noted["weights"] == str(file)
    assert noted["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    moved = tmp_path / "moved.pth"
    shutil.move(file, moved)
    try:
        result = run("search", out, "--query", 0)
        assert result.exit_code == 1
        assert (
            f"the file of weights {str(file)!r} is not there; say where it is: --weights FILE"
            in result.output
        )
        result = run("search", out, "--query", 0, "-k", 2, "--weights", moved)
        assert result.exit_code == 0, result.output
        other = tmp_path / "other.pth"
        other.write_bytes(moved.read_bytes() + b"x")
        result = run("evaluate", out, "--weights", other)
        assert result.exit_code == 1
        assert "is not the one that made" in result.output
    finally:
        shutil.move(moved, file)


def test_what_is_no_model(indexed, tmp_path):
    root, out, _ = indexed
    result = run("index", root, "--out", tmp_path / "g", "--weights", tmp_path / "none.pth")
    assert result.exit_code == 1
    assert "there is no file of weights" in result.output
    assert "expected a file, or one of 'default' and 'random'" in result.output
    result = run("index", root, "--out", tmp_path / "g", "--model", "alexnet", "--weights", "random")
    assert result.exit_code == 1
    assert "unknown network 'alexnet': expected one of" in result.output
    result = run("evaluate", out, "--weights", __file__)
    assert result.exit_code == 1
    assert "random weights (seed 3): it takes no file of weights" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changed",
    [
        "[]",
        "{}",
        '{"kind": "dmlviz model", "format": 2}',
        '{"kind": "dmlviz model", "format": 1, "network": 3, "weights": "random", "seed": 0, "sha256": null}',
        '{"kind": "dmlviz model", "format": 1, "network": "a", "weights": "random", "seed": "0", "sha256": null}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_note_that_cannot_be_read(tmp_path, changed):
    (tmp_path / "model.json").write_text(changed, encoding="latin-1")
    result = run("search", tmp_path, "--query", 0)
    assert result.exit_code == 1
    assert "it was changed or cut short. The same `dmlviz index`" in result.output


@pytest.mark.usefixtures("one_network")
def test_the_note_stays_where_its_network_makes_the_gallery_anew(indexed, tmp_path):
    root, first, _ = indexed
    out = tmp_path / "g.gallery"
    shutil.copytree(first, out)
    note = (out / "model.json").read_bytes()
    gallery = Gallery.open(out, Embedder.from_torchvision("mobilenet_v3_small"))
    more = ImageSet.from_folder(photos(tmp_path / "more", "d", 2))

    def build_over_what_is_broken():
        (out / "gallery.json").write_text("{")
        Gallery.build(ImageSet.from_folder(root), gallery.embedder, out, progress=False)

    writers = {
        9: lambda: gallery.save(out),
        11: lambda: gallery.extended(more, out, progress=False),
        4: lambda: gallery.subset([0, 3, 4, 8]).save(out),
    }
    for count, write in [*writers.items(), (9, build_over_what_is_broken)]:
        write()
        assert (out / "model.json").read_bytes() == note
        result = run("search", out, "--query", 1, "-k", 20, "--json")
        assert result.exit_code == 0, result.output
        assert len(json.loads(result.stdout)["ranking"]) == count - 1


@pytest.mark.usefixtures("one_network")
@pytest.mark.parametrize("other", ["network", "network of the queries"])
def test_the_note_of_another_network_goes(indexed, tmp_path, other):
    _, first, _ = indexed
    out = tmp_path / "g.gallery"
    shutil.copytree(first, out)
    own = Embedder.from_torchvision("mobilenet_v3_small")
    gallery = Gallery.open(out, own)
    another = SimpleNamespace(fingerprint="0" * 64, name="another", dim=own.dim)
    if other == "network":
        changed = Gallery(gallery.images, another, gallery.embeddings)
    else:
        rows = gallery.embeddings
        changed = Gallery(gallery.images, own, rows, query_embedder=another, query_embeddings=rows)
    changed.save(out)
    assert not (out / "model.json").exists()
    result = run("search", out, "--query", 0)
    assert result.exit_code == 1
    assert "does not say which network made it (it holds no model.json)" in result.output
    shutil.copy(first / "model.json", out)  # as a writer leaves it who is killed before all is done
    result = run("search", out, "--query", 0)
    assert result.exit_code == 1
    assert "its model.json is of the gallery that lay there before. Open it in Python" in result.output
    gallery.save(out)
    assert run("search", out, "--query", 0).exit_code == 0


def test_a_gallery_that_python_built_says_so(tmp_path):
    result = run("search", tmp_path / "none", "--query", 0)
    assert "there is no gallery" in result.output
    assert "dmlviz index FOLDER --out PATH" in result.output
    result = run("evaluate", tmp_path)
    assert result.exit_code == 1
    assert "does not say which network made it" in result.output
    assert "Gallery.open(path, embedder)" in result.output


# --- search -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_network")
def test_search_by_id_and_by_file_are_what_python_finds(indexed, tmp_path):
    root, out, _ = indexed
    gallery = Gallery.open(out, Embedder.from_torchvision("mobilenet_v3_small"))
    result = run("search", out, "--query", 4, "-k", 3, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    expected = gallery.search(4, 3)
    assert [row["id"] for row in said["ranking"]] == expected.ids.tolist()
    assert [row["similarity"] for row in said["ranking"]] == expected.similarities.tolist()
    assert [row["hit"] for row in said["ranking"]] == expected.hits.tolist()
    assert said["query"] == {"id": 4, "label": "b", "given": "4"}
    assert (said["left_out"], said["too_few"]) == ("self", 0)
    assert "100 were asked for; there are no more." in run("search", out, "--query", 4, "-k", 100).stdout
    by_file = run("search", out, "--query", root / "b" / "1.png", "-k", 1, "--json")
    row = json.loads(by_file.stdout)["ranking"][0]
    assert (row["id"], row["name"]) == (4, "b/1.png")
    assert row["similarity"] == pytest.approx(1, abs=1e-5)
    table = run("search", out, "--query", 4, "-k", 2).stdout.splitlines()
    assert len(table) == 3
    assert table[1].split()[0] == "1"
    assert str(expected.ids[0]) in table[1].split()
    for ending in ("csv", "json"):
        target = tmp_path / f"found.{ending}"
        result = run("search", out, "--query", 4, "--out", target)
        assert result.stdout == ""
        assert f"Wrote {target}." in result.stderr
        frame = pd.read_csv(target) if ending == "csv" else pd.read_json(target)
        assert frame["id"].tolist() == gallery.search(4, 10).ids.tolist()


@pytest.mark.usefixtures("one_network")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--query", 99), "no image has the id 99; the ids of this set are 0 to 8"),
        (("--query", "none.jpg"), "there is no image file at 'none.jpg' to ask with"),
        (("--query", -1), "there is no image file at '-1' to ask with"),
        (("--query", __file__), "cannot be read"),
        (("--query", 0, "--out", "found.xlsx"), "one of .csv, .json, .parquet; got 'found.xlsx'"),
        (
            ("--query", 0, "--out", "none/found.csv"),
            "there is no folder 'none' for 'found.csv'; make it first",
        ),
    ],
)
def test_what_cannot_be_searched(indexed, arguments, said):
    result = run("search", indexed[1], *arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


# --- evaluate -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_network")
def test_evaluate_says_what_python_says(indexed, tmp_path):
    _, out, _ = indexed
    gallery = Gallery.open(out, Embedder.from_torchvision("mobilenet_v3_small"))
    expected = gallery.evaluate()
    result = run("evaluate", out, "--json", "--per-query", tmp_path / "q.json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["values"]["recall@1"] == expected.recall[1]
    assert said["values"]["mAP@R"] == expected.map_at_r
    assert (said["queries"], said["dropped"], said["protocol"]) == (9, 0, None)
    frame = pd.read_json(tmp_path / "q.json")
    assert frame["id"].tolist() == list(range(9))
    assert frame["first_hit_rank"].tolist() == expected.first_hit_rank.tolist()
    assert run("evaluate", out).stdout == f"{expected!r}\n"


@pytest.mark.usefixtures("one_network")
def test_protocols_are_called_by_name(indexed, tmp_path):
    _, out, _ = indexed
    result = run("evaluate", out, "--protocol", "map@r", "--json", "--per-query", tmp_path / "q.csv")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["protocol"] == "map@r"
    assert said["definition"]
    frame = pd.read_csv(tmp_path / "q.csv")
    assert frame["name"].tolist()[:2] == ["a/0.png", "a/1.png"]
    result = run("evaluate", out, "--protocol", "none")
    assert result.exit_code == 1
    assert f"there is no protocol 'none'; there is {', '.join(PROTOCOLS)}" in result.output
    needy = next(protocol for protocol in PROTOCOLS.values() if protocol.needs)
    result = run("evaluate", out, "--protocol", needy.name)
    assert result.exit_code == 1
    assert f"the protocol {needy.name!r} needs {needy.needs[0]}, which cannot be given here" in result.output


@pytest.mark.usefixtures("one_network")
def test_a_gallery_by_distance_is_indexed_searched_and_judged(tmp_path):
    root, out = photos(tmp_path / "photos", each=2), tmp_path / "near.gallery"
    made = run("index", root, "--out", out, *QUICK, "--seed", 3, "--similarity", "l2", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["similarity"] == "l2"
    expected = Gallery.open(out, model_file.read_model(out).embedder()).search(0, k=5)
    said = json.loads(run("search", out, "--query", 0, "-k", 5, "--json").stdout)
    assert said["similarity"] == "l2"
    assert [one["id"] for one in said["ranking"]] == expected.ids.tolist()
    assert [one["similarity"] for one in said["ranking"]] == pytest.approx(expected.similarities.tolist())
    assert expected.similarities.max() <= 0
    assert run("evaluate", out).exit_code == 0
    refused = run("index", root, "--out", tmp_path / "x", "--similarity", "l1")
    assert refused.exit_code == 2
    assert "'cosine', 'dot', 'l2'" in refused.output
