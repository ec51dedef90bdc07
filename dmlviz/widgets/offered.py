"""The methods of explanation as the Explorer's picker offers them."""

from typing import TYPE_CHECKING, Any

from dmlviz.explanation import methods
from dmlviz.explanation.method import Method

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

AT_ONCE = ("decomposition",)
"""Methods that explain a whole ranking from what the gallery remembers, in one go."""


def reasons_against(gallery: "Gallery") -> dict[str, str]:
    """Why a method cannot explain this gallery, by name; "" where it can.

    A method that fails to say so is named with its error, and the others stay usable.
    """
    reasons: dict[str, str] = {}
    for name in methods.METHODS:
        try:
            reasons[name] = methods.method_named(name).unsuited(gallery)
        except Exception as problem:
            reasons[name] = f"it could not say whether it suits: {type(problem).__name__}: {problem}"
    return reasons


def method_meta(name: str, reason: str) -> dict[str, Any]:
    """A method for the page: its words, and why it cannot be chosen."""
    method: Method = methods.method_named(name)
    return {
        "name": name,
        "title": method.title,
        "says": method.says,
        "cost": method.cost,
        "reason": reason,
        "pairwise": bool(method.pairwise),
        "linear": bool(method.linear),
    }
