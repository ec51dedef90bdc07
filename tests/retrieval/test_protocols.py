"""Protocols by name: golden numbers, hand cases, and the definitions word by word."""

import numpy as np
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

import dmlviz.retrieval.full_ranking as full_ranking
from dmlviz.retrieval.metrics import average_precision, average_precision_trapezoid


def line_up(hits):
    """A gallery whose only query, of person a and camera 0, finds right (1) and wrong (0) images in this order."""
    degrees = np.deg2rad(5.0 * np.arange(len(hits)))
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    labels = ["a" if hit else "b" for hit in hits]
    return gallery_of(rows, labels, cameras=[1] * len(hits), queries=([[1, 0]], ["a"], [0]))


def slow_area(hits, total):
    """Market-1501's own way to the average precision: down the list, trapezoid by trapezoid."""
    area, old_recall, old_precision, found = 0.0, 0.0, 1.0, 0
    for place, hit in enumerate(hits):
        found += hit
        recall, precision = found / total, found / (place + 1)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


def test_golden_numbers():
    # hits at ranks 1, 2, 4, 7 of R = 4
    ranks = np.array([1, 2, 4, 7])
    assert (
        average_precision(ranks)
        == pytest.approx((1 + 1 + 3 / 4 + 4 / 7) / 4)
        == pytest.approx(0.830357, abs=1e-6)
    )
    assert average_precision_trapezoid(ranks) == pytest.approx(0.811012, abs=1e-6)
    result = line_up([1, 1, 0, 1, 0, 0, 1, 0, 0]).evaluate(protocol="market1501")
    assert result.values["mAP"] == pytest.approx(0.830357, abs=1e-6)
    assert result.values["mAP (trapezoid)"] == pytest.approx(0.811012, abs=1e-6)
    assert result.values["mINP"] == pytest.approx(4 / 7)
    assert result.values["CMC@1"] == 1.0
    for perfect in ([1, 1, 1], [1, 0, 0]):
        values = line_up(perfect).evaluate(protocol="market1501").values
        assert values["mAP"] == values["mAP (trapezoid)"] == values["mINP"] == values["CMC@1"] == 1.0
    late = line_up([0, 0, 1]).evaluate((1, 2, 3), protocol="market1501").values
    assert (late["CMC@1"], late["CMC@2"], late["CMC@3"]) == (0.0, 0.0, 1.0)
    assert late["mAP"] == pytest.approx(1 / 3)
    assert late["mAP (trapezoid)"] == pytest.approx(1 / 6)


@settings(deadline=None, max_examples=30)
@given(hits=st.lists(st.integers(0, 1), min_size=1, max_size=30).filter(any))
def test_both_areas_equal_their_slow_twins(hits):
    values = line_up(hits).evaluate(protocol="market1501").values
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits)) if hits[i]]
    assert values["mAP"] == pytest.approx(sum(precisions) / sum(hits), abs=1e-12)
    assert values["mAP (trapezoid)"] == pytest.approx(slow_area(hits, sum(hits)), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(1, 40),
    ties=st.booleans(),
    own=st.booleans(),
    rule=st.sampled_from(["self", "same-camera", None]),
)
def test_market_word_by_word(seed, count, ties, own, rule):
    random = np.random.default_rng(seed)

    def some(number):
        rows = random.integers(-1, 2, (number, 3)) if ties else random.standard_normal((number, 3))
        rows = rows.astype(float)
        rows[~rows.any(axis=1)] = 1
        return (
            rows,
            [str(p - 1) for p in random.integers(0, 5, number)],
            random.integers(0, 3, number).tolist(),
        )

    rows, labels, cameras = some(count)
    asking = None if own else some(12)
    gallery = gallery_of(rows, labels, cameras=cameras, queries=asking, leave_out=rule)
    _, asked_labels, asked_cameras = (rows, labels, cameras) if own else asking
    expected = {"CMC@1": [], "CMC@5": [], "mAP": [], "mAP (trapezoid)": [], "mINP": []}
    answered, tied = [], 0
    for query in range(len(asked_labels)):
        everything = gallery.search(query, k=count, exclude_self=False)
        kept = [
            (int(i), float(s))
            for i, s in zip(everything.ids, everything.similarities, strict=True)
            if labels[i] != "-1"
            and not (labels[i] == asked_labels[query] and cameras[i] == asked_cameras[query])
        ]
        hits = [labels[i] == asked_labels[query] for i, _ in kept]
        if not any(hits):
            continue
        answered.append(query)
        right = {s for (_, s), hit in zip(kept, hits, strict=True) if hit}
        tied += any(s in right for (_, s), hit in zip(kept, hits, strict=True) if not hit)
        expected["CMC@1"].append(any(hits[:1]))
        expected["CMC@5"].append(any(hits[:5]))
        precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits)) if hits[i]]
        expected["mAP"].append(np.mean(precisions))
        expected["mAP (trapezoid)"].append(slow_area(hits, sum(hits)))
        expected["mINP"].append(sum(hits) / max(i + 1 for i in range(len(hits)) if hits[i]))
    if not answered:
        with pytest.raises(
            ValueError, match=r"no query has an image of its label to find .* from another camera"
        ):
            gallery.evaluate(protocol="market1501")
        return
    result = gallery.evaluate(protocol="market1501")
    assert result.query_ids.tolist() == answered
    assert result.dropped == len(asked_labels) - len(answered)
    assert result.tied == tied
    for name, values in expected.items():
        assert result.values[name] == pytest.approx(np.mean(values), abs=1e-12)
    np.testing.assert_allclose(result.per_query["average_precision"], expected["mAP"])


def test_market_by_hand():
    # Person a, camera 1 asks. In order of nearness: a from camera 1 (removed), junk (removed), a distractor, a from
    # camera 2, b, a from camera 3: hits at ranks 2 and 4 of what remains.
    degrees = np.deg2rad([2, 4, 6, 8, 10, 12])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    gallery = gallery_of(
        rows,
        ["a", "-1", "0", "a", "b", "a"],
        cameras=[1, 2, 3, 2, 2, 3],
        queries=([[1, 0], [0, 1]], ["a", "c"], [1, 1]),
    )
    result = gallery.evaluate(protocol="market1501")
    assert result.values["CMC@1"] == 0.0
    assert result.values["CMC@5"] == 1.0
    assert result.values["mAP"] == 0.5
    assert result.values["mAP (trapezoid)"] == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert result.values["mINP"] == 0.5
    assert (result.dropped, result.tied) == (1, 0)
    assert result.per_query["first_hit_rank"].tolist() == [2]
    assert result.per_query["relevant"].tolist() == [2]
    assert "from another camera" not in result.definition
    assert 'those labelled "-1", are removed' in result.definition
    assert repr(result).startswith("market1501: 1 queries, 1 left out\n  CMC@1 0.0000  CMC@5 1.0000")
    with pytest.raises(TypeError):
        result.values["mAP"] = 1.0


def places(count, shift, similarity="cosine"):
    """Place i is found at rank shift + 1: its view points `shift` places further round the circle."""
    angles = 2 * np.pi * np.arange(count) / count
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    asking = np.roll(rows, -shift, axis=0)
    labels = [f"place {i}" for i in range(count)]
    return gallery_of(rows, labels, similarity, queries=(asking, labels))


def test_one_percent_of_places():
    exact = places(500, 0).evaluate(protocol="cvusa")
    assert set(exact.values.values()) == {1.0}
    assert list(exact.values) == ["recall@1", "recall@5", "recall@10", "recall@1%", "recall@1%+1"]
    # The place lies `shift` steps off, with shift images nearer on its side and shift - 1 on the other: rank 2·shift,
    # or 2·shift + 1 where the other image at the same distance comes first.
    for shift, ranks, at_five, at_six in ((2, {4, 5}, 1.0, 1.0), (3, {6, 7}, 0.0, None)):
        result = places(500, shift).evaluate(protocol="cvusa")
        first = result.per_query["first_hit_rank"]
        assert set(first.tolist()) <= ranks
        assert result.values["recall@1%"] == at_five == (first <= 5).mean()
        assert result.values["recall@1%+1"] == (first <= 6).mean()
        if at_six is not None:
            assert result.values["recall@1%+1"] == at_six
    assert "among the first 5 of 500 (1 %, rounded down, at least 1)" in exact.definition
    few = places(60, 0).evaluate(protocol="cvusa")
    assert "among the first 1 of 60" in few.definition
    assert few.values["recall@1%"] == 1.0


def test_places_by_hand():
    gallery = gallery_of(
        np.eye(3), list("xyz"), queries=([[3, 2, 1], [3, 2, 1], [3, 2, 1], [1, 1, 1]], ["x", "y", "z", "w"])
    )
    result = gallery.evaluate((1, 2, 3), protocol="cvusa")
    assert [result.values[f"recall@{k}"] for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert result.dropped == 1
    collapsed = gallery_of(np.ones((3, 2)), list("xyz"), queries=(np.ones((3, 2)), list("xyz")))
    result = collapsed.evaluate(protocol="cvusa")
    assert result.values["recall@1"] == pytest.approx(1 / 3)  # published code would say 1
    assert result.tied == 3
    assert repr(result).startswith("cvusa: 3 queries, 3 with ties")


def test_refuses():
    gallery = gallery_of(np.eye(4), list("aabb"), cameras=[1, 2, 1, 2])
    with pytest.raises(
        ValueError, match=r"protocol must be one of 'cub', 'cars', .*, 'lfw', 'cvusa'.*; got 'oxford'"
    ):
        gallery.evaluate(protocol="oxford")
    with pytest.raises(ValueError, match="the protocol 'cvusa' needs a query set"):
        gallery.evaluate(protocol="cvusa")
    with pytest.raises(ValueError, match="recall_at must hold whole numbers of at least 1"):
        gallery.evaluate((0,), protocol="market1501")
    with pytest.raises(ValueError, match="no column 'camera'"):
        gallery_of(np.eye(4), list("aabb")).evaluate(protocol="market1501")
    with pytest.raises(ValueError, match="no query has an image of its label to find in the gallery; look"):
        gallery_of(np.eye(2), list("ab"), queries=([[1, 0]], ["c"])).evaluate(protocol="cvusa")
    assert gallery.evaluate(protocol="market1501").values["CMC@5"] == 1.0


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(3)
    rows, cameras = random.integers(-1, 2, (90, 4)) + 0.5, random.integers(0, 3, 90)
    labels = [str(p) for p in random.integers(0, 9, 90)]
    whole = gallery_of(rows, labels, cameras=cameras).evaluate(protocol="market1501")
    monkeypatch.setattr(full_ranking, "_CELLS", 90 * 7)
    monkeypatch.setattr(full_ranking, "_NUMBERS", 300 * 4)
    again = gallery_of(rows, labels, cameras=cameras).evaluate(protocol="market1501")
    assert dict(again.values) == dict(whole.values)
    assert again.tied == whole.tied > 0
