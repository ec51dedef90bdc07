"""`GalleryIndex` and `BinaryIndex` against bare FAISS, NumPy and torch: time, recall, memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.alone import alone
from benchmarks.bare_search import (
    Search,
    faiss_codes,
    faiss_search,
    numpy_codes,
    numpy_search,
    torch_search,
)
from benchmarks.gaussians import Asked, clustered_codes, clustered_rows, recall
from benchmarks.measuring import in_turns, ratio_of
from benchmarks.memory import Watch
from dmlviz.index import BinaryIndex, GalleryIndex

ROWS = (10_000, 100_000, 1_000_000)
OURS = {"rows": "GalleryIndex", "codes": "BinaryIndex"}
_DIM, _K, _QUERIES, _ALONE = 512, 10, 100, 10
_BUILT_AGAIN_UNDER = 5.0
_MANY = 1_000_000
_LISTS_OF_MANY = 1024


@dataclass(frozen=True)
class Case:
    """One comparison: what is indexed, how, and for how many rows it is worth the wait.

    Attributes:
        name: as the table says.
        data: "rows", float32; or "codes", as many bits.
        kind: of the index.
        metric: "ip", "l2" or "bits".
        off_centre: whether the rows lie far from the origin.
        up_to: most rows for which it is measured.
    """

    name: str
    data: str
    kind: str
    metric: str
    off_centre: bool = False
    up_to: int | None = None


CASES = (
    Case("flat", "rows", "flat", "ip"),
    Case("flat, by distance, off centre", "rows", "flat", "l2", off_centre=True),
    Case("hnsw", "rows", "hnsw", "ip", up_to=200_000),
    Case("ivf", "rows", "ivf", "ip"),
    Case("ivf-pq", "rows", "ivf-pq", "ip"),
    Case("sq8", "rows", "sq8", "ip"),
    Case("flat", "codes", "flat", "bits"),
    Case("hnsw", "codes", "hnsw", "bits", up_to=200_000),
    Case("ivf", "codes", "ivf", "bits"),
)


@dataclass(frozen=True)
class EngineLine:
    """One line of the results: one way to search one gallery.

    Attributes:
        data: "rows" or "codes".
        case: the case's name.
        rows: how many rows or codes there are.
        who: "GalleryIndex", or what it is measured against.
        build_s: seconds until it can answer; the median of three builds where one takes less than five seconds.
        one_ms: milliseconds of one query of its own, the mean over ten.
        batch_ms: milliseconds of a hundred queries at once.
        one_ratio: median over the rounds of ours / this one's, and its quartiles; all 1 for ours.
        batch_ratio: the same of a hundred queries.
        recall: share of the true ten nearest found, mean over the queries.
        held_mib: what building adds to the memory of the process; None where the system does not tell.
        most_mib: what building and a hundred queries add to it at most.
        rounds: how many rounds were timed; 0 where the case was left out.
        said: how it was built, or why it was left out.
    """

    data: str
    case: str
    rows: int
    who: str
    build_s: float = 0.0
    one_ms: float = 0.0
    batch_ms: float = 0.0
    one_ratio: tuple[float, float, float] = (1.0, 1.0, 1.0)
    batch_ratio: tuple[float, float, float] = (1.0, 1.0, 1.0)
    recall: float = 0.0
    held_mib: float | None = None
    most_mib: float | None = None
    rounds: int = 0
    said: str = ""


def engines(sizes: Sequence[int] = ROWS) -> Iterator[EngineLine]:
    """Every case at every size, each in a process of its own."""
    for case in CASES:
        for count in sizes:
            if case.up_to is not None and count > case.up_to:
                said = f"not measured: a graph of {count:,} takes many minutes to build"
                yield EngineLine(case.data, case.name, count, OURS[case.data], said=said)
                continue
            yield from alone(measured, case, count)


def measured(case: Case, count: int, dim: int = _DIM, rounds: int | None = None) -> list[EngineLine]:
    """One case at one size, in this process.

    Every contender is built in turn and stays; then all of them search in turns.
    """
    clustered = clustered_codes if case.data == "codes" else clustered_rows
    more = {"off_centre": True} if case.off_centre else {}
    asked = clustered(count, dim, _QUERIES, **more)
    lists = _LISTS_OF_MANY if count >= _MANY else max(1, min(round(4 * count**0.5), count // 39 or 1))
    makers = contenders(case, asked.rows, lists)
    searches, build_s, memory = _built(makers, asked)
    names = list(makers)
    rounds = rounds or (11 if count <= 10_000 else 7 if count <= 100_000 else 5)
    one = in_turns([_one_by_one(searches[name], asked.queries[:_ALONE]) for name in names], rounds)
    batch = in_turns([_at_once(searches[name], asked.queries) for name in names], rounds)
    ours = names.index(OURS[case.data])
    said = f"{lists:,} lists" if case.kind.startswith("ivf") else ""
    return [
        EngineLine(
            case.data,
            case.name,
            count,
            name,
            build_s[name],
            1e3 * float(np.median(one[place])) / min(_ALONE, len(asked.queries)),
            1e3 * float(np.median(batch[place])),
            ratio_of(one[ours], one[place]),
            ratio_of(batch[ours], batch[place]),
            recall(asked, searches[name](asked.queries, _K), case.metric, _K),
            *memory[name],
            rounds,
            said,
        )
        for place, name in enumerate(names)
    ]


def contenders(case: Case, rows: np.ndarray, lists: int) -> dict[str, Callable[[], Search]]:
    """Name of each -> a call that builds it. Where every row is compared NumPy and torch take part as well."""
    ways: dict[str, Callable[[], Search]] = {}
    if case.data == "codes":
        if case.kind == "flat":
            ways["NumPy"] = lambda: numpy_codes(rows)
        ways["bare FAISS"] = lambda: faiss_codes(rows, case.kind, lists)
    else:
        if case.kind == "flat":
            ways["NumPy"] = lambda: numpy_search(rows, case.metric)
            ways["torch"] = lambda: torch_search(rows, case.metric)
        ways["bare FAISS"] = lambda: faiss_search(rows, case.metric, case.kind, lists)
    ways[OURS[case.data]] = lambda: _ours(case, rows, lists)
    return ways


def _ours(case: Case, rows: np.ndarray, lists: int) -> Search:
    options = {"lists": lists} if case.kind.startswith("ivf") else {}
    if case.data == "codes":
        codes = BinaryIndex.build(rows, case.kind, packed=True, **options)
        return lambda queries, k: codes.search(queries, k, packed=True)[0]
    index = GalleryIndex.build(rows, case.kind, case.metric, **options)
    return lambda queries, k: index.search(queries, k)[0]


def _built(
    makers: dict[str, Callable[[], Search]], asked: Asked
) -> tuple[dict[str, Search], dict[str, float], dict[str, tuple[float | None, float | None]]]:
    """Each contender's search, its seconds to build, and the memory that it holds and takes at most."""
    searches, memory = {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    _warm(asked)
    for name, make in makers.items():
        watch = Watch()
        start = time.perf_counter()
        searches[name] = make()
        seconds[name].append(time.perf_counter() - start)
        held = watch.held()
        searches[name](asked.queries, _K)
        memory[name] = (held, watch.most())
    again = 2 if len(asked.rows) < _MANY else 0  # two more of many rows would not fit the memory of most
    for _ in range(again):
        for name, make in makers.items():
            if seconds[name][0] < _BUILT_AGAIN_UNDER:
                start = time.perf_counter()
                make()
                seconds[name].append(time.perf_counter() - start)
    return searches, {name: float(np.median(taken)) for name, taken in seconds.items()}, memory


def _warm(asked: Asked) -> None:
    """Have every library take what memory it keeps for good before any is counted."""
    few = asked.rows[:1000]
    code = few.dtype == np.uint8
    for make in contenders(
        Case("", "codes" if code else "rows", "flat", "bits" if code else "ip"), few, 1
    ).values():
        make()(asked.queries, 1)


def _one_by_one(search: Search, queries: np.ndarray) -> Callable[[], None]:
    ones = [queries[place : place + 1] for place in range(len(queries))]

    def call() -> None:
        for one in ones:
            search(one, _K)

    return call


def _at_once(search: Search, queries: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: search(queries, _K)
