"""The gallery as the query picker needs it: names, classes, and which queries miss."""

from typing import TYPE_CHECKING, Any

from dmlviz.retrieval.judging import misses
from dmlviz.widgets.offered import method_meta

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

MOST_PRODUCTS = 4e10  # multiplications of an audit done unasked: about two seconds


def gallery_meta(gallery: "Gallery", reasons: dict[str, str], ids: list[int] | None = None) -> dict[str, Any]:
    """What the pickers offer: queries by name and label, and methods.

    Args:
        gallery: The gallery.
        reasons: By method why it cannot be chosen; "" where it can.
        ids: The queries of an exported page; all if None.
    """
    kept = range(len(gallery.queries)) if ids is None else ids
    labels = gallery.query_labels
    classes: dict[str, int] = {}
    indices = None
    if labels is not None:
        for label in sorted({str(label) for label in labels if label is not None}, key=_natural):
            classes[label] = len(classes)
        indices = [-1 if labels[i] is None else classes[str(labels[i])] for i in kept]
        if ids is not None:
            used = sorted(set(indices) - {-1})
            classes = {name: used.index(n) for name, n in classes.items() if n in used}
            indices = [-1 if n < 0 else used.index(n) for n in indices]
    return {
        "ids": ids,
        "names": [str(gallery.queries.names[i]) for i in kept],
        "classes": list(classes),
        "labels": indices,
        "methods": [method_meta(name, reason) for name, reason in reasons.items()],
        "follow": gallery.queries is gallery.images,
        "kind": gallery.similarity,
        "start": "all",
    }


def audit_is_quick(gallery: "Gallery") -> bool:
    """Whether finding all misses takes about two seconds at most."""
    count, dimension = gallery.embeddings.shape
    labelled = gallery.labels is not None and gallery.query_labels is not None
    return labelled and float(count) * len(gallery.queries) * dimension <= MOST_PRODUCTS


def audit_meta(gallery: "Gallery") -> dict[str, Any]:
    """The queries whose best-ranked image is of another class, by how far it leads over the best right one."""
    judged = gallery._per_query()  # what `failures` puts into a data frame, whose library loads slowly
    missed = misses(judged)
    return {
        "ids": missed.tolist(),
        "margins": [_finite(-m) for m in judged.margin[missed].tolist()],
        "similarities": [_finite(s) for s in judged.wrong_similarity[missed].tolist()],
    }


def _finite(value: float) -> float:
    """A number for sorting: queries with no right item have no margin and come first."""
    return float(value) if value == value and abs(value) != float("inf") else 1e9


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Sort "class 9" before "class 10"."""
    parts: list[tuple[int, int | str]] = []
    digits = ""
    for letter in text + "\0":
        if letter.isascii() and letter.isdigit():
            digits += letter
            continue
        if digits:
            parts.append((0, int(digits)))
            digits = ""
        parts.append((1, letter))
    return parts
