"""The Explorer as one HTML file: the same page, with everything that it shows inside it."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import LocalEmbeddings
from dmlviz.explanation import Decomposition, Side
from dmlviz.widgets.buffers import Buffer, Ref
from dmlviz.widgets.explained import Explained
from dmlviz.widgets.finding import find
from dmlviz.widgets.judged import at_queries
from dmlviz.widgets.likeness import product_scale
from dmlviz.widgets.packing import WhyPacker, digest
from dmlviz.widgets.page_file import PageBuffer, filled_page
from dmlviz.widgets.picker import gallery_meta
from dmlviz.widgets.pictures import encode_small
from dmlviz.widgets.rounding import Factors, factors_of, largest_error, stepped
from dmlviz.widgets.screen import pack_finding, pack_whys, picture_key, views_of

if TYPE_CHECKING:
    from dmlviz.widgets.explorer import Explorer

MOST_BYTES, MOST_BYTES_PER_QUERY = 2_000_000, 200_000
QUALITIES = (82, 66, 50)
NEEDS_KERNEL = "this needs the notebook: a saved page has no kernel to search with"
NOT_CARRIED = "this saved page does not carry it"
NOT_MEASURED = "no figures were measured before this page was exported; set ex.trust"
NOT_JUDGED = "no figures were taken before this page was exported; set ex.protocol"
_TRAITS = ("k", "mode", "reading", "opacity", "scale", "theme")


def page_html(
    explorer: "Explorer", queries: list[int], methods: list[str], title: str | None, whole: bool = True
) -> bytes:
    """The page for these queries, UTF-8.

    Args:
        explorer: Its gallery, its k and how it stands now.
        queries: At least one id.
        methods: At least one name.
        title: The page's title; a sentence about the gallery if None.
        whole: Whether every ranked image is explained; otherwise slow methods go along as far as they came.

    Returns:
        The HTML file's bytes.
    """
    now = explorer._explained
    screens = [
        now
        if q == now.finding.query and now.finding.region is None
        else Explained(explorer.gallery, find(explorer.gallery, q, explorer.k, None), explorer._paces)
        for q in queries
    ]
    for screen in screens:
        for method in methods:
            if whole or screen.paces.quick(method):
                screen.explain(method, screen.ranked)
                for n in screen.ranked:
                    screen.margin(method, n)
    draft = _Draft(explorer, screens, methods, title)
    ceiling = max(MOST_BYTES, MOST_BYTES_PER_QUERY * len(queries))
    smallest = b""
    for quality in QUALITIES:  # of the images; the numbers do not depend on it
        content, fits = _finest_page(draft.at(quality), ceiling)
        if fits:
            return content
        smallest = content if not smallest or len(content) < len(smallest) else smallest
    return smallest


def _finest_page(draft: "_Draft", ceiling: int) -> tuple[bytes, bool]:
    """The page with the most exact pair tensors that fit, or the smallest one, and whether it fits."""
    values = sum(0 if why.contributions is None else why.contributions.size for why in draft.whys())
    for form, size in (("f32", 4), ("i16", 2)):
        if values * size < ceiling:
            content, _ = draft.page(form)
            if len(content) <= ceiling:
                return content, True
    tried = [draft.page("i8")] if values < ceiling else []
    if draft.vectors():
        tried += _finest_factors(draft, ceiling)
    tried = tried or [draft.page("i8")]
    fitting = [each for each in tried if len(each[0]) <= ceiling]
    if fitting:
        return min(fitting, key=lambda each: each[1])[0], True
    return min((content for content, _ in tried), key=len), False


class _Draft:
    """One page in whatever form its pair tensors take; what all forms share is made once."""

    def __init__(
        self, explorer: "Explorer", screens: list[Explained], methods: list[str], title: str | None
    ) -> None:
        self.explorer, self.screens, self.methods, self.title = explorer, screens, methods, title
        self.quality = QUALITIES[0]
        self._files: dict[str, tuple[bytes, str]] = {}
        self._vectors: dict[bytes, np.ndarray] | None = None

    def at(self, quality: int) -> "_Draft":
        """The same draft with images of another quality."""
        if quality != self.quality:
            self.quality, self._files = quality, {}
        return self

    def whys(self) -> list[Decomposition]:
        """Every explanation on the page."""
        return [
            why
            for screen in self.screens
            for method in self.methods
            for n, why in screen.known(method).items()
            if n in screen.ranked
        ]

    def vectors(self) -> dict[bytes, np.ndarray]:
        """Local embeddings of one dimension whose products are the pairs, by their digest."""
        if self._vectors is None:
            found: dict[bytes, np.ndarray] = {}
            dimension = next((w.query_local.offset.shape[0] for w in self.whys() if w.query_local), None)
            for why in self.whys():
                if product_scale(why) is not None:
                    for local in (why.query_local, why.gallery_local):
                        if local is not None and local.offset.shape[0] == dimension:
                            found.setdefault(digest(local.vectors), local.vectors)
            self._vectors = found
        return self._vectors

    def encode(self, side: Side, item: int) -> tuple[bytes, str]:
        """An image's file."""
        key = picture_key(self.explorer.gallery, side, item)
        if key not in self._files:
            self._files[key] = encode_small(self.explorer._view(side, item), self.quality)
        return self._files[key]

    def page(self, form: str, bits: int = 8) -> tuple[bytes, float]:
        """The page and how far its pair tensors lie from the exact ones."""
        return _page(self, form, bits)


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


class _PagePacker(WhyPacker):
    """Packs pair tensors in the page's form, and keeps count of how far rounding goes."""

    def __init__(
        self, buffer: Buffer, views: dict[Side, tuple[int, int]], form: str, factors: "Factors | None"
    ) -> None:
        super().__init__(buffer, views)
        self.form, self.factors, self.error = form, factors, 0.0
        self._packed: dict[bytes, Ref] = {}

    def pairs(self, n: int, why: Decomposition, scale: float | None) -> Ref | None:
        tensor = why.contributions
        if tensor is None:
            return None
        if self.form == "f32":
            return super().pairs(n, why, scale)
        q, g = why.query_local, why.gallery_local
        keys = [digest(local.vectors) for local in (q, g) if local is not None]
        if self.factors is not None and scale is not None and all(key in self.factors.cells for key in keys):
            rounded = self.factors.pairs(keys[0], keys[1], scale)
            ref: Ref = {"as": "factors"}
        else:
            form = "i8" if self.form == "factors" else self.form
            values, step = stepped(tensor, int(form[1:]))
            rounded = (values * step).astype(np.float32).reshape(tensor.shape[0] * tensor.shape[1], -1)
            ref = self.buffer.integers(values)  # the very dict: its offset is set when the page is laid out
            ref.update({"as": form, "step": step})
        self.error = max(self.error, largest_error([rounded], [why]))
        return ref

    def local(self, local: LocalEmbeddings) -> dict[str, Any]:
        key = digest(local.vectors)
        if self.factors is None or key not in self.factors.cells:
            return super().local(local)
        if key not in self._packed:
            cells = self.factors.cells[key]
            planes = np.stack([cells & 255, cells >> 8]).astype(np.uint8)  # low bytes first, then high ones
            ref = self.buffer.file(planes.tobytes())
            ref.update({"rank": self.factors.rank, "step": self.factors.step})
            self._packed[key] = ref
        return {"gram": None, "factors": self._packed[key]}


def _page(draft: _Draft, form: str, bits: int) -> tuple[bytes, float]:
    buffer = PageBuffer()
    factors = factors_of(draft.vectors(), bits) if form == "factors" else None
    pictures: dict[str, Any] = {}
    screens: dict[str, Any] = {}
    packer = _PagePacker(buffer, views_of(draft.explorer.gallery), form, factors)
    for explained in draft.screens:
        meta = pack_finding(explained, buffer, pictures, draft.encode)
        meta["whys"] = {
            method: pack_whys(
                explained, packer, method, [n for n in explained.ranked if n in explained.known(method)]
            )
            for method in draft.methods
        }
        screens[str(explained.finding.query)] = meta
    if packer.error > 0:
        for screen in screens.values():
            screen["rounding"] = (
                f"cell pairs rounded to ±{_tiny(packer.error)}; scores, sums and overall maps are exact"
            )
    payload = {"traits": _traits(draft), "pictures": pictures, "screens": screens}
    counted = f"{len(screens)} {'query' if len(screens) == 1 else 'queries'}"
    said = draft.title or f"Why these images match · {counted} · dmlviz"
    return filled_page(payload, buffer, said, draft.title), packer.error


def _traits(draft: _Draft) -> dict[str, Any]:
    """How the page stands when it opens: as the Explorer does now, as far as it carries what that shows."""
    explorer, methods = draft.explorer, draft.methods
    queries = [explained.finding.query for explained in draft.screens]
    start = explorer.query if explorer.query in queries else queries[0]
    same = start == explorer.query and explorer.ranked_by == "similarity"
    method = explorer.method if explorer.method in methods else methods[0]
    compare = explorer.compare if explorer.compare in methods and explorer.compare != method else None
    reasons = {
        name: reason or ("" if name in methods else NOT_CARRIED) for name, reason in explorer._reasons.items()
    }
    return {
        **{name: getattr(explorer, name) for name in _TRAITS},
        "method": method,
        "compare": compare,
        "query": start,
        "focus": explorer.focus if same else 1,
        "pin": explorer.pin if same else None,
        "region": explorer.region if same else None,
        "ranked_by": "similarity",
        "_gallery": gallery_meta(explorer.gallery, reasons, queries),
        "_audit": _audit_of(explorer, queries),
        "_host": {"kernel": False, "reason": NEEDS_KERNEL},
        "_trust": _trust_of(explorer, methods),
        "_protocol": _protocol_of(explorer, queries),
        "_index": explorer._index,
        "_judging": {"waiting": [], "failed": {}},
    }


def _trust_of(explorer: "Explorer", methods: list[str]) -> dict[str, Any]:
    """The figures of a page's methods; nothing can be measured there."""
    meta = explorer._trust
    kept = {name: found for name, found in meta["methods"].items() if name in methods}
    return {**meta, "methods": kept, "measuring": [], "failed": {}, "reason": "" if kept else NOT_MEASURED}


def _protocol_of(explorer: "Explorer", queries: list[int]) -> dict[str, Any]:
    """How good the rankings of the whole gallery are, with the values of a page's queries."""
    meta = explorer._protocol
    told = at_queries(meta["judgement"], queries)
    return {**meta, "judgement": told, "reason": "" if told else meta["reason"] or NOT_JUDGED}


def _audit_of(explorer: "Explorer", queries: list[int]) -> dict[str, Any] | None:
    """The misses among a page's queries, where they are known."""
    audit = explorer._audit
    if audit is None:
        return None
    kept = [n for n, query in enumerate(audit["ids"]) if query in set(queries)]
    return {name: [values[n] for n in kept] for name, values in audit.items()}


def _tiny(value: float) -> str:
    """A rounding error as people read it, one figure, rounded up: 9e−5."""
    power = math.floor(math.log10(value)) if value > 0 else 0
    figure = math.ceil(value / 10.0**power - 1e-9)
    if figure == 10:
        figure, power = 1, power + 1
    return f"{figure}e{power}".replace("-", "−")
