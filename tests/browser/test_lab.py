"""The live widget in JupyterLab: both ways, nothing sent while hovering, safe while a cell runs."""

import json
import time
import urllib.request

import pytest

from .conftest import Watched, notebook, settle

pytestmark = pytest.mark.browser

CELLS = [
    "from small_gallery import SmallGallery\n"
    "from dmlviz.widgets import Explorer\n"
    "ex = Explorer(SmallGallery(count=60, view=(96, 96), grid=(12, 12), seed=5), query=1, k=8)\n"
    "ex",
    "ey = Explorer(ex.gallery, query=2, k=8)\ney",
    "ex",
    "naps = globals().get('naps', -1) + 1\nimport time\ntime.sleep(6 * naps)\ndone = ex.query",
]


class Kernel:
    """Runs code in the notebook's own kernel, beside the page."""

    def __init__(self, work):
        from jupyter_client import BlockingKernelClient

        runtime = work.parent / "jupyter_runtime_dir"
        newest = max(runtime.glob("kernel-*.json"), key=lambda path: path.stat().st_mtime)
        self.client = BlockingKernelClient(connection_file=str(newest))
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)

    def run(self, code):
        reply = self.client.execute_interactive(code, timeout=30, output_hook=lambda message: None)
        assert reply["content"]["status"] == "ok", reply["content"]

    def value(self, expression):
        request = self.client.execute("", user_expressions={"value": expression}, silent=False)
        while True:
            reply = self.client.get_shell_msg(timeout=30)
            if reply["parent_header"].get("msg_id") == request:
                break
        answer = reply["content"]["user_expressions"]["value"]
        assert answer["status"] == "ok", answer
        return answer["data"]["text/plain"]

    def until(self, expression, wanted, seconds=15):
        stop = time.monotonic() + seconds
        while (found := self.value(expression)) != wanted:
            assert time.monotonic() < stop, f"{expression} stayed {found}, wanted {wanted}"
            time.sleep(0.1)

    def close(self):
        self.client.stop_channels()


def _wait_for_kernel(address):
    """JupyterLab asks which kernel to take if cells are run before theirs has started."""
    for _ in range(240):
        with urllib.request.urlopen(f"{address}/api/sessions", timeout=5) as answer:
            sessions = json.load(answer)
        if sessions and sessions[0]["kernel"]["execution_state"] == "idle":
            return
        time.sleep(0.25)
    pytest.fail("the notebook's kernel did not start")


@pytest.fixture(scope="module")
def live(chromium, lab):
    address, work = lab
    notebook(work / "x.ipynb", CELLS)
    context = chromium.new_context(viewport={"width": 1500, "height": 1100})
    watched = Watched(context.new_page())
    page = watched.page
    page.goto(f"{address}/lab/workspaces/test/tree/x.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    _wait_for_kernel(address)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function("document.querySelectorAll('[data-plotly=ready]').length === 3", timeout=60_000)
    kernel = Kernel(work)
    yield watched, kernel
    kernel.close()
    context.close()


@pytest.fixture
def explorer(live):
    """The first Explorer on the page, back at the start."""
    watched, kernel = live
    kernel.run(
        "ex.query = 1; ex.ranked_by = 'similarity'; ex.pin = ex.region = None; ex.focus = 1; ex.mode = 'overall'"
    )
    first = watched.page.get_by_test_id("explorer").first
    first.scroll_into_view_if_needed()
    watched.page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 1'")
    settle(watched.page)
    return first


def test_two_explorers_share_one_plotly(live):
    watched, _ = live
    assert watched.page.evaluate("globalThis[Symbol.for('dmlviz.plotly.loads')]") == 1
    assert all("127.0.0.1" in url or url.startswith(("data:", "blob:")) for url in watched.requests)


def test_two_views_of_one_explorer_follow_each_other(live, explorer):
    watched, _ = live
    second = watched.page.get_by_test_id("explorer").nth(2)
    explorer.locator("[data-testid=ranked-item][data-rank='3']").click()
    second.locator("[data-testid=ranked-item][data-rank='3'][aria-selected=true]").wait_for()
    second.get_by_role("button", name="next query").click()
    watched.page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 2'")


def test_hovering_sends_nothing(live, explorer):
    watched, _ = live
    page = watched.page
    page.evaluate(
        "() => { window.hovers = [];"
        " document.addEventListener('dmlviz:hover', e => hovers.push(e.detail.milliseconds)); }",
    )
    box = explorer.get_by_test_id("query-image").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.wait_for_timeout(800)  # what was under way has come and gone
    before = [frame for frame in watched.frames if "comm_" in str(frame[1])]
    for n in range(60):
        page.mouse.move(box["x"] + 20 + 4 * n, box["y"] + 40 + 3 * n)
        page.wait_for_timeout(16)
    page.wait_for_timeout(500)
    after = [frame for frame in watched.frames if "comm_" in str(frame[1])]
    times = sorted(page.evaluate("hovers"))
    print(f"hover in JupyterLab: median {times[len(times) // 2]:.1f} ms, longest {times[-1]:.1f} ms")
    assert len(times) >= 20
    assert len(after) == len(before)


def test_python_moves_the_page(live, explorer):
    watched, kernel = live
    kernel.run("ex.query = 7")
    watched.page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 7'")
    kernel.run("ex.focus = 3; ex.mode = 'point'; ex.pin = ['query', 40, 30]")
    watched.page.wait_for_function(
        "document.querySelector('[aria-selected=true][data-testid=ranked-item]').dataset.rank === '3'"
    )
    settle(watched.page)
    assert "at the pin" in explorer.get_by_test_id("readout").inner_text()
    assert explorer.get_by_test_id("map-mode").locator("[aria-checked=true]").inner_text() == "point"


def test_the_page_moves_python(live, explorer):
    watched, kernel = live
    explorer.locator("[data-testid=ranked-item][data-rank='4']").click()
    kernel.until("ex.focus", "4")
    explorer.get_by_test_id("query-image").click(position={"x": 60, "y": 50})
    kernel.until("ex.pin[0]", "'query'")
    explorer.get_by_role("button", name="next query").click()
    kernel.until("ex.query", "2")
    assert kernel.value("ex.focus, ex.pin, len(ex.ranking)") == "(1, None, 8)"
    watched.page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 2'")
    observed = kernel.value("[c for c in (ex.why.adds_up, ex.ranking.query)]")
    assert observed == "[True, 2]"


def test_a_region_ranks_and_the_way_back(live, explorer):
    watched, kernel = live
    page = watched.page
    box = explorer.get_by_test_id("query-image").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 180, steps=4)
    page.mouse.up()
    kernel.until("ex.region is not None", "True")
    explorer.get_by_test_id("rank-by-region").click()
    kernel.until("ex.ranking.ranked_by", "'region'")
    explorer.get_by_text("Ranked by what the selected region").wait_for()
    shown = explorer.locator("[data-testid=ranked-item] .number").first.inner_text().replace("−", "-")
    assert float(shown) == pytest.approx(float(kernel.value("float(ex.ranking.similarities[0])")), abs=6e-4)
    explorer.get_by_role("button", name="back to similarity").click()
    kernel.until("ex.ranked_by, ex.ranking.ranked_by", "('similarity', 'similarity')")


def test_a_refused_value_is_said_on_the_page_and_undone(live, explorer):
    _, kernel = live
    kernel.run("ex.set_state({'query': 99})")
    explorer.get_by_role("alert").filter(
        has_text="query must be an id of the gallery, from 0 to 59"
    ).wait_for()
    assert kernel.value("ex.query") == "1"
    kernel.run("ex.set_state({'focus': 2})")
    explorer.get_by_role("alert").wait_for(state="hidden")


def test_keys_stay_inside(live, explorer):
    watched, _ = live
    cells = watched.page.locator(".jp-Notebook .jp-Cell").count()
    explorer.locator("[data-testid=ranked-item][data-rank='1']").click()
    for key in "jbxaz":
        watched.page.keyboard.press(key)
    watched.page.wait_for_timeout(300)
    assert watched.page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_it_answers_while_a_cell_runs(live, explorer):
    watched, kernel = live
    page = watched.page
    step = explorer.get_by_role("button", name="next query")
    step.click()  # JupyterLab opens its subshell with the first message
    page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 2'")
    page.wait_for_timeout(500)
    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=busy]")
    started = time.monotonic()
    step.click()
    page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 3'", timeout=20_000)
    waited = time.monotonic() - started
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    assert waited < 4, f"the page waited {waited:.1f} s for the cell to end"
    assert kernel.value("naps, done") == "(1, 3)"


def test_figures_come_from_a_thread_of_the_kernel(live, explorer):
    watched, kernel = live
    kernel.run(
        "import threading, pytest\n"
        "from planted_trust import Found, plant_evaluators\n"
        "from dmlviz.widgets import measuring\n"
        "plant_evaluators(pytest.MonkeyPatch())\n"
        "go = threading.Event()\n"
        "measuring.measured = lambda gallery, method: go.wait(30) and Found([method])"
    )
    explorer.get_by_test_id("trust").click()
    explorer.get_by_test_id("trust-measure").click()
    explorer.get_by_text("Measuring Decomposition").wait_for()
    explorer.get_by_role("button", name="close").last.click()
    explorer.get_by_role("button", name="next query").click()
    watched.page.wait_for_function("document.querySelector('.dmlviz h2').textContent === 'Query 2'")
    kernel.run("go.set()")
    explorer.get_by_test_id("trust").click()
    figure = explorer.locator("[data-evaluator=parts]").get_by_test_id("trust-figure")
    figure.wait_for()
    frame = "ex.trust[(ex.trust.evaluator == 'parts') & (ex.trust.kind == 'method')]"
    assert float(figure.get_attribute("data-value")) == float(kernel.value(f"float({frame}.value.iloc[0])"))
    explorer.get_by_role("button", name="close").last.click()


def test_the_theme_follows_jupyterlab(live, explorer):
    watched, _ = live
    page = watched.page
    assert explorer.get_attribute("data-theme") == "light"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.wait_for_function("document.querySelector('[data-testid=explorer]').dataset.theme === 'dark'")
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    page.wait_for_function("document.querySelector('[data-testid=explorer]').dataset.theme === 'light'")


def test_no_error_on_the_page(live):
    watched, _ = live
    ours = [error for error in watched.errors if "dmlviz" in error or "anywidget" in error]
    assert ours == []
