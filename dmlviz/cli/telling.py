"""What the commands tell: errors in a sentence, warnings as notes, Ctrl-C with what to do next, figures as JSON."""

import json
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import numpy as np

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count: 128 and the number of the signal."""


@contextmanager
def told(stopped: str) -> Iterator[None]:
    """Errors of the library as click's, warnings as lines on standard error, Ctrl-C as a sentence.

    Args:
        stopped: What Ctrl-C leaves behind, and how to go on.

    Raises:
        click.ClickException: In the place of what the library raises for wrong input.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                yield
            finally:
                for one in caught:
                    if issubclass(one.category, UserWarning):
                        click.echo(f"Note: {one.message}", err=True)
    except KeyboardInterrupt:
        click.echo(f"\nStopped. {stopped}", err=True)
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, IndexError, TypeError, ImportError) as error:
        raise click.ClickException(str(error)) from error


def as_json(said: Mapping[str, Any]) -> str:
    """JSON with what NumPy gives in it; NaN and infinity, which JSON does not know, become null."""
    return json.dumps(_plain(said), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
