"""Do the parts add up to the score that ranked?"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dmlviz.explanation import explain_ranking

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery


def completeness(gallery: "Gallery", queries: Iterable[int], k: int = 10) -> float:
    """The largest |residual| over the top k of some queries; 0 up to rounding for an exact method.

    Args:
        gallery: The gallery to look at.
        queries: Image ids.
        k: How deep into each ranking.

    Returns:
        max |pairs + offsets − score that FAISS ranked by|, in units of the similarity.
    """
    worst = 0.0
    for query in queries:
        ids = gallery.search(int(query), k=k).ids
        worst = max([worst, *(abs(why.residual) for why in explain_ranking(gallery, int(query), ids))])
    return worst
