"""Methods of explanation in the Explorer: which are offered, when they are asked, what goes to the page."""

import numpy as np
import pytest
from planted import failing, method, one_sided, plant
from small_gallery import SmallGallery
from test_page import unpacked

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation import decompose_similarity
from dmlviz.widgets import Explorer
from dmlviz.widgets.likeness import product_scale
from dmlviz.widgets.page import NOT_CARRIED

REASON = "it needs a classifier, and this network has none"


class Counted:
    """of_ranking that remembers what it was asked."""

    def __init__(self, **options):
        self.asked, self._of_ranking = [], one_sided(**options)

    def __call__(self, gallery, query, ids):
        self.asked.append((query, list(ids)))
        return self._of_ranking(gallery, query, ids)


@pytest.fixture
def counted(monkeypatch):
    """An Explorer beside planted methods; `counted.sided.asked` tells what was explained."""
    sided, linear = Counted(seconds=0.03), Counted(seconds=0.03, left=0.0, promises=True)
    plant(
        monkeypatch,
        method("sided", sided),
        method("linear", linear, linear=True),
        method("classifier", unsuited=lambda gallery: REASON),
        method("failing", failing),
    )
    explorer = Explorer(SmallGallery(offset=0.0), query=3, k=4)
    explorer.sided, explorer.linear = sided, linear
    return explorer


def wish(explorer, name, items, **other):
    content = {"kind": "explain", "query": explorer.query, "method": name, "items": items, "margins": False}
    explorer._handle_custom_msg({**content, **other}, [])
    return explorer._more


def floats(message, ref):
    return np.frombuffer(message["data"], "<f4", count=ref["n"], offset=ref["o"])


def test_the_page_is_told_of_every_method(counted):
    offered = {each["name"]: each for each in counted._gallery["methods"]}
    assert list(offered) == ["decomposition", "sided", "linear", "classifier", "failing"]
    assert offered["classifier"]["reason"] == REASON
    assert offered["sided"]["reason"] == ""
    assert (offered["decomposition"]["pairwise"], offered["sided"]["pairwise"]) == (True, False)
    assert offered["sided"]["cost"].startswith("1 forward and 1 backward")


def test_methods_that_do_not_suit_are_refused_in_words(counted):
    for name in ("method", "compare"):
        with pytest.raises(
            ValueError, match=f"'classifier' does not suit this gallery: {REASON}. Those that suit"
        ):
            setattr(counted, name, "classifier")
        with pytest.raises(ValueError, match="method must be one of 'decomposition', 'sided', 'linear'"):
            setattr(counted, name, "sided ")
    with pytest.raises(ValueError, match="compare must be another method than the Explorer's own"):
        counted.compare = "decomposition"
    assert (counted.method, counted.compare) == ("decomposition", None)


def test_a_method_that_cannot_say_whether_it_suits_spoils_nothing(monkeypatch):
    def unsuited(gallery):
        raise AttributeError("no trunk")

    plant(monkeypatch, method("odd", unsuited=unsuited))
    explorer = Explorer(SmallGallery())
    assert explorer._gallery["methods"][1]["reason"] == (
        "it could not say whether it suits: AttributeError: no trunk"
    )
    assert explorer.why.adds_up


def test_the_two_methods_change_places(counted):
    counted.compare = "sided"
    counted.method = "sided"
    assert (counted.method, counted.compare) == ("sided", "decomposition")
    counted.set_state({"method": "decomposition", "compare": "sided"})  # as the page does it
    assert (counted.method, counted.compare) == ("decomposition", "sided")
    assert counted._error["text"] == ""


def test_a_slow_method_waits_to_be_asked(counted):
    counted.method = "sided"
    counted.query = 5
    assert counted.sided.asked == []
    assert counted._screen["meta"]["whys"] == {"sided": []}
    ids = [int(i) for i in counted.ranking.ids]
    counted.focus = 2
    assert counted.why.similarity == pytest.approx(float(counted.ranking.similarities[1]), abs=1e-6)
    assert counted.sided.asked == [(5, [ids[1]])]
    assert counted.why is counted.why
    assert len(counted.sided.asked) == 1


def test_the_first_of_a_wish_always_comes_and_the_others_in_time(counted, monkeypatch):
    monkeypatch.setattr("dmlviz.widgets.explorer._AT_A_TIME", 0.05)
    more = wish(counted, "sided", [2, 0, 1, 3])
    done = [why["n"] for why in more["meta"]["whys"]]
    assert done[0] == 2
    assert len(done) < 4
    assert 0.02 < more["meta"]["seconds"] < 1
    ids = [int(i) for i in counted.ranking.ids]
    assert [asked[1][0] for asked in counted.sided.asked] == [ids[n] for n in done]
    monkeypatch.setattr("dmlviz.widgets.explorer._AT_A_TIME", 60)
    more = wish(counted, "sided", [2, 0, 1, 3])
    assert [why["n"] for why in more["meta"]["whys"]] == [2, 0, 1, 3]
    assert len(counted.sided.asked) == 4  # none twice


def test_a_method_found_to_be_quick_comes_with_the_screen(monkeypatch):
    quick = Counted()
    plant(monkeypatch, method("quick", quick))
    explorer = Explorer(SmallGallery(), query=1, k=3, method="quick")
    assert explorer._screen["meta"]["whys"] == {"quick": []}
    explorer._paces.measured("quick", 0.0)
    explorer.query = 2
    assert sorted(why["n"] for why in explorer._screen["meta"]["whys"]["quick"]) == [0, 1, 2]
    assert len(quick.asked) == 1


def test_what_is_packed_of_one_sided_maps(monkeypatch):
    note = "made for the test"
    plant(monkeypatch, method("query-only", one_sided(sides=("query",), note=note)))
    explorer = Explorer(SmallGallery(), query=1, k=3, method="query-only")
    more = wish(explorer, "query-only", [0])
    (why,) = more["meta"]["whys"]
    np.testing.assert_array_equal(floats(more, why["query"]["map"]), explorer.why.query_map.reshape(-1))
    assert why["match"] is None
    assert (why["pairs"], why["pairwise"], why["promises"], why["note"]) == (None, False, False, note)
    assert why["query"]["gram"] is None
    numbers = why["numbers"]
    assert numbers["pairs"] == 0
    assert numbers["for"] + numbers["against"] == pytest.approx(numbers["total"], abs=1e-5)
    assert numbers["residual"] == pytest.approx(numbers["total"] - numbers["similarity"])


def test_margins_of_linear_methods_come_when_wished(counted):
    (why,) = wish(counted, "sided", [0], margins=True)["meta"]["whys"]
    assert why["margin"] is None
    more = wish(counted, "linear", [0], margins=True)
    (why,) = more["meta"]["whys"]
    explained, finding = counted._explained, counted._explained.finding
    mine, its = explained.why("linear", 0), explained.why("linear", finding.others[0])
    expected = mine.overall_map("query") - its.overall_map("query")
    np.testing.assert_array_equal(floats(more, why["margin"]["map"]), expected.reshape(-1))
    assert why["margin"]["margin"] == pytest.approx(
        finding.scores[0] - finding.scores[finding.others[0]], abs=1e-6
    )
    assert why["margin"]["addsUp"] is True


def test_a_failure_is_said_and_a_stale_or_odd_wish_is_not_heard(counted):
    more = wish(counted, "failing", [1, 0])
    assert more["meta"]["failed"] == "RuntimeError: the gradient is gone"
    assert more["meta"]["item"] == 1
    for odd in (
        {"query": 4},
        {"items": []},
        {"items": [99, -1, "a", None]},
    ):
        wish(counted, **{"name": "sided", "items": [0], **odd})
        assert counted._more is more
    assert counted.sided.asked == []
    wish(counted, "classifier", [0])
    assert "does not suit this gallery" in counted._error["text"]


def test_the_page_carries_the_methods_asked_for(counted, tmp_path):
    path = counted.to_html(tmp_path / "a.html", queries=[3, 5], methods=["decomposition", "sided"])
    payload, data = unpacked(path.read_text("utf-8"))
    reasons = {each["name"]: each["reason"] for each in payload["traits"]["_gallery"]["methods"]}
    assert reasons == {
        "decomposition": "",
        "sided": "",
        "linear": NOT_CARRIED,
        "classifier": REASON,
        "failing": NOT_CARRIED,
    }
    for screen in payload["screens"].values():
        assert {name: len(whys) for name, whys in screen["whys"].items()} == {"decomposition": 4, "sided": 4}
    why = payload["screens"]["3"]["whys"]["sided"][1]
    stored = np.frombuffer(data, "<f4", count=why["match"]["map"]["n"], offset=why["match"]["map"]["o"])
    np.testing.assert_array_equal(stored, counted._explained.why("sided", 1).gallery_map.reshape(-1))
    assert len(counted._gallery["methods"][2]["reason"]) == 0  # the live page still offers all


def test_the_page_opens_with_what_it_carries(counted, tmp_path):
    counted.compare = "sided"
    traits = unpacked(counted.to_html(tmp_path / "a.html").read_text("utf-8"))[0]["traits"]
    assert (traits["method"], traits["compare"]) == ("decomposition", "sided")
    page = counted.to_html(tmp_path / "b.html", methods=["linear"])
    traits = unpacked(page.read_text("utf-8"))[0]["traits"]
    assert (traits["method"], traits["compare"]) == ("linear", None)


def test_saving_from_the_page_takes_slow_methods_as_far_as_they_came(counted):
    counted.method = "sided"
    wish(counted, "sided", [0])
    asked = len(counted.sided.asked)
    sent = []
    counted.send = lambda content, buffers=None: sent.append(buffers[0])
    counted._handle_custom_msg({"kind": "save"}, [])
    whys = unpacked(bytes(sent[0]).decode("utf-8"))[0]["screens"]["3"]["whys"]
    assert next(why["n"] for why in whys["sided"]) == 0
    assert len(counted.sided.asked) == asked


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (["magic"], "method must be one of"),
        (["classifier"], "does not suit this gallery"),
        ([], "methods is empty"),
        ("sided", r"methods must be a list of names; got the text 'sided', write \['sided'\]"),
    ],
)
def test_methods_that_a_page_cannot_carry(counted, tmp_path, methods, words):
    with pytest.raises(ValueError, match=words):
        counted.to_html(tmp_path / "a.html", methods=methods)
    assert list(tmp_path.iterdir()) == []


def test_pairs_are_products_or_are_not():
    rng = np.random.default_rng(0)
    sides = [LocalEmbeddings(rng.normal(size=(3, 4, 5)), rng.normal(size=5)) for _ in range(2)]
    why = decompose_similarity(*sides)
    scale = 1 / float(np.linalg.norm(sides[0].embedding) * np.linalg.norm(sides[1].embedding))
    assert product_scale(why) == pytest.approx(scale, rel=1e-6)
    assert product_scale(decompose_similarity(*sides, similarity="dot")) == pytest.approx(1, rel=1e-6)
    from dataclasses import replace

    assert product_scale(replace(why, contributions=np.maximum(why.contributions, 0))) is None
    assert product_scale(replace(why, query_local=None)) is None
    assert product_scale(replace(why, contributions=None)) is None


def test_queries_of_their_own_have_their_own_pictures(tmp_path):
    seen = SmallGallery(
        count=10, view=(16, 48), grid=(2, 6), names=[f"ground/{i}" for i in range(10)], seed=1
    )
    gallery = SmallGallery(count=14, view=(32, 32), grid=(4, 4), queries=seen)
    seen.embedder.geometry = None
    explorer = Explorer(gallery, query=9, k=3)
    meta = explorer._screen["meta"]
    assert meta["queryPicture"] == "q9"
    assert meta["pictures"]["q9"]["name"] == "ground/9"
    assert meta["pictures"]["q9"]["view"] == [16, 48]
    assert {picture["view"][0] for key, picture in meta["pictures"].items() if key[0] == "g"} == {32}
    field = meta["whys"]["decomposition"][0]
    assert (field["query"]["grid"], field["match"]["grid"]) == ([2, 6], [4, 4])
    assert explorer._gallery["names"] == list(seen.images.names)
    assert explorer._gallery["follow"] is False
    with pytest.raises(IndexError, match="an id of the gallery's queries, from 0 to 9; got 10"):
        explorer.query = 10
    explorer.pin = ["query", 15, 47]
    with pytest.raises(ValueError, match=r"the pin's row must lie between -0\.5 and 15\.5"):
        explorer.pin = ["query", 20, 20]
    explorer.pin = ["match", 20, 20]
    explorer.region = ["query", 0, 0, 15, 20]
    explorer.ranked_by = "region"
    assert explorer.ranking.ranked_by == "region"
    payload, _ = unpacked(explorer.to_html(tmp_path / "a.html", queries=[9, 2]).read_text("utf-8"))
    assert {"q9", "q2"} <= set(payload["pictures"])
    assert explorer._repr_mimebundle_()[0]["text/html"].startswith('<img alt="query 9; 1: ')
