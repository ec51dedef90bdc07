"""The Explorer: pick a query, browse its ranking, hover a pixel, and see what it matches, in numbers."""

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterable
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import numpy as np
import traitlets

from dmlviz.explanation import METHODS, Decomposition
from dmlviz.widgets import checks
from dmlviz.widgets.assets import built, plotly_asset
from dmlviz.widgets.finding import Finding, find
from dmlviz.widgets.picker import audit_is_quick, audit_meta, gallery_meta
from dmlviz.widgets.pictures import contact_sheet, encode
from dmlviz.widgets.screen import pack_live, pack_pair

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery, Ranking

_AT_WORK = threading.RLock()  # one search or forward pass at a time: page events come on another thread
_KEPT_PICTURES = 2000
_FROM_START = ("focus", "pin", "region", "ranked_by")  # what a new query begins anew
_OPTIONS = ("focus", "pin", "region", "ranked_by", "mode", "reading", "opacity", "scale", "method", "theme")


class Explorer(anywidget.AnyWidget):
    """Look at a gallery's rankings and at why each image matches.

    Put it last in a notebook cell. Every public attribute works both ways: set it and the page follows, act on
    the page and it changes; `observe` tells of changes. Hovering needs no kernel and sends it nothing.

    Args:
        gallery: What is searched.
        query: The first query's id; by default the worst miss of a labelled gallery, else image 0.
        k: How many images are ranked.
        **options: First values of the attributes below.

    Attributes:
        query: Id of the query.
        k: How many images are ranked (≥ 1).
        focus: Rank of the match that is shown large; 1 is the best.
        pin: None or ["query" or "match", row, col], pixels of that image's view: the point that stays.
        region: None or ["query", top, left, bottom, right], pixels of the query's view, edges included. It
            stands for the cells whose centres it holds.
        ranked_by: "similarity", or "region": what the region's cells contribute to the similarity.
        mode: The maps: "overall", "point" (the hovered point's map on the whole ranking) or "margin" (why this
            image and not the best of the other kind).
        reading: What a hovered point shows on the other image: "contribution" or "likeness".
        opacity: Of the maps, from 0 to 1.
        scale: What full colour stands for: the largest value of this "pair" or of the whole "ranking".
        method: How explanations are computed.
        theme: "auto" follows the notebook; "light", "dark".

    Raises:
        TypeError: If the gallery is none, or an option is unknown.
        IndexError: If the query is not in the gallery.
        ValueError: If an option has a value that it cannot have.

    Examples:
        >>> import dmlviz as dv
        >>> ex = dv.Explorer(dv.demo_gallery(), query=3)
        >>> ex.focus = 2
        >>> ex.why.adds_up, len(ex.ranking)
        (True, 12)
        >>> ex.query = 960
        Traceback (most recent call last):
        IndexError: query must be an id of the gallery, from 0 to 959; got 960
        >>> ex.query
        3
    """

    query = checks.Checked(0, checks.query_id, "id of the query")
    k = checks.Checked(12, checks.depth, "how many images are ranked")
    focus = checks.Checked(1, checks.rank, "rank of the match that is shown large, 1 is best")
    pin = checks.Checked(None, checks.pin, 'None or ["query" or "match", row, col], pixels of the view')
    region = checks.Checked(None, checks.region, 'None or ["query", top, left, bottom, right], pixels')
    ranked_by = checks.Checked("similarity", checks.ranked_by, "what ranks: " + ", ".join(checks.RANKED_BY))
    mode = checks.Checked("overall", checks.mode, "the maps: " + ", ".join(checks.MODES))
    reading = checks.Checked(
        "contribution",
        checks.one_of("reading", checks.READINGS),
        "hover shows: " + ", ".join(checks.READINGS),
    )
    opacity = checks.Checked(0.85, checks.opacity, "of the maps, 0 to 1")
    scale = checks.Checked(
        "pair", checks.one_of("scale", checks.SCALES), "full colour: " + ", ".join(checks.SCALES)
    )
    method = checks.Checked("decomposition", checks.one_of("method", METHODS), "one of " + ", ".join(METHODS))
    theme = checks.Checked(
        "auto", checks.one_of("theme", checks.THEMES), "one of " + ", ".join(checks.THEMES)
    )

    _screen = traitlets.Dict().tag(sync=True)
    _pair = traitlets.Dict(None, allow_none=True).tag(sync=True)
    _gallery = traitlets.Dict().tag(sync=True)
    _audit = traitlets.Dict(None, allow_none=True).tag(sync=True)
    _host = traitlets.Dict().tag(sync=True)
    _error = traitlets.Dict().tag(sync=True)
    _plotly = traitlets.Instance(ipywidgets.Widget).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(self, gallery: "Gallery", query: int | None = None, k: int = 12, **options: Any) -> None:
        if unknown := sorted(set(options) - set(_OPTIONS)):
            raise TypeError(
                f"Explorer has no option {unknown[0]!r}; it takes query, k, {', '.join(_OPTIONS)}"
            )
        if not all(hasattr(gallery, name) for name in ("search", "images", "embedder", "embeddings")):
            raise TypeError(
                f"Explorer looks at a Gallery; got {type(gallery).__name__}. Make one with "
                "dmlviz.Gallery.build(images, embedder) or dmlviz.demo_gallery()"
            )
        self.gallery = gallery
        self._quiet = True
        self._pictures: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        audit = None
        with _AT_WORK:
            if audit_is_quick(gallery):
                audit = audit_meta(gallery)
            picker = gallery_meta(gallery)
            if query is None:
                query = audit["ids"][0] if audit and audit["ids"] else 0
                picker["start"] = "misses" if audit and audit["ids"] else "all"
            query, k = checks.query_id(self, query), checks.depth(self, k)
            method = checks.one_of("method", METHODS)(self, options.pop("method", "decomposition"))
            # What later checks refer to comes first: the ranking, then the region, then what ranks.
            self._finding = find(gallery, query, k, None, method)
            first = {"query": query, "k": k, "method": method}
            super().__init__(
                **first,
                _screen=pack_live(gallery, self._finding, self._picture, 1),
                _gallery=picker,
                _audit=audit,
                _host={"kernel": True, "reason": ""},
                _error={"text": "", "count": 0},
                _plotly=plotly_asset(),
                _esm=built("explorer.js").decode("utf-8"),
            )
        self._quiet = False
        for name in ("region", "ranked_by", *options):  # a later one may refer to an earlier one
            if name in options:
                setattr(self, name, options[name])
        self.on_msg(self._heard)

    # ---- what Python reads

    @property
    def ranking(self) -> "Ranking":
        """The ranking on the screen."""
        return self._finding.ranking

    @property
    def why(self) -> Decomposition:
        """The focused match, taken apart."""
        return self._finding.why[self.focus - 1]

    def to_html(
        self,
        path: str | PathLike[str],
        queries: Iterable[int] | None = None,
        title: str | None = None,
    ) -> Path:
        """Write the Explorer as one HTML file that needs no kernel and no network.

        Hovering, focus, modes, readings, scales and keys work in it as they do here. Scores, sums and overall
        maps are the exact float32 numbers. Pair tensors are exact where they fit; otherwise they are rounded
        and then balanced so that each row and column sums to the exact overall map, and the page says how far
        the rounding goes. What needs a kernel is greyed there, with the reason.

        Args:
            path: The file to write; one that is there is replaced.
            queries: Ids of the queries that can be picked in the page, in their order; the current one if None.
            title: The page's title.

        Returns:
            The path.

        Raises:
            TypeError: If a query is not a whole number.
            IndexError: If a query is not in the gallery.
            ValueError: If there are no queries.
            FileNotFoundError: If the folder does not exist.
        """
        from dmlviz.widgets.page import page_html, write_page

        asked: Iterable[Any] = [self.query] if queries is None else queries
        chosen: list[int] = list(dict.fromkeys(checks.query_id(self, query) for query in asked))
        if not chosen:
            raise ValueError("queries is empty; give at least one id, or leave it out for the current query")
        with _AT_WORK:
            content = page_html(self, chosen, title)
        return write_page(path, content)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": self._still()}, metadata

    def __repr__(self) -> str:
        return (
            f"Explorer(query={self.query}, rank {self.focus} of {len(self.ranking)}, "
            f"{len(self.gallery.images)} images)"
        )

    # ---- what changes

    @traitlets.observe("query", "k", "method", "region", "ranked_by")
    def _search_again(self, change: Any) -> None:
        if self._quiet:
            return
        with _AT_WORK:
            if change.name == "region" and self.ranked_by != "region":
                return
            was = {change.name: change.old}
            new_query = change.name == "query"
            by_region = self.ranked_by == "region" and not new_query and self.region is not None
            try:
                finding = find(
                    self.gallery, self.query, self.k, self.region if by_region else None, self.method
                )
                anew: dict[str, Any] = {}
                if new_query:
                    anew = {name: self.trait_defaults(name) for name in _FROM_START}
                elif change.name == "region" and self.region is None:
                    anew = {"ranked_by": "similarity"}
                focus = 1 if change.name != "method" else self.focus
                screen = pack_live(self.gallery, finding, self._picture, focus)
            except BaseException:
                self._put(was)
                raise
            self._finding = finding
            self._put({**anew, "focus": focus, "_screen": screen, "_pair": None})

    @traitlets.observe("focus")
    def _send_pair(self, change: Any) -> None:
        if self._quiet:
            return
        with _AT_WORK:
            items = self._screen["meta"]["items"]
            if items[self.focus - 1]["pairs"] is None:
                self._pair = pack_pair(self._finding, self.focus)

    def _put(self, values: dict[str, Any]) -> None:
        """Set several traits as one message, without reacting to them."""
        quiet, self._quiet = self._quiet, True
        try:
            with self.hold_sync():
                for name, value in values.items():
                    setattr(self, name, value)
        finally:
            self._quiet = quiet

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sends; what cannot be is refused with words on the page."""
        try:
            super().set_state(sync_data)
        except Exception as problem:  # the page is told; in a kernel callback nobody else would hear
            self._tell(problem)
            self.send_state([name for name in sync_data if name in self.keys])
        else:
            if self._error["text"]:
                self._error = {"text": "", "count": self._error["count"] + 1}

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        try:
            with _AT_WORK:
                if kind == "audit":
                    self._audit = audit_meta(self.gallery)
                elif kind == "save":
                    from dmlviz.widgets.page import page_html

                    page = page_html(self, [self.query], None)
                    self.send({"kind": "page", "name": f"query-{self.query}.html"}, buffers=[page])
        except Exception as problem:
            self._tell(problem)

    def _tell(self, problem: Exception) -> None:
        text = f"{type(problem).__name__}: {problem}"
        self._error = {"text": text, "count": self._error["count"] + 1}

    # ---- what the screen is made of

    def _view_size(self, side: str) -> tuple[int, int]:
        rows, cols = self.gallery.embedder.input_size  # one size for every image
        return int(rows), int(cols)

    def _picture(self, item: int) -> tuple[bytes, str]:
        """An image's file for the page, kept while there is room."""
        kept = self._pictures
        if item in kept:
            kept.move_to_end(item)
        else:
            kept[item] = encode(self.gallery.view(item))
            while len(kept) > _KEPT_PICTURES:
                kept.popitem(last=False)
        return kept[item]

    def _still(self) -> str:
        """The query and its best matches as a picture, for notebooks that are read without a kernel."""
        finding = self._finding
        shown = range(min(5, len(finding.ranking)))
        why = finding.why
        views = [self.gallery.view(finding.query), *(self.gallery.view(finding.ids[n]) for n in shown)]
        maps = [self.why.overall_map("query"), *(why[n].overall_map("gallery") for n in shown)]
        places = [why[0].query_geometry, *(why[n].gallery_geometry for n in shown)]
        captions = [f"query {finding.query}", *(_caption(finding, n) for n in shown)]
        content = base64.b64encode(contact_sheet(views, maps, places, captions)).decode("ascii")
        said = escape("; ".join(captions), quote=True)
        return f'<img alt="{said}" src="data:image/png;base64,{content}" style="max-width:100%">'


def _caption(finding: Finding, n: int) -> str:
    verdict = {True: ", hit", False: ", miss", None: ""}[finding.hits[n]]
    score = float(np.asarray(finding.ranking.similarities)[n])
    return f"{n + 1}: {score:.3f}{verdict}"
