"""When FAISS compares a few queries with every row by matrix products instead of one after the other.

For a flat index FAISS has two ways: each query goes through the rows alone, or a matrix product compares many at
once. Which it takes depends on one number for the whole process, and in FAISS 1.15 that number suits machines of many
cores (facebookresearch/faiss, pull requests 5022 and 5109): up to 250 queries of 512 dimensions go one by one, which
on one or two threads takes several times as long. So the number is lowered while such a search runs, and put back; so
it is while product codes are learned, a clustering of few dimensions.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dmlviz.index.engine import faiss

_FEWEST = 16
_NUMBERS_PER_THREAD = 800


class _Lowered:
    """The number of this process: who counts on it being low, and what it was before."""

    lock = threading.Lock()
    searches = 0
    before = 0


def _start_anew() -> None:
    """In a forked child: no search of its parent goes on here."""
    _Lowered.lock = threading.Lock()
    if _Lowered.searches:
        _Lowered.searches = 0
        faiss.cvar.distance_compute_blas_threshold = _Lowered.before


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork either
    os.register_at_fork(after_in_child=_start_anew)


def suits_products(queries: int, dim: int, threads: int) -> bool:
    """Whether a matrix product is quicker than one query after the other on so many threads.

    Args:
        queries: how many queries come together.
        dim: their dimensions.
        threads: how many threads search; one by one each of them has a query of its own.
    """
    return queries >= _FEWEST and queries * dim >= _NUMBERS_PER_THREAD * threads


@contextmanager
def by_products() -> Iterator[None]:
    """Search flat indexes, and cluster, by matrix products inside the block.

    Several threads may be inside at once; the last one puts back what the first one found. A search that another
    library runs in this process meanwhile takes the same way: its sums are added up in another order.
    """
    with _Lowered.lock:
        if _Lowered.searches == 0:
            _Lowered.before = int(faiss.cvar.distance_compute_blas_threshold)
            faiss.cvar.distance_compute_blas_threshold = 1
        _Lowered.searches += 1
    try:
        yield
    finally:
        with _Lowered.lock:
            _Lowered.searches -= 1
            if _Lowered.searches == 0:
                faiss.cvar.distance_compute_blas_threshold = _Lowered.before
