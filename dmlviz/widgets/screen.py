"""A finding as one message: what the page needs to draw it, hover it and compare it, with no kernel."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dmlviz.explanation import Side
from dmlviz.widgets.buffers import Buffer, number
from dmlviz.widgets.explained import Explained
from dmlviz.widgets.judged import rough_scores
from dmlviz.widgets.packing import WhyPacker

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

MOST_PAIR_BYTES = 8_000_000

Encode = Callable[[Side, int], tuple[bytes, str]]


def views_of(gallery: "Gallery") -> dict[Side, tuple[int, int]]:
    """(height, width) in pixels of what the networks see: of a query, and of a gallery image."""
    (qh, qw), (gh, gw) = gallery.query_embedder.input_size, gallery.embedder.input_size
    return {"query": (int(qh), int(qw)), "gallery": (int(gh), int(gw))}


def asks_itself(gallery: "Gallery") -> bool:
    """Whether the gallery's own images are its queries, seen by one network."""
    return gallery.queries is gallery.images and gallery.query_embedder is gallery.embedder


def pack_live(explained: Explained, encode: Encode, focus: int, methods: Sequence[str]) -> dict[str, Any]:
    """A finding for the live page, with the explanations that come at once.

    Args:
        explained: The finding and its explanations.
        encode: Turns a side and an id into an image file and its media type.
        focus: The focused rank; its pair tensors come first.
        methods: Those on the screen.

    Returns:
        {"meta": JSON, "data": bytes}.
    """
    buffer, pictures = Buffer(), dict[str, Any]()
    meta = pack_finding(explained, buffer, pictures, encode)
    packer = WhyPacker(buffer, views_of(explained.gallery), MOST_PAIR_BYTES)
    order = [focus - 1, *(n for n in explained.ranked if n != focus - 1)]
    whys = {}
    for method in methods:
        if explained.paces.quick(method):
            explained.explain(method, order)
        known = [n for n in order if n in explained.known(method)]
        whys[method] = pack_whys(explained, packer, method, known)
    return {"meta": {**meta, "whys": whys, "pictures": pictures}, "data": buffer.taken()}


def pack_more(
    explained: Explained, method: str, wanted: Sequence[int], seconds: float, margins: bool
) -> dict[str, Any]:
    """The explanations that the page asks for, as many as are made in time.

    Args:
        explained: The finding and its explanations.
        method: How.
        wanted: Indices of items, the most urgent first; that one always comes along, with its pairs.
        seconds: How long the others may take.
        margins: Whether the first is held against the best of the other kind, too.

    Returns:
        {"meta": JSON, "data": bytes}.
    """
    buffer = Buffer()
    done = explained.explain(method, wanted, seconds)
    if margins:
        explained.margin(method, wanted[0])
    packer = WhyPacker(buffer, views_of(explained.gallery), MOST_PAIR_BYTES)
    meta = {
        "query": explained.finding.query,
        "method": method,
        "whys": pack_whys(explained, packer, method, done),
        "seconds": explained.paces.of(method),
        "failed": "",
    }
    return {"meta": meta, "data": buffer.taken()}


def pack_finding(
    explained: Explained, buffer: Buffer, pictures: dict[str, Any], encode: Encode
) -> dict[str, Any]:
    """Put a finding's pictures into the buffer and say what was found.

    Args:
        explained: The finding.
        buffer: Takes the image files.
        pictures: Takes each image once; shared by the screens of one page.
        encode: Turns a side and an id into an image file and its media type.

    Returns:
        The screen's description without its pictures and explanations, ready for JSON.
    """
    gallery, finding = explained.gallery, explained.finding
    ranking = finding.ranking
    rough = rough_scores(gallery, finding.query, finding.ids)
    items = [
        {
            "id": item,
            "rank": finding.ranks[n],
            "extra": n >= len(ranking),
            "hit": finding.hits[n],
            "score": number(finding.scores[n]),
            "rough": rough[n],
            "region": number(ranking.similarities[n])
            if finding.region is not None and n < len(ranking)
            else None,
            "other": finding.others[n],
            "picture": _picture(gallery, "gallery", item, buffer, pictures, encode),
        }
        for n, item in enumerate(finding.ids)
    ]
    return {
        "version": 2,
        "query": finding.query,
        "queryPicture": _picture(gallery, "query", finding.query, buffer, pictures, encode),
        "items": items,
        "kind": gallery.similarity,
        "rounding": "",
        "rankedBy": "similarity" if finding.region is None else "region",
        "region": finding.region,
        "labelled": ranking.hits is not None,
        "leftOut": ranking.left_out,
        "whyNoMargin": finding.why_no_margin,
    }


def pack_whys(
    explained: Explained, packer: WhyPacker, method: str, items: Iterable[int]
) -> list[dict[str, Any]]:
    """The explanations of these items, which are there already."""
    known = explained.known(method)
    return [packer.pack(n, known[n], explained.known_margin(method, n)) for n in items]


def picture_key(gallery: "Gallery", side: Side, item: int) -> str:
    """What a picture is called among a page's; a query that is a gallery image is that image."""
    return f"q{item}" if side == "query" and not asks_itself(gallery) else f"g{item}"


def _picture(
    gallery: "Gallery", side: Side, item: int, buffer: Buffer, pictures: dict[str, Any], encode: Encode
) -> str:
    key = picture_key(gallery, side, item)
    if key not in pictures:
        content, mime = encode(side, item)
        query = side == "query"
        images, labels = (
            (gallery.queries, gallery.query_labels) if query else (gallery.images, gallery.labels)
        )
        label = None if labels is None else labels[item]
        pictures[key] = {
            "id": int(item),
            "name": str(images.names[item]),
            "label": None if label is None else str(label),
            "image": buffer.file(content),
            "mime": mime,
            "view": list(views_of(gallery)[side]),
        }
    return key
