"""Oxford5k and Paris6k: the buildings, and the queries cut out of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from dmlviz.images.folder import existing_folder, find_images
from dmlviz.images.layouts.lists import SHOWN, columns
from dmlviz.images.readers import CroppedReader, FileReader

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.image_set import ImageSet

_QUERY = "_query.txt"
_PREFIX = "oxc1_"


def oxford_rows(root: str | Path) -> "pd.DataFrame":
    """One row per image of Oxford5k or Paris6k; see `ImageSet.from_oxford`."""
    import pandas as pd

    return pd.DataFrame([(name, stem) for stem, (_, name) in _images(root).items()], columns=["path", "stem"])


def oxford_queries(root: str | Path, gt_folder: str | Path) -> "ImageSet":
    """The queries of Oxford5k or Paris6k (55 of 11 landmarks each), cut to their boxes.

    A query is called as its list, "all_souls_1"; its label is the landmark, "all_souls". Boxes are rounded to whole
    pixels and end where the picture ends, as with Pillow's `crop`. The table has stem (the picture that it is cut
    from, as in the column of that name in `ImageSet.from_oxford`), box_row, box_col, box_height and box_width in
    pixels. What counts as found is said by the other lists, see `dmlviz.retrieval.Judgements.from_oxford`.

    The queries are cut-outs, no files: give them again where a gallery that was built with them is opened.

    Args:
        root: The folder of the images, as for `ImageSet.from_oxford`.
        gt_folder: The folder of the lists, with a file `<query>_query.txt` for each query: stem, left, top, right
            and bottom. A stem may begin with "oxc1_", as Oxford5k writes those of queries.

    Raises:
        FileNotFoundError: A folder is missing, there is no list of a query, or the picture that one names is missing.
        ValueError: A list is broken, or two pictures have one stem.
    """
    from dmlviz.images.image_set import ImageSet

    images = _images(root)
    folder = existing_folder(gt_folder)
    lists = sorted((path for path in folder.iterdir() if path.name.endswith(_QUERY)), key=_place)
    if not lists:
        raise FileNotFoundError(
            f"no list of a query lies in {str(gt_folder)!r}; expected files such as 'all_souls_1{_QUERY}': give the "
            "folder that the ground truth was unpacked into"
        )
    rows, paths, names = [], [], []
    for path in lists:
        name = path.name.removesuffix(_QUERY)
        stem, box = _query(path)
        if stem not in images:
            raise FileNotFoundError(
                f"{str(path)!r} asks with the picture {stem!r}, and {str(root)!r} holds no file of that name"
            )
        paths.append(images[stem][0])
        names.append(name)
        rows.append({"stem": stem, **box})
    read = CroppedReader(
        FileReader(tuple(paths), tuple(names)), tuple(_box(row) for row in rows), tuple(names)
    )
    return ImageSet(read, names, [name.rpartition("_")[0] or name for name in names], _frame(rows))


def _images(root: str | Path) -> dict[str, tuple[Path, str]]:
    """Stem -> path and name of every picture under a folder.

    Raises:
        ValueError: Two have one stem.
    """
    paths, names, _ = find_images(root, labelled=False)
    found = {path.stem: (path, name) for path, name in zip(paths, names, strict=True)}
    if len(found) < len(paths):
        odd = next(name for path, name in zip(paths, names, strict=True) if found[path.stem][0] != path)
        raise ValueError(
            f"the lists call pictures by their names without ending, and {odd!r} has the same as "
            f"{found[Path(odd).stem][1]!r}; leave one of them out of {str(root)!r}"
        )
    return found


def _query(path: Path) -> tuple[str, dict[str, float]]:
    """The stem of the picture that is asked with, and its box."""
    found = columns(path, "word" + " size" * 4)
    if len(found) > 1:
        raise ValueError(f"{str(path)!r} must hold one line, it holds {len(found)}")
    stem = found[0][0].removeprefix(_PREFIX)
    left, top, right, bottom = map(float, found[0][1:])
    if not (left < right and top < bottom):
        raise ValueError(
            f"line 1 of {str(path)!r} must hold left, top, right and bottom of a box, it holds "
            f"{' '.join(found[0][1:])!r}"
        )
    return stem, {"box_row": top, "box_col": left, "box_height": bottom - top, "box_width": right - left}


def _place(path: Path) -> tuple[str, int, str]:
    """A sort key under which all_souls_2 comes before all_souls_10."""
    landmark, _, number = path.name.removesuffix(_QUERY).rpartition("_")
    return landmark, int(number) if number.isdecimal() and len(number) <= SHOWN else -1, number


def _box(row: dict[str, object]) -> tuple[float, float, float, float]:
    top, left, height, width = (float(str(row[f"box_{side}"])) for side in ("row", "col", "height", "width"))
    return top, left, height, width


def _frame(rows: list[dict[str, object]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)
