"""Why two images match: similarities taken apart into contributions that add up to the score.

One result type, `Decomposition`, and the functions that make or read it. NumPy in every result. The functions
of the methods that read the network itself load torch when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmlviz.embedder import cell_of_pixel
from dmlviz.explanation.decomposition import (
    SIDES,
    SIMILARITIES,
    Decomposition,
    Side,
    decompose_similarity,
)
from dmlviz.explanation.explain import explain, explain_ranking
from dmlviz.explanation.margin import MarginMap, margin_between, margin_map
from dmlviz.explanation.method import Method
from dmlviz.explanation.methods import METHODS, method_named, methods_for
from dmlviz.explanation.offset_modes import OFFSETS, Offsets, with_offsets
from dmlviz.explanation.ranking_maps import ranking_maps

if TYPE_CHECKING:
    from dmlviz.explanation.class_maps import cam, class_scores
    from dmlviz.explanation.distance_maps import class_prototype, dist_cam
    from dmlviz.explanation.gradient_maps import grad_cam, grad_cam_unnormalised, rectified_grad_cam
    from dmlviz.explanation.hamming_distance import HammingBits, decompose_hamming, hamming, hamming_bits
    from dmlviz.explanation.integrated_jacobians import integrated_jacobian
    from dmlviz.explanation.published import published_decomposition
    from dmlviz.explanation.rise_maps import corr_rise, rise
    from dmlviz.explanation.rolled_out import attention_rollout, roll_out, rollout
    from dmlviz.explanation.sign_split import l1_split
    from dmlviz.explanation.sliding_windows import occlusion
    from dmlviz.explanation.squared_distances import decompose_squared_distance, squared_distance
    from dmlviz.explanation.structural import match_structure, rerank_by_structure, structural_matching
    from dmlviz.explanation.xcos_score import XCosMaps, xcos, xcos_maps, xcos_scores

_MODULE_OF = {  # functions of methods, loaded when asked for; a module has another name than its functions
    "HammingBits": "hamming_distance",
    "XCosMaps": "xcos_score",
    "attention_rollout": "rolled_out",
    "cam": "class_maps",
    "class_prototype": "distance_maps",
    "class_scores": "class_maps",
    "corr_rise": "rise_maps",
    "decompose_hamming": "hamming_distance",
    "decompose_squared_distance": "squared_distances",
    "dist_cam": "distance_maps",
    "grad_cam": "gradient_maps",
    "grad_cam_unnormalised": "gradient_maps",
    "hamming": "hamming_distance",
    "hamming_bits": "hamming_distance",
    "integrated_jacobian": "integrated_jacobians",
    "l1_split": "sign_split",
    "match_structure": "structural",
    "occlusion": "sliding_windows",
    "published_decomposition": "published",
    "rectified_grad_cam": "gradient_maps",
    "rerank_by_structure": "structural",
    "rise": "rise_maps",
    "roll_out": "rolled_out",
    "rollout": "rolled_out",
    "squared_distance": "squared_distances",
    "structural_matching": "structural",
    "xcos": "xcos_score",
    "xcos_maps": "xcos_score",
    "xcos_scores": "xcos_score",
}

__all__ = [
    "METHODS",
    "OFFSETS",
    "SIDES",
    "SIMILARITIES",
    "Decomposition",
    "HammingBits",
    "MarginMap",
    "Method",
    "Offsets",
    "Side",
    "XCosMaps",
    "attention_rollout",
    "cam",
    "cell_of_pixel",
    "class_prototype",
    "class_scores",
    "corr_rise",
    "decompose_hamming",
    "decompose_similarity",
    "decompose_squared_distance",
    "dist_cam",
    "explain",
    "explain_ranking",
    "grad_cam",
    "grad_cam_unnormalised",
    "hamming",
    "hamming_bits",
    "integrated_jacobian",
    "l1_split",
    "margin_between",
    "margin_map",
    "match_structure",
    "method_named",
    "methods_for",
    "occlusion",
    "published_decomposition",
    "ranking_maps",
    "rectified_grad_cam",
    "rerank_by_structure",
    "rise",
    "roll_out",
    "rollout",
    "squared_distance",
    "structural_matching",
    "with_offsets",
    "xcos",
    "xcos_maps",
    "xcos_scores",
]


def __getattr__(name: str) -> Any:
    """Load the function of a method from its file when it is first asked for."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(
            f"module 'dmlviz.explanation' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    value = getattr(import_module(f"dmlviz.explanation.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
