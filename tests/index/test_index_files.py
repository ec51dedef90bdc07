"""An index on disk: whole or not at all, and refused in words where it is not ours."""

import os
from pathlib import Path

import numpy as np
import pytest

from dmlviz.index import GalleryIndex
from dmlviz.index.engine import faiss


@pytest.fixture
def index():
    return GalleryIndex.build(np.random.default_rng(0).standard_normal((50, 7)))


@pytest.mark.parametrize("kind_of_path", [str, Path, os.fsencode])
def test_round_trip(tmp_path, index, kind_of_path):
    path = kind_of_path(str(tmp_path / "größe 1.index"))
    index.save(path)
    opened = GalleryIndex.open(path)
    np.testing.assert_array_equal(opened.vectors, index.vectors)
    assert (opened.kind, opened.dim, len(opened)) == (index.kind, index.dim, len(index))
    assert [entry.name for entry in tmp_path.iterdir()] == ["größe 1.index"]


def test_an_empty_index_can_be_saved(tmp_path):
    GalleryIndex.build(np.empty((0, 5))).save(tmp_path / "empty")
    assert len(GalleryIndex.open(tmp_path / "empty")) == 0


def test_saving_replaces_whole(tmp_path, index, monkeypatch):
    path = tmp_path / "i"
    index.save(path)
    before = path.read_bytes()

    written = faiss.write_index

    def half(_, writer):
        written(faiss.IndexFlatIP(3), writer)
        raise OSError("disk full")

    monkeypatch.setattr(faiss, "write_index", half)
    with pytest.raises(
        OSError, match=r"could not be saved to .*i: disk full\. An older file of that name is as"
    ):
        GalleryIndex.build(np.eye(3)).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["i"]


def test_every_cut_is_refused(tmp_path, index):
    path = tmp_path / "i"
    index.save(path)
    whole = path.read_bytes()
    for length in [0, 1, 3, 4, 8, 20, 30, 40, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match="cannot be read as an index: it is cut short or is another kind"
        ):
            GalleryIndex.open(path)


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n" * 40, bytes(4096), b"\x89PNG\r\n\x1a\n" * 9]
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "i"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"another kind of file\. Build the index again"):
        GalleryIndex.open(path)


@pytest.mark.parametrize("make", [faiss.IndexFlatL2, lambda d: faiss.IndexHNSWFlat(d, 8)])
def test_other_indexes_are_refused(tmp_path, make):
    other = make(4)
    other.add(np.ones((3, 4), dtype=np.float32))
    faiss.write_index(other, str(tmp_path / "i"))
    with pytest.raises(ValueError, match="not an index that GalleryIndex wrote: build one from its rows"):
        GalleryIndex.open(tmp_path / "i")


def test_numbers_that_are_none_are_refused(tmp_path):
    other = faiss.IndexFlatIP(2)
    other.add(np.array([[1, 2], [np.nan, 1]], dtype=np.float32))
    faiss.write_index(other, str(tmp_path / "i"))
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        GalleryIndex.open(tmp_path / "i")


def test_missing_files_and_folders(tmp_path, index):
    with pytest.raises(FileNotFoundError, match="there is no index file at"):
        GalleryIndex.open(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="make it before saving"):
        index.save(tmp_path / "no" / "folder")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        index.save(tmp_path)
