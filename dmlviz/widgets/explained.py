"""The explanations of one finding: made when they are asked for, then kept."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmlviz.explanation import Decomposition, MarginMap, margin_between, margin_map, method_named
from dmlviz.explanation.explain import explain_ranking
from dmlviz.widgets.finding import Finding
from dmlviz.widgets.offered import AT_ONCE

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

QUICK = 0.02  # seconds per pair below which a method explains a whole ranking unasked


class Paces:
    """How long each method takes for one pair, as measured; the best time counts, since the first one warms up."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def measured(self, method: str, seconds: float) -> None:
        """Take note of what one pair took, in seconds."""
        self._seconds[method] = min(seconds, self._seconds.get(method, seconds))

    def of(self, method: str) -> float | None:
        """Seconds per pair; None where the method was not used yet."""
        return self._seconds.get(method)

    def quick(self, method: str) -> bool:
        """Whether a whole ranking can be explained without being asked for."""
        return method in AT_ONCE or self._seconds.get(method, QUICK) < QUICK


class Explained:
    """Explanations of a finding's items by several methods.

    Args:
        gallery: The gallery that was searched.
        finding: What it answered.
        paces: How long each method takes; learns from every call.
    """

    def __init__(self, gallery: "Gallery", finding: Finding, paces: Paces) -> None:
        self.gallery, self.finding, self.paces = gallery, finding, paces
        self._whys: dict[str, dict[int, Decomposition]] = {}
        self._margins: dict[tuple[str, int], MarginMap] = {}

    @property
    def ranked(self) -> range:
        """Indices of the items of the ranking; those beyond are only compared with."""
        return range(len(self.finding.ranking))

    def known(self, method: str) -> dict[int, Decomposition]:
        """What is explained so far, by item."""
        return self._whys.setdefault(method, {})

    def methods(self) -> list[str]:
        """The methods that have explained anything so far."""
        return [method for method, whys in self._whys.items() if whys]

    def why(self, method: str, n: int) -> Decomposition:
        """The explanation of item n, made now if it is not there yet."""
        if n not in self.known(method):
            self._explain(method, [n])
        return self.known(method)[n]

    def explain(self, method: str, wanted: Sequence[int], seconds: float | None = None) -> list[int]:
        """Explain items in their order until time is up.

        Args:
            method: How.
            wanted: Indices of items, the most urgent first; the first is always explained.
            seconds: How long the others may take; None for as long as they need.

        Returns:
            Those of `wanted` that are explained now.
        """
        have = self.known(method)
        missing = [n for n in dict.fromkeys(wanted) if n not in have]
        if missing and (method in AT_ONCE or seconds is None):
            self._explain(method, missing)
        elif missing:
            stop = time.perf_counter() + float(seconds or 0)
            self._explain(method, missing[:1])
            for n in missing[1:]:
                if time.perf_counter() + (self.paces.of(method) or 0) > stop:
                    break
                self._explain(method, [n])
        return [n for n in wanted if n in have]

    def margin(self, method: str, n: int) -> tuple[int, MarginMap] | None:
        """Item n held against the best of the other kind, its index first; None where it has no margin."""
        other = self.finding.others[n]
        if other is None or not method_named(method).linear:
            return None
        if (method, n) not in self._margins:
            found = self._against(method, n, other)
            if found is None:
                return None
            self._margins[method, n] = found
        return other, self._margins[method, n]

    def _against(self, method: str, n: int, other: int) -> MarginMap | None:
        """As `margin_map` has it, from the explanations that are here instead of computing them again."""
        wrong, right = self.finding.ids[n], self.finding.ids[other]
        if method in AT_ONCE:
            return margin_map(self.gallery, self.finding.query, wrong=wrong, right=right)
        mine, its = self.why(method, n), self.why(method, other)
        if not (mine.has_map("query") and its.has_map("query")):
            return None
        return margin_between(mine, its, wrong, right)

    def known_margin(self, method: str, n: int) -> tuple[int, MarginMap] | None:
        """The margin of item n where it costs nothing more."""
        other = self.finding.others[n]
        here = other is not None and {n, other} <= self.known(method).keys()
        return self.margin(method, n) if here or self.paces.quick(method) else None

    def _explain(self, method: str, items: Sequence[int]) -> None:
        started = time.perf_counter()
        ids = [self.finding.ids[n] for n in items]
        whys = explain_ranking(self.gallery, self.finding.query, ids, method)
        self.paces.measured(method, (time.perf_counter() - started) / len(items))
        self.known(method).update(zip(items, whys, strict=True))
