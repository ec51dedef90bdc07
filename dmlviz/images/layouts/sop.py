"""Stanford Online Products."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dmlviz.images.layouts.lists import check_choice, columns, folder_with, numbered_lines, refuse_twice

if TYPE_CHECKING:
    import pandas as pd

SopSplit = Literal["train", "test", "all"]

_HEAD = ["image_id", "class_id", "super_class_id", "path"]


def sop_rows(root: str | Path, split: SopSplit) -> "pd.DataFrame":
    """One row per image of Stanford Online Products; see `ImageSet.from_sop`."""
    import pandas as pd

    check_choice("split", split, get_args(SopSplit))
    lists = [f"Ebay_{name}.txt" for name in (("train", "test") if split == "all" else (split,))]
    folder = folder_with(root, lists, "Stanford_Online_Products")
    rows = []
    for name in lists:
        lines = numbered_lines(folder / name)
        headed = bool(lines) and lines[0][1].split() == _HEAD
        for image, product, category, path in columns(
            folder / name, "number number number name", int(headed)
        ):
            rows.append((path, product, int(image), int(product), int(category), path.partition("/")[0]))
        refuse_twice(folder / name, [row[0] for row in rows], "images")
    return pd.DataFrame(
        rows, columns=["path", "label", "sop_id", "class_id", "super_class_id", "super_class"]
    )
