"""Names and labels of datasets of other libraries, recognised by what they can do, not by their type."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.images.readers import picture_of

Labels = Sequence[Any] | np.ndarray | None


def torchvision_items(dataset: Any, labels: Labels, names: Sequence[str] | None) -> tuple[list[str], Labels]:
    """Names and labels of a map-style dataset of (picture, target); see `ImageSet.from_torchvision`."""
    n = _length(dataset)
    first = dataset[0]
    if not isinstance(first, tuple | list) or len(first) < 2:
        raise ValueError(
            f"expected items (picture, target), got {type(first).__name__} at item 0; "
            "wrap the dataset so that dataset[i] gives both"
        )
    picture_of(first[0], "item 0")
    names = _checked_names(names, n) or _file_names(dataset, n)
    if labels is not None:
        return names, labels
    targets = _targets(dataset, n)
    classes = getattr(_through_subsets(dataset)[0], "classes", None)
    return names, [_label(target, classes, i) for i, target in enumerate(targets)]


def huggingface_items(
    dataset: Any, image: str, label: str | None, names: Sequence[str] | None
) -> tuple[list[str], list[Any] | None]:
    """Names and labels of one split of a Hugging Face dataset; see `ImageSet.from_huggingface`."""
    if isinstance(dataset, dict):
        splits = ", ".join(map(repr, dataset))
        raise TypeError(
            f"expected one split, got a dict of splits ({splits}); "
            f"choose one, e.g. dataset[{next(iter(dataset), 'test')!r}]"
        )
    n = _length(dataset)
    features = getattr(dataset, "features", None) or {}
    columns = list(getattr(dataset, "column_names", None) or features)
    for role, column in (("image", image), ("label", label)):
        if column is not None and column not in columns:
            none = ", or label=None for a set without labels" if role == "label" else ""
            raise KeyError(
                f"the dataset has no column {column!r} for {role}; it has: {', '.join(columns)}. "
                f"Name it with {role}=...{none}"
            )
    picture_of(dataset[0][image], "item 0")
    names = _checked_names(names, n) or [str(i) for i in range(n)]
    if label is None:
        return names, None
    classes = getattr(features.get(label), "names", None)
    return names, [_label(value, classes, i) for i, value in enumerate(dataset[label])]


def _length(dataset: Any) -> int:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"expected a dataset with a length and items by position, got {type(dataset).__name__}; "
            "streaming datasets have no fixed order, read them into one that has"
        )
    if len(dataset) == 0:
        raise ValueError("expected at least one image, got an empty dataset")
    return len(dataset)


def _checked_names(names: Sequence[str] | None, n: int) -> list[str] | None:
    if names is not None and len(names) != n:
        raise ValueError(f"expected one name per image: {n} images, got {len(names)} names")
    return None if names is None else [str(name) for name in names]


def _through_subsets(dataset: Any) -> tuple[Any, np.ndarray | None]:
    """Below torch's `Subset`s: the dataset itself, and the positions chosen from it (None: all)."""
    chosen = None
    while hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        here = np.asarray(dataset.indices, np.int64)
        chosen = here if chosen is None else here[chosen]
        dataset = dataset.dataset
    return dataset, chosen


def _file_names(dataset: Any, n: int) -> list[str]:
    base, chosen = _through_subsets(dataset)
    samples: Any = getattr(base, "samples", None)
    positions = range(n) if chosen is None else chosen.tolist()
    try:
        paths = [Path(samples[i][0]) for i in positions]
        root = Path(base.root)
        return [(path.relative_to(root) if path.is_relative_to(root) else path).as_posix() for path in paths]
    except (TypeError, AttributeError, IndexError, KeyError):
        return [str(i) for i in positions]


def _targets(dataset: Any, n: int) -> list[Any]:
    base, chosen = _through_subsets(dataset)
    targets = getattr(base, "targets", None)
    changed = getattr(base, "target_transform", None) is not None
    if targets is None or changed or len(targets) != len(base):
        return [dataset[i][1] for i in range(n)]
    values = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    return values if chosen is None else [values[i] for i in chosen]


def _label(target: Any, classes: Sequence[str] | None, i: int) -> str | None:
    if hasattr(target, "item") and getattr(target, "shape", None) == ():  # 0-d tensors and arrays
        target = target.item()
    if target is None or isinstance(target, str) or (isinstance(target, float) and target != target):
        return target if isinstance(target, str) else None
    if isinstance(target, bool) or not isinstance(target, int):
        raise ValueError(
            f"the target of item {i} is {type(target).__name__}, which is no class label; "
            "give the labels yourself: labels=[...]"
        )
    if classes is None:
        return str(target)
    if target == -1:  # how Hugging Face writes "unknown"
        return None
    if not 0 <= target < len(classes):
        raise ValueError(f"the target of item {i} is {target}, but the dataset names {len(classes)} classes")
    return str(classes[target])
