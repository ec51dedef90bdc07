"""In-shop Clothes Retrieval (DeepFashion)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dmlviz.images.folder import existing_folder
from dmlviz.images.layouts.lists import (
    SHOWN,
    check_choice,
    columns,
    existing_file,
    numbered_lines,
    refuse_twice,
    shortened,
)

if TYPE_CHECKING:
    import pandas as pd

InShopPart = Literal["query", "gallery", "train"]

_LIST = "list_eval_partition.txt"
_HEAD = ["image_name", "item_id", "evaluation_status"]


def in_shop_rows(root: str | Path, part: InShopPart) -> "pd.DataFrame":
    """One row per image of In-shop Clothes Retrieval; see `ImageSet.from_in_shop`."""
    import pandas as pd

    parts = get_args(InShopPart)
    check_choice("part", part, parts)
    folder = existing_folder(root)
    path = folder / "Eval" / _LIST
    if not path.exists() and (folder / _LIST).exists():
        path = folder / _LIST
    existing_file(path, "give the folder of In-shop Clothes Retrieval that holds Eval and img")
    said, heads = _head(path)
    rows = columns(path, "name word word", heads)
    if said is not None and said != len(rows):
        raise ValueError(f"the first line of {str(path)!r} says {said} images, it lists {len(rows)}")
    odd = sorted({status for _, _, status in rows} - set(parts))
    if odd:
        raise ValueError(
            f"{str(path)!r} knows the parts {', '.join(map(repr, odd[:SHOWN]))}; expected "
            f"{', '.join(map(repr, parts))}: is it the list of another data set?"
        )
    chosen = [(name, item) for name, item, status in rows if status == part]
    if not chosen:
        raise ValueError(f"no image of {str(path)!r} belongs to part={part!r}")
    refuse_twice(path, [name for name, _ in chosen], "images")
    above = "Img/" if not (folder / "img").exists() and (folder / "Img" / "img").exists() else ""
    return pd.DataFrame(
        [(above + name, item, _kind(name)) for name, item in chosen], columns=["path", "label", "kind"]
    )


def _head(path: Path) -> tuple[int | None, int]:
    """What the first line says of the number of images, and how many lines come before the list.

    Raises:
        ValueError: The list does not begin as it should.
    """
    lines = [line.split() for _, line in numbered_lines(path)[:2]]
    if len(lines) == 2 and len(lines[0]) == 1 and lines[0][0].isdecimal() and lines[1] == _HEAD:
        return int(lines[0][0][:18]), 2
    if lines and lines[0] == _HEAD:
        return None, 1
    began = shortened(" ".join(lines[0])) if lines else "nothing"
    raise ValueError(
        f"{str(path)!r} must begin with the number of images and the line {' '.join(_HEAD)!r}; it begins with "
        f"{began!r}"
    )


def _kind(name: str) -> str:
    """'WOMEN/Dresses' of img/WOMEN/Dresses/id_00000002/02_1_front.jpg."""
    return "/".join(name.split("/")[1:-2])
