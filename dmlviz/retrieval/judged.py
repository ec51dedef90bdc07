"""The half of a gallery that judges it: metrics, protocols, misses."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from dmlviz.retrieval.judging import evaluation, failures_frame, judge, per_query_frame
from dmlviz.retrieval.leave_out import LeavingOut
from dmlviz.retrieval.metrics import RECALL_AT, Evaluation, PerQuery
from dmlviz.retrieval.protocols import ProtocolEvaluation, evaluate_by
from dmlviz.retrieval.side import Side

if TYPE_CHECKING:
    import pandas as pd


class Judged:
    """What `Gallery` can say of its own rankings; every query asks, and what its rule leaves out does not count."""

    _query_side: Side
    _item_side: Side
    _left_out: LeavingOut

    def __init__(self) -> None:
        self._judged: PerQuery | None = None
        self._judging = threading.Lock()

    @overload
    def evaluate(self, recall_at: Sequence[int] | None = None, protocol: None = None) -> Evaluation: ...

    @overload
    def evaluate(self, recall_at: Sequence[int] | None = None, *, protocol: str) -> ProtocolEvaluation: ...

    def evaluate(
        self, recall_at: Sequence[int] | None = None, protocol: str | None = None
    ) -> Evaluation | ProtocolEvaluation:
        """Let every query ask for its class, and say how well it finds it.

        Without a protocol: recall@k, precision@1, R-precision and mAP@R, each by its published definition on
        the full ranking of every query; see `Evaluation`. What the rule `leave_out` says is neither found nor
        counted. The work is done once and remembered.

        With a protocol, its own numbers under its own rule of leaving out, whatever the gallery's is:

        - "market1501": person re-identification across cameras; CMC@k, mAP by rectangles and by trapezoids,
          mINP. Needs labels and the column `camera` on both sides.
        - "cvusa": cross-view geo-localization; recall@1, 5, 10 and 1 %. Needs a query set.

        For pairs (same person or not?) there is `dmlviz.retrieval.verification`.

        Args:
            recall_at: the values of k; 1, 2, 4, 8 by default, or the protocol's own.
            protocol: the protocol's name; None for the metrics above.

        Returns:
            An `Evaluation`, or for a protocol a `ProtocolEvaluation`.

        Raises:
            ValueError: images or queries have no labels, no query has an image of its class to find, a k is
                below 1, or an unknown protocol.
        """
        if protocol is not None:
            return evaluate_by(protocol, self._query_side, self._item_side, recall_at)
        own = self._query_side.images is self._item_side.images
        return evaluation(self._per_query(), RECALL_AT if recall_at is None else recall_at, own)

    def per_query(self) -> "pd.DataFrame":
        """One row per query.

        Columns: name, label, evaluated (False: nothing of its class to find, or an embedding of length zero),
        hit (bool, whether the first image found is right), first_hit_rank (from 1; 0 where not evaluated), margin
        (similarity of the best right image minus that of the best wrong one; negative for a miss, NaN where
        one is lacking), right and wrong (ids of those two images, -1 where lacking). The index is the query's id.

        Raises:
            ValueError: images or queries have no labels.
        """
        return per_query_frame(self._per_query(), self._query_side.images)

    def failures(self) -> "pd.DataFrame":
        """One row per missed query: its first image is of another class.

        Sorted by margin, most negative (worst) first, then by query; `frame.attrs["sorted_by"]` says so.
        Columns: query (its id), name, label, first_hit_rank, wrong (id of the image found first), wrong_label,
        wrong_similarity, right (id of the best image of the query's class), right_similarity, margin
        (right_similarity - wrong_similarity, never positive).

        Raises:
            ValueError: images or queries have no labels.
        """
        return failures_frame(self._per_query(), self._query_side.images, self._item_side.images)

    def _per_query(self) -> PerQuery:
        with self._judging:
            if self._judged is None:
                self._judged = judge(self._query_side, self._item_side, self._left_out)
            return self._judged
