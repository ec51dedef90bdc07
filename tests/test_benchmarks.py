"""The scripts that write the tables still fit the package: each loads, and the engine's are right in the small."""

import gc
import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch):
    """Import a script by its name. Garbage is collected often there: what is old is left out of that, for speed."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    gc.freeze()
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    gc.unfreeze()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")))
def test_a_benchmark_loads(name, bench):
    assert bench(name).__doc__


def all_distances(rows, queries):
    return ((queries[:, None].astype(float) - rows[None].astype(float)) ** 2).sum(axis=2)


@pytest.mark.parametrize("off_centre", [False, True])
def test_ours_finds_the_very_rows_that_numpy_finds_in_float64(bench, off_centre):
    asked = bench("gaussians").clustered_rows(700, 24, 9, off_centre=off_centre)
    engine = bench("engine")
    case = next(one for one in engine.CASES if one.kind == "flat" and one.off_centre == off_centre)
    expected = (
        all_distances(asked.rows, asked.queries)
        if off_centre
        else -(asked.queries.astype(float) @ asked.rows.T.astype(float))
    )
    search = engine.contenders(case, asked.rows, 1)["GalleryIndex"]()
    np.testing.assert_array_equal(search(asked.queries, 10), np.argsort(expected, axis=1)[:, :10])


def test_every_bare_search_that_compares_all_rows_finds_what_ours_finds(bench):
    engine, gaussians = bench("engine"), bench("gaussians")
    for case in engine.CASES:
        if case.kind != "flat" or case.off_centre:
            continue
        draw = gaussians.clustered_codes if case.data == "codes" else gaussians.clustered_rows
        asked = draw(40_000 if case.data == "rows" else 2_000, 32, 5)  # more rows than go into a block
        ways = engine.contenders(case, asked.rows, 1)
        assert len(ways) == (3 if case.data == "codes" else 4)
        for name, make in ways.items():
            found = make()(asked.queries, 10)
            assert found.shape == (5, 10), name
            assert gaussians.recall(asked, found, case.metric, 10) == 1.0, name


def test_distances_by_products_in_blocks_are_distances(bench):
    gaussians, bare = bench("gaussians"), bench("bare_search")
    asked = gaussians.clustered_rows(20_000, 16, 4)
    asked.rows[:] *= np.linspace(0.5, 1.5, 20_000)[:, None]  # rows of all lengths, or products would do
    expected = np.argsort(all_distances(asked.rows, asked.queries), axis=1)[:, :5]
    for make in (bare.numpy_search, bare.torch_search):
        np.testing.assert_array_equal(make(asked.rows, "l2")(asked.queries, 5), expected)


@pytest.mark.parametrize("metric", ["ip", "l2", "bits"])
def test_recall_counts_what_is_near_enough_and_nothing_else(bench, metric):
    gaussians = bench("gaussians")
    if metric == "bits":
        asked = gaussians.clustered_codes(600, 64, 3)
        asked.rows[-1] = asked.queries[0]  # -1 must not be taken for the last row, which is near
        far = np.unpackbits(asked.queries[:, None] ^ asked.rows[None], axis=2).sum(axis=2).astype(float)
    else:
        asked = gaussians.clustered_rows(600, 16, 3, off_centre=metric == "l2")
        asked.rows[-1] = asked.queries[0]
        exact = asked.queries.astype(float), asked.rows.astype(float)
        far = -(exact[0] @ exact[1].T) if metric == "ip" else all_distances(asked.rows, asked.queries)
    order = np.argsort(far, axis=1, kind="stable")
    np.testing.assert_allclose(
        gaussians.true_similarities(asked, metric, 4), -np.sort(far, axis=1)[:, :4], rtol=1e-9
    )
    assert gaussians.recall(asked, order[:, :4], metric, 4) == 1.0
    assert gaussians.recall(asked, order[:, -4:], metric, 4) == 0.0
    half = np.concatenate([order[:, :2], np.full((3, 2), -1)], axis=1)
    assert gaussians.recall(asked, half, metric, 4) == 0.5
    if metric == "bits":
        tied = far == np.sort(far, axis=1)[:, 3:4]
        assert tied.sum(axis=1).max() > 1, "codes of 64 bits tie, or this shows nothing"
        last = np.array([np.flatnonzero(line)[-1] for line in tied])
        swapped = np.concatenate([order[:, :3], last[:, None]], axis=1)
        assert gaussians.recall(asked, swapped, metric, 4) == 1.0


def test_every_kind_of_the_engine_is_measured(bench):
    engine = bench("engine")
    for case in engine.CASES:
        lines = engine.measured(case, 1200, dim=32, rounds=2)
        assert [line.who for line in lines][-1] == engine.OURS[case.data]
        for line in lines:
            assert line.rounds == 2
            assert line.one_ms > 0
            assert line.batch_ms > 0
            assert 0 < line.recall <= 1
            assert line.one_ratio[1] <= line.one_ratio[0] <= line.one_ratio[2]
        ours = lines[-1]
        assert ours.one_ratio == ours.batch_ratio == (1.0, 1.0, 1.0)
        assert ours.recall >= max(line.recall for line in lines) - (0 if case.kind == "flat" else 0.05)
        if case.kind == "flat":
            assert ours.recall == 1.0


def test_a_graph_too_large_is_named_and_not_built(bench, monkeypatch):
    engine = bench("engine")
    monkeypatch.setattr(engine, "CASES", [case for case in engine.CASES if case.kind == "hnsw"])
    monkeypatch.setattr(engine, "alone", None)  # nothing is started
    lines = list(engine.engines([300_000]))
    assert [line.rounds for line in lines] == [0, 0]
    assert all("300,000" in line.said for line in lines)


@pytest.mark.parametrize("protocol", ["cub", "map@r", "market1501"])
def test_the_naive_evaluation_says_what_ours_says(bench, protocol):
    found = bench("judging").judging(protocol, 300)
    assert found.differs < 1e-9
    assert found.rounds == 3
    assert found.ratio[1] <= found.ratio[0] <= found.ratio[2]


def test_what_was_measured_survives_the_file_and_stands_in_the_table(bench, monkeypatch, tmp_path):
    report, engine = bench("report"), bench("engine")
    lines = [
        engine.EngineLine(
            "rows", "flat", 10_000, "bare FAISS", 0.01, 1.5, 12.0, (1.25, 1.2, 1.3), rounds=3, recall=0.5
        ),
        engine.EngineLine(
            "rows", "flat", 10_000, "GalleryIndex", 0.02, 1.9, 13.0, held_mib=20.0, rounds=3, recall=1.0
        ),
        engine.EngineLine("codes", "hnsw", 10**6, "BinaryIndex", said="not measured: too many"),
    ]
    judged = [bench("judging").JudgingCost("cub", 5000, 1.0, 4.0, (0.25, 0.2, 0.3), 100.0, None, 1e-8, 3)]
    (tmp_path / "README.md").write_text(
        f"before\n{report._BEGIN}\nthe former table\n{report._END}\nafter", encoding="utf-8"
    )
    monkeypatch.setattr(report, "_README", tmp_path / "README.md")
    found = report.Results(engines=lines, judgings=judged)
    report.write(report.table(found, {"cores": "2"}), found, {"cores": "2"})
    assert report.written() == found
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    assert "the former table" not in text
    assert "| flat | 10,000 | bare FAISS | 0.010 | 1.5 | 12 | 1.25 (1.20 – 1.30) | 1.00 | 0.500 |" in text
    assert "| flat | 10,000 | GalleryIndex | 0.020 | 1.9 | 13 |  |  | 1.000 | 20 | not told |" in text
    assert "| hnsw | 1,000,000 | BinaryIndex | not measured: too many |" in text
    assert "| cub | 5,000 | 1 | 4 | 0.25 (0.20 – 0.30) | 100 | not told | 1.0e-08 |" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "10,000" in line]
    assert {line.count("|") for line in rows} == {12}


def test_a_watch_sees_what_is_held_and_what_was_let_go(bench):
    watch = bench("memory").Watch()
    if watch.held() is None or watch.most() is None:
        pytest.skip("this system does not say how much memory a process holds")
    held = np.ones(16 * 2**20, dtype=np.uint8)
    more = np.ones(48 * 2**20, dtype=np.uint8)
    del more
    assert watch.held() == pytest.approx(16, abs=3)
    assert watch.most() == pytest.approx(64, abs=4)
    assert held[0] == 1


def test_a_measurement_alone_runs_in_another_process(bench):
    assert bench("alone").alone(os.getpid) != os.getpid()
