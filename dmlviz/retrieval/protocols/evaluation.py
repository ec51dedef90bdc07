"""What a protocol is, and what it says of a gallery."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class ProtocolEvaluation:
    """What a published protocol says of a gallery.

    Attributes:
        protocol: its name.
        values: name of a number -> the number, at most 1 and (but for AMI) at least 0; read-only, in the order
            in which papers print them.
        definition: what was left out and counted, by what it was divided and how it was interpolated, in words.
        query_ids: (Q,) int64, ids of the queries that were evaluated, ascending.
        per_query: name -> (Q,) one value per query of `query_ids`. Where rankings are judged these are among them:
            `first_hit_rank` (int64, from 1), `relevant` (int64, R), `tied` (bool), `right` and `wrong` (int64, ids
            of the best right and the best wrong image; -1 where there is no wrong one).
        dropped: number of queries that have nothing to find, or an embedding of length zero.
        tied: number of queries for which a wrong image has exactly the score of a right one, so that their
            order (by id) is chance.
        arrays: name -> what else belongs to the result, such as a curve; read-only, mostly empty.
    """

    protocol: str
    values: Mapping[str, float]
    definition: str
    query_ids: np.ndarray
    per_query: Mapping[str, np.ndarray]
    dropped: int
    tied: int
    arrays: Mapping[str, np.ndarray] = field(default_factory=lambda: NOTHING)

    @property
    def valid(self) -> int:
        """Number of queries that were evaluated, by which the means are divided."""
        return len(self.query_ids)

    def __repr__(self) -> str:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in self.values.items())
        notes = [f"{self.valid} queries"]
        notes += [f"{self.dropped} left out"] if self.dropped else []
        notes += [f"{self.tied} with ties"] if self.tied else []
        return f"{self.protocol}: {', '.join(notes)}\n  {numbers}\n  {self.definition}"


@dataclass(frozen=True)
class Protocol:
    """A protocol before it is applied: what it is called, what it needs and what its queries are sorted by.

    Attributes:
        name: as `Gallery.evaluate` takes it.
        title: one line.
        run: called as run(name, queries, items, ks, **options) with the two `Side`s of a gallery.
        worst_by: name of the per-query value by which `Gallery.failures` sorts. Its best value is 1.
        high_is_worse: whether a high value is a bad one, as with ranks; else a low one is.
        ks: default values of k; None for a protocol that has no k.
        needs: names of options without which it cannot be applied.
        takes: names of options that it takes beside them.
        source: the publication that defines it.
    """

    name: str
    title: str
    run: Callable[..., ProtocolEvaluation]
    worst_by: str
    high_is_worse: bool = False
    ks: tuple[int, ...] | None = None
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    source: str = ""

    @property
    def sorted_by(self) -> str:
        """How failures are sorted, in words."""
        return f"{self.worst_by}, {'highest' if self.high_is_worse else 'lowest'} first; then query"
