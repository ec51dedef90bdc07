"""What the commands of all training runs do alike: offer a recipe's options, train, and say how it went."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import torch

QUICKER: Final = {
    "GOMP_SPINCOUNT": "0",  # threads that wait make way for the processes that draw
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # blocks of up to 32 MiB are kept for the next step, not given
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),  # back and cleared again page by page
}
"""What the environment of a training run on Linux says where the user has said nothing."""


def start_anew_for_speed() -> None:
    """Start this process anew in an environment that makes a step some tenth quicker.

    Threads and memory are arranged before the first line runs, so that a process cannot do it for itself. What the
    network learns is the same, bit by bit. Nothing happens where the environment has all of `QUICKER` already, and
    on systems other than Linux, whose libraries read other names.
    """
    if sys.platform == "linux" and not QUICKER.keys() <= os.environ.keys():
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, {**QUICKER, **os.environ})  # noqa: S606 - itself, with its own words


def training_parser(module: str, trains: str) -> argparse.ArgumentParser:
    """Begin the command ``python -m dmlviz.learning.{module}``, which trains what `trains` says."""
    return argparse.ArgumentParser(
        prog=f"python -m dmlviz.learning.{module}",
        description=f"Train {trains}. Ctrl-C keeps what is done; the same command goes on.",
    )


def offer_out(parser: argparse.ArgumentParser, card: str = "card") -> None:
    """Ask for the folder that everything is written to."""
    parser.add_argument(
        "--out", required=True, help=f"folder for the weights, their {card} and the checkpoint"
    )


def offer_recipe(parser: argparse.ArgumentParser, recipe: type[Any], *names: str) -> None:
    """Offer some fields of a recipe by name: their types, their choices and what they are if not given.

    Args:
        parser: The command.
        recipe: A dataclass whose fields all have a default.
        names: The fields, each an int, a float or a `Literal` of words.
    """
    kinds = get_type_hints(recipe)
    for name in names:
        words = get_args(kinds[name]) if get_origin(kinds[name]) is Literal else None
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str if words else kinds[name],
            choices=words,
            default=getattr(recipe, name),
        )


def offer_threads(parser: argparse.ArgumentParser) -> None:
    """Offer how many threads torch uses."""
    parser.add_argument("--threads", type=int, help="threads for torch; its own choice if not given")


def offer_workers(parser: argparse.ArgumentParser, usual: int) -> None:
    """Offer how many processes draw batches ahead."""
    parser.add_argument(
        "--workers", type=int, default=usual, help="processes that draw ahead; 0 draws in this one"
    )


def train_as_asked(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    train: Callable[..., Path | Iterable[Path] | None],
) -> int:
    """Read a command, train, and print the paths of what came out of it.

    Args:
        parser: The command; it has offered the threads.
        arguments: The words after it; those of the process if None.
        train: All other options by name -> one path or more. What it raises as a `ValueError` is said as the
            command's misuse.

    Returns:
        The exit code: 0, or 130 after Ctrl-C.

    Raises:
        SystemExit: With code 2, after the message, where the command cannot be carried out as asked.
    """
    options = vars(parser.parse_args(arguments))
    threads = options.pop("threads")
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        made = train(**options)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    for path in (made,) if isinstance(made, Path) else made or ():
        print(path)
    return 0
