"""Which pairs are asked about: chosen by a stated, seeded rule."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dmlviz.explanation.options import one_of, whole_number

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

Rule = Literal["right", "first", "wrong"]
RULES: tuple[str, ...] = get_args(Rule)
_SAYS = {
    "right": "each query with its best-ranked image of its own label",
    "first": "each query with the image ranked first",
    "wrong": "each missed query with the image of another label ranked first",
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Queries and the gallery images they are held against.

    Attributes:
        queries: (n,) int64, ids of queries.
        items: (n,) int64, ids of gallery images.
        clusters: (n,) int64, which pairs are no independent trials: those whose queries share a label.
        rule: How they were chosen, in words.

    Raises:
        ValueError: If the three are not equally long rows.
    """

    queries: np.ndarray
    items: np.ndarray
    clusters: np.ndarray
    rule: str

    def __post_init__(self) -> None:
        for name in ("queries", "items", "clusters"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        shapes = {self.queries.shape, self.items.shape, self.clusters.shape}
        if len(shapes) > 1 or self.queries.ndim != 1:
            raise ValueError(
                "pairs are three rows of one length: queries, items and clusters; got shapes "
                f"{self.queries.shape}, {self.items.shape} and {self.clusters.shape}"
            )

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.queries.tolist(), self.items.tolist(), strict=True)

    def take(self, count: int) -> "Pairs":
        """The first `count` pairs."""
        return Pairs(self.queries[:count], self.items[:count], self.clusters[:count], self.rule)


def choose_pairs(
    gallery: "Gallery", count: int | None = 200, rule: Rule | None = None, seed: int = 0
) -> Pairs:
    """Choose pairs of a gallery.

    Queries are visited in a seeded random order; a query that the rule gives no pair for is passed over.

    Args:
        gallery: The gallery.
        count: How many pairs at most; None for one of every query.
        rule: "right": each query with its best-ranked image of its own label; "first": with the image ranked
            first; "wrong": each missed query with the image ranked first. By default "right" where there are
            labels, "first" where there are none.
        seed: Of the order.

    Returns:
        The pairs; fewer than `count` where the gallery has no more.

    Raises:
        ValueError: If the rule is unknown, or needs labels that the gallery lacks, or gives no pair at all; or if
            `count` is less than 1.
        TypeError: If `count` is no whole number.
    """
    labelled = gallery.labels is not None and gallery.query_labels is not None
    rule = rule or ("right" if labelled else "first")
    one_of(rule, "rule", RULES)
    if rule != "first" and not labelled:
        raise ValueError(f"the rule {rule!r} needs labels, and this gallery has none; use rule='first'")
    if count is not None:
        whole_number(count, "count", 1)
    chosen: list[tuple[int, int]] = []
    for query in np.random.default_rng(seed).permutation(len(gallery.queries)).tolist():
        if count is not None and len(chosen) == count:
            break
        if query in gallery.unranked_queries:
            continue
        item = _item(gallery, query, rule)
        if item is not None:
            chosen.append((query, item))
    if not chosen:
        raise ValueError(f"no query of this gallery has a pair by the rule {rule!r} ({_SAYS[rule]})")
    return _pairs(gallery, chosen, f"{_SAYS[rule]}; queries in random order, seed {seed}")


def as_pairs(gallery: "Gallery", pairs: "int | Pairs | Sequence[tuple[int, int]]", seed: int = 0) -> Pairs:
    """Take pairs as they come: a number of them to choose by the usual rule, or (query, item) ids.

    Raises:
        ValueError: If there is none.
        TypeError: If they are neither a whole number nor pairs of ids.
        IndexError: If an id is not in the gallery.
    """
    if not isinstance(pairs, Iterable):
        return choose_pairs(gallery, whole_number(pairs, "pairs", 1), seed=seed)
    chosen = [(gallery.queries.check_id(q), gallery.images.check_id(g)) for q, g in pairs]
    if not chosen:
        raise ValueError("there is no pair to ask about; give a number, or (query, item) ids")
    return pairs if isinstance(pairs, Pairs) else _pairs(gallery, chosen, "as given")


def _item(gallery: "Gallery", query: int, rule: str) -> int | None:
    if rule == "first":
        return int(gallery.search(query, k=1).ids[0])
    order = gallery.search(query, k=len(gallery.images)).ids
    labels = np.asarray(gallery.labels)
    own = labels[order] == np.asarray(gallery.query_labels)[query]
    if not own.any():
        return None
    if rule == "right":
        return int(order[np.argmax(own)])
    return None if own[0] else int(order[0])


def _pairs(gallery: "Gallery", chosen: list[tuple[int, int]], rule: str) -> Pairs:
    queries, items = np.asarray(chosen, dtype=np.int64).T
    labels = gallery.query_labels
    clusters = queries if labels is None else np.unique(np.asarray(labels), return_inverse=True)[1][queries]
    return Pairs(queries, items, clusters.astype(np.int64), rule)
