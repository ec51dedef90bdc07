"""Embedding a whole image set: in batches, with a progress bar, to be interrupted and resumed."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.progress_file import Progress
from dmlviz.images import ImageReadError

OnError = Literal["raise", "skip"]
Failure = tuple[int, str, str]  # id, name, reason
_NOT_FINITE = "its embedding holds NaN or infinite values"


@dataclass(frozen=True, eq=False)
class EmbeddedSet:
    """The embeddings of an image set.

    Attributes:
        embeddings: (M, D) float32, not normalised, one row per image that could be embedded. Read-only.
        ids: (M,) int64, the ids of those images, ascending. Read-only.
        failed: (id, name, reason) of every image that was skipped.
    """

    embeddings: np.ndarray
    ids: np.ndarray
    failed: tuple[Failure, ...] = field(default=())

    def __post_init__(self) -> None:
        for array in (self.embeddings, self.ids):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)


def embed_images(
    embedder: Embedder,
    images: Any,
    *,
    batch_size: int = 64,
    workers: int = 0,
    progress: bool = True,
    path: str | Path | None = None,
    on_error: OnError = "raise",
) -> EmbeddedSet:
    """Embed every image of a set.

    Pictures are read and preprocessed while the network works on the batch before. With a `path`, finished rows
    go to that file as they come (a NumPy array file that can be memory-mapped; beside it `<path>.json` says
    how far it is). After Ctrl-C, an error or a power cut, the same call goes on where it stopped; a finished
    file is read back at once.

    Args:
        embedder: Makes the embeddings.
        images: An `ImageSet`: `len`, `images[i]` -> (H, W, 3) uint8, `.names`, `.fingerprint`.
        batch_size: Images per forward pass.
        workers: 0: a thread beside the network reads and preprocesses; n: so many processes do.
        progress: Whether to show a progress bar.
        path: File for the embeddings, usually ending in .npy; None: only in memory, nothing to resume.
        on_error: "raise" stops at the first image that cannot be read or embedded, what is done is kept;
            "skip" leaves such images out and lists them in `.failed`.

    Returns:
        Embeddings, the ids they belong to, and what was skipped.

    Raises:
        ImageReadError: An image cannot be read (it is named), with on_error="raise".
        ValueError: An embedding is not finite (the image is named); `path` holds the work of another embedder or
            other images; an argument is out of range.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"unknown on_error {on_error!r}: expected 'raise' or 'skip'")
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch_size must be >= 1 and workers >= 0, got {batch_size} and {workers}")
    if len(images) == 0:
        raise ValueError("the image set is empty; there is nothing to embed")
    names = [str(name) for name in images.names]
    kept = Progress.open(path, embedder, images)
    if on_error == "raise" and kept.failed:
        raise _error(*kept.failed[0])
    todo = range(kept.done, len(images))
    batches = _in_processes if workers else _in_a_thread
    try:
        with tqdm(
            total=len(images), initial=kept.done, desc="embedding", unit="image", disable=not progress
        ) as bar:
            for ids, arrays, failed in batches(embedder, images, todo, batch_size, workers):
                _embed_batch(embedder, kept, ids, arrays, [(i, names[i], why) for i, why in failed], on_error)
                bar.update(ids[-1] + 1 - bar.n)
    finally:
        kept.save()
    return kept.result()


Batch = tuple[
    list[int], list[np.ndarray], list[tuple[int, str]]
]  # all ids, arrays of the good ones, the bad ones


def _embed_batch(
    embedder: Embedder,
    kept: Progress,
    ids: list[int],
    arrays: list[np.ndarray],
    failed: list[Failure],
    on_error: str,
) -> None:
    bad = {i for i, _, _ in failed}
    good = [i for i in ids if i not in bad]
    rows = np.empty((0, embedder.dim), np.float32)
    if arrays:
        rows = embedder.embed_inputs(torch.from_numpy(np.stack(arrays)))
    broken = np.asarray(~np.isfinite(rows).all(axis=1))
    names = {i: name for i, name, _ in failed}
    if broken.any():
        names |= {good[n]: str(kept.names[good[n]]) for n in np.flatnonzero(broken)}
        failed = failed + [(good[n], names[good[n]], _NOT_FINITE) for n in np.flatnonzero(broken)]
    failed = sorted(failed)
    if failed and on_error == "raise":
        upto = [n for n, i in enumerate(good) if i < failed[0][0]]
        kept.add([good[n] for n in upto], rows[upto], [], failed[0][0])
        raise _error(*failed[0])
    kept.add([i for n, i in enumerate(good) if not broken[n]], rows[~broken], failed, ids[-1] + 1)


def _error(_id: int, name: str, reason: str) -> ValueError:
    if reason == _NOT_FINITE:
        return ValueError(
            f"image {name!r}: {reason}; look at the image and at the model's weights, or leave such images out with "
            f"on_error='skip'"
        )
    return ImageReadError(name, reason)


# ---- reading while the network works ---------------------------------------------------------------------------


class _Prepared(torch.utils.data.Dataset[tuple[int, Any, str]]):
    """Item i: (i, array or None, "" or why not)."""

    def __init__(self, images: Any, preprocess: Any, size: tuple[int, int]) -> None:
        self.images, self.preprocess, self.size = images, preprocess, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[int, Any, str]:
        try:
            array = self.preprocess(self.images[i])
        except ImageReadError as error:
            return i, None, error.reason
        if array.shape[1:] != self.size:
            raise ValueError(
                f"image {i} gives an input of {array.shape[1:]} (height, width), the network is fed {self.size}; use "
                f"Preprocess.stretch or Preprocess.resize_crop to bring all images to one size"
            )
        return i, array, ""


def _collated(items: list[tuple[int, Any, str]]) -> Batch:
    return (
        [i for i, _, _ in items],
        [array for _, array, _ in items if array is not None],
        [(i, why) for i, array, why in items if array is None],
    )


def _in_a_thread(
    embedder: Embedder, images: Any, todo: range, batch_size: int, workers: int
) -> Iterator[Batch]:
    """One thread prepares the next batch while the caller embeds this one."""
    prepared = _Prepared(images, embedder.preprocess, embedder.input_size)
    starts = list(range(todo.start, todo.stop, batch_size))

    def make(start: int) -> Batch:
        return _collated([prepared[i] for i in range(start, min(start + batch_size, todo.stop))])

    with ThreadPoolExecutor(1, thread_name_prefix="dmlviz-prepare") as pool:
        ahead = pool.submit(make, starts[0]) if starts else None
        for n in range(len(starts)):
            assert ahead is not None  # noqa: S101
            batch = ahead.result()
            ahead = pool.submit(make, starts[n + 1]) if n + 1 < len(starts) else None
            yield batch


def _in_processes(
    embedder: Embedder, images: Any, todo: range, batch_size: int, workers: int
) -> Iterator[Batch]:
    """So many processes prepare batches; started afresh, since forking beside running threads may hang."""
    prepared = torch.utils.data.Subset(
        _Prepared(images, embedder.preprocess, embedder.input_size), list(todo)
    )
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    yield from torch.utils.data.DataLoader(
        prepared,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collated,
        multiprocessing_context=start,
    )
