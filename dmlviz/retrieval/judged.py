"""The half of a gallery that judges it: metrics, protocols, misses."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, overload

from dmlviz.images.frame import frame_for
from dmlviz.retrieval.judging import evaluation, failures_frame, judge, per_query_frame
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.metrics import RECALL_AT, Evaluation, PerQuery
from dmlviz.retrieval.protocols import ProtocolEvaluation, evaluate_by
from dmlviz.retrieval.protocols.frames import protocol_failures_frame, protocol_frame
from dmlviz.retrieval.side import Side


class Judged:
    """What `Gallery` can say of its own rankings; every query asks, and what its rule leaves out does not count."""

    _query_side: Side
    _item_side: Side
    _left_out: LeavingOut

    def __init__(self) -> None:
        self._judged: PerQuery | None = None
        self._by_protocol: dict[Any, ProtocolEvaluation] = {}
        self._judging = threading.Lock()

    @overload
    def evaluate(self, recall_at: Sequence[int] | None = None, protocol: None = None) -> Evaluation: ...

    @overload
    def evaluate(
        self, recall_at: Sequence[int] | None = None, *, protocol: str, **options: Any
    ) -> ProtocolEvaluation: ...

    def evaluate(
        self, recall_at: Sequence[int] | None = None, protocol: str | None = None, **options: Any
    ) -> Evaluation | ProtocolEvaluation:
        """Let every query ask for its class, and say how well it finds it.

        Without a protocol: recall@k, precision@1, R-precision and mAP@R, each by its published definition on
        the full ranking of every query; see `Evaluation`. What the rule `leave_out` says is neither found nor
        counted. The work is done once and remembered.

        With a protocol, its own numbers under its own rule of leaving out, whatever the gallery's is. Each result
        holds one value per query, counts the queries that were dropped or have ties, and says in words by what it
        divides and how it interpolates. With "every image asks" an image is left out of its own ranking.

        - "cub", "cars": recall@1, 2, 4, 8, 16, 32; "sop": recall@1, 10, 100, 1000. Every image asks.
        - "in-shop": recall@1, 10, 20, 30, 40, 50. Needs a query set.
        - "map@r": MAP@R, R-precision, precision@1. "map": mean average precision over the whole ranking, by
          rectangles. "map@k": over the first k (10 and 100), by each of the three denominators in use.
        - "clustering": NMI, AMI and F1 over pairs of k-means with as many clusters as classes; option `seed`.
        - "oxford5k", "paris6k": mAP by trapezoids, junk removed, the query kept as a right one; need
          `judgements=` (see `Judgements.from_oxford`).
        - "roxford-easy", "roxford-medium", "roxford-hard", "rparis-easy", ...: mAP by trapezoids and mP@1, 5, 10;
          need `judgements=` (see `Judgements.from_json`).
        - "market1501": person re-identification across cameras; CMC@k, mAP by rectangles and by trapezoids,
          mINP. Needs labels and the column `camera` on both sides.
        - "lfw": pairs, the same person or another; accuracy over ten folds, AUC, EER, TAR@FAR, VAL@FAR; needs
          `pairs=`, rows of (query id, image id), and takes `same`, `folds` and `far`: of `dmlviz.images.lfw_pairs`
          these are pairs[["a", "b"]] and pairs["same"]. `dmlviz.retrieval.verification` says more of it.
        - "cvusa": cross-view geo-localization; recall@1, 5, 10 and 1 %. Needs a query set.
        - "hashing": the signs of the embeddings as codes; mAP with the bounds that its ties leave, precision@500 and
          within Hamming radius 2; takes `at`, `precision_at`, `radius` and `threshold`.

        `dmlviz.retrieval.PROTOCOLS` holds them all with title and source.

        Args:
            recall_at: the values of k; 1, 2, 4, 8 by default, or the protocol's own.
            protocol: the protocol's name; None for the metrics above.
            **options: what the protocol needs or takes, as said above.

        Returns:
            An `Evaluation`, or for a protocol a `ProtocolEvaluation`.

        Raises:
            ValueError: images or queries have no labels, no query has an image of its class to find, a k is
                below 1 or has no meaning for the protocol, an unknown protocol, or what it needs is not there.
            TypeError: an option that the protocol does not take, or one that it needs is lacking.
        """
        if protocol is not None:
            return self._evaluated_by(protocol, recall_at, options)
        if options:
            raise TypeError(
                f"the option {next(iter(options))!r} belongs to a protocol; give protocol= as well"
            )
        own = self._query_side.images is self._item_side.images
        return evaluation(self._per_query(), RECALL_AT if recall_at is None else recall_at, own)

    def per_query(self, protocol: str | None = None, *, backend: str = "pandas", **options: Any) -> Any:
        """One row per query.

        Columns: name, label, evaluated (False: nothing of its class to find, or an embedding of length zero),
        hit (bool, whether the first image found is right), first_hit_rank (from 1; 0 where not evaluated), margin
        (similarity of the best right image minus that of the best wrong one; negative for a miss, NaN where
        one is lacking), right and wrong (ids of those two images, -1 where lacking). The index is the query's id.

        With a protocol: name, label (None where there are none), evaluated, and the protocol's per-query values
        (see `ProtocolEvaluation.per_query`); NaN, 0, -1 for an id, or False where not evaluated.

        Args:
            protocol: as for `evaluate`; None for the gallery's own rule.
            backend: "pandas", "polars" or "pyarrow", whose frame to give; in the latter two the index is a column.
            **options: as for `evaluate`.

        Raises:
            ValueError: images or queries have no labels, or another backend; else as `evaluate`.
            TypeError: as `evaluate`.
            ImportError: polars is not installed.
        """
        if protocol is not None:
            found = self._evaluated_by(protocol, None, options)
            return frame_for(protocol_frame(found, self._query_side.images), backend)
        if options:
            raise TypeError(
                f"the option {next(iter(options))!r} belongs to a protocol; give protocol= as well"
            )
        return frame_for(per_query_frame(self._per_query(), self._query_side.images), backend)

    def failures(self, protocol: str | None = None, *, backend: str = "pandas", **options: Any) -> Any:
        """One row per missed query: its first image is of another class.

        Sorted by margin, most negative (worst) first, then by query; `frame.attrs["sorted_by"]` says so.
        Columns: query (its id), name, label, first_hit_rank, wrong (id of the image found first), wrong_label,
        wrong_similarity, right (id of the best image of the query's class), right_similarity, margin
        (right_similarity - wrong_similarity, never positive).

        With a protocol: one row per query that is not answered perfectly, worst first by the value that
        `frame.attrs["sorted_by"]` names (an average precision, the rank of the first hit, ...), then by query.
        Columns: query, name, label, that value, and the protocol's other per-query values.

        Args:
            protocol: as for `evaluate`; None for the gallery's own rule.
            backend: "pandas", "polars" or "pyarrow", whose frame to give; the latter two have no `attrs`.
            **options: as for `evaluate`.

        Raises:
            ValueError: images or queries have no labels, or another backend; else as `evaluate`.
            TypeError: as `evaluate`.
            ImportError: polars is not installed.
        """
        if protocol is not None:
            found = self._evaluated_by(protocol, None, options)
            return frame_for(protocol_failures_frame(found, self._query_side.images), backend)
        if options:
            raise TypeError(
                f"the option {next(iter(options))!r} belongs to a protocol; give protocol= as well"
            )
        frame = failures_frame(self._per_query(), self._query_side.images, self._item_side.images)
        return frame_for(frame, backend)

    def _evaluated_by(
        self, protocol: str, recall_at: Sequence[int] | None, options: Mapping[str, Any]
    ) -> ProtocolEvaluation:
        """A protocol's result, remembered where its options can be told apart."""
        key: Any = (protocol, None if recall_at is None else tuple(recall_at), *sorted(options.items()))
        try:
            hash(key)
        except TypeError:  # an array of pairs, say
            key = None
        with self._judging:
            found = self._by_protocol.get(key)
            if found is None:
                found = evaluate_by(protocol, self._query_side, self._item_side, recall_at, options)
                if key is not None:
                    self._by_protocol[key] = found
        return found

    def _per_query(self) -> PerQuery:
        with self._judging:
            if self._judged is None:
                self._judged = judge(self._query_side, self._item_side, self._left_out)
            return self._judged
