"""A gallery that is asked by another image set, through another network."""

import numpy as np
import pandas as pd
import pytest
from fake_gallery import FakeEmbedder, coloured_images, gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery


@pytest.fixture
def aerial():
    """Twelve places seen by one network."""
    return coloured_images(12, 12, seed=1)


@pytest.fixture
def ground():
    """The same twelve places, and again, for another network of another shape."""
    return coloured_images(30, 12, seed=2)


@pytest.fixture
def ground_embedder():
    return FakeEmbedder(seed=7, name="ground", grid=(1, 5), offset=-0.2)


@pytest.fixture
def two_sided(aerial, ground, embedder, ground_embedder):
    return Gallery(
        aerial,
        embedder,
        embedder.embed(list(aerial)),
        queries=ground,
        query_embedder=ground_embedder,
        query_embeddings=ground_embedder.embed(list(ground)),
    )


def test_by_default_the_images_ask_for_each_other(gallery):
    assert gallery.queries is gallery.images
    assert gallery.query_embedder is gallery.embedder
    assert gallery.query_embeddings is gallery.embeddings
    assert gallery.query_labels is gallery.labels
    assert gallery.unranked_queries == gallery.skipped_queries == ()
    np.testing.assert_array_equal(gallery.query_image(3), gallery.image(3))
    np.testing.assert_array_equal(gallery.query_view(3), gallery.view(3))
    assert gallery.query_local(3) is gallery.local_embeddings(3)
    assert gallery.leave_out == gallery.search(3).left_out == "self"


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_similarities_are_between_the_two_networks(aerial, ground, embedder, ground_embedder, similarity):
    rows, asking = embedder.embed(list(aerial)), ground_embedder.embed(list(ground))
    gallery = Gallery(
        aerial,
        embedder,
        rows,
        similarity,
        queries=ground,
        query_embedder=ground_embedder,
        query_embeddings=asking,
    )
    for query in (0, 5, 29):
        ranking = gallery.search(query, k=99)
        assert sorted(ranking.ids) == list(range(12))  # nothing is left out
        assert (ranking.query, ranking.query_label) == (query, ground.labels[query])
        assert ranking.left_out is None
        for item, similarity_found in zip(ranking.ids, ranking.similarities, strict=True):
            expected = sum(float(a) * float(b) for a, b in zip(asking[query], rows[item], strict=True))
            if similarity == "cosine":
                expected /= np.sqrt(sum(float(a) ** 2 for a in asking[query]))
                expected /= np.sqrt(sum(float(b) ** 2 for b in rows[item]))
            assert similarity_found == pytest.approx(expected, abs=1e-6)
        assert (np.diff(ranking.similarities) <= 0).all()
        np.testing.assert_array_equal(gallery.score(query, ranking.ids), ranking.similarities)
        scaled = gallery.scale(asking[query], ranking.ids) * (rows[ranking.ids] @ asking[query])
        np.testing.assert_allclose(scaled, ranking.similarities, atol=1e-6)
        np.testing.assert_array_equal(ranking.labels, aerial.labels[ranking.ids])
        np.testing.assert_array_equal(ranking.hits, ranking.labels == ground.labels[query])
        assert ranking.names == tuple(aerial.names[i] for i in ranking.ids)


def test_pictures_and_paths_go_through_the_query_embedder(two_sided, ground, tmp_path):
    Image.fromarray(ground[4]).save(tmp_path / "q.png")
    expected = two_sided.search(4, k=12)
    for query in (ground[4], Image.fromarray(ground[4]), tmp_path / "q.png"):
        ranking = two_sided.search(query, k=12)
        assert ranking.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(ranking.similarities, expected.similarities, atol=1e-6)
        assert ranking.query is ranking.query_label is ranking.hits is None
        np.testing.assert_allclose(two_sided.query_embedding(query), two_sided.query_embeddings[4], atol=1e-6)
        assert two_sided.query_local(query).grid == (1, 5)
        assert two_sided.query_view(query).shape == (4, 20, 3)


def test_an_id_belongs_to_the_side_that_the_name_says(two_sided, aerial, ground, embedder, ground_embedder):
    np.testing.assert_array_equal(two_sided.query_image(5), ground[5])
    np.testing.assert_array_equal(two_sided.image(5), aerial[5])
    np.testing.assert_array_equal(two_sided.query_view(5), ground_embedder.view(ground[5]))
    np.testing.assert_array_equal(two_sided.view(5), embedder.view(aerial[5]))
    assert two_sided.query_local(5).grid == (1, 5)
    assert two_sided.local_embeddings(5).grid == (2, 3)
    np.testing.assert_allclose(two_sided.query_local(5).embedding, two_sided.query_embeddings[5], atol=1e-6)
    np.testing.assert_allclose(two_sided.local_embeddings(5).embedding, two_sided.embeddings[5], atol=1e-6)
    np.testing.assert_array_equal(two_sided.query_embedding(5), two_sided.query_embeddings[5])
    assert two_sided.query_labels is ground.labels
    assert two_sided.labels is aerial.labels
    assert len(two_sided) == 12
    two_sided.search(29)
    for ask in (
        two_sided.view,
        two_sided.image,
        two_sided.local_embeddings,
        lambda i: two_sided.score(0, [i]),
    ):
        with pytest.raises(IndexError, match="no image has the id 29; the ids of this set are 0 to 11"):
            ask(29)
    for ask in (two_sided.search, two_sided.query_view, two_sided.query_image, two_sided.query_local):
        with pytest.raises(IndexError, match="no image has the id 30; the ids of this set are 0 to 29"):
            ask(30)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_region_is_one_of_the_query_networks_view(aerial, ground, embedder, ground_embedder, similarity):
    rows, asking = embedder.embed(list(aerial)), ground_embedder.embed(list(ground))
    gallery = Gallery(
        aerial,
        embedder,
        rows,
        similarity,
        queries=ground,
        query_embedder=ground_embedder,
        query_embeddings=asking,
    )
    pixels = np.zeros((4, 20), bool)
    pixels[:, 8:16] = True  # cells 2 and 3 of 5
    cells = np.array([[0, 0, 1, 1, 0]])
    by_pixels, by_cells = gallery.search_region(3, pixels, k=12), gallery.search_region(3, cells, k=12)
    assert by_pixels.ids.tolist() == by_cells.ids.tolist()
    np.testing.assert_allclose(by_pixels.similarities, by_cells.similarities, atol=1e-7)
    part = gallery.query_local(3).vectors[0, 2:4].sum(axis=0).astype(float)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(asking[3]) if similarity == "cosine" else 1.0
    # under cosine the length of the gallery's embedding is in the indexed row, that of the query's divides
    expected = (rows @ part) / lengths
    np.testing.assert_allclose(by_cells.similarities, expected[by_cells.ids], atol=1e-6)
    assert by_cells.ranked_by == "region"
    with pytest.raises(ValueError, match=r"shape \(1, 5\), or one per pixel of the view, shape \(4, 20\)"):
        gallery.search_region(3, np.ones((2, 3)))


def test_one_image_set_seen_by_two_networks(images, embedder):
    other = FakeEmbedder(seed=3, name="other")
    gallery = Gallery.build(images, embedder, query_embedder=other, progress=False)
    assert gallery.queries is images
    assert gallery.query_embedder is other
    np.testing.assert_allclose(gallery.query_embeddings, other.embed(list(images)), atol=1e-6)
    ranking = gallery.search(4, k=99)
    assert 4 not in ranking.ids
    assert len(ranking) == 23
    assert ranking.left_out == "self"
    everything = gallery.search(4, k=99, exclude_self=False)
    assert len(everything) == 24
    assert everything.left_out is None
    assert "query embedder 'other'" in repr(gallery)


@pytest.fixture(autouse=True)
def _fake(embedding):
    """`embed_images` of this room's fake embedders."""


def test_a_region_heeds_the_rule(ground, embedder):
    table = pd.DataFrame({"camera": [i // 12 for i in range(30)]})
    images = ImageSet(ground.__getitem__, ground.names, ground.labels, table)
    gallery = Gallery.build(images, embedder, leave_out="same-camera", progress=False)
    region = gallery.search_region(3, np.ones((2, 3)), k=99)
    assert region.left_out == "same-camera"
    assert sorted(region.ids) == sorted(gallery.search(3, k=99).ids) == [i for i in range(30) if i != 3]
    table["camera"] = 0
    images = ImageSet(ground.__getitem__, ground.names, ground.labels, table)
    gallery = Gallery.build(images, embedder, leave_out="same-camera", progress=False)
    region = gallery.search_region(3, np.ones((2, 3)), k=99)
    assert sorted(region.ids) == [i for i in range(30) if i not in (3, 15, 27)]


def test_build_embeds_both_sides(embedding, aerial, ground, embedder, ground_embedder, two_sided):
    built = Gallery.build(
        aerial, embedder, queries=ground, query_embedder=ground_embedder, progress=False, batch_size=5
    )
    assert embedding.computed == 42
    assert embedding.options == {"batch_size": 5, "workers": 0, "progress": False}
    np.testing.assert_array_equal(built.embeddings, two_sided.embeddings)
    np.testing.assert_array_equal(built.query_embeddings, two_sided.query_embeddings)
    assert built.queries is ground
    assert repr(built) == (
        "Gallery(12 images, 12 classes, 5 dimensions, cosine, embedder 'fake', 30 queries, "
        "query embedder 'ground')"
    )
    same_network = Gallery.build(aerial, embedder, queries=ground, progress=False)
    assert same_network.query_embedder is embedder
    np.testing.assert_allclose(same_network.query_embeddings, embedder.embed(list(ground)), atol=1e-6)


def test_the_gallerys_own_images_given_as_queries_are_no_query_set(embedding, images, embedder):
    gallery = Gallery.build(images, embedder, queries=images, query_embedder=embedder, progress=False)
    assert embedding.computed == 24
    assert gallery.query_embeddings is gallery.embeddings
    with pytest.warns(UserWarning, match="same names, labels and sizes.*every query would find itself"):
        twin = Gallery.build(images, embedder, queries=coloured_images(), progress=False)
    assert twin.search(3, k=1).ids.tolist() == [3]


def test_refuses_what_cannot_be_compared(embedding, aerial, ground, embedder):
    wider = FakeEmbedder(name="wider")
    wider.dim = 7
    words = "one space: the query embedder 'wider' gives 7 dimensions, the gallery's 'fake' gives 5"
    with pytest.raises(ValueError, match=words):
        Gallery.build(aerial, embedder, queries=ground, query_embedder=wider, progress=False)
    with pytest.raises(ValueError, match=words):
        Gallery(aerial, embedder, embedder.embed(list(aerial)), query_embedder=wider, query_embeddings=[])
    with pytest.raises(ValueError, match="the query set is empty; leave queries= away"):
        Gallery.build(aerial, embedder, queries=ground.subset([]), progress=False)
    assert embedding.computed == 0


def test_query_embeddings_are_given_exactly_where_they_are_needed(aerial, ground, embedder):
    rows = embedder.embed(list(aerial))
    with pytest.raises(ValueError, match=r"query_embeddings must be given exactly where .* got none"):
        Gallery(aerial, embedder, rows, queries=ground)
    with pytest.raises(ValueError, match=r"query_embeddings must be given exactly where .* got some"):
        Gallery(aerial, embedder, rows, query_embeddings=rows)
    with pytest.raises(ValueError, match=r"expected embeddings of shape \(30, 5\).*got \(12, 5\)"):
        Gallery(aerial, embedder, rows, queries=ground, query_embeddings=rows)


def test_a_query_of_length_zero_cannot_ask():
    with pytest.warns(UserWarning, match=r"image 1 \('image 1'\) has length zero.*cannot be asked with"):
        gallery = gallery_of(np.eye(2), list("ab"), queries=([[1, 0], [0, 0], [0, 1]], list("aab")))
    assert gallery.unranked == ()
    assert gallery.unranked_queries == (1,)
    with pytest.raises(ValueError, match=r"image 1 \('image 1'\) has length zero"):
        gallery.search(1)
    assert np.isnan(gallery.score(1, [0, 1])).all()
    frame = gallery.per_query()
    assert frame["evaluated"].tolist() == [True, False, True]
    assert frame["first_hit_rank"].tolist() == [1, 0, 1]
    assert gallery.evaluate().dropped == 1


def slow_judgement(gallery, query):
    label = str(gallery.query_labels[query])
    ranking = gallery.search(query, k=len(gallery))
    relevance = [str(found) == label for found in ranking.labels]
    total = sum(relevance)
    if total == 0:
        return None
    first = relevance.index(True)
    return {
        "first_hit_rank": first + 1,
        "right": int(ranking.ids[first]),
        "wrong": int(ranking.ids[relevance.index(False)]) if False in relevance else -1,
        "r_precision": sum(relevance[:total]) / total,
        "average": sum(sum(relevance[: i + 1]) / (i + 1) for i in range(total) if relevance[i]) / total,
    }


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(1, 25),
    asking=st.integers(1, 25),
    classes=st.integers(1, 6),
    ties=st.booleans(),
    leave_out=st.sampled_from(["self", "same-camera", None]),
    own=st.booleans(),
)
def test_metrics_equal_their_slow_twins_under_every_rule(seed, count, asking, classes, ties, leave_out, own):
    random = np.random.default_rng(seed)

    def some(number):
        rows = random.integers(-1, 2, (number, 3)) if ties else random.standard_normal((number, 3))
        rows = rows.astype(float)
        rows[~rows.any(axis=1)] = 1
        return rows, [str(c - 1) for c in random.integers(0, classes, number)], random.integers(0, 3, number)

    rows, labels, cameras = some(count)
    gallery = gallery_of(
        rows, labels, cameras=cameras, queries=None if own else some(asking), leave_out=leave_out
    )
    number = len(gallery.queries)
    slow = [slow_judgement(gallery, i) for i in range(number)]
    frame = gallery.per_query()
    assert frame["evaluated"].tolist() == [judged is not None for judged in slow]
    answered = [i for i in range(number) if slow[i] is not None]
    if not answered:
        with pytest.raises(ValueError, match=r"of its class"):
            gallery.evaluate()
        return
    for column in ("first_hit_rank", "right", "wrong"):
        assert frame.loc[answered, column].tolist() == [slow[i][column] for i in answered]
    result = gallery.evaluate()
    assert result.query_ids.tolist() == answered
    np.testing.assert_allclose(result.r_precision_per_query, [slow[i]["r_precision"] for i in answered])
    np.testing.assert_allclose(
        result.average_precision_at_r_per_query, [slow[i]["average"] for i in answered]
    )


def test_failures_name_both_sides():
    gallery = gallery_of(
        [[1, 0], [0, 1], [1, 1]], list("aab"), queries=([[1, 0], [1, 0.9], [0, 1]], ["a", "a", "c"])
    )
    failures = gallery.failures()
    assert failures["query"].tolist() == [1]
    assert failures["wrong"].tolist() == [2]
    assert failures["wrong_label"].tolist() == ["b"]
    assert failures["label"].tolist() == ["a"]
    assert failures["right"].tolist() == [0]
    result = gallery.evaluate()
    assert result.query_ids.tolist() == [0, 1]
    assert result.dropped == 1
    assert result.recall[1] == 0.5
    with pytest.raises(ValueError, match="no query has an image of its class in the gallery"):
        gallery_of(np.eye(2), list("ab"), queries=([[1, 0]], ["c"])).evaluate()


def test_labels_are_needed_on_both_sides():
    queries = ([[1, 0]], None)
    gallery = gallery_of(np.eye(2), list("ab"), queries=queries)
    assert gallery.query_labels is None
    assert gallery.search(0).hits is None
    assert gallery.search(0).labels.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="the queries of this gallery have no labels"):
        gallery.evaluate()
    with pytest.raises(ValueError, match="this gallery has no labels"):
        gallery_of(np.eye(2), None, queries=([[1, 0]], ["a"])).failures()


def test_both_sides_share_the_memory_for_local_embeddings(aerial, ground, embedder, ground_embedder):
    size = 4 * (6 * 5 + 5)
    gallery = Gallery(
        aerial,
        embedder,
        embedder.embed(list(aerial)),
        queries=ground,
        query_embedder=ground_embedder,
        query_embeddings=ground_embedder.embed(list(ground)),
        cache_bytes=4 * size,
    )
    embedder.calls.clear()
    gallery.local_embeddings_of(range(12))
    gallery.local_embeddings_of([10, 11])
    assert embedder.calls == [12]
    gallery.local_embeddings(9)
    assert embedder.calls == [12, 1]
