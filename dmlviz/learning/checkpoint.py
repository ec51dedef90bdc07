"""What every training run does alike: go through its steps, keep what is done, and go on from there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm


class Run(Protocol):
    """A training run that knows how far it is and can be kept."""

    @property
    def step(self) -> int:
        """How many steps are done."""

    def save(self) -> None:
        """Write the checkpoint."""


def step_through(
    run: Run, shown: Iterable[dict[str, str]], total: int, name: str, *, every: int, progress: bool
) -> bool:
    """Make a run's steps under a progress bar, keeping a checkpoint now and then and when it is interrupted.

    Args:
        run: The run.
        shown: Makes one step for each item; what the bar shows of it.
        total: Steps of the whole run.
        name: What the bar is called.
        every: Steps between two checkpoints.
        progress: Show the bar.

    Returns:
        Whether the run is at its end; it has been kept.

    Raises:
        KeyboardInterrupt: Passed on after what is done has been kept.
    """
    bar = tqdm(total=total, initial=run.step, desc=name, disable=not progress)
    try:
        for words in shown:
            bar.update()
            bar.set_postfix(words, refresh=False)
            if run.step % every == 0:
                run.save()
    except KeyboardInterrupt:
        run.save()
        print(
            f"Stopped after {run.step} of {total} steps; the same command goes on from there.",
            file=sys.stderr,
        )
        raise
    finally:
        bar.close()
    if run.step % every:
        run.save()  # at the end, too: what follows the last step may be interrupted
    return run.step >= total


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a half-written one never takes the place of a whole one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """Read a checkpoint that says under `key` what it is of; None where there is none.

    Raises:
        ValueError: The file is broken, or lacks the key.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        state[key]
    except Exception as error:  # whatever lies there; torch raises many things over broken bytes
        raise ValueError(
            f"{path} is not a whole checkpoint ({type(error).__name__}). Delete it to start afresh."
        ) from error
    return state


def read_checkpoint_of(path: Path, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of a recipe; None where there is none.

    Raises:
        ValueError: The file is broken, or another recipe's.
    """
    state = read_checkpoint(path, "recipe")
    if state is not None and state["recipe"] != recipe:
        raise ValueError(
            f"{path} is the checkpoint of another recipe ({state['recipe']}). Give the same options to go "
            "on with it, another folder to start afresh, or delete it."
        )
    return state
