"""Every method of explanation, by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from dmlviz.explanation.method import Method
from dmlviz.explanation.options import one_of

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_MODULE_OF = {
    "decomposition": "exact",
    "integrated-jacobian": "integrated_jacobians",
    "attention-rollout": "rolled_out",
    "published-decomposition": "published",
    "grad-cam": "gradient_maps",
    "grad-cam-unnormalised": "gradient_maps",
    "rectified-grad-cam": "gradient_maps",
    "dist-cam": "distance_maps",
    "l1-split": "sign_split",
    "cam": "class_maps",
    "occlusion": "sliding_windows",
    "rise": "rise_maps",
    "corr-rise": "rise_maps",
    "squared-l2": "squared_distances",
    "squared-l2-first-order": "squared_distances",
    "mahalanobis": "squared_distances",
    "hamming": "hamming_distance",
    "xcos": "xcos_score",
    "structural-matching": "structural",
}
METHODS: tuple[str, ...] = tuple(_MODULE_OF)
"""Names of all methods, in the order in which pickers offer them."""


def method_named(name: str) -> Method:
    """Return a method by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    one_of(name, "method", METHODS)
    found: tuple[Method, ...] = import_module(f"dmlviz.explanation.{_MODULE_OF[name]}").OFFERED
    return next(method for method in found if method.name == name)


def methods_for(gallery: "Gallery") -> dict[str, str]:
    """Which methods suit a gallery: for each name "" or the reason why not."""
    return {name: method_named(name).unsuited(gallery) for name in METHODS}
