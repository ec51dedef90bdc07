"""Data frames written to files."""

import json
import sys
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fake_gallery import gallery_of

from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery, frames
from dmlviz.retrieval.frames import written


def frame():
    made = pd.DataFrame(
        {
            "name": ["é.png", "b, c.png"],
            "similarity": np.array([0.1, np.nan], dtype=np.float32),
            "hit": [True, None],
        }
    )
    made.index.name = "query"
    return made


def test_csv_keeps_names_and_the_index(tmp_path):
    path = written(frame(), str(tmp_path / "a.csv"))
    assert path.read_text(encoding="utf-8").splitlines() == [
        "query,name,similarity,hit",
        "0,é.png,0.1,True",
        '1,"b, c.png",,',
    ]
    written(frame().rename_axis(None), path)
    assert path.read_text(encoding="utf-8").startswith("name,similarity,hit\n")


def test_json_is_records_without_nan(tmp_path):
    path = written(frame(), tmp_path / "a.JSON")
    said = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert said[0] == {"query": 0, "name": "é.png", "similarity": pytest.approx(0.1, abs=1e-7), "hit": True}
    assert said[1] == {"query": 1, "name": "b, c.png", "similarity": None, "hit": None}


def test_parquet_keeps_types(tmp_path):
    path = written(frame(), tmp_path / "a.parquet")
    found = pd.read_parquet(path, engine="pyarrow")
    assert found.columns.tolist() == ["query", "name", "similarity", "hit"]
    assert found["similarity"].dtype == np.float32
    assert found["query"].tolist() == [0, 1]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"one of \.csv, \.json, \.parquet; got .*a\.xlsx"):
        written(frame(), tmp_path / "a.xlsx")
    with pytest.raises(FileNotFoundError, match=r"no folder .*none' for 'a\.csv'; make it first"):
        written(frame(), tmp_path / "none" / "a.csv")
    with pytest.raises(TypeError, match=r"expected a pandas\.DataFrame to write, got dict"):
        written({}, tmp_path / "a.csv")


def test_an_older_file_stays_where_writing_fails(tmp_path, monkeypatch):
    path = written(frame(), tmp_path / "a.csv")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frames.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        written(frame().assign(more=1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- for other libraries ------------------------------------------------------------------------------------------


def tables(gallery):
    """Everything that gives a table of a gallery out, by name."""
    ranking = gallery.search(0, 5)
    return {
        "ranking": ranking.to_frame,
        "per query": gallery.per_query,
        "per query of a protocol": partial(gallery.per_query, "map@r"),
        "failures": gallery.failures,
        "failures of a protocol": partial(gallery.failures, protocol="map@r"),
        "images": gallery.images.to_frame,
    }


@pytest.mark.parametrize("name", tables(gallery_of(np.eye(4), list("aabb"))))
def test_tables_for_polars_and_arrow_hold_the_same(name):
    random = np.random.default_rng(0)
    images = gallery_of(random.normal(size=(12, 3)), list("aabb") * 3, cameras=np.arange(12) % 3)
    give = tables(images)[name]
    ours = give()
    expected = ours if ours.index.name is None else ours.reset_index()
    assert len(expected) > 2
    arrow, polars = give(backend="pyarrow"), give(backend="polars")
    assert isinstance(arrow, pa.Table)
    assert isinstance(polars, pl.DataFrame)
    for found in (arrow.to_pydict(), polars.to_dict(as_series=False)):
        assert list(found) == expected.columns.tolist()
        for column, values in found.items():
            there = [value if value == value else None for value in expected[column].tolist()]
            assert [value if value == value else None for value in values] == there
    for column in expected.columns:
        if expected[column].dtype != object:
            assert arrow.schema.field(column).type.to_pandas_dtype() == expected[column].dtype
    assert give(backend="pandas").equals(ours)


def test_names_that_are_no_utf_8_are_shown():
    named = gallery_of(np.random.default_rng(0).normal(size=(6, 3)), list("aabbcc"))
    names = [f"\udcff{i}.png" for i in range(6)]
    images = ImageSet(named.images.__getitem__, names, named.labels)
    gallery = Gallery(images, named.embedder, named.embeddings)
    for give in tables(gallery).values():
        frame = give()
        assert set(frame["name"]) <= set(names)
        assert frame["name"].dtype == object


def test_other_libraries_are_refused():
    ranking = gallery_of(np.eye(3)).search(0)
    with pytest.raises(ValueError, match="backend must be one of 'pandas', 'polars', 'pyarrow'; got 'dask'"):
        ranking.to_frame("dask")
    assert ranking.to_frame("pyarrow").column("label").null_count == 2


def test_polars_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"backend='polars' needs polars: pip install polars"):
        gallery_of(np.eye(3)).search(0).to_frame("polars")
