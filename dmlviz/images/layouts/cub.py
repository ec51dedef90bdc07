"""CUB-200-2011."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from dmlviz.images.layouts.lists import SHOWN, check_choice, columns, folder_with

if TYPE_CHECKING:
    import pandas as pd

CubSplit = Literal["train", "test", "all", "official-train", "official-test"]

_LAST_TRAINING_SPECIES = 100


def cub_rows(root: str | Path, split: CubSplit) -> "pd.DataFrame":
    """One row per image of CUB-200-2011; see `ImageSet.from_cub`."""
    import pandas as pd

    check_choice("split", split, get_args(CubSplit))
    folder = folder_with(
        root, ("images", "images.txt", "image_class_labels.txt", "classes.txt"), "CUB_200_2011"
    )
    frame = pd.DataFrame(
        [(int(i), f"images/{name}") for i, name in columns(folder / "images.txt", "number name")],
        columns=["cub_id", "path"],
    )
    species = {number: name for number, name in columns(folder / "classes.txt", "number name")}
    frame["class_id"] = _by_id(folder / "image_class_labels.txt", "number number", frame["cub_id"])
    unnamed = set(map(str, frame["class_id"])) - set(species)
    if unnamed:
        raise ValueError(
            f"classes.txt in {str(folder)!r} does not name the classes {sorted(unnamed)[:SHOWN]}"
        )
    frame["label"] = [species[str(number)] for number in frame["class_id"]]
    if (folder / "train_test_split.txt").exists():
        flags = _by_id(folder / "train_test_split.txt", "number number", frame["cub_id"])
        frame["official_train"] = [flag == 1 for flag in flags]
    if (folder / "bounding_boxes.txt").exists():
        lines = {int(i): box for i, *box in columns(folder / "bounding_boxes.txt", "number" + " size" * 4)}
        _refuse_unnamed(folder / "bounding_boxes.txt", lines, frame["cub_id"])
        boxes = [[float(side) for side in lines[i]] for i in frame["cub_id"]]  # x, y, width, height
        for name, at in (("box_row", 1), ("box_col", 0), ("box_height", 3), ("box_width", 2)):
            frame[name] = [box[at] for box in boxes]
    return _cub_split(frame, split, folder)


def _cub_split(frame: "pd.DataFrame", split: CubSplit, folder: Path) -> "pd.DataFrame":
    if split.startswith("official") and "official_train" not in frame:
        raise FileNotFoundError(
            f"split={split!r} needs train_test_split.txt, which is not in {str(folder)!r}; the splits 'train' and "
            f"'test' (species 1–100 and 101–200) need no file"
        )
    if split == "train":
        frame = frame[frame["class_id"] <= _LAST_TRAINING_SPECIES]
    elif split == "test":
        frame = frame[frame["class_id"] > _LAST_TRAINING_SPECIES]
    elif split != "all":
        frame = frame[frame["official_train"] == (split == "official-train")]
    if frame.empty:
        raise ValueError(f"no image of {str(folder)!r} belongs to split={split!r}; try split='all'")
    return frame.reset_index(drop=True)


def _by_id(path: Path, kinds: str, ids: "pd.Series") -> list[int]:
    """The second column of a list, in the order of the ids in its first."""
    held = {int(i): int(value) for i, value in columns(path, kinds)}
    _refuse_unnamed(path, held, ids)
    return [held[i] for i in ids]


def _refuse_unnamed(path: Path, held: dict[int, Any], ids: "pd.Series") -> None:
    missing = [i for i in ids if i not in held]
    if missing:
        raise ValueError(
            f"{str(path)!r} says nothing of {len(missing)} images that images.txt lists, such as image {missing[0]}"
        )
