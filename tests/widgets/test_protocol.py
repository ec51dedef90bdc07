"""How good the ranking is: a protocol's figures, the values of queries, and what the index may miss."""

import threading

import numpy as np
import pytest
from small_gallery import SmallGallery
from test_page import unpacked

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.retrieval import Gallery
from dmlviz.widgets import Explorer
from dmlviz.widgets import explorer as explorer_module
from dmlviz.widgets.judged import OWN_TITLE, UNLABELLED, rough_scores
from dmlviz.widgets.page import NOT_JUDGED


@pytest.fixture(scope="module")
def flat():
    return dv.Gallery.build(dv.birds(families=2, per_class=3), birds_embedder(), progress=False)


def of_kind(gallery, kind, images=None):
    return Gallery(images or gallery.images, gallery.embedder, gallery.embeddings, "cosine", kind=kind)


@pytest.fixture(scope="module")
def coded(flat):
    return of_kind(flat, "sq8")


def labelled(gallery, names):
    images = dv.ImageSet.from_arrays([gallery.images[i] for i in range(len(gallery))], labels=list(names))
    return of_kind(gallery, "flat", images)


@pytest.fixture
def short(flat):
    """The gallery with some labels changed, so that its queries find less."""
    names = flat.images.labels.copy()
    names[::5] = names[0]
    return labelled(flat, names)


def figures(told):
    return {each["name"]: each["value"] for each in told["figures"]}


def test_the_gallery_s_own_measure_is_there_at_once(short):
    explorer, found = Explorer(short, query=1, k=3), short.evaluate()
    told = explorer._protocol["judgement"]
    assert explorer.protocol is None
    assert figures(told) == {
        **{f"recall@{k}": value for k, value in found.recall.items()},
        "precision@1": found.precision_at_1,
        "R-precision": found.r_precision,
        "mAP@R": found.map_at_r,
    }
    assert 0 < found.map_at_r < 1
    assert (told["name"], told["title"]) == ("", OWN_TITLE)
    assert (told["valid"], told["dropped"], told["tied"]) == (len(short), 0, None)
    assert told["values"] == found.average_precision_at_r_per_query.tolist()
    assert told["sort"] == {"name": "average precision@R", "highIsWorse": False}
    assert told["definition"].startswith("Every image asks, and is itself left out by its id.")
    assert explorer._protocol["queries"] == len(short)


@pytest.mark.parametrize("name", ["map", "cub", "clustering"])
def test_a_protocol_s_figures_are_its_own(short, name):
    explorer, found = Explorer(short, query=1, k=3, protocol=name), short.evaluate(protocol=name)
    told = explorer._protocol["judgement"]
    assert figures(told) == dict(found.values)
    assert list(figures(told)) == list(found.values)
    assert (told["name"], told["definition"]) == (name, found.definition)
    assert (told["valid"], told["dropped"], told["tied"]) == (found.valid, found.dropped, found.tied)
    column = {"map": "average_precision", "cub": "first_hit_rank", "clustering": "f1"}[name]
    assert told["values"] == short.per_query(protocol=name)[column].tolist()
    assert told["sort"]["highIsWorse"] is (name == "cub")
    worst = [
        q for q, _ in sorted(enumerate(told["values"]), key=lambda at: at[1] if name != "cub" else -at[1])
    ]
    failures = short.failures(protocol=name)["query"].tolist()
    assert worst[: len(failures)] == failures
    edges, counts = told["spread"]["edges"], told["spread"]["counts"]
    assert sum(counts) == found.valid
    assert edges[0] <= min(told["values"])
    assert max(told["values"]) <= edges[-1]
    inside = [v for v in told["values"] if edges[-2] <= v <= edges[-1]]
    assert counts[-1] == len(inside)


@pytest.mark.parametrize("protocol", [None, "map"])
def test_queries_that_were_not_evaluated_have_no_value(flat, protocol):
    names = flat.images.labels.copy()
    names[[3, 7]] = ["alone", "alone, too"]
    told = Explorer(labelled(flat, names), query=1, k=3, protocol=protocol)._protocol["judgement"]
    assert (told["valid"], told["dropped"]) == (len(flat) - 2, 2)
    assert [q for q, value in enumerate(told["values"]) if value is None] == [3, 7]


def test_what_evaluate_returned_will_do_and_none_goes_back(short):
    explorer = Explorer(short, query=1, k=3)
    own = explorer._protocol
    explorer.protocol = found = short.evaluate(protocol="map@k", recall_at=(5,))
    assert figures(explorer._protocol["judgement"]) == dict(found.values)
    assert explorer.protocol is found
    explorer.protocol = short.evaluate(recall_at=(3,))
    assert "recall@3" in figures(explorer._protocol["judgement"])
    explorer.protocol = None
    assert explorer._protocol == own


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (0.8, TypeError, "protocol takes the name of one.*what gallery.evaluate returns; got float"),
        ("mAP", ValueError, "protocol must be one of 'cub'.*got 'mAP'"),
        ("market1501", ValueError, "camera"),
        ("roxford-easy", TypeError, r"needs judgements=.*The Explorer takes what that returns, too"),
    ],
)
def test_what_is_no_protocol_is_refused_and_changes_nothing(short, given, error, words):
    explorer = Explorer(short, query=1, k=3, protocol="map")
    before = explorer.protocol
    with pytest.raises(error, match=words):
        explorer.protocol = given
    assert explorer.protocol is before
    assert explorer._protocol["judgement"]["name"] == "map"


def test_another_gallery_s_figures_are_refused(short):
    explorer = Explorer(SmallGallery(count=8), query=1, k=3)
    with pytest.raises(
        ValueError, match=f"another gallery: it judges query {len(short) - 1}, and this one has 8"
    ):
        explorer.protocol = short.evaluate(protocol="map")


def test_without_labels_or_anything_to_find_the_reason_is_said(flat):
    told = Explorer(SmallGallery(labels=False), k=3)._protocol
    assert (told["judgement"], told["reason"]) == (None, UNLABELLED)
    told = Explorer(labelled(flat, [f"class {i}" for i in range(len(flat))]), query=1, k=3)._protocol
    assert told["judgement"] is None
    assert "there is nothing to find" in told["reason"]


# ---- measuring


def wish(explorer, what):
    explorer._handle_custom_msg({"kind": "judge", "what": what}, [])


def test_a_large_gallery_is_judged_when_the_page_asks(short, monkeypatch):
    monkeypatch.setattr(explorer_module, "audit_is_quick", lambda gallery: False)
    explorer = Explorer(short, query=1, k=3)
    assert explorer._protocol == {"judgement": None, "queries": len(short), "reason": ""}
    assert explorer._audit is None
    go, threads, judged = threading.Event(), [], short.evaluate

    def slow(*args):
        if threading.current_thread().name == "dmlviz-measuring":
            threads.append(threading.current_thread().name)
            assert go.wait(10)
        return judged(*args)

    monkeypatch.setattr(short, "evaluate", slow)
    wish(explorer, "figures")
    wish(explorer, "figures")
    explorer.query = 5  # searches go on
    assert explorer._judging == {"waiting": ["figures"], "failed": {}}
    go.set()
    assert explorer._judge.finished(10)
    assert figures(explorer._protocol["judgement"])["mAP@R"] == judged().map_at_r
    assert len(explorer._audit["ids"]) == len(short.failures())
    assert explorer._judging == {"waiting": [], "failed": {}}
    assert set(threads) == {"dmlviz-measuring"}


def test_the_misses_bring_the_figures_along(short, monkeypatch):
    monkeypatch.setattr(explorer_module, "audit_is_quick", lambda gallery: False)
    explorer = Explorer(short, query=1, k=3)
    explorer._handle_custom_msg({"kind": "audit"}, [])
    assert figures(explorer._protocol["judgement"])["R-precision"] == short.evaluate().r_precision


def test_recall_is_measured_when_the_page_asks(coded, monkeypatch):
    explorer = Explorer(coded, query=1, k=3)
    assert explorer._index == {"kind": "sq8", "exact": False, "reason": "", "recall": None}
    wish(explorer, "recall")
    assert explorer._judge.finished(20)
    found, told = coded.recall(), explorer._index["recall"]
    assert (told["value"], told["low"], told["high"]) == (found.recall, found.low, found.high)
    assert (told["queries"], told["k"], told["text"]) == (found.queries, found.k, str(found))
    monkeypatch.setattr(coded, "recall", lambda: (_ for _ in ()).throw(RuntimeError("the disk is gone")))
    wish(explorer, "recall")
    assert explorer._judge.finished(20)
    assert explorer._judging["failed"] == {"recall": "RuntimeError: the disk is gone"}
    assert explorer._index["recall"] == told


@pytest.mark.parametrize("odd", ["magic", None, 3])
def test_only_figures_and_recall_can_be_asked_for(short, odd):
    explorer = Explorer(short, query=1, k=3)
    wish(explorer, odd)
    assert "what must be one of 'figures', 'recall'" in explorer._error["text"]
    assert explorer._judging["waiting"] == []


def test_why_the_kind_was_chosen_is_said(flat):
    chosen = of_kind(flat, "auto")
    told = Explorer(chosen, query=1, k=3)._index
    assert told["exact"]
    assert told["reason"] == chosen.index.reason
    assert "exactly" in told["reason"]


# ---- the index's own codes


def test_what_codes_say_is_the_score_and_their_gap(coded, flat):
    ids = [1, 4, 7, 11]
    said, scores = rough_scores(coded, 2, ids), coded.score(2, ids)
    gaps = coded.quantised_gap(2, ids)
    np.testing.assert_allclose(np.array(said) - scores, gaps, atol=1e-12)
    assert np.abs(gaps).max() > 1e-5
    rows = Explorer(coded, query=2, k=4)._screen["meta"]["items"]
    assert [each["rough"] for each in rows] == rough_scores(coded, 2, [each["id"] for each in rows])
    assert all(each["rough"] is None for each in Explorer(flat, query=2, k=4)._screen["meta"]["items"])


def test_a_kind_that_keeps_its_rows_or_cannot_be_read_says_nothing(flat, coded, monkeypatch):
    assert rough_scores(of_kind(flat, "hnsw"), 2, [1, 4]) == [None, None]

    def unread(*_):
        raise ValueError("an index of kind 'sq8' cannot read its codes back")

    monkeypatch.setattr(coded, "quantised_gap", unread)
    assert rough_scores(coded, 2, [1, 4]) == [None, None]


# ---- the page


def test_the_page_carries_figures_values_and_recall(coded, tmp_path):
    explorer = Explorer(coded, query=1, k=3, protocol="map")
    wish(explorer, "recall")
    assert explorer._judge.finished(20)
    traits = unpacked(explorer.to_html(tmp_path / "a.html", queries=[7, 1]).read_text("utf-8"))[0]["traits"]
    told, whole = traits["_protocol"]["judgement"], explorer._protocol["judgement"]
    assert told == {**whole, "values": [whole["values"][7], whole["values"][1]]}
    assert traits["_protocol"]["queries"] == len(coded)
    assert traits["_index"] == explorer._index
    assert traits["_judging"] == {"waiting": [], "failed": {}}


def test_a_page_without_figures_says_why(short, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "audit_is_quick", lambda gallery: False)
    page = Explorer(short, query=1, k=3).to_html(tmp_path / "a.html")
    assert unpacked(page.read_text("utf-8"))[0]["traits"]["_protocol"]["reason"] == NOT_JUDGED
    page = Explorer(SmallGallery(labels=False), query=1, k=3).to_html(tmp_path / "b.html")
    assert unpacked(page.read_text("utf-8"))[0]["traits"]["_protocol"]["reason"] == UNLABELLED
