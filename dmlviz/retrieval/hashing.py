"""How good binary codes are: mAP with what its ties leave open, precision@500, and precision within a radius."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from dmlviz.index.bits import hamming_distances, packed_codes
from dmlviz.index.checks import as_count
from dmlviz.retrieval.tied_ranking import (
    OverOrders,
    Sums,
    average_precision_of_found,
    average_precision_over_orders,
    precision_over_orders,
)

_PAIRS_AT_ONCE = 2**21


@dataclass(frozen=True, eq=False)
class HashingEvaluation:
    """How well codes find items of the query's class by Hamming distance.

    Distances are small whole numbers, so most items tie, and an order of the ties has to be chosen to have a ranking
    at all. Each number that depends on it is given four times: for ties in the order of ids (plain name), for the
    "(worst)" and the "(best)" order, and as the mean over all orders, "(expected)". The plain one changes with the
    order in which the gallery happens to be stored; compare codes by the expected one.

    With r_i = 1 where the item at rank i is of the query's class (or shares a label with it), P(i) the share of hits
    among the first i, R all hits there are, and h_k those among the first k:

    - mAP: mean of (1/R) Σ_i r_i P(i) over all ranks, over the queries with R > 0.
    - mAP@k/relevant: mean of (1/R) Σ_{i≤k} r_i P(i), over the same.
    - mAP@k/found: mean of (1/h_k) Σ_{i≤k} r_i P(i), 0 where h_k = 0, over all queries: what most code for hashing
      calls mAP@k (CalcTopMap of DeepHash-pytorch). It is the higher one, and can fall where more is found.
    - precision@500: mean of h_500 / 500, over all queries; by the number of items where there are fewer.
    - precision@r≤2: mean share of hits among the items within Hamming distance 2, over all queries; a query with no
      item that near (an empty bucket) counts 0. "(non-empty)": over the others only, which flatters sparse codes.

    Expected values are after McSherry and Najork (ECIR 2008); see `dmlviz.retrieval.tied_ranking`.

    Attributes:
        values: name -> number in [0, 1], read-only, in the order above; NaN for a mean over no query.
        definition: what was counted and by what it was divided, in words.
        per_query: name -> (Q,) one value per query: each of `values`, without the "m" of "mean"; `relevant` (int64,
            R) and `within_radius` (int64, items within the radius).
        dropped: number of queries with R = 0, left out of the means that divide by R.
        tied: number of queries of which a hit and a miss have the same distance, so that ties matter.
        empty_buckets: number of queries with no item within the radius.
        bits: B of a code.
    """

    values: Mapping[str, float]
    definition: str
    per_query: Mapping[str, np.ndarray]
    dropped: int
    tied: int
    empty_buckets: int
    bits: int

    def __repr__(self) -> str:
        lines = []
        for name, value in self.values.items():
            if f"{name} (worst)" in self.values:
                worst, expected, best = (
                    self.values[f"{name} ({order})"] for order in ("worst", "expected", "best")
                )
                lines.append(
                    f"  {name} {value:.4f} by id, {expected:.4f} expected, from {worst:.4f} to {best:.4f}"
                )
            elif "(" not in name:
                lines.append(
                    f"  {name} {value:.4f}, {self.empty_buckets} of {len(self.per_query['relevant'])} empty"
                )
        notes = [f"{len(self.per_query['relevant'])} queries"]
        notes += [f"{self.dropped} with nothing to find"] if self.dropped else []
        notes += [f"{self.tied} with ties"] if self.tied else []
        return "\n".join([f"Hashing, {self.bits} bits: {', '.join(notes)}", *lines, f"  {self.definition}"])


def hashing_evaluation(
    query_codes: Any,
    gallery_codes: Any,
    query_labels: Any,
    gallery_labels: Any,
    *,
    at: int | None = None,
    precision_at: int = 500,
    radius: int = 2,
    same_set: bool = False,
    packed: bool = False,
) -> HashingEvaluation:
    """Rank a gallery by Hamming distance for every query, and judge the rankings.

    Args:
        query_codes: (Q, B) bits, truth values or 0 and 1 (`dmlviz.index.sign_bits` makes them of embeddings).
        gallery_codes: (N, B) bits.
        query_labels: (Q,) classes, numbers or texts; or (Q, L) truth values or 0 and 1, several labels
            each: then an item is relevant where it shares a label with the query.
        gallery_labels: (N,) or (N, L), the same for the gallery.
        at: k of mAP@k, as well as mAP over all ranks; 1000 is usual. None for mAP over all ranks only.
        precision_at: ranks of precision@k.
        radius: in bits; a code at exactly this distance is within it.
        same_set: whether the queries are the gallery itself: then none finds itself.
        packed: whether codes are (·, ⌈B / 8⌉) uint8, eight bits to a byte.

    Returns:
        The numbers and what they mean.

    Raises:
        TypeError: codes or k are not of the right sort; a label is of another sort.
        ValueError: shapes do not fit; codes hold other than bits; nothing to rank; no query has anything to find;
            `same_set` with two different sets.

    Example:
        >>> codes = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 1]]
        >>> judged = hashing_evaluation([[0, 0, 0]], codes[1:], ["wren"], ["owl", "wren", "wren"])
        >>> [round(judged.values[f"mAP{order}"], 3) for order in ("", " (worst)", " (expected)", " (best)")]
        [0.583, 0.583, 0.708, 0.833]
    """
    asked, bits = packed_codes(query_codes, packed=packed, what="query_codes")
    held, held_bits = packed_codes(gallery_codes, packed=packed, what="gallery_codes")
    if bits != held_bits:
        raise ValueError(f"query codes have {bits} bits, gallery codes {held_bits}: they cannot be compared")
    relevance = _Relevance(query_labels, gallery_labels, len(asked), len(held))
    if same_set and not (np.array_equal(asked, held) and relevance.same):
        raise ValueError(
            "same_set=True takes the same codes and labels in the same order on both sides; they differ"
        )
    count = len(held) - int(same_set)
    if count < 1 or len(asked) == 0:
        raise ValueError(f"there must be a query and an item to rank, got {len(asked)} and {max(count, 0)}")
    cut = None if at is None else as_count(at)
    first = as_count(precision_at)
    if isinstance(radius, bool) or not isinstance(radius, int | np.integer) or radius < 0:
        raise ValueError(f"radius must be a whole number of bits, 0 or more; got {radius!r}")
    sums = Sums(count)
    parts = [
        _judged(distances, hits, bits, count, cut, first, int(radius), sums)
        for distances, hits in _blocks(asked, held, relevance, bits, same_set)
    ]
    per_query = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _result(per_query, bits, count, cut, first, int(radius))


class _Relevance:
    """Which items are right for which queries.

    Raises:
        TypeError: a label is of another sort.
        ValueError: shapes do not fit, or labels that are no number (NaN).
    """

    def __init__(self, query_labels: Any, gallery_labels: Any, queries: int, items: int) -> None:
        of_query, of_item = _as_labels(query_labels), _as_labels(gallery_labels)
        if of_query.ndim == 2 and of_item.ndim == 2:
            self._many = True
            of_query, of_item = _multi_hot(of_query, "query_labels"), _multi_hot(of_item, "gallery_labels")
            if of_query.shape[1] != of_item.shape[1]:
                raise ValueError(
                    f"queries have {of_query.shape[1]} labels to choose from, the gallery {of_item.shape[1]}"
                )
        elif of_query.ndim == 1 and of_item.ndim == 1:
            self._many = False
            numbers: dict[Any, int] = {}
            of_query, of_item = (
                _numbered(of_query.tolist(), numbers),
                _numbered(of_item.tolist(), numbers),
            )
        else:
            raise ValueError(
                "labels must be one class each, (Q,) and (N,), or several labels each, (Q, L) and (N, L); got shapes "
                f"{of_query.shape} and {of_item.shape}"
            )
        if len(of_query) != queries or len(of_item) != items:
            raise ValueError(
                f"expected a label for each of {queries} queries and {items} items, got {len(of_query)} and "
                f"{len(of_item)}"
            )
        self._of_query, self._of_item = of_query, of_item

    @property
    def same(self) -> bool:
        """Whether the queries have the very labels of the items."""
        return np.array_equal(self._of_query, self._of_item)

    def of(self, block: slice) -> np.ndarray:
        """(q, N) bool, of some queries."""
        if self._many:
            return np.asarray(self._of_query[block] @ self._of_item.T > 0)
        return np.asarray(self._of_query[block, None] == self._of_item[None])


def _as_labels(labels: Any) -> np.ndarray:
    if isinstance(labels, list | tuple):
        return np.asarray(labels, dtype=object)  # or NumPy would take 1 for "1" beside a text
    return np.asarray(labels)


def _multi_hot(labels: np.ndarray, what: str) -> np.ndarray:
    labels = np.asarray(labels.tolist())
    if labels.dtype.kind not in "biuf" or ((labels != 0) & (labels != 1)).any():
        raise ValueError(f"{what} of the shape {labels.shape} must hold truth values, or 0 and 1")
    return labels.astype(np.float32)


def _numbered(labels: list[Any], numbers: dict[Any, int]) -> np.ndarray:
    """(n,) int64; equal labels get equal numbers, kept in `numbers`."""
    if any(label != label for label in labels):
        raise ValueError("labels must be classes; some are NaN")
    try:
        return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    except TypeError as error:
        raise TypeError(f"a label must be a key such as a number or a text: {error}") from None


def _blocks(
    asked: np.ndarray, held: np.ndarray, relevance: _Relevance, bits: int, same_set: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Distances and hits of some queries at a time, (q, N); a query itself lies beyond all distances."""
    step = max(1, _PAIRS_AT_ONCE // len(held))
    smallest = np.min_scalar_type(bits + 1)  # sorting is by counting where numbers are small
    for start in range(0, len(asked), step):
        block = slice(start, min(start + step, len(asked)))
        distances = hamming_distances(asked[block], held).astype(smallest)
        hits = relevance.of(block)
        if same_set:
            own = np.arange(start, block.stop)
            distances[own - start, own] = bits + 1
            hits[own - start, own] = False
        yield distances, hits


def _judged(
    distances: np.ndarray,
    hits: np.ndarray,
    bits: int,
    count: int,
    at: int | None,
    first: int,
    radius: int,
    sums: Sums,
) -> dict[str, np.ndarray]:
    """Name -> (q,), everything that is known of each query."""
    queries, levels = len(distances), bits + 2
    level_of = distances.astype(np.int64) + levels * np.arange(queries)[:, None]
    sizes = np.bincount(level_of.ravel(), minlength=queries * levels).reshape(queries, levels)[:, :-1]
    right = np.bincount(level_of[hits], minlength=queries * levels).reshape(queries, levels)[:, :-1]
    relevant = right.sum(axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    query_of, place = np.take_along_axis(hits, order, axis=1).nonzero()
    number = np.arange(1, len(place) + 1) - (relevant.cumsum() - relevant)[query_of]
    ranks, precision = place + 1, number / (place + 1)

    def by_id(upto: int, divisor: np.ndarray) -> np.ndarray:
        inside = ranks <= upto
        total = np.bincount(query_of[inside], weights=precision[inside], minlength=queries)
        return np.divide(total, divisor, out=np.full(queries, np.nan), where=divisor > 0)

    found: dict[str, np.ndarray] = {}
    _put(found, "AP", by_id(count, relevant), average_precision_over_orders(sizes, right, count, sums))
    if at is not None:
        upto = min(at, count)
        inside = np.bincount(query_of[ranks <= upto], minlength=queries)
        _put(
            found,
            f"AP@{at}/relevant",
            by_id(upto, relevant),
            average_precision_over_orders(sizes, right, upto, sums),
        )
        _put(
            found,
            f"AP@{at}/found",
            by_id(upto, np.maximum(inside, 1)),
            average_precision_of_found(sizes, right, upto, sums),
        )
    upto = min(first, count)
    inside = np.bincount(query_of[ranks <= upto], minlength=queries)
    _put(found, f"precision@{first}", inside / upto, precision_over_orders(sizes, right, upto))
    near, near_hits = sizes[:, : radius + 1].sum(axis=1), right[:, : radius + 1].sum(axis=1)
    found[f"precision@r≤{radius}"] = near_hits / np.maximum(near, 1)
    mixed = ((right > 0) & (right < sizes)).any(axis=1)
    return found | {"relevant": relevant, "within_radius": near, "_tied": mixed}


def _put(found: dict[str, np.ndarray], name: str, by_id: np.ndarray, over: OverOrders) -> None:
    found[name] = by_id
    for order in ("worst", "expected", "best"):
        found[f"{name} ({order})"] = getattr(over, order)


def _result(
    per_query: dict[str, np.ndarray], bits: int, count: int, at: int | None, first: int, radius: int
) -> HashingEvaluation:
    relevant, near = per_query["relevant"], per_query["within_radius"]
    tied = int(per_query.pop("_tied").sum())
    if not relevant.any():
        raise ValueError("no query has an item of its label to find; look at query_labels and gallery_labels")
    values: dict[str, float] = {}
    for name, numbers in per_query.items():
        if name.startswith("AP"):
            values[f"m{name}"] = float(numbers[~np.isnan(numbers)].mean())
        elif name.startswith("precision"):
            values[name] = float(numbers.mean())
    within = f"precision@r≤{radius}"
    filled = per_query[within][near > 0]
    values[f"{within} (non-empty)"] = float(filled.mean()) if len(filled) else float("nan")
    queries, empty, dropped = len(relevant), int((near == 0).sum()), int((relevant == 0).sum())
    definition = (
        f"Ranked by Hamming distance over {bits} bits, ties by id; worst, expected and best over all orders of ties. "
        f"mAP: (1/R) sum of the precisions at the hits, all {count} ranks, over the {queries - dropped} queries with "
        "something to find. "
    )
    if at is not None:
        definition += (
            f"mAP@{at}/relevant: the same of the first {min(at, count)} ranks, divided by R; mAP@{at}/found: divided "
            f"by the hits among them, 0 without any, over all {queries} queries. "
        )
    definition += (
        f"precision@{first}: hits among the first {min(first, count)}, divided by {min(first, count)}. {within}: "
        f"hits among the items at a distance of {radius} or less; {empty} of {queries} queries have none and count 0."
    )
    return HashingEvaluation(
        values=MappingProxyType(values),
        definition=definition,
        per_query=MappingProxyType(per_query),
        dropped=dropped,
        tied=tied,
        empty_buckets=empty,
        bits=bits,
    )
