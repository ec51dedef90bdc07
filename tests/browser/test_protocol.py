"""How good the ranking is, on the page: the figures are Python's, the picker sorts by them, the page measures."""

import pytest
from small_gallery import SmallGallery

import dmlviz as dv
from dmlviz.embedder import birds_embedder
from dmlviz.retrieval import Gallery
from dmlviz.widgets import Explorer
from dmlviz.widgets.judged import UNLABELLED

from .conftest import Watched, settle
from .live_page import show

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.hurt=1">'


@pytest.fixture(scope="module")
def flat():
    built = dv.Gallery.build(dv.birds(families=2, per_class=3), birds_embedder(), progress=False)
    names = built.images.labels.copy()
    names[::5] = names[0]  # so that queries find less
    images = dv.ImageSet.from_arrays([built.images[i] for i in range(len(built))], labels=names.tolist())
    return Gallery(images, built.embedder, built.embeddings, "cosine")


@pytest.fixture(scope="module")
def coded(flat):
    return Gallery(flat.images, flat.embedder, flat.embeddings, "cosine", kind="sq8")


@pytest.fixture(scope="module")
def found(coded):
    return coded.evaluate(protocol="map@k", recall_at=(1, 5))


@pytest.fixture(scope="module")
def explorer(coded, found):
    made = Explorer(coded, query=1, k=4, protocol=found)
    made._judge.ask("recall")
    assert made._judge.finished(30)
    return made


@pytest.fixture(scope="module")
def exported(explorer, tmp_path_factory):
    return explorer.to_html(tmp_path_factory.mktemp("protocol") / "how.html", queries=range(8))


def opened_panel(page):
    page.get_by_test_id("protocol").click()
    settle(page)
    return page.get_by_test_id("protocol-panel")


def values_of(found):
    return dict(zip(found.query_ids.tolist(), found.per_query["average_precision"].tolist(), strict=True))


def test_the_figures_are_python_s(open_page, exported, explorer, found):
    opened = open_page(exported)
    panel = opened_panel(opened.page)
    shown = panel.get_by_test_id("protocol-figure").all()
    assert [each.get_attribute("data-name") for each in shown] == list(found.values)
    for row, value in zip(shown, found.values.values(), strict=True):
        assert float(row.get_attribute("data-value")) == value
        assert row.locator("b").inner_text() == f"{value:.3f}"
        scale, bar = row.locator(".scale").bounding_box(), row.locator(".scale i").bounding_box()
        assert bar["width"] == pytest.approx(value * scale["width"], abs=0.6)
    text = panel.inner_text()
    assert "map@k \u00b7 mean average precision of the first k" in text
    assert found.definition in panel.get_by_test_id("protocol-definition").inner_text()
    assert f"All {found.valid} queries were evaluated. None is tied." in text
    assert panel.get_by_test_id("recall").inner_text() == str(explorer.gallery.recall())
    assert "An approximate index, sq8" in panel.get_by_test_id("index-recall").inner_text()
    assert opened.errors == []
    assert len(opened.requests) == 1


def test_each_query_has_its_value_and_its_place(open_page, exported, found):
    page = open_page(exported).page
    panel, value = opened_panel(page), page.get_by_test_id("query-value")
    assert float(value.get_attribute("data-value")) == values_of(found)[1]
    bars = panel.locator(".bars i").all()
    assert len(bars) == 20
    assert sum(int(bar.get_attribute("title").split(": ")[1].split()[0]) for bar in bars) == found.valid
    page.keyboard.press("]")
    settle(page)
    query = int(page.locator("h2").inner_text().split()[1])
    assert query != 1
    assert float(value.get_attribute("data-value")) == values_of(found)[query]
    at = min(19, int(values_of(found)[query] * 20 + 1e-9))
    assert ["mine" in (bar.get_attribute("class") or "") for bar in bars].index(True) == at


def test_the_picker_goes_through_them_worst_first(open_page, exported, coded, found):
    page = open_page(exported).page
    values = values_of(found)
    short = sorted((q for q in range(8) if values[q] < 1), key=lambda q: (values[q], q))
    assert 1 < len(short) < 8
    assert page.get_by_test_id("short").inner_text() == f"short of 1 \u00b7 {len(short)}"
    panel = opened_panel(page)
    page.get_by_test_id("worst-first").click()
    settle(page)
    assert not panel.is_visible()
    assert page.get_by_test_id("short").get_attribute("aria-pressed") == "true"
    order = page.get_by_label("order of the queries")
    assert order.input_value() == "protocol"
    assert order.locator("option:checked").inner_text() == "average precision, worst first"
    seen = []
    for _ in short:
        seen.append(int(page.locator("h2").inner_text().split()[1]))
        page.keyboard.press("]")
        settle(page)
    assert seen == short
    page.get_by_role("button", name="all 8").click()
    order.select_option("protocol")
    page.keyboard.press("]")
    settle(page)
    whole = sorted(range(8), key=lambda q: (values[q], q))
    assert int(page.locator("h2").inner_text().split()[1]) == whole[(whole.index(short[0]) + 1) % 8]


def test_keys_open_and_close_it_and_the_focus_comes_back(open_page, exported):
    page = open_page(exported).page
    button, panel = page.get_by_test_id("protocol"), page.get_by_test_id("protocol-panel")
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert panel.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    assert panel.evaluate("e => e.contains(document.activeElement)")
    page.keyboard.press("Escape")
    settle(page)
    assert not panel.is_visible()
    assert page.evaluate("document.activeElement.dataset.testid") == "protocol"
    page.get_by_test_id("query-image").focus()
    for visible in (True, False):
        page.keyboard.press("h")
        settle(page)
        assert panel.is_visible() is visible
    page.keyboard.press("?")
    assert "how good the ranking is, in figures" in page.locator("dialog.help").inner_text()


def test_what_the_index_s_own_codes_say(open_page, exported, explorer, flat, tmp_path):
    page = open_page(exported).page
    codes = page.get_by_test_id("codes")
    item = explorer._screen["meta"]["items"][0]
    assert float(codes.get_attribute("data-rough")) == item["rough"]
    gap = float(explorer.gallery.quantised_gap(1, [item["id"]])[0])
    sign = "\u2212" if gap < 0 else "+"
    assert codes.inner_text().startswith(f"the index\u2019s own codes say {item['rough']:.3f} (gap {sign}")
    residual = page.get_by_test_id("residual").bounding_box()
    assert residual["y"] < codes.bounding_box()["y"] < residual["y"] + 60
    page = open_page(Explorer(flat, query=1, k=3).to_html(tmp_path / "flat.html")).page
    assert not page.get_by_test_id("codes").is_visible()
    panel = opened_panel(page)
    assert "It compares every image with every query (flat)." in panel.inner_text()
    assert "the gallery's own measure" in panel.inner_text()
    assert not page.get_by_test_id("short").is_visible()


def test_without_labels_it_is_greyed_with_the_reason(open_page, tmp_path):
    page = open_page(Explorer(SmallGallery(labels=False), query=2, k=3).to_html(tmp_path / "a.html")).page
    button = page.get_by_test_id("protocol")
    assert button.is_disabled()
    assert button.get_attribute("title") == UNLABELLED
    page.get_by_test_id("query-image").focus()
    page.keyboard.press("h")
    settle(page)
    assert not page.get_by_test_id("protocol-panel").is_visible()


def test_texts_from_outside_stay_texts(open_page, flat, tmp_path, monkeypatch):
    monkeypatch.setattr(flat.index, "reason", HOSTILE)
    page = open_page(Explorer(flat, query=1, k=3).to_html(tmp_path / "a.html")).page
    assert HOSTILE in opened_panel(page).inner_text()
    assert page.evaluate("window.hurt") is None


def test_light_and_dark(open_page, exported):
    for dark in (False, True):
        panel = opened_panel(open_page(exported, dark=dark).page)
        paper, ink = panel.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]")
        assert (paper, ink) == (
            ("rgb(22, 22, 21)", "rgb(240, 239, 234)") if dark else ("rgb(255, 255, 255)", "rgb(28, 28, 26)")
        )
        assert panel.locator(".scale i").first.evaluate("e => getComputedStyle(e).backgroundColor") == ink


@pytest.mark.parametrize("width", [520, 760, 1240])
def test_nothing_overlaps_or_runs_out(open_page, exported, width):
    page = open_page(exported, width=width).page
    panel = opened_panel(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box, button = panel.bounding_box(), page.get_by_test_id("protocol").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert button["y"] + button["height"] <= box["y"]
    assert panel.locator(".tests").evaluate("e => e.scrollWidth <= e.clientWidth")
    pieces = [each.bounding_box() for each in page.locator(".picker > *, .filters > :not([hidden])").all()]
    pieces = [each for each in pieces if each and each["width"]]
    assert all(each["x"] >= 0 and each["x"] + each["width"] <= width for each in pieces)


def test_the_live_page_measures_recall(chromium, coded):
    explorer = Explorer(coded, query=2, k=3)
    context = chromium.new_context(viewport={"width": 1240, "height": 980})
    try:
        watched = Watched(context.new_page())
        page = watched.page
        take = show(page, explorer)
        panel = opened_panel(page)
        assert panel.get_by_test_id("recall").count() == 0
        page.get_by_test_id("judge-recall").click()
        assert explorer._judge.finished(30)
        take()
        panel.get_by_test_id("recall").wait_for()
        assert panel.get_by_test_id("recall").inner_text() == str(coded.recall())
        explorer.protocol = "cub"
        take()
        panel.get_by_text("CUB-200-2011").wait_for()
        settle(page)
        assert page.locator("[value=protocol]").inner_text() == "rank of the first hit, worst first"
        assert page.evaluate("model.sent.filter(each => each.kind === 'judge')") == [
            {"kind": "judge", "what": "recall"}
        ]
        assert watched.errors == []
    finally:
        context.close()
