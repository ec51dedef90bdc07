"""Frames that are not of pandas: through narwhals."""

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from dmlviz.images import ImageSet


@pytest.fixture
def root(tmp_path):
    for n in range(3):
        Image.new("L", (4, 3), n).save(tmp_path / f"{n}.png")
    return tmp_path


COLUMNS = {
    "path": ["0.png", "1.png", "2.png"],
    "label": ["a", "b", "a"],
    "camera": [3, 1, 2],
    "kept": [0.5, None, 1.0],
}


def check(images):
    assert images.names == ("0.png", "1.png", "2.png")
    assert images.labels.tolist() == ["a", "b", "a"]
    assert images.table["camera"].tolist() == [3, 1, 2]
    assert images.table["camera"].dtype.kind == "i"
    assert images.table["kept"].isna().tolist() == [False, True, False]
    assert int(images[2][0, 0, 0]) == 2


def test_a_frame_of_polars(root):
    frame = pl.DataFrame(COLUMNS)
    check(ImageSet.from_frame(frame, root=root))
    with pytest.raises(TypeError, match=r"got polars\.LazyFrame; collect\(\) it first"):
        ImageSet.from_frame(frame.lazy(), root=root)
    with pytest.raises(ValueError, match=r"no path \(None or NaN\) in 1 of 2 rows, first in row 1"):
        ImageSet.from_frame(pl.DataFrame({"path": ["0.png", None], "label": ["a", "b"]}), root=root)
    with pytest.raises(KeyError, match="no column 'label' for label; it has: path"):
        ImageSet.from_frame(pl.DataFrame({"path": ["0.png"]}), root=root)


def test_a_table_of_arrow(root):
    check(ImageSet.from_frame(pa.table(COLUMNS), root=root))


def test_a_frame_that_only_says_it_is_one(root):
    """What narwhals asks of a frame of its own kind, without polars or Arrow being installed."""
    wrapped = nw.from_native(pd.DataFrame(COLUMNS))
    check(ImageSet.from_frame(wrapped, root=root))


@pytest.mark.parametrize(
    ("frame", "got"),
    [([1, 2], "list"), ({"path": ["0.png"]}, "dict"), (None, "NoneType"), (pd.Series([1]), "pandas.Series")],
)
def test_what_is_no_frame(frame, got):
    with pytest.raises(
        TypeError, match=rf"expected a pandas\.DataFrame .* got {got}, or one of polars or Arrow"
    ):
        ImageSet.from_frame(frame)
