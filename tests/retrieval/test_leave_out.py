"""What a query must not find: itself, or its person seen by its camera."""

import numpy as np
import pandas as pd
import pytest
from fake_gallery import FakeEmbedder, blank_images, gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.retrieval import Gallery


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(1, 30),
    k=st.integers(1, 30),
    leave_out=st.sampled_from(["self", "same-camera", None]),
    own=st.booleans(),
)
def test_rankings_hold_what_the_rule_leaves(seed, count, k, leave_out, own):
    random = np.random.default_rng(seed)
    rows = random.integers(-1, 2, (count, 4)).astype(float)
    rows[~rows.any(axis=1)] = 1
    labels = [str(person - 1) for person in random.integers(0, 4, count)]
    cameras = random.integers(0, 3, count).tolist()
    asking = rows[::-1].copy(), labels[::-1], cameras[::-1]
    gallery = gallery_of(rows, labels, cameras=cameras, queries=None if own else asking, leave_out=leave_out)
    full = gallery_of(rows, labels, queries=asking, leave_out=None)
    for query in range(count):
        there = count - 1 - query if own else query
        kept = []
        for item in full.search(there, k=count).ids.tolist():  # every image, in order
            same = labels[item] == asking[1][there] and cameras[item] == asking[2][there]
            if leave_out == "same-camera" and (same or labels[item] == "-1"):
                continue
            if leave_out == "self" and own and item == query:
                continue
            kept.append(item)
        ranking = gallery.search(query, k=k)
        assert ranking.ids.tolist() == kept[:k]
        assert ranking.left_out == (None if leave_out == "self" and not own else leave_out)
        assert len(gallery.search(query, k=count, exclude_self=False)) == count


def test_hand_worked_cameras():
    # A query of person 7 from camera 1: image 0 is its own picture, 1 the same person and camera, 2 the same person
    # elsewhere, 3 another person of camera 1, 4 junk, 5 a distractor.
    degrees = np.deg2rad([0, 5, 40, 20, 10, 30])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    labels, cameras = ["7", "7", "7", "8", "-1", "0"], [1, 1, 2, 1, 3, 3]
    gallery = gallery_of(rows, labels, cameras=cameras, leave_out="same-camera")
    ranking = gallery.search(0, k=9)
    assert ranking.ids.tolist() == [3, 5, 2]
    assert ranking.hits.tolist() == [False, False, True]
    assert ranking.left_out == "same-camera"
    assert gallery.search(0, k=2).ids.tolist() == [3, 5]
    assert gallery.search(0, k=9, exclude_self=False).left_out is None
    frame = gallery.per_query()
    # Only 0, 1 (who look for 2) and 2 (who looks for 0 and 1) have anyone to find.
    assert frame["evaluated"].tolist() == [True, True, True, False, False, False]
    assert frame["first_hit_rank"].tolist() == [3, 3, 3, 0, 0, 0]  # 2 finds 5, 3 and then 1
    assert frame["right"].tolist()[:3] == [2, 2, 1]
    assert gallery.evaluate().dropped == 3
    assert "leave_out 'same-camera'" in repr(gallery)


def test_a_new_picture_has_no_camera():
    rows = np.eye(3)
    gallery = gallery_of(rows, ["a", "a", "-1"], cameras=[1, 1, 1], leave_out="same-camera")
    embedder = FakeEmbedder()
    gallery.query_embedder.local_embeddings = embedder.local_embeddings
    gallery.query_embedder.embed = lambda images: np.ones((len(images), 3), np.float32)
    ranking = gallery.search(np.zeros((8, 12, 3), np.uint8), k=9)
    assert ranking.ids.tolist() == [0, 1, 2]
    assert ranking.left_out is None


def test_cameras_are_compared_by_what_they_say():
    asking = ([[1, 0]], ["a"], ["2"])
    numbers = gallery_of(np.eye(2), list("aa"), cameras=[2.0, 3.0], queries=asking, leave_out="same-camera")
    assert numbers.search(0, k=9).ids.tolist() == [1]


def test_refuses_rules_that_cannot_hold(images, embedder, embedding):
    rows = np.eye(2)
    with pytest.raises(
        ValueError, match="leave_out must be one of 'self', 'same-camera' or None; got 'camera'"
    ):
        gallery_of(rows, leave_out="camera")
    with pytest.raises(ValueError, match=r"the images have no column 'camera'; there is \['name', 'label'\]"):
        gallery_of(rows, list("ab"), leave_out="same-camera")
    with pytest.raises(
        ValueError, match=r"needs a label and a camera for every image.*the images have no labels"
    ):
        gallery_of(rows, cameras=[1, 2], leave_out="same-camera")
    with pytest.raises(ValueError, match="the queries have no column 'camera'"):
        gallery_of(rows, list("ab"), cameras=[1, 2], queries=([[1, 0]], ["a"]), leave_out="same-camera")
    for missing in (None, float("nan"), pd.NA):
        words = r"among the images it is missing for 1 of 2, the first is image 1 \('image 1'\)"
        with pytest.raises(ValueError, match=words):
            gallery_of(rows, list("ab"), cameras=[1, missing], leave_out="same-camera")
    with pytest.raises(ValueError, match="no column 'camera'"):
        Gallery.build(images, embedder, leave_out="same-camera", progress=False)
    with pytest.raises(ValueError, match="leave_out must be one of"):
        Gallery.build(images, embedder, leave_out="me", progress=False)
    assert embedding.computed == 0


def test_the_rule_is_kept_on_disk(tmp_path, embedding, embedder):
    images = blank_images(6, list("aabbcc"), cameras=[1, 2, 1, 2, 1, 1])
    built = Gallery.build(images, embedder, tmp_path / "g", leave_out="same-camera", progress=False)
    opened = Gallery.open(tmp_path / "g", embedder, images)
    assert opened.leave_out == built.leave_out == "same-camera"
    assert opened.search(4, k=9).ids.tolist() == built.search(4, k=9).ids.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="already holds a gallery, built with leave_out 'same-camera'"):
        Gallery.build(images, embedder, tmp_path / "g", progress=False)
    assert Gallery.build(images, embedder, tmp_path / "n", leave_out=None, progress=False).leave_out is None
    assert Gallery.open(tmp_path / "n", embedder, images).leave_out is None
