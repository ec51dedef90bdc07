"""Recall@k as metric learning reports it: CUB-200-2011, Cars-196, Stanford Online Products, In-shop."""

from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.reading import Answers, read_by_label
from dmlviz.retrieval.side import Side


def among_themselves(name: str, queries: Side, items: Side, ks: tuple[int, ...]) -> ProtocolEvaluation:
    """Every image asks all others for its label: the share that finds one among the first k.

    Each image is left out of its own ranking by its id. Published code removes whatever comes first instead, which
    is another image where there are duplicates.

    Args:
        name: the protocol's.
        queries: the side that asks, the very images that are ranked.
        items: the side that is ranked.
        ks: the values of k.

    Raises:
        ValueError: there is a separate query set, labels are lacking, or no image has another one of its label.
    """
    if queries.images is not items.images:
        raise ValueError(
            f"under the protocol {name!r} the gallery's images ask for each other, but this gallery has a query set; "
            "build it without queries=, or judge it by 'in-shop'"
        )
    answers = read_by_label(queries, items, "self")
    return _result(answers, name, ks, "Every image asks, and is itself left out by its id.")


def in_shop(name: str, queries: Side, items: Side, ks: tuple[int, ...]) -> ProtocolEvaluation:
    """A query set asks a gallery: the share of queries that find their label among the first k.

    Args:
        name: the protocol's.
        queries: the side that asks, a query set of its own.
        items: the side that is ranked.
        ks: the values of k.

    Raises:
        ValueError: there is no separate query set, labels are lacking, or no query has anything to find.
    """
    if queries.images is items.images:
        raise ValueError(
            f"the protocol {name!r} needs a query set: build the gallery with queries= the data set's query images"
        )
    return _result(read_by_label(queries, items, None), name, ks, "Nothing is left out.")


def _result(answers: Answers, name: str, ks: tuple[int, ...], left_out: str) -> ProtocolEvaluation:
    return answers.as_result(
        name,
        {f"recall@{k}": answers.share_within(k) for k in ks},
        f"{left_out} recall@k: queries with at least one image of their label among the first k, divided by the "
        "queries that have one to find; ties go by id, and there is no interpolation.",
    )


_LIFTED = "Oh Song et al., Deep metric learning via lifted structured feature embedding, CVPR 2016"
PROTOCOLS = (
    *(
        Protocol(
            name,
            f"{title}: recall@k of every image among all others",
            among_themselves,
            worst_by="first_hit_rank",
            high_is_worse=True,
            ks=ks,
            source=_LIFTED,
        )
        for name, title, ks in (
            ("cub", "CUB-200-2011", (1, 2, 4, 8, 16, 32)),
            ("cars", "Cars-196", (1, 2, 4, 8, 16, 32)),
            ("sop", "Stanford Online Products", (1, 10, 100, 1000)),
        )
    ),
    Protocol(
        "in-shop",
        "In-shop clothes retrieval: recall@k of a query set",
        in_shop,
        worst_by="first_hit_rank",
        high_is_worse=True,
        ks=(1, 10, 20, 30, 40, 50),
        source="Liu et al., DeepFashion, CVPR 2016",
    ),
)
