"""Black-box explanation: cover parts of a picture, look at the score, and share the passes of a ranking."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz.embedder import CellGeometry
from dmlviz.embedder.cell_means import cell_means
from dmlviz.explanation.covering import Covering
from dmlviz.explanation.decomposition import SIDES, SIMILARITIES, Decomposition
from dmlviz.explanation.masked_views import Masks, embed_covered, finite, similarities
from dmlviz.explanation.method import OfRanking, against_index
from dmlviz.explanation.options import one_of, same_space

if TYPE_CHECKING:
    from dmlviz.embedder import Embedder
    from dmlviz.retrieval import Gallery

_ROUNDING = 1e-6  # of float32 embeddings, as a share of the product of two lengths
_AT_ONCE = 64  # items whose maps over pixels are held in memory together
_OF_PIXELS = CellGeometry(stride=(1, 1), first=(0, 0), receptive_field=(1, 1))


@dataclass(frozen=True)
class Scores:
    """What came of the covered pictures of one view.

    Attributes:
        whole: (k,) float64, the similarity of the whole picture to each of k others.
        covered: (k, N) float64, the same under each mask; 0 where a mask is not used.
        used: (N,) float64, 1 for masks under which every similarity is defined, else 0.
        rounding: (k,) float64, differences of similarities that rounding alone may make.
    """

    whole: np.ndarray
    covered: np.ndarray
    used: np.ndarray
    rounding: np.ndarray


@dataclass(frozen=True)
class Probe:
    """A black-box method, its options filled in.

    Attributes:
        method: Its name.
        masks: ((H, W), at most so many or None) -> the masks over a view, and what to say of them.
        maps: (masks, scores) -> (k, H, W) float64, a map over the pixels for each of k others.
        note: What its maps mean, for `Decomposition.note`.
        compare: (N, D) embeddings, (k, D) others, kind -> (k, N) similarities, NaN where undefined.
    """

    method: str
    masks: Callable[[tuple[int, int], int | None], tuple[Masks, str]]
    maps: Callable[[Masks, Scores], np.ndarray]
    note: str
    compare: Callable[[np.ndarray, np.ndarray, str], np.ndarray] = similarities


def explain_pair(
    probe: Probe,
    covering: Covering,
    embedder: "Embedder",
    query: np.ndarray,
    item: np.ndarray,
    similarity: str,
    query_embedder: "Embedder | None",
) -> Decomposition:
    """Explain one pair of pictures; see the functions of the methods."""
    asker = embedder if query_embedder is None else query_embedder
    embedding = finite(embedder.embed_views([embedder.view(item)]))
    pictures: list[np.ndarray] = [item]
    return _explain(probe, covering, asker, query, embedder, pictures.__getitem__, embedding, similarity)[0]


def shared_ranking(method: str, probe_of: Callable[..., Probe]) -> OfRanking:
    """Make the explanation of a ranking, in which the covered queries are embedded once for all items.

    Args:
        method: The method's name.
        probe_of: The method's own options, by name -> its probe.

    Returns:
        (gallery, query, ids, **options) -> list of `Decomposition`.
    """
    own = tuple(inspect.signature(probe_of).parameters)
    common = tuple(field.name for field in fields(Covering))

    def of_ranking(
        gallery: "Gallery", query: Any, ids: Sequence[int] | np.ndarray, **options: Any
    ) -> list[Decomposition]:
        if unknown := [name for name in options if name not in own + common]:
            raise TypeError(
                f"the method {method!r} has no option {unknown[0]!r}; it takes {', '.join(own + common)}"
            )
        probe = probe_of(**{name: options[name] for name in own if name in options})
        covering = Covering(**{name: options[name] for name in common if name in options})
        chosen = [int(i) for i in ids]
        whys = _explain(
            probe,
            covering,
            gallery.query_embedder,
            gallery.query_image(query),
            gallery.embedder,
            lambda n: gallery.images[chosen[n]],
            gallery.embeddings[chosen],
            gallery.similarity,
        )
        held = against_index(gallery, query, chosen, whys)
        if covering.resolution == "pixels":
            return [replace(why, query_geometry=_OF_PIXELS, gallery_geometry=_OF_PIXELS) for why in held]
        return held

    return of_ranking


def suits_known_similarities(gallery: "Gallery") -> str:
    """Black-box methods here compare embeddings by one of `SIMILARITIES`."""
    if gallery.similarity in SIMILARITIES:
        return ""
    known = ", ".join(map(repr, SIMILARITIES))
    return f"it compares embeddings by one of {known}, and the gallery ranks by {gallery.similarity!r}"


def _explain(
    probe: Probe,
    covering: Covering,
    query_embedder: "Embedder",
    query: np.ndarray,
    embedder: "Embedder",
    picture: Callable[[int], np.ndarray],
    embeddings: np.ndarray,
    similarity: str,
) -> list[Decomposition]:
    """Explain one query against k items, given their embeddings (k, D) and, when they are covered, pictures."""
    one_of(similarity, "similarity", SIMILARITIES, f"{probe.method!r}")
    same_space(query_embedder.dim, embedder.dim)
    from tqdm.auto import tqdm

    count = len(embeddings)
    view = query_embedder.view(query)
    asked = finite(query_embedder.embed_views([view]))
    at_most = None
    if covering.budget is not None:
        pictures = ("query" in covering.sides) + count * ("gallery" in covering.sides)
        at_most = covering.budget // pictures
    plans = {
        side: probe.masks(one.input_size, at_most)
        for side, one in (("query", query_embedder), ("gallery", embedder))
        if side in covering.sides
    }
    total = sum(len(masks) * (1 if side == "query" else count) for side, (masks, _) in plans.items())
    maps: dict[str, list[tuple[np.ndarray | None, str]]] = {side: [(None, "")] * count for side in SIDES}
    with tqdm(
        total=total, desc=probe.method, unit="pass", delay=1.0, disable=not covering.progress, leave=False
    ) as bar:
        passed = 0  # a bar that is not shown does not count

        def done(passes: int) -> None:
            nonlocal passed
            passed += passes
            bar.update(passes)

        try:
            if "query" in plans:
                maps["query"] = _side(
                    probe,
                    covering,
                    query_embedder,
                    view,
                    asked,
                    plans["query"][0],
                    embeddings,
                    similarity,
                    "query",
                    done,
                )
            if "gallery" in plans:
                for n in range(count):
                    shown = embedder.view(picture(n))
                    maps["gallery"][n] = _side(
                        probe,
                        covering,
                        embedder,
                        shown,
                        finite(embedder.embed_views([shown])),
                        plans["gallery"][0],
                        asked,
                        similarity,
                        "gallery image",
                        done,
                    )[0]
        except KeyboardInterrupt as stopped:
            raise KeyboardInterrupt(
                f"{probe.method!r} was stopped after {passed} of {total} forward passes and gives no map; "
                f"budget= bounds the passes, sides=('query',) leaves the gallery images out"
            ) from stopped
    scores = similarities(asked, embeddings, similarity)[:, 0]
    pixels = covering.resolution == "pixels"
    found = []
    for n in range(count):
        of_query, said = maps["query"][n]
        of_item, said_too = maps["gallery"][n]
        undefined = "" if np.isfinite(scores[n]) else "an embedding has no length, so its cosine is undefined"
        notes = (probe.note, *(words for _, words in plans.values()), said, said_too, undefined)
        found.append(
            Decomposition(
                contributions=None,
                query_offset=None,
                gallery_offset=None,
                constant=0.0,
                similarity=float(scores[n]),
                kind=similarity,
                method=probe.method,
                note="; ".join(dict.fromkeys(filter(None, notes))),
                query_geometry=_OF_PIXELS if pixels else query_embedder.geometry,
                gallery_geometry=_OF_PIXELS if pixels else embedder.geometry,
                query_map=of_query,
                gallery_map=of_item,
                promises=False,
            )
        )
    return found


def _side(
    probe: Probe,
    covering: Covering,
    embedder: "Embedder",
    view: np.ndarray,
    whole: np.ndarray,
    masks: Masks,
    others: np.ndarray,
    kind: str,
    whose: str,
    done: Callable[[int], object],
) -> list[tuple[np.ndarray | None, str]]:
    """The maps of one view against each of k others, and what to say of each."""
    covered = embed_covered(embedder, view, masks, covering.fill, covering.batch_size, done)
    found: list[tuple[np.ndarray | None, str]] = []
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        scores = _scores(probe, whole, covered, some, kind)
        lost = len(masks) - int(scores.used.sum())
        said = (
            f"{lost} of {len(masks)} covered pictures of the {whose} have an embedding of length zero and are "
            "left out"
            if lost
            else ""
        )
        maps = np.zeros((len(some), *view.shape[:2]))
        defined = np.isfinite(scores.whole)
        if defined.any() and scores.used.any():
            chosen = Scores(
                scores.whole[defined], scores.covered[defined], scores.used, scores.rounding[defined]
            )
            maps[defined] = probe.maps(masks, chosen)
        if covering.resolution == "cells":
            maps = cell_means(maps, embedder.map_size, embedder.geometry)
        found += [(one, said) for one in maps.astype(np.float32)]
    return found


def _scores(probe: Probe, whole: np.ndarray, covered: np.ndarray, others: np.ndarray, kind: str) -> Scores:
    of_whole = probe.compare(whole, others, kind)[:, 0]
    of_covered = probe.compare(covered, others, kind)
    used = np.isfinite(of_covered[np.isfinite(of_whole)]).all(axis=0)
    rounding = np.full(len(others), _ROUNDING)
    longest = np.linalg.norm(covered, axis=1).max()
    if kind == "dot":
        rounding *= np.linalg.norm(others, axis=1) * longest
    elif kind == "l2":
        rounding *= np.square(np.linalg.norm(others, axis=1) + longest)
    return Scores(of_whole, np.where(used, of_covered, 0.0), used.astype(np.float64), rounding)
