"""Threads: interactive queries use one, torch's setting stays, forked children do not hang."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from dmlviz.index import GalleryIndex, search_threads
from dmlviz.index.engine import faiss
from dmlviz.index.threads import INTERACTIVE_QUERIES, threads_for


def run(code, timeout=60, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def three_threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield
    faiss.omp_set_num_threads(before)


def test_setting_is_put_back(three_threads):
    with search_threads(1):
        assert faiss.omp_get_max_threads() == 1
        with search_threads(2):
            assert faiss.omp_get_max_threads() == 2
        assert faiss.omp_get_max_threads() == 1
    assert faiss.omp_get_max_threads() == 3
    with pytest.raises(RuntimeError, match="inside"), search_threads(1):
        raise RuntimeError("inside")
    assert faiss.omp_get_max_threads() == 3


def test_interactive_queries_use_one_thread(three_threads, monkeypatch):
    assert threads_for(1) == threads_for(INTERACTIVE_QUERIES) == 1
    assert threads_for(INTERACTIVE_QUERIES + 1) == 3
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert threads_for(1000) == 1
    index = GalleryIndex.build(np.random.default_rng(0).standard_normal((100, 4)))
    seen = []

    class Watched:
        def search(self, rows, k, params=None):
            seen.append((len(rows), faiss.omp_get_max_threads()))
            return flat.search(rows, k)

    flat = index._stored.engine
    monkeypatch.setattr(index, "_stored", replace(index._stored, engine=Watched()))
    index.search(index.vectors[:1], 3)
    index.search(index.vectors[:20], 3)
    assert seen == [(1, 1), (20, 3)]
    assert faiss.omp_get_max_threads() == 3


@pytest.mark.parametrize("order", ["torch, dmlviz.index", "dmlviz.index, torch"])
def test_torch_keeps_its_threads_whatever_the_import_order(order):
    pytest.importorskip("torch")
    first, second = order.split(", ")
    out = run(
        f"""
        import {first}
        import {second}
        import numpy as np, torch
        from dmlviz.index import GalleryIndex
        torch.set_num_threads(3)
        index = GalleryIndex.build(np.random.default_rng(0).standard_normal((500, 16)))
        index.search(index.vectors[:1], 5)
        index.search(index.vectors[:50], 5)
        print(torch.get_num_threads())
        """,
        OMP_NUM_THREADS="2",
    )
    assert out.split() == ["3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_search():
    out = run(
        """
        import os, sys, threading, warnings
        import numpy as np
        from dmlviz.index import GalleryIndex
        rows = np.random.default_rng(0).standard_normal((20000, 64)).astype(np.float32)
        index = GalleryIndex.build(rows)
        expected = index.search(rows[:300], 5)
        warnings.simplefilter("ignore", DeprecationWarning)  # forking while threads live is the point here
        child = os.fork()
        if child == 0:
            found = [index.search(rows[:300], 5)]
            thread = threading.Thread(target=lambda: found.append(index.search(rows[:300], 5)))
            thread.start()
            thread.join()
            same = all(np.array_equal(a, b) for answer in found for a, b in zip(answer, expected))
            os._exit(0 if len(found) == 2 and same else 3)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        OMP_NUM_THREADS="2",
    )
    assert out == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_build_and_add():
    out = run(
        """
        import os, sys, warnings
        import numpy as np
        from dmlviz.index import GalleryIndex
        rows = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
        kinds = ("ivf", "hnsw", "sq8")
        indexes = [GalleryIndex.build(rows, kind) for kind in kinds]
        indexes[0].search(rows, 5)
        warnings.simplefilter("ignore", DeprecationWarning)  # forking while threads live is the point here
        child = os.fork()
        if child == 0:
            for kind, index in zip(kinds, indexes):
                GalleryIndex.build(rows, kind)
                index.add(rows[:300])
            os._exit(0 if all(len(index) == 1300 for index in indexes) else 3)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        OMP_NUM_THREADS="2",
        OMP_WAIT_POLICY="PASSIVE",
    )
    assert out == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_loader_workers_can_search():
    pytest.importorskip("torch")
    out = run(
        """
        import warnings
        import numpy as np
        from dmlviz.index import GalleryIndex
        import torch
        rows = np.random.default_rng(0).standard_normal((20000, 64)).astype(np.float32)
        index = GalleryIndex.build(rows)
        index.search(rows[:300], 5)

        class Neighbours(torch.utils.data.Dataset):
            def __len__(self):
                return 2
            def __getitem__(self, i):
                return index.search(rows[i * 300 : (i + 1) * 300], 5)[0]

        warnings.simplefilter("ignore", DeprecationWarning)
        loader = torch.utils.data.DataLoader(
            Neighbours(), batch_size=1, num_workers=2, multiprocessing_context="fork", timeout=50
        )
        print(sum(batch.numel() for batch in loader))
        """,
        OMP_NUM_THREADS="2",
        timeout=90,
    )
    assert out.split() == ["3000"]


def test_import_is_quiet_when_warnings_are_errors():
    assert run("import warnings; warnings.simplefilter('error'); import dmlviz.index") == ""


def test_the_room_needs_no_torch():
    assert run("import sys, dmlviz.index; print('torch' in sys.modules)").split() == ["False"]
