"""Galleries that rank by minus the squared distance of the un-normalised embeddings."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_gallery import DIM, GRID, FakeEmbedder, blank_images, coloured_images, gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.index import GalleryIndex
from dmlviz.retrieval import Gallery, verification
from dmlviz.retrieval.full_ranking import scored_blocks
from dmlviz.retrieval.storage import GalleryError, check_of


def slow_scores(rows, query):
    """−Σ_d (q_d − g_d)², one number at a time."""
    return [-sum((float(a) - float(b)) ** 2 for a, b in zip(query, row, strict=True)) for row in rows]


@pytest.fixture
def near():
    """A labelled gallery of noisy pictures, ranked by distance."""
    images, embedder = coloured_images(), FakeEmbedder()
    return Gallery(images, embedder, embedder.embed(list(images)), "l2")


def test_ranks_by_minus_the_squared_distance(near):
    for query in range(0, 24, 5):
        ranking = near.search(query, k=23)
        slow = np.array(slow_scores(near.embeddings, near.embeddings[query]), dtype=np.float32)
        np.testing.assert_array_equal(ranking.similarities, slow[ranking.ids])
        assert (np.diff(ranking.similarities) <= 0).all()
        assert (ranking.similarities <= 0).all()
        assert sorted([query, *ranking.ids]) == list(range(24))
        np.testing.assert_array_equal(near.score(query, ranking.ids), ranking.similarities)
    assert near.index.metric == "l2"
    assert ", l2, " in repr(near)


def test_by_hand():
    near = gallery_of([[0, 0], [3, 4], [6, 8], [1, 0]], similarity="l2")
    ranking = near.search(0, k=3)
    assert ranking.ids.tolist() == [3, 1, 2]
    assert ranking.similarities.tolist() == [-1, -25, -100]
    cosine = gallery_of([[1, 0], [3, 4], [6, 8], [2, 0]], similarity="cosine")
    assert cosine.search(1, k=3).ids.tolist()[0] == 2  # the same direction, however far away


def test_an_embedding_of_length_zero_is_as_good_as_any():
    near = gallery_of([[0, 0], [3, 4], [1, 0]], labels=["a", "b", "a"], similarity="l2")
    assert near.unranked == near.unranked_queries == ()
    assert near.search(0, k=2).ids.tolist() == [2, 1]
    assert near.score(0, [0, 1]).tolist() == [0, -25]
    assert near.evaluate().precision_at_1 == 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_at_unit_length_it_ranks_as_the_cosine_does(seed):
    rows = np.random.default_rng(seed).normal(size=(12, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near, cosine = (gallery_of(rows, similarity=name) for name in ("l2", "cosine"))
    for query in range(12):
        by_distance, by_cosine = near.search(query, k=11), cosine.search(query, k=11)
        assert by_distance.ids.tolist() == by_cosine.ids.tolist()
        np.testing.assert_allclose(by_distance.similarities, 2 * by_cosine.similarities - 2, atol=2e-6)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 999), off=st.sampled_from([0.0, 1e3, 1e5]), alike=st.sampled_from([0.0, 1e-4, 1.0])
)
def test_full_rankings_hold_the_numbers_of_the_index(seed, off, alike):
    random = np.random.default_rng(seed)
    rows = (off + random.normal(size=(30, 7)) * alike).astype(np.float32)
    rows[20:] = rows[:10]  # each of these twice
    index = GalleryIndex.build(rows, metric="l2")
    ids = np.broadcast_to(np.arange(30), (30, 30))
    none = [np.zeros(0, dtype=np.int64)] * 30
    scores = np.empty((30, 30), dtype=np.float32)
    for block, some in scored_blocks(rows, rows, none, np.arange(30), "l2"):
        scores[block] = some
    np.testing.assert_allclose(scores, index.similarity(rows, ids), rtol=3e-7)
    assert (np.diagonal(scores) == 0).all()
    assert (scores[np.arange(10), np.arange(20, 30)] == 0).all()
    assert (scores <= 0).all()


def test_metrics_and_failures_follow_the_searches(near):
    per_query, failures = near.per_query(), near.failures()
    for query in range(24):
        ranking = near.search(query, k=23)
        first = int(np.argmax(ranking.hits)) + 1
        assert per_query.first_hit_rank[query] == first
        right, wrong = (ranking.similarities[ranking.hits == hit][0] for hit in (True, False))
        assert per_query.margin[query] == pytest.approx(float(right) - float(wrong), rel=1e-6)
    assert near.evaluate().precision_at_1 == per_query.hit.mean()
    assert set(failures["query"]) == set(np.flatnonzero(~per_query.hit))
    assert (failures["wrong_similarity"] <= 0).all()


def test_a_gallery_where_distance_and_cosine_disagree_is_judged_by_distance():
    rows = [[1, 0], [10, 0], [1.1, 0.5], [11, 3]]
    labels = ["short", "long", "short", "long"]
    assert gallery_of(rows, labels, "l2").evaluate().precision_at_1 == 1
    assert gallery_of(rows, labels, "cosine").evaluate().precision_at_1 == 0


def test_protocols_and_verification_go_by_distance(near):
    rows, labels = [[1, 0], [10, 0], [1.1, 0.5], [11, 3]], ["short", "long", "short", "long"]
    by_distance = gallery_of(rows, labels, "l2")
    assert by_distance.evaluate(protocol="map@r").values["MAP@R"] == 1
    pairs = [(0, 2), (0, 1), (1, 3), (2, 3)] * 3
    judged = verification(by_distance, pairs, folds=2)
    assert judged.auc == 1
    expected = [slow_scores([rows[b]], rows[a])[0] for a, b in pairs]
    np.testing.assert_allclose(judged.similarities, expected, rtol=1e-6)
    assert judged.threshold < 0


def test_re_identification_by_distance():
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(4), 4)
    rows = random.normal(size=(4, 6))[people] * 3 + random.normal(size=(16, 6)) * 0.1
    cameras = np.tile([1, 1, 2, 2], 4)
    near = gallery_of(rows, [f"{p}" for p in people], "l2", cameras=cameras, leave_out="same-camera")
    assert near.evaluate(protocol="market1501").values["mAP"] == pytest.approx(1)
    assert set(near.search(0, k=2).ids) == {2, 3}


def test_another_query_set_asks_by_distance():
    near = gallery_of(
        [[0, 0], [3, 4]], ["a", "b"], "l2", queries=([[3, 3], [0, 0]], ["b", "a"]), leave_out=None
    )
    assert near.search(0, k=2).similarities.tolist() == [-1, -18]
    assert near.search(1, k=2).ids.tolist() == [0, 1]
    assert near.evaluate().precision_at_1 == 1


@pytest.mark.parametrize(("kind", "options"), [("hnsw", {}), ("ivf", {"lists": 4}), ("sq8", {}), ("SQ8", {})])
def test_other_kinds_of_index_report_the_same_distances(kind, options):
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 8)).astype(np.float32) + 5
    near = Gallery(blank_images(200), _of(8), rows, "l2", kind=kind, index_options=options)
    assert near.index.metric == "l2"
    ranking = near.search(3, k=5)
    assert ranking.approximate
    expected = np.array(slow_scores(rows, rows[3]), dtype=np.float32)[ranking.ids]
    np.testing.assert_array_equal(ranking.similarities, expected)
    assert near.recall(5, sample=20).recall > 0.5
    gaps = near.quantised_gap(3, [1, 2])
    assert np.isfinite(gaps).all()
    assert (np.abs(gaps).max() > 0) == (kind.lower() == "sq8")


def _of(dim):
    embedder = FakeEmbedder()
    embedder.dim = dim
    return embedder


# --- regions ------------------------------------------------------------------------------------


def slow_part(gallery, query, weights, item):
    """Σ over the region's cells i of w_i (2⟨xᵢ, e_g⟩ − ⟨xᵢ, e_q⟩), the other image's cells one by one."""
    mine, other = gallery.local_embeddings(query), gallery.local_embeddings(item)
    total = 0.0
    for cell in np.ndindex(*GRID):
        x = mine.vectors[cell].astype(float)
        part = 2 * (x @ other.offset.astype(float)) - x @ mine.offset.astype(float)
        for one in np.ndindex(*GRID):
            part += 2 * (x @ other.vectors[one].astype(float)) - x @ mine.vectors[one].astype(float)
        total += weights[cell] * part
    return total


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99), query=st.integers(0, 11), binary=st.booleans())
def test_a_region_ranks_by_its_part_of_the_score(seed, query, binary):
    images, embedder = coloured_images(12), FakeEmbedder()
    near = Gallery(images, embedder, embedder.embed(list(images)), "l2")
    random = np.random.default_rng(seed)
    weights = random.random(GRID) if not binary else random.random(GRID) < 0.5
    weights[0, 0] = 1
    ranking = near.search_region(query, weights, k=12)
    assert ranking.ranked_by == "region"
    assert query not in ranking.ids
    assert len(ranking) == 11
    expected = [slow_part(near, query, weights, item) for item in ranking.ids]
    np.testing.assert_allclose(ranking.similarities, expected, atol=1e-5)
    assert (np.diff(ranking.similarities) <= 0).all()


def test_regions_and_what_belongs_to_none_add_up_to_the_score(near):
    left = np.array([[1, 1, 0], [1, 0, 0]], dtype=bool)
    parts = {}
    for mask in (left, ~left):
        ranking = near.search_region(2, mask, k=99)
        for i, value in zip(ranking.ids.tolist(), ranking.similarities.tolist(), strict=True):
            parts[i] = parts.get(i, 0.0) + value
    local = near.query_local(2)
    own = local.embedding.astype(float)
    for i, part in parts.items():
        e_g = near.embeddings[i].astype(float)
        rest = local.offset @ (2 * e_g - own) - e_g @ e_g
        assert part + rest == pytest.approx(near.score(2, [i])[0], abs=1e-5)


def test_a_region_reads_all_rows_whatever_the_index(near):
    rough = Gallery(near.images, near.embedder, near.embeddings, "l2", kind="ivf", index_options={"lists": 4})
    mask = np.zeros(GRID)
    mask[1, 1] = 1
    ranking = rough.search_region(0, mask, k=23)
    assert not ranking.approximate
    assert ranking.ids.tolist() == near.search_region(0, mask, k=23).ids.tolist()
    with pytest.raises(ValueError, match="k must be at least 1"):
        near.search_region(0, mask, k=0)


def test_there_is_no_scale(near):
    with pytest.raises(ValueError, match=r"no multiple of a dot product.*ranking_maps"):
        near.scale(near.embeddings[0], [1])


# --- kept, made anew ------------------------------------------------------------------------------


def test_kept_and_opened_again(tmp_path, embedding):
    images, embedder = coloured_images(), FakeEmbedder()
    built = Gallery.build(images, embedder, tmp_path / "near", similarity="l2", progress=False)
    for options in ({}, {"mapped": True}):
        again = Gallery.open(tmp_path / "near", embedder, images=images, **options)
        assert again.similarity == "l2"
        assert again.index.metric == "l2"
        np.testing.assert_array_equal(again.search(3).ids, built.search(3).ids)
        np.testing.assert_array_equal(again.search(3).similarities, built.search(3).similarities)
        assert again.evaluate().map_at_r == built.evaluate().map_at_r
        mask = np.eye(*GRID)
        np.testing.assert_array_equal(
            again.search_region(3, mask).similarities, built.search_region(3, mask).similarities
        )
    with pytest.raises(GalleryError, match="similarity 'l2'"):
        Gallery.build(images, embedder, tmp_path / "near", similarity="cosine", progress=False)
    again = Gallery.build(images, embedder, tmp_path / "near", similarity="l2", progress=False)
    assert embedding.computed == 24  # opened, not built again
    assert again.similarity == "l2"


def test_an_index_of_another_metric_is_refused(tmp_path, embedding, near):
    other = GalleryIndex.build(near.embeddings)
    with pytest.raises(ValueError, match="needs an index with metric='l2', got one with metric='ip'"):
        Gallery(near.images, near.embedder, near.embeddings, "l2", index=other)
    path = tmp_path / "near"
    Gallery.build(near.images, near.embedder, path, similarity="l2", progress=False)
    sidecar = json.loads((path / "gallery.json").read_text())
    sidecar["similarity"] = "dot"
    sidecar["check"] = check_of(sidecar)
    (path / "gallery.json").write_text(json.dumps(sidecar))
    with pytest.raises(GalleryError, match="similarity 'dot', its index compares by 'l2'"):
        Gallery.open(path, near.embedder, images=near.images)


def test_extended_and_subsets_rank_by_distance(near, embedding):
    more = near.extended(coloured_images(4, seed=9), progress=False)
    some = near.subset([0, 4, 8, 1])
    for gallery in (more, some):
        assert gallery.similarity == "l2"
        slow = np.array(slow_scores(gallery.embeddings, gallery.embeddings[0]), dtype=np.float32)
        ranking = gallery.search(0, k=3)
        np.testing.assert_array_equal(ranking.similarities, slow[ranking.ids])
    assert len(more) == 28


def test_unknown_similarities_are_refused_with_the_three_names(near):
    with pytest.raises(ValueError, match="one of 'cosine', 'dot', 'l2'; got 'euclid'"):
        Gallery(near.images, near.embedder, near.embeddings, "euclid")


def test_the_frame_of_a_ranking_holds_the_distances(near):
    frame = near.search(0, k=4).to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert (frame["similarity"] <= 0).all()
    assert near.embedder.dim == DIM
