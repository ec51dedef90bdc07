"""Cars-196 (Stanford Cars), from the original lists of MATLAB or from lists with commas."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from dmlviz.images.folder import existing_folder
from dmlviz.images.layouts.lists import (
    SHOWN,
    all_numbers,
    check_choice,
    existing_file,
    numbered_lines,
    refuse_twice,
    shortened,
    what_it_holds,
)

if TYPE_CHECKING:
    import pandas as pd

CarsSplit = Literal["train", "test", "all", "official-train", "official-test"]

_LAST_TRAINING_CLASS = 98
_SIDES = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


class _Car(NamedTuple):
    """One image as a list has it; the box counts pixels from 1 and holds its last row and column."""

    path: str
    class_id: int
    official_train: bool
    left: int
    top: int
    right: int
    bottom: int


def cars_rows(root: str | Path, split: CarsSplit) -> "pd.DataFrame":
    """One row per image of Cars-196; see `ImageSet.from_cars196`."""
    import pandas as pd

    check_choice("split", split, get_args(CarsSplit))
    folder = existing_folder(root)
    cars, models, where = _reader_of(folder)(folder)
    refuse_twice(where, [car.path for car in cars], "images")
    unnamed = sorted({car.class_id for car in cars if not 1 <= car.class_id <= len(models)})
    if unnamed:
        raise ValueError(
            f"{str(where)!r} knows the classes {unnamed[:SHOWN]}, and the list of models names 1 to {len(models)}"
        )
    chosen = [car for car in cars if _belongs(car, split)]
    if not chosen:
        raise ValueError(f"no image of {str(folder)!r} belongs to split={split!r}; try split='all'")
    return pd.DataFrame(
        {
            "path": [car.path for car in chosen],
            "label": [models[car.class_id - 1] for car in chosen],
            "class_id": [car.class_id for car in chosen],
            "official_train": [car.official_train for car in chosen],
            "box_row": [float(car.top - 1) for car in chosen],
            "box_col": [float(car.left - 1) for car in chosen],
            "box_height": [float(car.bottom - car.top + 1) for car in chosen],
            "box_width": [float(car.right - car.left + 1) for car in chosen],
        }
    )


def _belongs(car: _Car, split: str) -> bool:
    if split == "all":
        return True
    if split.startswith("official"):
        return car.official_train == (split == "official-train")
    return (car.class_id <= _LAST_TRAINING_CLASS) == (split == "train")


def _reader_of(folder: Path) -> "Callable[[Path], tuple[list[_Car], list[str], Path]]":
    """How this folder is laid out.

    Raises:
        FileNotFoundError: In none of the known ways.
    """
    if (folder / "cars_annos.mat").is_file():
        return _from_one_list
    if (_kit(folder) / "cars_train_annos.mat").is_file():
        return _from_devkit
    if (folder / "anno_train.csv").is_file():
        return _from_commas
    raise FileNotFoundError(
        f"{str(folder)!r} holds no list of Cars-196: expected cars_annos.mat beside car_ims; or devkit with "
        "cars_train_annos.mat, cars_test_annos_withlabels.mat and cars_meta.mat beside cars_train and cars_test; or "
        f"anno_train.csv, anno_test.csv and names.csv; {what_it_holds(folder)}. Folders named by models alone do not "
        "say which 98 classes are for training: read those with ImageSet.from_folder"
    )


# ---- lists of MATLAB -------------------------------------------------------------------------------------------


def _from_one_list(folder: Path) -> tuple[list[_Car], list[str], Path]:
    path = folder / "cars_annos.mat"
    said = _matlab(path)
    cars = _annotated(path, said, "relative_im_path", "", None)
    return cars, _models(path, said), path


def _from_devkit(folder: Path) -> tuple[list[_Car], list[str], Path]:
    kit = _kit(folder)
    cars: list[_Car] = []
    for part, name in (("train", "cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        path = kit / name
        if not path.exists() and (folder / name).exists():
            path = folder / name
        existing_file(
            path, "the list of Cars-196 with the classes of that part; it lies in devkit or beside it"
        )
        cars += _annotated(path, _matlab(path), "fname", f"cars_{part}/", part == "train")
    meta = existing_file(kit / "cars_meta.mat", "it names the models of Cars-196")
    return cars, _models(meta, _matlab(meta)), kit


def _kit(folder: Path) -> Path:
    return folder / "devkit" if (folder / "devkit").is_dir() else folder


def _matlab(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            f"{path.name} is a file of MATLAB's, which SciPy reads: pip install scipy (or use the lists with commas, "
            "anno_train.csv, anno_test.csv and names.csv)"
        ) from error
    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True)
    except Exception as error:  # SciPy lets through whatever a damaged file makes go wrong
        raise ValueError(
            f"{str(path)!r} cannot be read as a file of MATLAB's ({type(error).__name__}: {error})"
        ) from error
    return found


def _annotated(
    path: Path, said: dict[str, Any], name: str, above: str, official_train: bool | None
) -> list[_Car]:
    """The images of a list; `official_train` None where the list itself says it, as `test`."""
    import numpy as np

    table = np.atleast_1d(said.get("annotations", np.zeros(0)))
    wanted = (name, *_SIDES, "class", *(("test",) if official_train is None else ()))
    missing = [field for field in wanted if field not in (table.dtype.names or ())]
    if missing:
        raise ValueError(
            f"the annotations in {str(path)!r} lack {', '.join(missing)}"
            + ("; take cars_test_annos_withlabels.mat" if missing == ["class"] else "")
        )
    if len(table) == 0:
        raise ValueError(f"{str(path)!r} is empty")
    cars = []
    for n, row in enumerate(table, start=1):
        try:
            numbers = [_whole(row[side]) for side in _SIDES]
            train = not _whole(row["test"]) if official_train is None else official_train
            cars.append(_Car(above + _text(row[name]), _whole(row["class"]), train, *numbers))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"annotation {n} of {str(path)!r} is broken: {error}") from error
    return cars


def _models(path: Path, said: dict[str, Any]) -> list[str]:
    import numpy as np

    names = np.atleast_1d(said.get("class_names", np.zeros(0))).ravel().tolist()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{str(path)!r} does not name the models: expected texts in class_names")
    return names


def _whole(value: Any) -> int:
    number = float(value)
    if not math.isfinite(number) or number != int(number) or abs(number) > 2**53:
        raise ValueError(f"expected a whole number, got {value!r}")
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise TypeError(f"expected the name of a file, got {value!r}")
    return value.strip()


# ---- lists with commas -----------------------------------------------------------------------------------------


def _from_commas(folder: Path) -> tuple[list[_Car], list[str], Path]:
    cars: list[_Car] = []
    for part in ("train", "test"):
        path = existing_file(folder / f"anno_{part}.csv", "the lists with commas come as a pair")
        listed = [_listed(path, n, line) for n, line in numbered_lines(path)]
        if not listed:
            raise ValueError(f"{str(path)!r} is empty")
        place = _places(folder, part)
        missing = [name for name, _ in listed if name not in place]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(listed)} images that {str(path)!r} lists are not there, such as "
                f"{missing[0]!r}; looked in the folder {part!r} and in those below it"
            )
        cars += [_Car(place[name], class_id, part == "train", *box) for name, (class_id, *box) in listed]
    names = existing_file(folder / "names.csv", "it names the models of Cars-196, one on each line")
    return cars, [line.strip('"') for _, line in numbered_lines(names)], folder / "anno_train.csv"


def _listed(path: Path, n: int, line: str) -> tuple[str, tuple[int, int, int, int, int]]:
    """The name of a file, its class and box; a line holds name, left, top, right, bottom, class."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 6 or not cells[0] or not all_numbers(cells[1:]):
        raise ValueError(
            f"line {n} of {str(path)!r} is no car: {shortened(line)!r}; expected file, left, top, right, bottom and "
            "class, like '00001.jpg,39,116,569,375,14'"
        )
    left, top, right, bottom, class_id = map(int, cells[1:])
    return cells[0], (class_id, left, top, right, bottom)


def _places(folder: Path, part: str) -> dict[str, str]:
    """Name of a file -> where it lies, for the folder of a part: in it, or in folders named by models.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: Two files of one name lie in it.
    """
    tried = [
        f"car_data/car_data/{part}",
        f"car_data/{part}",
        part,
        f"cars_{part}",
        f"cars_{part}/cars_{part}",
    ]
    base = next((folder / place for place in reversed(tried) if (folder / place).is_dir()), None)
    if base is None:
        raise FileNotFoundError(
            f"{str(folder)!r} lacks the folder of images {part!r}; looked for {', '.join(tried)}"
        )
    found: dict[str, str] = {}
    for path in sorted((*base.glob("*.*"), *base.glob("*/*.*"))):
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.name in found:
            raise ValueError(
                f"two images of {str(base)!r} are called {path.name!r}, so that {f'anno_{part}.csv'!r} does not say "
                "which is meant"
            )
        found[path.name] = path.relative_to(folder).as_posix()
    return found
