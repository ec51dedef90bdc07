"""Per-query values and failures of a protocol as frames."""

import numpy as np
import pandas as pd
import pytest
from fake_gallery import gallery_of

from dmlviz.retrieval import PROTOCOLS, Judgements


@pytest.fixture
def gallery():
    # Of c there is one only: it has nothing to find.
    rows = [[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2], [0.5, 0.5]]
    return gallery_of(rows, list("aabbc"), cameras=[1, 2, 1, 2, 1])


def test_every_query_has_a_row(gallery):
    frame = gallery.per_query(protocol="map")
    assert frame.index.tolist() == [0, 1, 2, 3, 4]
    assert frame.index.name == "id"
    assert frame["label"].tolist() == list("aabbc")
    assert frame["name"].tolist() == [f"image {i}" for i in range(5)]
    assert frame["evaluated"].tolist() == [True, True, True, True, False]
    result = gallery.evaluate(protocol="map")
    for name, values in result.per_query.items():
        assert frame[name].iloc[:4].tolist() == values.tolist()
    assert np.isnan(frame["average_precision"].iloc[4])
    assert frame["first_hit_rank"].iloc[4] == 0
    assert frame["right"].iloc[4] == frame["wrong"].iloc[4] == -1
    assert not frame["tied"].iloc[4]


def test_failures_come_worst_first(gallery):
    result = gallery.evaluate(protocol="map")
    frame = gallery.failures(protocol="map")
    assert frame.attrs["sorted_by"] == "average_precision, lowest first; then query"
    short = {
        int(q): v
        for q, v in zip(result.query_ids, result.per_query["average_precision"], strict=True)
        if v < 1
    }
    assert 0 < len(short) < 4
    assert frame["query"].tolist() == sorted(short, key=lambda q: (short[q], q))
    assert frame["average_precision"].tolist() == sorted(short.values())
    assert list(frame.columns[:4]) == ["query", "name", "label", "average_precision"]
    by_rank = gallery.failures(protocol="cub")
    assert by_rank.attrs["sorted_by"] == "first_hit_rank, highest first; then query"
    assert by_rank["first_hit_rank"].is_monotonic_decreasing
    assert (by_rank["first_hit_rank"] > 1).all()
    assert set(by_rank["query"]) == set(gallery.failures()["query"])
    assert (
        by_rank["wrong"] == gallery.failures().set_index("query").loc[by_rank["query"], "wrong"].values
    ).all()


def test_every_protocol_has_frames(gallery):
    asked = gallery_of(np.eye(3), list("abc"), queries=([[1, 0.1, 0], [0.2, 0.1, 1]], list("ab")))
    lists = Judgements.from_mapping({0: {"good": [1], "ok": [0], "easy": [4], "hard": [2], "junk": [3]}})
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    options = {"lfw": {"pairs": pairs}}
    for name, protocol in PROTOCOLS.items():
        options.setdefault(name, {"judgements": lists} if "judgements" in protocol.needs else {})
        chosen = asked if name in ("cvusa", "in-shop") else gallery
        result = chosen.evaluate(protocol=name, **options[name])
        frame = chosen.per_query(protocol=name, **options[name])
        assert protocol.worst_by in frame
        assert frame["evaluated"].sum() == result.valid > 0
        assert len(frame) == len(chosen.queries)
        failures = chosen.failures(protocol=name, **options[name])
        assert failures.attrs["sorted_by"] == protocol.sorted_by
        assert set(failures["query"]) <= set(result.query_ids.tolist())
        assert all(-1 <= value <= 1 or np.isnan(value) for value in result.values.values())
        assert protocol.title
        assert protocol.source
        assert len(result.definition) > 60


def test_frames_are_the_callers_own(gallery):
    for ask in (gallery.per_query, gallery.failures):
        frame = ask(protocol="map")
        frame["average_precision"] = 0.0
    assert gallery.per_query(protocol="map")["average_precision"].max() == 1
    assert isinstance(gallery.per_query(protocol="map"), pd.DataFrame)


@pytest.mark.parametrize("ask", ["per_query", "failures"])
def test_refuses(gallery, ask):
    with pytest.raises(ValueError, match="protocol must be one of 'cub'"):
        getattr(gallery, ask)(protocol="imagenet")
    with pytest.raises(TypeError, match="the option 'seed' belongs to a protocol"):
        getattr(gallery, ask)(seed=1)
    with pytest.raises(TypeError, match="the protocol 'lfw' needs pairs="):
        getattr(gallery, ask)(protocol="lfw")


def test_without_labels_the_frame_has_none():
    plain = gallery_of(np.eye(3))
    lists = Judgements.from_mapping({1: {"easy": [2], "hard": [], "junk": []}})
    frame = plain.per_query(protocol="roxford-easy", judgements=lists)
    assert frame["label"].tolist() == [None, None, None]
    assert frame["evaluated"].tolist() == [False, True, False]
