"""How far a method's maps are to be trusted, as the page shows it: figures, intervals, baselines, and their words."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dmlviz.widgets.buffers import number

if TYPE_CHECKING:
    import pandas as pd

    from dmlviz.faithfulness import Evaluator, Truth
    from dmlviz.retrieval import Gallery

COLUMNS = (
    "evaluator",
    "figure",
    "method",
    "kind",
    "value",
    "low",
    "high",
    "trials",
    "left_out",
    "better",
)
LATE = "no time was left; dmlviz.faithfulness.trust with a larger budget asks this, too"
_NOTHING: dict[str, Any] = {
    "pairs": {},
    "summaries": {},
    "known": "",
    "evaluators": [],
    "methods": {},
    "baselines": {},
    "unasked": [],
}
_ROUNDING = 1e-6
_SCALES = ((0.0, 1.0), (-1.0, 1.0))
_LACKING = {
    "parts": "their parts",
    "boxes": "boxes round what they show",
    "kin": "in which parts two of them differ",
    "redrawing": "how they look with another part",
}


def figures_of(_: Any, found: Any) -> "pd.DataFrame | None":
    """What evaluators found, as a frame with `COLUMNS`.

    Args:
        _: The Explorer.
        found: None, a frame, or anything whose `to_frame()` gives one: what `faithfulness.trust` or `compare`
            returns, an `Evaluation`.

    Returns:
        A copy of the frame. Where they are known, its `attrs` say of each method how its pairs were chosen ("rules")
        and what was found in a sentence ("summaries"); and which evaluators were not asked of which methods, and why
        ("skipped").

    Raises:
        TypeError: If it is no frame and has no `to_frame()`.
        ValueError: If a column is missing, or a value in one is not among those that it can have.
    """
    import pandas as pd

    if found is None:
        return None
    frame = found.to_frame() if hasattr(found, "to_frame") else found
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            "trust takes what dmlviz.faithfulness.trust(gallery) returns, or its frame; "
            f"got {type(found).__name__}"
        )
    if missing := [name for name in COLUMNS if name not in frame]:
        raise ValueError(
            f"trust needs the columns {', '.join(COLUMNS)}; {', '.join(missing)} is missing. "
            "dmlviz.faithfulness.trust(gallery).to_frame() has them"
        )
    for name, choices in (("kind", ("method", "baseline")), ("better", ("higher", "lower"))):
        if odd := sorted(set(map(str, frame[name])) - set(choices)):
            raise ValueError(f"the column {name!r} holds {' or '.join(map(repr, choices))}; got {odd[0]!r}")
    kept = frame.reset_index(drop=True)
    rule = getattr(getattr(found, "pairs", None), "rule", "")
    if rule:
        kept.attrs["rules"] = dict.fromkeys(_methods(kept), rule)
    if hasattr(found, "sentences"):
        kept.attrs["summaries"] = {method: said[0] for method, said in found.sentences.items()}
    asked = getattr(found, "comparison", found)
    if hasattr(asked, "skipped"):
        kept.attrs["skipped"] = [list(map(str, each)) for each in asked.skipped]
    return kept


def joined(known: "pd.DataFrame | None", new: "pd.DataFrame") -> "pd.DataFrame":
    """Figures known before, and new ones, which stand for those of the same methods."""
    import pandas as pd

    if known is None:
        return new
    anew = _methods(new)
    again = (known["kind"] == "method") & known["method"].isin(anew)
    both = pd.concat([known[~again], new], ignore_index=True)
    still = [each for each in known.attrs.get("skipped", []) if each[1] not in anew]
    both.attrs = {
        name: {**known.attrs.get(name, {}), **new.attrs.get(name, {})} for name in ("rules", "summaries")
    }
    both.attrs["skipped"] = still + [each for each in new.attrs.get("skipped", []) if each not in still]
    return both


def pack_trust(gallery: "Gallery", frame: "pd.DataFrame | None") -> dict[str, Any]:
    """Figures for the page, ready for JSON.

    Args:
        gallery: The gallery that they were measured on.
        frame: As `figures_of` gives it; None where nothing was measured.

    Returns:
        "pairs": by method how many pairs, and how they were chosen. "summaries": by method what was found, in a
        sentence. "known": what is known of the pictures. "evaluators": what each asks, those that tell methods apart
        first, with the scale on which its figures are drawn. "methods": figures by method and evaluator, each with
        its baselines. "baselines": what each baseline is. "unasked": which evaluators were not asked, of which
        method or of all (""), and why.
    """
    if frame is None:
        return dict(_NOTHING)
    from dmlviz.faithfulness import BASELINES, truth_of
    from dmlviz.faithfulness.evaluators import EVALUATORS, evaluator_named

    names = list(dict.fromkeys(map(str, frame["evaluator"])))
    told = {name: evaluator_named(name)[0] for name in names if name in EVALUATORS}
    order = [name for name in EVALUATORS if name in told] + [name for name in names if name not in told]
    order.sort(key=lambda name: not (name in told and told[name].headline))
    methods: dict[str, dict[str, Any]] = {}
    evaluators = []
    for name in order:
        rows = frame[frame["evaluator"].astype(str) == name]
        headline = told[name].figures[0] if name in told else str(rows["figure"].iloc[0])
        for method, found in _by_method(rows, headline).items():
            methods.setdefault(method, {})[name] = found
        evaluators.append(
            _words(name, told.get(name), str(rows["better"].iloc[0]))
            | {"figure": headline, "scale": _scale(rows[rows["figure"] == headline])}
        )
    truth = truth_of(gallery)
    needed = {need for evaluator in told.values() for need in evaluator.needs}
    every = {name: evaluator_named(name)[0] for name in EVALUATORS}
    skipped = frame.attrs.get("skipped")
    if skipped is None:
        skipped = [(name, "", other.inapplicable(truth)) for name, other in every.items() if name not in told]
    unasked = [
        {"evaluator": name, "method": method, "reason": LATE if "budget" in reason else reason}
        | ({"title": every[name].title, "headline": every[name].headline})
        for name, method, reason in skipped
        if reason and name in every and method not in BASELINES
    ]
    return {
        "pairs": {method: _on_pairs(frame, method) for method in methods},
        "summaries": {method: said for method, said in frame.attrs.get("summaries", {}).items() if said},
        "known": _known(truth, needed),
        "evaluators": evaluators,
        "methods": methods,
        "baselines": {name: method.says for name, method in BASELINES.items()},
        "unasked": unasked,
    }


def _words(name: str, evaluator: "Evaluator | None", better: str) -> dict[str, Any]:
    """What an evaluator asks; one that is not in the list is known by its name alone."""
    if evaluator is None:
        return {
            "name": name,
            "title": name,
            "question": "",
            "caution": "",
            "headline": False,
            "better": better,
        }
    return {
        "name": name,
        "title": evaluator.title,
        "question": evaluator.question,
        "caution": evaluator.caution,
        "headline": evaluator.headline,
        "better": better,
    }


def _by_method(rows: "pd.DataFrame", headline: str) -> dict[str, dict[str, Any]]:
    """One evaluator's figures by method.

    A baseline that was read off a method stands in the column "beside"; the others belong to the method that they
    follow, and to methods that no baseline follows.
    """
    found: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, Any]] = {}
    every: dict[str, dict[str, Any]] = {}
    current = ""
    for row in rows.to_dict("records"):
        if row["kind"] == "method":
            current = str(row["method"])
            mine = found.setdefault(current, {"figure": None, "others": [], "baselines": {}})
            if row["figure"] == headline:
                mine["figure"] = _figure(row)
            else:
                mine["others"].append({"name": str(row["figure"]), **_figure(row)})
        elif row["figure"] == headline:
            name, beside = str(row["method"]), row.get("beside")
            if isinstance(beside, str) and beside:
                own.setdefault(beside, {})[name] = _figure(row)
                continue
            every.setdefault(name, _figure(row))
            if current:
                found[current]["baselines"][name] = _figure(row)
    for method, mine in found.items():
        shared = {**own.get(method, {}), **(mine["baselines"] or every)}
        mine["baselines"] = [{"name": name, **figure} for name, figure in shared.items()]
    return {method: mine for method, mine in found.items() if mine["figure"] is not None}


def _figure(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "value": number(row["value"]),
        "low": number(row["low"]),
        "high": number(row["high"]),
        "trials": int(row["trials"]),
        "leftOut": int(row["left_out"]),
    }


def _scale(rows: "pd.DataFrame") -> list[float]:
    """0 to 1 for shares and rates, −1 to 1 for correlations; otherwise round ends with 0 among them."""
    import numpy as np

    values = rows[["value", "low", "high"]].to_numpy(np.float64)
    values = values[np.isfinite(values)]
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    for ends in _SCALES:
        if ends[0] - _ROUNDING <= low and high <= ends[1] + _ROUNDING:
            return list(ends)
    size = max(high, -low)
    step = 10.0 ** np.floor(np.log10(size)) / 2
    return [float(np.floor(low / step) * step), float(np.ceil(high / step) * step)]


def _methods(frame: "pd.DataFrame") -> list[str]:
    return list(dict.fromkeys(map(str, frame.loc[frame["kind"] == "method", "method"])))


def _on_pairs(frame: "pd.DataFrame", method: str) -> dict[str, str]:
    """How many pairs a method was asked about, and how they were chosen; trials where pairs were not counted."""
    rows = frame[(frame["kind"] == "method") & (frame["method"].astype(str) == method)]
    if "pairs" in rows and rows["pairs"].notna().all():
        counts, what = rows["pairs"], "pairs"
    else:
        counts, what = rows["trials"] + rows["left_out"], "trials a figure"
    least, most = int(counts.min()), int(counts.max())
    count = f"{most} {what}" if least == most else f"{least} to {most} {what}"
    return {"count": count, "rule": frame.attrs.get("rules", {}).get(method, "")}


def _known(truth: "Truth", needed: Iterable[str]) -> str:
    """What is known of the pictures, whether they know it themselves or it was given to the evaluators."""
    side = truth.query
    known = {
        "parts": bool(side.parts),
        "boxes": side.has_boxes,
        "kin": side.knows_kin,
        "redrawing": side.can_redraw,
    }
    words = [words for need, words in _LACKING.items() if known[need] or need in needed]
    if not words:
        return "No parts or boxes of the pictures are known, so nothing says where a map should point."
    return f"Known of the pictures: {', '.join(words)}."
