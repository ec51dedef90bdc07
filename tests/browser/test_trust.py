"""How far to trust this, on the page: the figures are the frame's, it closes, it is greyed, it measures."""

import threading

import pytest
from planted import method, one_sided, plant
from planted_trust import PLANTED, Found, plant_evaluators
from small_gallery import SmallGallery

from dmlviz.widgets import Explorer, measuring
from dmlviz.widgets.page import NOT_MEASURED

from .conftest import Watched, settle
from .live_page import show

pytestmark = pytest.mark.browser

CARRIED = ["decomposition", "sided"]


@pytest.fixture(scope="module", autouse=True)
def planted():
    with pytest.MonkeyPatch.context() as patch:
        plant_evaluators(patch)
        plant(patch, method("sided", one_sided()), method("bare", one_sided()))
        yield


@pytest.fixture(scope="module")
def gallery(planted):
    return SmallGallery(count=20, view=(96, 96), grid=(6, 6), offset=0.0, seed=3)


@pytest.fixture(scope="module")
def explorer(gallery):
    return Explorer(gallery, query=2, k=4, trust=Found(CARRIED))


@pytest.fixture(scope="module")
def exported(explorer, tmp_path_factory):
    return explorer.to_html(tmp_path_factory.mktemp("trust") / "why.html", methods=[*CARRIED, "bare"])


def choose(page, name, menu="method"):
    page.get_by_test_id(menu).click()
    page.locator(f"[data-testid={menu}-option][data-value='{name}']").click()
    settle(page)


def opened_panel(page):
    page.get_by_test_id("trust").click()
    settle(page)
    return page.get_by_test_id("trust-panel")


def exact(frame, evaluator, by):
    headline = next(each.figures[0] for each in PLANTED if each.name == evaluator)
    return frame[
        (frame["evaluator"] == evaluator) & (frame["figure"] == headline) & (frame["method"] == by)
    ].iloc[0]


def read(text):
    """A number as the page writes it."""
    return float(text.replace("\u2212", "-"))


def test_the_numbers_are_the_frame_s(open_page, exported, explorer):
    opened = open_page(exported)
    panel = opened_panel(opened.page)
    rows = panel.get_by_test_id("trust-row").all()
    names = [each.get_attribute("data-evaluator") for each in rows]
    assert names == ["margins", "parts", "adding-up", "object-pointing", "predicting"]  # headlines first
    for name, shown in zip(names, rows, strict=True):
        figure = shown.get_by_test_id("trust-figure")
        wanted = exact(explorer.trust, name, "decomposition")
        for end in ("value", "low", "high"):
            assert float(figure.get_attribute(f"data-{end}")) == wanted[end]
        assert read(figure.locator(".figure").inner_text()) == pytest.approx(wanted["value"], abs=0.006)
        assert f"n\u202f=\u202f{wanted['trials']}" in figure.inner_text()
        for label in figure.locator(".tick-label").all():
            of = exact(explorer.trust, name, label.get_attribute("data-baseline"))
            assert float(label.get_attribute("data-value")) == of["value"]
            assert read(label.locator("b").inner_text()) == pytest.approx(of["value"], abs=0.006)
    assert len(rows[0].locator(".tick-label").all()) == 4
    assert opened.errors == []
    assert len(opened.requests) == 1


def test_the_drawing_lies_where_the_numbers_say(open_page, exported, explorer):
    page = open_page(exported).page
    shown = opened_panel(page).locator("[data-evaluator=margins]")
    axis, dot, between = (
        shown.locator(name).first.bounding_box() for name in (".axis", ".axis .dot", ".axis .between")
    )
    wanted = exact(explorer.trust, "margins", "decomposition")
    assert dot["x"] + dot["width"] / 2 == pytest.approx(axis["x"] + wanted["value"] * axis["width"], abs=1)
    assert between["x"] == pytest.approx(axis["x"] + wanted["low"] * axis["width"], abs=1)
    assert between["width"] == pytest.approx((wanted["high"] - wanted["low"]) * axis["width"], abs=1)
    for tick, name in zip(shown.locator(".axis .tick").all(), PLANTED[2].baselines, strict=True):
        box, of = tick.bounding_box(), exact(explorer.trust, "margins", name)
        assert box["x"] + box["width"] / 2 == pytest.approx(axis["x"] + of["value"] * axis["width"], abs=1)


def test_what_is_said_of_the_tests(open_page, exported):
    page = open_page(exported).page
    said = opened_panel(page).inner_text()
    assert "Measured on 160 pairs: each query with the image ranked first." in said
    assert "No parts or boxes of the pictures are known" in said
    assert "decomposition in a sentence." in said
    assert "Tests that tell methods apart" in said
    assert "these do not tell good maps from bad ones by themselves" in said
    assert "missing, lower is better" in said
    assert (
        "no boxes round what the pictures show are known" in page.get_by_test_id("trust-unasked").inner_text()
    )
    assert '<img src=x onerror="window.hurt=1">.' in said
    assert page.evaluate("window.hurt") is None
    heard = page.locator("[data-evaluator=margins] .axis").get_attribute("aria-label")
    assert heard.startswith("decomposition: 0.8") or heard.startswith("Decomposition: 0.8")
    assert "95 % interval" in heard
    assert "baselines: random weights 0." in heard


def test_keys_open_and_close_it_and_the_focus_comes_back(open_page, exported):
    page = open_page(exported).page
    button, panel = page.get_by_test_id("trust"), page.get_by_test_id("trust-panel")
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert panel.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.evaluate(
        "document.querySelector('[data-testid=trust-panel]').contains(document.activeElement)"
    )
    page.keyboard.press("Escape")
    settle(page)
    assert not panel.is_visible()
    assert page.evaluate("document.activeElement.dataset.testid") == "trust"
    page.get_by_test_id("query-image").focus()
    page.keyboard.press("t")
    settle(page)
    assert panel.is_visible()
    page.keyboard.press("t")
    settle(page)
    assert not panel.is_visible()
    page.keyboard.press("?")
    assert "how far to trust the method" in page.locator("dialog.help").inner_text()


def test_it_follows_the_method_and_sets_two_side_by_side(open_page, exported, explorer):
    page = open_page(exported).page
    panel = opened_panel(page)
    choose(page, "sided")
    shown = panel.locator("[data-evaluator=parts]").get_by_test_id("trust-figure")
    assert float(shown.get_attribute("data-value")) == exact(explorer.trust, "parts", "sided")["value"]
    assert "n\u202f=\u202f153, 7 left out" in shown.inner_text()
    choose(page, "decomposition", "compare")
    pair = panel.locator("[data-evaluator=parts]").get_by_test_id("trust-figure")
    assert [each.get_attribute("data-method") for each in pair.all()] == ["sided", "decomposition"]
    axes = [each.bounding_box() for each in panel.locator("[data-evaluator=parts] .axis").all()]
    assert axes[0]["x"] == axes[1]["x"]
    assert axes[0]["width"] == axes[1]["width"]
    choose(page, "bare", "compare")
    missing = panel.get_by_test_id("trust-missing")
    assert missing.inner_text() == "No figures of Bare were measured before this page was exported."
    assert missing.get_by_role("button").count() == 0


def test_without_figures_it_is_greyed_with_the_reason(open_page, gallery, tmp_path):
    page = open_page(Explorer(gallery, query=2, k=3).to_html(tmp_path / "none.html")).page
    button = page.get_by_test_id("trust")
    assert button.is_disabled()
    assert button.get_attribute("title") == NOT_MEASURED
    page.get_by_test_id("query-image").focus()
    page.keyboard.press("t")
    settle(page)
    assert not page.get_by_test_id("trust-panel").is_visible()


def test_light_and_dark(open_page, exported):
    for dark in (False, True):
        page = open_page(exported, dark=dark).page
        panel = opened_panel(page)
        paper, ink = panel.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]")
        assert (paper, ink) == (
            ("rgb(22, 22, 21)", "rgb(240, 239, 234)") if dark else ("rgb(255, 255, 255)", "rgb(28, 28, 26)")
        )
        assert panel.locator(".dot").first.evaluate("e => getComputedStyle(e).backgroundColor") == ink


@pytest.mark.parametrize("width", [520, 760, 1100, 1240])
def test_nothing_overlaps_or_runs_out(open_page, exported, width):
    page = open_page(exported, width=width).page
    choose(page, "sided", "compare")
    panel = opened_panel(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = panel.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= page.get_by_test_id("method").bounding_box()["y"]
    assert panel.locator(".tests").evaluate("e => e.scrollWidth <= e.clientWidth")
    for line in panel.get_by_test_id("trust-figure").all():
        pieces = line.locator(".whose, .end, .tick-label, .figure, .sure").evaluate_all(
            "all => all.map(e => { const b = document.createRange(); b.selectNodeContents(e);"
            " const r = b.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })"
        )
        for n, a in enumerate(pieces):
            assert a[0] >= box["x"]
            assert a[2] <= box["x"] + box["width"]
            for b in pieces[n + 1 :]:
                assert a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 4 or b[3] <= a[1] + 4
    controls = [each.bounding_box() for each in page.locator(".controls > *").all()]
    for n, a in enumerate(controls):
        for b in controls[n + 1 :]:
            beside = a["x"] + a["width"] <= b["x"] + 1 or b["x"] + b["width"] <= a["x"] + 1
            assert beside or a["y"] + a["height"] <= b["y"] + 1 or b["y"] + b["height"] <= a["y"] + 1


def test_the_live_page_measures_and_stays_at_work(chromium, gallery, monkeypatch):
    go = threading.Event()

    def measured(gallery, name):
        assert go.wait(30)
        if name == "bare":
            raise RuntimeError("the gradient is gone")
        return Found([name])

    monkeypatch.setattr(measuring, "measured", measured)
    explorer = Explorer(gallery, query=2, k=3)
    context = chromium.new_context(viewport={"width": 1240, "height": 980})
    try:
        watched = Watched(context.new_page())
        page = watched.page
        take = show(page, explorer)
        panel = opened_panel(page)
        assert "No figures of Decomposition have been measured on this gallery yet." in panel.inner_text()
        page.get_by_test_id("trust-measure").click()
        panel.get_by_text("Measuring Decomposition").wait_for()
        page.keyboard.press("]")  # the focus has stayed inside, and the page at work
        page.wait_for_function("document.querySelector('h2').textContent === 'Query 3'")
        choose(page, "bare", "compare")
        page.get_by_test_id("trust-measure").click()
        panel.get_by_text("Bare is measured after Decomposition.").wait_for()
        go.set()
        assert explorer._measuring.finished(30)
        take()
        shown = panel.locator("[data-evaluator=parts]").get_by_test_id("trust-figure")
        shown.wait_for()
        assert (
            float(shown.get_attribute("data-value"))
            == exact(explorer.trust, "parts", "decomposition")["value"]
        )
        failed = panel.get_by_test_id("trust-missing")
        assert "Bare could not be measured. RuntimeError: the gradient is gone" in failed.inner_text()
        assert failed.get_by_role("alert").count() == 1
        assert page.get_by_test_id("trust-measure").is_enabled()
        asked = [each["method"] for each in page.evaluate("model.sent") if each["kind"] == "trust"]
        assert asked == ["decomposition", "bare"]
        assert watched.errors == []
    finally:
        context.close()
