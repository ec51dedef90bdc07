"""The command line: what it says, where it writes, and that JupyterLab stays on this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import dmlviz
from dmlviz.cli import lab, main, notebooks, page
from dmlviz.cli.notebooks import FIRST, NOTEBOOKS, put_notebooks, shipped

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(main, arguments, prog_name="dmlviz")


# --- what it says -----------------------------------------------------------------------------------


def test_version():
    assert run("--version").output == f"dmlviz {dmlviz.__version__}\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(flag):
    said = run(flag).output
    assert "Why two images match" in said
    assert "Start with `dmlviz demo`" in said
    said = run("demo", flag).output
    for word in ["--html FILE", "--folder", "--no-browser", "--port", "reachable from this machine only"]:
        assert word in said
    assert "\b" not in said


def test_as_a_module_and_without_loading_anything_heavy():
    told = (
        "import sys, dmlviz.cli\n"
        "print(sorted({'torch', 'numpy', 'jupyterlab', 'plotly', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"
    found = subprocess.run(
        [sys.executable, "-m", "dmlviz", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout == f"dmlviz {dmlviz.__version__}\n"


def test_an_unknown_command():
    result = run("demos")
    assert result.exit_code == 2
    assert "No such command 'demos'" in result.output


# --- the working folder -----------------------------------------------------------------------------


def test_notebooks_come_with_the_package():
    for name in NOTEBOOKS:
        assert json.loads(shipped(name).read_text("utf-8"))["nbformat"] == 4


def test_a_notebook_that_is_there_is_left_alone(tmp_path):
    folder = tmp_path / "new" / "place"
    assert put_notebooks(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(NOTEBOOKS)
    (folder / FIRST).write_text("mine")
    (folder / NOTEBOOKS[1]).unlink()
    assert put_notebooks(folder) == [FIRST, *NOTEBOOKS[2:]]
    assert (folder / FIRST).read_text() == "mine"
    assert (folder / NOTEBOOKS[1]).read_bytes() == shipped(NOTEBOOKS[1]).read_bytes()


def test_a_folder_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    result = run("demo", "--folder", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert re.search(
        r"working folder '.*file' cannot be used \(.*\). Choose another one: dmlviz demo --folder",
        result.output,
    )


def test_a_missing_notebook_is_told(monkeypatch):
    with pytest.raises(notebooks.click.ClickException, match=r"03\.ipynb is missing from this installation"):
        shipped("03.ipynb")


# --- JupyterLab -------------------------------------------------------------------------------------


def test_without_jupyterlab(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    result = run("demo", "--folder", str(tmp_path / "w"))
    assert result.exit_code == 1
    assert "JupyterLab is not installed next to dmlviz." in result.output
    assert f'{sys.executable} -m pip install "jupyterlab>=4.2"' in result.output
    assert "dmlviz demo --html why.html" in result.output
    assert not (tmp_path / "w").exists()


def test_a_port_that_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind((lab.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("demo", "--port", str(port), "--folder", str(tmp_path / "w"))
    assert result.exit_code == 1
    assert (
        f"port {port} is taken or not allowed. Give another --port, or none to have a free one"
        in result.output
    )
    assert not (tmp_path / "w").exists()


def test_the_first_free_port_is_chosen(monkeypatch):
    asked = []
    monkeypatch.setattr(lab, "_is_free", lambda port: asked.append(port) or port == 8890)
    assert lab.chosen_port(None) == 8890
    assert asked == [8888, 8889, 8890]
    monkeypatch.setattr(lab, "_is_free", lambda port: False)
    with pytest.raises(
        lab.click.ClickException, match=r"ports 8888 to 8987 are all taken. Give a free one: --port"
    ):
        lab.chosen_port(None)


def test_a_port_that_is_no_port():
    result = run("demo", "--port", "70000")
    assert result.exit_code == 2
    assert "70000 is not in the range 1<=x<=65535" in result.output


@pytest.mark.skipif(os.name != "posix", reason="stops the server by a signal")
def test_the_notebook_opens_on_loopback_and_ctrl_c_stops_it(tmp_path):
    pytest.importorskip("jupyterlab")
    port = lab.chosen_port(None)
    command = [
        sys.executable,
        "-m",
        "dmlviz",
        "demo",
        "--no-browser",
        "--port",
        str(port),
        "--folder",
        str(tmp_path),
    ]
    home = {name: str(tmp_path / ".jupyter" / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        address = ""
        while "?token=" not in address:
            address = server.stdout.readline()
            assert address or server.poll() is None
        url, token = re.search(r"(http://127\.0\.0\.1:\S+)\?token=(\w+)", address).groups()
        assert url == f"http://127.0.0.1:{port}/lab/tree/{FIRST}"
        stored = json.loads(fetch(f"http://127.0.0.1:{port}/api/contents/{FIRST}?token={token}", within=40))
        assert stored["type"] == "notebook"
        shown = fetch(f"{url}?token={token}", within=10)
        assert re.search(
            r'"disabledExtensions": \[[^]]*"@jupyterlab/apputils-extension:announcements"', shown
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents/{FIRST}", timeout=10)
        assert listening_addresses(port) == {"127.0.0.1"}
    finally:
        server.send_signal(signal.SIGINT)
        try:
            rest = server.communicate(timeout=60)[0]
        finally:
            server.kill()
            server.communicate()
    assert server.returncode == 0, rest
    assert "Traceback" not in rest


def heed_ctrl_c():
    """A shell that starts the tests in the background has them ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def fetch(url, within):
    until = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def listening_addresses(port):
    """Addresses that something listens on at a port, from the kernel's own tables."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            address, at = line.split()[1].split(":")
            if int(at, 16) == port and line.split()[3] == "0A":
                found.add(
                    ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
                    if len(address) == 8
                    else address
                )
    return found or {"127.0.0.1"}


def test_what_jupyterlab_is_told(tmp_path):
    told = lab.lab_arguments(tmp_path / "a b.ipynb", 9000, "secret", False, "w")
    assert told[0] == str(tmp_path / "a b.ipynb")
    assert "--ServerApp.ip=127.0.0.1" in told
    assert "--ServerApp.open_browser=False" in told
    assert f"--ServerApp.root_dir={tmp_path}" in told
    assert "--ServerApp.open_browser=True" in lab.lab_arguments(tmp_path / "n.ipynb", 9000, "s", True, "w")


def test_the_message_names_what_was_kept(tmp_path):
    said = lab._message(tmp_path / "a b.ipynb", 9000, "secret", [FIRST])
    assert f"kept      {FIRST} as you left it; delete it to get a fresh copy" in said
    said_of_all = lab._message(tmp_path / FIRST, 8888, "token", list(NOTEBOOKS))
    assert f"kept      {len(NOTEBOOKS)} notebooks as you left them; delete one to get" in said_of_all
    assert "http://127.0.0.1:9000/lab/tree/a%20b.ipynb?token=secret" in said


# --- the page ---------------------------------------------------------------------------------------


class FakeGallery:
    """Ten images, of which 7, 2 and 5 are missed, worst first."""

    images = range(10)

    def _per_query(self):
        rank, margin = np.ones(10, int), np.ones(10)
        rank[[7, 2, 5]], margin[[7, 2, 5]] = 2, [-3, -2, -1]
        return SimpleNamespace(evaluated=np.ones(10, bool), first_hit_rank=rank, margin=margin)


class FakeExplorer:
    asked = None

    def __init__(self, gallery):
        assert isinstance(gallery, FakeGallery)

    def to_html(self, path, queries):
        if Path(path).name == "full.html":
            raise OSError(28, "No space left on device")
        type(self).asked = queries
        Path(path).write_text("<!doctype html>" + "x" * 1_500_000)


@pytest.fixture
def faked(monkeypatch):
    monkeypatch.setattr(dmlviz, "demo_gallery", FakeGallery, raising=False)
    monkeypatch.setattr(dmlviz, "Explorer", FakeExplorer, raising=False)


@pytest.mark.usefixtures("faked")
def test_the_page_is_written_and_its_size_said(tmp_path):
    target = tmp_path / "why.html"
    result = run("demo", "--html", str(target))
    assert result.exit_code == 0, result.output
    assert (
        f"Wrote {target} (1.5 MB, 7 queries). Open it in any browser; it needs no network." in result.output
    )
    assert target.exists()
    assert FakeExplorer.asked == [7, 2, 5, 0, 3, 6, 9]


def test_the_page_of_the_real_gallery(tmp_path):
    target = tmp_path / "why.html"
    result = run("demo", "--html", str(target))
    assert result.exit_code == 0, result.output
    assert "10 queries" in result.output
    assert 500_000 < target.stat().st_size <= 2_000_000
    queries = page.telling_queries(dmlviz.demo_gallery())
    missed = set(dmlviz.demo_gallery().failures()["query"])
    assert [query in missed for query in queries] == [True] * 6 + [False] * 4
    assert len({dmlviz.demo_gallery().images.family(query) for query in queries[6:]}) == 4


@pytest.mark.parametrize(
    ("misses", "hits", "ids"), [(2, 0, [7, 2]), (0, 2, [0, 9]), (9, 99, [7, 2, 5, 0, 1, 3, 4, 6, 8, 9])]
)
def test_misses_come_first_and_hits_are_spread(misses, hits, ids):
    assert page.telling_queries(FakeGallery(), misses, hits) == ids


@pytest.mark.usefixtures("faked")
def test_a_page_that_cannot_be_written(tmp_path):
    result = run("demo", "--html", str(tmp_path / "why.ipynb"))
    assert result.exit_code == 1
    assert "expected a name that ends in .html, got" in result.output
    result = run("demo", "--html", str(tmp_path / "no" / "why.html"))
    assert result.exit_code == 1
    assert re.search(r"there is no folder '.*no' to write 'why\.html' into; make it first", result.output)
    result = run("demo", "--html", str(tmp_path / "full.html"))
    assert result.exit_code == 1
    assert re.search(r"'.*full\.html' cannot be written \(No space left on device\)", result.output)
    result = run("demo", "--html", "why.html", "--port", "8888", "--no-browser")
    assert result.exit_code == 2
    assert (
        "--html writes a file and opens nothing, so it does not go with --no-browser, --port."
        in result.output
    )
