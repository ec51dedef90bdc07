"""From one state of an index of binary codes to the next: codes put in, codes left out for good."""

import numpy as np

from dmlviz.index.ids import Ids
from dmlviz.index.stored_codes import (
    StoredCodes,
    add_codes,
    binary_effort,
    faiss,
    set_binary_effort,
    stored_codes,
)
from dmlviz.index.threads import search_threads, threads_for

_REBUILD_AT = 0.2


def with_codes(state: StoredCodes, rows: np.ndarray, ids: Ids) -> StoredCodes:
    """The state with packed codes behind those that are there; `ids` are those of all."""
    engine = None
    if not state.exact:
        engine = faiss.clone_binary_index(state.engine)
        with search_threads(threads_for(len(rows))):
            add_codes(engine, rows)
        set_binary_effort(engine, binary_effort(state.engine))
    return stored_codes(np.concatenate([state.codes, rows]), state.bits, ids, engine)


def tidied_codes(state: StoredCodes, ids: Ids) -> StoredCodes:
    """The state by other ids, without the codes that were removed: at once, or in a graph once they are a fifth."""
    alive = ids.alive
    if alive is None or (not state.exact and (~alive).sum() < _REBUILD_AT * len(alive)):
        return StoredCodes(state.codes, state.bits, ids, state.flat, state.engine)
    codes, engine = state.codes[alive], None
    if not state.exact:
        engine = faiss.clone_binary_index(state.engine)
        engine.reset()  # it stays trained, also where no code is left
        with search_threads(threads_for(len(codes))):
            add_codes(engine, codes)
        set_binary_effort(engine, binary_effort(state.engine))
    return stored_codes(codes, state.bits, Ids(ids.of_slot[alive], following=ids.following), engine)
