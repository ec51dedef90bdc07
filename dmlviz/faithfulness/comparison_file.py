"""The findings of a comparison on disk, one line each, so that a stopped one goes on where it was."""

import hashlib
import json
import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlviz._version import __version__
from dmlviz.faithfulness.estimate import Estimate
from dmlviz.faithfulness.evaluation import Evaluation, Evaluator
from dmlviz.faithfulness.pairs import Pairs
from dmlviz.faithfulness.truth import SideTruth, Truth

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

_KIND = "dmlviz comparison"
_FORMAT = 1
_WHAT = {
    "format": "the form of another version of dmlviz",
    "dmlviz": "findings of another version of dmlviz",
    "embedder": "findings about another embedder",
    "images": "findings about other images",
    "query_embedder": "findings about another query embedder",
    "queries": "findings about other queries",
    "similarity": "findings about another similarity",
    "leave_out": "findings about another rule of what is left out",
    "pairs": "findings about other pairs",
    "truth": "findings that took another truth for granted",
    "seed": "findings with another seed",
}
_PICTURES_LOOKED_AT = 3


def stamp_of(gallery: "Gallery", truth: Truth, pairs: Pairs, seed: int) -> dict[str, Any]:
    """What decides the findings: with anything else in it, they are other findings."""
    return {
        "format": _FORMAT,
        "dmlviz": __version__,
        "embedder": gallery.embedder.fingerprint,
        "images": gallery.images.fingerprint,
        "query_embedder": gallery.query_embedder.fingerprint,
        "queries": gallery.queries.fingerprint,
        "similarity": gallery.similarity,
        "leave_out": gallery.leave_out,
        "pairs": _digest(pairs.queries.tobytes(), pairs.items.tobytes()),
        "truth": _digest(*_looked_at(truth.query, pairs.queries), *_looked_at(truth.gallery, pairs.items)),
        "seed": seed,
    }


def _looked_at(side: SideTruth, ids: np.ndarray) -> list[bytes]:
    """What is known of the first few pictures, as bytes."""
    seen = [repr((side.parts, side.has_boxes, side.can_redraw, side.knows_kin)).encode()]
    for i in ids[:_PICTURES_LOOKED_AT].tolist():
        seen += [np.packbits(side.mask(i, part)).tobytes() for part in side.parts]
        seen += [repr(side.box(i)).encode()] if side.has_boxes else []
    return seen


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class KeptFindings:
    """Findings in a file: its first line says what they are about, each further line is one.

    Args:
        path: The file, made if it is not there; None keeps nothing.
        stamp: From `stamp_of`.

    Raises:
        ValueError: If the file holds findings about something else, or is no such file, or damaged.
        FileNotFoundError: If its folder does not exist.
    """

    def __init__(self, path: str | os.PathLike[str] | None, stamp: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self._found: dict[tuple[str, str, str], dict[str, Any]] = {}
        if self.path is None:
            return
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {str(self.path.parent)!r} to keep findings in")
        if self.path.exists():
            self._read(self.path, dict(stamp))
        else:
            fresh = self.path.with_name(self.path.name + ".new")
            fresh.write_text(json.dumps({"kind": _KIND, **stamp}) + "\n", encoding="utf-8")
            os.replace(fresh, self.path)

    def _read(self, path: Path, stamp: dict[str, Any]) -> None:
        remedy = "give another path, or delete it to start afresh"
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        try:
            head, *lines = [json.loads(line) for line in whole.splitlines()]
            if head.pop("kind") != _KIND:
                raise ValueError("it begins otherwise")
            for line in lines:
                self._found[line["evaluator"], line["method"], line["options"]] = line
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} holds no findings of compare, or damaged ones ({error}); {remedy}"
            ) from None
        if other := [key for key in stamp if head.get(key) != stamp[key]]:
            raise ValueError(f"{path} holds {_WHAT[other[0]]} than asked for now; {remedy}")
        if len(whole) < len(text):  # the last line was being written when the process ended
            with path.open("r+b") as file:
                file.truncate(len(whole))

    def evaluation(
        self, evaluator: Evaluator, method: str, options: Mapping[str, Any], pairs: Pairs
    ) -> Evaluation | None:
        """What was found before by the same question with the same options; None where it was not asked."""
        line = self._found.get((evaluator.name, method, _key(options)))
        if line is None:
            return None
        return Evaluation(
            evaluator,
            method,
            _estimates(evaluator, line["figures"]),
            {name: _estimates(evaluator, of) for name, of in line["baselines"].items()},
            pairs.take(line["pairs"]),
            _number(line["milliseconds"]),
            _number(line["explain_milliseconds"]),
            line["said"],
        )

    def add(self, evaluation: Evaluation, options: Mapping[str, Any]) -> None:
        """Keep a finding; it is on the disk when this returns."""
        if self.path is None:
            return
        line = {
            "evaluator": evaluation.evaluator.name,
            "method": evaluation.method,
            "options": _key(options),
            "pairs": len(evaluation.pairs),
            "milliseconds": _plain(evaluation.milliseconds),
            "explain_milliseconds": _plain(evaluation.explain_milliseconds),
            "said": {name: _shown(value) for name, value in evaluation.options.items()},
            "figures": _trials(evaluation.figures),
            "baselines": {name: _trials(of) for name, of in evaluation.baselines.items()},
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _trials(figures: Mapping[str, Estimate]) -> dict[str, dict[str, list[Any]]]:
    return {
        name: {"values": [_plain(v) for v in e.values.tolist()], "clusters": e.clusters.tolist()}
        for name, e in figures.items()
    }


def _estimates(evaluator: Evaluator, figures: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, Estimate]:
    return {
        name: evaluator.estimate(name, [_number(v) for v in of["values"]], np.array(of["clusters"], np.int64))
        for name, of in figures.items()
    }


def _key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True, default=lambda value: _digest(pickle.dumps(value)))


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _plain(value: float) -> float | str | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else (None if math.isnan(value) else str(value))


def _number(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)
