"""Binary codes: exact where it is said, whole ties in the order of ids, and one answer however asked."""

import itertools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dmlviz.index.bits as bits_module
from dmlviz.index import (
    BINARY_KINDS,
    BinaryIndex,
    GalleryIndex,
    hamming_distances,
    pack_bits,
    search_threads,
    sign_bits,
    unpack_bits,
)
from dmlviz.index.engine import faiss

PARAMETERS = {"flat": {}, "ivf": {"lists": 6, "effort": 3}, "hnsw": {"neighbours": 8}}


def codes_of(seed, count, bits):
    return np.random.default_rng(seed).random((count, bits)) < 0.5


def slow_distance(a, b):
    return sum(bool(x) != bool(y) for x, y in zip(a, b, strict=True))


def slow_search(codes, query, ids, k=None):
    """(distance, id) of the k nearest, by sorting all."""
    return sorted((slow_distance(query, code), i) for code, i in zip(codes, ids, strict=True))[:k]


def made(kind, codes, **rest):
    return BinaryIndex.build(codes, kind, **PARAMETERS[kind], **rest)


# --- bits -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(0, 9), st.integers(1, 40))
def test_bits_come_back(seed, count, bits):
    codes = codes_of(seed, count, bits)
    packed = pack_bits(codes)
    assert packed.dtype == np.uint8
    assert packed.shape == (count, -(-bits // 8))
    np.testing.assert_array_equal(unpack_bits(packed, bits), codes)
    np.testing.assert_array_equal(pack_bits(codes.astype(float)), packed)


def test_bits_are_packed_as_faiss_packs():
    values = np.random.default_rng(0).standard_normal((5, 24)).astype(np.float32)
    packed = np.zeros((5, 3), dtype=np.uint8)
    faiss.fvecs2bitvecs(faiss.swig_ptr(values), faiss.swig_ptr(packed), 24, 5)
    np.testing.assert_array_equal(pack_bits(values > 0), packed)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(1, 150))
def test_distances_are_counted_bit_by_bit(seed, bits):
    queries, codes = codes_of(seed, 3, bits), codes_of(seed + 1, 5, bits)
    expected = [[slow_distance(q, c) for c in codes] for q in queries]
    assert hamming_distances(pack_bits(queries), pack_bits(codes)).tolist() == expected


def test_bits_are_counted_without_numpy_2(monkeypatch):
    words = np.random.default_rng(0).integers(0, 2**64, (7, 3), dtype=np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert bits_module.bit_counts(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert bits_module.bit_counts(words).tolist() == expected
    assert bits_module.bit_counts(np.full((1, 1), 2**64 - 1, dtype=np.uint64)).tolist() == [[64]]
    codes = codes_of(0, 6, 70)
    expected = [[slow_distance(a, b) for b in codes] for a in codes]
    assert hamming_distances(pack_bits(codes), pack_bits(codes)).tolist() == expected


def test_signs_and_medians():
    rows = np.array([[-1.0, 0.0, 5.0], [2.0, -0.0, 6.0], [3.0, 1e-30, 7.0], [4.0, 1.0, 8.0]])
    assert sign_bits(rows).tolist() == [[0, 0, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]]
    assert sign_bits(rows, "median").sum(axis=0).tolist() == [2, 2, 2]
    others = rows + 100
    assert sign_bits(others, "median", fit_on=rows).all()
    np.testing.assert_array_equal(sign_bits(rows, np.median(rows, axis=0)), sign_bits(rows, "median"))
    with pytest.raises(ValueError, match="must be 'zero', 'median' or one number per component, got 'mean'"):
        sign_bits(rows, "mean")
    with pytest.raises(ValueError, match="fit_on goes with threshold='median'"):
        sign_bits(rows, fit_on=rows)
    with pytest.raises(ValueError, match="must have the 3 components of the embeddings, got 2"):
        sign_bits(rows, "median", fit_on=rows[:, :2])
    with pytest.raises(ValueError, match="3 finite numbers, one per component"):
        sign_bits(rows, [0.0, np.nan, 1.0])
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        sign_bits([[1.0], [np.nan]])


# --- searching --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 300),
    bits=st.sampled_from([1, 2, 5, 8, 12, 32, 64, 100]),
    k=st.integers(1, 320),
    exclude=st.booleans(),
    among=st.booleans(),
)
def test_flat_is_exact_ties_and_all(seed, count, bits, k, exclude, among):
    rng = np.random.default_rng(seed)
    codes, queries = codes_of(seed, count, bits), codes_of(seed + 1, 3, bits)
    index = BinaryIndex.build(codes)
    left_out = rng.integers(-1, count, 3) if exclude else None
    chosen = rng.choice(count, rng.integers(1, count + 1), replace=False) if among else np.arange(count)
    ids, distances = index.search(queries, k, exclude=left_out, among=chosen if among else None)
    barred = [] if left_out is None else [set(chosen.tolist()) & {int(x)} for x in left_out]
    room = len(chosen) - any(map(bool, barred))
    assert ids.shape == distances.shape == (3, min(k, room))
    for n, query in enumerate(queries):
        expected = [
            (d, i)
            for d, i in slow_search(codes[np.sort(chosen)], query, np.sort(chosen))
            if not (barred and i in barred[n])
        ]
        assert list(zip(distances[n], ids[n], strict=True)) == expected[: min(k, room)]


@pytest.mark.parametrize("kind", BINARY_KINDS)
@pytest.mark.parametrize("bits", [12, 64])
def test_one_answer_however_asked(kind, bits):
    codes, queries = codes_of(0, 3000, bits), codes_of(1, 60, bits)
    index = made(kind, codes)
    with search_threads(1):
        ids, distances = index.search(queries, 10)
    assert ids.dtype == np.int64
    assert distances.dtype == np.int32
    assert (ids >= 0).all()
    for n in range(60):
        alone = index.search(queries[n], 10)
        np.testing.assert_array_equal(alone[0][0], ids[n])
        np.testing.assert_array_equal(alone[1][0], distances[n])
    for threads, block in itertools.product((1, 2, 3), (7, 60)):
        with search_threads(threads):
            parts = [index.search(queries[start : start + block], 10) for start in range(0, 60, block)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), ids)
    packed = index.search(pack_bits(queries), 10, packed=True)
    np.testing.assert_array_equal(packed[0], ids)
    np.testing.assert_array_equal(index.distances(queries, ids), distances)
    assert [slow_distance(queries[0], codes[i]) for i in ids[0]] == distances[0].tolist()
    for row, of_query in zip(distances, ids, strict=True):
        listed = list(zip(row.tolist(), of_query.tolist(), strict=True))
        assert listed == sorted(set(listed))


def test_a_tie_that_bare_faiss_cuts_anywhere():
    codes = np.zeros((5000, 16), dtype=bool)
    codes[::2, 0] = True
    ids, distances = BinaryIndex.build(codes, ids=range(5000, 0, -1)).search(np.zeros(16), 70)
    assert ids[0].tolist() == list(range(1, 140, 2))
    assert (distances == 0).all()
    named = BinaryIndex.build(codes, ids=[f"c{n}" for n in range(5000)])
    assert named.search(np.zeros(16), 3)[0].tolist() == [["c1", "c3", "c5"]]


def test_approximate_kinds_find_most_and_say_how_much():
    centres = codes_of(0, 40, 64)
    codes = centres[np.random.default_rng(1).integers(0, 40, 4000)] ^ (
        codes_of(2, 4000, 64) & codes_of(3, 4000, 64)
    )
    exact = BinaryIndex.build(codes)
    assert exact.recall().recall == 1.0
    for kind in ("ivf", "hnsw"):
        index = BinaryIndex.build(codes, kind)
        found = index.recall(k=10, sample=80)
        assert 0.6 < found.recall <= 1.0
        assert (found.queries, found.k) == (80, 10)
        asking = np.sort(np.random.default_rng(0).choice(4000, 80, replace=False))
        ids, distances = index.search(codes[asking], 10, exclude=asking)
        _, true = exact.search(codes[asking], 10, exclude=asking)
        assert found.recall == pytest.approx((distances <= true[:, -1:]).mean())
        assert not (ids == asking[:, None]).any()
        index.effort = 4000
        assert index.effort == (min(4000, 4000 // 39) if kind == "ivf" else 4000)
        assert index.recall(k=10, sample=80).recall > 0.99
        with pytest.raises(ValueError, match="effort must be a whole number of at least 1, got 0"):
            index.effort = 0
    with pytest.raises(ValueError, match="flat index looks at every code: it has no effort"):
        exact.effort = 3


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_among_and_within_are_exact_on_every_kind(kind):
    codes, queries = codes_of(0, 3000, 16), codes_of(1, 4, 16)
    index = made(kind, codes)
    few = np.arange(100, 900, 3)
    ids, distances = index.search(queries, 20, among=few)
    within = index.within(queries, 2, among=few)
    everything = index.within(queries, 16)
    for n, query in enumerate(queries):
        expected = slow_search(codes[few], query, few)
        assert list(zip(distances[n], ids[n], strict=True)) == expected[:20]
        assert list(zip(within[n][1], within[n][0], strict=True)) == [
            pair for pair in expected if pair[0] <= 2
        ]
        assert len(everything[n][0]) == 3000
    wide = index.search(queries, 20, among=np.arange(1, 3000, 2))[0]
    assert (wide % 2 == 1).all()


def test_within_counts_the_radius_itself():
    codes = np.tril(np.ones((9, 8)), -1)  # code n has n bits set
    ((ids, distances),) = BinaryIndex.build(codes).within(np.zeros(8), 2)
    assert ids.tolist() == [0, 1, 2]
    assert distances.tolist() == [0, 1, 2]
    assert distances.dtype == np.int32
    ((ids, distances),) = BinaryIndex.build(codes[5:]).within(np.zeros(8), 2)
    assert ids.shape == distances.shape == (0,)
    assert BinaryIndex.build(codes).within(np.zeros((0, 8)), 2) == []
    assert len(BinaryIndex.build(codes).within(np.zeros(8), 10**12)[0][0]) == 9
    ((names, _),) = BinaryIndex.build(codes, ids=list("abcdefghi")).within(np.zeros(8), 1)
    assert names.tolist() == ["a", "b"]


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_no_query_goes_short(kind):
    parameters = {"flat": {}, "ivf": {"lists": 60, "effort": 1}, "hnsw": {"neighbours": 4, "effort": 1}}
    codes = codes_of(0, 3000, 32)
    index = BinaryIndex.build(codes, kind, **parameters[kind])
    for k in (200, 2500):
        ids, distances = index.search(codes_of(1, 5, 32), k)
        assert ids.shape == (5, k)
        assert all(len(set(row)) == k for row in ids.tolist())
        assert (ids >= 0).all()
        np.testing.assert_array_equal(index.distances(codes_of(1, 5, 32), ids), distances)
    assert index.search(codes_of(1, 5, 32), 10**6)[0].shape == (5, 3000)


# --- changing ---------------------------------------------------------------------------------------

NAMES = {"numbers": lambda n: n, "texts": lambda n: f"image {n:04}", "tuples": lambda n: ("cam", n)}


@pytest.mark.parametrize("kind", BINARY_KINDS)
@pytest.mark.parametrize("naming", NAMES)
def test_changing_leaves_what_it_should_hold(kind, naming):
    name, rng = NAMES[naming], np.random.default_rng(3)
    codes = codes_of(0, 1200, 24)
    plain = naming == "numbers"
    index = made(kind, codes, ids=None if plain else [name(n) for n in range(1200)])
    held = {name(n): code for n, code in enumerate(codes)}
    fresh = 1200
    for turn in range(6):
        if turn % 3 == 0:
            new = codes_of(10 + turn, 50, 24)
            names = [name(fresh + n) for n in range(50)]
            index.add(new, names)
            held |= dict(zip(names, new, strict=True))
            fresh += 50
        elif turn % 3 == 1:
            gone = [list(held)[n] for n in rng.choice(len(held), 200, replace=False)]
            index.remove(gone)
            for item in gone:
                del held[item]
                assert item not in index
        else:
            some = [list(held)[n] for n in rng.choice(len(held), 30, replace=False)]
            new = codes_of(20 + turn, 30, 24)
            index.update(some, new)
            held |= dict(zip(some, new, strict=True))
        assert len(index) == len(held) == len(index.ids)
        for item, code in zip(index.ids.tolist(), unpack_bits(index.codes, 24), strict=True):
            np.testing.assert_array_equal(held[item], code)
        queries = codes_of(turn, 6, 24)
        asked = np.empty(6, dtype=object)
        asked[:] = list(held)[:6]
        ids, distances = index.search(queries, 12, exclude=asked.astype(np.int64) if plain else list(asked))
        for n, query in enumerate(queries):
            assert ids[n].tolist().count(asked[n]) == 0
            assert [slow_distance(query, held[item]) for item in ids[n].tolist()] == distances[n].tolist()
            if kind == "flat":
                far = sorted(slow_distance(query, code) for item, code in held.items() if item != asked[n])
                assert far[:12] == distances[n].tolist()
        np.testing.assert_array_equal(index.distances(queries, ids), distances)


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_everything_may_go_and_come_back(kind):
    index = made(kind, codes_of(0, 100, 16))
    index.remove(range(100))
    assert len(index) == 0
    assert index.search(codes_of(1, 2, 16), 5)[0].shape == (2, 0)
    assert [len(ids) for ids, _ in index.within(codes_of(1, 2, 16), 16)] == [0, 0]
    index.add(codes_of(2, 30, 16), ids=range(30))
    assert sorted(index.search(codes_of(1, 1, 16), 30)[0][0].tolist()) == list(range(30))
    kept = index.search(codes_of(1, 1, 16), 5)[0].tolist()
    with pytest.raises(IndexError, match="no row with the id 77"):
        index.remove([1, 77])
    assert index.search(codes_of(1, 1, 16), 5)[0].tolist() == kept
    with pytest.raises(ValueError, match=r"holds rows with the ids \[3\] already"):
        index.add(codes_of(2, 1, 16), ids=[3])


def test_a_search_sees_one_state_while_others_change_it():
    index = BinaryIndex.build(np.zeros((400, 32)))
    wrong, done = [], threading.Event()

    def ask():
        while not done.is_set():
            ids, distances = index.search(np.zeros(32), 400)
            if len(set(ids[0].tolist())) != ids.shape[1] or (distances != 0).any():
                wrong.append(ids)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    for turn in range(30):
        index.remove(index.ids[:20])
        index.add(np.zeros((20, 32)), ids=range(1000 + 20 * turn, 1020 + 20 * turn))
    done.set()
    for asker in askers:
        asker.join()
    assert wrong == []
    assert len(index) == 400


def test_the_caller_keeps_its_codes():
    packed = pack_bits(codes_of(0, 50, 16))
    before = packed.copy()
    index = BinaryIndex.build(packed, packed=True)
    assert not index.codes.flags.writeable
    packed[:] = 0
    np.testing.assert_array_equal(index.codes, before)
    assert packed.flags.writeable


# --- files and processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BINARY_KINDS)
@pytest.mark.parametrize("named", [False, True])
def test_round_trip(tmp_path, kind, named):
    codes = codes_of(0, 1500, 20)
    index = made(kind, codes, ids=[f"größe {n}" for n in range(1500)] if named else None, seed=4)
    index.remove(index.ids[:100])
    index.save(os.fsencode(tmp_path / "größe 1"))
    opened = BinaryIndex.open(tmp_path / "größe 1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["größe 1"]
    assert (opened.kind, opened.bits, len(opened), opened.effort) == (kind, 20, 1400, index.effort)
    for twin in (opened, pickle.loads(pickle.dumps(index))):
        np.testing.assert_array_equal(twin.ids, index.ids)
        np.testing.assert_array_equal(twin.codes, index.codes)
    for mine, other in zip(index.search(codes[:9], 5), opened.search(codes[:9], 5), strict=True):
        np.testing.assert_array_equal(mine, other)
    opened.add(codes[:3], ids=["a", "b", "c"] if named else None)
    assert len(opened) == 1403
    assert repr(opened) == f"BinaryIndex(kind={kind!r}, 1403 codes of 20 bits)"


def test_an_empty_index_can_be_saved(tmp_path):
    BinaryIndex.build(np.zeros((0, 5))).save(tmp_path / "empty")
    opened = BinaryIndex.open(tmp_path / "empty")
    assert (len(opened), opened.bits) == (0, 5)
    opened.add([[1, 0, 0, 0, 0]])
    assert opened.search([0, 0, 0, 0, 0], 3)[1].tolist() == [[1]]


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_codes_that_were_replaced_are_kept(tmp_path, kind):
    codes, new = codes_of(0, 60, 16), codes_of(1, 2, 16)
    index = made(kind, codes, ids=[f"row {n}" for n in range(60)])
    index.update(["row 3", "row 7"], new)
    index.save(tmp_path / "i")
    opened = BinaryIndex.open(tmp_path / "i")
    assert opened.ids.tolist() == index.ids.tolist()
    np.testing.assert_array_equal(opened.codes, index.codes)
    assert opened.distances(new, [["row 3"], ["row 7"]]).tolist() == [[0], [0]]


@pytest.mark.parametrize("kind", BINARY_KINDS)
def test_every_cut_and_every_change_is_refused(tmp_path, kind):
    path = tmp_path / "i"
    made(kind, codes_of(0, 60, 16)).save(path)
    whole = path.read_bytes()
    for length in [0, 1, 20, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match="cannot be read as a binary index: it is cut short or is another"
        ):
            BinaryIndex.open(path)
    for place in (0, 100, 119):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="was changed since it was written"):
            BinaryIndex.open(path)


def test_other_files_are_refused(tmp_path, monkeypatch):
    GalleryIndex.build(np.eye(4)).save(tmp_path / "real")
    with pytest.raises(ValueError, match="another kind of file"):
        BinaryIndex.open(tmp_path / "real")
    index = BinaryIndex.build(np.eye(4))
    index.save(tmp_path / "binary")
    with pytest.raises(ValueError, match="another kind of file"):
        GalleryIndex.open(tmp_path / "binary")
    with pytest.raises(FileNotFoundError, match="there is no index file at"):
        BinaryIndex.open(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="make it before saving an index there"):
        index.save(tmp_path / "no" / "folder")
    with pytest.raises(TypeError, match="a file holds ids that are whole numbers or texts"):
        BinaryIndex.build(np.eye(4), ids=[(1, n) for n in range(4)]).save(tmp_path / "t")
    before = (tmp_path / "binary").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        BinaryIndex.build(np.zeros((9, 4))).save(tmp_path / "binary")
    assert (tmp_path / "binary").read_bytes() == before
    assert sorted(entry.name for entry in Path(tmp_path).iterdir()) == ["binary", "real"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_search_and_build():
    code = """
        import os, sys, warnings
        import numpy as np
        from dmlviz.index import BinaryIndex
        codes = np.random.default_rng(0).random((3000, 32)) < 0.5
        kinds = ("flat", "ivf", "hnsw")
        indexes = [BinaryIndex.build(codes[:1500], kind) for kind in kinds]
        expected = [index.search(codes[:300], 5) for index in indexes]
        warnings.simplefilter("ignore", DeprecationWarning)  # forking while threads live is the point here
        child = os.fork()
        if child == 0:
            found = [index.search(codes[:300], 5) for index in indexes]
            same = all(np.array_equal(a, b) for x, y in zip(found, expected) for a, b in zip(x, y))
            again = [BinaryIndex.build(codes[:600], kind).within(codes[:20], 3) for kind in kinds]
            same &= all(np.array_equal(a[0], b[0]) for x in again for a, b in zip(x, again[0]))
            os._exit(0 if same else 3)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "options", "error", "words"),
    [
        (
            np.zeros((3, 8)),
            {"kind": "lsh"},
            ValueError,
            "kind must be one of 'flat', 'hnsw', 'ivf', got 'lsh'",
        ),
        (np.zeros(8), {}, ValueError, r"codes must have the shape \(N, bits\), at least 1 wide; got \(8,\)"),
        (np.zeros((3, 0)), {}, ValueError, "at least 1 wide"),
        ([[1, -1]], {}, ValueError, r"must hold bits, 0 or 1; got -1\. For codes of −1 and \+1"),
        ([[0.0, np.nan]], {}, ValueError, "must hold bits, 0 or 1; got nan"),
        ([[0, 255]], {}, ValueError, "for eight bits to a byte say packed=True"),
        ([["a"]], {}, TypeError, "must be real numbers"),
        ([[1, 0], [1]], {}, ValueError, "rows of different lengths"),
        ([[1, 0]], {"packed": True}, TypeError, "packed codes must be uint8"),
        (
            np.zeros((2, 2), np.uint8),
            {"packed": True, "bits": 20},
            ValueError,
            "20 bits take 3 bytes, got codes of 2",
        ),
        (
            np.full((2, 1), 16, np.uint8),
            {"packed": True, "bits": 4},
            ValueError,
            "last 4 of their last byte at zero",
        ),
        (np.zeros((2, 2)), {"bits": 3}, ValueError, "codes must have 3 bits, got 2"),
        (np.zeros((2, 2)), {"ids": ["a"]}, ValueError, "expected one id per row: 2 rows, got 1 ids"),
        (np.zeros((2, 2)), {"ids": [1, 1]}, ValueError, "every row needs an id of its own"),
        (np.zeros((2, 2)), {"lists": 3}, TypeError, "kind 'flat' has no parameter 'lists'"),
        (
            np.zeros((2, 2)),
            {"kind": "ivf", "lists": 3},
            ValueError,
            "3 lists need at least as many codes, got 2",
        ),
        (np.zeros((0, 2)), {"kind": "ivf"}, ValueError, "1 lists need at least as many codes, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(codes, options, error, words):
    with pytest.raises(error, match=words):
        BinaryIndex.build(codes, **options)


def test_what_cannot_be_asked_is_refused_in_words():
    index = BinaryIndex.build(codes_of(0, 20, 12))
    query = np.zeros(12)
    for k, error, words in [
        (0, ValueError, "k must be at least 1, got 0"),
        (1.5, TypeError, "k must be a whole number"),
        (True, TypeError, "k must be a whole number"),
    ]:
        with pytest.raises(error, match=words):
            index.search(query, k)
    for codes, words in [
        (np.zeros(16), "query codes must have 12 bits, got 16"),
        (np.zeros((2, 2, 12)), "must have the shape"),
        (np.full(12, 2), "must hold bits, 0 or 1; got 2"),
    ]:
        with pytest.raises(ValueError, match=words):
            index.search(codes, 1)
    with pytest.raises(ValueError, match="12 bits take 2 bytes, got query codes of 3 bytes"):
        index.search(np.zeros(3, np.uint8), 1, packed=True)
    with pytest.raises(ValueError, match="last 4 of their last byte"):
        index.search(np.full(2, 255, np.uint8), 1, packed=True)
    with pytest.raises(IndexError, match="exclude: there is no row with the id 20"):
        index.search(query, 1, exclude=[20])
    with pytest.raises(TypeError, match="exclude must be whole numbers, got dtype float64"):
        index.search(query, 1, exclude=[2.0])
    with pytest.raises(ValueError, match=r"exclude must hold one id per query, shape \(1,\), got \(2,\)"):
        index.search(query, 1, exclude=[2, 3])
    with pytest.raises(IndexError, match="among: there is no row with the id 99"):
        index.search(query, 1, among=[1, 99])
    assert index.search(query, 1, among=[])[0].shape == (1, 0)
    with pytest.raises(TypeError, match="radius must be a whole number of bits, got 1"):
        index.within(query, 1.5)
    with pytest.raises(ValueError, match="radius must be 0 or more bits, got -1"):
        index.within(query, -1)
    with pytest.raises(
        ValueError, match=r"ids must have the shape \(1, k\) to fit the queries, got \(2, 3\)"
    ):
        index.distances(query, [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(ValueError, match="expected one code per id: 1 ids, got 2 codes"):
        index.update([1], np.zeros((2, 12)))
    with pytest.raises(ValueError, match="recall needs at least two codes, the index holds 1"):
        BinaryIndex.build([[1]]).recall()
    assert index.search(np.zeros((0, 12)), 3)[0].shape == (0, 3)
