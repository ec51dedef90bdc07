"""A real Chromium, an exported page, and a JupyterLab on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
sys.path.insert(0, str(ROOT / "tests" / "widgets"))


def _missing():
    if shutil.which("chromium") is None:
        return "no chromium on this machine"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return ""


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium with a fresh profile."""
    if reason := _missing():
        if os.environ.get("DMLVIZ_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DMLVIZ_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that keeps what it asked for and what went wrong on it."""

    def __init__(self, page):
        self.page, self.requests, self.errors, self.frames = page, [], [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("websocket", self._socket)

    def _socket(self, socket):
        for direction in ("framesent", "framereceived"):
            socket.on(direction, lambda payload, way=direction: self.frames.append((way, payload)))


@pytest.fixture
def open_page(chromium):
    """Open an exported page with the network off."""
    contexts = []

    def opened(path, dark=False, width=1240, height=980):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            offline=True,
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.goto(Path(path).as_uri())
        watched.page.wait_for_selector("[data-testid=explorer][data-plotly=ready]", timeout=30_000)
        settle(watched.page)
        return watched

    yield opened
    for context in contexts:
        context.close()


def watch_hovers(page):
    """Keep what each hover took: `times` from the event to the drawn map, `works` of that in the page's own code."""
    page.evaluate(
        "() => { window.times = []; window.works = [];"
        " const frame = window.requestAnimationFrame.bind(window);"
        " window.requestAnimationFrame = act => frame(now => { const count = times.length, start = performance.now();"
        "   act(now); if (times.length > count) works.push(performance.now() - start); });"
        " document.addEventListener('dmlviz:hover', e => times.push(e.detail.milliseconds)); }"
    )


def settle(page, frames=4):
    """Let the page draw a few frames."""
    page.evaluate(
        "frames => new Promise(done => { const next = n => n ? requestAnimationFrame(() => next(n - 1)) : done();"
        " next(frames); })",
        frames,
    )


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab on loopback with everything of its own in a temporary folder; gives its address and folder."""
    if reason := _missing():
        if os.environ.get("DMLVIZ_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DMLVIZ_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    home = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "widgets"), os.environ.get("PYTHONPATH", "")])
    own = {
        name: str(home / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    (home / "work").mkdir()
    log = (home / "log").open("wb")
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
            f"--ServerApp.root_dir={home / 'work'}", "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--allow-root",
        ],
        env={**os.environ, **own, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if server.poll() is not None:
                pytest.fail(f"JupyterLab ended at once:\n{(home / 'log').read_text()[-3000:]}")
            try:
                urllib.request.urlopen(f"{address}/api", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab did not answer:\n{(home / 'log').read_text()[-3000:]}")
        yield address, home / "work"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def notebook(path, cells):
    """Write a notebook of code cells."""
    document = {
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {}, "outputs": [], "execution_count": None, "source": c}
            for n, c in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip
    path.write_text(json.dumps(document))
