"""The names at the top: a checked-in list, so that a change to them is a decision."""

from pathlib import Path

import pytest

import dmlviz

LISTED = Path(__file__).with_name("public_names.txt").read_text().split()


def test_the_public_names_are_the_listed_ones():
    assert sorted(dmlviz.__all__) == dmlviz.__all__ == LISTED == dir(dmlviz)


@pytest.mark.parametrize("name", LISTED)
def test_each_public_name_loads_and_is_documented(name):
    value = getattr(dmlviz, name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match="no attribute 'explian'; it offers CellGeometry, "):
        dmlviz.explian  # noqa: B018
