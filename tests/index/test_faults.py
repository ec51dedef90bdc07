"""An index on disk when things go wrong: killed writers, readers beside writers, a full disk, little memory."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # for faulty, which the tests of this room share

from faulty import forked, killed_after, started

from dmlviz.index import GalleryIndex

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
DIM = 32


def index_of(marker, count=400, kind="flat"):
    """All rows begin with the marker, so that a mixture would show."""
    rows = np.random.default_rng(int(marker)).standard_normal((count, DIM)).astype(np.float32)
    rows[:, 0] = marker
    return GalleryIndex.build(rows, kind)


def marker_of(index, count=400):
    """Which state was opened; fails where it is not whole."""
    firsts = np.unique(index.vectors[:, 0])
    assert len(index) == count
    assert len(firsts) == 1, firsts
    marker = float(firsts[0])
    np.testing.assert_array_equal(index.vectors, index_of(marker, count).vectors)
    return marker


@pytest.mark.parametrize("kind", ["flat", "hnsw", "sq8"])
def test_killed_at_every_step_of_saving(tmp_path, kind):
    path = tmp_path / "i"
    index_of(1, kind=kind).save(path)
    newer = index_of(2, kind=kind)
    ended, step, seen = False, 0, []
    while not ended:
        step += 1
        ended = forked(lambda: newer.save(path), kill_before=step)
        seen.append(marker_of(GalleryIndex.open(path)))
        assert GalleryIndex.open(path).kind == kind
    assert step > 3
    assert seen == sorted(seen)  # the older one up to some step, from there on the newer one
    assert (seen[0], seen[-1]) == (1, 2)
    index_of(3, kind=kind).save(path)
    assert marker_of(GalleryIndex.open(path)) == 3


def test_killed_at_many_moments_of_saving(tmp_path):
    path = tmp_path / "i"
    indexes = [index_of(marker, 20_000) for marker in (1, 2)]
    indexes[0].save(path)
    random = np.random.default_rng(0)

    def save_by_turns():
        while True:
            indexes[1].save(path)
            indexes[0].save(path)

    for _ in range(20):
        assert not killed_after(save_by_turns, random.uniform(0.002, 0.06))
        opened = GalleryIndex.open(path)
        firsts = np.unique(opened.vectors[:, 0])
        assert len(opened) == 20_000
        assert firsts.tolist() in ([1], [2])
    assert marker_of(GalleryIndex.open(path), 20_000) in (1, 2)


def grown_to(count, kind="flat", index=None):
    """An index of the first rows of one endless list, made at once or by adding to a smaller one."""
    rows = np.random.default_rng(5).standard_normal((1000, DIM)).astype(np.float32)
    if index is None:
        return GalleryIndex.build(rows[:count], kind)
    index.add(rows[len(index) : count])
    return index


def is_grown(index, counts, kind="flat"):
    """Whether it is the first rows of the list, so many as one of the counts says."""
    assert len(index) in counts
    assert index.kind == kind
    whole = grown_to(len(index))
    np.testing.assert_array_equal(index.vectors, whole.vectors)
    np.testing.assert_array_equal(index.ids, whole.ids)
    if kind == "flat":
        np.testing.assert_array_equal(
            index.search(whole.vectors[-3:], 5)[0], whole.search(whole.vectors[-3:], 5)[0]
        )
    else:
        assert index.search(whole.vectors[-3:], 1)[1].shape == (3, 1)
    return len(index)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_killed_at_every_step_of_adding_and_saving(tmp_path, kind):
    path = tmp_path / "i"
    grown_to(200, kind).save(path)

    def add():
        index = GalleryIndex.open(path)
        for count in (230, 260):
            grown_to(count, kind, index).save(path)

    ended, step, seen = False, 0, []
    while not ended:
        step += 1
        grown_to(200, kind).save(path)
        ended = forked(add, kill_before=step)
        seen.append(is_grown(GalleryIndex.open(path), (200, 230, 260), kind))
        assert is_grown(GalleryIndex.open(path, mapped=True), (seen[-1],), kind)
    assert step > 6
    assert seen == sorted(seen)
    assert set(seen) == {200, 230, 260}


def test_killed_at_many_moments_of_adding_and_saving(tmp_path):
    path = tmp_path / "i"
    grown_to(100).save(path)

    def add():
        index = GalleryIndex.open(path)
        while len(index) < 400:
            grown_to(len(index) + 5, index=index).save(path)

    random, count, killed, patience = np.random.default_rng(0), 100, 0, 1.0
    while count < 400:
        killed += not killed_after(add, patience * random.uniform(0.001, 0.01))
        found = is_grown(GalleryIndex.open(path), range(count, 401, 5))
        patience = 1.0 if found > count else 1.5 * patience  # however slow this machine is
        assert patience < 300, "what was saved is lost"
        count = found
    assert killed > 1


@pytest.mark.parametrize("mapped", [False, True])
def test_reading_while_another_process_writes(tmp_path, mapped):
    path = tmp_path / "i"
    indexes = [index_of(marker) for marker in (1, 2)]
    indexes[0].save(path)

    def save_by_turns():
        for turn in range(60):
            indexes[turn % 2].save(path)

    at_work = started(save_by_turns)
    seen = []
    while at_work():
        seen.append(marker_of(GalleryIndex.open(path, mapped=mapped)))
    assert set(seen) == {1, 2}
    assert len(seen) > 10


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("room", [100, 5_000, 51_000, 51_500])
def test_no_room_for_the_file(tmp_path, kind, room):
    path = tmp_path / "i"
    index_of(1).save(path)
    newer = index_of(2, kind=kind)
    assert room < path.stat().st_size

    def save():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(
            OSError, match=r"an index could not be saved to .*File too large\. An older"
        ) as caught:
            newer.save(path)
        assert caught.value.errno == errno.EFBIG

    assert forked(save)
    assert marker_of(GalleryIndex.open(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)]
    if not mount or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run([shutil.which("umount"), "-l", str(disk)], check=True)


def test_a_full_disk(small_disk):
    path = small_disk / "i"
    index_of(1).save(path)
    with pytest.raises(
        OSError, match=r"No space left on device\. An older file of that name is as it was"
    ) as caught:
        index_of(2, 900).save(path)
    assert caught.value.errno == errno.ENOSPC
    assert marker_of(GalleryIndex.open(path)) == 1
    assert [entry.name for entry in small_disk.iterdir()] == ["i"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["flat", "sq8"])
def test_mapped_rows_take_no_memory(tmp_path, kind):
    if shutil.disk_usage(tmp_path).free < 2 * 2**30:
        pytest.skip("a file of 200 MB needs a roomier disk")
    count = 400_000 if kind == "flat" else 100_000
    rows = np.zeros((count, 128), dtype=np.float32)
    rows[np.arange(count), np.arange(count) % 128] = 1 + np.arange(count) % 7
    GalleryIndex.build(rows, kind).save(tmp_path / "i")
    size = (tmp_path / "i").stat().st_size
    assert size > (200e6 if kind == "flat" else 60e6)
    del rows

    def open_and_score():
        def held():
            said = Path("/proc/self/status").read_text().splitlines()
            return 1024 * sum(
                int(line.split()[1]) for line in said if line.startswith(("RssAnon", "RssFile"))
            )

        before = held()
        index = GalleryIndex.open(tmp_path / "i", mapped=True)
        assert index.similarity(np.eye(128, dtype=np.float32)[:1], [[0, 128, count - 1]]).shape == (1, 3)
        taken = held() - before
        assert taken < size / 5, f"{taken / 1e6:.1f} MB of {size / 1e6:.0f} MB"

    assert forked(open_and_score)
