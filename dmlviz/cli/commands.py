"""The commands, their options and their help texts."""

from pathlib import Path

import click

from dmlviz import __version__
from dmlviz.cli.notebooks import FIRST, put_notebooks

_ABOUT = """Why two images match: explain image retrieval in numbers that add up to the score.

Start with `dmlviz demo`. It needs no network and no data of yours.
"""

_DEMO = """Look at a gallery of drawn birds whose rankings explain themselves.

Opens a notebook in JupyterLab, reachable from this machine only. It shows one match, one mistake, why each
came about, and the Explorer: point at a beak and see what it matched.

\b
dmlviz demo                      open the notebook
dmlviz demo --no-browser         only print its address
dmlviz demo --html why.html      write the screen into one file
"""


@click.group(help=_ABOUT, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="dmlviz", message="%(prog)s %(version)s")
def main() -> None:
    """Hold the commands together."""


@main.command(help=_DEMO)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the screen as one HTML file instead: no notebook, no server, opens in any browser.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("dmlviz-demo"),
    show_default=True,
    help="Working folder that the notebooks are copied to. Notebooks already in it are left as they are.",
)
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port on this machine; by default the first free one from 8888 on.",
)
@click.pass_context
def demo(ctx: click.Context, html: Path | None, folder: Path, no_browser: bool, port: int | None) -> None:
    """Open the notebook, or write the page."""
    if html is not None:
        given = [name for name in ("folder", "no_browser", "port") if _was_given(ctx, name)]
        if given:
            options = ", ".join("--" + name.replace("_", "-") for name in given)
            raise click.UsageError(
                f"--html writes a file and opens nothing, so it does not go with {options}."
            )
        from dmlviz.cli.page import write_page

        write_page(html)
        return

    from dmlviz.cli.lab import chosen_port, need_jupyterlab, open_lab

    need_jupyterlab()
    port = chosen_port(port)
    kept = put_notebooks(folder)
    open_lab(folder / FIRST, port=port, browser=not no_browser, kept=kept)


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
