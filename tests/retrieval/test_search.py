"""Searching a gallery: the right numbers, the named rules, the words of refusals."""

import math
import threading
import time

import numpy as np
import pytest
from fake_gallery import FakeEmbedder, coloured_images, gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dmlviz.retrieval import Gallery, Ranking


def slow_similarity(query, item, similarity):
    dot = math.fsum(float(a) * float(b) for a, b in zip(query, item, strict=True))
    if similarity == "dot":
        return dot
    return dot / math.sqrt(math.fsum(float(a) ** 2 for a in query) * math.fsum(float(b) ** 2 for b in item))


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(2, 30),
    dim=st.integers(2, 20),
    seed=st.integers(0, 999),
    similarity=st.sampled_from(["cosine", "dot"]),
)
def test_similarities_are_what_they_are_called(count, dim, seed, similarity):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    gallery = gallery_of(rows, similarity=similarity)
    ranking = gallery.search(0, k=count)
    assert sorted(ranking.ids) == list(range(1, count))
    expected = [slow_similarity(rows[0], rows[i], similarity) for i in ranking.ids]
    np.testing.assert_allclose(ranking.similarities, expected, atol=1e-6, rtol=1e-6)
    assert (np.diff(ranking.similarities) <= 0).all()
    np.testing.assert_array_equal(gallery.score(0, ranking.ids), ranking.similarities)
    np.testing.assert_array_equal(gallery.score(0, ranking.ids[::-1]), ranking.similarities[::-1])
    scaled = gallery.scale(rows[0], ranking.ids) * (rows[ranking.ids].astype(float) @ rows[0].astype(float))
    np.testing.assert_allclose(scaled, ranking.similarities, atol=1e-6, rtol=1e-6)


def test_hand_worked_cosine():
    gallery = gallery_of([[1, 0], [3, 4], [0, 2], [8, 6]], labels=list("abba"))
    ranking = gallery.search(0, k=3)
    assert ranking.ids.tolist() == [3, 1, 2]
    np.testing.assert_allclose(ranking.similarities, [0.8, 0.6, 0.0], atol=1e-7)
    assert ranking.labels.tolist() == ["a", "b", "b"]
    assert ranking.hits.tolist() == [True, False, False]
    assert (ranking.query, ranking.query_label, ranking.ranked_by) == (0, "a", "similarity")


def test_hand_worked_dot():
    gallery = gallery_of([[1, 0], [3, 4], [0, 2], [8, 6]], similarity="dot")
    ranking = gallery.search(0, k=3)
    assert ranking.ids.tolist() == [3, 1, 2]
    assert ranking.similarities.tolist() == [8.0, 3.0, 0.0]
    assert ranking.labels is None
    assert ranking.hits is None


def test_scores_are_symmetric_to_the_bit():
    rows = np.random.default_rng(0).standard_normal((20, 33))
    gallery = gallery_of(rows)
    table = np.stack([gallery.score(i, np.arange(20)) for i in range(20)])
    np.testing.assert_array_equal(table, table.T)


def test_a_query_does_not_find_itself_but_finds_its_duplicate():
    gallery = gallery_of([[1, 1], [1, 0], [1, 1], [0, 1]])
    assert gallery.search(0, k=1).ids.tolist() == [2]
    assert gallery.search(2, k=1).ids.tolist() == [0]
    assert gallery.search(2, k=2, exclude_self=False).ids.tolist() == [0, 2]


def test_another_image_finds_all(gallery, images):
    ranking = gallery.search(images[5], k=24)
    assert ranking.query is None
    assert ranking.query_label is None
    assert ranking.hits is None
    assert ranking.ids[0] == 5
    assert len(ranking) == 24
    assert ranking.labels.shape == (24,)
    np.testing.assert_array_equal(gallery.score(images[5], ranking.ids), ranking.similarities)


def test_every_kind_of_query_agrees(gallery, images, tmp_path):
    picture = images[7]
    Image.fromarray(picture).save(tmp_path / "q.png")
    rankings = [
        gallery.search(query, k=6, exclude_self=False)
        for query in (
            7,
            np.int64(7),
            picture,
            Image.fromarray(picture),
            tmp_path / "q.png",
            str(tmp_path / "q.png"),
        )
    ]
    for ranking in rankings[1:]:
        assert ranking.ids.tolist() == rankings[0].ids.tolist()
        np.testing.assert_allclose(ranking.similarities, rankings[0].similarities, atol=1e-6)
    assert [ranking.query for ranking in rankings] == [7, 7, None, None, None, None]


def test_k_is_cut_to_what_is_there(gallery):
    assert len(gallery.search(0, k=1000)) == 23
    assert len(gallery.search(0, k=1000, exclude_self=False)) == 24
    assert gallery.search(0, k=3).ids.tolist() == gallery.search(0, k=1000).ids.tolist()[:3]


def test_a_gallery_of_one():
    gallery = gallery_of([[1.0, 2.0]], labels=["a"])
    assert len(gallery.search(0)) == 0
    assert gallery.search(0, exclude_self=False).ids.tolist() == [0]


def test_zero_embeddings_are_named_and_never_found():
    with pytest.warns(UserWarning, match=r"image 1 \('image 1'\) has length zero.*gallery\.unranked"):
        gallery = gallery_of([[1, 0], [0, 0], [1, 1], [0, 1]], labels=list("aaab"))
    assert gallery.unranked == (1,)
    assert gallery.search(0, k=9).ids.tolist() == [2, 3]
    assert gallery.search(3, k=9).ids.tolist() == [2, 0]
    with pytest.raises(
        ValueError, match=r"image 1 \('image 1'\) has length zero, so its cosine to anything is und"
    ):
        gallery.search(1)
    assert np.isnan(gallery.score(0, [2, 1, 3])).tolist() == [False, True, False]
    assert np.isnan(gallery.score(1, [0, 2])).all()
    assert gallery.scale(gallery.embeddings[0], [1, 0]).tolist() == [0.0, 1.0]
    assert gallery.scale(gallery.embeddings[1], [0]).tolist() == [0.0]


def test_zero_embeddings_are_ranked_by_dot():
    gallery = gallery_of([[1, 0], [0, 0], [-1, 1]], similarity="dot")
    assert gallery.unranked == ()
    assert gallery.search(0, k=9).ids.tolist() == [1, 2]
    assert gallery.search(1, k=9).similarities.tolist() == [0.0, 0.0]
    assert gallery.scale(gallery.embeddings[1], [0, 2]).tolist() == [1.0, 1.0]


def test_all_zero_cannot_be_asked_but_can_be_made():
    with pytest.warns(UserWarning, match=r"images 0 .* 2 \('image 2'\), ... \(5 in all\) has length zero"):
        gallery = gallery_of(np.zeros((5, 3)), labels=list("aabbc"))
    with pytest.raises(ValueError, match="length zero"):
        gallery.search(0)


def test_another_image_of_length_zero_is_refused(images):
    embedder = FakeEmbedder(offset=0.0)
    gallery = Gallery(images, embedder, embedder.embed(list(images)))
    black = np.zeros((8, 12, 3), np.uint8)
    with pytest.raises(ValueError, match="embedding of this image has length zero"):
        gallery.search(black)
    with pytest.raises(ValueError, match="length zero"):
        gallery.search_region(black, np.ones((2, 3)))
    assert np.isnan(gallery.score(black, [0, 1])).all()


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        (24, IndexError, "no image has the id 24; the ids of this set are 0 to 23"),
        (-1, IndexError, "no image has the id -1"),
        (1.5, TypeError, r"a query is an image id, a \(H, W, 3\) uint8 array.*got builtins\.float"),
        (True, TypeError, "a query is an image id"),
        (None, TypeError, "a query is an image id"),
        (np.zeros((4, 4, 3)), TypeError, "uint8"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, "shape"),
        ("no/such/file.png", FileNotFoundError, "no/such/file"),
    ],
)
def test_refuses_queries(gallery, query, error, words):
    for ask in (gallery.search, gallery.query_local, gallery.query_embedding, gallery.view):
        with pytest.raises(error, match=words):
            ask(query)


@pytest.mark.parametrize(
    ("k", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("3", TypeError)]
)
def test_refuses_numbers_of_items(gallery, k, error):
    with pytest.raises(error, match="k must be"):
        gallery.search(0, k=k)


def test_refuses_unknown_items(gallery):
    for ask in (lambda ids: gallery.score(0, ids), gallery.local_embeddings_of):
        with pytest.raises(IndexError, match="no image has the id 24"):
            ask([0, 24])
        with pytest.raises(IndexError, match="no image has the id -1"):
            ask([-1])
    with pytest.raises(IndexError, match="no image has the id 99"):
        gallery.local_embeddings(99)
    with pytest.raises(IndexError, match="no image has the id 99"):
        gallery.scale(gallery.embeddings[0], [99])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e[:-1], r"expected embeddings of shape \(24, 5\), one row per image.*got \(23, 5\)"),
        (lambda e: e[:, :-1], r"got \(24, 4\)"),
        (lambda e: np.where(np.arange(24)[:, None] == 3, np.nan, e), r"came out for image 3 \('image 3'\)"),
        (lambda e: np.where(np.arange(24)[:, None] > 3, np.inf, e), r"... \(20 in all\)"),
    ],
)
def test_refuses_embeddings(images, embedder, change, words):
    with pytest.raises(ValueError, match=words):
        Gallery(images, embedder, change(embedder.embed(list(images))))


def test_refuses_unknown_similarity(images, embedder):
    with pytest.raises(ValueError, match="similarity must be one of 'cosine', 'dot', 'l2'; got 'l1'"):
        Gallery(images, embedder, embedder.embed(list(images)), "l1")


def test_embeddings_cannot_be_changed(gallery):
    with pytest.raises(ValueError, match="read-only"):
        gallery.embeddings[0, 0] = 7


def test_local_embeddings_are_computed_in_one_batch_and_remembered(gallery, embedder, images):
    embedder.calls.clear()
    first = gallery.local_embeddings_of([3, 1, 3, 2])
    assert embedder.calls == [3]
    assert first[0] is first[2]
    assert gallery.local_embeddings(1) is first[1]
    assert embedder.calls == [3]
    again = gallery.local_embeddings_of([1, 4, 5])
    assert embedder.calls == [3, 2]
    assert again[0] is first[1]
    for i, local in zip((3, 1), first[:2], strict=True):
        np.testing.assert_allclose(local.embedding, gallery.embeddings[i], atol=1e-6)
    assert gallery.query_local(2) is first[3]
    assert gallery.query_local(images[2]) is gallery.query_local(images[2])
    assert embedder.calls == [3, 2, 1]


def test_memory_of_local_embeddings_is_bounded(images, embedder):
    size = gallery_bytes = 4 * (6 * 5 + 5)
    gallery = Gallery(images, embedder, embedder.embed(list(images)), cache_bytes=3 * gallery_bytes)
    embedder.calls.clear()
    assert len(gallery.local_embeddings_of(range(10))) == 10
    kept = gallery._item_side.network._locals
    assert (len(kept), kept.bytes) == (3, 3 * size)
    gallery.local_embeddings(7)  # used again, so 8 is now the longest unused
    gallery.local_embeddings(0)
    assert embedder.calls == [10, 1]
    gallery.local_embeddings(7)
    assert embedder.calls == [10, 1]
    gallery.local_embeddings(8)
    assert embedder.calls == [10, 1, 1]


def test_nothing_is_kept_without_room(images, embedder):
    gallery = Gallery(images, embedder, embedder.embed(list(images)), cache_bytes=0)
    embedder.calls.clear()
    gallery.local_embeddings(0)
    gallery.local_embeddings(0)
    assert embedder.calls == [1, 1]


def test_threads_may_ask_at_once(gallery, embedder):
    embedder.calls.clear()
    inside, most, wrong = [], [], []
    slow = embedder.local_embeddings

    def watched(images, batch_size=64):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.001)  # lets another thread in, if it may
        result = slow(images)
        inside.pop()
        return result

    embedder.local_embeddings = watched

    def ask(start):
        for i in range(start, start + 12):
            local = gallery.local_embeddings(i % 24)
            if not np.allclose(local.embedding, gallery.embeddings[i % 24], atol=1e-6):
                wrong.append(i)
            gallery.search(i % 24)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(0, 24, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert max(most) == 1
    assert sum(embedder.calls) == 24


def test_ranking_as_a_frame(gallery):
    frame = gallery.search(0, k=3).to_frame()
    assert list(frame.columns) == ["rank", "id", "name", "label", "similarity", "hit"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["name"].tolist() == [f"image {i}" for i in frame["id"]]
    assert frame["hit"].dtype == bool
    unlabelled = gallery_of([[1, 0], [0, 1]]).search(0).to_frame()
    assert unlabelled["label"].tolist() == unlabelled["hit"].tolist() == [None]


def test_ranking_in_words():
    gallery = gallery_of([[1, 0], [3, 4], [0, 2], [8, 6]], labels=list("abba"))
    assert repr(gallery.search(0, k=2)).splitlines() == [
        "Ranking of 2 images for image 0 (a)",
        "   1  hit   +0.800000  image 3  a",
        "   2  miss  +0.600000  image 1  b",
    ]
    many = repr(gallery_of(np.eye(15)).search(0, k=14))
    assert many.splitlines()[0] == "Ranking of 14 images for image 0"
    assert many.splitlines()[-1].strip() == "... 4 more; .to_frame() shows all"
    short = gallery.search(0, k=9)
    assert (len(short), short.too_few, gallery.search(0, k=3).too_few) == (3, 6, 0)
    assert repr(short).splitlines()[0].endswith("for image 0 (a); 9 were asked for, there are no more")
    assert isinstance(gallery.search(0), Ranking)


def test_gallery_in_words(gallery):
    assert repr(gallery) == "Gallery(24 images, 4 classes, 5 dimensions, cosine, embedder 'fake')"
    assert "no labels" in repr(gallery_of([[1, 0]]))
    assert len(gallery) == 24


def test_view_is_what_the_network_sees(gallery, images):
    assert gallery.view(3).shape == (8, 12, 3)
    np.testing.assert_array_equal(gallery.view(3), images[3])
    large = np.zeros((80, 120, 3), np.uint8)
    assert gallery.view(large).shape == (8, 12, 3)


def test_unlabelled_galleries_search(embedder):
    images = coloured_images(labelled=False)
    gallery = Gallery(images, embedder, embedder.embed(list(images)))
    ranking = gallery.search(3)
    assert len(ranking) == 10
    assert ranking.labels is ranking.hits is ranking.query_label is None
