"""A gallery on disk: found again, gone on with, refused in words where it is not what it says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_gallery import FakeEmbedder, coloured_images
from PIL import Image

import dmlviz.retrieval.storage as storage
from dmlviz.images import ImageReadError, ImageSet
from dmlviz.retrieval import Gallery, GalleryError

FILES = ["embeddings.npy", "gallery.json", "images.arrow", "index.faiss", "lengths.npy"]


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures in files."""
    for i, image in enumerate(coloured_images(8, 2)):
        (tmp_path / "pictures" / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "pictures" / f"class {i % 2}" / f"<b>{i}.png")
    return tmp_path / "pictures"


def build(images, embedder, path=None, **options):
    return Gallery.build(images, embedder, path, progress=False, **options)


def assert_same(left, right):
    np.testing.assert_array_equal(left.embeddings, right.embeddings)
    assert left.images.names == right.images.names
    assert left.similarity == right.similarity
    for i in range(len(left)):
        a, b = left.search(i), right.search(i)
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.similarities, b.similarities)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("kind_of_path", [str, Path])
def test_round_trip(tmp_path, embedding, images, embedder, similarity, kind_of_path):
    path = kind_of_path(str(tmp_path / "größe.gallery"))
    built = build(images, embedder, path, similarity=similarity)
    assert sorted(entry.name for entry in Path(path).iterdir()) == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["größe.gallery"]
    opened = Gallery.open(path, embedder, images)
    assert_same(built, opened)
    assert opened.labels.tolist() == images.labels.tolist()
    assert opened.skipped == ()


def test_permissions_are_those_of_any_new_file(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert (tmp_path / "g").stat().st_mode == (tmp_path / "folder").stat().st_mode
    modes = {(tmp_path / "g" / name).stat().st_mode for name in FILES}
    assert modes == {(tmp_path / "file").stat().st_mode}


def test_in_memory_nothing_is_written(tmp_path, embedding, images, embedder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gallery = build(images, embedder, batch_size=7, workers=0)
    assert list(tmp_path.iterdir()) == []
    assert embedding.options == {"batch_size": 7, "workers": 0, "progress": False}
    assert len(gallery) == 24


def test_images_in_files_are_found_again(tmp_path, embedding, embedder, folder):
    images = ImageSet.from_folder(folder)
    built = build(images, embedder, tmp_path / "g")
    opened = Gallery.open(tmp_path / "g", embedder)
    assert_same(built, opened)
    assert opened.labels.tolist() == images.labels.tolist()
    for i in range(8):
        np.testing.assert_array_equal(opened.images[i], images[i])
    opened.local_embeddings(3)


def test_a_frame_keeps_its_columns(tmp_path, embedding, embedder, folder):
    import pandas as pd

    files = sorted(folder.rglob("*.png"))
    frame = pd.DataFrame(
        {
            "path": files,
            "label": ["x", "y"] * 4,
            "camera": np.arange(8),
            "weight": np.linspace(0, 1, 8),
            "day": [None, *["Monday"] * 7],
            "when": pd.date_range("2020-01-01", periods=8),
        }
    )
    build(ImageSet.from_frame(frame), embedder, tmp_path / "g")
    table = Gallery.open(tmp_path / "g", embedder).images.table
    assert table["camera"].tolist() == list(range(8))
    np.testing.assert_allclose(table["weight"], frame["weight"])
    assert table["day"].tolist()[1:] == ["Monday"] * 7
    assert table["when"].tolist() == frame["when"].tolist()


def test_images_moved_with_their_gallery_are_found(tmp_path, embedding, embedder, folder):
    home = tmp_path / "home"
    home.mkdir()
    shutil.move(folder, home / "pictures")
    build(ImageSet.from_folder(home / "pictures"), embedder, home / "g")
    shutil.move(home, tmp_path / "elsewhere")
    opened = Gallery.open(tmp_path / "elsewhere" / "g", embedder)
    assert opened.images[7].shape == (8, 12, 3)


def test_images_that_are_gone(tmp_path, embedding, embedder, folder):
    images = ImageSet.from_folder(folder)
    build(images, embedder, tmp_path / "g")
    first = sorted(folder.rglob("*.png"))[0]
    first.unlink()
    with (
        pytest.warns(
            UserWarning, match=r"1 of 8 image files of .*g are gone: 'class 0/<b>0.png'\. They are still"
        ),
        pytest.warns(UserWarning, match="not quite those"),
    ):
        opened = Gallery.open(tmp_path / "g", embedder)
    assert len(opened.search(0)) == 7
    with pytest.raises(ImageReadError, match="<b>0"):
        opened.local_embeddings(0)
    shutil.rmtree(folder)
    with pytest.raises(
        FileNotFoundError, match=r"none of the 8 image files of .* is there any more.*images=\.\.\."
    ):
        Gallery.open(tmp_path / "g", embedder)


def test_images_in_memory_must_be_given(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    with pytest.raises(
        FileNotFoundError, match=r"were not files.*Gallery\.open\(path, embedder, images=...\)"
    ):
        Gallery.open(tmp_path / "g", embedder)


def test_other_images_are_refused(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    with pytest.raises(GalleryError, match="built from other images: expected 24 images, got 23"):
        Gallery.open(tmp_path / "g", embedder, images.subset(range(23)))
    with pytest.raises(GalleryError, match="expected image 0 named 'image 0', got 'image 23'"):
        Gallery.open(tmp_path / "g", embedder, images.subset(range(23, -1, -1)))
    with pytest.warns(UserWarning, match="the images are not quite those that"):
        Gallery.open(tmp_path / "g", embedder, coloured_images(seed=7))


def test_another_embedder_is_refused(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    other = FakeEmbedder(seed=1, name="other")
    words = (
        r"was built with the embedder 'fake' \(fingerprint \w{12}\), got 'other' \(\w{12}\).*Open the gallery"
    )
    with pytest.raises(GalleryError, match=words):
        Gallery.open(tmp_path / "g", other, images)
    with pytest.raises(ValueError, match="already holds a gallery, built with another embedder"):
        build(images, other, tmp_path / "g")
    Gallery.open(tmp_path / "g", embedder, images)


def test_the_same_gallery_is_not_built_twice(tmp_path, embedding, images, embedder):
    first = build(images, embedder, tmp_path / "g")
    assert embedding.computed == 24
    second = build(images, embedder, tmp_path / "g")
    assert embedding.computed == 24
    assert_same(first, second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images, embedder: (images.subset(range(20)), embedder, "cosine"), "other images or labels"),
        (lambda images, embedder: (images, embedder, "dot"), "similarity 'cosine'"),
        (
            lambda images, embedder: (coloured_images(seed=3), FakeEmbedder(5), "dot"),
            r"another embedder \(fake\) and other images or labels and similarity",
        ),
    ],
)
def test_another_gallery_is_not_overwritten(tmp_path, embedding, images, embedder, change, words):
    build(images, embedder, tmp_path / "g")
    images_now, embedder_now, similarity = change(images, embedder)
    with pytest.raises(
        GalleryError, match=f"already holds a gallery, built with {words}.*Choose another path"
    ):
        build(images_now, embedder_now, tmp_path / "g", similarity=similarity)
    Gallery.open(tmp_path / "g", embedder, images)


def test_an_interrupted_build_is_gone_on_with(tmp_path, embedding, images, embedder):
    embedding.stop_after = 10
    with pytest.raises(KeyboardInterrupt):
        build(images, embedder, tmp_path / "g")
    assert not (tmp_path / "g").exists()
    with pytest.raises(FileNotFoundError, match=r"there is no gallery at .*build one with Gallery\.build"):
        Gallery.open(tmp_path / "g", embedder, images)
    embedding.stop_after = None
    built = build(images, embedder, tmp_path / "g")
    assert embedding.computed == 24
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert_same(built, build(images, embedder))


@pytest.mark.parametrize("fails", ["save", "_write_json", "_flush"])
def test_a_write_that_fails_leaves_nothing_half(tmp_path, embedding, images, embedder, monkeypatch, fails):
    def broken(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np if fails == "save" else storage, fails, broken)
        with pytest.raises(OSError, match="disk full"):
            # the fake keeps its own work with np.save, so it must have done it before
            build(images, embedder, tmp_path / "g")
    assert not (tmp_path / "g").exists()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "g.unfinished"] == []
    assert len(build(images, embedder, tmp_path / "g")) == 24


def test_a_broken_gallery_is_built_anew(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    (tmp_path / "g" / "embeddings.npy").write_bytes(b"x")
    assert_same(build(images, embedder, tmp_path / "g"), build(images, embedder))
    Gallery.open(tmp_path / "g", embedder, images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "lost", "changed"])
def test_damage_is_refused(tmp_path, embedding, images, embedder, name, damage):
    build(images, embedder, tmp_path / "g")
    file = tmp_path / "g" / name
    content = file.read_bytes()
    if damage == "lost":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        at = len(content) // 2
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    if name == "gallery.json":
        words = {
            "lost": "holds no gallery.json: it is no gallery, or was not written to its end",
            "cut": "gallery.json is not readable: it was changed or cut short",
            "changed": "was changed|is not readable|lacks|was written in format|does not describe",
        }[damage]
    else:
        words = f"lacks {name}" if damage == "lost" else f"{name} in .* was changed or cut short since"
    with pytest.raises(GalleryError, match=words):
        Gallery.open(tmp_path / "g", embedder, images)


def change_sidecar(path, changes, honest=True):
    sidecar = json.loads((path / "gallery.json").read_text())
    sidecar.update(changes)
    sidecar = {key: value for key, value in sidecar.items() if value is not ...}
    if honest:  # as a program with a fault would write it, not as a hand that changes it
        sidecar["check"] = storage.check_of(sidecar)
    (path / "gallery.json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 23}, "does not fit together: its sidecar says 23 images of 5 dimensions, it holds"),
        ({"dim": 6}, "says 24 images of 6 dimensions"),
        (
            {"format": 5},
            "was written in format 5, this version of dmlviz reads formats 1, 2, 3 and 4. Update dmlviz",
        ),
        ({"kind": "cake"}, "does not describe a gallery"),
        ({"similarity": ...}, "lacks 'similarity'"),
        ({"similarity": "l1"}, "similarity must be one of"),
        ({"embedder": ...}, "lacks 'embedder'"),
        ({"embedder": 3}, "lacks"),
        ({"sha256": {}}, "lacks 'embeddings.npy'"),
        ({"skipped": [3]}, "lacks"),
    ],
)
def test_sidecars_that_do_not_fit_are_refused(tmp_path, embedding, images, embedder, changes, words):
    build(images, embedder, tmp_path / "g")
    change_sidecar(tmp_path / "g", changes)
    with pytest.raises(ValueError, match=words):
        Gallery.open(tmp_path / "g", embedder, images)


@pytest.mark.parametrize(
    "changes", [{"similarity": "dot"}, {"images_fingerprint": ""}, {"check": ...}, {"new": 1}]
)
def test_sidecars_changed_by_hand_are_refused(tmp_path, embedding, images, embedder, changes):
    build(images, embedder, tmp_path / "g")
    change_sidecar(tmp_path / "g", changes, honest=False)
    with pytest.raises(
        GalleryError, match=r"gallery\.json in .* was changed since it was written|lacks 'check'"
    ):
        Gallery.open(tmp_path / "g", embedder, images)


def test_the_sidecar_says_what_it_is(tmp_path, embedding, images, embedder):
    build(images, embedder, tmp_path / "g")
    sidecar = json.loads((tmp_path / "g" / "gallery.json").read_text())
    assert sidecar["count"] == 24
    assert sidecar["dim"] == 5
    assert sidecar["similarity"] == "cosine"
    assert sidecar["embedder"] == {"name": "fake", "fingerprint": embedder.fingerprint}
    assert set(sidecar["versions"]) >= {"dmlviz", "numpy"}
    assert set(sidecar["sha256"]) == set(FILES) - {"gallery.json"}


def test_zero_embeddings_survive_the_round_trip(tmp_path, embedding):
    images = ImageSet.from_arrays([np.zeros((8, 12, 3), np.uint8), *coloured_images(4, 2)], list("aabab"))
    embedder = FakeEmbedder(offset=0.0)
    with pytest.warns(UserWarning, match="image 0 .* has length zero"):
        built = build(images, embedder, tmp_path / "g")
    with pytest.warns(UserWarning, match="image 0 .* has length zero"):
        opened = Gallery.open(tmp_path / "g", embedder, images)
    assert opened.unranked == (0,)
    assert opened.search(1).ids.tolist() == built.search(1).ids.tolist()
    assert 0 not in opened.search(1, k=9).ids


@pytest.fixture
def with_a_broken_file(folder):
    files = sorted(folder.rglob("*.png"))
    files[2].write_bytes(b"no picture")
    return ImageSet.from_folder(folder)


def test_unreadable_images_stop_the_build(tmp_path, embedding, embedder, with_a_broken_file):
    with pytest.raises(ImageReadError, match="cannot be read"):
        build(with_a_broken_file, embedder, tmp_path / "g")


def test_unreadable_images_are_skipped_when_asked(tmp_path, embedding, embedder, with_a_broken_file):
    images = with_a_broken_file
    built = build(images, embedder, tmp_path / "g", on_error="skip")
    assert len(built) == len(built.labels) == 7
    assert [(i, name) for i, name, _ in built.skipped] == [(2, images.names[2])]
    assert images.names[2] not in built.images.names
    np.testing.assert_array_equal(built.images[2], images[3])
    for given in (None, images, built.images):
        opened = Gallery.open(tmp_path / "g", embedder, given)
        assert_same(built, opened)
        assert opened.skipped == built.skipped
    again = build(images, embedder, tmp_path / "g", on_error="skip")
    assert_same(built, again)
    with pytest.raises(GalleryError, match="built with 1 unreadable images left out"):
        build(images, embedder, tmp_path / "g")


def test_nothing_readable(tmp_path, embedding, embedder, folder):
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"none of the 8 images could be read; the first, 'class 0/<b>0\.png'"
    ):
        build(ImageSet.from_folder(folder), embedder, on_error="skip")


def test_unlabelled_galleries_are_kept_too(tmp_path, embedding, embedder):
    images = coloured_images(labelled=False)
    build(images, embedder, tmp_path / "g")
    assert Gallery.open(tmp_path / "g", embedder, images).labels is None


def test_places_that_cannot_be_written_to(tmp_path, embedding, images, embedder):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for name in ("file", "full"):
        with pytest.raises(GalleryError, match="exists and is not a gallery; nothing was written"):
            build(images, embedder, tmp_path / name)
    with pytest.raises(FileNotFoundError, match="make it before building a gallery there"):
        build(images, embedder, tmp_path / "no" / "g")
    assert embedding.computed == 0
    (tmp_path / "empty").mkdir()
    build(images, embedder, tmp_path / "empty")
    assert len(Gallery.open(tmp_path / "empty", embedder, images)) == 24


def test_options_are_checked_before_the_work(embedding, images, embedder):
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'ignore'"):
        build(images, embedder, on_error="ignore")
    with pytest.raises(ValueError, match="similarity must be one of"):
        build(images, embedder, similarity="l1")
    with pytest.raises(ValueError, match="the image set is empty"):
        build(images.subset([]), embedder)
    assert embedding.computed == 0


def test_other_folders_are_no_galleries(tmp_path, embedder):
    with pytest.raises(GalleryError, match=r"holds no gallery\.json: it is no gallery"):
        Gallery.open(tmp_path, embedder)
    (tmp_path / "gallery.json").write_text("[1, 2]")
    with pytest.raises(GalleryError, match="does not describe a gallery"):
        Gallery.open(tmp_path, embedder)
