"""Every kind and metric: exact where it claims to be, never short, never −1, and true to what was put in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.index import KINDS, GalleryIndex, choose_kind

FACTORIES = ("HNSW8", "IVF4,SQ8", "PCA8,IVF4,Flat", "PQ4np", "IVF4,PQ4x4fs,RFlat")
ALL = (*KINDS, *FACTORIES)
PARAMETERS = {"ivf": {"lists": 6}, "ivf-pq": {"lists": 4, "bytes": 4}, "hnsw": {"neighbours": 8}}


def made(kind, rows, metric="ip", **rest):
    return GalleryIndex.build(rows, kind, metric, **PARAMETERS.get(kind, {}), **rest)


def truth(rows, query, metric):
    """Similarity of every row, written as a loop over dimensions."""
    found = []
    for row in rows.astype(np.float64):
        total = 0.0
        for a, b in zip(query.astype(np.float64), row, strict=True):
            total += a * b if metric == "ip" else -((a - b) ** 2)
        found.append(total)
    return np.array(found)


def rows_of(seed, count, dim, offset=0.0):
    return (np.random.default_rng(seed).standard_normal((count, dim)) + offset).astype(np.float32)


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("kind", ALL)
def test_what_is_found_is_there_and_its_score_is_exact(kind, metric):
    rows = rows_of(0, 600, 16)
    index = made(kind, rows, metric)
    queries = rows_of(1, 5, 16)
    ids, similarities = index.search(queries, 7)
    assert ids.shape == similarities.shape == (5, 7)
    for query, of_query, scores in zip(queries, ids, similarities, strict=True):
        assert len(set(of_query.tolist())) == 7
        assert (of_query >= 0).all()
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, truth(rows[of_query], query, metric), rtol=2e-6, atol=1e-6)
    np.testing.assert_array_equal(index.similarity(queries, ids), similarities)
    assert index.recall(k=7, sample=60).recall > (0.99 if kind in ("flat", "sq8") else 0.5)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_batches_and_single_queries_agree(kind, metric):
    rows, queries = rows_of(0, 400, 16), rows_of(1, 9, 16)
    index = made(kind, rows, metric)
    together = index.search(queries, 5)
    for n, query in enumerate(queries):
        alone = index.search(query, 5)
        np.testing.assert_array_equal(alone[0][0], together[0][n])
        np.testing.assert_array_equal(alone[1][0], together[1][n])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    offset=st.sampled_from([0.0, 5.0, 400.0, 1e4]),
    count=st.integers(1, 120),
    k=st.integers(1, 130),
    ties=st.booleans(),
)
def test_flat_distances_are_exact_however_far_off_centre(seed, offset, count, k, ties):
    rows = rows_of(seed, count, 12, offset)
    if ties:
        rows = np.round(rows - offset) + np.float32(offset)
    queries = rows_of(seed + 1, 3, 12, offset)
    ids, similarities = GalleryIndex.build(rows, metric="l2").search(queries, k)
    apart = queries.astype(np.float64)[:, None] - rows.astype(np.float64)[None]
    exact = (-np.einsum("qnd,qnd->qn", apart, apart)).astype(np.float32)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(ids, order)
    np.testing.assert_array_equal(similarities, np.take_along_axis(exact, order, axis=1))


def test_bare_faiss_would_fail_off_centre():
    from dmlviz.index.engine import faiss

    rows = (0.05 * np.random.default_rng(0).standard_normal((4_000, 64)) + 100).astype(np.float32)
    bare = faiss.IndexFlatL2(64)
    bare.add(rows)
    queries = rows[:2100]
    ids, _ = GalleryIndex.build(rows, metric="l2").search(queries, 10)
    one_by_one = np.concatenate([GalleryIndex.build(rows, metric="l2").search(q, 10)[0] for q in queries[:3]])
    np.testing.assert_array_equal(ids[:3], one_by_one)
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(bare.search(queries, 10)[1], ids, strict=True)])
    assert same < 0.95


NAMES = {"numbers": lambda n: n, "texts": lambda n: f"image {n}", "tuples": lambda n: ("cam", n)}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("naming", NAMES)
def test_changing_an_index_leaves_it_what_it_should_hold(kind, naming):
    name, rng = NAMES[naming], np.random.default_rng(3)
    rows = rows_of(0, 400, 16)
    plain = naming == "numbers"
    index = made(kind, rows, "l2", ids=None if plain else [name(n) for n in range(400)])
    held = {name(n): row for n, row in enumerate(rows)}
    fresh = 400
    for turn in range(6):
        if turn % 3 == 0:
            new = rows_of(10 + turn, 30, 16)
            names = [name(fresh + n) for n in range(30)]
            index.add(new, None if plain else names)
            held |= dict(zip(names, new, strict=True))
            fresh += 30
        elif turn % 3 == 1:
            gone = [list(held)[n] for n in rng.choice(len(held), 60, replace=False)]
            index.remove(gone)
            for item in gone:
                del held[item]
                assert item not in index
        else:
            changed = [list(held)[n] for n in rng.choice(len(held), 20, replace=False)]
            new = rows_of(50 + turn, 20, 16)
            index.update(changed, new)
            held |= dict(zip(changed, new, strict=True))
        assert len(index) == len(held)
        assert set(index.ids.tolist()) == set(held)
        query = rows_of(90 + turn, 1, 16)[0]
        ids, similarities = index.search(query, 11)
        assert all(item in held for item in ids[0].tolist())
        exact = truth(np.stack([held[item] for item in ids[0].tolist()]), query, "l2")
        np.testing.assert_allclose(similarities[0], exact, rtol=2e-6)
        if kind == "flat":
            best = np.sort(truth(np.stack(list(held.values())), query, "l2"))[::-1][:11]
            np.testing.assert_allclose(similarities[0], best, rtol=2e-6)
        everything, _ = index.search(query, len(held) + 50)
        assert set(everything[0].tolist()) == set(held)


@pytest.mark.parametrize("kind", ALL)
def test_among_is_what_may_be_found(kind):
    rows, queries = rows_of(0, 3000, 16), rows_of(1, 6, 16)
    index = made(kind, rows)
    for among in (np.arange(0, 3000, 2), np.array([5, 9, 1700]), np.arange(3000)):
        ids, _ = index.search(queries, 5, exclude=np.array([4, 5, 9, 3, 8, -1]), among=among)
        assert np.isin(ids, among).all()
        assert ids.shape == (6, min(5, len(among) - 1))
        assert 5 not in ids[1]
        assert 9 not in ids[2]
        if kind == "flat":
            table = (queries.astype(np.float64) @ rows.astype(np.float64).T).astype(np.float32)
            own = np.array([-1 if i not in among else i for i in (4, 5, 9, 3, 8, -1)])
            for line, barred, found in zip(table, own, ids, strict=True):
                order = among[np.argsort(-line[among], kind="stable")]
                np.testing.assert_array_equal(found, order[order != barred][: len(found)])
    assert index.search(queries[0], 4, among=[])[0].shape == (1, 0)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("kind", ALL)
def test_round_trip(tmp_path, kind, metric, mapped):
    index = made(kind, rows_of(0, 500, 16), metric, ids=[f"n{i}" for i in range(500)])
    index.remove(["n3", "n77"])
    index.save(tmp_path / "i")
    again = GalleryIndex.open(tmp_path / "i", mapped=mapped)
    queries = rows_of(1, 8, 16)
    for one, other in zip(index.search(queries, 6), again.search(queries, 6), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (again.kind, again.metric, len(again), again.effort) == (kind, metric, 498, index.effort)
    assert "n3" not in again
    again.remove(["n5"])
    assert len(again) == 497
    new = rows_of(2, 4, 16)
    if mapped:
        with pytest.raises(ValueError, match="only read; open it without mapped=True"):
            again.add(new, ["a", "b", "c", "d"])
        return
    again.add(new, ["a", "b", "c", "d"])
    assert len(again) == 501
    if metric == "l2" and kind == "flat":
        assert again.search(new, 1)[0].ravel().tolist() == ["a", "b", "c", "d"]


def test_auto_says_what_it_chose_and_why():
    index = GalleryIndex.build(rows_of(0, 30, 4), "auto")
    assert (index.kind, index.reason) == ("flat", choose_kind(30, 4).reason)
    assert choose_kind(1_000_000, 512, memory=10**9).kind == "ivf-pq"
    assert "do not fit the memory" in choose_kind(1_000_000, 512, memory=10**9).reason
    assert choose_kind(10_000_000, 512).kind == "ivf-pq"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda r: GalleryIndex.build(r, "ivf", lists=999),
            ValueError,
            "999 lists need at least as many rows",
        ),
        (
            lambda r: GalleryIndex.build(r, "hnsw", lists=3),
            TypeError,
            "no parameter 'lists'; it takes neighbours",
        ),
        (
            lambda r: GalleryIndex.build(r, "hnsw", effort=0),
            ValueError,
            "effort must be a whole number of at least",
        ),
        (lambda r: GalleryIndex.build(r, metric="cosine"), ValueError, "metric must be one of 'ip', 'l2'"),
        (
            lambda r: GalleryIndex.build(r, ids=["a"] * len(r)),
            ValueError,
            "an id of its own; twice there are",
        ),
        (lambda r: GalleryIndex.build(r, ids=["a"]), ValueError, "one id per row: 40 rows, got 1"),
        (lambda r: GalleryIndex.build(r, ids=[[n] for n in range(40)]), TypeError, "an id must be a key"),
        (lambda r: GalleryIndex.build(r, ids=[*range(39), "x"]), TypeError, "all whole numbers or all names"),
        (lambda r: GalleryIndex.build(r).add(r, range(40)), ValueError, "already; use update"),
        (lambda r: GalleryIndex.build(r).add(r[:, :2]), ValueError, r"must have the shape \(n, 8\)"),
        (lambda r: GalleryIndex.build(r).remove([99]), IndexError, "ids must lie between 0 and 39, got 99"),
        (
            lambda r: GalleryIndex.build(r, ids=list("ab") + [f"{n}" for n in range(38)]).remove(["zz"]),
            IndexError,
            "no row with the id 'zz'",
        ),
        (lambda r: GalleryIndex.build(r).update([1, 2], r[:1]), ValueError, "one row per id: 2 ids, got 1"),
        (lambda r: setattr(GalleryIndex.build(r), "effort", 4), ValueError, "it has no effort to set"),
        (lambda r: GalleryIndex.build(r, "ivf-pq"), ValueError, "needs 256 rows to learn its codes, got 40"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call(rows_of(0, 40, 8))


def test_what_was_refused_changed_nothing():
    index = GalleryIndex.build(rows_of(0, 40, 8))
    for call in (lambda: index.remove([3, 99]), lambda: index.update([1, 99], rows_of(1, 2, 8))):
        with pytest.raises(IndexError):
            call()
    assert index.ids.tolist() == list(range(40))
    np.testing.assert_array_equal(index.vectors, rows_of(0, 40, 8))


def test_codes_say_something_else_than_the_rows():
    rows = rows_of(0, 600, 16)
    index = GalleryIndex.build(rows, "ivf-pq", lists=4, bytes=2)
    ids, similarities = index.search(rows[:5], 3)
    assert np.abs(index.rough_similarity(rows[:5], ids) - similarities).max() > 0.01
    flat = GalleryIndex.build(rows)
    np.testing.assert_array_equal(flat.rough_similarity(rows[:5], ids), flat.similarity(rows[:5], ids))


@pytest.mark.parametrize("through_a_file", [False, True])
def test_numbers_of_removed_rows_do_not_come_again(tmp_path, through_a_file):
    index = GalleryIndex.build(rows_of(0, 10, 4))
    index.remove([7, 8, 9])  # more than a fifth: the rows are put together anew
    if through_a_file:
        index.save(tmp_path / "i")
        index = GalleryIndex.open(tmp_path / "i")
    index.add(rows_of(1, 2, 4))
    assert index.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 11]


def test_a_sample_without_a_miss_is_no_proof_that_none_is_ever_missed():
    rows = np.random.default_rng(0).normal(size=(300, 8))
    always = GalleryIndex.build(rows).recall(k=3, sample=100)
    assert (always.recall, always.low, always.high) == (1.0, 1.0, 1.0)
    lucky = GalleryIndex.build(rows, "ivf", lists=4, effort=4).recall(k=3, sample=100)
    assert (lucky.recall, lucky.high) == (1.0, 1.0)
    assert lucky.low == pytest.approx(0.963, abs=5e-4)  # Wilson's score interval of 100 hits of 100
