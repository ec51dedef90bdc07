"""From one state of an index to the next: the first one, rows put in, rows left out for good.

A state is never changed: what is to be another gets engines of its own, so that whoever asks the older one meanwhile
is answered from it.
"""

from typing import Any, Final

import numpy as np

from dmlviz.index.engine import faiss
from dmlviz.index.ids import Ids
from dmlviz.index.kinds import add_to, effort_of, make_engine, set_effort
from dmlviz.index.stored import Stored, centred, flat_of, mean_of, stored

ROWS_PER_ADD: Final = 65536
"""How many rows go into an engine at a time."""
_REBUILD_AT = 0.2


def first_state(
    flat: Any, kind: str, ids: Ids, metric: str, parameters: dict[str, Any], seed: int = 0
) -> Stored:
    """The state of an index over the rows that a flat engine holds.

    Distances are searched for among rows that are centred, since far from the origin float32 loses what is near.
    """
    if kind == "flat" and metric == "l2":
        rows = stored(flat, None, ids, metric, None, longest=0.0).vectors
        centre = mean_of(rows)
        engine = flat_of(rows[:0], metric)
        for start in range(0, len(rows), ROWS_PER_ADD):
            engine.add(centred(rows[start : start + ROWS_PER_ADD], centre))
        return stored(flat, engine, ids, metric, centre)
    plain = stored(flat, None, ids, metric, None)
    if kind == "flat":
        return plain
    engine = make_engine(kind, plain.vectors, metric, parameters, seed)
    return stored(flat, engine, ids, metric, None, longest=plain.longest)


def with_rows(state: Stored, rows: np.ndarray, ids: Ids) -> Stored:
    """The state with rows behind those that are there; `ids` are those of all.

    Raises:
        ValueError: The rows lie on disk.
    """
    if state.mapped:
        raise ValueError(
            "the rows of this index lie on disk and are only read; open it without mapped=True to put rows in"
        )
    flat = faiss.clone_index(state.flat)
    add_to(flat, rows)
    if state.engine is state.flat:
        return stored(flat, None, ids, state.metric, state.centre)
    engine = faiss.clone_index(state.engine)
    add_to(engine, centred(rows, state.centre))
    _set_effort_like(engine, state.engine)
    return stored(flat, engine, ids, state.metric, state.centre)


def tidied(state: Stored, exact: bool) -> Stored:
    """The state without the rows that were removed, once they are a fifth of all; before that the state itself."""
    alive = state.ids.alive
    if alive is None or state.mapped or (~alive).sum() < _REBUILD_AT * len(alive):
        return state
    flat = flat_of(state.vectors[alive], state.metric)
    ids = Ids(state.ids.of_slot[alive], following=state.ids.following)
    if exact:
        return first_state(flat, "flat", ids, state.metric, {})
    engine = faiss.clone_index(state.engine)
    engine.reset()  # it stays trained, also where no row is left
    add_to(engine, state.vectors[alive])
    _set_effort_like(engine, state.engine)
    return stored(flat, engine, ids, state.metric, None)


def _set_effort_like(engine: Any, other: Any) -> None:
    if (effort := effort_of(other)) is not None:
        set_effort(engine, effort)
