"""Thousands of made-up questions to the index: a plain scan answers the same, and every refusal has words.

Files with flipped bits and cut ends are opened in a process of their own, which must come to its end.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dmlviz.index import BinaryIndex, GalleryIndex, unpack_bits

REFUSALS = (ValueError, TypeError, IndexError, FileNotFoundError)
QUICK = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
DTYPES = ("float32", "float64", "float16", "int8", "int64", "uint16", "bool")
NAMES = st.one_of(
    st.text(max_size=4), st.tuples(st.integers(0, 9), st.text(max_size=1)), st.binary(max_size=3)
)


def many(examples):
    return settings(deadline=None, max_examples=examples, suppress_health_check=QUICK, database=None)


# --- a plain scan, from the definition ----------------------------------------------------------------------------


def plain_scan(rows, names, queries, k, metric, exclude, among):
    """Names and scores by loops in float64: best first, ties in the order of names or of rows."""
    rows, queries = rows.astype(np.float32).astype(np.float64), queries.astype(np.float32).astype(np.float64)
    numbers = all(isinstance(name, int) for name in names)
    answer = []
    for n, query in enumerate(queries):
        found = []
        for place, (row, name) in enumerate(zip(rows, names, strict=True)):
            if (among is not None and name not in among) or (exclude is not None and name == exclude[n]):
                continue
            score = float(row @ query) if metric == "ip" else -float(((row - query) ** 2).sum())
            found.append((-np.float32(score), name if numbers else place, name))
        answer.append([(name, -score) for score, _, name in sorted(found, key=lambda one: one[:2])[:k]])
    return answer


@st.composite
def rows_of(draw, count, dim):
    """Rows that tie and lie off centre more often than chance would have it; whole numbers are exact in float32."""
    dtype = draw(st.sampled_from(DTYPES))
    seed, spread = draw(st.integers(0, 2**16)), draw(st.sampled_from([1, 2, 5, 100]))
    made = np.random.default_rng(seed).integers(-spread, spread + 1, (count, dim))
    if dtype == "bool":
        made = made > 0
    elif dtype.startswith("u"):
        made = abs(made)
    if draw(st.booleans()) and count:
        made[draw(st.integers(0, count - 1))] = 0
    rows = made.astype(dtype)
    if draw(st.booleans()):
        rows = np.asfortranarray(rows)
    if draw(st.booleans()):
        rows = np.repeat(rows, 2, axis=1)[:, ::2]
    return rows


@st.composite
def questions(draw):
    count, dim = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 3, 8, 17]))
    rows, queries = draw(rows_of(count, dim)), draw(rows_of(draw(st.integers(0, 6)), dim))
    sort = draw(st.sampled_from(["plain", "numbers", "names"]))
    if sort == "names":
        names = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    elif sort == "numbers":
        names = draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count, unique=True))
    else:
        names = list(range(count))
    nobody = None if sort == "names" else -1
    some = st.sampled_from(names)
    exclude = draw(st.none() | st.lists(some | st.just(nobody), min_size=len(queries), max_size=len(queries)))
    among = draw(st.none() | st.lists(some, unique=True))
    k = draw(st.integers(1, 50))
    return rows, queries, names, sort, exclude, among, k


def listed(values, sort):
    """Ids as the index takes them; a list of tuples must not become an array of two dimensions."""
    if values is None or sort != "names":
        return None if values is None else np.array(values, dtype=np.int64)
    made = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        made[place] = value
    return made


@many(700)
@given(questions(), st.sampled_from(["ip", "l2"]))
def test_a_flat_index_answers_as_a_plain_scan(asked, metric):
    rows, queries, names, sort, exclude, among, k = asked
    index = GalleryIndex.build(rows, metric=metric, ids=None if sort == "plain" else names)
    ids, scores = index.search(queries, k, listed(exclude, sort), listed(among, sort))
    expected = plain_scan(rows, names, queries, k, metric, exclude, among)
    width = min(
        (len(one) for one in expected), default=ids.shape[1]
    )  # no query gets more than every one can have
    assert ids.shape == scores.shape == (len(queries), width) or not len(queries)
    assert [
        list(zip(row, found, strict=True)) for row, found in zip(ids.tolist(), scores.tolist(), strict=True)
    ] == [[(name, float(score)) for name, score in one[:width]] for one in expected]
    if width:
        assert np.array_equal(index.similarity(queries, ids), scores)


@many(400)
@given(
    questions(),
    st.sampled_from(["ip", "l2"]),
    st.sampled_from(["hnsw", "ivf", "sq8", "auto", "IVF2,SQ8", "HNSW8", "PCA1,Flat", "IDMap,Flat"]),
)
def test_every_kind_keeps_the_rules(asked, metric, kind):
    rows, queries, names, sort, exclude, among, k = asked
    named = None if sort == "plain" else names
    if refused(GalleryIndex.build, rows, kind, metric, ids=named):
        return  # too few rows to be trained on, say
    index = GalleryIndex.build(rows, kind, metric, ids=named)
    ids, scores = index.search(queries, k, listed(exclude, sort), listed(among, sort))
    exact = GalleryIndex.build(rows, "flat", metric, ids=named)
    assert ids.shape[1] == exact.search(queries, k, listed(exclude, sort), listed(among, sort))[0].shape[1]
    for n, (found, values) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True)):
        assert len(set(found)) == len(found)
        assert set(found) <= set(names if among is None else among)
        assert exclude is None or exclude[n] not in found
        assert values == sorted(values, reverse=True)
    if ids.size:
        assert np.array_equal(exact.similarity(queries, ids), scores)


# --- what is wrong ------------------------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(-3, 9) | st.floats(-2, 2) | st.none() | st.text(max_size=2), max_size=4),
    st.lists(st.lists(st.floats(width=32, allow_nan=True), max_size=4), max_size=4),
    st.sampled_from(
        [
            {},
            {1: 2},
            object(),
            np.nan,
            np.zeros((2, 3, 4)),
            np.zeros((0, 3)),
            np.full((2, 3), np.nan),
            np.full((1, 3), np.inf),
            np.full((2, 3), 1e300),
            np.full((2, 3), 3e38),
            np.zeros((2, 3), dtype=complex),
            np.array([["a", "b", "c"]]),
            np.array([1, "a", None], dtype=object),
            np.array(["2020-01-01"], dtype="datetime64[D]"),
            np.int64(-1),
            np.float64(2),
            np.array(3),
            range(3),
            "flat",
            "IVF0,Flat",
            "PQ0",
            "HNSW-1",
            "",
            [[0, 0, 0]],
            [0],
            (),
        ]
    ),
)


def refused(call, *given, **more):
    """Whether a call was refused in words; anything but a refusal goes through."""
    said = None
    try:
        call(*given, **more)
    except REFUSALS as error:
        said = str(error)
    assert said is None or (len(said.strip("'\"")) > 15 and "faiss/" not in said), said
    return said is not None


@many(1000)
@given(
    st.sampled_from(
        ["search", "k", "exclude", "among", "similarity", "add", "remove", "update", "recall", "build"]
    ),
    ODD,
    ODD,
    st.booleans(),
)
def test_what_is_odd_is_refused_in_words_or_answered(what, odd, other, named):
    ids = ["a", ("b", 1), b"c"] if named else None
    index = GalleryIndex.build(np.eye(3), ids=ids)
    kept = ["a"] if named else [0]
    calls = {
        "search": lambda: index.search(odd, 2),
        "k": lambda: index.search(np.eye(3), odd),
        "exclude": lambda: index.search(np.eye(3), 1, odd),
        "among": lambda: index.search(np.eye(3), 1, None, odd),
        "similarity": lambda: index.similarity(odd if named else np.eye(3)[:1], other),
        "add": lambda: index.add(odd, other),
        "remove": lambda: index.remove(odd),
        "update": lambda: index.update(odd, other),
        "recall": lambda: index.recall(odd, other, 0) if not isinstance(other, int) or other < 9 else None,
        "build": lambda: GalleryIndex.build(np.eye(3), odd, other if named else "ip"),
    }
    before = index.ids.tolist()
    if refused(calls[what]):
        assert index.ids.tolist() == before  # what was refused has changed nothing
        found, scores = index.search(np.eye(3)[:1], 1, among=kept)
        assert found.tolist() == [kept]
        assert scores.tolist() == [[1.0]]


@many(300)
@given(
    st.integers(1, 12), st.integers(0, 11), st.sampled_from([np.nan, np.inf, -np.inf, 1e39]), st.booleans()
)
def test_rows_that_are_not_finite_are_named(count, at, value, asking):
    assume(at < count)
    rows = np.ones((count, 4))
    rows[at, at % 4] = value
    take = (
        (lambda: GalleryIndex.build(np.eye(4)).search(rows, 1))
        if asking
        else lambda: GalleryIndex.build(rows)
    )
    with pytest.raises(ValueError, match=rf"row {at} holds NaN, infinity or a number beyond 3\.4e38"):
        take()


# --- changes, against a dict --------------------------------------------------------------------------------------


class Changes(RuleBasedStateMachine):
    """An index and a dict of its rows go through the same changes."""

    @initialize(
        kind=st.sampled_from(["flat", "flat", "hnsw", "ivf", "sq8"]),
        metric=st.sampled_from(["ip", "l2"]),
        named=st.booleans(),
        count=st.integers(0, 12),
        seed=st.integers(0, 99),
    )
    def start(self, kind, metric, named, count, seed):
        self.random = np.random.default_rng(seed)
        self.metric, self.named, self.fresh, self.gone = metric, named, 0, []
        count = count if kind in ("flat", "hnsw") else count + 1
        rows = self.rows(count)
        self.held = dict(zip(self.new_ids(count), rows, strict=True))
        self.index = GalleryIndex.build(rows, kind, metric, ids=list(self.held) if named else None)

    def rows(self, count):
        return self.random.integers(-3, 4, (count, 4)).astype(np.float32)

    def opened(self, path, mapped):
        return GalleryIndex.open(path, mapped=mapped)

    def new_ids(self, count):
        numbers = range(self.fresh, self.fresh + count)
        self.fresh += count
        return [f"row {n}" for n in numbers] if self.named else list(numbers)

    @rule(count=st.integers(0, 8))
    def add(self, count):
        rows, ids = self.rows(count), self.new_ids(count)
        self.index.add(rows, ids)
        self.held |= dict(zip(ids, rows, strict=True))

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def remove(self, data):
        ids = data.draw(st.lists(st.sampled_from(list(self.held)), unique=True, max_size=6))
        self.index.remove(listed(ids, "names" if self.named else "numbers"))
        for name in ids:
            del self.held[name]
        self.gone += [name for name in ids if name not in self.gone]

    @rule()
    @precondition(lambda self: self.gone)
    def come_back(self):
        name, rows = self.gone.pop(), self.rows(1)
        self.index.add(rows, [name])
        self.held[name] = rows[0]

    @rule(mapped=st.booleans())
    def keep(self, mapped):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kept.faiss"
            self.index.save(path)
            again = self.opened(path, mapped)
            assert again.ids.tolist() == self.index.ids.tolist()
            query = self.rows(1)
            for found, expected in zip(again.search(query, 5), self.index.search(query, 5), strict=True):
                assert found.tolist() == expected.tolist()
            if not mapped:
                self.index = again

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def update(self, data):
        ids = data.draw(st.lists(st.sampled_from(list(self.held)), unique=True, max_size=6))
        rows = self.rows(len(ids))
        self.index.update(ids, rows)
        for name, row in zip(ids, rows, strict=True):  # what is updated comes last
            del self.held[name]
            self.held[name] = row

    @rule(gone=st.booleans())
    @precondition(lambda self: self.held)
    def refuse(self, gone):
        there = next(iter(self.held))
        missing = "nobody" if self.named else self.fresh + 5
        with pytest.raises(IndexError, match="ids"):
            self.index.remove([there, missing] if gone else [missing])
        with pytest.raises(ValueError, match="already; use update"):
            self.index.add(self.rows(1), [there])

    @rule(k=st.integers(1, 12))
    def ask(self, k):
        query = self.rows(1)
        ids, scores = self.index.search(query, k)
        rows = np.array(list(self.held.values()), dtype=np.float32).reshape(-1, 4)
        exact = plain_scan(rows, list(self.held), query, k, self.metric, None, None)[0]
        assert ids.shape == (1, min(k, len(self.held)))
        assert set(ids[0].tolist()) <= set(self.held)
        own = np.array([self.held[name] for name in ids[0].tolist()], dtype=np.float64).reshape(-1, 4)
        expected = own @ query[0] if self.metric == "ip" else -((own - query[0]) ** 2).sum(axis=1)
        assert scores[0].tolist() == expected.tolist()
        if self.index.exact:
            assert list(zip(ids[0].tolist(), scores[0].tolist(), strict=True)) == [
                (i, float(s)) for i, s in exact
            ]

    @invariant()
    def holds_the_same(self):
        assert len(self.index) == len(self.held)
        found = dict(zip(self.index.ids.tolist(), self.index.vectors, strict=True))
        assert found.keys() == self.held.keys()
        assert all(np.array_equal(found[name], row) for name, row in self.held.items())


class ChangesOfCodes(Changes):
    """The same of binary codes."""

    @initialize(
        kind=st.sampled_from(["flat", "hnsw", "ivf"]),
        named=st.booleans(),
        count=st.integers(0, 12),
        seed=st.integers(0, 99),
    )
    def start(self, kind, named, count, seed):
        self.random = np.random.default_rng(seed)
        self.named, self.fresh, self.gone = named, 0, []
        rows = self.rows(count + (kind == "ivf"))
        self.held = dict(zip(self.new_ids(len(rows)), rows, strict=True))
        self.index = BinaryIndex.build(rows, kind, ids=list(self.held) if named else None)

    def rows(self, count):
        return self.random.integers(0, 2, (count, 11)).astype(np.uint8)

    def opened(self, path, mapped):
        return BinaryIndex.open(path)

    @rule(k=st.integers(1, 12))
    def ask(self, k):
        query = self.rows(1)
        ids, distances = self.index.search(query, k)
        far = {name: int((row != query[0]).sum()) for name, row in self.held.items()}
        assert ids.shape == (1, min(k, len(self.held)))
        assert distances[0].tolist() == [far[name] for name in ids[0].tolist()]
        if self.index.exact:
            assert distances[0].tolist() == sorted(far.values())[:k]

    @invariant()
    def holds_the_same(self):
        found = dict(zip(self.index.ids.tolist(), unpack_bits(self.index.codes, 11), strict=True))
        assert len(self.index) == len(self.held)
        assert found.keys() == self.held.keys()
        assert all(np.array_equal(found[name], row) for name, row in self.held.items())


TestChanges = Changes.TestCase
TestChanges.settings = settings(many(80), stateful_step_count=15)
TestChangesOfCodes = ChangesOfCodes.TestCase
TestChangesOfCodes.settings = settings(many(60), stateful_step_count=15)


# --- files --------------------------------------------------------------------------------------------------------

OPENED = """
import json, os, signal, sys
import numpy as np
from pathlib import Path
from dmlviz.index import BinaryIndex, GalleryIndex, unpack_bits

REFUSALS = (ValueError, TypeError, IndexError, FileNotFoundError)
folder, mapped = Path(sys.argv[1]), sys.argv[2] == "mapped"
made = np.random.default_rng(7)
rows = made.normal(size=(300, 8)).astype(np.float32)
names = [f"row {n}" for n in range(300)]
kinds = {
    "flat": {}, "named": {"ids": names}, "l2": {"metric": "l2"}, "hnsw": {"kind": "hnsw"}, "ivf": {"kind": "ivf"},
    "ivf-pq": {"kind": "ivf-pq"}, "sq8": {"kind": "sq8"},
}
tally = {}
for kind, how in kinds.items():
    index = GalleryIndex.build(rows, **how)
    index.remove([names[4] if kind == "named" else 4])
    path = folder / f"{kind}.faiss"
    index.save(path)
    whole = path.read_bytes()
    magic = 8 + len(b"dmlviz index 1\\n")
    footer = len(whole) - magic - int.from_bytes(whole[-magic:][:8], "little")
    said = index.search(rows[:6], 5)
    for case in range(int(sys.argv[3])):
        changed = bytearray(whole)
        how = ("head", "body", "footer", "cut", "grown", "noise")[case % 6]
        if how == "cut":
            del changed[made.integers(0, len(changed)):]
        elif how == "grown":
            changed += made.bytes(int(made.integers(1, 40)))
        elif how == "noise":
            changed = bytearray(whole[: made.integers(0, 40)] + made.bytes(int(made.integers(0, 400))))
        else:
            first, last = {"head": (0, 60), "body": (0, footer), "footer": (footer, len(whole))}[how]
            for _ in range(int(made.integers(1, 4))):
                changed[made.integers(first, last)] ^= 1 << int(made.integers(0, 8))
        path.write_bytes(changed)
        print(json.dumps([kind, how, case]), file=sys.stderr, flush=True)  # what came last, should this end here
        signal.alarm(30)
        try:
            opened = GalleryIndex.open(path, mapped=mapped)
            found = opened.search(rows[:6], 5)
            same = np.array_equal(found[0], said[0]) and np.array_equal(found[1], said[1])
            outcome = "same" if same and changed == whole else "same, changed" if same else "another answer"
        except REFUSALS as error:
            outcome = "refused" if len(str(error)) > 20 else f"refused without words: {error!r}"
        except Exception as error:
            outcome = f"wrong kind of error: {error!r}"
        signal.alarm(0)
        tally[outcome] = tally.get(outcome, 0) + 1
print(json.dumps(tally))
"""


def opened_in_another_process(tmp_path, how, cases):
    command = [sys.executable, "-c", OPENED, str(tmp_path), how, str(cases)]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=Path(__file__).parents[2]
    )
    last = found.stderr.strip().splitlines()[-1:]
    assert found.returncode == 0, f"ended with {found.returncode} at {last}"
    return json.loads(found.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="no alarm to end what hangs")
def test_changed_files_are_refused_in_words(tmp_path):
    tally = opened_in_another_process(tmp_path, "whole", 120)
    assert set(tally) <= {"refused", "same"}, tally
    assert tally["refused"] > 700


@pytest.mark.skipif(sys.platform == "win32", reason="no alarm to end what hangs")
def test_changed_files_opened_mapped_end_no_process(tmp_path):
    """The checksum of the rows is not compared, so a flipped row answers for itself; nothing may crash or hang."""
    tally = opened_in_another_process(tmp_path, "mapped", 48)
    assert set(tally) <= {"refused", "same", "same, changed", "another answer"}, tally
    assert tally["refused"] > 100


# --- found by these -----------------------------------------------------------------------------------------------


def test_tuples_among_other_names_are_ids_wherever_ids_are_given():
    index = GalleryIndex.build(np.eye(3), ids=["a", ("b", 1), b"c"])
    assert index.search(np.eye(3), 1, [("b", 1), None, "a"])[0].ravel().tolist() == ["a", ("b", 1), b"c"]
    assert index.search(np.eye(3)[2], 1, among=[("b", 1), "a"])[0].ravel().tolist() == ["a"]
    assert index.similarity(np.eye(3)[1], [("b", 1), "a"]).tolist() == [[1, 0]]
    assert index.similarity(np.eye(3)[:2], [[("b", 1), "a"], ["a", b"c"]]).tolist() == [[0, 1], [0, 0]]
    with pytest.raises(ValueError, match="ids must be rows of one length"):
        index.similarity(np.eye(3)[:2], [["a"], ["a", b"c"]])
    index.remove([("b", 1), "a"])
    assert index.ids.tolist() == [b"c"]
    pairs = GalleryIndex.build(np.eye(2), ids=[("a", 1), ("b", 1)])
    assert pairs.search(np.eye(2), 1, [("b", 1), ("a", 1)])[0].ravel().tolist() == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "sq8", "IVF1,SQ8"])
def test_all_rows_may_go_from_every_kind_and_others_come(kind, tmp_path):
    index = GalleryIndex.build(np.eye(4), kind)
    index.remove([0, 1, 2, 3])
    assert len(index) == 0
    assert index.search(np.eye(4), 2)[0].shape == (4, 0)
    index.save(tmp_path / "empty.faiss")
    for one in (index, GalleryIndex.open(tmp_path / "empty.faiss")):
        one.add(np.eye(4)[::-1])
        ids, scores = one.search(np.eye(4)[1], 1)
        assert scores.tolist() == [[1.0]]
        assert one.vectors[one.ids == ids[0, 0]].tolist() == [[0, 1, 0, 0]]


def test_a_prefix_that_takes_no_rows_is_refused_in_words():
    with pytest.raises(
        ValueError, match=r"of kind 'IDMap,Flat' takes no rows: .*Leave prefixes and suffixes for ids"
    ):
        GalleryIndex.build(np.eye(4), "IDMap,Flat")
