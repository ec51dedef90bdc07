"""Methods of explanation planted into the registry, as other people add theirs."""

import sys
import time
from types import ModuleType

from dmlviz.explanation import Decomposition, decompose_similarity, methods
from dmlviz.explanation.method import Method, against_index, suits_all


def one_sided(
    sides=("query", "gallery"), promises=False, kind=None, left=0.25, seconds=0.0, note="", pairs=False
):
    """of_ranking of a method whose maps are the decomposition's, weakened so that `left` of the score is missing."""

    def of_ranking(gallery, query, ids):
        time.sleep(seconds * len(ids))
        whys = []
        for local in gallery.local_embeddings_of(ids):
            exact = decompose_similarity(gallery.query_local(query), local, gallery.similarity)
            share = 1 - left
            whys.append(
                Decomposition(
                    contributions=share * exact.contributions if pairs else None,
                    query_offset=None,
                    gallery_offset=None,
                    constant=0.0,
                    similarity=exact.similarity if kind is None else 0.5 * exact.similarity,
                    kind=kind or gallery.similarity,
                    method="planted",
                    note=note,
                    query_map=share * exact.overall_map("query") if "query" in sides and not pairs else None,
                    gallery_map=share * exact.overall_map("gallery")
                    if "gallery" in sides and not pairs
                    else None,
                    promises=promises,
                )
            )
        return against_index(gallery, query, ids, whys)

    return of_ranking


def failing(gallery, query, ids):
    """of_ranking of a method that cannot."""
    raise RuntimeError("the gradient is gone")


def method(name, of_ranking=None, unsuited=suits_all, **fields):
    """A `Method` with words of its own."""
    words = {
        "title": name.capitalize(),
        "says": f"What {name} says of itself: its map does not add up to the score.",
        "cost": "1 forward and 1 backward pass of each image",
    }
    return Method(name=name, of_ranking=of_ranking or one_sided(), unsuited=unsuited, **{**words, **fields})


def plant(monkeypatch, *planted):
    """Offer these methods beside the decomposition, and no other, until the test ends."""
    module = ModuleType("dmlviz.explanation.planted")
    module.OFFERED = planted
    monkeypatch.setitem(sys.modules, module.__name__, module)
    offered = {"decomposition": "exact", **{each.name: "planted" for each in planted}}
    monkeypatch.setattr(methods, "_MODULE_OF", offered)
    monkeypatch.setattr(methods, "METHODS", tuple(offered))
