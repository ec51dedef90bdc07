"""How much of the exact answer an approximate index finds, on a sample of its own rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dmlviz.index.asking import Question, scan

if TYPE_CHECKING:
    from dmlviz.index.gallery_index import GalleryIndex


@dataclass(frozen=True)
class RecallCheck:
    """The share of true neighbours found.

    Attributes:
        recall: In [0, 1], the mean over the queries of the share of the k nearest rows that were found. A row as near
            as the k-th counts as one of them.
        low: Lower end of the 95 % interval (normal, over queries; Wilson's where an index that may miss rows missed
            none on this sample, so that no miss here is not taken for none ever).
        high: Its upper end.
        queries: How many rows asked.
        k: How many neighbours of each were looked for.
    """

    recall: float
    low: float
    high: float
    queries: int
    k: int

    def __str__(self) -> str:
        return f"recall@{self.k} ≈ {self.recall:.2f} on {self.queries} queries"


def check_recall(index: "GalleryIndex", k: int, sample: int, seed: int) -> RecallCheck:
    """See `GalleryIndex.recall`."""
    state = index._stored
    slots = np.arange(len(state.vectors)) if state.ids.alive is None else np.flatnonzero(state.ids.alive)
    if len(slots) < 2:
        raise ValueError(f"recall needs at least two rows, the index holds {len(slots)}")
    asking = np.sort(np.random.default_rng(seed).choice(slots, min(sample, len(slots)), replace=False))
    rows = np.ascontiguousarray(state.vectors[asking])
    _, found = index.search(rows, k, exclude=state.ids.named(asking))
    k = found.shape[1]
    asked = Question(rows, k, asking, state.ids.alive, len(slots), np.zeros(len(rows)))
    _, true = scan(state, asked)
    shares = (found >= true[:, -1:]).mean(axis=1)
    return of_shares(shares, k, index.exact)


def of_shares(shares: np.ndarray, k: int, exact: bool) -> RecallCheck:
    """What the shares of neighbours found, one per query, say of an index that may miss some, or may not."""
    mean, count = float(shares.mean()), len(shares)
    half = 1.96 * float(shares.std()) / np.sqrt(count)
    low = count / (count + 1.96**2) if mean == 1 and not exact else mean - half
    return RecallCheck(mean, max(0.0, low), min(1.0, mean + half), count, k)
