"""How far to trust the maps on a gallery of one's own: what can be asked there, and what it says."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from dmlviz.explanation import method_named
from dmlviz.faithfulness.comparison import Comparison, compare
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.trust_words import cannot_be_said, cautions, said_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

CHEAP = ("decomposition", "grad-cam", "dist-cam")
WITHOUT_A_SUM = ("integrated-jacobian", "occlusion")  # of networks that no decomposition takes apart


@dataclass(frozen=True, eq=False)
class Trust:
    """What was found about the maps of a gallery.

    `dmlviz.figures.trust_figure(trust.to_frame())` draws it.

    Attributes:
        comparison: The figures, with their baselines.
        sentences: For each method what was found, in plain words: a summary, then one sentence per evaluator.
        cautions: What each test does not tell.
        unknown: What cannot be said here, and why.
    """

    comparison: Comparison
    sentences: Mapping[str, tuple[str, ...]]
    cautions: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def pairs(self) -> Pairs:
        """The pairs that were asked about."""
        return self.comparison.pairs

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per figure of each method and baseline; see `Comparison.to_frame`."""
        return self.comparison.to_frame(backend)

    def __repr__(self) -> str:
        lines = [f"Trust({len(self.pairs)} pairs: {self.pairs.rule})"]
        for method, said in self.sentences.items():
            lines += [f"{method}: {said[0]}", *(f"  {sentence}" for sentence in said[1:])]
        return "\n".join([*lines, *self.unknown, *(f"beware, {said}" for said in self.cautions)])

    def _repr_html_(self) -> str:
        parts = [f"<p>{len(self.pairs)} pairs: {escape(self.pairs.rule)}</p>"]
        for method, said in self.sentences.items():
            items = "".join(f"<li>{escape(sentence)}</li>" for sentence in said[1:])
            parts.append(f"<p><b>{escape(method)}</b>: {escape(said[0])}</p><ul>{items}</ul>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in self.unknown]
        beware = "".join(f"<li>{escape(said)}</li>" for said in self.cautions)
        parts.append(f"<details><summary>What these tests do not tell</summary><ul>{beware}</ul></details>")
        table: str = self.comparison.table().to_html(escape=True)
        return "".join(parts) + f"<details><summary>All figures</summary>{table}</details>"


def trust(
    gallery: "Gallery",
    methods: Sequence[str] | None = None,
    pairs: "int | Pairs | Sequence[tuple[int, int]]" = 100,
    *,
    truth: Any = None,
    budget: float | None = 60.0,
    seed: int = 0,
    progress: bool = True,
    path: str | os.PathLike[str] | None = None,
) -> Trust:
    """Ask how far the maps of a gallery are to be trusted: everything that can be asked of it, within a budget.

    With masks of parts the maps are held against the truth: does a map peak on the part in question? With boxes it is
    asked whether they lie on the object. Without either it is asked whether they follow the network: do their parts
    add up, does covering what a map calls important change the score as it says, does it change with the weights and
    with the other image?

    Args:
        gallery: The gallery.
        methods: Names of `METHODS`; None for the exact decomposition, Grad-CAM and Dist-CAM where they suit, with
            integrated Jacobians and occlusion in place of the first where it does not.
        pairs: How many pairs to choose by the usual rule (see `choose_pairs`), or which.
        truth: What is known of the pictures where they do not know it themselves: `KnownParts`, `KnownBoxes`, or a
            pair of such; see `truth_of`.
        budget: Seconds that all of it may take; None for as long as it takes. See `compare`.
        seed: Of the choice of pairs, and of whatever evaluators draw.
        progress: Whether to show a progress bar.
        path: A file that keeps what is finished, see `compare`.

    Returns:
        Figures and what they say in words. `dmlviz.figures.trust_figure(trust.to_frame())` draws them.

    Raises:
        ValueError: If a name is unknown, no method suits the gallery, or `path` holds findings about another one.
        FileNotFoundError: If the folder that should hold `path` does not exist.

    Examples:
        >>> import dmlviz as dv
        >>> from dmlviz.embedder import birds_embedder
        >>> gallery = dv.Gallery.build(dv.birds(families=2, per_class=2), birds_embedder(), progress=False)
        >>> found = trust(gallery, ["decomposition"], pairs=4, budget=20, progress=False)
        >>> any("completeness" in sentence for sentence in found.sentences["decomposition"])
        True
    """
    found = compare(
        gallery,
        _suited(gallery) if methods is None else methods,
        None,
        pairs,
        truth=truth,
        budget=budget,
        path=path,
        seed=seed,
        progress=progress,
    )
    sentences = {method: tuple(said_of(method, found.evaluations, found.skipped)) for method in found.methods}
    return Trust(
        found,
        sentences,
        tuple(cautions(found.evaluations)),
        tuple(cannot_be_said(found.evaluations, found.skipped)),
    )


def _suited(gallery: "Gallery") -> list[str]:
    chosen = [name for name in CHEAP if not method_named(name).unsuited(gallery)]
    if "decomposition" not in chosen:
        chosen = [name for name in WITHOUT_A_SUM if not method_named(name).unsuited(gallery)] + chosen
    if not chosen:
        reason = method_named("decomposition").unsuited(gallery)
        raise ValueError(f"none of the usual methods suits this gallery ({reason}); name others by methods=")
    return chosen
