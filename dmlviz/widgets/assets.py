"""The built page, and the one plotly.js that all Explorers of a kernel share."""

from functools import cache
from pathlib import Path

import ipywidgets
import traitlets

STATIC = Path(__file__).parent / "static"


@cache
def built(name: str) -> bytes:
    """A built file of the front end.

    Args:
        name: "explorer.js" or "plotly.js.gz".

    Returns:
        Its bytes.

    Raises:
        FileNotFoundError: If the front end was not built; the message says how.
    """
    try:
        return (STATIC / name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the Explorer's page is not built: {STATIC / name} is missing. Install the package with "
            "`pip install .`, or in a checkout run `npm install && npm run build` in frontend/"
        ) from None


class PlotlyAsset(ipywidgets.Widget):
    """The plotly.js bundle as a widget of its own, so that it crosses the wire once per kernel."""

    data = traitlets.Bytes().tag(sync=True)


_shared: list[PlotlyAsset] = []


def plotly_asset() -> PlotlyAsset:
    """The kernel's one `PlotlyAsset`; a new one where all widgets were closed."""
    if not _shared or _shared[0].comm is None:
        _shared[:] = [PlotlyAsset(data=built("plotly.js.gz"))]
    return _shared[0]
