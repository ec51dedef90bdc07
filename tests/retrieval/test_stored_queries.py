"""A gallery with a query set on disk: found again, gone on with, refused where it is not what it says."""

import json

import numpy as np
import pytest
from fake_gallery import FakeEmbedder, coloured_images
from older_galleries import make_older
from PIL import Image
from test_storage import change_sidecar

import dmlviz.retrieval.storage as storage
from dmlviz.images import ImageReadError, ImageSet
from dmlviz.retrieval import Gallery, GalleryError

FILES = [
    "embeddings.npy",
    "gallery.json",
    "images.arrow",
    "index.faiss",
    "lengths.npy",
    "queries.arrow",
    "query_embeddings.npy",
    "query_lengths.npy",
]

pytestmark = pytest.mark.usefixtures("embedding")


@pytest.fixture
def ground():
    return coloured_images(9, 4, seed=5)


@pytest.fixture
def other():
    return FakeEmbedder(seed=9, name="ground", grid=(1, 5))


@pytest.fixture
def build(images, embedder, ground, other):
    def built(path=None, **changes):
        given = {"images": images, "embedder": embedder, "queries": ground, "query_embedder": other} | changes
        return Gallery.build(path=path, progress=False, **given)

    return built


def assert_same(left, right):
    np.testing.assert_array_equal(left.embeddings, right.embeddings)
    np.testing.assert_array_equal(left.query_embeddings, right.query_embeddings)
    assert left.queries.names == right.queries.names
    for query in range(len(left.queries)):
        a, b = left.search(query, k=99), right.search(query, k=99)
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.similarities, b.similarities)
        assert (a.query_label, a.left_out) == (b.query_label, b.left_out)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_round_trip(tmp_path, build, images, embedder, ground, other, similarity):
    built = build(tmp_path / "g", similarity=similarity)
    assert sorted(entry.name for entry in (tmp_path / "g").iterdir()) == FILES
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    opened = Gallery.open(tmp_path / "g", embedder, images, ground, other)
    assert_same(built, opened)
    assert opened.queries is ground
    assert opened.query_embedder is other
    assert opened.query_view(0).shape == (4, 20, 3)


def test_a_query_set_with_the_gallerys_own_embedder(tmp_path, build, images, embedder, ground):
    built = build(tmp_path / "g", query_embedder=None)
    opened = Gallery.open(tmp_path / "g", embedder, images, ground)
    assert_same(built, opened)
    assert opened.query_embedder is embedder
    assert_same(
        built, build(tmp_path / "g", query_embedder=FakeEmbedder())
    )  # another object, the same weights
    assert_same(built, Gallery.open(tmp_path / "g", embedder, images, ground, FakeEmbedder()))


def test_the_gallerys_own_images_with_another_embedder(tmp_path, build, images, embedder, other):
    built = build(tmp_path / "g", queries=None)
    assert "queries.arrow" not in {entry.name for entry in (tmp_path / "g").iterdir()}
    opened = Gallery.open(tmp_path / "g", embedder, images, query_embedder=other)
    assert_same(built, opened)
    assert opened.queries is opened.images is images
    assert 3 not in opened.search(3, k=99).ids


def test_queries_in_files_are_found_again(tmp_path, build, images, embedder, ground, other):
    for name, pictures in (("above", images), ("ground", ground)):
        for i in range(len(pictures)):
            folder = tmp_path / name / pictures.labels[i]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[i]).save(folder / f"{i}.png")
    above, below = ImageSet.from_folder(tmp_path / "above"), ImageSet.from_folder(tmp_path / "ground")
    built = build(tmp_path / "g", images=above, queries=below)
    opened = Gallery.open(tmp_path / "g", embedder, query_embedder=other)
    assert_same(built, opened)
    np.testing.assert_array_equal(opened.query_image(4), below[4])


def test_what_was_not_in_files_must_be_given(tmp_path, build, images, embedder, other):
    build(tmp_path / "g")
    with pytest.raises(
        FileNotFoundError,
        match=r"the queries of .* were not files.*Gallery\.open\(path, embedder, queries=...\)",
    ):
        Gallery.open(tmp_path / "g", embedder, images, query_embedder=other)


def test_other_queries_and_embedders_are_refused(tmp_path, build, images, embedder, ground, other):
    build(tmp_path / "g")
    with pytest.raises(GalleryError, match=r"built with the query embedder 'ground' .*, got 'fake'"):
        Gallery.open(tmp_path / "g", embedder, images, ground)
    with pytest.raises(GalleryError, match=r"built with the query embedder 'ground' .*, got 'third'"):
        Gallery.open(tmp_path / "g", embedder, images, ground, FakeEmbedder(3, "third"))
    with pytest.raises(GalleryError, match=r"built with the embedder 'fake' .*, got 'ground'"):
        Gallery.open(tmp_path / "g", other, images, ground, embedder)
    with pytest.raises(GalleryError, match="built from other queries: expected 9 queries, got 8"):
        Gallery.open(tmp_path / "g", embedder, images, ground.subset(range(8)), other)
    with pytest.warns(UserWarning, match="the queries are not quite those that"):
        Gallery.open(tmp_path / "g", embedder, images, coloured_images(9, 4, seed=6), other)
    build(tmp_path / "plain", queries=None, query_embedder=None)
    with pytest.raises(GalleryError, match="was built without a query set: its own images ask"):
        Gallery.open(tmp_path / "plain", embedder, images, ground)
    with pytest.raises(GalleryError, match=r"built with the query embedder 'fake' .*, got 'ground'"):
        Gallery.open(tmp_path / "plain", embedder, images, query_embedder=other)
    own = Gallery.open(tmp_path / "plain", embedder, images, images, embedder)
    assert own.query_embeddings is own.embeddings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queries": coloured_images(9, 4, seed=8)}, "other queries"),
        ({"queries": None}, "other queries"),
        ({"query_embedder": None}, r"another query embedder \(ground\)"),
        ({"query_embedder": FakeEmbedder(4)}, r"another query embedder \(ground\)"),
        ({"similarity": "dot"}, "similarity 'cosine'"),
        ({"leave_out": None}, "leave_out 'self'"),
    ],
)
def test_another_gallery_is_not_overwritten(
    tmp_path, build, embedding, images, embedder, ground, other, changes, words
):
    build(tmp_path / "g")
    computed = embedding.computed
    build(tmp_path / "g")
    with pytest.raises(
        GalleryError, match=f"already holds a gallery, built with {words}; nothing was written"
    ):
        build(tmp_path / "g", **changes)
    assert embedding.computed == computed
    Gallery.open(tmp_path / "g", embedder, images, ground, other)


def test_a_gallery_without_queries_is_not_overwritten(tmp_path, build):
    build(tmp_path / "g", queries=None, query_embedder=None)
    with pytest.raises(
        GalleryError, match="built with no query set and no query embedder of its own; nothing"
    ):
        build(tmp_path / "g")


@pytest.mark.parametrize("stop_after", [10, 24, 30])
def test_an_interrupted_build_is_gone_on_with(tmp_path, build, embedding, stop_after):
    embedding.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "g")
    assert not (tmp_path / "g").exists()
    embedding.stop_after = None
    built = build(tmp_path / "g")
    assert embedding.computed == 24 + 9
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert_same(built, build())


@pytest.mark.parametrize("fails", ["save", "_write_json", "_flush"])
def test_a_write_that_fails_leaves_nothing_half(tmp_path, build, monkeypatch, fails):
    def broken(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(np if fails == "save" else storage, fails, broken)
        with pytest.raises(OSError, match="disk full"):
            build(tmp_path / "g")
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "g.unfinished"] == []
    assert len(build(tmp_path / "g").queries) == 9


@pytest.mark.parametrize("name", ["queries.arrow", "query_embeddings.npy"])
@pytest.mark.parametrize("damage", ["cut", "lost", "changed"])
def test_damage_is_refused_and_mended(tmp_path, build, images, embedder, ground, other, name, damage):
    build(tmp_path / "g")
    file = tmp_path / "g" / name
    content = file.read_bytes()
    if damage == "lost":
        file.unlink()
    else:
        at = len(content) // 2
        file.write_bytes(
            content[:at] + (b"" if damage == "cut" else bytes([content[at] ^ 1]) + content[at + 1 :])
        )
    words = f"lacks {name}" if damage == "lost" else f"{name} in .* was changed or cut short since"
    with pytest.raises(GalleryError, match=words):
        Gallery.open(tmp_path / "g", embedder, images, ground, other)
    build(tmp_path / "g")
    Gallery.open(tmp_path / "g", embedder, images, ground, other)


def test_the_sidecar_says_who_asks(tmp_path, build, other, ground):
    build(tmp_path / "g")
    sidecar = json.loads((tmp_path / "g" / "gallery.json").read_text())
    assert sidecar["queries"] == {
        "count": 9,
        "embedder": {"name": "ground", "fingerprint": other.fingerprint},
        "images_fingerprint": ground.fingerprint,
        "skipped": [],
    }
    assert sidecar["leave_out"] == "self"
    assert set(sidecar["sha256"]) == set(FILES) - {"gallery.json"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"count": 8},
            "does not fit together: its sidecar says 8 queries of 5 dimensions, it holds embeddings",
        ),
        ({"embedder": None}, "lacks"),
        ({"skipped": [3]}, "lacks"),
        ({"images_fingerprint": None}, "does not fit together: .* and 24 names of them"),
    ],
)
def test_sidecars_that_do_not_fit_are_refused(
    tmp_path, build, images, embedder, ground, other, change, words
):
    build(tmp_path / "g")
    sidecar = json.loads((tmp_path / "g" / "gallery.json").read_text())
    change_sidecar(tmp_path / "g", {"queries": sidecar["queries"] | change})
    with pytest.raises(GalleryError, match=words):
        Gallery.open(tmp_path / "g", embedder, images, ground, other)
    change_sidecar(tmp_path / "g", {"queries": sidecar["queries"], "leave_out": "nobody"})
    with pytest.raises(ValueError, match="leave_out must be one of"):
        Gallery.open(tmp_path / "g", embedder, images, ground, other)


def test_galleries_of_the_first_format_are_read(tmp_path, build, images, embedder):
    built = build(tmp_path / "g", queries=None, query_embedder=None)
    make_older(tmp_path / "g", 1, images)
    opened = Gallery.open(tmp_path / "g", embedder, images)
    assert opened.leave_out == "self"
    assert opened.queries is images
    assert_same(built, opened)


def test_unreadable_queries_are_left_out_and_named(tmp_path, build, images, embedder, other):
    for i, picture in enumerate(coloured_images(5, 2)):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    files = ImageSet.from_folder(tmp_path)
    with pytest.raises(ImageReadError, match=r"2\.png"):
        build(tmp_path / "g", queries=files)
    built = build(tmp_path / "g", queries=files, on_error="skip")
    assert built.skipped == ()
    assert [entry[:2] for entry in built.skipped_queries] == [(2, "2.png")]
    assert built.queries.names == ("0.png", "1.png", "3.png", "4.png")
    for queries in (files, built.queries, None):
        opened = Gallery.open(tmp_path / "g", embedder, images, queries, other)
        assert_same(built, opened)
        assert opened.skipped_queries == built.skipped_queries
    with pytest.raises(GalleryError, match="1 unreadable images left out"):
        build(tmp_path / "g", queries=files)
