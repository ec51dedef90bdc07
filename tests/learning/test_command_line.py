import os
import subprocess
import sys

import pytest

from dmlviz.learning import command_line


@pytest.fixture
def started(monkeypatch):
    """What the process would be replaced by: a list of (program, words, environment)."""
    seen = []
    monkeypatch.setattr(command_line.sys, "platform", "linux")
    monkeypatch.setattr(command_line.os, "execve", lambda *call: seen.append(call), raising=False)
    for name in command_line.QUICKER:
        monkeypatch.delenv(name, raising=False)
    return seen


def test_a_run_starts_anew_with_its_own_words_and_what_is_quicker(started, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "dmlviz.learning.train_birds", "--out", "a b"])
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    command_line.start_anew_for_speed()
    ((program, words, environment),) = started
    assert program == sys.executable
    assert words == [sys.executable, "-m", "dmlviz.learning.train_birds", "--out", "a b"]
    assert environment == {**os.environ, **command_line.QUICKER, "GOMP_SPINCOUNT": "77"}


def test_it_does_so_once_and_on_linux_alone(started, monkeypatch):
    monkeypatch.setattr(command_line.sys, "platform", "darwin")
    command_line.start_anew_for_speed()
    monkeypatch.setattr(command_line.sys, "platform", "linux")
    for name, value in command_line.QUICKER.items():
        monkeypatch.setenv(name, value)
    command_line.start_anew_for_speed()
    assert started == []


def test_the_command_answers_after_starting_anew(tmp_path):
    words = [sys.executable, "-m", "dmlviz.learning.train_birds", "--out", str(tmp_path), "--steps", "0"]
    environment = {name: value for name, value in os.environ.items() if name not in command_line.QUICKER}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "steps of at least 1; got 0" in done.stderr
