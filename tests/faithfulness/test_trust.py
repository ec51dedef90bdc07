"""How far to trust: the words follow from the figures, and what cannot be said is said to be so."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # for planted_evaluators, which tests of this room share

from planted_evaluators import Planted, plant, stop_the_clock

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.faithfulness import Estimate, Evaluation, Evaluator, choose_pairs, trust
from dmlviz.faithfulness.comparison_cells import Skipped
from dmlviz.faithfulness.trust_words import cannot_be_said, said_of, verdict

ANSWERS = {"decomposition": 0.9, "dist-cam": 0.3, "grad-cam": 0.6, "centre": 0.4, "uniform": 0.1}


@pytest.fixture(scope="module")
def gallery():
    return dv.Gallery.build(dv.birds(families=2, per_class=3), birds_embedder(), progress=False)


def ask(gallery, methods=("decomposition", "dist-cam"), **rest):
    return trust(gallery, methods, **({"pairs": 24, "budget": None, "progress": False} | rest))


def evaluation(gallery, values, better="higher"):
    pairs = choose_pairs(gallery, len(values))
    evaluator = Evaluator("planted", "planted", "How much?", ("planted",), better, ("centre",))
    return Evaluation(
        evaluator, "decomposition", {"planted": Estimate("planted", values, pairs.clusters)}, {}, pairs
    )


def beside(found, values):
    return Estimate("planted", np.asarray(values, float), found.headline.clusters)


def test_what_passes_trivially_proves_nothing(gallery):
    from dmlviz.faithfulness.sanity import REFERENCE_SWAP

    found = replace(
        evaluation(gallery, np.full(12, 0.4)), evaluator=replace(REFERENCE_SWAP, figures=("planted",))
    )
    noise, same = beside(found, [0.0] * 12), beside(found, [1.0] * 12)
    assert verdict(found, {"random": noise}).standing == "alone"
    assert verdict(found, {"random": noise, "centre": same}).baseline == "centre"


def test_differences_by_rounding_are_none(gallery):
    found = evaluation(gallery, np.full(12, 0.4))
    assert verdict(found, {"a": beside(found, [0.4 + 1e-8] * 12)}).standing == "alike"


@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_standing_against_the_best_baseline(gallery, better, sign):
    noise = np.random.default_rng(0).normal(size=36)
    found = evaluation(gallery, sign * (5 + noise), better)
    worse, equal, above = (
        beside(found, sign * (5 + shift + other))
        for shift, other in ((-3, noise), (0, np.random.default_rng(1).normal(size=36)), (3, noise))
    )
    assert verdict(found, {"a": worse}).standing == "better"
    assert verdict(found, {"a": worse, "b": equal}).standing == "alike"
    assert verdict(found, {"a": worse, "b": equal}).baseline == "b"
    assert verdict(found, {"b": equal, "c": above}).standing == "worse"
    assert verdict(found, {}).standing == "alone"


def test_the_difference_is_taken_trial_by_trial(gallery):
    """Two figures whose intervals overlap widely, of which one is a little higher in each and every trial."""
    spread = np.random.default_rng(0).normal(size=36)
    found = evaluation(gallery, spread + 0.1)
    other = beside(found, spread)
    assert found.headline.interval()[0] < other.interval()[1]
    assert verdict(found, {"a": other}).standing == "better"
    shorter = Estimate("planted", spread[:30], found.headline.clusters[:30])  # other trials: intervals decide
    assert verdict(found, {"a": shorter}).standing == "alike"


def test_a_baseline_without_trials_stands_for_nothing(gallery):
    found = evaluation(gallery, np.ones(12))
    assert verdict(found, {"a": beside(found, [np.nan] * 12)}).standing == "alone"
    assert (
        verdict(evaluation(gallery, np.full(12, np.nan)), {"a": beside(found, [0.0] * 12)}).standing
        == "alone"
    )


def test_sentences_say_what_was_found(gallery, monkeypatch):
    plant(
        monkeypatch,
        Planted("peaks", ANSWERS, headline=True, caution="beaks are small."),
        Planted("falls", ANSWERS, better="lower"),
        Planted("linear", ANSWERS, needs=("linear",), baselines=()),
        Planted("boxed", ANSWERS, needs=("pairs of cells",)),
    )
    found = ask(gallery)
    exact, dist = found.sentences["decomposition"], found.sentences["dist-cam"]
    assert exact[0] == (
        "In the headline tests: better than every baseline in 1 of 1 (peaks). "
        "In the other tests: worse than a baseline in 1 of 1 (falls)."
    )
    assert exact[1] == (
        "peaks: planted 0.900 [0.900, 0.900], higher is better; the best baseline, centre, has 0.400: "
        "the map is better than all of them."
    )
    assert (
        "falls: planted 0.900 [0.900, 0.900], lower is better; the best baseline, uniform, has 0.100"
        in exact[2]
    )
    assert any(said.startswith("linear: ") and said.endswith("there is no baseline to it.") for said in exact)
    assert any(
        said.startswith("boxed: ")
        and said.endswith("its baselines were not measured, so this speaks for nothing.")
        for said in exact
    )
    assert dist[0].startswith("In the headline tests: worse than a baseline in 1 of 1 (peaks).")
    assert "Not asked: linear, because maps of this method may not be subtracted." in dist
    assert "peaks: beaks are small." in found.cautions
    assert all(sentence in repr(found) for sentence in (*exact, *dist))


def test_few_trials_are_called_few(gallery, monkeypatch):
    plant(monkeypatch, Planted("peaks", ANSWERS))
    assert ask(gallery, pairs=7).sentences["decomposition"][1].endswith("Only 7 trials.")
    assert "trials" not in ask(gallery, pairs=24).sentences["decomposition"][1]


def test_where_nothing_is_known_it_says_so(gallery, monkeypatch):
    plant(
        monkeypatch,
        Planted("parts", ANSWERS, needs=("parts",), headline=True),
        Planted("kin", ANSWERS, needs=("parts", "kin"), headline=True),
    )
    plain = dv.Gallery.build(
        dv.ImageSet.from_arrays([gallery.image(i) for i in range(12)]), gallery.embedder, progress=False
    )
    found = ask(plain, pairs=4)
    assert found.sentences["decomposition"][0] == (
        "No headline test could be asked, so nothing here tells whether the map is right."
    )
    assert (
        "It cannot be said here how the maps do in parts, kin: no parts of the pictures are known."
        in found.unknown
    )
    assert any("pass them as truth=KnownParts(...)" in sentence for sentence in found.unknown)
    assert not any("KnownParts" in sentence for sentence in ask(gallery).unknown)


def test_a_budget_that_leaves_things_out_says_so(gallery, monkeypatch):
    stop_the_clock(monkeypatch)
    plant(monkeypatch, Planted("quick", ANSWERS), Planted("slow", ANSWERS, seconds=0.2))
    found = ask(gallery, ["decomposition"], budget=3.0)
    assert found.sentences["decomposition"][-1] == "Not asked, for lack of time: slow."
    assert "The budget left out some or all of slow; a larger one asks them." in found.unknown


def test_a_lead_over_some_of_the_baselines_is_open(gallery, monkeypatch):
    plant(monkeypatch, Planted("peaks", ANSWERS, headline=True), Planted("falls", ANSWERS, better="lower"))
    found = ask(gallery).comparison.evaluations
    late = "the budget was spent before its turn"
    cut = [Skipped("peaks", "feature norm", late), Skipped("falls", "random", late)]
    kept = [e for e in found if (e.evaluator.name, e.method) not in {(s.evaluator, s.method) for s in cut}]
    summary, peaks, falls, *_ = said_of("decomposition", kept, cut)
    assert summary == (
        "In the headline tests: better than those baselines that there was time for in 1 of 1 (peaks). "
        "In the other tests: worse than a baseline in 1 of 1 (falls)."
    )
    assert peaks.endswith(
        "higher is better; the best baseline that there was time for, centre, has 0.400, and the map is better. "
        "It is open how the others do: feature norm."
    )
    assert falls.endswith("has 0.100: the map is worse.")


def test_a_method_that_nothing_could_be_asked_about_is_named_with_the_reasons():
    late, apart = "the budget was spent before its turn", "its maps may not be subtracted"
    skipped = [
        Skipped("a", "dist-cam", apart),
        Skipped("b", "dist-cam", late),
        Skipped("c", "dist-cam", late),
    ]
    first, *rest = cannot_be_said([], skipped)
    assert first == f"Nothing could be asked about dist-cam: {apart}; {late}."
    assert rest == ["The budget left out some or all of b, c; a larger one asks them."]


def test_by_default_the_cheap_methods_that_suit(gallery, monkeypatch):
    plant(monkeypatch)
    assert trust(gallery, pairs=2, budget=None, progress=False).comparison.methods == (
        "decomposition",
        "grad-cam",
        "dist-cam",
    )
    unsuited = {"decomposition", "grad-cam"}
    from dataclasses import replace

    from dmlviz.faithfulness import trust as function

    room = sys.modules[function.__module__]
    real = room.method_named
    monkeypatch.setattr(
        room,
        "method_named",
        lambda name: (
            replace(real(name), unsuited=lambda g: "its head is bent") if name in unsuited else real(name)
        ),
    )
    assert room._suited(gallery) == ["integrated-jacobian", "occlusion", "dist-cam"]
    unsuited |= {"integrated-jacobian", "occlusion", "dist-cam"}
    with pytest.raises(
        ValueError, match=r"none of the usual methods suits this gallery \(its head is bent\)"
    ):
        trust(gallery, progress=False)


def test_it_goes_on_from_a_file(gallery, monkeypatch, tmp_path):
    plant(monkeypatch, Planted("peaks", ANSWERS))
    first = ask(gallery, path=tmp_path / "kept")
    (again,) = plant(monkeypatch, Planted("peaks", ANSWERS))
    assert ask(gallery, path=tmp_path / "kept").sentences == first.sentences
    assert again.calls == []


def test_html_is_escaped_and_whole(gallery, monkeypatch):
    plant(monkeypatch, Planted("<i>peaks</i>", ANSWERS, caution="a < b"))
    found = ask(gallery)
    html = found._repr_html_()
    assert "<i>" not in html
    assert "&lt;i&gt;peaks&lt;/i&gt;: planted 0.900" in html
    assert "a &lt; b" in html
    assert found.to_frame().equals(found.comparison.to_frame())
    assert len(found.pairs) == 24


def test_every_evaluator_of_the_real_list_has_words(gallery):
    found = trust(gallery, ["decomposition"], pairs=2, budget=None, progress=False)
    assert found.comparison.found("completeness", "decomposition").headline.value < 1e-6
    assert len(found.sentences["decomposition"]) >= 2
