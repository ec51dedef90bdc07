"""Comparisons: each question once, baselines once, nothing lost by a stop, nothing left out in silence."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parent))  # for planted_evaluators, which tests of this room share

from planted_evaluators import Planted, plant, stop_the_clock

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import KnownBoxes, compare, completeness
from dmlviz.faithfulness.comparison_budget import within_budget
from dmlviz.faithfulness.comparison_cells import Skipped
from dmlviz.faithfulness.comparison_tables import short, skipped_in_words

ANSWERS = {"decomposition": 0.9, "dist-cam": 0.5, "grad-cam": 0.2, "centre": 0.4, "uniform": 0.1}
THREE = ["decomposition", "dist-cam", "grad-cam"]


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(dv.birds(families=2, per_class=3), birds_embedder(), progress=False)


def ask(gallery, methods=("decomposition", "dist-cam"), evaluators=None, pairs=6, **rest):
    return compare(gallery, methods, evaluators, pairs, **({"progress": False} | rest))


# --- what is asked -----------------------------------------------------------------------------------


def test_every_question_is_asked_once_and_each_baseline_once(gallery, monkeypatch):
    one, two = plant(
        monkeypatch, Planted("one", ANSWERS), Planted("two", ANSWERS, baselines=("uniform",), headline=True)
    )
    found = ask(gallery, THREE)
    assert sorted(one.calls) == sorted((name, 6) for name in (*THREE, "centre", "uniform"))
    assert sorted(two.calls) == sorted((name, 6) for name in (*THREE, "uniform"))
    assert found.methods == tuple(THREE)
    assert found.baselines == ("centre", "uniform")
    assert found.found("one", "centre").headline.value == pytest.approx(0.4)
    assert found.found("two", "centre") is None
    assert all(not e.baselines for e in found.evaluations)
    assert "3 methods and 2 baselines by 3 evaluators, 6 pairs" in repr(found)


def test_the_figures_are_those_of_the_evaluator_asked_alone(gallery, monkeypatch):
    plant(monkeypatch)
    found = ask(gallery, ["decomposition"], pairs=5, seed=3)
    alone = completeness(gallery, pairs=5, seed=3, progress=False)
    together = found.found("completeness", "decomposition")
    assert together.pairs.queries.tolist() == alone.pairs.queries.tolist()
    for name, estimate in alone.figures.items():
        np.testing.assert_array_equal(together.figures[name].values, estimate.values)


def test_a_pair_is_explained_once_for_all_evaluators(gallery, monkeypatch):
    plant(monkeypatch, Planted("one", ANSWERS, baselines=()), Planted("two", ANSWERS, baselines=()))
    explained = []

    from dmlviz.faithfulness import explained as room

    real = room.explain_ranking
    monkeypatch.setattr(
        room,
        "explain_ranking",
        lambda g, q, ids, *rest, **more: explained.append(q) or real(g, q, ids, *rest, **more),
    )
    ask(gallery, ["decomposition"], pairs=6)
    assert len(explained) == 6


def test_options_and_fewer_pairs_reach_whom_they_are_for(gallery, monkeypatch):
    (one,) = plant(monkeypatch, Planted("one", ANSWERS))
    found = ask(
        gallery, evaluator_options={"one": {"times": 2.0}}, at_most={"dist-cam": 4, "completeness": 2}
    )
    assert found.found("one", "decomposition").headline.value == pytest.approx(1.8)
    assert dict(one.calls) == {"decomposition": 6, "dist-cam": 4, "centre": 6, "uniform": 6}
    assert len(found.found("completeness", "decomposition").pairs) == 2
    table = found.table()
    assert table.loc["dist-cam", "pairs"] == "2–4"
    assert table.loc["uniform", "pairs"] == "6"
    masks = ask(gallery, ["rise"], ["completeness"], pairs=1, method_options={"rise": {"masks": 8}})
    assert masks.found("completeness", "rise").explain_milliseconds > 0


def test_all_that_suits_and_applies_is_asked_by_default(gallery, monkeypatch):
    plant(
        monkeypatch,
        Planted("with boxes", ANSWERS, needs=("boxes",), baselines=()),
        Planted("with kin", ANSWERS, needs=("kin",), baselines=()),
    )
    plain = dv.Gallery.build(
        dv.ImageSet.from_arrays([gallery.image(i) for i in range(12)], gallery.labels[:12].tolist()),
        gallery.embedder,
        progress=False,
    )
    found = compare(plain, ["decomposition"], pairs=3, progress=False)
    assert {e.evaluator.name for e in found.evaluations} == {"completeness"}
    reasons = {s.evaluator: s.reason for s in found.skipped}
    assert reasons["with boxes"] == "no boxes round what the pictures show are known"
    assert reasons["with kin"] == "it is not known in which parts two pictures differ"
    boxed = compare(plain, ["decomposition"], pairs=3, truth=KnownBoxes([[0, 0, 9, 9]] * 12), progress=False)
    assert boxed.found("with boxes", "decomposition").headline.value == pytest.approx(0.9)
    some = ("decomposition", "cam", "dist-cam", "hamming", "attention-rollout")
    monkeypatch.setattr("dmlviz.faithfulness.comparison_cells.METHODS", some)
    every = compare(plain, None, ["completeness"], pairs=1, progress=False)
    assert every.methods == ("decomposition", "dist-cam", "hamming")
    unsuited = {s.method: s.reason for s in every.skipped}
    assert "has no classifier" in unsuited["cam"]
    assert "reads the attention of a transformer" in unsuited["attention-rollout"]


def test_an_evaluator_that_cannot_is_listed_and_the_others_go_on(gallery, monkeypatch):
    plant(
        monkeypatch,
        Planted("one", ANSWERS, fails_for=("dist-cam",)),
        Planted("linear", ANSWERS, needs=("linear",), baselines=()),
    )
    found = ask(gallery)
    said = {(s.evaluator, s.method): s.reason for s in found.skipped}
    assert said["one", "dist-cam"] == "dist-cam has no planted answer"
    assert said["linear", "dist-cam"] == "maps of this method may not be subtracted"
    assert found.found("one", "uniform") is not None
    assert found.table().loc["dist-cam", "one"] == ""


# --- what it looks like ------------------------------------------------------------------------------


def test_the_long_frame_has_every_figure_once(gallery, monkeypatch):
    plant(monkeypatch, Planted("one", ANSWERS, headline=True))
    frame = ask(gallery).to_frame()
    assert not frame.duplicated(["evaluator", "figure", "method"]).any()
    of_one = frame[frame["evaluator"] == "one"].set_index("method")
    assert of_one["kind"].to_dict() == {
        "decomposition": "method",
        "dist-cam": "method",
        "centre": "baseline",
        "uniform": "baseline",
    }
    assert of_one["value"].to_dict() == pytest.approx(
        {name: ANSWERS[name] for name in ("decomposition", "dist-cam", "centre", "uniform")}
    )
    assert of_one["headline_test"].all()
    assert not frame.loc[frame["evaluator"] == "completeness", "headline_test"].any()
    assert frame.loc[frame["figure"] == "missing share", "headline_figure"].eq(False).all()
    assert (frame["pairs"] == 6).all()
    assert (frame["beside"] == "").all()


def test_the_table_puts_methods_before_baselines_and_headline_tests_first(gallery, monkeypatch):
    plant(monkeypatch, Planted("one", ANSWERS), Planted("two", ANSWERS, headline=True, baselines=()))
    found = ask(gallery)
    table = found.table()
    assert list(table.index) == ["decomposition", "dist-cam", "centre", "uniform"]
    assert list(table.columns) == ["two", "one", "completeness", "pairs", "ms per pair"]
    assert table.loc["centre", "one"] == "0.400 [0.400, 0.400]"
    assert table.loc["centre", "two"] == ""
    page = found.to_markdown(columns=1)
    assert "| `decomposition` | 0.900 [0.900, 0.900] |" in page
    assert "| *uniform* | 0.100 [0.100, 0.100] |" in page
    assert page.index("| | two ↑ |") < page.index("| | one ↑ |") < page.index("| | completeness ↓ | pairs |")
    assert (
        "- **two**: How much was planted? The figure is “planted”, higher is better. A headline test." in page
    )
    assert "Beware: that parts add up does not make each of them right" in page
    with pytest.raises(ValueError, match="a table has at least one column; got columns=0"):
        found.to_markdown(columns=0)


def test_baselines_read_off_the_method_stand_beside_it(gallery, monkeypatch):
    from dataclasses import replace

    from dmlviz.faithfulness import Estimate

    class Own(Planted):
        def __call__(self, *args, baselines=None, **rest):
            assert baselines == ("overall map",)
            found = super().__call__(*args, baselines=(), **rest)
            beside = Estimate("planted", found.headline.values / 2, found.headline.clusters)
            return replace(found, baselines={"overall map": {"planted": beside}})

    plant(monkeypatch, Own("own", ANSWERS, baselines=(), own_baselines=("overall map",)))
    found = ask(gallery)
    frame = found.to_frame().query("evaluator == 'own'")
    assert frame["beside"].tolist() == ["", "decomposition", "", "dist-cam"]
    assert frame["kind"].tolist() == ["method", "baseline"] * 2
    page = found.to_markdown()
    assert "| | own | overall map |" in page
    assert "| `decomposition` | 0.900 [0.900, 0.900] | 0.450 [0.450, 0.450] |" in page


def test_html_is_escaped(gallery, monkeypatch):
    plant(
        monkeypatch,
        Planted("<i>one</i>", ANSWERS, baselines=()),
        Planted("two", ANSWERS, baselines=(), fails_for=("decomposition",)),
    )
    html = ask(gallery, ["decomposition"])._repr_html_()
    assert "<i>" not in html
    assert "&lt;i&gt;one&lt;/i&gt;" in html
    assert "two about decomposition: decomposition has no planted answer" in html


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.8324, "0.832"), (0.0, "0.000"), (-0.25, "-0.250"), (2.8e-8, "2.8e-08"), (12345.0, "1.2e+04")],
)
def test_numbers_keep_what_tells_something(value, said):
    assert short(value) == said


# --- kept on disk ------------------------------------------------------------------------------------


def test_a_stopped_comparison_goes_on_where_it_was(gallery, monkeypatch, tmp_path):
    path = tmp_path / "kept.jsonl"
    one, _ = plant(
        monkeypatch,
        Planted("one", ANSWERS, baselines=()),
        Planted("two", ANSWERS, baselines=(), stop_at="grad-cam"),
    )
    with pytest.raises(KeyboardInterrupt):
        ask(gallery, THREE, path=path)
    assert [name for name, _ in one.calls] == THREE
    one, two = plant(
        monkeypatch, Planted("one", ANSWERS, baselines=()), Planted("two", ANSWERS, baselines=())
    )
    found = ask(gallery, THREE, path=path)
    assert one.calls == []
    assert two.calls == [("grad-cam", 6)]
    afresh = ask(gallery, THREE)
    cost = ["milliseconds", "explain_milliseconds"]
    pd.testing.assert_frame_equal(found.to_frame().drop(columns=cost), afresh.to_frame().drop(columns=cost))
    assert ask(gallery, THREE, path=path).table().equals(found.table())


def test_a_line_that_was_cut_short_is_asked_again(gallery, monkeypatch, tmp_path):
    path = tmp_path / "kept.jsonl"
    plant(monkeypatch, Planted("one", ANSWERS, baselines=()))
    ask(gallery, path=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    (one,) = plant(monkeypatch, Planted("one", ANSWERS, baselines=()))
    ask(gallery, path=path)
    assert len(one.calls) <= 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 1 + 4
    assert lines[0]["kind"] == "dmlviz comparison"


def test_undefined_trials_come_back_undefined(gallery, monkeypatch, tmp_path):
    def odd(query, item):
        return float("nan") if query % 2 else float("inf") if query == 0 else 1.0

    plant(monkeypatch, Planted("one", {"decomposition": odd}, baselines=()))
    first = ask(gallery, ["decomposition"], pairs=12, path=tmp_path / "k")
    again = ask(gallery, ["decomposition"], pairs=12, path=tmp_path / "k")
    values = [found.found("one", "decomposition").headline.values for found in (first, again)]
    assert np.isnan(values[0]).any()
    np.testing.assert_array_equal(*values)
    json.loads((tmp_path / "k").read_text().splitlines()[1], parse_constant=pytest.fail)


def test_other_options_are_another_question(gallery, monkeypatch, tmp_path):
    plant(monkeypatch, Planted("one", ANSWERS, baselines=()))
    ask(gallery, ["decomposition"], path=tmp_path / "k")
    twice = ask(gallery, ["decomposition"], path=tmp_path / "k", evaluator_options={"one": {"times": 2.0}})
    assert twice.found("one", "decomposition").headline.value == pytest.approx(1.8)
    fewer = ask(gallery, ["decomposition"], path=tmp_path / "k", at_most={"one": 4})
    assert len(fewer.found("one", "decomposition").pairs) == 4


def test_findings_about_something_else_are_refused(gallery, monkeypatch, tmp_path):
    plant(monkeypatch)
    path = tmp_path / "kept.jsonl"
    ask(gallery, ["decomposition"], path=path)
    before = path.read_bytes()
    others = dv.Gallery.build(dv.birds(families=2, per_class=3, seed=1), gallery.embedder, progress=False)
    pooled = dv.Gallery.build(gallery.images, birds_embedder("max"), progress=False)
    dotted = dv.Gallery.build(gallery.images, gallery.embedder, similarity="dot", progress=False)
    for given, rest, words in (
        (others, {}, "holds findings about other images than asked for now; give another path, or delete it"),
        (pooled, {}, "holds findings about another embedder than"),
        (dotted, {}, "holds findings about another similarity than"),
        (gallery, {"pairs": 5}, "holds findings about other pairs than"),
        (gallery, {"pairs": [(0, 1)] * 6}, "holds findings about other pairs than"),
        (gallery, {"truth": KnownBoxes([[0, 0, 9, 9]] * 36)}, "took another truth for granted than"),
    ):
        with pytest.raises(ValueError, match=words):
            ask(given, ["decomposition"], path=path, **rest)
    pairs = ask(gallery, ["decomposition"]).pairs
    with pytest.raises(ValueError, match="holds findings with another seed than asked for now"):
        ask(gallery, ["decomposition"], path=path, pairs=pairs, seed=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "shopping list\n", '{"kind": "something else"}\n', "[1]\n", "no end of line"]
)
def test_a_file_of_something_else_is_left_alone(gallery, tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes\.txt holds no findings of compare, or damaged ones"):
        ask(gallery, ["decomposition"], ["completeness"], path=path)
    assert path.read_text() == content


def test_a_folder_that_is_not_there(gallery, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*no' to keep findings in"):
        ask(gallery, ["decomposition"], ["completeness"], path=tmp_path / "no" / "k")


# --- within a budget ---------------------------------------------------------------------------------


def test_what_fits_is_asked_with_as_many_pairs_as_fit():
    cells = [("dear", "a"), ("dear", "base")], [("cheap", "a"), ("cheap", "base")], [("cheap", "b")]
    costs = {"dear": 1.0, "cheap": 0.01, "a": 0.1, "b": 0.5, "base": 0.0}
    counts = {cell: 200 for block in cells for cell in block}
    chosen, without = within_budget(cells, costs, counts, 30.0)
    # with n pairs: n (0.1 + 2 · 0.01) for a and the baseline, n (0.5 + 0.01) for b; 0.63 n ≤ 30
    assert chosen == {("cheap", "a"): 47, ("cheap", "base"): 47, ("cheap", "b"): 47}
    assert without == pytest.approx({("dear", "a"): 42.0, ("dear", "base"): 42.0})
    assert within_budget(cells, costs, counts, 1e9)[0] == counts
    assert within_budget(cells, costs, counts, 0.0)[0] == {}


def test_without_its_baselines_an_evaluator_is_not_asked_at_all():
    blocks = [[("one", "a"), ("one", "base")], [("one", "b")]]
    costs = {"one": 0.1, "a": 0.0, "b": 0.0, "base": 9.0}
    counts = {cell: 50 for block in blocks for cell in block}
    assert within_budget(blocks, costs, counts, 20.0)[0] == {}


def test_caps_hold_and_leave_room_for_the_others():
    blocks = [[("one", "slow")], [("one", "quick")]]
    costs = {"one": 0.0, "slow": 1.0, "quick": 0.1}
    chosen, _ = within_budget(blocks, costs, {("one", "slow"): 25, ("one", "quick"): 200}, 40.0)
    assert chosen == {("one", "slow"): 25, ("one", "quick"): 150}


def test_a_budget_is_kept_and_what_it_leaves_out_is_said(gallery, monkeypatch):
    now = stop_the_clock(monkeypatch)
    plant(
        monkeypatch,
        Planted("slow", ANSWERS, seconds=0.1, baselines=("uniform",)),
        Planted("quick", ANSWERS, headline=True, seconds=0.002),
    )
    found = ask(gallery, pairs=36, budget=4.0)
    assert now[0] <= 4.0
    assert len(found.found("quick", "decomposition").pairs) >= 20
    assert found.found("quick", "centre") is not None
    assert found.found("slow", "dist-cam") is None
    left_out = [s for s in found.skipped if s.evaluator == "slow"]
    assert {s.method for s in left_out} >= {"dist-cam"}
    assert all("of the budget of 4 s" in s.reason for s in left_out)
    assert "needs about" in left_out[0].reason


def test_with_a_budget_too_small_for_anything(gallery, monkeypatch):
    plant(monkeypatch, Planted("one", ANSWERS))
    with pytest.raises(
        ValueError, match=r"nothing to compare here: one about decomposition, .*: the budget of 1e-06 s"
    ):
        ask(gallery, budget=1e-6)


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ["grad-cma"]}, "method must be one of 'decomposition', .*; got 'grad-cma'"),
        ({"evaluators": ["pointign"]}, "evaluator must be one of .*; got 'pointign'"),
        ({"methods": ["centre"]}, "baselines are asked of by themselves: leave"),
        ({"baselines": ["middle"]}, "baselines are 'random weights', .*; got 'middle'"),
        ({"budget": 0}, "budget is in seconds, above 0, or None for no limit; got 0"),
        (
            {"method_options": {"rise": {"masks": 9}}},
            "method_options are given of 'rise', which is not asked for",
        ),
        ({"at_most": {"rise": 9}}, "at_most names 'rise', which is not asked for"),
        ({"at_most": {"completeness": 0}}, r"at_most\['completeness'\] must be at least 1, got 0"),
        ({"methods": ["cam"]}, "there is nothing to compare here: cam: .*has no classifier"),
    ],
)
def test_errors_say_what_was_expected(gallery, asked, words):
    given = {"methods": ["decomposition"], "evaluators": ["completeness"], "pairs": 2} | asked
    with pytest.raises(ValueError, match=words):
        compare(gallery, progress=False, **given)


def test_progress_goes_to_stderr(gallery, monkeypatch, capsys):
    plant(monkeypatch)
    ask(gallery, ["decomposition"], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "decomposition: completeness" in shown.err
    assert "12/12" in shown.err


def test_what_was_skipped_is_put_together_by_reason():
    listed = [
        Skipped("a", "x", "why"),
        Skipped("a", "y", "why"),
        Skipped("b", "x", "why"),
        Skipped("b", "y", "why"),
        Skipped("b", "z", "wherefore"),
        Skipped("", "x", "no"),
        Skipped("c", "", "nothing known"),
    ]
    assert skipped_in_words(listed) == [
        "a, b about x, y: why",
        "b about z: wherefore",
        "x: no",
        "c: nothing known",
    ]
