"""Binary codes made of the embeddings' signs, ranked by Hamming distance."""

from types import MappingProxyType
from typing import Any

from dmlviz.index.bits import sign_bits
from dmlviz.retrieval.hashing import hashing_evaluation
from dmlviz.retrieval.judging import classes_of
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.side import Side


def hashing(
    name: str,
    queries: Side,
    items: Side,
    ks: None,
    at: int | None = None,
    precision_at: int = 500,
    radius: int = 2,
    threshold: Any = "zero",
) -> ProtocolEvaluation:
    """Codes of the embeddings judged as deep hashing is; see `dmlviz.retrieval.HashingEvaluation`.

    Bit k of a code is set where component k of the embedding lies above its threshold. For codes that are kept apart
    from a gallery, or for several labels per image, there is `dmlviz.retrieval.hashing_evaluation`.

    A query that has nothing to find is counted in `dropped`. It takes no part in the means that divide by R, counts 0
    in those over all queries, as the published code has it, and stays among `query_ids`.

    Args:
        name: the protocol's.
        queries: the side that asks; where it is the items' own, no image finds itself.
        items: the side that is ranked.
        ks: None.
        at: k of mAP@k beside the mAP over all ranks.
        precision_at: ranks of precision@k.
        radius: in bits.
        threshold: as for `dmlviz.index.sign_bits`; medians are those of the gallery's embeddings.

    Raises:
        ValueError: labels are lacking, no query has anything to find, the gallery's images ask through another
            embedder; else as `hashing_evaluation`.
        TypeError: as `hashing_evaluation`.
    """
    own = queries.images is items.images
    if own and queries is not items:
        raise ValueError(
            f"under the protocol {name!r} no image finds itself, so queries and gallery need one embedder where they "
            "are the same images; build the gallery without query_embedder="
        )
    of_query, of_item = classes_of(queries.images, items.images)
    held = items.embeddings[items.ids]
    fit_on = {"fit_on": held} if isinstance(threshold, str) and threshold == "median" else {}
    asked = held if own else queries.embeddings[queries.ids]
    found = hashing_evaluation(
        sign_bits(asked, threshold, **fit_on),
        sign_bits(held, threshold, **fit_on),
        of_query[queries.ids],
        of_item[items.ids],
        at=at,
        precision_at=precision_at,
        radius=radius,
        same_set=own,
    )
    return ProtocolEvaluation(
        protocol=name,
        values=found.values,
        definition=f"Bits: components of the embedding above {_named(threshold)}. {found.definition}",
        query_ids=queries.ids,
        per_query=MappingProxyType(dict(found.per_query)),
        dropped=found.dropped + len(queries.without_row),
        tied=found.tied,
    )


def _named(threshold: Any) -> str:
    if not isinstance(threshold, str):
        return "given numbers"
    return "zero" if threshold == "zero" else "their median over the gallery"


PROTOCOLS = (
    Protocol(
        "hashing",
        "signs of the embeddings as codes: mAP with its bounds, precision@500, precision within Hamming radius 2",
        hashing,
        worst_by="AP (expected)",
        takes=("at", "precision_at", "radius", "threshold"),
        source="the public code of deep hashing; ties after McSherry and Najork, ECIR 2008",
    ),
)
