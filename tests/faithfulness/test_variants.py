"""Functions with some options fixed: what they take, say and pass on."""

import inspect

import pytest

from dmlviz import faithfulness
from dmlviz.faithfulness.evaluators import EVALUATORS, evaluator_named
from dmlviz.faithfulness.variants import variant

TWINS = {
    "cover_up_features": ("cover_up", {"level", "fill"}),
    "coalitions_features": ("coalitions", {"level", "fill"}),
    "second_order_curves_features": ("second_order_curves", {"level", "fill"}),
    "margin_pointing_swapped": ("margin_pointing", {"against"}),
    "deletion": ("insertion", set()),
    "part_swap": ("part_removal", set()),
}


def asked(gallery, method="decomposition", *, level="pixels", grown=2):
    """Ask something.

    Args:
        gallery: The gallery.
        method: A method.
        level: "pixels", or
            something else.
        grown: By how many pixels.

    Returns:
        What was given.

    Raises:
        ValueError: Never.

    Examples:
        >>> 1 + 1
        2
    """
    return gallery, method, level, grown


def test_what_is_fixed_is_passed_on_and_not_taken():
    twin = variant(asked, "twin", "The twin.", level="features")
    assert twin("birds", "cam", grown=3) == ("birds", "cam", "features", 3)
    assert twin("birds") == ("birds", "decomposition", "features", 2)
    assert str(inspect.signature(twin)) == "(gallery, method='decomposition', *, grown=2)"
    with pytest.raises(
        TypeError, match="twin: got an unexpected keyword argument 'level'; it takes gallery, method"
    ):
        twin("birds", level="pixels")
    with pytest.raises(TypeError, match="twin: missing a required argument: 'gallery'"):
        twin()
    with pytest.raises(
        TypeError, match="asked has no option 'size' to fix; it has gallery, method, level, grown"
    ):
        variant(asked, "twin", "The twin.", size=3)


def test_an_error_of_the_function_itself_comes_through():
    def fails(gallery, level):
        raise TypeError(f"no {level} in {gallery}")

    with pytest.raises(TypeError, match=r"^no cells in birds$"):
        variant(fails, "twin", "The twin.", level="cells")("birds")


def test_the_docstring_is_the_function_s_without_what_is_fixed():
    twin = variant(
        asked,
        "twin",
        """The twin.

        It is one.

        Examples:
            >>> 2 + 2
            4
        """,
        level="features",
    )
    assert inspect.getdoc(twin).split("\n") == [
        *("The twin.", "", "It is one.", "", "Args:", "    gallery: The gallery.", "    method: A method."),
        *("    grown: By how many pixels.", "", "Returns:", "    What was given.", "", "Raises:"),
        *("    ValueError: Never.", "", "Examples:", "    >>> 2 + 2", "    4"),
    ]


@pytest.mark.parametrize("name", TWINS)
def test_twins_differ_in_what_is_fixed_and_in_nothing_else(name):
    other, fixed = TWINS[name]
    ours, theirs = (inspect.signature(getattr(faithfulness, n)).parameters for n in (name, other))
    assert list(ours) == [n for n in theirs if n not in fixed]
    assert all(ours[n] == theirs[n] for n in ours)


@pytest.mark.parametrize("name", EVALUATORS)
def test_every_evaluator_s_function_names_and_documents_what_it_takes(name):
    described, ask = evaluator_named(name)
    parameters = inspect.signature(ask).parameters
    assert described.name == name
    assert ask.__name__ == name.replace("-", "_") == next(n for n in vars(faithfulness) if n == ask.__name__)
    assert list(parameters)[:3] == ["gallery", "method", "pairs"]
    assert {"baselines", "seed", "progress"} <= set(parameters)
    documented = inspect.getdoc(ask)
    for parameter in parameters:
        assert documented.count(f"\n    {parameter}: ") == 1, parameter
    assert "\nReturns:\n" in documented
    assert "\nRaises:\n" in documented
