"""Every evaluator, by name."""

from collections.abc import Callable
from importlib import import_module

from dmlviz.faithfulness.evaluation import Evaluation, Evaluator

_MODULE_OF = {  # a name with "_" for "-" is its function; modules may hold several
    "completeness": "completeness",
    "localisation": "localisation",
    "pointing": "pointing",
    "margin-pointing": "margin_pointing",
    "margin-pointing-swapped": "margin_pointing",
    "part-transfer": "part_transfer",
    "insertion": "insertion_deletion",
    "deletion": "insertion_deletion",
    "cover-up": "cover_up",
    "cover-up-features": "cover_up",
    "coalitions": "coalitions",
    "coalitions-features": "coalitions",
    "second-order-curves": "second_order_curves",
    "second-order-curves-features": "second_order_curves",
    "part-removal": "part_removal",
    "part-swap": "part_removal",
    "randomisation": "randomisation",
    "reference-swap": "sanity",
    "symmetry": "sanity",
}
EVALUATORS: tuple[str, ...] = tuple(_MODULE_OF)
"""Names of all evaluators, in the order of the tables."""


def evaluator_named(name: str) -> tuple[Evaluator, Callable[..., Evaluation]]:
    """What an evaluator asks, and the function that asks it.

    Raises:
        ValueError: If there is none of that name.

    Examples:
        >>> described, ask = evaluator_named("completeness")
        >>> described.name, described.better, ask.__name__
        ('completeness', 'lower', 'completeness')
    """
    module = _MODULE_OF.get(name)
    if module is None:
        raise ValueError(f"evaluator must be one of {', '.join(map(repr, EVALUATORS))}; got {name!r}")
    found = import_module(f"dmlviz.faithfulness.{module}")
    described = (of for of in vars(found).values() if isinstance(of, Evaluator) and of.name == name)
    return next(described), getattr(found, name.replace("-", "_"))
