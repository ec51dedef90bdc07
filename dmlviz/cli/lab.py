"""Open JupyterLab on this machine, for this user, with one notebook."""

import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import click

LOOPBACK = "127.0.0.1"
_FIRST_PORT, _PORTS = 8888, 100
_SETTINGS = Path(__file__).parent / "jupyter"  # nobody is asked about news before the first cell has run


def need_jupyterlab() -> None:
    """Say how to get JupyterLab where it is missing.

    Raises:
        click.ClickException: if it is not installed.
    """
    if find_spec("jupyterlab") is None:
        raise click.ClickException(
            "JupyterLab is not installed next to dmlviz. Either install it:\n\n"
            f'    {sys.executable} -m pip install "jupyterlab>=4.2"\n\n'
            "or look without it: dmlviz demo --html why.html"
        )


def chosen_port(wanted: int | None) -> int:
    """The port to listen on: the one asked for, or the first free one.

    Raises:
        click.ClickException: if it is taken, or no port is free.
    """
    if wanted is not None:
        if not _is_free(wanted):
            raise click.ClickException(
                f"port {wanted} is taken or not allowed. Give another --port, or none to have a free one chosen."
            )
        return wanted
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        if _is_free(port):
            return port
    raise click.ClickException(
        f"the ports {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1} are all taken. Give a free one: --port PORT"
    )


def open_lab(notebook: Path, *, port: int, browser: bool, kept: list[str]) -> None:
    """Run JupyterLab until it is stopped.

    It listens on the loopback address only, with a token of its own.

    Args:
        notebook: the one to show; its folder is all that the file browser shows.
        port: a free port.
        browser: whether to open a browser.
        kept: names of notebooks that were there before, for the message.
    """
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel beside this Python, not another one
    paths = [str(_SETTINGS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    from jupyterlab.labapp import LabApp

    token = secrets.token_hex(24)
    click.echo(_message(notebook, port, token, kept))
    with TemporaryDirectory(prefix="dmlviz-") as workspace:
        LabApp.launch_instance(lab_arguments(notebook, port, token, browser, workspace))


def lab_arguments(notebook: Path, port: int, token: str, browser: bool, workspace: str) -> list[str]:
    """Command line of JupyterLab: loopback, one folder, quiet, and none of the tabs of the user's other work."""
    settings = {
        "ServerApp.ip": LOOPBACK,
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": notebook.parent.resolve(),
        "ServerApp.open_browser": browser,
        "ServerApp.answer_yes": True,  # Ctrl-C stops at once
        "ServerApp.allow_root": True,  # in a container; nobody outside the machine can reach it
        "ServerApp.log_level": "WARN",
        "LabApp.log_level": "WARN",
        "LabApp.workspaces_dir": workspace,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "IdentityProvider.token": token,
    }
    return [str(notebook.resolve()), *(f"--{name}={value}" for name, value in settings.items())]


def _message(notebook: Path, port: int, token: str, kept: list[str]) -> str:
    lines = [
        "",
        f"  notebook  {notebook.resolve()}",
        f"  address   http://{LOOPBACK}:{port}/lab/tree/{quote(notebook.name)}?token={token}",
        "  stop      Ctrl-C",
        "",
    ]
    if kept:
        which = f"{kept[0]} as you left it; delete it"
        if len(kept) > 1:
            which = f"{len(kept)} notebooks as you left them; delete one"
        lines[1:1] = [f"  kept      {which} to get a fresh copy"]
    return "\n".join(lines)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # elsewhere this option would let two listen on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
