"""How good the rankings are, as the page shows it: figures, their definition, and what the index may miss."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.retrieval.metrics import Evaluation
from dmlviz.retrieval.protocols import PROTOCOLS, ProtocolEvaluation
from dmlviz.widgets.buffers import number

if TYPE_CHECKING:
    from dmlviz.index import RecallCheck
    from dmlviz.retrieval import Gallery

Judgement = Evaluation | ProtocolEvaluation

OWN_TITLE = "the gallery's own measure: recall@k, R-precision and mAP@R"
OWN_SOURCE = (
    "recall@k: Jégou et al., TPAMI 2011, and Oh Song et al., CVPR 2016; R-precision and mAP@R: Musgrave, Belongie "
    "and Lim, ECCV 2020"
)
UNLABELLED = "this gallery has no labels, so nothing says which images are right"
_WORDS = {
    "average_precision_at_r": "average precision@R",
    "first_hit_rank": "rank of the first hit",
    "f1": "F1 of its cluster",
}
_LEFT_OUT = {
    "self": "Every image asks, and is itself left out by its id.",
    "same-camera": 'Images of the query\'s label and camera are left out, and so are those labelled "-1".',
    None: "Nothing is left out.",
}


def judgement_of(explorer: Any, given: Any) -> Judgement | None:
    """What a protocol says of the Explorer's gallery.

    Args:
        explorer: The Explorer.
        given: None, a protocol's name, or what `gallery.evaluate` returned.

    Returns:
        None for the gallery's own measure, whenever it is known; else the evaluation.

    Raises:
        TypeError: If it is something else, or a protocol that cannot be applied by its name alone.
        ValueError: If there is no such protocol, it does not suit the gallery, or judges queries that are not there.
    """
    if given is None:
        return None
    if isinstance(given, str):
        try:
            found: Judgement = explorer.gallery.evaluate(protocol=given)
        except TypeError as error:
            raise TypeError(
                f"{error}. The Explorer takes what that returns, too: ex.protocol = ..."
            ) from error
        return found
    if not isinstance(given, Evaluation | ProtocolEvaluation):
        raise TypeError(
            "protocol takes the name of one, such as 'map@r', or what gallery.evaluate returns; "
            f"got {type(given).__name__}"
        )
    ids, size = given.query_ids, len(explorer.gallery.queries)
    if len(ids) and int(ids.max()) >= size:
        raise ValueError(
            f"protocol was evaluated on another gallery: it judges query {int(ids.max())}, and this one has {size} "
            "queries. Give what this gallery's evaluate returns"
        )
    return given


def why_unjudged(gallery: "Gallery") -> str:
    """Why the gallery has no measure of its own; "" where it has one."""
    if gallery.labels is None:
        return UNLABELLED
    return (
        ""
        if gallery.query_labels is not None
        else "the queries have no labels, so nothing says what is right"
    )


def pack_judgement(gallery: "Gallery", found: Judgement | None) -> dict[str, Any] | None:
    """Figures for the page, ready for JSON.

    Args:
        gallery: The gallery that was judged.
        found: What `Gallery.evaluate` returned, with or without a protocol; None where nothing is known yet.

    Returns:
        None for None. Else "name", "title" and "source" of the protocol ("" for the gallery's own measure);
        "figures": names and values in the order in which papers print them; "definition": what was left out and
        counted, and by what it was divided; "valid", "dropped" and "tied": numbers of queries, `tied` None where it
        was not counted; "sort": what the queries are sorted by; "values": that of each query, None where it was not
        evaluated; "spread": how many queries have a value between two edges, the upper one left out but for the last.
    """
    if found is None:
        return None
    if isinstance(found, Evaluation):
        values = found.average_precision_at_r_per_query
        told = {
            "name": "",
            "title": OWN_TITLE,
            "source": OWN_SOURCE,
            "figures": _named({**{f"recall@{k}": v for k, v in found.recall.items()}, **_others(found)}),
            "definition": _own_definition(gallery),
            "valid": len(found.query_ids),
            "tied": None,
        }
        by, high_is_worse = "average_precision_at_r", False
    else:
        protocol = PROTOCOLS[found.protocol]
        by, high_is_worse = protocol.worst_by, protocol.high_is_worse
        values = found.per_query[by]
        told = {
            "name": found.protocol,
            "title": protocol.title,
            "source": protocol.source,
            "figures": _named(found.values),
            "definition": found.definition,
            "valid": found.valid,
            "tied": found.tied,
        }
    spread = np.full(len(gallery.queries), np.nan)
    spread[found.query_ids] = values
    return {
        **told,
        "dropped": found.dropped,
        "sort": {"name": _WORDS.get(by, by.replace("_", " ")), "highIsWorse": high_is_worse},
        "values": [number(value) for value in spread],
        "spread": _histogram(values, high_is_worse),
    }


def at_queries(told: dict[str, Any] | None, ids: Iterable[int]) -> dict[str, Any] | None:
    """A packed judgement with the values of some queries alone, in their order."""
    return None if told is None else {**told, "values": [told["values"][i] for i in ids]}


def pack_index(gallery: "Gallery", recall: "RecallCheck | None") -> dict[str, Any]:
    """What kind of index ranks, why it was chosen, and what it was seen to miss, ready for JSON."""
    index = gallery.index
    told = None
    if recall is not None:
        told = {
            "value": number(recall.recall),
            "low": number(recall.low),
            "high": number(recall.high),
            "queries": recall.queries,
            "k": recall.k,
            "text": str(recall),
        }
    return {"kind": index.kind, "exact": bool(index.exact), "reason": index.reason, "recall": told}


def rough_scores(gallery: "Gallery", query: int, ids: list[int]) -> list[float | None]:
    """What the index's own codes say of each image; None throughout where it keeps the rows, or cannot read codes."""
    nothing: list[float | None] = [None] * len(ids)
    if gallery.index.exact:
        return nothing
    try:
        gaps = gallery.quantised_gap(query, ids)
    except ValueError:  # FAISS cannot read this kind's codes back
        return nothing
    scores = gallery.score(query, ids).astype(np.float64)
    if not np.nanmax(np.abs(gaps), initial=0.0) > _ROUNDING * max(
        1.0, np.nanmax(np.abs(scores), initial=0.0)
    ):
        return nothing
    return [number(score + gap) for score, gap in zip(scores, gaps, strict=True)]


_ROUNDING = 1e-6  # of float32: rows that are kept as they are differ by no more


def _histogram(values: np.ndarray, ranks: bool) -> dict[str, list[float]]:
    """Twenty steps from 0 to 1 for shares; for ranks 1, 2 to 3, 4 to 7, ..."""
    most = float(values.max(initial=1.0))
    edges = 2.0 ** np.arange(2 + int(np.log2(most))) if ranks else np.linspace(0, 1, 21)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _named(values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": number(value)} for name, value in values.items()]


def _others(found: Evaluation) -> dict[str, float]:
    return {
        "precision@1": found.precision_at_1,
        "R-precision": found.r_precision,
        "mAP@R": found.map_at_r,
    }


def _own_definition(gallery: "Gallery") -> str:
    rule = _LEFT_OUT[gallery.leave_out]
    if gallery.leave_out == "self" and gallery.queries is not gallery.images:
        rule = _LEFT_OUT[None]
    return (
        f"{rule} recall@k: queries with at least one image of their label among the first k. precision@1: queries "
        "whose first image is of their label. R-precision: images of their label among the first R, divided by R, "
        "the number of images of that label. mAP@R: (1/R) sum of the precisions at the hits among the first R. All "
        "are means over the queries with R > 0, on the full ranking, ties by id, without interpolation."
    )
