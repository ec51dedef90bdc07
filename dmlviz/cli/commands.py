"""The commands, their options and their help texts."""

from pathlib import Path
from typing import Any

import click

from dmlviz import __version__
from dmlviz.cli.gallery_commands import evaluate, index, search
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

_EVALUATE = """Ask every evaluator about every method of explanation, where the truth is known.

Makes the tables of docs/faithfulness.md again, on galleries that are drawn on the spot and embedded by the networks
that come with dmlviz. For a gallery of your own use dmlviz.faithfulness.trust or compare in Python: a gallery cannot
be opened without its network, and a network cannot be named here.

All methods and evaluators take hours on one gallery; --pairs, --methods, --evaluators and --budget make it less.

\b
dmlviz evaluate-explanations --methods decomposition,grad-cam --pairs 50
dmlviz evaluate-explanations --gallery faces --budget 600 --out faces.md
dmlviz evaluate-explanations --gallery birds --gallery places --unseen --resume run.jsonl
"""


@click.group(help=_ABOUT, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="dmlviz", message="%(prog)s %(version)s")
def main() -> None:
    """Hold the commands together."""


for _command in (index, search, evaluate):
    main.add_command(_command)


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


def _names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Names one by one or with commas between them, each once."""
    return tuple(dict.fromkeys(name.strip() for given in value for name in given.split(",") if name.strip()))


@main.command(help=_EVALUATE)
@click.option(
    "--gallery",
    "galleries",
    multiple=True,
    type=click.Choice(["birds", "faces", "persons", "places"]),
    help="Which drawn gallery; may be given several times.  [default: birds]",
)
@click.option("--unseen", is_flag=True, help="Each gallery a second time, of families never looked at.")
@click.option(
    "--methods",
    multiple=True,
    callback=_names,
    metavar="NAMES",
    help="With commas; all that suit if left out.",
)
@click.option(
    "--evaluators",
    multiple=True,
    callback=_names,
    metavar="NAMES",
    help="With commas; all that apply if left out.",
)
@click.option("--pairs", type=click.IntRange(min=1), default=200, show_default=True, help="How many pairs.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long each gallery may take; what does not fit is left out and named.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the choice of pairs."
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep what is finished, and go on from there: one file per gallery, its name before the ending.",
)
@click.option("--json", "as_json", is_flag=True, help="Figures as JSON instead of tables.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write into a file instead of printing.",
)
@click.option("--small", is_flag=True, help="Galleries of a handful of pictures, for a look.")
def evaluate_explanations(**asked: Any) -> None:
    """Compare methods of explanation on drawn galleries."""
    from dmlviz.cli.evaluating import evaluate

    evaluate(**asked)


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
