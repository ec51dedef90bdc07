"""A gallery on disk when things go wrong: killed builders and writers, readers beside a writer, a full disk."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "index"))  # for faulty

from fake_gallery import FakeEmbedder, coloured_images
from faulty import forked, killed_after, started

from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery, GalleryError
from dmlviz.retrieval.storage import SIDECAR

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def two(images, embedder):
    """Two galleries of the same images by the same embedder, told apart by the sign of their embeddings."""
    rows = embedder.embed(list(images))
    return [Gallery(images, embedder, sign * rows) for sign in (1, -1)]


def sign_of(opened, two):
    """Which of the two was opened; fails where it is not whole."""
    sign = 1 if np.array_equal(opened.embeddings, two[0].embeddings) else -1
    whole = two[0 if sign == 1 else 1]
    np.testing.assert_array_equal(opened.embeddings, whole.embeddings)
    np.testing.assert_array_equal(opened.index.vectors, whole.index.vectors)
    assert opened.search(3).ids.tolist() == whole.search(3).ids.tolist()
    return sign


def test_killed_at_every_step_of_saving_over_an_older_one(tmp_path, two, images, embedder):
    path = tmp_path / "g"
    ended, step, seen = False, 0, []
    while not ended:
        step += 1
        if seen[-1:] != [1]:
            two[0].save(path)
        ended = forked(lambda: two[1].save(path), kill_before=step)
        seen.append(sign_of(Gallery.open(path, embedder, images), two))
        assert sign_of(Gallery.open(path, embedder, images, mapped=True), two) == seen[-1]
    assert step > 15
    assert seen == sorted(seen, reverse=True)
    assert (seen[0], seen[-1]) == (1, -1)


def test_one_killed_writer_after_another(tmp_path, two, images, embedder):
    path = tmp_path / "g"
    two[0].save(path)
    random = np.random.default_rng(0)

    def save_by_turns():
        while True:
            two[1].save(path)
            two[0].save(path)

    for _ in range(15):
        assert not killed_after(save_by_turns, random.uniform(0.001, 0.05))
        sign_of(Gallery.open(path, embedder, images), two)
    left = [entry for entry in (*tmp_path.iterdir(), *path.iterdir()) if entry != path]
    long_ago = 1_000_000_000
    for entry in left:
        for file in (entry, *(entry.iterdir() if entry.is_dir() else [])):
            if entry.parent == tmp_path or file.name not in named_in(path):
                os.utime(file, (long_ago, long_ago))
    two[1].save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert {entry.name for entry in path.iterdir()} == named_in(path)
    assert sign_of(Gallery.open(path, embedder, images), two) == -1


def test_files_of_the_first_gallery_are_swept_like_those_of_later_ones(tmp_path, two):
    path = tmp_path / "g"
    two[0].save(path)
    first = {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.name != "gallery.json"}
    two[1].save(path)
    assert not set(first) & {entry.name for entry in path.iterdir()}
    for name, content in first.items():  # as a writer leaves them who is killed before it removes them
        (path / name).write_bytes(content)
        os.utime(path / name, (1_000_000_000, 1_000_000_000))
    two[0].save(path)
    assert {entry.name for entry in path.iterdir()} == named_in(path)


def named_in(path):
    return {SIDECAR, *json.loads((path / SIDECAR).read_text())["files"].values()}


def test_what_a_writer_at_work_has_written_is_left_to_it(tmp_path, two):
    two[0].save(tmp_path / "g")
    young, gone = tmp_path / f".g.{'a' * 16}.part", tmp_path / f".g.{'b' * 16}.old"
    foreign = tmp_path / ".g.mine.part"
    for folder in (young, gone, foreign):
        folder.mkdir()
        (folder / "file").touch()
    (tmp_path / "g" / f"embeddings-{'c' * 16}.npy").touch()
    two[1].save(tmp_path / "g")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([young.name, foreign.name, "g"])
    assert (tmp_path / "g" / f"embeddings-{'c' * 16}.npy").exists()


def test_opening_while_another_process_saves(tmp_path, two, images, embedder):
    path = tmp_path / "g"
    two[0].save(path)

    def save_by_turns():
        for turn in range(24):
            two[turn % 2].save(path)

    at_work = started(save_by_turns)
    seen, kept = [], []
    while at_work():
        opened = Gallery.open(path, embedder, images, mapped=len(seen) % 2 == 1)
        seen.append(sign_of(opened, two))
        kept.append(opened)
    assert set(seen) == {1, -1}
    assert [sign_of(opened, two) for opened in kept] == seen  # though the files of most are gone by now


def test_killed_at_every_step_of_building(tmp_path, embedding, images, embedder):
    path = tmp_path / "g"
    reference = Gallery.build(images, embedder, progress=False)
    few = images.subset(range(3))

    def build(chosen):
        return Gallery.build(chosen, embedder, path, progress=False)

    ended, step, complete = False, 0, []
    while not ended:
        step += 1
        shutil.rmtree(path, ignore_errors=True)
        ended = forked(lambda: build(few), kill_before=step)
        complete.append(path.exists())
        if path.exists():
            Gallery.open(path, embedder, few)
        else:
            with pytest.raises(FileNotFoundError, match="there is no gallery"):
                Gallery.open(path, embedder, few)
        built = build(few)
        np.testing.assert_array_equal(built.embeddings, reference.embeddings[:3])
        np.testing.assert_array_equal(Gallery.open(path, embedder, few).embeddings, built.embeddings)
        assert not (tmp_path / "g.unfinished").exists()
    assert step > 12
    assert complete == sorted(complete)
    assert (complete[0], complete[-1]) == (False, True)


class TorchFed(FakeEmbedder):
    """The fake one, fed as `embed_images` feeds a network."""

    def preprocess(self, image):
        return self.view(image).transpose(2, 0, 1).astype(np.float32)

    def embed_inputs(self, inputs):
        time.sleep(0.05)  # so that there is a while to be killed in
        return self.embed([array.transpose(1, 2, 0).astype(np.uint8) for array in inputs.numpy()])


def test_killed_while_images_are_embedded(tmp_path, monkeypatch):
    import dmlviz.embedder.progress_file as progress_file

    monkeypatch.setattr(progress_file, "_SECONDS_BETWEEN_SAVES", 0.0)
    images, embedder = coloured_images(16), TorchFed()
    reference = embedder.embed(list(images))
    Gallery.build(
        images, embedder, batch_size=2, progress=False
    )  # imports what it needs, once for all children
    path = tmp_path / "g"

    def build():
        return Gallery.build(images, embedder, path, batch_size=2, progress=False)

    random = np.random.default_rng(0)
    killed = 0
    while not path.exists():
        killed += not killed_after(build, random.uniform(0.05, 0.2 + 0.1 * killed))
        assert killed < 60, "the work does not go on where it stopped"
    assert killed > 0
    np.testing.assert_array_equal(Gallery.open(path, embedder, images).embeddings, reference)
    np.testing.assert_array_equal(build().embeddings, reference)
    assert not (tmp_path / "g.unfinished").exists()


@pytest.mark.parametrize("room", [60, 200, 500, 900, 1_500])
def test_no_room_for_the_newer_gallery(tmp_path, two, images, embedder, room):
    path = tmp_path / "g"
    two[0].save(path)
    before = sorted((entry.name, entry.read_bytes()) for entry in path.iterdir())

    def save():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        words = r"could not be written to .*g: .*What lay there before is as it was.*make room for it"
        with pytest.raises(OSError, match=words) as caught:
            two[1].save(path)
        assert caught.value.errno == errno.EFBIG

    assert forked(save)
    assert sorted((entry.name, entry.read_bytes()) for entry in path.iterdir()) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert sign_of(Gallery.open(path, embedder, images), two) == 1


@pytest.mark.parametrize("short_by", [1, 300, 20_000])
def test_no_room_for_the_table_of_images(tmp_path, images, embedder, short_by):
    """The largest of the files, so that the others find room."""
    path, rows = tmp_path / "g", embedder.embed(list(images))
    named = ImageSet(images.__getitem__, [f"{i} {'x' * 2000}" for i in range(24)], images.labels)
    two = [Gallery(named, embedder, sign * rows) for sign in (1, -1)]
    two[0].save(path)
    before = {entry.name: entry.stat().st_size for entry in path.iterdir()}
    assert before["images.arrow"] > 40_000
    assert max(size for name, size in before.items() if name != "images.arrow") < 20_000

    def save():
        room = before["images.arrow"] - short_by
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(
            OSError, match=r"could not be written to .*g: File too large\. What lay there"
        ) as caught:
            two[1].save(path)
        assert caught.value.errno == errno.EFBIG

    assert forked(save)
    assert {entry.name: entry.stat().st_size for entry in path.iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert sign_of(Gallery.open(path, embedder, named), two) == 1


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if not mount or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run([shutil.which("umount"), "-l", str(disk)], check=True)


def test_a_full_disk(small_disk, two, images, embedder):
    path = small_disk / "g"
    two[0].save(path)
    with pytest.raises(OSError, match=r"No space left on device.*needs about 1 MB") as caught:
        two[1].save(path)
    assert caught.value.errno == errno.ENOSPC
    assert sign_of(Gallery.open(path, embedder, images), two) == 1
    assert [entry.name for entry in small_disk.iterdir()] == ["g"]


def test_a_disk_that_is_full_of_names(small_disk, images, embedder):
    named = ImageSet(images.__getitem__, [f"{i} {'x' * 2000}" for i in range(24)], images.labels)
    gallery = Gallery(named, embedder, embedder.embed(list(images)))
    with pytest.raises(OSError, match=r"No space left on device") as caught:
        gallery.save(small_disk / "g")
    assert caught.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_while_images_are_embedded(small_disk):
    images, embedder = coloured_images(60), TorchFed()
    embedder.dim = 5_000  # rows that do not fit: without room held for them the process would be killed
    embedder.embed = lambda pictures: np.ones((len(pictures), 5_000), np.float32)

    def build():
        with pytest.raises(OSError, match="No space left on device"):
            Gallery.build(images, embedder, small_disk / "g", progress=False)

    assert forked(build)
    assert not (small_disk / "g").exists()


def test_something_comes_to_lie_there_meanwhile(tmp_path, two, images, embedder, monkeypatch):
    import dmlviz.retrieval.storage as storage

    write = storage._write_json

    def slowly(file, content):
        write(file, content)
        monkeypatch.setattr(storage, "_write_json", write)
        two[0].save(tmp_path / "g")

    monkeypatch.setattr(storage, "_write_json", slowly)
    with pytest.raises(GalleryError, match=r"something came to lie at .*g while the gallery was written"):
        two[1].save(tmp_path / "g")
    assert sign_of(Gallery.open(tmp_path / "g", embedder, images), two) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
