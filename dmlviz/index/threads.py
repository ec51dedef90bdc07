"""How many threads a search uses, and why a forked child uses one.

Two facts about OpenMP shape this file. A single query over a flat index is *slower* with several threads
than with one, because the threads mostly wait for each other. And a process forked after a threaded search
inherits a thread team whose threads do not exist in the child: the next threaded search would wait for
them for ever. So interactive queries run on one thread, and forked children always do. On macOS, where torch and
FAISS bring an OpenMP library each and two thread teams can end the process, all searches do.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dmlviz.index.engine import faiss

INTERACTIVE_QUERIES = 4
"""Up to this many queries at once count as interactive and are searched on one thread."""


class _Process:
    """What this process knows about itself."""

    forked = False


def _mark_forked() -> None:
    _Process.forked = True


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork either
    os.register_at_fork(after_in_child=_mark_forked)


@contextmanager
def search_threads(count: int) -> Iterator[None]:
    """Search with `count` threads inside the block; the setting found is put back on the way out.

    The setting belongs to the calling Python thread. Where FAISS and torch share one OpenMP library
    (Linux, torch imported first), torch reads the same setting: that is why it is restored at once, also
    when the block raises.

    Args:
        count: number of threads, at least 1.

    Raises:
        ValueError: `count` is smaller than 1.

    Example:
        >>> from dmlviz.index import search_threads
        >>> with search_threads(1):
        ...     pass  # index.search(...)
    """
    if count < 1:
        raise ValueError(f"the number of search threads must be at least 1, got {count}")
    before = faiss.omp_get_max_threads()
    if before == count:
        yield
        return
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def threads_for(queries: int) -> int:
    """Threads a search of that many queries should use: one where it is interactive, forked or on macOS."""
    if _Process.forked or sys.platform == "darwin" or queries <= INTERACTIVE_QUERIES:
        return 1
    return int(faiss.omp_get_max_threads())
