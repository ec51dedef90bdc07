"""The last section of each application's notebook: a file by its path, a data set's folder, an Explorer.

The published files and data sets are not here. The cells run on files that hold the published names (with fewer
blocks, and smaller views, so that it is quick), and on a few pictures laid out as the data sets unpack.
"""

import builtins
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image

import dmlviz as dv
from dmlviz.embedder.published.crossview_vgg import CrossViewVGG
from dmlviz.embedder.published.face_resnet import EvolveIR
from dmlviz.embedder.published.net import fill_with_random_weights
from dmlviz.embedder.published.reid_resnet import StrongBaseline
from dmlviz.embedder.published.variants import APPLICATIONS
from dmlviz.images import Preprocess
from dmlviz.retrieval import verification

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Write a file of the first variant of an application, with its network made smaller where asked."""

    def write(name, build=None, view=None):
        first = APPLICATIONS[name][0]
        first = replace(
            first,
            build=build or first.build,
            preprocess=Preprocess.stretch(view) if view else first.preprocess,
        )
        monkeypatch.setitem(APPLICATIONS, name, (first,))
        net = first.build()
        fill_with_random_weights(net, seed=1)
        path = tmp_path / "published.pth"
        torch.save(net.state_dict(), path)
        return str(path)

    return write


def last_cell(notebook, **paths):
    """The last cell of a notebook, its paths filled in."""
    source = nbformat.read(NOTEBOOKS / notebook, as_version=4).cells[-1].source
    for name, value in paths.items():
        source, found = re.subn(rf"(?m)^{name} = None(?=  # yours)", f"{name} = {str(value)!r}", source)
        assert found == 1, name
    assert " = None" not in source
    return source


def ran(source, capsys, monkeypatch, folder):
    """What a cell prints, and the Explorer that it shows."""
    shown = []
    monkeypatch.setattr(builtins, "display", shown.append, raising=False)
    monkeypatch.chdir(folder)
    exec(compile(source, "cell", "exec"), {"dv": dv, "verification": verification})
    (explorer,) = shown
    return capsys.readouterr().out, explorer


def picture(path, seed, size=(48, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_image_retrieval_on_cub(written, tmp_path, capsys, monkeypatch):
    root = tmp_path / "CUB_200_2011"
    birds = [(1, 101), (2, 101), (3, 200), (4, 200), (5, 3)]
    for i, _ in birds:
        picture(root / f"images/{i}.png", i)
    (root / "images.txt").write_text("".join(f"{i} {i}.png\n" for i, _ in birds))
    (root / "image_class_labels.txt").write_text("".join(f"{i} {c}\n" for i, c in birds))
    (root / "classes.txt").write_text("3 003.Albatross\n101 101.Pelican\n200 200.Wren\n")
    source = last_cell("03_image_retrieval.ipynb", checkpoint=written("image-retrieval"), folder=root)
    said, explorer = ran(source, capsys, monkeypatch, tmp_path)
    assert "Evaluation of 4 queries" in said
    assert "recall@8 1.0000" in said
    assert explorer.gallery.embedder.head.pooling == "max"
    assert (explorer.gallery.embedder.dim, explorer.why.adds_up) == (512, True)


def test_person_reidentification_on_market1501(written, tmp_path, capsys, monkeypatch):
    root = tmp_path / "market"
    for seed, name in enumerate(("0001_c1s1_000001_00", "0002_c2s1_000002_00")):
        picture(root / f"query/{name}.jpg", seed)
    names = ("0001_c1s1_000001_01", "0001_c2s1_000003_01", "0002_c1s1_000004_01", "-1_c3s1_000005_01")
    for seed, name in enumerate((*names, "0000_c1s1_000006_01")):
        picture(root / f"bounding_box_test/{name}.jpg", seed + 10)
    checkpoint = written(
        "person-reidentification", lambda classes=4: StrongBaseline(classes, (1, 1, 1, 1)), (64, 32)
    )
    source = last_cell("04_person_reidentification.ipynb", checkpoint=checkpoint, folder=root)
    said, explorer = ran(source, capsys, monkeypatch, tmp_path)
    assert "market1501: 2 queries" in said
    assert "mAP (trapezoid)" in said
    assert explorer.gallery.leave_out == "same-camera"
    assert explorer.why.adds_up
    explorer.query = 0
    assert len(explorer.ranking) == 3, "the junk and the picture of the same camera are left out"
    assert set(explorer.ranking.labels) == {"0001", "0002", "0000"}


def test_face_verification_on_lfw(written, tmp_path, capsys, monkeypatch):
    root, people = tmp_path / "lfw", ("Ann_Lee", "Bo", "Cy_de_Vries")
    for k, person in enumerate(people):
        for n in range(1, 4):
            picture(root / person / f"{person}_{n:04d}.jpg", 10 * k + n)
    same = [f"{person}\t{a}\t{b}" for person in people for a, b in ((1, 2), (1, 3), (2, 3))]
    other = [
        f"{a}\t{n}\t{b}\t{n}" for a, b in zip(people, people[1:] + people[:1], strict=True) for n in (1, 2, 3)
    ]
    (tmp_path / "pairs.txt").write_text("\n".join(same + other) + "\n")
    source = last_cell(
        "05_face_verification.ipynb",
        checkpoint=written("face-verification", lambda: EvolveIR((1, 1, 1, 1))),
        folder=root,
        pairs_file=tmp_path / "pairs.txt",
    )
    said, explorer = ran(source, capsys, monkeypatch, tmp_path)
    assert "Verification of 18 pairs, 9 of them of one class" in said
    assert explorer.gallery.embedder.head.pooling == "flatten"
    assert explorer.why.adds_up


def test_geo_localization_on_cvusa(written, tmp_path, capsys, monkeypatch):
    root = tmp_path / "cvusa"
    for i in range(3):
        picture(root / f"bingmap/19/{i}.jpg", i, (40, 40))
        picture(root / f"streetview/panos/{i}.jpg", i + 10, (20, 80))
    (root / "splits").mkdir()
    lines = [f"bingmap/19/{i}.jpg,streetview/panos/{i}.jpg,annotations/{i}.png" for i in range(3)]
    (root / "splits/val-19zl.csv").write_text("\n".join(lines))
    written("geo-localization-ground", lambda: CrossViewVGG("ground"), (32, 96))
    checkpoint = written("geo-localization-aerial", lambda: CrossViewVGG("aerial"), (48, 48))
    source = last_cell("06_geo_localization.ipynb", checkpoint=checkpoint, folder=root)
    said, explorer = ran(source, capsys, monkeypatch, tmp_path)
    assert "cvusa: 3 queries" in said
    assert explorer.why.grid("query") == (2, 6)
    assert explorer.why.grid("gallery") == (3, 3)
    assert explorer.why.adds_up
