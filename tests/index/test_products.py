"""A few dozen queries are compared by matrix products: the same answers, and FAISS's setting is put back."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest

from dmlviz.index import GalleryIndex
from dmlviz.index.engine import faiss
from dmlviz.index.products import by_products, suits_products


def number():
    return faiss.cvar.distance_compute_blas_threshold


@pytest.fixture
def usual():
    before = number()
    faiss.cvar.distance_compute_blas_threshold = 128_000
    yield 128_000
    faiss.cvar.distance_compute_blas_threshold = before


def test_the_setting_is_put_back(usual):
    with by_products():
        assert number() == 1
        with by_products():
            assert number() == 1
        assert number() == 1
    assert number() == usual
    with pytest.raises(RuntimeError, match="inside"), by_products():
        raise RuntimeError("inside")
    assert number() == usual


def test_the_last_of_several_threads_puts_it_back(usual):
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = {}

    def first():
        with by_products():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second():
        first_in.wait(10)
        with by_products():
            second_in.set()
            first_out.wait(10)
            seen["the other one left"] = number()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"the other one left": 1}
    assert number() == usual


@pytest.mark.parametrize(
    ("queries", "dim", "threads", "expected"),
    [
        (15, 2048, 1, False),
        (16, 50, 1, True),
        (16, 49, 1, False),
        (100, 512, 2, True),
        (100, 512, 64, True),
        (100, 512, 65, False),
    ],
)
def test_products_are_for_many_queries_on_few_threads(queries, dim, threads, expected):
    assert suits_products(queries, dim, threads) is expected


@pytest.mark.parametrize(
    ("kind", "queries", "by_product"), [("flat", 100, True), ("flat", 10, False), ("sq8", 100, False)]
)
def test_only_a_search_of_every_row_by_many_queries_takes_them(usual, kind, queries, by_product):
    rows = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    index = GalleryIndex.build(rows, kind)
    engine, seen = index._stored.engine, []

    class Watched:
        def search(self, asked, k, params=None):
            seen.append(number())
            return engine.search(asked, k, params=params)

    index._stored = replace(index._stored, engine=Watched())
    index.search(rows[:queries], 5)
    assert set(seen) == {1 if by_product else usual}
    assert number() == usual


def test_product_codes_are_learned_by_products_and_a_graph_learns_nothing(usual, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32)
    seen = []
    train = faiss.IndexIVFPQ.train
    monkeypatch.setattr(faiss.IndexIVFPQ, "train", lambda self, x: (seen.append(number()), train(self, x))[1])
    GalleryIndex.build(rows, "ivf-pq", lists=4)
    GalleryIndex.build(rows[:500], "ivf-pq", lists=4)  # so few that it makes no difference
    assert seen == [1, usual]
    monkeypatch.setattr("dmlviz.index.kinds.by_products", None)
    GalleryIndex.build(rows[:500], "hnsw")
    assert number() == usual


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_a_query_has_the_same_answer_alone_and_beside_any_number_of_others(metric, offset):
    random = np.random.default_rng(1)
    rows = (random.standard_normal((4000, 256)) + offset).astype(np.float32)
    rows[2000:2050] = rows[:50]  # ties
    index = GalleryIndex.build(rows, metric=metric)
    queries = rows[random.choice(4000, 260, replace=False)]
    alone = [index.search(query, 9) for query in queries]
    for count in (2, 15, 16, 17, 100, 260):
        ids, similarities = index.search(queries[:count], 9)
        for place in range(count):
            np.testing.assert_array_equal(ids[place], alone[place][0][0])
            np.testing.assert_array_equal(similarities[place], alone[place][1][0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking while threads live is the point here
def test_a_child_forked_in_the_middle_finds_the_usual_setting_and_can_search(usual):
    rows = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    index = GalleryIndex.build(rows)
    expected = index.search(rows[:50], 5)
    with by_products():
        child = os.fork()
        if child == 0:
            found = [number() == usual]
            answer = index.search(rows[:50], 5)
            found += [np.array_equal(a, b) for a, b in zip(answer, expected, strict=True)]
            found.append(number() == usual)
            os._exit(0 if all(found) else 3)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
