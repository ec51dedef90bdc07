"""The picture that stands in for a live Explorer in notebooks that are read without a kernel."""

import base64
from html import escape

from dmlviz.widgets.explained import Explained
from dmlviz.widgets.pictures import contact_sheet

_SHOWN = 5


def still(explained: Explained, method: str) -> str:
    """The query and its best matches as an image tag, with the maps that are there already."""
    gallery, finding = explained.gallery, explained.finding
    shown = range(min(_SHOWN, len(finding.ranking)))
    known = explained.known(method)
    first = known.get(0)
    views = [gallery.query_view(finding.query)]
    maps = [first.overall_map("query") if first is not None and first.has_map("query") else None]
    places = [None if first is None else first.query_geometry]
    captions = [f"query {finding.query}"]
    for n in shown:
        why = known.get(n)
        views.append(gallery.view(finding.ids[n]))
        maps.append(why.overall_map("gallery") if why is not None and why.has_map("gallery") else None)
        places.append(None if why is None else why.gallery_geometry)
        verdict = {True: ", hit", False: ", miss", None: ""}[finding.hits[n]]
        captions.append(f"{n + 1}: {float(finding.ranking.similarities[n]):.3f}{verdict}")
    content = base64.b64encode(contact_sheet(views, maps, places, captions)).decode("ascii")
    said = escape("; ".join(captions), quote=True)
    return f'<img alt="{said}" src="data:image/png;base64,{content}" style="max-width:100%">'
