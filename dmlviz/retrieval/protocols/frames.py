"""A protocol's values per query as data frames."""

from typing import TYPE_CHECKING

import numpy as np

from dmlviz.images import ImageSet
from dmlviz.retrieval.protocols.evaluation import ProtocolEvaluation
from dmlviz.retrieval.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    import pandas as pd

_IDS = ("right", "wrong", "cluster")


def protocol_frame(found: ProtocolEvaluation, queries: ImageSet) -> "pd.DataFrame":
    """One row per query; see `Gallery.per_query`."""
    import pandas as pd

    count = len(queries)
    evaluated = np.zeros(count, dtype=bool)
    evaluated[found.query_ids] = True
    columns = {**_named(queries, np.arange(count)), "evaluated": evaluated}
    for name, values in found.per_query.items():
        nothing = (
            np.nan if values.dtype.kind == "f" else -1 if name in _IDS and values.dtype.kind == "i" else 0
        )
        spread = np.full(count, nothing, dtype=values.dtype)
        spread[found.query_ids] = values
        columns[name] = spread
    return pd.DataFrame(columns).set_axis(pd.RangeIndex(count, name="id"))


def protocol_failures_frame(found: ProtocolEvaluation, queries: ImageSet) -> "pd.DataFrame":
    """One row per query that is not answered perfectly, worst first; see `Gallery.failures`."""
    import pandas as pd

    protocol = PROTOCOLS[found.protocol]
    values = found.per_query[protocol.worst_by]
    short = np.flatnonzero(values > 1 if protocol.high_is_worse else values < 1)
    worst = short[np.argsort(-values[short] if protocol.high_is_worse else values[short], kind="stable")]
    names = [protocol.worst_by, *(name for name in found.per_query if name != protocol.worst_by)]
    ids = found.query_ids[worst]
    columns = {"query": ids, **_named(queries, ids), **{name: found.per_query[name][worst] for name in names}}
    frame = pd.DataFrame(columns)
    frame.attrs["sorted_by"] = protocol.sorted_by
    return frame


def _named(queries: ImageSet, ids: np.ndarray) -> "dict[str, pd.Series]":
    """Names and labels, as objects: as texts pandas refuses names that are no UTF-8."""
    import pandas as pd

    labels = [None] * len(ids) if queries.labels is None else [str(queries.labels[i]) for i in ids]
    columns = {"name": [queries.names[i] for i in ids], "label": labels}
    return {name: pd.Series(values, dtype=object) for name, values in columns.items()}
