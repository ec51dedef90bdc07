"""One answer to a query, however it is asked; and what may not be asked."""

import math
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmlviz.index.asking as asking
import dmlviz.index.gallery_index as gallery_index
from dmlviz.index import KINDS, GalleryIndex, search_threads
from dmlviz.index.engine import faiss
from dmlviz.index.exact import all_products, lengths, pair_products, rounding_bound, some_products


def slow_search(rows, queries, k, exclude=None):
    """The definition: exact sums, rounded once to float32, better first, lower id first among equals."""
    rows = np.asarray(rows, dtype=np.float32)
    queries = np.atleast_2d(np.asarray(queries, dtype=np.float32))
    ids, similarities = [], []
    for number, query in enumerate(queries):
        scored = []
        for i, row in enumerate(rows):
            if exclude is not None and i == exclude[number]:
                continue
            exact = math.fsum(float(a) * float(b) for a, b in zip(query, row, strict=True))
            scored.append((-float(np.float32(exact)), i))
        scored.sort()
        ids.append([i for _, i in scored[:k]])
        similarities.append([-s for s, _ in scored[:k]])
    return np.array(ids, dtype=np.int64), np.array(similarities, dtype=np.float32)


def awkward_rows(seed, count, dim, kind):
    """Rows that make float32 sums untrustworthy, or tie."""
    random = np.random.default_rng(seed)
    if kind == "plain":
        return random.standard_normal((count, dim))
    if kind == "offset":  # one large common part: similarities differ in their last digits only
        return 20 + 0.05 * random.standard_normal((count, dim))
    if kind == "last digits":  # differences smaller than the rounding of float32
        return 20 + 0.00002 * random.standard_normal((count, dim))
    if kind == "ties":  # few different rows, many of each
        return random.integers(-2, 3, (4, dim))[random.integers(0, 4, count)]
    if kind == "collapsed":
        return np.ones((count, dim))
    if kind == "tiny":  # products near the smallest float32
        return 1e-22 * random.standard_normal((count, dim))
    raise AssertionError(kind)


KINDS_OF_ROWS = ("plain", "offset", "last digits", "ties", "collapsed", "tiny")


def test_hand_worked():
    index = GalleryIndex.build([[1, 0], [0, 1], [3, 4], [0, 1]])
    ids, similarities = index.search([1, 2], k=4)
    assert ids.tolist() == [[2, 1, 3, 0]]
    assert similarities.tolist() == [[11.0, 2.0, 2.0, 1.0]]
    assert ids.dtype == np.int64
    assert similarities.dtype == np.float32
    assert len(index) == 4
    assert (index.dim, index.kind) == (2, "flat")
    assert repr(index) == "GalleryIndex(kind='flat', 4 rows of 2 dimensions)"


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 90),
    dim=st.integers(1, 40),
    k=st.integers(1, 100),
    kind=st.sampled_from(KINDS_OF_ROWS),
    excluding=st.booleans(),
)
def test_equals_its_slow_twin(seed, count, dim, k, kind, excluding):
    rows = awkward_rows(seed, count, dim, kind)
    queries = rows[:3]
    exclude = np.array([0, -1, 2])[: len(queries)] if excluding else None
    ids, similarities = GalleryIndex.build(rows).search(queries, k, exclude)
    k = min(k, count - int(excluding))
    if k == 0:
        assert ids.shape == similarities.shape == (len(queries), 0)
        return
    slow_ids, slow_similarities = slow_search(rows, queries, k, exclude)
    np.testing.assert_array_equal(ids, slow_ids)
    np.testing.assert_array_equal(similarities, slow_similarities)


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_candidates_from_faiss_equal_the_slow_twin(kind):
    rows = awkward_rows(3, 1500, 24, kind)
    queries = rows[[0, 7, 1499]]
    ids, similarities = GalleryIndex.build(rows).search(queries, 9)
    slow_ids, slow_similarities = slow_search(rows, queries, 9)
    np.testing.assert_array_equal(ids, slow_ids)
    np.testing.assert_array_equal(similarities, slow_similarities)


def near_pairs(seed, pairs, dim):
    """Rows in pairs that differ in the last digit of every number, at random: far from all other rows."""
    random = np.random.default_rng(seed)
    rows = np.repeat(random.standard_normal((pairs, dim)).astype(np.float32), 2, axis=0)
    towards = np.where(random.random(rows.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
    return np.nextafter(rows, towards)


@pytest.mark.parametrize("single", [True, False])
def test_a_pair_across_the_last_rank_is_told_apart(single):
    """FAISS alone takes the wrong one of many of these pairs for the last place."""
    rows = near_pairs(0, 500, 64)
    index = GalleryIndex.build(rows)
    queries = np.random.default_rng(1).standard_normal((60, 64)).astype(np.float32)
    exclude = np.full(60, 999)
    table = all_products(queries, index.vectors)
    wrong = 0
    for k in (1, 3, 9):
        order = np.argsort(-table, axis=1, kind="stable")
        wrong += (
            (np.sort(index._stored.flat.search(queries, k)[1]) != np.sort(order[:, :k])).any(axis=1).sum()
        )
        kept = np.array([line[line != 999][:k] for line in order])
        for barred, expected in ((None, order[:, :k]), (exclude, kept)):
            if single:
                found = [index.search(q, k, None if barred is None else barred[:1])[0][0] for q in queries]
            else:
                found = index.search(queries, k, barred)[0]
            np.testing.assert_array_equal(found, expected)
    assert wrong > 20


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
@pytest.mark.parametrize("dim", [3, 64, 515])
def test_one_answer_for_single_batch_and_any_thread_count(kind, dim):
    rows = awkward_rows(1, 1200, dim, kind)
    index = GalleryIndex.build(rows)
    queries = rows[:300]
    exclude = np.arange(300)
    ids, similarities = index.search(queries, 10, exclude)
    before = faiss.omp_get_max_threads()
    for threads in (1, 2, 4):
        faiss.omp_set_num_threads(threads)
        try:
            for start, stop in ((0, 1), (0, 2), (5, 9), (11, 18), (40, 300)):
                part_ids, part = index.search(queries[start:stop], 10, exclude[start:stop])
                np.testing.assert_array_equal(part_ids, ids[start:stop])
                np.testing.assert_array_equal(part.view(np.int32), similarities[start:stop].view(np.int32))
        finally:
            faiss.omp_set_num_threads(before)


def test_answer_does_not_depend_on_how_many_are_asked_for():
    rows = awkward_rows(2, 800, 48, "offset")
    index = GalleryIndex.build(rows)
    everything, all_similarities = index.search(rows[5], 800)
    for k in (1, 3, 50, 799, 5000):
        ids, similarities = index.search(rows[5], k)
        np.testing.assert_array_equal(ids, everything[:, :k])
        np.testing.assert_array_equal(similarities, all_similarities[:, :k])


def test_bare_faiss_would_fail_the_tests_above():
    """The rows are awkward enough: FAISS alone orders ties by higher id and mixes up close rows."""
    ties = awkward_rows(1, 1200, 64, "ties").astype(np.float32)
    flat = faiss.IndexFlatIP(64)
    flat.add(ties)
    assert not np.array_equal(flat.search(ties[:1], 10)[1], GalleryIndex.build(ties).search(ties[:1], 10)[0])
    close = awkward_rows(1, 1200, 515, "offset").astype(np.float32)
    flat = faiss.IndexFlatIP(515)
    flat.add(close)
    assert not np.array_equal(
        flat.search(close[:300], 10)[1], GalleryIndex.build(close).search(close[:300], 10)[0]
    )
    with search_threads(1):
        one_by_one = np.concatenate([flat.search(close[i : i + 1], 10)[0] for i in range(300)])
        together = flat.search(close[:300], 10)[0]
    assert not np.array_equal(one_by_one, together)


def test_similarity_reports_the_numbers_of_search():
    rows = awkward_rows(4, 700, 100, "plain")
    index = GalleryIndex.build(rows)
    ids, similarities = index.search(rows[:8], 20)
    np.testing.assert_array_equal(index.similarity(rows[:8], ids), similarities)
    np.testing.assert_array_equal(index.similarity(rows[3], ids[3]), similarities[3:4])
    np.testing.assert_array_equal(index.similarity(rows[3], ids[3][::-1]), similarities[3:4, ::-1])


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 40), dim=st.integers(1, 300), seed=st.integers(0, 99))
def test_sums_do_not_depend_on_their_company(count, dim, seed):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    together = pair_products(rows, rows, np.repeat(np.arange(count), count), np.tile(np.arange(count), count))
    table = all_products(rows, rows)
    np.testing.assert_array_equal(together.reshape(count, count), table)
    np.testing.assert_array_equal(table, table.T)
    one = pair_products(rows[-1:], rows, np.zeros(1, int), np.array([0]))
    assert one[0] == table[-1, 0]
    np.testing.assert_array_equal(some_products(rows[:1], rows), table[0])
    np.testing.assert_array_equal(lengths(rows[:1]), lengths(rows)[:1])
    np.testing.assert_allclose(lengths(rows) ** 2, np.diag(table), rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(dim=st.integers(1, 600), seed=st.integers(0, 999), scale=st.sampled_from([1e-3, 1.0, 1e6]))
def test_rounding_bound_holds(dim, seed, scale):
    random = np.random.default_rng(seed)
    left, right = (scale * (3 + random.standard_normal((2, dim)))).astype(np.float32)
    exact = math.fsum(float(a) * float(b) for a, b in zip(left, right, strict=True))
    bound = rounding_bound(lengths(left[None]), float(lengths(right[None])[0]), dim)[0]
    forwards = backwards = np.float32(0)
    for product in left * right:
        forwards = forwards + product
    for product in (left * right)[::-1]:
        backwards = backwards + product
    assert abs(float(forwards) - exact) <= bound
    assert abs(float(backwards) - exact) <= bound
    assert bound <= 1e-4 * np.linalg.norm(left.astype(float)) * np.linalg.norm(right.astype(float))


@pytest.mark.parametrize(
    "convert", [np.float16, np.float64, np.int32, "fortran", "strided", "list", "tensor"]
)
def test_takes_any_real_numbers(convert):
    rows = np.random.default_rng(0).integers(-4, 5, (30, 6))
    if convert == "fortran":
        given_rows = np.asfortranarray(rows.astype(np.float32))
    elif convert == "strided":
        given_rows = np.repeat(rows.astype(np.float32), 2, axis=1)[:, ::2]
    elif convert == "list":
        given_rows = rows.tolist()
    elif convert == "tensor":
        given_rows = LikeATensor(rows.astype(np.float64))
    else:
        given_rows = rows.astype(convert)
    index = GalleryIndex.build(given_rows)
    np.testing.assert_array_equal(index.vectors, rows)
    expected = slow_search(rows, rows[:2], 5)
    ids, similarities = index.search(given_rows if convert == "tensor" else given_rows[:2], 5)
    np.testing.assert_array_equal(ids[:2], expected[0])
    np.testing.assert_array_equal(similarities[:2], expected[1])


class LikeATensor:
    """Holds numbers as a tensor on another device with a gradient does: NumPy cannot read it directly."""

    def __init__(self, values, on_host=False):
        self.values, self.on_host, self.dtype = values, on_host, values.dtype

    def detach(self):
        return self

    def cpu(self):
        return LikeATensor(self.values, on_host=True)

    def numpy(self):
        assert self.on_host
        return self.values

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on a tensor that requires grad")


def test_takes_real_tensors():
    torch = pytest.importorskip("torch")
    rows = torch.randint(-4, 5, (20, 6)).to(torch.float64).requires_grad_()
    index = GalleryIndex.build(rows)
    np.testing.assert_array_equal(index.vectors, rows.detach().numpy())
    ids, _ = index.search(rows[0].to(torch.bfloat16), 20)
    assert sorted(ids[0]) == list(range(20))


def test_many_rows_are_added_in_parts(monkeypatch):
    monkeypatch.setattr(gallery_index, "ROWS_PER_ADD", 7)
    rows = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    np.testing.assert_array_equal(GalleryIndex.build(rows).vectors, rows)
    rows[33] = np.nan
    with pytest.raises(ValueError, match="row 33 holds NaN"):
        GalleryIndex.build(rows)


def test_many_queries_are_answered_in_parts(monkeypatch):
    rows = awkward_rows(5, 1300, 8, "ties")
    index = GalleryIndex.build(rows)
    expected = index.search(rows[:70], 12)
    monkeypatch.setattr(asking, "_PAIRS_AT_ONCE", 1700)
    ids, similarities = index.search(rows[:70], 12)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(similarities, expected[1])


def test_empty_index_and_empty_queries():
    empty = GalleryIndex.build(np.empty((0, 4)))
    ids, similarities = empty.search(np.ones((2, 4)), 5)
    assert ids.shape == similarities.shape == (2, 0)
    assert len(empty) == 0
    ids, similarities = GalleryIndex.build(np.ones((3, 4))).search(np.empty((0, 4)), 2)
    assert ids.shape == similarities.shape == (0, 2)
    ids, _ = GalleryIndex.build(np.ones((1, 4))).search(np.ones(4), 5, exclude=[0])
    assert ids.shape == (1, 0)


def test_no_minus_one_escapes_when_more_is_asked_for_than_there_is():
    rows = np.random.default_rng(0).standard_normal((5, 4))
    index = GalleryIndex.build(rows)
    ids, _ = index.search(rows, 99)
    assert ids.shape == (5, 5)
    assert (np.sort(ids, axis=1) == np.arange(5)).all()
    ids, _ = index.search(rows, 99, exclude=[0, -1, 2, -1, 4])
    assert ids.shape == (5, 4)
    assert ids.min() >= 0
    assert 0 not in ids[0]


def test_vectors_cannot_be_changed():
    rows = np.ones((3, 2), dtype=np.float32)
    index = GalleryIndex.build(rows)
    rows[0] = 7
    assert index.vectors.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 0


def test_vectors_outlive_the_index():
    rows = np.random.default_rng(0).standard_normal((2000, 50)).astype(np.float32)
    kept = [GalleryIndex.build(rows).vectors[i:] for i in range(5)]
    for i, view in enumerate(kept):
        np.testing.assert_array_equal(view, rows[i:])


def test_copies_by_pickle_are_whole():
    index = GalleryIndex.build(np.random.default_rng(0).standard_normal((9, 4)))
    copy = pickle.loads(pickle.dumps(index))
    np.testing.assert_array_equal(copy.vectors, index.vectors)
    assert copy.kind == index.kind


def test_threads_may_search_at_once():
    rows = awkward_rows(6, 3000, 32, "plain")
    index = GalleryIndex.build(rows)
    expected = index.search(rows[:64], 10)
    wrong = []

    def ask(which):
        for turn in range(20):
            start = (which * 20 + turn) % 56
            ids, similarities = index.search(rows[start : start + 1 + which], 10)
            same = np.array_equal(ids, expected[0][start : start + 1 + which]) and np.array_equal(
                similarities, expected[1][start : start + 1 + which]
            )
            if not same:
                wrong.append((which, turn))

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (np.ones(4), ValueError, r"shape \(N, D\).*got \(4,\)"),
        (np.ones((2, 2, 2)), ValueError, r"shape \(N, D\).*got \(2, 2, 2\)"),
        (np.ones((3, 0)), ValueError, "D at least 1"),
        (3.0, ValueError, r"shape \(N, D\)"),
        ([[1, 2], [3]], ValueError, "rows of different lengths"),
        ([["a", "b"]], TypeError, "must be real numbers"),
        (np.ones((2, 2), dtype=complex), TypeError, "real numbers, got an array of dtype complex128"),
        (np.array([[object(), 1]]), TypeError, "real numbers, got an array of dtype object"),
        ([[1, 2], [np.nan, 1], [3, 4]], ValueError, "row 1 holds NaN, infinity"),
        ([[1, 2], [np.inf, 1], [-np.inf, 4]], ValueError, "rows 1, 2 hold NaN, infinity"),
        ([[np.nan]] * 9, ValueError, r"rows 0, 1, 2, 3, 4, ... \(9 in all\) hold"),
        ([[1e300, 0.0]], ValueError, "beyond 3.4e38"),
    ],
)
def test_refuses_to_build(rows, error, words):
    with pytest.raises(error, match=words):
        GalleryIndex.build(rows)


def test_large_finite_rows_are_not_mistaken_for_infinite_ones():
    rows = np.full((3, 4), 3e38, dtype=np.float32)
    assert len(GalleryIndex.build(rows)) == 3


def test_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind of index 'hnws': there is 'flat'"):
        GalleryIndex.build(np.ones((2, 2)), kind="hnws")
    assert KINDS[0] == "flat"


@pytest.mark.parametrize(
    ("query", "k", "exclude", "error", "words"),
    [
        (
            np.ones(3),
            1,
            None,
            ValueError,
            "rows of 2 dimensions, the query has 3; was it embedded with the same",
        ),
        (np.ones((1, 1, 2)), 1, None, ValueError, r"queries must have the shape \(Q, 2\) or \(2,\)"),
        (1.0, 1, None, ValueError, r"queries must have the shape \(Q, 2\)"),
        ([[1, 1], [1, np.nan]], 1, None, ValueError, "queries must be finite.*row 1 holds"),
        ("ab", 1, None, TypeError, "queries must be real numbers"),
        ([1, 1], 0, None, ValueError, "k must be at least 1, got 0"),
        ([1, 1], -3, None, ValueError, "k must be at least 1, got -3"),
        ([1, 1], 2.0, None, TypeError, "k must be a whole number, got 2.0 of type float"),
        ([1, 1], True, None, TypeError, "k must be a whole number, got True"),
        ([1, 1], 1, [3], IndexError, "exclude must lie between -1 and 2, got 3"),
        ([1, 1], 1, [-2], IndexError, "exclude must lie between -1 and 2, got -2"),
        ([1, 1], 1, [0, 1], ValueError, r"one id per query, shape \(1,\), got \(2,\)"),
        ([1, 1], 1, [0.5], TypeError, "exclude must be whole numbers"),
        ([3e38, 3e38], 1, None, ValueError, "would not fit float32"),
    ],
)
def test_refuses_to_search(query, k, exclude, error, words):
    index = GalleryIndex.build([[1, 2], [3, 4], [5, 6]])
    with pytest.raises(error, match=words):
        index.search(query, k, exclude)


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([3], IndexError, "ids must lie between 0 and 2, got 3"),
        ([-1], IndexError, "ids must lie between 0 and 2, got -1"),
        ([1.0], TypeError, "ids must be whole numbers"),
        ([[0], [1]], ValueError, r"ids must have the shape \(1, k\)"),
        ([[[0]]], ValueError, r"ids must have the shape \(1, k\)"),
    ],
)
def test_refuses_to_score(ids, error, words):
    index = GalleryIndex.build([[1, 2], [3, 4], [5, 6]])
    with pytest.raises(error, match=words):
        index.similarity([1, 1], ids)


def test_k_may_be_a_numpy_number():
    ids, _ = GalleryIndex.build(np.eye(3)).search([1, 0, 0], np.int32(2))
    assert ids.shape == (1, 2)


def test_number_of_threads_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"), search_threads(0):
        pass
