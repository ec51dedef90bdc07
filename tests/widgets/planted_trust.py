"""Evaluators planted into the list, and figures of theirs, as `faithfulness.trust` would find them."""

import sys
from types import ModuleType

import numpy as np
import pandas as pd

from dmlviz.faithfulness import Estimate, Evaluation, Evaluator, evaluators
from dmlviz.faithfulness.pairs import Pairs

BASELINES = ("random weights", "feature norm", "centre", "uniform")
HOSTILE = '<img src=x onerror="window.hurt=1">'
PLANTED = (
    Evaluator(
        "adding-up",
        "adding up",
        "Do the parts of the map add up to the score that ranked?",
        ("missing", "missing share"),
        "lower",
        (),
        caution="that parts add up does not make each of them right; a method that promises no sum may miss it",
    ),
    Evaluator(
        "object-pointing",
        "pointing game",
        "Does the map's peak lie on the object, and not on the background?",
        ("peak on the object", "energy on the object"),
        "higher",
        BASELINES,
        caution="the middle of the picture scores as high, wherever pictures are framed",
    ),
    Evaluator(
        "margins",
        "margin pointing",
        "Why this image and not that one: does the map peak on the one part in which they differ?",
        ("peak on the part that differs",),
        "higher",
        BASELINES,
        headline=True,
        caution=f"a network may go by something else than that part {HOSTILE}",
    ),
    Evaluator(
        "parts",
        "part transfer",
        "Point at a part of the query: does the peak land on the same part of the match?",
        ("lands on the part", "lands on the object"),
        "higher",
        BASELINES,
        headline=True,
    ),
    Evaluator(
        "predicting",
        "second-order prediction",
        "Does the map predict what happens to the score when both images are covered?",
        ("correlation",),
        "higher",
        ("random weights",),
        caution="covered pictures are no pictures that the network has learned from",
    ),
    Evaluator("boxing", "boxes", "Does the map fit a known box?", ("IoU",), "higher", (), needs=("boxes",)),
)
VALUES = {  # figure: (decomposition, another method, then the baselines)
    "missing": (3e-8, 0.21),
    "missing share": (5e-8, 0.4),
    "peak on the object": (0.93, 0.95, 0.88, 0.61, 0.97, 0.31),
    "energy on the object": (0.55, 0.6),
    "peak on the part that differs": (0.86, 0.41, 0.12, 0.09, 0.11, 0.04),
    "lands on the part": (0.74, 0.35, 0.22, 0.2, 0.19, 0.05),
    "lands on the object": (0.99, 0.9),
    "correlation": (0.91, -0.12, 0.15),
}
SKIPPED = (("boxing", "", "no boxes round what the pictures show are known"),)


def plant_evaluators(monkeypatch):
    """List these evaluators and no other until the test ends."""
    module = ModuleType("dmlviz.faithfulness.planted")
    for each in PLANTED:
        setattr(module, each.name.upper().replace("-", "_"), each)
        setattr(module, each.name.replace("-", "_"), evaluation)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(evaluators, "_MODULE_OF", {each.name: "planted" for each in PLANTED})
    monkeypatch.setattr(evaluators, "EVALUATORS", tuple(each.name for each in PLANTED))


def evaluation(evaluator, method, place=0, count=160):
    """What a planted evaluator found, by `VALUES`; place 0 is the decomposition's, 1 another method's."""
    pairs = Pairs(
        np.arange(count), np.arange(count), np.arange(count) % 16, "each query with the image ranked first"
    )

    def estimate(figure, n):
        value = VALUES[figure][n]
        rng = np.random.default_rng(len(figure) + n)
        if figure.startswith("missing") or figure == "correlation":
            values = value * rng.uniform(0.5, 1.5, count)
        else:
            values = (rng.random(count) < value).astype(float)
        values[: 7 * (n == 1)] = np.nan
        return Estimate(figure, values, pairs.clusters)

    headline = evaluator.figures[0]
    return Evaluation(
        evaluator,
        method,
        {figure: estimate(figure, place) for figure in evaluator.figures},
        {name: {headline: estimate(headline, 2 + n)} for n, name in enumerate(evaluator.baselines)},
        pairs,
        3.0,
    )


class Found:
    """What `trust` returns, as far as the Explorer reads it."""

    def __init__(self, methods, only=None):
        asked = [e for e in PLANTED if e.name != "boxing" and (only is None or e.name in only)]
        self.evaluations = [evaluation(e, m, min(n, 1)) for n, m in enumerate(methods) for e in asked]
        self.pairs = self.evaluations[0].pairs
        self.skipped = list(SKIPPED)
        self.sentences = {method: (f"{method} in a sentence.", "and more") for method in methods}

    def to_frame(self):
        """The rows of all evaluations."""
        frame = pd.concat([each.to_frame() for each in self.evaluations], ignore_index=True)
        frame["pairs"] = len(self.pairs)
        return frame
