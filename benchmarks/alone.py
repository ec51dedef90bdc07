"""A measurement in a process of its own, so that no other's memory is in it."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

_Asked = ParamSpec("_Asked")
_Found = TypeVar("_Found")


def alone(measure: Callable[_Asked, _Found], *given: _Asked.args, **named: _Asked.kwargs) -> _Found:
    """Call a function of a module in a fresh process and hand back what it returns, or raise what it raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *given, **named).result()
