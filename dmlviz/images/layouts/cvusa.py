"""CVUSA: places from the ground and from the air."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dmlviz.images.folder import existing_folder
from dmlviz.images.layouts.lists import check_choice, existing_file, numbered_lines

if TYPE_CHECKING:
    import pandas as pd

CvusaSplit = Literal["train", "val"]


def cvusa_rows(root: str | Path, split: CvusaSplit) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """One row per place of CVUSA, for the ground and for the aerial pictures; see `ImageSet.from_cvusa`."""
    import pandas as pd

    check_choice("split", split, get_args(CvusaSplit))
    folder = existing_folder(root)
    listed = f"{split}-19zl.csv"
    path = folder / "splits" / listed
    if not path.exists() and (folder / listed).exists():
        path = folder / listed
    existing_file(path, "give the folder of CVUSA that holds splits, bingmap and streetview")
    rows = []
    for n, line in numbered_lines(path):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 2 or not all(cells[:2]):
            raise ValueError(
                f"line {n} of {str(path)!r} is no place: {line.strip()!r}; expected the aerial and the ground "
                f"picture, like 'bingmap/19/0000001.jpg,streetview/panos/0000001.jpg'"
            )
        rows.append((Path(cells[0]).stem, cells[1], cells[0]))
    if not rows:
        raise ValueError(f"there are no places in {str(path)!r}")
    frame = pd.DataFrame(rows, columns=["label", "ground", "aerial"])
    twice = frame["label"][frame["label"].duplicated()]
    if len(twice):
        raise ValueError(f"{len(twice)} places come twice in {str(path)!r}, such as {twice.iloc[0]!r}")
    ground, aerial = (frame[["label", view]].rename(columns={view: "path"}) for view in ("ground", "aerial"))
    return ground, aerial
