"""Evaluators whose answers are known beforehand, put into the list in place of the real ones."""

import time

import numpy as np

from dmlviz.faithfulness import evaluators as registry
from dmlviz.faithfulness.evaluation import Evaluator, evaluate
from dmlviz.faithfulness.truth import truth_of


class Planted:
    """An evaluator that looks up its answers, and remembers what it was asked.

    Args:
        name: Its name.
        answers: For each method or baseline a number, or a function (query, item) -> number.
        fails_for: Methods about which it raises.
        seconds: How long each pair takes.
        **described: What `Evaluator` takes.
    """

    def __init__(self, name, answers, fails_for=(), seconds=0.0, stop_at=None, **described):
        self.answers, self.fails_for, self.seconds, self.stop_at = answers, fails_for, seconds, stop_at
        self.calls = []
        said = {"better": "higher", "baselines": ("centre", "uniform"), "question": "How much was planted?"}
        self.evaluator = Evaluator(name, name, figures=("planted",), **(said | described))

    def __call__(
        self, gallery, method, pairs, *, truth=None, times=1.0, baselines=None, seed=0, progress=True
    ):
        self.calls.append((method.name, len(pairs)))
        if method.name == self.stop_at:
            raise KeyboardInterrupt
        if method.name in self.fails_for:
            raise ValueError(f"{method.name} has no planted answer")

        def measure(explained, pairs, step):
            answer = self.answers[explained.name]
            found = []
            for query, item in pairs:
                explained.of(query, item)
                time.sleep(self.seconds)
                found.append(times * (answer(query, item) if callable(answer) else answer))
                step()
            return {"planted": np.asarray(found, float)}

        known = truth_of(gallery, truth)
        return evaluate(
            self.evaluator, measure, gallery, method, pairs, known, baselines, seed, progress, times=times
        )


def plant(monkeypatch, *planted):
    """Make the planted evaluators, and completeness, the only ones there are."""
    real = registry.evaluator_named
    by_name = {one.evaluator.name: one for one in planted}

    def named(name):
        if name in by_name:
            return by_name[name].evaluator, by_name[name]
        return real(name)

    monkeypatch.setattr(registry, "evaluator_named", named)
    monkeypatch.setattr(registry, "EVALUATORS", (*by_name, "completeness"))
    return planted


def stop_the_clock(monkeypatch):
    """Let time pass by `time.sleep` alone, so that what fits a budget does not depend on the machine."""
    now = [0.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", pass_by)
    return now
