"""The figure of how far to trust each method carries the frame's numbers, each in its place."""

import numpy as np
import pandas as pd
import pytest

from dmlviz.figures import trust_figure


def row(evaluator, method, value, kind="method", figure="rate", better="higher", **rest):
    said = {
        "evaluator": evaluator,
        "figure": figure,
        "method": method,
        "kind": kind,
        "value": value,
        "low": value - 0.1,
        "high": value + 0.05,
        "trials": 40,
        "better": better,
    }
    return said | {"beside": "", "title": evaluator.title(), "headline_test": False} | rest


@pytest.fixture
def frame():
    return pd.DataFrame(
        [
            row("misses", "exact", 0.2, better="lower"),
            row("misses", "exact", 9.9, figure="another figure", better="lower"),
            row("misses", "other", 3.0, better="lower"),
            row("pointing", "exact", 0.8, headline_test=True),
            row("pointing", "overall map", 0.5, "baseline", beside="exact", headline_test=True),
            row("pointing", "centre", 0.3, "baseline", headline_test=True),
        ]
    )


def panel(figure, number):
    """Points of a panel by name of the trace: (method at which it stands, value, below, above)."""
    axis = "x" if number == 1 else f"x{number}"
    return {
        trace.name: list(zip(trace.y, trace.x, trace.error_x.arrayminus, trace.error_x.array, strict=True))
        for trace in figure.data
        if trace.xaxis == axis
    }


def test_each_evaluator_has_a_panel_headline_tests_first(frame):
    figure = trust_figure(frame)
    titles = [note.text for note in figure.layout.annotations]
    assert [title.split("<br>")[0] for title in titles] == ["<b>Pointing</b>", "Misses"]
    assert "rate, more is better →" in titles[0]
    assert "rate, ← less is better" in titles[1]
    first, second = panel(figure, 1), panel(figure, 2)
    assert first["method"] == [("exact", 0.8, pytest.approx(0.1), pytest.approx(0.05))]
    assert first["baseline"] == [("centre", 0.3, pytest.approx(0.1), pytest.approx(0.05))]
    assert first["read off the method"] == [("exact", 0.5, pytest.approx(0.1), pytest.approx(0.05))]
    assert [(name, value) for name, value, *_ in second["method"]] == [("exact", 0.2), ("other", 3.0)]
    assert second["baseline"] == []


def test_methods_stand_above_baselines(frame):
    figure = trust_figure(frame.iloc[::-1])
    assert next(iter(figure.layout.yaxis.categoryarray)) == "centre"  # drawn from below
    assert set(figure.layout.yaxis.categoryarray) == {"exact", "other", "centre"}


def test_everything_lies_within_its_panel(frame):
    figure = trust_figure(frame)
    for number, at in ((1, "xaxis"), (2, "xaxis2")):
        low, high = figure.layout[at].range
        for points in panel(figure, number).values():
            for _, value, below, above in points:
                assert low <= value - below
                assert value + above <= high
    assert figure.layout.xaxis.range[1] == pytest.approx(1.04)  # shares are drawn from 0 to 1
    negative = pd.DataFrame([row("pointing", "exact", -0.4)])
    assert trust_figure(negative).layout.xaxis.range[0] < -1


def test_a_figure_without_trials_leaves_an_empty_row():
    both = pd.DataFrame([row("pointing", "exact", np.nan), row("pointing", "other", 0.5)])
    assert np.isnan(panel(trust_figure(both), 1)["method"][0][1])
    assert trust_figure(both.iloc[:1]).layout.xaxis.range[1] > 0


def test_more_evaluators_than_fit_side_by_side_go_below():
    four = pd.DataFrame([row(f"test {n}", "exact", 0.5) for n in range(4)])
    figure = trust_figure(four)
    assert figure.layout.yaxis4.domain[1] < figure.layout.yaxis.domain[0]
    assert figure.layout.height > trust_figure(four.iloc[:3]).layout.height


def test_the_frame_of_one_evaluation_will_do(frame):
    bare = frame.drop(columns=["beside", "title", "headline_test"])
    figure = trust_figure(bare)
    assert {note.text.split("<br>")[0] for note in figure.layout.annotations} == {"misses", "pointing"}


def test_bad_frames_are_refused(frame):
    with pytest.raises(
        ValueError, match=r"needs the columns evaluator, .*; low, high is missing\. dmlviz\.faith"
    ):
        trust_figure(frame.drop(columns=["low", "high"]))
    with pytest.raises(ValueError, match="there is no figure to draw: the frame has no row"):
        trust_figure(frame.iloc[:0])
