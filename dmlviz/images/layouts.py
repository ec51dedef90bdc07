"""Folders as the datasets of the four applications unpack: CUB-200-2011, Market-1501, LFW and CVUSA.

Each reader gives one row per image in a data frame of paths, which `dmlviz.images.frame` turns into an image set.
Nothing is downloaded.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from dmlviz.images.folder import existing_folder, find_images

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.images.image_set import ImageSet

CubSplit = Literal["train", "test", "all", "official-train", "official-test"]
MarketPart = Literal["query", "gallery", "train"]
CvusaSplit = Literal["train", "val"]

_MARKET_FOLDERS = {"query": "query", "gallery": "bounding_box_test", "train": "bounding_box_train"}
_MARKET_NAME = re.compile(r"(-1|\d{4})_c(\d+)s(\d+)_(\d+)_(\d+)\.")
_LAST_TRAINING_SPECIES = 100
_SHOWN = 5


def cub_rows(root: str | Path, split: CubSplit) -> "pd.DataFrame":
    """One row per image of CUB-200-2011; see `ImageSet.from_cub`."""
    import pandas as pd

    _check("split", split, get_args(CubSplit))
    folder = _folder_with(
        root, ("images", "images.txt", "image_class_labels.txt", "classes.txt"), "CUB_200_2011"
    )
    frame = pd.DataFrame(
        [(int(i), f"images/{name}") for i, name in _columns(folder / "images.txt", "number name")],
        columns=["cub_id", "path"],
    )
    species = {number: name for number, name in _columns(folder / "classes.txt", "number name")}
    frame["class_id"] = _by_id(folder / "image_class_labels.txt", "number number", frame["cub_id"])
    unnamed = set(map(str, frame["class_id"])) - set(species)
    if unnamed:
        raise ValueError(
            f"classes.txt in {str(folder)!r} does not name the classes {sorted(unnamed)[:_SHOWN]}"
        )
    frame["label"] = [species[str(number)] for number in frame["class_id"]]
    if (folder / "train_test_split.txt").exists():
        flags = _by_id(folder / "train_test_split.txt", "number number", frame["cub_id"])
        frame["official_train"] = [flag == 1 for flag in flags]
    if (folder / "bounding_boxes.txt").exists():
        lines = {int(i): box for i, *box in _columns(folder / "bounding_boxes.txt", "number" + " size" * 4)}
        _check_covered(folder / "bounding_boxes.txt", lines, frame["cub_id"])
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


def market_rows(root: str | Path, part: MarketPart) -> "pd.DataFrame":
    """One row per image of Market-1501; see `ImageSet.from_market1501`."""
    import pandas as pd

    _check("part", part, get_args(MarketPart))
    folder = _folder_with(root, (_MARKET_FOLDERS[part],), "Market-1501-v15.09.15")
    _, names, _ = find_images(folder / _MARKET_FOLDERS[part], labelled=False)
    rows, odd = [], []
    for name in names:
        found = _MARKET_NAME.match(name)
        if found is None:
            odd.append(name)
        else:
            person, *numbers = found.groups()
            path = f"{_MARKET_FOLDERS[part]}/{name}"
            kind = {"-1": "junk", "0000": "distractor"}.get(person, "person")
            rows.append((path, person, int(person), *map(int, numbers), kind))
    if odd:
        raise ValueError(
            f"{len(odd)} of {len(names)} images in {_MARKET_FOLDERS[part]!r} are not called as in Market-1501, such "
            f"as {odd[0]!r}; expected person, camera, sequence, frame and box, like '0002_c1s1_000451_03.jpg'"
        )
    columns = ["path", "label", "person", "camera", "sequence", "frame", "box", "kind"]
    return pd.DataFrame(rows, columns=columns)


def lfw_rows(root: str | Path) -> "pd.DataFrame":
    """One row per image of Labeled Faces in the Wild; see `ImageSet.from_lfw`."""
    import pandas as pd

    _, names, people = find_images(root, labelled=True)
    rows, odd = [], []
    for name, person in zip(names, people or (), strict=True):
        found = re.fullmatch(rf"{re.escape(person)}/{re.escape(person)}_(\d+)\.\w+", name)
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

    path = _existing_file(Path(pairs), "pass the path of LFW's pairs.txt")
    table = images.table
    if "number" not in table:
        raise ValueError(
            f"the image set must know each picture's number; make it with ImageSet.from_lfw (it has the columns "
            f"{', '.join(table.columns)})"
        )
    id_of = {(row.label, int(row.number)): int(row.Index) for row in table.itertuples()}
    lines = [(n, line.split()) for n, line in enumerate(_lines(path), start=1) if line.strip()]
    header = [int(word) for word in lines[0][1]] if lines and _all_numbers(lines[0][1]) else None
    named = [_pair_of(path, n, words) for n, words in (lines[1:] if header else lines)]
    if not named:
        raise ValueError(f"there are no pairs in {str(path)!r}")
    per_fold = _pairs_per_fold(path, header, len(named))
    missing = sorted({picture for pair in named for picture in pair if picture not in id_of})
    if missing:
        shown = ", ".join(f"{name}_{number:04d}" for name, number in missing[:_SHOWN])
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
    if len(words) == 3 and _all_numbers(words[1:]):
        return (words[0], int(words[1])), (words[0], int(words[2]))
    if len(words) == 4 and _all_numbers(words[1::2]):
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


def cvusa_rows(root: str | Path, split: CvusaSplit) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """One row per place of CVUSA, for the ground and for the aerial pictures; see `ImageSet.from_cvusa`."""
    import pandas as pd

    _check("split", split, get_args(CvusaSplit))
    folder = existing_folder(root)
    listed = f"{split}-19zl.csv"
    path = folder / "splits" / listed
    if not path.exists() and (folder / listed).exists():
        path = folder / listed
    _existing_file(path, "give the folder of CVUSA that holds splits, bingmap and streetview")
    rows = []
    for n, line in enumerate(_lines(path), start=1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip():
            continue
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


# ---- reading lists ---------------------------------------------------------------------------------------------


def _check(what: str, given: Any, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"unknown {what} {given!r}: expected one of {', '.join(map(repr, known))}")


def _folder_with(root: str | Path, wanted: tuple[str, ...], usual: str) -> Path:
    folder = existing_folder(root)
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        raise FileNotFoundError(
            f"{str(root)!r} lacks {', '.join(missing)}; expected the folder as it was unpacked, usually called "
            f"{usual}; it holds {', '.join(there[:8]) or 'nothing'}{', ...' if len(there) > 8 else ''}"
        )
    return folder


def _existing_file(path: Path, hint: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; {hint}")
    return path


def _lines(path: Path) -> Iterator[str]:
    return iter(path.read_text(encoding="utf-8").splitlines())


def _all_numbers(words: list[str]) -> bool:
    return bool(words) and all(word.isdecimal() for word in words)


_SHAPES = {"number": r"\d+", "name": r".+", "size": r"-?\d+(?:\.\d+)?"}


def _columns(path: Path, kinds: str) -> list[tuple[str, ...]]:
    """The lines of a list whose columns are separated by blanks; `kinds` names what each holds."""
    pattern = re.compile(r"\s+".join(f"({_SHAPES[kind]})" for kind in kinds.split()))
    found = []
    for n, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"line {n} of {str(path)!r} must hold {kinds!r}, it is {line.strip()!r}")
        found.append(match.groups())
    if not found:
        raise ValueError(f"{str(path)!r} is empty")
    return found


def _by_id(path: Path, kinds: str, ids: "pd.Series") -> list[int]:
    """The second column of a list, in the order of the ids in its first."""
    held = {int(i): int(value) for i, value in _columns(path, kinds)}
    _check_covered(path, held, ids)
    return [held[i] for i in ids]


def _check_covered(path: Path, held: dict[int, Any], ids: "pd.Series") -> None:
    missing = [i for i in ids if i not in held]
    if missing:
        raise ValueError(
            f"{str(path)!r} says nothing of {len(missing)} images that images.txt lists, such as image {missing[0]}"
        )
