"""Labeled Faces in the Wild, and its pairs."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dmlviz.images.folder import find_images
from dmlviz.images.layouts.lists import SHOWN, all_numbers, existing_file, numbered_lines

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.image_set import ImageSet


def lfw_rows(root: str | Path) -> "pd.DataFrame":
    """One row per image of Labeled Faces in the Wild; see `ImageSet.from_lfw`."""
    import pandas as pd

    _, names, people = find_images(root, labelled=True)
    rows, odd = [], []
    for name, person in zip(names, people or (), strict=True):
        found = re.fullmatch(rf"{re.escape(person)}/{re.escape(person)}_([0-9]{{1,9}})\.\w+", name)
        if found is None:
            odd.append(name)
        else:
            rows.append((name, person, int(found[1])))
    if odd:
        raise ValueError(
            f"{len(odd)} of {len(names)} images under {str(root)!r} are not called as in LFW, such as {odd[0]!r}; "
            f"expected Name/Name_0001.jpg: give the folder that holds one folder per person"
        )
    return pd.DataFrame(rows, columns=["path", "label", "number"])


def lfw_pairs(pairs: str | Path, images: "ImageSet") -> "pd.DataFrame":
    """The pairs to be verified, as ids of an image set.

    Args:
        pairs: LFW's pairs.txt, pairsDevTrain.txt or pairsDevTest.txt: lines "Name 1 4" for the same person,
            "Name 1 Other_Name 2" for two; the first line may say how many there are.
        images: Made by `ImageSet.from_lfw`.

    Returns:
        One row per pair in the order of the file; columns a, b (int64, ids), same (bool), fold (int64: 0 to 9 in
        pairs.txt, 0 throughout in the development files).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line that is no pair, fewer or more pairs than the first line says, a picture that the set
            does not have, or a set that is not from `from_lfw`.
    """
    import pandas as pd

    path = existing_file(Path(pairs), "pass the path of LFW's pairs.txt")
    table = images.table
    if "number" not in table:
        raise ValueError(
            f"the image set must know each picture's number; make it with ImageSet.from_lfw (it has the columns "
            f"{', '.join(table.columns)})"
        )
    id_of = {(row.label, int(row.number)): int(row.Index) for row in table.itertuples()}
    lines = [(n, line.split()) for n, line in numbered_lines(path)]
    header = [int(word) for word in lines[0][1]] if lines and all_numbers(lines[0][1]) else None
    named = [_pair_of(path, n, words) for n, words in (lines[1:] if header else lines)]
    if not named:
        raise ValueError(f"there are no pairs in {str(path)!r}")
    per_fold = _pairs_per_fold(path, header, len(named))
    missing = sorted({picture for pair in named for picture in pair if picture not in id_of})
    if missing:
        shown = ", ".join(f"{name}_{number:04d}" for name, number in missing[:SHOWN])
        raise ValueError(
            f"{len(missing)} pictures of {str(path)!r} are not in the image set, such as {shown}; give a set of all "
            f"of LFW's pictures, or a file of pairs of those there are"
        )
    return pd.DataFrame(
        {
            "a": [id_of[a] for a, _ in named],
            "b": [id_of[b] for _, b in named],
            "same": [a[0] == b[0] for a, b in named],
            "fold": [n // per_fold for n in range(len(named))],
        }
    )


def _pair_of(path: Path, n: int, words: list[str]) -> tuple[tuple[str, int], tuple[str, int]]:
    if len(words) == 3 and all_numbers(words[1:]):
        return (words[0], int(words[1])), (words[0], int(words[2]))
    if len(words) == 4 and all_numbers(words[1::2]):
        return (words[0], int(words[1])), (words[2], int(words[3]))
    raise ValueError(
        f"line {n} of {str(path)!r} is no pair: {' '.join(words)!r}; expected 'Name 1 4' or 'Name 1 Other 2'"
    )


def _pairs_per_fold(path: Path, header: list[int] | None, found: int) -> int:
    """How many pairs make a fold: "10 300" says ten folds of 300 same and 300 different, "1100" says one."""
    if header is None:
        return found
    folds, each = (1, header[0]) if len(header) == 1 else (header[0], header[1])
    if len(header) > 2 or folds * each * 2 != found:
        raise ValueError(
            f"the first line of {str(path)!r}, '{' '.join(map(str, header))}', does not fit its {found} pairs: "
            f"expected the number of folds and of same pairs in a fold, such as '10 300' before 6000 pairs"
        )
    return 2 * each
