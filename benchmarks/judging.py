"""`Gallery.evaluate(protocol=...)` against a naive evaluation that sorts the whole matrix: time, memory, figures."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.alone import alone
from benchmarks.gaussians import clustered_rows
from benchmarks.measuring import ratio_of
from benchmarks.memory import Watch
from benchmarks.naive_protocols import NAIVE, judged_naively
from benchmarks.waiting import NoNetwork
from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery

IMAGES = (5_000, 20_000)
_PER_CLASS, _CAMERAS = 20, 4
_ONCE_FROM = 10_000


@dataclass(frozen=True)
class JudgingCost:
    """One line of the results.

    Attributes:
        protocol: its name.
        images: how many images there are; each asks all others.
        ours_s: seconds of `Gallery.evaluate`, the gallery made from its embeddings included.
        naive_s: seconds of the naive evaluation.
        ratio: median over the rounds of ours / naive, and its quartiles.
        ours_mib: what ours adds to the memory of the process at most; None where the system does not tell.
        naive_mib: the same of the naive one.
        differs: by how much a figure of theirs differs at most.
        rounds: how often each was timed.
    """

    protocol: str
    images: int
    ours_s: float
    naive_s: float
    ratio: tuple[float, float, float]
    ours_mib: float | None
    naive_mib: float | None
    differs: float
    rounds: int


def judgings(sizes: Sequence[int] = IMAGES) -> Iterator[JudgingCost]:
    """Every protocol that has a naive twin, at every size, each in a process of its own."""
    for protocol in NAIVE:
        for count in sizes:
            yield alone(judging, protocol, count)


def judging(protocol: str, count: int) -> JudgingCost:
    """One protocol at one size, in this process: the two in turns, the first round with its memory watched."""
    rows = clustered_rows(count, NoNetwork.dim, 1).rows
    # every tenth image is of another class than its cluster, so that hits lie at all ranks
    random = np.random.default_rng(1)
    classes = max(1, count // _PER_CLASS)
    labels = np.arange(count) % classes
    labels = np.where(random.random(count) < 0.1, random.integers(0, classes, count), labels)
    cameras = random.integers(0, _CAMERAS, count)
    picture = np.zeros((1, 1, 3), np.uint8)
    names = [f"image {place}" for place in range(count)]
    images = ImageSet(lambda _: picture, names, labels, pd.DataFrame({"camera": cameras}))

    def ours() -> Mapping[str, float]:
        gallery = Gallery(images, NoNetwork(), rows)  # type: ignore[arg-type]
        return gallery.evaluate(protocol=protocol).values

    def naive() -> Mapping[str, float]:
        return judged_naively(protocol, rows, labels, cameras)

    judged_naively(protocol, rows[:200], labels[:200], cameras[:200])  # what libraries load once is loaded
    watched = [_watched(ours), _watched(naive)]
    times = [[seconds] for seconds, _, _ in watched]
    for number in range(2 if count < _ONCE_FROM else 0):
        for place, call in list(enumerate((ours, naive)))[:: 1 if number % 2 else -1]:
            times[place].append(_seconds(call)[0])
    (_, ours_mib, ours_found), (_, naive_mib, naive_found) = watched
    differs = max(abs(ours_found[name] - naive_found[name]) for name in naive_found)
    ours_s, naive_s = (float(np.median(taken)) for taken in times)
    return JudgingCost(
        protocol, count, ours_s, naive_s, ratio_of(*times), ours_mib, naive_mib, differs, len(times[0])
    )


def _watched(call: Callable[[], Mapping[str, float]]) -> tuple[float, float | None, Mapping[str, float]]:
    watch = Watch()
    seconds, found = _seconds(call)
    return seconds, watch.most(), found


def _seconds(call: Callable[[], Mapping[str, float]]) -> tuple[float, Mapping[str, float]]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found
