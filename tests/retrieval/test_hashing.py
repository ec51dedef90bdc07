"""Hashing metrics: every order of ties counted out, golden cases by hand, and the conventions by name."""

from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz import LocalEmbeddings
from dmlviz.explanation.hamming_distance import hamming_bits
from dmlviz.index import BinaryIndex, pack_bits, sign_bits
from dmlviz.retrieval import hashing_evaluation
from dmlviz.retrieval.tied_ranking import (
    Sums,
    average_precision_of_found,
    average_precision_over_orders,
    precision_over_orders,
)


def every_order(levels):
    """Each order of the ties as a list of hits; `levels` holds a list of hits per distance."""
    for choice in product(*(set(permutations(level)) for level in levels)):
        yield [hit for level in choice for hit in level]


def relevant_ap(hits, k):
    found, total = 0, Fraction(0)
    for rank, hit in enumerate(hits[:k], start=1):
        found += hit
        total += Fraction(found, rank) if hit else 0
    return total / sum(hits)


def found_ap(hits, k):
    """As DeepHash-pytorch's CalcTopMap for one query."""
    places = [rank for rank, hit in enumerate(hits[:k], start=1) if hit]
    if not places:
        return Fraction(0)
    return sum(Fraction(number, rank) for number, rank in enumerate(places, start=1)) / len(places)


def precision(hits, k):
    return Fraction(sum(hits[:k]), k)


def over_orders(levels, number, k):
    """Worst, mean and best; distinct orders of hits and misses are equally many permutations of the items."""
    values = [number(hits, k) for hits in every_order(levels)]
    return min(values), sum(values) / len(values), max(values)


levels_of = st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=3)


@settings(deadline=None, max_examples=25)
@given(levels_of.filter(lambda levels: any(map(any, levels))), st.integers(1, 15))
def test_ties_are_what_all_their_orders_give(levels, k):
    sizes = np.array([[len(level) for level in levels]])
    hits = np.array([[sum(level) for level in levels]])
    count = int(sizes.sum())
    sums, upto = Sums(count), min(k, count)
    for number, judged in [
        (relevant_ap, average_precision_over_orders(sizes, hits, upto, sums)),
        (found_ap, average_precision_of_found(sizes, hits, upto, sums)),
        (precision, precision_over_orders(sizes, hits, upto)),
    ]:
        expected = over_orders(levels, number, upto)
        got = [judged.worst[0], judged.expected[0], judged.best[0]]
        np.testing.assert_allclose(got, [float(value) for value in expected], atol=1e-12)


def test_by_hand():
    # two levels of two, one hit each: hits at ranks 1,3 | 1,4 | 2,3 | 2,4
    judged = average_precision_over_orders(np.array([[2, 2]]), np.array([[1, 1]]), 4, Sums(4))
    assert judged.worst[0] == pytest.approx(1 / 2)
    assert judged.expected[0] == pytest.approx((5 / 6 + 3 / 4 + 7 / 12 + 1 / 2) / 4)
    assert judged.best[0] == pytest.approx(5 / 6)
    # everything ties, one hit among four: the mean of 1/1, 1/2, 1/3, 1/4
    judged = average_precision_over_orders(np.array([[4]]), np.array([[1]]), 4, Sums(4))
    assert (judged.worst[0], judged.expected[0]) == pytest.approx((1 / 4, 25 / 48))
    # a hit, then a tie of a hit and a miss for rank 2 of 2 ranks, or ranks 2 and 3 of 3
    sizes, hits = np.array([[1, 2]]), np.array([[1, 1]])
    judged = average_precision_of_found(sizes, hits, 2, Sums(3))
    assert (judged.worst[0], judged.expected[0], judged.best[0]) == pytest.approx((1, 1, 1))
    judged = average_precision_over_orders(sizes, hits, 2, Sums(3))
    assert (judged.worst[0], judged.expected[0], judged.best[0]) == pytest.approx((1 / 2, 3 / 4, 1))


def test_more_hits_can_be_worse_when_divided_by_those_found():
    # a hit and nine misses in order, then one of a hit and a miss is at the last of 11 ranks
    sizes, hits = np.array([[1, 9, 2]]), np.array([[1, 0, 1]])
    judged = average_precision_of_found(sizes, hits, 11, Sums(12))
    with_it = (1 + 2 / 11) / 2
    assert (judged.worst[0], judged.best[0]) == pytest.approx((with_it, 1))
    assert judged.expected[0] == pytest.approx((with_it + 1) / 2)


def test_long_rankings_keep_their_digits():
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 6000, (1, 33))
    hits = rng.binomial(sizes, 0.1)
    count = int(sizes.sum())
    judged = average_precision_over_orders(sizes, hits, count, Sums(count))
    total, before, found = 0.0, 0, 0
    worst, best, number = 0.0, 0.0, 0
    for n, r in zip(sizes[0].tolist(), hits[0].tolist(), strict=True):
        j = np.arange(1, n + 1)
        total += (r / max(n, 1) * (found + 1 + (j - 1) * (r - 1) / max(n - 1, 1)) / (before + j)).sum()
        for i in range(1, r + 1):
            number += 1
            best += number / (before + i)
            worst += number / (before + n - r + i)
        before, found = before + n, found + r
    np.testing.assert_allclose(judged.expected[0], total / found, rtol=1e-12)
    np.testing.assert_allclose(judged.worst[0], worst / found, rtol=1e-12)
    np.testing.assert_allclose(judged.best[0], best / found, rtol=1e-12)


# --- the whole evaluation ---------------------------------------------------------------------------


def slow_evaluation(queries, gallery, of_query, of_item, k, first, radius, same_set):
    """Name -> one value per query, by loops over a ranking sorted by (distance, id)."""
    rows = []
    for q, (code, label) in enumerate(zip(queries, of_query, strict=True)):
        items = [i for i in range(len(gallery)) if not (same_set and i == q)]
        far = {i: sum(bool(a) != bool(b) for a, b in zip(code, gallery[i], strict=True)) for i in items}
        right = {i: bool(set(np.ravel(label)) & set(np.ravel(of_item[i]))) for i in items}
        ranking = sorted(items, key=lambda i: (far[i], i))
        hits = [right[i] for i in ranking]
        levels = [[right[i] for i in items if far[i] == d] for d in sorted(set(far.values()))]
        near = [right[i] for i in items if far[i] <= radius]
        n = len(items)
        row = {"relevant": sum(hits), "within_radius": len(near), f"precision@r≤{radius}": 0.0}
        if near:
            row[f"precision@r≤{radius}"] = sum(near) / len(near)
        for name, number, upto in [
            ("AP", relevant_ap, n),
            (f"AP@{k}/relevant", relevant_ap, k),
            (f"AP@{k}/found", found_ap, k),
            (f"precision@{first}", precision, min(first, n)),
        ]:
            undefined = number is relevant_ap and not any(hits)
            four = [np.nan] * 4 if undefined else [number(hits, upto), *over_orders(levels, number, upto)]
            for order, value in zip(("", " (worst)", " (expected)", " (best)"), four, strict=True):
                row[name + order] = float(value)
        row["tied"] = any(any(level) and not all(level) for level in levels)
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999),
    bits=st.integers(1, 10),
    k=st.integers(1, 8),
    radius=st.integers(0, 3),
    same_set=st.booleans(),
    form=st.sampled_from(["classes", "texts", "several"]),
)
def test_every_number_is_that_of_a_slow_twin(seed, bits, k, radius, same_set, form):
    rng = np.random.default_rng(seed)
    gallery = rng.random((6, bits)) < 0.5
    queries = gallery if same_set else rng.random((3, bits)) < 0.5
    of_item = rng.integers(0, 3, 6).tolist()
    of_query = of_item if same_set else rng.integers(0, 4, 3).tolist()
    given_item, given_query = of_item, of_query
    if form == "texts":
        given_item, given_query = [f"c{n}" for n in of_item], np.array([f"c{n}" for n in of_query])
    elif form == "several":
        chosen = rng.random((6, 4)) < 0.4
        asked = chosen if same_set else rng.random((3, 4)) < 0.4
        of_item, of_query = ([np.flatnonzero(row) for row in rows] for rows in (chosen, asked))
        given_item, given_query = chosen, asked.astype(int)
    slow = slow_evaluation(queries, gallery, of_query, of_item, k, 4, radius, same_set)
    options = {"at": k, "precision_at": 4, "radius": radius, "same_set": same_set}
    if not slow["relevant"].any():
        with pytest.raises(ValueError, match="no query has an item of its label to find"):
            hashing_evaluation(queries, gallery, given_query, given_item, **options)
        return
    judged = hashing_evaluation(queries, gallery, given_query, given_item, **options)
    assert (judged.tied, judged.bits) == (slow.pop("tied").sum(), bits)
    assert judged.dropped == (slow["relevant"] == 0).sum()
    assert judged.empty_buckets == (slow["within_radius"] == 0).sum()
    assert set(judged.per_query) == set(slow)
    for name, expected in slow.items():
        np.testing.assert_allclose(judged.per_query[name], expected, atol=1e-12, err_msg=name)
        if name.startswith("AP"):
            assert judged.values[f"m{name}"] == pytest.approx(np.nanmean(expected))
        elif name.startswith("precision"):
            assert judged.values[name] == pytest.approx(expected.mean())
    packed = hashing_evaluation(
        pack_bits(queries), pack_bits(gallery), given_query, given_item, packed=True, **options
    )
    assert packed.values["mAP"] == judged.values["mAP"]


@pytest.fixture(scope="module")
def clustered():
    """Codes of 24 bits in ten classes, and their labels: 400 items, 30 queries."""
    rng = np.random.default_rng(5)
    centres = rng.random((10, 24)) < 0.5
    labels = rng.integers(0, 10, 430)
    return centres[labels] ^ (rng.random((430, 24)) < 0.25), labels


def test_blocks_change_nothing(clustered, monkeypatch):
    import dmlviz.retrieval.hashing as room

    codes, labels = clustered
    at_once = hashing_evaluation(codes, codes, labels, labels, at=50, same_set=True)
    monkeypatch.setattr(room, "_PAIRS_AT_ONCE", 1000)
    in_blocks = hashing_evaluation(codes, codes, labels, labels, at=50, same_set=True)
    for name, values in at_once.per_query.items():
        np.testing.assert_array_equal(in_blocks.per_query[name], values)


def test_order_by_id_is_that_of_the_index_and_the_expectation_is_of_no_order(clustered):
    codes, labels = clustered
    queries, items = slice(400, 430), slice(0, 400)
    judged = hashing_evaluation(
        codes[queries], codes[items], labels[queries], labels[items], at=100, radius=6
    )
    ids, _ = BinaryIndex.build(codes[items]).search(codes[queries], 400)
    for number, (of_query, label) in enumerate(zip(ids, labels[queries], strict=True)):
        hits = (labels[of_query] == label).tolist()
        assert judged.per_query["AP"][number] == pytest.approx(float(relevant_ap(hits, 400)))
        assert judged.per_query["AP@100/found"][number] == pytest.approx(float(found_ap(hits, 100)))
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(8):
        order = rng.permutation(400)
        other = hashing_evaluation(
            codes[queries], codes[order], labels[queries], labels[order], at=100, radius=6
        )
        for name, value in judged.values.items():
            if "(" in name or "≤" in name:
                assert other.values[name] == pytest.approx(value, abs=1e-12)
            else:
                assert judged.values[f"{name} (worst)"] - 1e-12 <= other.values[name]
                assert other.values[name] <= judged.values[f"{name} (best)"] + 1e-12
        seen.append(other.values["mAP"])
    assert len(set(seen)) > 1
    assert np.mean(seen) == pytest.approx(judged.values["mAP (expected)"], abs=0.02)
    flipped = hashing_evaluation(
        1 - codes[queries], 1 - codes[items], labels[queries], labels[items], at=100, radius=6
    )
    assert dict(flipped.values) == dict(judged.values)


def test_perfect_and_collapsed_codes():
    labels = np.repeat(np.arange(4), 6)
    perfect = hashing_evaluation(
        np.eye(4)[labels] * 1, np.eye(4)[labels] * 1, labels, labels, radius=1, same_set=True
    )
    assert all(perfect.values[f"mAP{order}"] == 1 for order in ("", " (worst)", " (expected)", " (best)"))
    assert (perfect.values["precision@r≤1"], perfect.tied, perfect.empty_buckets) == (1.0, 0, 0)
    collapsed = hashing_evaluation(np.zeros((24, 8)), np.zeros((24, 8)), labels, labels, same_set=True)
    assert collapsed.values["mAP (best)"] == pytest.approx(1)
    assert collapsed.values["mAP (worst)"] < 0.25 < collapsed.values["mAP (expected)"] < 0.45
    assert collapsed.values["precision@500"] == pytest.approx(5 / 23)
    assert collapsed.tied == 24
    assert "divided by 23" in collapsed.definition


def test_empty_buckets_count_nothing_and_are_counted():
    queries = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    gallery = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]])
    judged = hashing_evaluation(queries, gallery, [0, 0], [0, 0, 1])
    assert judged.per_query["within_radius"].tolist() == [2, 0]
    assert judged.per_query["precision@r≤2"].tolist() == [0.5, 0.0]
    assert judged.values["precision@r≤2"] == 0.25
    assert judged.values["precision@r≤2 (non-empty)"] == 0.5
    assert judged.empty_buckets == 1
    assert "1 of 2 queries have none and count 0" in judged.definition
    assert "precision@r≤2 0.2500, 1 of 2 empty" in repr(judged)
    within = BinaryIndex.build(gallery).within(queries, 2)
    assert [len(ids) for ids, _ in within] == judged.per_query["within_radius"].tolist()
    none = hashing_evaluation(queries[1:], gallery, [0], [0, 0, 1])
    assert np.isnan(none.values["precision@r≤2 (non-empty)"])


def test_queries_without_anything_to_find_are_dropped_where_r_divides():
    judged = hashing_evaluation([[0, 0], [0, 0]], [[0, 0], [1, 1]], ["a", "z"], ["a", "b"], at=2)
    assert judged.dropped == 1
    assert judged.values["mAP"] == judged.values["mAP@2/relevant"] == 1.0
    assert judged.values["mAP@2/found"] == 0.5
    assert "over the 1 queries with something to find" in judged.definition
    assert np.isnan(judged.per_query["AP"]).tolist() == [False, True]
    assert "1 with nothing to find" in repr(judged)


def test_labels_are_compared_as_they_are():
    big = np.array([2**24, 2**24 + 1, 2**62, 2**62 + 1])
    judged = hashing_evaluation(np.zeros((1, 4)), np.zeros((4, 4)), big[1:2], big)
    assert judged.per_query["relevant"].tolist() == [1]
    judged = hashing_evaluation(np.zeros((2, 4)), np.zeros((3, 4)), [1, "1"], ["1", 1, "a"])
    assert judged.per_query["relevant"].tolist() == [1, 1]


def test_distances_are_those_that_the_explanation_shows():
    rng = np.random.default_rng(2)
    locals_ = [
        LocalEmbeddings(
            rng.standard_normal((2, 3, 20)).astype(np.float32), rng.standard_normal(20).astype(np.float32)
        )
        for _ in range(12)
    ]
    embeddings = np.stack([one.vectors.astype(np.float64).sum((0, 1)) + one.offset for one in locals_])
    index = BinaryIndex.build(sign_bits(embeddings))
    ids, distances = index.search(sign_bits(embeddings), 12)
    for query, (of_query, far) in enumerate(zip(ids, distances, strict=True)):
        assert far.tolist() == [hamming_bits(locals_[query], locals_[i]).distance for i in of_query]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"gallery_codes": np.zeros((4, 9))}, ValueError, "query codes have 8 bits, gallery codes 9"),
        ({"gallery_codes": np.full((4, 8), -1)}, ValueError, "gallery_codes must hold bits, 0 or 1; got -1"),
        ({"gallery_labels": [0, 1]}, ValueError, "label for each of 3 queries and 4 items, got 3 and 2"),
        ({"query_labels": np.zeros((3, 2))}, ValueError, r"got shapes \(3, 2\) and \(4,\)"),
        ({"query_labels": [0, 1, float("nan")]}, ValueError, "some are NaN"),
        ({"query_labels": [7, 8, 9]}, ValueError, "no query has an item of its label to find"),
        ({"same_set": True}, ValueError, "takes the same codes and labels in the same order on both sides"),
        ({"at": 0}, ValueError, "must be at least 1, got 0"),
        ({"at": 2.5}, TypeError, "must be a whole number"),
        ({"radius": -1}, ValueError, "radius must be a whole number of bits, 0 or more; got -1"),
        (
            {"query_labels": np.ones((3, 2)), "gallery_labels": np.ones((4, 3))},
            ValueError,
            "2 labels to choose from, the gallery 3",
        ),
        (
            {"query_labels": np.full((3, 2), 2), "gallery_labels": np.ones((4, 2))},
            ValueError,
            "must hold truth values, or 0 and 1",
        ),
        ({"gallery_codes": np.zeros((0, 8)), "gallery_labels": []}, ValueError, "got 3 and 0"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(change, error, words):
    options = {
        "query_codes": np.zeros((3, 8)),
        "gallery_codes": np.zeros((4, 8)),
        "query_labels": [0, 1, 1],
        "gallery_labels": [0, 1, 0, 1],
    } | change
    with pytest.raises(error, match=words):
        hashing_evaluation(**options)
