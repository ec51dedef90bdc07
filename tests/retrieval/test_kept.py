"""Galleries over other kinds of index, extended, cut to a subset, opened mapped, and written by earlier versions."""

import json

import numpy as np
import pytest
from fake_gallery import FakeEmbedder, coloured_images, gallery_of
from older_galleries import make_older
from PIL import Image

from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery, GalleryError

pytestmark = pytest.mark.usefixtures("embedding")


def build(images, embedder, path=None, **options):
    return Gallery.build(images, embedder, path, progress=False, **options)


def assert_same(left, right):
    np.testing.assert_array_equal(left.embeddings, right.embeddings)
    assert left.images.names == right.images.names
    assert (left.kind, left.index_options, left.index.kind) == (
        right.kind,
        right.index_options,
        right.index.kind,
    )
    for query in range(len(left.queries)):
        a, b = left.search(query), right.search(query)
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.similarities, b.similarities)


@pytest.fixture(scope="module")
def many():
    """600 embeddings of 16 dimensions, in 20 classes."""
    random = np.random.default_rng(0)
    labels = np.arange(600) % 20
    rows = random.standard_normal((20, 16))[labels] + 0.7 * random.standard_normal((600, 16))
    return rows.astype(np.float32), labels.astype(str)


KINDS = [
    ("hnsw", {"neighbours": 8}),
    ("ivf", {"lists": 12}),
    ("IVF4,SQ4", {"effort": 4}),
    ("sq8", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_scores_are_exact_and_rankings_say_what_they_are(many, kind, options, similarity):
    rows, labels = many
    exact = gallery_of(rows, labels, similarity)
    gallery = Gallery(exact.images, exact.embedder, rows, similarity, kind=kind, index_options=options)
    assert gallery.index.kind == kind
    for query in range(0, 600, 97):
        ranking = gallery.search(query, 5)
        assert ranking.approximate
        assert "approximate: some may be missed" in repr(ranking)
        np.testing.assert_array_equal(ranking.similarities, exact.score(query, ranking.ids))
        plain = exact.search(query, 5)
        assert not plain.approximate
        assert "approximate" not in repr(plain)
    assert gallery.evaluate() == exact.evaluate() or (
        gallery.evaluate().recall == exact.evaluate().recall
        and gallery.evaluate().map_at_r == exact.evaluate().map_at_r
    )
    assert 0.5 < gallery.recall(k=5, sample=50).recall <= 1
    assert exact.recall(k=5, sample=50).recall == 1
    assert f"index {kind!r}" in repr(gallery)


def test_the_gap_is_what_the_codes_get_wrong(many):
    rows, labels = many
    exact = gallery_of(rows, labels)
    coded = Gallery(exact.images, exact.embedder, rows, kind="IVF4,SQ4")
    units = rows / np.linalg.norm(rows.astype(np.float64), axis=1)[:, None]
    ids = [5, 77, 300]
    gaps = coded.quantised_gap(9, ids)
    decoded = np.stack(
        [coded.index.rough_similarity(np.eye(16, dtype=np.float32), [[i]] * 16)[:, 0] for i in ids]
    )
    np.testing.assert_allclose(gaps, units[9] @ decoded.T - units[9] @ units[ids].T, atol=1e-6)
    assert np.abs(gaps).max() > 1e-3
    np.testing.assert_array_equal(exact.quantised_gap(9, ids), np.zeros(3))


def test_what_auto_chose_is_said_and_kept(tmp_path, images, embedder):
    built = build(images, embedder, tmp_path / "g", kind="auto", index_options={"memory": 2**20})
    assert built.kind == "auto"
    assert built.index.kind == "flat"
    assert "24 rows are compared one by one" in built.index.reason
    opened = Gallery.open(tmp_path / "g", embedder, images)
    assert_same(opened, built)
    assert opened.index.reason == built.index.reason
    assert_same(build(images, embedder, tmp_path / "g", kind="auto", index_options={"memory": 2**20}), built)
    with pytest.raises(
        GalleryError, match=r"built with an index of kind 'auto' and index_options \{'memory'"
    ):
        build(images, embedder, tmp_path / "g")


@pytest.mark.parametrize(
    ("kind", "options", "error", "words"),
    [
        ("tree", None, ValueError, "unknown kind of index 'tree'"),
        ("hnsw", {"lists": 3}, TypeError, "has no parameter 'lists'; it takes neighbours"),
        ("ivf-pq", None, ValueError, "needs 256 rows to learn its codes, got 24"),
        ("ivf", {"lists": 25}, ValueError, "25 lists need at least as many rows, got 24"),
        ("flat", {"metric": 1}, TypeError, "index_options cannot say 'metric'"),
        ("hnsw", {"neighbours": 3.5}, TypeError, "neighbours must be a whole number, got 3.5"),
        ("hnsw", ["neighbours"], TypeError, "index_options must be a dict such as"),
        (3, None, TypeError, "kind must be the name of a kind of index, got int"),
    ],
)
def test_kinds_are_checked_before_the_work(embedding, images, embedder, kind, options, error, words):
    with pytest.raises(error, match=words):
        build(images, embedder, kind=kind, index_options=options)
    assert embedding.computed == 0


def lies_on_disk(rows):
    while rows is not None and not isinstance(rows, np.memmap):
        rows = getattr(rows, "base", None)
    return rows is not None


@pytest.mark.parametrize(("kind", "options"), [("flat", {}), ("hnsw", {"neighbours": 4}), ("sq8", {})])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_mapped_is_the_same_gallery(tmp_path, images, embedder, kind, options, similarity):
    ground, other = coloured_images(9, 4, seed=5), FakeEmbedder(3, "ground")
    for asking in ({}, {"queries": ground, "query_embedder": other}):
        path = tmp_path / f"g{len(asking)}"
        built = build(
            images, embedder, path, kind=kind, index_options=options, similarity=similarity, **asking
        )
        opened = Gallery.open(path, embedder, images, **asking, mapped=True)
        assert_same(opened, built)
        np.testing.assert_array_equal(opened.query_embeddings, built.query_embeddings)
        assert lies_on_disk(opened.embeddings)
        assert not lies_on_disk(built.embeddings)
        assert opened.evaluate().recall == built.evaluate().recall
        opened.save(path)  # over the very files that are mapped
        assert_same(opened, built)
        assert_same(Gallery.open(path, embedder, images, **asking), built)


def test_mapped_does_not_read_rows_but_sees_that_they_are_cut(tmp_path, images, embedder):
    build(images, embedder, tmp_path / "g")
    file = tmp_path / "g" / "embeddings.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"abcd")
    Gallery.open(tmp_path / "g", embedder, images, mapped=True)
    with pytest.raises(GalleryError, match=r"embeddings\.npy in .* was changed or cut short"):
        Gallery.open(tmp_path / "g", embedder, images)
    file.write_bytes(content[:-4])
    with pytest.raises(GalleryError, match=r"embeddings\.npy in .* was changed or cut short"):
        Gallery.open(tmp_path / "g", embedder, images, mapped=True)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_earlier_formats_are_read(tmp_path, images, embedder, number, mapped):
    built = build(images, embedder, tmp_path / "g")
    make_older(tmp_path / "g", number, images)
    assert (tmp_path / "g" / "images.json").exists()
    assert not (tmp_path / "g" / "images.arrow").exists()
    opened = Gallery.open(tmp_path / "g", embedder, images, mapped=mapped)
    assert_same(opened, built)
    opened.save(tmp_path / "g")
    said = json.loads((tmp_path / "g" / "gallery.json").read_text())
    assert said["format"] == 4
    assert {entry.name for entry in (tmp_path / "g").iterdir()} == {"gallery.json", *said["files"].values()}
    assert_same(Gallery.open(tmp_path / "g", embedder, images), built)


@pytest.mark.parametrize("asks", ["itself", "another network", "a query set"])
def test_extended_is_what_build_makes_of_all(tmp_path, embedding, images, embedder, asks):
    other = FakeEmbedder(3, "ground")
    asking = {"itself": {}, "another network": {"query_embedder": other}}.get(
        asks, {"queries": coloured_images(9, 4, seed=5), "query_embedder": other}
    )
    whole = build(images, embedder, kind="hnsw", index_options={"seed": 3}, **asking)
    some = build(images.subset(range(15)), embedder, kind="hnsw", index_options={"seed": 3}, **asking)
    before = embedding.computed
    extended = some.extended(images.subset(range(15, 24)), tmp_path / "g", progress=False)
    assert embedding.computed - before == (18 if asks == "another network" else 9)
    assert_same(extended, whole)
    assert extended.labels.tolist() == whole.labels.tolist()
    assert (extended.queries is extended.images) == (asks != "a query set")
    again = Gallery.open(tmp_path / "g", embedder, extended.images, **asking)
    assert_same(again, whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    cut = again.subset(range(15))
    assert_same(cut, some)
    cut.save(tmp_path / "g")
    assert_same(Gallery.open(tmp_path / "g", embedder, cut.images, **asking), some)
    assert embedding.computed - before == (18 if asks == "another network" else 9)


def test_files_of_an_extended_gallery_are_found_again(tmp_path, images, embedder):
    for i in range(6):
        (tmp_path / f"part {i // 3}" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(tmp_path / f"part {i // 3}" / f"c{i % 2}" / f"{i}.png")
    (tmp_path / "part 1" / "c0" / "5x.png").write_bytes(b"no picture")
    parts = [ImageSet.from_folder(tmp_path / f"part {n}") for n in (0, 1)]
    built = build(parts[0], embedder, tmp_path / "g")
    extended = built.extended(parts[1], tmp_path / "g", progress=False, on_error="skip")
    assert [(i, name) for i, name, _ in extended.skipped] == [
        (3 + parts[1].names.index("c0/5x.png"), "c0/5x.png")
    ]
    opened = Gallery.open(tmp_path / "g", embedder)
    assert_same(opened, extended)
    for i in range(6):
        np.testing.assert_array_equal(opened.images[i], extended.images[i])


def test_what_cannot_be_put_together_is_refused(tmp_path, embedding, images, embedder, gallery):
    before = embedding.computed
    with pytest.raises(
        ValueError, match="both image sets must have labels, or none of them; the first has labels"
    ):
        gallery.extended(coloured_images(labelled=False))
    with pytest.raises(ValueError, match="the image set is empty; give at least one image to put behind"):
        gallery.extended(images.subset([]))
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'skip', got 'x'"):
        gallery.extended(images, on_error="x")
    with pytest.raises(FileNotFoundError, match="make it before building a gallery there"):
        gallery.extended(images, tmp_path / "no" / "g")
    assert embedding.computed == before
    with pytest.raises(ValueError, match="a gallery needs at least one image; no id was given"):
        gallery.subset([])
    with pytest.raises(IndexError, match="no image has the id 24"):
        gallery.subset([3, 24])
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(GalleryError, match="exists and is not a gallery; nothing was written"):
        gallery.save(tmp_path / "mine")


def test_a_subset_in_another_order(images, embedder, gallery):
    chosen = [7, 3, 20, 11, 0]
    subset = gallery.subset(chosen)
    assert subset.images.names == tuple(images.names[i] for i in chosen)
    np.testing.assert_array_equal(subset.embeddings, gallery.embeddings[chosen])
    ranking = subset.search(1, 4)
    np.testing.assert_array_equal(ranking.similarities, gallery.score(3, [chosen[i] for i in ranking.ids]))
