"""The Explorer's attributes: what they take, what they refuse, what follows from what."""

import threading

import numpy as np
import pytest
from small_gallery import SmallGallery

import dmlviz.widgets.assets as assets
from dmlviz.widgets import Explorer


@pytest.fixture
def explorer(small):
    return Explorer(small, query=3, k=5)


def test_it_starts_with_the_worst_miss():
    gallery = SmallGallery(seed=1, classes=4, offset=0.3)
    gallery.labels = gallery.labels[np.random.default_rng(0).permutation(len(gallery))]  # now some are missed
    worst = int(gallery.failures()["query"].iloc[0])
    explorer = Explorer(gallery)
    assert explorer.query == worst
    assert explorer._gallery["start"] == "misses"
    assert explorer._audit["ids"][0] == worst
    assert explorer._audit["margins"] == sorted(explorer._audit["margins"], reverse=True)


def test_it_starts_with_the_first_image_where_nothing_is_missed_or_labelled():
    assert Explorer(SmallGallery(labels=False)).query == 0


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("query", 24, IndexError, "query must be an id of the gallery, from 0 to 23; got 24"),
        ("query", -1, IndexError, "from 0 to 23; got -1"),
        ("query", 1.5, TypeError, "query must be a whole number; got 1.5"),
        ("query", True, TypeError, "query must be a whole number"),
        ("query", None, TypeError, "query must be a whole number"),
        ("k", 0, ValueError, "k must be at least 1; got 0"),
        ("focus", 6, ValueError, r"focus is a rank, from 1 \(best\) to 5; got 6"),
        ("focus", 0, ValueError, "focus is a rank"),
        ("mode", "all", ValueError, "mode must be one of 'overall', 'point', 'margin'; got 'all'"),
        ("reading", "cosine", ValueError, "reading must be one of 'contribution', 'likeness'"),
        ("scale", "row", ValueError, "scale must be one of 'pair', 'ranking'"),
        ("method", "magic", ValueError, "method must be one of 'decomposition'"),
        ("compare", "magic", ValueError, "method must be one of 'decomposition'"),
        ("compare", "decomposition", ValueError, "compare must be another method than the Explorer's own"),
        ("theme", "blue", ValueError, "theme must be one of"),
        ("opacity", 1.2, ValueError, "opacity must lie between 0 and 1; got 1.2"),
        ("opacity", float("nan"), ValueError, "opacity must lie between 0 and 1"),
        ("opacity", "full", TypeError, "opacity must be a number"),
        ("pin", ["query", 3], ValueError, "pin must be None or"),
        ("pin", ["left", 3, 4], ValueError, "the pin's side must be one of 'query', 'match'"),
        ("pin", ["query", 48, 4], ValueError, "the pin's row must lie between -0.5 and 47.5; got 48"),
        ("region", ["match", 1, 1, 5, 5], ValueError, "the region's side must be one of 'query'"),
        ("region", ["query", 1, 1, 5, 99], ValueError, "the region's right must lie between -0.5 and 63.5"),
        ("region", ["query", 9, 1, 5, 5], ValueError, "must not lie before its top and left"),
        ("region", 5, ValueError, "region must be None or"),
        ("ranked_by", "region", ValueError, "needs a region of the query"),
        ("ranked_by", "colour", ValueError, "ranked_by must be one of"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(explorer, name, value, error, words):
    before, screen = getattr(explorer, name), explorer._screen
    with pytest.raises(error, match=words):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    assert explorer._screen is screen


def test_unknown_options_and_things_that_are_no_gallery():
    with pytest.raises(TypeError, match="Explorer has no option 'colour'; it takes query, k, focus"):
        Explorer(SmallGallery(), colour="red")
    with pytest.raises(
        TypeError, match=r"Explorer looks at a Gallery; got list. Make one with dmlviz.Gallery.build"
    ):
        Explorer([1, 2])
    with pytest.raises(IndexError, match="from 0 to 23"):
        Explorer(SmallGallery(), query=99)


def test_options_are_taken_at_the_start(small):
    options = {
        "focus": 3,
        "mode": "point",
        "region": ["query", 5, 5, 20, 20],
        "ranked_by": "region",
        "theme": "dark",
    }
    explorer = Explorer(small, query=2, k=4, **options)
    assert (explorer.focus, explorer.mode, explorer.theme) == (3, "point", "dark")
    assert explorer.ranking.ranked_by == "region"


def test_integers_of_numpy_are_taken(explorer):
    explorer.query = np.int64(7)
    assert explorer.query == 7
    assert type(explorer.query) is int


def test_a_new_query_begins_anew(explorer, small):
    explorer.focus, explorer.pin, explorer.region = 3, ["match", 10, 20.5], ["query", 5, 5, 20, 20]
    explorer.ranked_by = "region"
    explorer.mode, explorer.reading = "point", "likeness"
    explorer.query = 9
    assert (explorer.focus, explorer.pin, explorer.region, explorer.ranked_by) == (
        1,
        None,
        None,
        "similarity",
    )
    assert (explorer.mode, explorer.reading) == ("point", "likeness")
    np.testing.assert_array_equal(explorer.ranking.ids, small.search(9, k=5).ids)
    assert explorer._screen["meta"]["query"] == 9


def test_why_is_the_focused_match(explorer, small):
    explorer.focus = 4
    assert explorer.why.similarity == pytest.approx(float(explorer.ranking.similarities[3]), abs=1e-7)
    assert explorer.why.adds_up


def test_k_changes_the_length_of_the_ranking(explorer):
    explorer.focus = 5
    explorer.k = 2
    assert (len(explorer.ranking), explorer.focus) == (2, 1)
    explorer.k = 1000
    assert len(explorer.ranking) == 23  # all but the query


def test_a_region_ranks_and_another_region_ranks_again(explorer, small):
    explorer.region = ["query", 0, 0, 30, 30]
    assert explorer.ranking.ranked_by == "similarity"
    explorer.ranked_by = "region"
    mask = np.zeros((6, 8), bool)
    mask[:4, :4] = True  # centres 3.5, 11.5, 19.5, 27.5
    np.testing.assert_array_equal(explorer.ranking.ids, small.search_region(3, mask, k=5).ids)
    item = explorer._screen["meta"]["items"][0]
    assert item["region"] == pytest.approx(float(explorer.why.overall_map("query")[mask].sum()), abs=1e-5)
    first = list(explorer.ranking.ids), list(explorer.ranking.similarities)
    explorer.region = ["query", 20, 30, 47, 63]
    assert (list(explorer.ranking.ids), list(explorer.ranking.similarities)) != first
    explorer.region = None
    assert (explorer.ranked_by, explorer.ranking.ranked_by) == ("similarity", "similarity")


def test_a_region_between_the_centres_takes_the_nearest_cell(explorer):
    explorer.region = ["query", 20.5, 21, 22.5, 23]
    explorer.ranked_by = "region"
    nearest = explorer.why.overall_map("query")[2, 2]
    assert explorer._screen["meta"]["items"][0]["region"] == pytest.approx(float(nearest), abs=1e-6)


def test_observers_hear_of_changes(explorer):
    heard = []
    explorer.observe(
        lambda change: heard.append((change.name, change.old, change.new)), names=["query", "focus"]
    )
    explorer.focus = 2
    explorer.query = 5
    assert heard[0] == ("focus", 1, 2)
    assert sorted(heard[1:]) == [("focus", 2, 1), ("query", 3, 5)]


def test_a_query_change_is_one_message(explorer):
    sent = []
    explorer._send = lambda message, buffers=None: sent.append(message)
    explorer.set_state({"query": 6})
    updates = [message for message in sent if message.get("method") == "update"]
    assert len(updates) == 1
    assert "meta" in updates[0]["state"]["_screen"]


def test_a_refused_value_from_the_page_is_told_there_and_taken_back(explorer):
    sent = []
    explorer._send = lambda message, buffers=None: sent.append(message)
    explorer.set_state({"query": 400})
    assert explorer.query == 3
    assert "IndexError: query must be an id of the gallery" in explorer._error["text"]
    assert any(message.get("state", {}).get("query") == 3 for message in sent)
    explorer.set_state({"focus": 2})
    assert explorer._error["text"] == ""


def test_a_search_that_fails_leaves_everything_as_it_was(explorer, small):
    def fails(*args, **kwargs):
        raise RuntimeError("the disk is gone")

    screen, small.search = explorer._screen, fails
    with pytest.raises(RuntimeError, match="the disk is gone"):
        explorer.query = 8
    assert explorer.query == 3
    assert explorer._screen is screen


def test_several_threads_may_ask_at_once(explorer):
    problems = []

    def ask(start):
        try:
            for query in range(start, start + 6):
                explorer.query = query
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 6, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert explorer._screen["meta"]["query"] == explorer.ranking.query


def test_margin_needs_labels():
    explorer = Explorer(SmallGallery(labels=False))
    with pytest.raises(ValueError, match="this gallery has no labels"):
        explorer.mode = "margin"
    assert explorer._screen["meta"]["labelled"] is False
    assert "no labels" in explorer._screen["meta"]["whyNoMargin"]


def test_one_plotly_for_all(small):
    one, two = Explorer(small), Explorer(small)
    assert one._plotly is two._plotly
    assert len(one._esm) < 150_000


def test_a_page_that_was_not_built_is_said(small, monkeypatch, tmp_path):
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    assets.built.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"the Explorer's page is not built.*npm run build"):
            Explorer(small)
    finally:
        assets.built.cache_clear()


def test_a_saved_notebook_keeps_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith('<img alt="query 3; 1: ')
    assert 2_000 < len(data["text/html"]) < 140_000
    assert data["text/plain"] == "Explorer(query=3, rank 1 of 5, 24 images)"


def test_the_audit_of_a_large_gallery_waits_to_be_asked(small, monkeypatch):
    monkeypatch.setattr("dmlviz.widgets.picker.MOST_PRODUCTS", 1)
    explorer = Explorer(small)
    assert explorer._audit is None
    explorer._handle_custom_msg({"kind": "audit"}, [])
    assert explorer._audit is not None


def test_the_page_can_ask_for_itself_as_a_file(explorer):
    sent = []
    explorer.send = lambda content, buffers=None: sent.append((content, buffers))
    explorer._handle_custom_msg({"kind": "save"}, [])
    assert sent[0][0] == {"kind": "page", "name": "query-3.html"}
    assert sent[0][1][0].startswith(b"<!doctype html>")


def test_nonsense_from_the_page_is_ignored(explorer):
    for content in (None, "audit", {"kind": "format"}, {}):
        explorer._handle_custom_msg(content, [])
    assert explorer._error["text"] == ""
