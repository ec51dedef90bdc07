"""The HTML file around a page's data: the template, and writing it whole."""

import base64
import gzip
import json
import os
import secrets
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dmlviz.widgets.assets import built
from dmlviz.widgets.buffers import Buffer, Ref

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="dmlviz">
<title>{title}</title>
<style>
html {{ color-scheme: light dark; background: #ffffff; }}
@media (prefers-color-scheme: dark) {{ html {{ background: #161615; }} }}
body {{ margin: 0 auto; max-width: 1560px; font: 13px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 17px; font-weight: 650; margin: 18px 20px 0; }}
@media (prefers-color-scheme: dark) {{ h1 {{ color: #f0efea; }} }}
#loading {{ padding: 24px; color: #77776f; }}
</style>
</head>
<body>
{heading}<main id="dmlviz"><p id="loading">Unpacking…</p></main>
<noscript>This page draws itself with JavaScript, which is switched off here. It loads nothing.</noscript>
<script type="text/plain" id="dmlviz-data">{data}</script>
<script type="text/plain" id="dmlviz-plotly">{plotly}</script>
<script type="module">{module}</script>
<script type="module">
const main = document.getElementById("dmlviz");
const unpack = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
try {{
  const packed = new Blob([unpack("dmlviz-data")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const head = new DataView(bytes.buffer);
  const words = head.getUint32(0, true), floats = head.getUint32(4, true), start = 8 + words;
  const payload = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const data = new Uint8Array(bytes.length - start);
  data.set(bytes.subarray(start));
  for (let n = 0; n < floats; n++) for (let b = 0; b < 4; b++) data[4 * n + b] = bytes[start + b * floats + n];
  document.getElementById("loading").remove();
  globalThis[Symbol.for("dmlviz.open")](main, payload, new DataView(data.buffer), unpack("dmlviz-plotly"));
}} catch (problem) {{
  main.textContent = `This page could not be drawn: ${{problem}}. It needs a browser of 2023 or later.`;
  throw problem;
}}
</script>
</body>
</html>
"""


class PageBuffer(Buffer):
    """A buffer that keeps its floats together, so that they can be laid out for compression."""

    def __init__(self) -> None:
        super().__init__()
        self._floats = Buffer()
        self._after: list[Ref] = []

    def floats(self, array: np.ndarray) -> Ref:
        """Add an array as float32; these come first in the buffer."""
        return self._floats.floats(array)

    def file(self, content: bytes) -> Ref:
        """Add bytes; their offset is known when `laid_out` has run."""
        ref = super().file(content)
        self._after.append(ref)
        return ref

    def laid_out(self) -> tuple[int, bytes]:
        """The number of floats, and the buffer: the floats' first bytes, their second ones, ..., then the rest."""
        size = len(self._floats)
        for ref in self._after:
            ref["o"] += size
        self._after.clear()
        planes = np.frombuffer(self._floats.taken(), np.uint8).reshape(-1, 4).T.tobytes()
        return size // 4, planes + self.taken()


def filled_page(payload: dict[str, Any], buffer: PageBuffer, title: str, heading: str | None) -> bytes:
    """The HTML file, UTF-8.

    Args:
        payload: What the page's script reads; references into the buffer are set to where things lie.
        buffer: The numbers and image files.
        title: The page's title.
        heading: What stands above the Explorer; nothing if None.
    """
    count, data = buffer.laid_out()
    words = json.dumps(payload, separators=(",", ":"), allow_nan=False, default=_plain).encode("utf-8")
    head = np.array([len(words), count], "<u4").tobytes()
    packed = gzip.compress(head + words + data, 9, mtime=0)
    module = built("explorer.js").decode("utf-8").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    page = _PAGE.format(
        title=escape(title),
        heading=f"<h1>{escape(heading)}</h1>\n" if heading else "",
        data=base64.b64encode(packed).decode("ascii"),
        plotly=base64.b64encode(built("plotly.js.gz")).decode("ascii"),
        module=module,
    )
    return page.encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot go into a page")


def write_page(path: str | PathLike[str], content: bytes) -> Path:
    """Write a file whole or not at all.

    Args:
        path: Where; a file that is there is replaced, its folder must exist.
        content: The file's bytes.

    Returns:
        The path.

    Raises:
        FileNotFoundError: If the folder does not exist.
        IsADirectoryError: If the path is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of the HTML file to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {target.parent} does not exist; make it first, or choose another"
        )
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(content)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target
