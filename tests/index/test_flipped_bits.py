"""One bit of an index's file flips: refused where it is checked, and where it is not no process ends or hangs."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # for faulty, which the tests of this room share

from faulty import forked

import dmlviz.index.files as files
from dmlviz.index import GalleryIndex

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
COUNT, DIM = 300, 8
KINDS = ["flat", "hnsw", "ivf", "ivf-pq", "sq8", "HNSW8,SQ8"]
EDGE = 256  # bytes at the ends that are checked, instead of 65,536


@pytest.fixture
def small_edges(monkeypatch):
    """A file with a middle that is longer than its ends, as those of galleries are."""
    monkeypatch.setattr(files, "_EDGE", EDGE)


def rows_and_index(kind):
    rows = np.random.default_rng(0).standard_normal((COUNT, DIM)).astype(np.float32)
    return rows, GalleryIndex.build(rows, kind)


def regions(whole, rows):
    """Where in a file head, middle, rows and footer are; each as (first, behind the last)."""
    end = len(whole) - 8 - len(b"dmlviz index 1\n")
    footer = end - int.from_bytes(whole[end:][:8], "little")
    at = whole.rfind(rows.tobytes())
    return {
        "head": (0, min(EDGE, at)),
        "middle": (EDGE, at),
        "rows": (at, at + rows.nbytes),
        "footer": (footer, len(whole)),
    }


def flipped(whole, at, bit):
    changed = bytearray(whole)
    changed[at] ^= 1 << bit
    return bytes(changed)


def opened(path, content, mapped):
    """The index, or None where it is refused in words."""
    path.unlink(missing_ok=True)  # an earlier one may be mapped still
    path.write_bytes(content)
    try:
        return GalleryIndex.open(path, mapped=mapped)
    except ValueError as error:
        if not any(words in str(error) for words in ("Build the index again", "that GalleryIndex wrote")):
            raise AssertionError(f"refused without words: {error!r}") from error
        return None


@pytest.mark.usefixtures("small_edges")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("region", ["head", "rows", "footer"])
def test_every_flip_is_refused_that_is_checked(tmp_path, kind, region):
    rows, index = rows_and_index(kind)
    index.save(tmp_path / "i")
    whole = (tmp_path / "i").read_bytes()
    first, last = regions(whole, rows)[region]
    random = np.random.default_rng(1)
    places = range(first, last) if last - first < 300 else random.integers(first, last, 150).tolist()
    for at in places:
        bit = int(random.integers(8))
        assert opened(tmp_path / "x", flipped(whole, at, bit), mapped=False) is None
        if region != "rows":
            assert opened(tmp_path / "x", flipped(whole, at, bit), mapped=True) is None
    assert opened(tmp_path / "x", whole, mapped=True) is not None


@pytest.mark.usefixtures("small_edges")
def test_rows_that_flipped_answer_for_themselves_when_mapped(tmp_path):
    rows, index = rows_and_index("flat")
    index.save(tmp_path / "i")
    whole = (tmp_path / "i").read_bytes()
    middle = regions(whole, rows)["rows"][0] + 4 * DIM * 150  # a row far from both ends
    found = opened(tmp_path / "x", flipped(whole, middle + 1, 0), mapped=True)
    same = (found.vectors == rows).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [150]
    ids, scores = found.search(rows[:9], COUNT)
    expected = rows[:9].astype(np.float64) @ found.vectors[ids[0]].T.astype(np.float64)
    np.testing.assert_array_equal(scores[0], expected[0].astype(np.float32))


@pytest.mark.usefixtures("small_edges")
@pytest.mark.parametrize("kind", KINDS[1:])
def test_links_and_codes_that_flipped_end_no_process_when_mapped(tmp_path, kind):
    rows, index = rows_and_index(kind)
    index.save(tmp_path / "i")
    whole = (tmp_path / "i").read_bytes()
    first, last = regions(whole, rows)["middle"]

    def ask():
        random = np.random.default_rng(2)
        tally = {"refused": 0, "answered": 0}
        for _ in range(120):
            case = int(random.integers(first, last)), int(random.integers(8))
            print(json.dumps(case), file=sys.stderr, flush=True)  # what came last, should this end here
            signal.alarm(30)
            found = opened(tmp_path / "x", flipped(whole, *case), mapped=True)
            if found is not None:
                try:
                    ids, _ = found.search(rows[:10], 5)
                    assert ((ids >= 0) & (ids < COUNT)).all()
                except ValueError as error:
                    assert len(str(error)) > 20  # noqa: PT017
            tally["refused" if found is None else "answered"] += 1
            signal.alarm(0)
        assert tally["answered"] > 0, tally

    assert forked(ask)
