"""Recall@k, MAP@R, mAP and mAP@k by name: by hand, and against slow twins on random rankings."""

import tracemalloc
import warnings

import numpy as np
import pytest
from fake_gallery import gallery_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.retrieval import PROTOCOLS
from dmlviz.retrieval.protocols.reading import ranks_of


def line_up(hits):
    """A gallery whose only query finds right (1) and wrong (0) images in this order."""
    degrees = np.deg2rad(np.linspace(0, 90, len(hits)))
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    return gallery_of(rows, ["a" if hit else "b" for hit in hits], queries=([[1, 0]], ["a"]))


def some_gallery(seed, count, classes, ties, own, lost):
    """Random rows; ties, lone labels and embeddings of length zero where asked for."""
    random = np.random.default_rng(seed)

    def some(number):
        rows = random.integers(-1, 2, (number, 3)) if ties else random.standard_normal((number, 3))
        rows = rows.astype(float)
        rows[~rows.any(axis=1)] = 1
        rows[random.random(number) < lost] = 0
        return rows, [f"c{c}" for c in random.integers(0, classes, number)]

    rows, labels = some(count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return gallery_of(rows, labels, queries=None if own else some(9))


def rankings(gallery, own):
    """For each query: its id, the relevance of what it ranks, whether a right and a wrong one are tied, ids."""
    for query in range(len(gallery.queries)):
        if query in gallery.unranked_queries:
            continue
        found = gallery.search(query, k=len(gallery), exclude_self=False)
        kept = [
            (int(i), float(s))
            for i, s in zip(found.ids, found.similarities, strict=True)
            if not (own and i == query)
        ]
        hits = [str(gallery.labels[i]) == str(gallery.query_labels[query]) for i, _ in kept]
        right = {s for (_, s), hit in zip(kept, hits, strict=True) if hit}
        tied = any(s in right for (_, s), hit in zip(kept, hits, strict=True) if not hit)
        if any(hits):
            ids = [i for i, _ in kept]
            wrong = ids[hits.index(False)] if False in hits else -1
            yield query, hits, tied, ids[hits.index(True)], wrong


RANDOM = given(
    seed=st.integers(0, 9999),
    count=st.integers(2, 40),
    classes=st.integers(1, 12),
    ties=st.booleans(),
    own=st.booleans(),
    lost=st.sampled_from([0.0, 0.2]),
)


def check_queries(result, gallery, expected):
    assert result.query_ids.tolist() == [query for query, *_ in expected]
    assert result.valid == len(expected)
    assert result.dropped == len(gallery.queries) - len(expected)
    assert result.per_query["tied"].tolist() == [tied for _, _, tied, _, _ in expected]
    assert result.tied == sum(tied for _, _, tied, _, _ in expected)
    assert result.per_query["first_hit_rank"].tolist() == [hits.index(True) + 1 for _, hits, *_ in expected]
    assert result.per_query["relevant"].tolist() == [sum(hits) for _, hits, *_ in expected]
    assert result.per_query["right"].tolist() == [right for *_, right, _ in expected]
    assert result.per_query["wrong"].tolist() == [wrong for *_, wrong in expected]


def precision(hits, i):
    return sum(hits[:i]) / i


@settings(deadline=None, max_examples=25)
@RANDOM
def test_recall_equals_its_slow_twin(seed, count, classes, ties, own, lost):
    gallery = some_gallery(seed, count, classes, ties, own, lost)
    expected = list(rankings(gallery, own))
    names = ("cub", "cars", "sop") if own else ("in-shop",)
    for name in names:
        if not expected:
            with pytest.raises(ValueError, match="no query has an image of its label to find in the gallery"):
                gallery.evaluate(protocol=name)
            continue
        result = gallery.evaluate(protocol=name)
        check_queries(result, gallery, expected)
        assert list(result.values) == [f"recall@{k}" for k in PROTOCOLS[name].ks]
        for k in PROTOCOLS[name].ks:
            share = sum(any(hits[:k]) for _, hits, *_ in expected) / len(expected)
            assert result.values[f"recall@{k}"] == pytest.approx(share, abs=1e-12)


@settings(deadline=None, max_examples=25)
@RANDOM
def test_average_precisions_equal_their_slow_twins(seed, count, classes, ties, own, lost):
    gallery = some_gallery(seed, count, classes, ties, own, lost)
    expected = list(rankings(gallery, own))
    if not expected:
        return
    full, at_r, among_r, first = [], [], [], []
    at_k = {k: {"R": [], "min": [], "hits": []} for k in (1, 3, 10)}
    for _, hits, *_ in expected:
        total = sum(hits)
        places = [i + 1 for i, hit in enumerate(hits) if hit]
        full.append(sum(precision(hits, i) for i in places) / total)
        at_r.append(sum(precision(hits, i) for i in places if i <= total) / total)
        among_r.append(sum(hits[:total]) / total)
        first.append(hits[0])
        for k, lists in at_k.items():
            area = sum(precision(hits, i) for i in places if i <= k)
            within = sum(hits[:k])
            lists["R"].append(area / total)
            lists["min"].append(area / min(total, k))
            lists["hits"].append(area / within if within else 0.0)
    result = gallery.evaluate(protocol="map@r")
    check_queries(result, gallery, expected)
    np.testing.assert_allclose(result.per_query["average_precision_at_r"], at_r, atol=1e-9, rtol=0)
    np.testing.assert_allclose(result.per_query["r_precision"], among_r, atol=1e-9, rtol=0)
    assert dict(result.values) == pytest.approx(
        {"MAP@R": np.mean(at_r), "R-precision": np.mean(among_r), "precision@1": np.mean(first)}, abs=1e-9
    )
    plain = gallery.evaluate((1,))
    assert result.values["MAP@R"] == pytest.approx(plain.map_at_r, abs=1e-12)
    assert result.values["R-precision"] == pytest.approx(plain.r_precision, abs=1e-12)
    result = gallery.evaluate(protocol="map")
    check_queries(result, gallery, expected)
    np.testing.assert_allclose(result.per_query["average_precision"], full, atol=1e-9, rtol=0)
    assert dict(result.values) == pytest.approx({"mAP": np.mean(full)}, abs=1e-9)
    result = gallery.evaluate((1, 3, 10), protocol="map@k")
    check_queries(result, gallery, expected)
    for k, lists in at_k.items():
        for name, values in zip(
            (f"mAP@{k} (of R)", f"mAP@{k} (of min(R, {k}))", f"mAP@{k} (of hits)"),
            lists.values(),
            strict=True,
        ):
            np.testing.assert_allclose(result.per_query[name], values, atol=1e-9, rtol=0)
            assert result.values[name] == pytest.approx(np.mean(values), abs=1e-9)


def test_golden_numbers():
    gallery = line_up([1, 1, 0, 1, 0, 0, 1, 0])  # hits at the ranks 1, 2, 4, 7 of R = 4
    assert gallery.evaluate(protocol="map").values["mAP"] == pytest.approx(0.830357, abs=1e-6)
    at_r = gallery.evaluate(protocol="map@r").values
    assert dict(at_r) == {"MAP@R": (1 + 1 + 3 / 4) / 4, "R-precision": 0.75, "precision@1": 1.0}
    at_k = gallery.evaluate((2, 5), protocol="map@k").values
    assert at_k == {
        "mAP@2 (of R)": 0.5,
        "mAP@2 (of min(R, 2))": 1.0,
        "mAP@2 (of hits)": 1.0,
        "mAP@5 (of R)": 2.75 / 4,
        "mAP@5 (of min(R, 5))": 2.75 / 4,
        "mAP@5 (of hits)": pytest.approx(2.75 / 3),
    }


def test_one_ranking_and_three_denominators():
    # Two images looked at: (hit, miss) of R = 2, (miss, hit) of R = 3, (miss, miss) of R = 5.
    for hits, by_r, by_reach, by_hits in (
        ([1, 0, 1], (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)),
        ([0, 1, 0, 1, 1], (0.0, 1 / 6), (0.0, 0.25), (0.0, 0.5)),
        ([0, 0, 1, 1, 1, 1, 1], (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ):
        values = line_up(hits).evaluate((1, 2), protocol="map@k").values
        for k in (1, 2):
            assert values[f"mAP@{k} (of R)"] == pytest.approx(by_r[k - 1])
            assert values[f"mAP@{k} (of min(R, {k}))"] == pytest.approx(by_reach[k - 1])
            assert values[f"mAP@{k} (of hits)"] == pytest.approx(by_hits[k - 1])


def test_a_duplicate_is_found_and_the_query_itself_is_not():
    # Image 2 is image 0 again: it comes first for 0, by its id and not as whatever lies at similarity 1.
    gallery = gallery_of([[1, 0], [0.9, 0.1], [1, 0], [0, 1]], list("abab"))
    result = gallery.evaluate(protocol="cub")
    assert result.per_query["first_hit_rank"].tolist() == [1, 3, 1, 1]
    assert result.values["recall@1"] == 0.75
    assert "Every image asks, and is itself left out by its id." in result.definition
    # A rule of the gallery's own changes nothing.
    other = gallery_of([[1, 0], [0.9, 0.1], [1, 0], [0, 1]], list("abab"), leave_out=None)
    assert other.evaluate(protocol="cub").values == result.values


def test_words_and_refusals():
    own = gallery_of(np.eye(4), list("aabb"))
    asked = gallery_of(np.eye(2), list("ab"), queries=([[1, 0]], ["a"]))
    with pytest.raises(ValueError, match=r"under the protocol 'sop' the gallery's images ask for each other"):
        asked.evaluate(protocol="sop")
    with pytest.raises(ValueError, match="the protocol 'in-shop' needs a query set"):
        own.evaluate(protocol="in-shop")
    with pytest.raises(ValueError, match="the protocol 'map' has no k; leave recall_at away"):
        own.evaluate((1,), protocol="map")
    with pytest.raises(TypeError, match="the protocol 'map' has no option 'seed'; it takes none"):
        own.evaluate(protocol="map", seed=3)
    with pytest.raises(TypeError, match="the protocol 'clustering' has no option 'k'; it takes seed"):
        own.evaluate(protocol="clustering", k=3)
    with pytest.raises(
        TypeError, match=r"the protocol 'oxford5k' needs judgements=, as in gallery.evaluate\("
    ):
        own.evaluate(protocol="oxford5k")
    with pytest.raises(TypeError, match="the option 'seed' belongs to a protocol; give protocol= as well"):
        own.evaluate(seed=3)
    with pytest.raises(ValueError, match="recall_at must hold whole numbers of at least 1"):
        own.evaluate((0,), protocol="cub")
    with pytest.raises(ValueError, match="this gallery has no labels"):
        gallery_of(np.eye(3)).evaluate(protocol="map")
    for name in ("cub", "map@r", "map", "map@k"):
        result = own.evaluate(protocol=name)
        assert "divided by" in result.definition or "(1/R)" in result.definition
        assert "no interpolation" in result.definition or "without interpolation" in result.definition
        assert repr(result).startswith(f"{name}: 4 queries")
        with pytest.raises(ValueError, match="read-only"):
            result.per_query["first_hit_rank"][0] = 7


def test_a_result_is_remembered():
    gallery = gallery_of(np.eye(4), list("aabb"))
    assert gallery.evaluate(protocol="map") is gallery.evaluate(protocol="map")
    assert gallery.evaluate((1,), protocol="cub") is not gallery.evaluate((2,), protocol="cub")


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(1, 90),
    levels=st.sampled_from([2, 7, 10**6]),
    share=st.floats(0.02, 1),
    gone=st.sampled_from([0.0, 0.3]),
)
def test_ranks_are_places_in_a_stable_sorting(seed, count, levels, share, gone):
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, count).astype(np.float32)
    scores[random.random(count) < gone] = -np.inf
    own = np.flatnonzero((random.random(count) < share) & (scores > -np.inf))
    if len(own) == 0:
        return
    order = sorted(range(count), key=lambda i: (-scores[i], i))
    expected = sorted(order.index(i) + 1 for i in own)
    others = {float(scores[i]) for i in range(count) if i not in own}
    ranks, tied = ranks_of(scores, own)
    assert ranks.tolist() == expected
    assert tied == any(float(scores[i]) in others for i in own)


def test_memory_does_not_grow_with_the_number_of_pairs():
    random = np.random.default_rng(0)
    rows, asking = random.standard_normal((60_000, 8)), random.standard_normal((500, 8))
    labels = [f"c{i % 6_000}" for i in range(60_000)]
    gallery = gallery_of(rows, labels, queries=(asking, labels[:500]))  # all similarities would take 120 MB
    tracemalloc.start()
    try:
        result = gallery.evaluate(protocol="map")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.valid == 500
    assert peak < 90e6  # mostly the similarities of one block, 33 MB in float64 and 17 MB in float32
