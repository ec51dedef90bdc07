"""The page's own unit tests, where the front end's packages are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

FRONTEND = Path(__file__).parents[2] / "frontend"


def test_the_arithmetic_of_the_page():
    node = shutil.which("node")
    if node is None or not (FRONTEND / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs node and `npm install` in frontend/")
    done = subprocess.run([node, "test/run.mjs"], cwd=FRONTEND, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
