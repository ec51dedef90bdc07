"""Oxford5k and Paris6k: the buildings, and the queries with what counts as found."""

from pathlib import Path
from typing import TYPE_CHECKING

from dmlviz.images.folder import existing_folder, find_images
from dmlviz.images.layouts.lists import SHOWN, columns, existing_file, numbered_lines
from dmlviz.images.readers import CroppedReader, FileReader

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.image_set import ImageSet

_QUERY = "_query.txt"
_PREFIX = "oxc1_"
_JUDGED = ("good", "ok", "junk")


def oxford_rows(root: str | Path) -> "pd.DataFrame":
    """One row per image of Oxford5k or Paris6k; see `ImageSet.from_oxford`."""
    import pandas as pd

    return pd.DataFrame([(name, stem) for stem, (_, name) in _images(root).items()], columns=["path", "stem"])


def oxford_queries(root: str | Path, gt_folder: str | Path) -> "ImageSet":
    """The queries of Oxford5k or Paris6k (55 of 11 landmarks each), cut to their boxes.

    A query is called as its list, "all_souls_1"; its label is the landmark, "all_souls". Boxes are rounded to whole
    pixels and end where the picture ends, as with Pillow's `crop`. The table has stem (the picture that it is cut
    from, as in the column of that name in `ImageSet.from_oxford`), box_row, box_col, box_height and box_width in
    pixels, and good, ok and junk: the stems of the pictures that count as right, as right (harder), and as neither,
    with blanks between them.

    The queries are cut-outs, no files: give them again where a gallery that was built with them is opened.

    Args:
        root: The folder of the images, as for `ImageSet.from_oxford`.
        gt_folder: The folder of the lists: `<query>_query.txt`, `<query>_good.txt`, `<query>_ok.txt` and
            `<query>_junk.txt`. Stems in them may begin with "oxc1_", as Oxford5k writes those of queries.

    Raises:
        FileNotFoundError: A folder or list is missing, or the image set lacks a picture that a list of queries names.
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
        judged = {word: _stems(folder / f"{name}_{word}.txt") for word in _JUDGED}
        paths.append(images[stem][0])
        names.append(name)
        rows.append({"stem": stem, **box, **judged})
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


def _stems(path: Path) -> str:
    existing_file(path, "every query needs its lists of good, ok and junk pictures (they may be empty)")
    lines = numbered_lines(path)
    odd = [(n, line) for n, line in lines if len(line.split()) != 1]
    if odd:
        raise ValueError(
            f"line {odd[0][0]} of {str(path)!r} must hold the name of one picture, it is {odd[0][1][:100]!r}"
        )
    stems = [line.removeprefix(_PREFIX) for _, line in lines]
    return " ".join(dict.fromkeys(stems))


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
