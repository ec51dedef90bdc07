"""Market-1501."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dmlviz.images.folder import find_images
from dmlviz.images.layouts.lists import check_choice, folder_with

if TYPE_CHECKING:
    import pandas as pd

MarketPart = Literal["query", "gallery", "train"]

_FOLDERS = {"query": "query", "gallery": "bounding_box_test", "train": "bounding_box_train"}
_NAME = re.compile(r"(-1|[0-9]{4})_c([0-9]{1,9})s([0-9]{1,9})_([0-9]{1,9})_([0-9]{1,9})\.")


def market_rows(root: str | Path, part: MarketPart) -> "pd.DataFrame":
    """One row per image of Market-1501; see `ImageSet.from_market1501`."""
    import pandas as pd

    check_choice("part", part, get_args(MarketPart))
    folder = folder_with(root, (_FOLDERS[part],), "Market-1501-v15.09.15")
    _, names, _ = find_images(folder / _FOLDERS[part], labelled=False)
    rows, odd = [], []
    for name in names:
        found = _NAME.match(name)
        if found is None:
            odd.append(name)
        else:
            person, *numbers = found.groups()
            path = f"{_FOLDERS[part]}/{name}"
            kind = {"-1": "junk", "0000": "distractor"}.get(person, "person")
            rows.append((path, person, int(person), *map(int, numbers), kind))
    if odd:
        raise ValueError(
            f"{len(odd)} of {len(names)} images in {_FOLDERS[part]!r} are not called as in Market-1501, such "
            f"as {odd[0]!r}; expected person, camera, sequence, frame and box, like '0002_c1s1_000451_03.jpg'"
        )
    columns = ["path", "label", "person", "camera", "sequence", "frame", "box", "kind"]
    return pd.DataFrame(rows, columns=columns)
