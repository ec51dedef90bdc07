"""Every evaluator, by name."""

from collections.abc import Callable
from importlib import import_module

from dmlviz.faithfulness.evaluation import Evaluation, Evaluator

_MODULE_OF = {  # a name with "_" for "-" is its function; modules may hold several; cheap ones first
    "margin-pointing": "margin_pointing",
    "margin-pointing-swapped": "margin_pointing",
    "part-transfer": "part_transfer",
    "completeness": "completeness",
    "symmetry": "sanity",
    "reference-swap": "sanity",
    "pointing": "pointing",
    "localisation": "localisation",
    "part-removal": "part_removal",
    "part-swap": "part_removal",
    "cover-up-features": "cover_up",
    "coalitions-features": "coalitions",
    "second-order-curves-features": "second_order_curves",
    "randomisation": "randomisation",
    "cover-up": "cover_up",
    "insertion": "insertion_deletion",
    "deletion": "insertion_deletion",
    "second-order-curves": "second_order_curves",
    "coalitions": "coalitions",
}
EVALUATORS: tuple[str, ...] = tuple(_MODULE_OF)
"""Names of all evaluators, in the order of the tables: headline tests, then those that cost least."""


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
