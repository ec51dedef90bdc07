"""The Explorer as one HTML file: the same page, with everything that it shows inside it."""

import base64
import gzip
import json
import math
import os
import secrets
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.explanation import Decomposition
from dmlviz.widgets.assets import built
from dmlviz.widgets.buffers import Buffer, Ref
from dmlviz.widgets.finding import Finding, find
from dmlviz.widgets.picker import gallery_meta
from dmlviz.widgets.pictures import encode_small
from dmlviz.widgets.rounding import factors_of, largest_error, stepped
from dmlviz.widgets.screen import pack, pair_count

if TYPE_CHECKING:
    from dmlviz.widgets.explorer import Explorer

MOST_BYTES, MOST_BYTES_PER_QUERY = 2_000_000, 200_000
QUALITIES = (82, 66, 50)
NEEDS_KERNEL = "this needs the notebook: a saved page has no kernel to search with"
_TRAITS = ("k", "mode", "reading", "opacity", "scale", "method", "theme")

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


def page_html(explorer: "Explorer", queries: list[int], title: str | None) -> bytes:
    """The page for these queries, UTF-8.

    Args:
        explorer: Its gallery, its k and how it stands now.
        queries: At least one id.
        title: The page's title; a sentence about the gallery if None.

    Returns:
        The HTML file's bytes.
    """
    gallery = explorer.gallery
    now = explorer._finding
    findings = [
        now if q == now.query and now.region is None else find(gallery, q, explorer.k, None, explorer.method)
        for q in queries
    ]
    whys = [why for finding in findings for why in finding.why]
    ceiling = max(MOST_BYTES, MOST_BYTES_PER_QUERY * len(queries))
    smallest = b""
    for quality in QUALITIES:  # of the images; the numbers do not depend on it
        content, fits = _finest_page(_Draft(explorer, findings, title, quality), whys, ceiling)
        if fits:
            return content
        smallest = content if not smallest or len(content) < len(smallest) else smallest
    return smallest


def _finest_page(draft: "_Draft", whys: list[Decomposition], ceiling: int) -> tuple[bytes, bool]:
    """The page with the most exact pair tensors that fit, or the smallest one, and whether it fits."""
    values = sum(pair_count(why) for why in whys)
    for form, size in (("f32", 4), ("i16", 2)):
        if values * size < ceiling:
            content, _ = draft.page(form)
            if len(content) <= ceiling:
                return content, True
    tried = [draft.page("i8")] if values < ceiling else []
    if all(why.query_local is not None and why.gallery_local is not None for why in whys):
        tried += _finest_factors(draft, ceiling)
    tried = tried or [draft.page("i8")]
    fitting = [each for each in tried if len(each[0]) <= ceiling]
    if fitting:
        return min(fitting, key=lambda each: each[1])[0], True
    return min((content for content, _ in tried), key=len), False


class _Draft:
    """One page in whatever form its pair tensors take; what all forms share is made once."""

    def __init__(
        self, explorer: "Explorer", findings: list[Finding], title: str | None, quality: int = QUALITIES[0]
    ) -> None:
        self.explorer, self.findings, self.title, self.quality = explorer, findings, title, quality
        self._files: dict[int, tuple[bytes, str]] = {}

    def encode(self, item: int) -> tuple[bytes, str]:
        """An image's file."""
        if item not in self._files:
            self._files[item] = encode_small(self.explorer.gallery.view(item), self.quality)
        return self._files[item]

    def page(self, form: str, bits: int = 8) -> tuple[bytes, float]:
        """The page and how far its pair tensors lie from the exact ones."""
        return _page(self, form, bits)

    def vectors(self) -> dict[int, np.ndarray]:
        """Local embeddings of every image on the page."""
        found: dict[int, np.ndarray] = {}
        for finding in self.findings:
            for item, why in zip(finding.ids, finding.why, strict=True):
                if why.query_local is not None and why.gallery_local is not None:
                    found.setdefault(finding.query, why.query_local.vectors)
                    found.setdefault(item, why.gallery_local.vectors)
        return found


def _finest_factors(draft: _Draft, ceiling: int) -> list[tuple[bytes, float]]:
    """Factors at eight bits, and with as many more as there is room for."""
    first = draft.page("factors", 8)
    per_bit = sum(v.size for v in draft.vectors().values()) / 8 * 4 / 3
    bits = min(15, 8 + int((ceiling - len(first[0])) / per_bit))
    while bits > 8:
        finer = draft.page("factors", bits)
        if len(finer[0]) <= ceiling:
            return [first, finer]
        bits -= 1
    return [first]


def _page(draft: _Draft, form: str, bits: int) -> tuple[bytes, float]:
    explorer, findings, title = draft.explorer, draft.findings, draft.title
    gallery = explorer.gallery
    buffer = PageBuffer()
    factors = factors_of(draft.vectors(), bits) if form == "factors" else None
    rounded: list[np.ndarray] = []
    error = 0.0

    def pairs(finding: Finding, n: int) -> Ref | None:
        why = finding.why[n]
        tensor = why.contributions
        if tensor is None:
            return None
        shape = (why.overall_map("query").size, why.overall_map("gallery").size)
        if factors is not None:
            rounded.append(factors.pairs(finding.query, finding.ids[n], finding.scales[n]))
            return {"as": "factors"}
        if form in ("i8", "i16"):
            values, step = stepped(tensor, int(form[1:]))
            rounded.append((values * step).astype(np.float32).reshape(shape))
            ref = buffer.integers(values)  # the very dict: its offset is set when the page is laid out
            ref.update({"as": form, "step": step})
            return ref
        return {"as": "f32", **buffer.floats(tensor)}

    pictures: dict[str, Any] = {}
    screens: dict[str, Any] = {}
    for finding in findings:
        screens[str(finding.query)] = pack(
            gallery,
            finding,
            buffer,
            pictures,
            draft.encode,
            pairs,
            with_gram=factors is None,
        )
    if factors is not None:
        for item, cells in factors.cells.items():
            planes = np.stack([cells & 255, cells >> 8]).astype(np.uint8)  # low bytes first, then high ones
            ref = buffer.file(planes.tobytes())
            ref.update({"rank": factors.rank, "step": factors.step})
            pictures[str(item)]["factors"] = ref
    count, data = buffer.laid_out()
    if rounded:
        error = largest_error(rounded, [why for finding in findings for why in finding.why])
        for screen in screens.values():
            screen["rounding"] = (
                f"cell pairs rounded to ±{_tiny(error)}; scores, sums and overall maps are exact"
            )
    queries = [finding.query for finding in findings]
    start = explorer.query if explorer.query in queries else queries[0]
    same = start == explorer.query and explorer.ranked_by == "similarity"
    payload = {
        "traits": {
            **{name: getattr(explorer, name) for name in _TRAITS},
            "query": start,
            "focus": explorer.focus if same else 1,
            "pin": explorer.pin if same else None,
            "region": explorer.region if same else None,
            "ranked_by": "similarity",
            "_gallery": gallery_meta(gallery, queries),
            "_audit": _audit_of(explorer, queries),
            "_host": {"kernel": False, "reason": NEEDS_KERNEL},
        },
        "pictures": pictures,
        "screens": screens,
    }
    words = json.dumps(payload, separators=(",", ":"), allow_nan=False, default=_plain).encode("utf-8")
    head = np.array([len(words), count], "<u4").tobytes()
    packed = gzip.compress(head + words + data, 9, mtime=0)
    said = title or f"Why these images match · {_counted(len(queries), 'query', 'queries')} · dmlviz"
    module = built("explorer.js").decode("utf-8").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    page = _PAGE.format(
        title=escape(said),
        heading=f"<h1>{escape(title)}</h1>\n" if title else "",
        data=base64.b64encode(packed).decode("ascii"),
        plotly=base64.b64encode(built("plotly.js.gz")).decode("ascii"),
        module=module,
    )
    return page.encode("utf-8"), error


def _audit_of(explorer: "Explorer", queries: list[int]) -> dict[str, Any] | None:
    """The misses among a page's queries, where they are known."""
    audit = explorer._audit
    if audit is None:
        return None
    kept = [n for n, query in enumerate(audit["ids"]) if query in set(queries)]
    return {name: [values[n] for n in kept] for name, values in audit.items()}


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _tiny(value: float) -> str:
    """A rounding error as people read it, one figure, rounded up: 9e−5."""
    power = math.floor(math.log10(value)) if value > 0 else 0
    figure = math.ceil(value / 10.0**power - 1e-9)
    if figure == 10:
        figure, power = 1, power + 1
    return f"{figure}e{power}".replace("-", "−")


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
