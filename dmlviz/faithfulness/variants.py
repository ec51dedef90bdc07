"""One evaluator under several names: its function with some of the options fixed."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from dmlviz.faithfulness.evaluation import Evaluation

Asked = ParamSpec("Asked")


def variant(
    of: Callable[Asked, Evaluation], name: str, says: str, **fixed: Any
) -> Callable[Asked, Evaluation]:
    """An evaluator's function with some of its options fixed.

    The options that are left are written down, documented and checked in one place: in `of`.

    Args:
        of: The function, with a docstring in Google form.
        name: What the new one is called.
        says: Its own docstring: a summary, and after a blank line whatever else there is to say. Below it come `of`'s
            arguments that are left, results and errors.
        **fixed: The options that are fixed. The new function does not take them.

    Returns:
        The function, with a signature and a docstring of its own.

    Raises:
        TypeError: If `of` has no such option.

    Examples:
        >>> from dmlviz.faithfulness.completeness import completeness
        >>> quiet = variant(completeness, "quiet", "`completeness` without a bar.", progress=False)
        >>> "progress" in inspect.signature(quiet).parameters, "seed" in inspect.signature(quiet).parameters
        (False, True)
    """
    whole = inspect.signature(of)
    if strange := [option for option in fixed if option not in whole.parameters]:
        raise TypeError(
            f"{of.__name__} has no option {strange[0]!r} to fix; it has {', '.join(whole.parameters)}"
        )
    left = whole.replace(parameters=[p for p in whole.parameters.values() if p.name not in fixed])

    @wraps(of)
    def ask(*args: Asked.args, **options: Asked.kwargs) -> Evaluation:
        try:
            left.bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{name}: {error}; it takes {', '.join(left.parameters)}") from None
        return of(*args, **options, **fixed)

    documented = (inspect.getdoc(of) or "").partition("Args:\n")[2].partition("\n\nExamples:")[0]
    for option in fixed:
        documented = re.sub(rf"^    {option}: .*\n(?:     .*\n)*", "", documented, flags=re.MULTILINE)
    summary, _, examples = inspect.cleandoc(says).partition("Examples:\n")
    parts = [summary.rstrip(), f"Args:\n{documented}", f"Examples:\n{examples}" if examples else ""]
    ask.__name__ = ask.__qualname__ = name
    ask.__doc__ = "\n\n".join(filter(None, parts))
    ask.__signature__ = left  # type: ignore[attr-defined]
    return ask
