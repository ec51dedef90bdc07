"""Where was this taken? CVUSA, CVACT and data sets judged like them."""

from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.protocols.reading import read_by_label
from dmlviz.retrieval.side import Side


def cvusa(name: str, queries: Side, items: Side, ks: tuple[int, ...]) -> ProtocolEvaluation:
    """Views from the ground ask for the aerial view of their place.

    Nothing is left out. With t the rank of the query's own place (of the best one, should there be several) and
    M the number of images that are ranked:

    - recall@k: share of queries with t <= k.
    - recall@1%: share with t <= M // 100, but at least 1: 88 of CVUSA's 8884 (as in TransGeo's code).
    - recall@1%+1: share with t <= M // 100 + 1: 89 of 8884 (as in CVM-Net's code).

    Published code counts images that are nearer than the right one, so that a tie is always won; here ties
    go by id, and queries with a tie are counted in `tied`.

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
            f"the protocol {name!r} needs a query set: build the gallery of aerial views with queries= the views "
            "from the ground, labelled by their place"
        )
    answers = read_by_label(queries, items, None)
    percent = len(items.ids) // 100
    values = {f"recall@{k}": answers.share_within(k) for k in ks}
    values["recall@1%"] = answers.share_within(max(percent, 1))
    values["recall@1%+1"] = answers.share_within(percent + 1)
    return answers.as_result(
        name,
        values,
        "recall@k: queries whose place is among the first k. recall@1%: among the first "
        f"{max(percent, 1)} of {len(items.ids)} (1 %, rounded down, at least 1); recall@1%+1: among the first "
        f"{percent + 1}, as CVM-Net counts. All are means over the queries whose place is in the gallery; ties go by "
        "id.",
    )


PROTOCOLS = (
    Protocol(
        "cvusa",
        "views from the ground ask for the aerial view of their place: recall@k and recall@1%",
        cvusa,
        worst_by="first_hit_rank",
        high_is_worse=True,
        ks=(1, 5, 10),
        source="Workman et al., Wide-area image geolocalization with aerial reference imagery, ICCV 2015",
    ),
)
