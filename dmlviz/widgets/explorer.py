"""The Explorer: pick a query, browse its ranking, hover a pixel, and see what it matches, in numbers."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import traitlets

from dmlviz.explanation import Decomposition, Side
from dmlviz.widgets import checks, measuring
from dmlviz.widgets.assets import built, plotly_asset
from dmlviz.widgets.explained import Explained, Paces
from dmlviz.widgets.finding import find
from dmlviz.widgets.judged import judgement_of, pack_index, pack_judgement, why_unjudged
from dmlviz.widgets.measuring import SECONDS, Measuring
from dmlviz.widgets.offered import reasons_against
from dmlviz.widgets.picker import audit_is_quick, audit_meta, gallery_meta
from dmlviz.widgets.pictures import encode
from dmlviz.widgets.screen import pack_live, pack_more, picture_key, views_of
from dmlviz.widgets.still import still
from dmlviz.widgets.trusted import figures_of, joined, pack_trust

if TYPE_CHECKING:
    from dmlviz.index import RecallCheck
    from dmlviz.retrieval import Gallery, Ranking
    from dmlviz.retrieval.metrics import Evaluation

_AT_WORK = threading.RLock()  # one search or forward pass at a time: page events come on another thread
_KEPT_PICTURES = 2000
_AT_A_TIME = 0.3  # seconds of explaining per answer, so that the page's next wish is heard soon
_FROM_START = ("focus", "pin", "region", "ranked_by")  # what a new query begins anew
_OPTIONS = (
    "focus",
    "pin",
    "region",
    "ranked_by",
    "mode",
    "reading",
    "opacity",
    "scale",
    "method",
    "compare",
    "theme",
    "trust",
    "protocol",
)
_JUDGING = ("figures", "recall")


class Explorer(anywidget.AnyWidget):
    """Look at a gallery's rankings and at why each image matches.

    Put it last in a notebook cell. Every public attribute works both ways: set it and the page follows, act on
    the page and it changes; `observe` tells of changes. Hovering needs no kernel and sends it nothing.

    Explanations that come from what the gallery remembers are made for the whole ranking. Those of slower
    methods are made for the image in focus first, then for the others one by one while nothing else is asked.

    Args:
        gallery: What is searched.
        query: The first query's id; by default the worst miss of a labelled gallery, else query 0.
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
        method: How explanations are computed; one that suits the gallery, see `dmlviz.explanation.methods_for`.
        compare: A second method beside it on the same pair, or None. Where `method` becomes this one, the two
            change places.
        theme: "auto" follows the notebook; "light", "dark".
        trust: What "How far to trust this" shows: the frame of figures of `dmlviz.faithfulness.trust(gallery)`, or
            None. Takes that object, an `Evaluation`, or a frame; what the page has measured itself is added.
        protocol: What "How good is this ranking" shows, and one of the orders of the queries: what
            `gallery.evaluate` returns, or None for the gallery's own measure, `gallery.evaluate()`, which is taken
            at once where that is quick and else when the page asks. Takes a protocol's name, too, and evaluates it.

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
    focus = checks.Checked(1, checks.rank, "rank of the match shown large")
    pin = checks.Checked(None, checks.pin, "the point that stays: side, row, col")
    region = checks.Checked(None, checks.region, "query, top, left, bottom, right in pixels")
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
    method = checks.Checked("decomposition", checks.method, "how explanations are computed")
    compare = checks.Checked(None, checks.compare, "a second method on the same pair")
    theme = checks.Checked(
        "auto", checks.one_of("theme", checks.THEMES), "one of " + ", ".join(checks.THEMES)
    )
    trust = checks.Checked(None, figures_of, "figures of how far to trust each method", sync=False)
    protocol = checks.Checked(None, judgement_of, "how good the rankings are", sync=False)

    _screen = traitlets.Dict().tag(sync=True)
    _more = traitlets.Dict(None, allow_none=True).tag(sync=True)
    _gallery = traitlets.Dict().tag(sync=True)
    _audit = traitlets.Dict(None, allow_none=True).tag(sync=True)
    _host = traitlets.Dict().tag(sync=True)
    _trust = traitlets.Dict().tag(sync=True)
    _protocol = traitlets.Dict().tag(sync=True)
    _index = traitlets.Dict().tag(sync=True)
    _judging = traitlets.Dict().tag(sync=True)
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
        self._pictures: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._paces = Paces()
        self._measuring = Measuring(
            lambda method: measuring.measured(gallery, method), self._learn_trust, self._show_trust
        )
        self._judge = Measuring(self._judged, self._learn_judged, self._show_judging)
        self._own: Evaluation | None = None
        self._recall: RecallCheck | None = None
        self._unjudged = why_unjudged(gallery)
        audit = None
        with _AT_WORK:
            self._reasons = reasons_against(gallery)
            if audit_is_quick(gallery):
                audit = audit_meta(gallery)
                self._judge_own()
            picker = gallery_meta(gallery, self._reasons)
            if query is None:
                query = audit["ids"][0] if audit and audit["ids"] else 0
                picker["start"] = "misses" if audit and audit["ids"] else "all"
            query, k = checks.query_id(self, query), checks.depth(self, k)
            first = {"query": query, "k": k, "method": options.pop("method", "decomposition")}
            checks.method(self, first["method"])
            # What later checks refer to comes first: the ranking, then the region, then what ranks.
            self._explained = Explained(gallery, find(gallery, query, k, None), self._paces)
            super().__init__(
                **first,
                _screen=pack_live(self._explained, self._picture, 1, [first["method"]]),
                _gallery=picker,
                _audit=audit,
                _host={"kernel": True, "reason": ""},
                _trust=self._trust_meta(None),
                _protocol=self._protocol_meta(None),
                _index=pack_index(gallery, None),
                _judging={"waiting": [], "failed": {}},
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
        return self._explained.finding.ranking

    @property
    def why(self) -> Decomposition:
        """The focused match, explained by `method`."""
        with _AT_WORK:
            return self._explained.why(self.method, self.focus - 1)

    def to_html(
        self,
        path: str | PathLike[str],
        queries: Iterable[int] | None = None,
        title: str | None = None,
        methods: Iterable[str] | None = None,
    ) -> Path:
        """Write the Explorer as one HTML file that needs no kernel and no network.

        Hovering, focus, modes, readings, scales and keys work in it as they do here, and so does changing
        between the methods that it carries. Scores, sums and overall maps are the exact float32 numbers. Pair
        tensors are exact where they fit; otherwise they are rounded and then balanced so that each row and
        column sums to the exact overall map, and the page says how far the rounding goes. What needs a kernel is
        greyed there, with the reason.

        Args:
            path: The file to write; one that is there is replaced.
            queries: Ids of the queries that can be picked in the page, in their order; the current one if None.
            title: The page's title.
            methods: The methods that the page carries, each for every ranked image; `method` and `compare` if
                None. A slow one takes its time for each pair.

        Returns:
            The path.

        Raises:
            TypeError: If a query is not a whole number.
            IndexError: If a query is not in the gallery.
            ValueError: If there are no queries or methods, or a method is unknown or does not suit the gallery.
            FileNotFoundError: If the folder does not exist.
        """
        from dmlviz.widgets.page import page_html
        from dmlviz.widgets.page_file import write_page

        asked: Iterable[Any] = [self.query] if queries is None else queries
        chosen: list[int] = list(dict.fromkeys(checks.query_id(self, query) for query in asked))
        if not chosen:
            raise ValueError("queries is empty; give at least one id, or leave it out for the current query")
        if isinstance(methods, str):
            raise ValueError(
                f"methods must be a list of names; got the text {methods!r}, write [{methods!r}]"
            )
        names = self._on_screen() if methods is None else [checks.method(self, name) for name in methods]
        if not names:
            raise ValueError("methods is empty; give at least one name, or leave it out for the current one")
        with _AT_WORK:
            content = page_html(self, chosen, list(dict.fromkeys(names)), title)
        return write_page(path, content)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": still(self._explained, self.method)}, metadata

    def __repr__(self) -> str:
        return (
            f"Explorer(query={self.query}, rank {self.focus} of {len(self.ranking)}, "
            f"{len(self.gallery.images)} images)"
        )

    # ---- what changes

    @traitlets.observe("query", "k", "region", "ranked_by")
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
                finding = find(self.gallery, self.query, self.k, self.region if by_region else None)
                explained = Explained(self.gallery, finding, self._paces)
                anew: dict[str, Any] = {}
                if new_query:
                    anew = {name: self.trait_defaults(name) for name in _FROM_START}
                elif change.name == "region" and self.region is None:
                    anew = {"ranked_by": "similarity"}
                screen = pack_live(explained, self._picture, 1, self._on_screen())
            except BaseException:
                self._put(was)
                raise
            self._explained = explained
            self._put({**anew, "focus": 1, "_screen": screen, "_more": None})

    @traitlets.observe("method")
    def _change_places(self, change: Any) -> None:
        if not self._quiet and self.compare == change.new:
            self.compare = change.old

    @traitlets.observe("trust")
    def _show_trust(self, _: Any = None) -> None:
        with _AT_WORK:
            self._trust = self._trust_meta(self.trust)

    def _trust_meta(self, figures: Any) -> dict[str, Any]:
        """What the page shows of how far to trust the methods, and what is being measured."""
        at_work = self._measuring
        under_way = {"measuring": list(at_work.waiting), "failed": dict(at_work.failed)}
        return {**pack_trust(self.gallery, figures), **under_way, "seconds": SECONDS, "reason": ""}

    def _learn_trust(self, _: str, found: Any) -> None:
        """Add what was measured, on the thread that measured it."""
        figures = figures_of(self, found)
        if figures is not None:
            with _AT_WORK:
                self.trust = joined(self.trust, figures)

    @traitlets.observe("protocol")
    def _show_protocol(self, _: Any = None) -> None:
        with _AT_WORK:
            self._protocol = self._protocol_meta(self.protocol)

    def _protocol_meta(self, judgement: Any) -> dict[str, Any]:
        """What the page shows of how good the rankings are, or why there is nothing to show."""
        told = pack_judgement(self.gallery, judgement or self._own)
        reason = "" if told else self._unjudged
        return {"judgement": told, "queries": len(self.gallery.queries), "reason": reason}

    def _judge_own(self) -> None:
        """Take the gallery's own measure; quick once its misses are known."""
        try:
            self._own = self.gallery.evaluate()
        except ValueError as problem:  # no query has anything to find
            self._unjudged = str(problem)

    def _judged(self, what: str) -> Any:
        """What the page asked for, on a thread of its own: figures and misses, or how many neighbours are missed."""
        if what == "recall":
            return self.gallery.recall()
        self.gallery.evaluate()
        return audit_meta(self.gallery)

    def _learn_judged(self, what: str, found: Any) -> None:
        """Take what was judged, on the thread that judged it."""
        with _AT_WORK:
            if what == "recall":
                self._recall = found
                self._index = pack_index(self.gallery, found)
            else:
                self._judge_own()
                self._audit = found
                self._show_protocol()

    def _show_judging(self) -> None:
        with _AT_WORK:
            self._judging = {"waiting": list(self._judge.waiting), "failed": dict(self._judge.failed)}

    def _on_screen(self) -> list[str]:
        return [self.method] if self.compare in (None, self.method) else [self.method, self.compare]

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
                if kind == "explain":
                    self._explain(content)
                elif kind == "trust":
                    self._measuring.ask(checks.method(self, content.get("method")))
                elif kind == "judge":
                    self._judge.ask(checks.one_of("what", _JUDGING)(self, content.get("what")))
                elif kind == "audit":
                    self._audit = audit_meta(self.gallery)
                    self._judge_own()
                    self._show_protocol()
                elif kind == "save":
                    from dmlviz.widgets.page import page_html

                    page = page_html(self, [self.query], self._on_screen(), None, whole=False)
                    self.send({"kind": "page", "name": f"query-{self.query}.html"}, buffers=[page])
        except Exception as problem:
            self._tell(problem)

    def _explain(self, wish: dict[str, Any]) -> None:
        """Answer the page's wish for explanations of some items by one method, the most urgent first."""
        explained = self._explained
        if wish.get("query") != explained.finding.query:
            return  # the page has another query by now
        method = checks.method(self, wish.get("method"))
        items = [n for n in wish.get("items", []) if isinstance(n, int) and n in explained.ranked]
        if not items:
            return
        try:
            self._more = pack_more(explained, method, items, _AT_A_TIME, bool(wish.get("margins")))
        except Exception as problem:  # said where the maps would be; asking again would fail again
            said = f"{type(problem).__name__}: {problem}"
            meta = {"query": explained.finding.query, "method": method, "whys": [], "failed": said}
            self._more = {"meta": {**meta, "item": items[0], "seconds": None}, "data": b""}

    def _tell(self, problem: Exception) -> None:
        text = f"{type(problem).__name__}: {problem}"
        self._error = {"text": text, "count": self._error["count"] + 1}

    # ---- what the screen is made of

    def _view_size(self, side: str) -> tuple[int, int]:
        return views_of(self.gallery)["query" if side == "query" else "gallery"]

    def _view(self, side: Side, item: int) -> Any:
        return self.gallery.query_view(item) if side == "query" else self.gallery.view(item)

    def _picture(self, side: Side, item: int) -> tuple[bytes, str]:
        """An image's file for the page, kept while there is room."""
        kept, key = self._pictures, picture_key(self.gallery, side, item)
        if key in kept:
            kept.move_to_end(key)
        else:
            kept[key] = encode(self._view(side, item))
            while len(kept) > _KEPT_PICTURES:
                kept.popitem(last=False)
        return kept[key]
