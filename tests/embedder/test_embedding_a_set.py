"""Embedding a whole set: complete, resumable, and honest about what failed."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from dmlviz.embedder import Embedder, LinearHead, embed_images
from dmlviz.images import ImageReadError, ImageSet, Preprocess

RNG = np.random.default_rng(3)
ARRAYS = [RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(23)]
IMAGES = ImageSet.from_arrays(ARRAYS, names=[f"picture {i}" for i in range(23)])


def embedder(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Embedder(nn.Conv2d(3, 6, 4, 4), LinearHead("max", nn.Linear(6, 5)), Preprocess.stretch(16))


class Watched:
    """An image set that notes what is read, and fails where it is told to."""

    def __init__(self, broken=(), interrupt_at=None):
        self.broken, self.interrupt_at, self.read = broken, interrupt_at, []
        self.names, self.fingerprint = IMAGES.names, IMAGES.fingerprint

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        self.read.append(i)
        if i == self.interrupt_at:
            raise KeyboardInterrupt
        if i in self.broken:
            raise ImageReadError(self.names[i], "the file is truncated")
        return IMAGES[i]


def quietly(images, maker=None, **rest):
    return embed_images(maker or embedder(), images, batch_size=4, progress=False, **rest)


def test_every_image_in_order():
    found = quietly(IMAGES)
    np.testing.assert_allclose(found.embeddings, embedder().embed(ARRAYS), atol=1e-6)
    assert found.embeddings.dtype == np.float32
    assert found.ids.tolist() == list(range(23))
    assert found.failed == ()
    assert len(found) == 23
    with pytest.raises(ValueError, match="read-only"):
        found.embeddings[0] = 0


def test_processes_give_the_same():
    expected = quietly(IMAGES)
    np.testing.assert_array_equal(quietly(IMAGES, workers=1).embeddings, expected.embeddings)


def test_unreadable_images_are_skipped_by_name():
    found = quietly(Watched(broken=(0, 7, 22)), on_error="skip")
    assert found.failed == tuple((i, f"picture {i}", "the file is truncated") for i in (0, 7, 22))
    assert found.ids.tolist() == [i for i in range(23) if i not in (0, 7, 22)]
    np.testing.assert_allclose(found.embeddings, quietly(IMAGES).embeddings[found.ids], atol=1e-6)


def test_unreadable_images_stop_the_run_by_name(tmp_path):
    with pytest.raises(ImageReadError, match="'picture 7' cannot be read: the file is truncated") as caught:
        quietly(Watched(broken=(7,)), path=tmp_path / "e.npy")
    assert caught.value.name == "picture 7"
    assert json.loads((tmp_path / "e.npy.json").read_text())["done"] == 7  # what was done is kept
    mended = Watched()
    found = quietly(mended, path=tmp_path / "e.npy")
    np.testing.assert_allclose(found.embeddings, quietly(IMAGES).embeddings, atol=1e-6)
    assert min(mended.read) == 7


def test_a_run_that_skipped_stops_when_that_is_asked_for(tmp_path):
    quietly(Watched(broken=(7,)), path=tmp_path / "e.npy", on_error="skip")
    with pytest.raises(ImageReadError, match="'picture 7'"):
        quietly(IMAGES, path=tmp_path / "e.npy")
    again = quietly(Watched(), path=tmp_path / "e.npy", on_error="skip")
    assert [name for _, name, _ in again.failed] == ["picture 7"]


@pytest.mark.parametrize("at", [0, 9, 22])
def test_an_interruption_keeps_what_is_done(tmp_path, at):
    path = tmp_path / "deep" / "embeddings.npy"
    with pytest.raises(KeyboardInterrupt):
        quietly(Watched(interrupt_at=at), path=path)
    done = json.loads((path.parent / "embeddings.npy.json").read_text())["done"]
    assert at - 4 <= done <= at
    rest = Watched()
    found = quietly(rest, path=path)
    assert sorted(rest.read) == list(range(done, 23))
    np.testing.assert_allclose(found.embeddings, quietly(IMAGES).embeddings, atol=1e-6)
    assert list(path.parent.glob("*.new")) == []


def test_a_finished_run_is_read_back(tmp_path):
    first = quietly(IMAGES, path=tmp_path / "e.npy")
    again = Watched()
    second = quietly(again, path=tmp_path / "e.npy")
    assert again.read == []
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), first.embeddings)


@pytest.mark.parametrize(
    ("images", "maker", "words"),
    [
        (IMAGES, embedder(seed=1), "made with another embedder than given now; delete"),
        (ImageSet.from_arrays(ARRAYS[::-1], names=IMAGES.names), None, "other images"),
        (ImageSet.from_arrays(ARRAYS[:20]), None, "other images"),
    ],
)
def test_other_work_is_refused(tmp_path, images, maker, words):
    quietly(IMAGES, path=tmp_path / "e.npy")
    with pytest.raises(ValueError, match=words):
        quietly(images, maker, path=tmp_path / "e.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), quietly(IMAGES).embeddings)  # nothing lost


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.with_name("e.npy.json").write_text("{"), "e.npy.json is damaged"),
        (lambda f: f.with_name("e.npy.json").write_text("[]"), "is damaged"),
        (lambda f: f.unlink(), "is missing or damaged"),
        (lambda f: f.write_bytes(f.read_bytes()[:100]), "is missing or damaged"),
        (lambda f: np.save(f, np.zeros((2, 5), np.float32)), "not what .* says"),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage, words):
    file = tmp_path / "e.npy"
    quietly(IMAGES, path=file)
    damage(file)
    with pytest.raises(ValueError, match=f"{words}.*delete .* to start afresh"):
        quietly(IMAGES, path=file)


class Poisoned(nn.Module):
    """Gives NaN for pictures that are white all over."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, 4)

    def forward(self, inputs):
        white = (inputs.amin((1, 2, 3)) >= 1)[:, None, None, None]
        return torch.where(white, torch.nan, self.conv(inputs))


def test_embeddings_that_are_not_finite_are_reported_by_name():
    white = [np.full_like(a, 255) if i in (5, 11) else a for i, a in enumerate(ARRAYS)]
    images = ImageSet.from_arrays(white, names=IMAGES.names)
    maker = Embedder(Poisoned(), LinearHead("avg"), Preprocess.stretch(16, mean=0.0, std=1.0))
    found = quietly(images, maker, on_error="skip")
    assert [(i, name) for i, name, _ in found.failed] == [(5, "picture 5"), (11, "picture 11")]
    assert np.isfinite(found.embeddings).all()
    with pytest.raises(ValueError, match="image 'picture 5': its embedding holds NaN or infinite values"):
        quietly(images, maker)


def test_the_bar_is_shown_when_asked_for(capsys):
    embed_images(embedder(), IMAGES, progress=True)
    assert "23/23" in capsys.readouterr().err
    quietly(IMAGES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ({"on_error": "ignore"}, "unknown on_error 'ignore': expected 'raise' or 'skip'"),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"workers": -1}, "workers >= 0"),
    ],
)
def test_bad_arguments(rest, words):
    with pytest.raises(ValueError, match=words):
        embed_images(embedder(), IMAGES, progress=False, **rest)


def test_an_empty_set():
    with pytest.raises(ValueError, match="the image set is empty"):
        embed_images(embedder(), [], progress=False)
