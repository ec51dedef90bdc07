"""Data frames written to files."""

import json

import numpy as np
import pandas as pd
import pytest

from dmlviz.retrieval import frames
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
