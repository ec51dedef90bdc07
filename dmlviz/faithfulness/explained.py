"""The explanations that are judged: of many pairs by one method, each computed once."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dmlviz.explanation import Decomposition, Method, explain_ranking, method_named
from dmlviz.faithfulness.baselines import BASELINES
from dmlviz.faithfulness.pairs import Pairs

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_BARS = ("occlusion", "rise", "corr-rise")  # methods that would show a bar of their own for each pair


class Explained:
    """Explanations of a gallery's pairs by one method; asked for again, they are remembered.

    Args:
        gallery: The gallery.
        method: A name of `METHODS`, or of `BASELINES`.
        **options: What the method takes beside the pair, such as masks=100 of "rise".

    Attributes:
        gallery: The gallery.
        name: The method's name.
        options: What the method is given beside the pair.
        method: What is known of the method.
        is_baseline: Whether it is one of `BASELINES`.
        seconds, computed: What the explanations made so far took, and how many they are.

    Raises:
        ValueError: If there is no such method.
    """

    def __init__(self, gallery: "Gallery", method: str = "decomposition", **options: Any) -> None:
        quiet = {"progress": False} if method in _BARS else {}
        self.gallery, self.name, self.options = gallery, method, quiet | options
        self.is_baseline = method in BASELINES
        self.method: Method = BASELINES[method] if self.is_baseline else method_named(method)
        self.seconds, self.computed = 0.0, 0
        self._kept: dict[tuple[int, int], Decomposition] = {}

    @property
    def unsuited(self) -> str:
        """Why the method cannot explain this gallery; "" where it can."""
        supplied = any(self.options.get(option) is not None for option in self.method.supplied_by)
        return "" if supplied else self.method.unsuited(self.gallery)

    def of(self, query: int, item: int) -> Decomposition:
        """The explanation of one pair.

        Raises:
            ValueError: If the method does not suit the gallery.
        """
        if (query, item) not in self._kept:
            start = time.perf_counter()
            if self.is_baseline:
                made = self.method.of_ranking(self.gallery, query, [item], **self.options)[0]
            else:
                made = explain_ranking(self.gallery, query, [item], self.name, **self.options)[0]
            self._kept[query, item] = made
            self.seconds += time.perf_counter() - start
            self.computed += 1
        return self._kept[query, item]

    def prepare(self, pairs: Pairs, step: Callable[[], object] = lambda: None) -> None:
        """Explain all pairs; `step` is called after each."""
        for query, item in pairs:
            self.of(query, item)
            step()

    @property
    def milliseconds(self) -> float:
        """What one explanation took on average; NaN before the first."""
        return 1000 * self.seconds / self.computed if self.computed else float("nan")


def as_explained(gallery: "Gallery", method: "str | Explained") -> Explained:
    """A method by name, or explanations that are there already.

    Raises:
        ValueError: If there is no such method, it does not suit the gallery, or the explanations are of another one.
    """
    found = method if isinstance(method, Explained) else Explained(gallery, method)
    if found.gallery is not gallery:
        raise ValueError("these explanations are of another gallery than the one given")
    if reason := found.unsuited:
        raise ValueError(f"the method {found.name!r} does not suit this gallery: {reason}")
    return found
