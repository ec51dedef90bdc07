"""How far to trust the methods: what the Explorer takes, what it tells the page, measuring on a thread of its own."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from planted import method, plant
from planted_trust import PLANTED, SKIPPED, Found, evaluation, plant_evaluators
from small_gallery import SmallGallery
from test_page import unpacked

from dmlviz.faithfulness import evaluators
from dmlviz.widgets import Explorer, measuring
from dmlviz.widgets.page import NOT_MEASURED


@pytest.fixture
def explorer(monkeypatch):
    plant_evaluators(monkeypatch)
    plant(monkeypatch, method("sided"))
    return Explorer(SmallGallery(), query=3, k=4)


def row(frame, evaluator, by, figure=None):
    """The row of a method's or a baseline's headline figure."""
    figure = figure or next(e.figures[0] for e in PLANTED if e.name == evaluator)
    found = frame[(frame["evaluator"] == evaluator) & (frame["method"] == by) & (frame["figure"] == figure)]
    return found.iloc[0]


def test_without_figures_the_page_is_told_of_none(explorer):
    assert explorer.trust is None
    assert explorer._trust["methods"] == {}
    assert (explorer._trust["measuring"], explorer._trust["failed"]) == ([], {})
    assert explorer._trust["seconds"] == measuring.SECONDS


def test_the_numbers_are_the_frame_s_own(explorer):
    explorer.trust = Found(["decomposition", "sided"])
    for name in ("decomposition", "sided"):
        for evaluator, found in explorer._trust["methods"][name].items():
            exact = row(explorer.trust, evaluator, name)
            figure = found["figure"]
            assert (figure["value"], figure["low"], figure["high"]) == (
                exact["value"],
                exact["low"],
                exact["high"],
            )
            assert (figure["trials"], figure["leftOut"]) == (exact["trials"], exact["left_out"])
            for baseline in found["baselines"]:
                assert baseline["value"] == row(explorer.trust, evaluator, baseline["name"])["value"]
    assert explorer._trust["methods"]["sided"]["margins"]["figure"]["leftOut"] == 7
    (other,) = explorer._trust["methods"]["decomposition"]["parts"]["others"]
    assert other["name"] == "lands on the object"
    names = [each["name"] for each in explorer._trust["methods"]["sided"]["margins"]["baselines"]]
    assert names == ["random weights", "feature norm", "centre", "uniform"]


def test_headline_tests_come_first_with_their_words(explorer):
    explorer.trust = Found(["decomposition"])
    told = explorer._trust["evaluators"]
    assert [each["name"] for each in told] == [
        "margins",
        "parts",
        "adding-up",
        "object-pointing",
        "predicting",
    ]
    assert [each["headline"] for each in told] == [True, True, False, False, False]
    planted = {each.name: each for each in PLANTED}
    for each in told:
        assert (each["question"], each["caution"]) == (
            planted[each["name"]].question,
            planted[each["name"]].caution,
        )
        assert each["figure"] == planted[each["name"]].figures[0]
    assert told[2]["better"] == "lower"
    assert explorer._trust["pairs"]["decomposition"] == {
        "count": "160 pairs",
        "rule": "each query with the image ranked first",
    }
    assert explorer._trust["summaries"] == {"decomposition": "decomposition in a sentence."}
    assert explorer._trust["known"].startswith("No parts or boxes of the pictures are known")
    (unasked,) = explorer._trust["unasked"]
    assert (unasked["title"], unasked["reason"]) == ("boxes", SKIPPED[0][2])
    assert "knows its own image" in explorer._trust["baselines"]["feature norm"]


def test_scales_hold_every_figure_and_stay_put_where_they_can(explorer):
    explorer.trust = Found(["decomposition", "sided"])
    scales = {each["name"]: each["scale"] for each in explorer._trust["evaluators"]}
    assert scales["margins"] == [0.0, 1.0]
    assert scales["predicting"] == [-1.0, 1.0]  # the other method's correlation is below zero
    frame = explorer.trust.copy()
    frame.loc[frame["evaluator"] == "margins", ["value", "low", "high"]] *= 300
    explorer.trust = frame
    low, high = next(each["scale"] for each in explorer._trust["evaluators"] if each["name"] == "margins")
    top = frame.loc[frame["evaluator"] == "margins", "high"].max()
    assert low == 0
    assert top <= high < 1.5 * top


def test_baselines_that_follow_all_methods_belong_to_each(explorer):
    frame = Found(["decomposition", "sided"], only=["margins"]).to_frame()
    together = pd.concat([frame[frame["kind"] == "method"], frame[frame["kind"] == "baseline"].iloc[:4]])
    explorer.trust = together
    for name in ("decomposition", "sided"):
        found = explorer._trust["methods"][name]["margins"]["baselines"]
        assert [each["value"] for each in found] == together["value"].iloc[2:].tolist()


def test_a_method_s_own_baseline_stands_beside_it_alone(explorer):
    frame = Found(["decomposition", "sided"], only=["margins"]).to_frame()
    frame["beside"] = ""
    own = (
        frame[frame["method"] == "centre"]
        .iloc[:2]
        .assign(method="overall map", beside=["sided", "random weights"])
    )
    explorer.trust = pd.concat([frame, own])
    beside = {
        name: [each["name"] for each in explorer._trust["methods"][name]["margins"]["baselines"]]
        for name in ("decomposition", "sided")
    }
    assert beside["decomposition"] == ["random weights", "feature norm", "centre", "uniform"]
    assert beside["sided"] == ["overall map", *beside["decomposition"]]


def test_one_evaluation_and_a_bare_frame_will_do(explorer):
    found = evaluation(PLANTED[2], "decomposition")
    explorer.trust = found
    assert list(explorer._trust["methods"]["decomposition"]) == ["margins"]
    assert explorer._trust["pairs"]["decomposition"]["rule"] == found.pairs.rule
    assert [each["title"] for each in explorer._trust["unasked"]] == ["boxes"]  # the gallery rules it out
    frame = found.to_frame()
    frame["evaluator"] = "my own"
    explorer.trust = frame
    (told,) = explorer._trust["evaluators"]
    assert (told["title"], told["question"], told["headline"]) == ("my own", "", False)
    assert explorer._trust["pairs"]["decomposition"] == {"count": "160 trials a figure", "rule": ""}
    explorer.trust = None
    assert explorer._trust["methods"] == {}


def test_figures_that_say_nothing_go_as_nothing(explorer):
    frame = Found(["decomposition"], only=["margins"]).to_frame()
    frame.loc[0, ["value", "low", "high", "trials"]] = [np.nan, np.nan, np.nan, 0]
    explorer.trust = frame
    figure = explorer._trust["methods"]["decomposition"]["margins"]["figure"]
    assert (figure["value"], figure["low"], figure["trials"]) == (None, None, 0)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (0.8, TypeError, r"trust takes what dmlviz\.faithfulness\.trust\(gallery\) returns.*got float"),
        (pd.DataFrame({"evaluator": ["a"]}), ValueError, "figure, method, kind, value.* is missing"),
        (
            Found(["decomposition"]).to_frame().assign(kind="rival"),
            ValueError,
            "'method' or 'baseline'; got 'rival'",
        ),
        (
            Found(["decomposition"]).to_frame().assign(better="up"),
            ValueError,
            "'higher' or 'lower'; got 'up'",
        ),
    ],
)
def test_what_is_no_figure_is_refused_and_changes_nothing(explorer, given, error, words):
    explorer.trust = Found(["sided"])
    before = explorer.trust
    with pytest.raises(error, match=words):
        explorer.trust = given
    assert explorer.trust is before
    assert list(explorer._trust["methods"]) == ["sided"]


def test_the_page_carries_the_figures_of_its_methods(explorer, tmp_path):
    told = unpacked(explorer.to_html(tmp_path / "none.html").read_text("utf-8"))[0]["traits"]["_trust"]
    assert (told["methods"], told["reason"]) == ({}, NOT_MEASURED)
    explorer.trust = Found(["decomposition", "sided"])
    told = unpacked(explorer.to_html(tmp_path / "a.html").read_text("utf-8"))[0]["traits"]["_trust"]
    assert list(told["methods"]) == ["decomposition"]
    assert told["methods"]["decomposition"] == explorer._trust["methods"]["decomposition"]
    assert told["reason"] == ""
    page = explorer.to_html(tmp_path / "b.html", methods=["sided"])
    assert list(unpacked(page.read_text("utf-8"))[0]["traits"]["_trust"]["methods"]) == ["sided"]


def test_trust_is_an_option_and_is_observed(explorer):
    other = Explorer(SmallGallery(), query=3, k=4, trust=Found(["decomposition"]))
    assert list(other._trust["methods"]) == ["decomposition"]
    heard = []
    other.observe(heard.append, names=["trust"])
    other.trust = Found(["sided"])
    assert len(heard) == 1
    assert "trust" not in other.keys  # what goes to the page


# ---- measuring


@pytest.fixture
def measured(monkeypatch):
    """Stands for `faithfulness.trust`, which has tests of its own: answers when it is let go."""

    class Measured:
        def __init__(self):
            self.asked, self.go, self.fails = [], threading.Event(), {}

        def __call__(self, gallery, name):
            self.asked.append((name, threading.current_thread().name))
            assert self.go.wait(10)
            if name in self.fails:
                raise self.fails[name]
            return Found([name])

    stand_in = Measured()
    monkeypatch.setattr(measuring, "measured", stand_in)
    return stand_in


def wish(explorer, name):
    explorer._handle_custom_msg({"kind": "trust", "method": name}, [])


def test_measuring_keeps_nobody_waiting(explorer, measured):
    started = time.monotonic()
    wish(explorer, "decomposition")
    wish(explorer, "sided")
    wish(explorer, "sided")
    explorer.query = 5  # searches go on
    assert time.monotonic() - started < 5
    assert explorer._trust["measuring"] == ["decomposition", "sided"]
    assert explorer.ranking.query == 5
    measured.go.set()
    assert explorer._measuring.finished(10)
    assert measured.asked == [("decomposition", "dmlviz-measuring"), ("sided", "dmlviz-measuring")]
    assert sorted(explorer._trust["methods"]) == ["decomposition", "sided"]
    assert explorer._trust["measuring"] == []
    frame = explorer.trust
    assert set(frame.loc[frame["kind"] == "method", "method"]) == {"decomposition", "sided"}
    assert (
        explorer._trust["methods"]["sided"]["parts"]["figure"]["value"]
        == row(frame, "parts", "sided")["value"]
    )


def test_what_was_measured_joins_what_was_given(explorer, measured):
    explorer.trust = Found(["decomposition", "sided"])
    given = explorer._trust["methods"]["decomposition"]
    measured.go.set()
    wish(explorer, "sided")
    assert explorer._measuring.finished(10)
    assert explorer._trust["methods"]["decomposition"] == given
    anew = explorer._trust["methods"]["sided"]["margins"]["figure"]
    assert anew["value"] == row(Found(["sided"]).to_frame(), "margins", "sided")["value"]
    assert len(explorer._trust["unasked"]) == 1


def test_a_failure_is_told_in_words_and_can_be_tried_again(explorer, measured):
    measured.go.set()
    measured.fails = {"sided": RuntimeError("the gradient is gone")}
    wish(explorer, "sided")
    assert explorer._measuring.finished(10)
    assert explorer._trust["failed"] == {"sided": "RuntimeError: the gradient is gone"}
    assert explorer.trust is None
    measured.fails = {}
    wish(explorer, "sided")
    assert explorer._measuring.finished(10)
    assert explorer._trust["failed"] == {}
    assert list(explorer._trust["methods"]) == ["sided"]


@pytest.mark.parametrize("odd", ["magic", None, 3])
def test_a_method_that_is_none_is_refused_in_words(explorer, measured, odd):
    wish(explorer, odd)
    assert "method must be one of 'decomposition', 'sided'" in explorer._error["text"]
    assert measured.asked == []


def test_the_kernel_measures_with_the_real_evaluators(monkeypatch):
    import dmlviz as dv
    from dmlviz.embedder import birds_embedder

    gallery = dv.Gallery.build(dv.birds(families=2, per_class=2), birds_embedder(), progress=False)
    quick = {name: name for name in ("completeness", "pointing")}
    monkeypatch.setattr(evaluators, "_MODULE_OF", quick)
    monkeypatch.setattr(evaluators, "EVALUATORS", tuple(quick))
    explorer = Explorer(gallery, query=1, k=3)
    wish(explorer, "decomposition")
    assert explorer._measuring.finished(120)
    assert explorer._trust["failed"] == {}
    found = explorer._trust["methods"]["decomposition"]
    assert list(found) == ["completeness", "pointing"]
    assert found["completeness"]["figure"]["value"] < 1e-6
    assert len(found["pointing"]["baselines"]) >= 3
    assert "their parts" in explorer._trust["known"]
    frame = explorer.trust
    for evaluator, told in found.items():
        mine = frame[(frame["evaluator"] == evaluator) & (frame["method"] == "decomposition")]
        assert told["figure"]["value"] in mine["value"].tolist()
