"""All methods by all evaluators, where the truth is known and where it is not. Writes docs/faithfulness.md.

    python -m benchmarks.faithfulness --kept FOLDER [--real FOLDER]

Runs on the drawn birds, faces, persons and places, on those that were looked at while things were tried out and on
families that were not, and with --real on real galleries that lie beside the project (figures only, no pictures).
Some hours on two cores; with --kept what is finished is kept, and the same command goes on from there.
--quick takes a minute or two: a handful of pictures, methods and evaluators. Its page is for a look at the form.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

import dmlviz as dv
from benchmarks.localisation import section as localisation_section
from dmlviz.cli.evaluating import DEAR_EVALUATORS, DEAR_METHODS, cheaper
from dmlviz.explanation import METHODS
from dmlviz.faithfulness import BASELINES, Comparison, Evaluation, compare, drawn_gallery
from dmlviz.faithfulness.comparison_tables import in_words
from dmlviz.faithfulness.drawn_galleries import DRAWN, SEED, UNSEEN_SEED
from dmlviz.faithfulness.evaluators import EVALUATORS, evaluator_named
from dmlviz.faithfulness.trust_words import ROUNDING, lead_over

PAGE = Path(__file__).parents[1] / "docs" / "faithfulness.md"
REAL = {  # folder: (network, pictures, what it is)
    "birds_cub10": (
        "mobilenetv2_inat_bird",
        "images",
        "CUB-200 birds, ten species; a MobileNetV2 of iNaturalist birds",
    ),
    "faces_lfw10": ("mobilefacenet_ms1m", "images_112x112", "LFW faces, ten people; a MobileFaceNet of MS1M"),
    "chars_omniglot": ("omniglot_conv4", "", "Omniglot characters of unseen alphabets; four convolutions"),
}
QUICK_METHODS = ("decomposition", "grad-cam", "dist-cam")
QUICK_EVALUATORS = EVALUATORS[:10]  # the headline tests, and those that cost little
UNSEEN = "families never looked at"


@dataclass(frozen=True)
class Job:
    """One gallery to compare methods on; a seed for a drawn one, a folder for a real one."""

    name: str
    seed: int = SEED
    real: Path | None = None
    pairs: int = 200
    quick: bool = False
    kept: Path | None = None

    @property
    def title(self) -> str:
        """What the page calls it."""
        if self.real is not None:
            return REAL[self.name][2]
        return self.name + (f", {UNSEEN}" if self.seed == UNSEEN_SEED else "")

    def gallery(self) -> dv.Gallery:
        """Draw or read it, and embed it."""
        if self.real is not None:
            return real_gallery(self.real, self.name, few=self.quick)
        return drawn_gallery(self.name, self.seed, small=self.quick)


def real_gallery(folder: Path, name: str, *, few: bool = False) -> dv.Gallery:
    """A gallery that lies beside the project, by the network that lies with it."""
    sys.path.insert(0, str(folder))
    try:
        import nets
    finally:
        sys.path.remove(str(folder))
    network, pictures, _ = REAL[name]
    net = nets.load(network)
    import pandas as pd

    if name == "chars_omniglot":
        ink = np.load(folder / name / "gallery.npz")  # white paper is 0 there
        images = dv.ImageSet.from_arrays(list(255 - ink["images"]), ink["label"], ink["name"])
    else:
        frame = pd.read_csv(folder / name / "labels.csv")
        images = dv.ImageSet.from_frame(frame, image="file", label="label", root=folder / name / pictures)
    if few:
        labels = np.asarray(images.labels)
        images = images.subset(
            np.concatenate([np.flatnonzero(labels == of)[:5] for of in np.unique(labels)[:6]])
        )
    embedder = dv.Embedder.from_module(net, lambda image: net.preprocess([image])[0], name=network)
    return dv.Gallery.build(images, embedder, progress=False)


def compared(job: Job) -> Comparison:
    """Compare methods on one gallery, in a process of its own."""
    torch.set_num_threads(1)
    methods, evaluators, options = asked_of(job)
    path = None
    if job.kept is not None:
        path = job.kept / f"{job.name}-{job.seed}{'-quick' if job.quick else ''}.jsonl"
    return compare(
        job.gallery(),
        methods,
        evaluators,
        job.pairs,
        path=path,
        progress=False,
        **options,
    )


def asked_of(job: Job) -> tuple[tuple[str, ...], tuple[str, ...], dict]:
    """Methods, evaluators and options: everything on the first drawn galleries; elsewhere what does not take days."""
    if job.quick:
        return QUICK_METHODS, QUICK_EVALUATORS, cheaper(QUICK_METHODS, QUICK_EVALUATORS)
    if job.real is None and job.seed == SEED:
        return METHODS, EVALUATORS, cheaper(METHODS, EVALUATORS)
    methods = tuple(name for name in METHODS if name not in DEAR_METHODS)
    if job.real is None:
        evaluators = tuple(name for name in EVALUATORS if name not in DEAR_EVALUATORS)
        return methods, evaluators, cheaper(methods, evaluators)
    options = {"at_most": dict.fromkeys((*DEAR_EVALUATORS, "cover-up"), 12)}
    steps = {name: {"steps": 21} for name in ("insertion", "deletion")}
    return methods, EVALUATORS, options | {"evaluator_options": steps}


# --- the page ------------------------------------------------------------------------------------------


def cell(found: Evaluation | None) -> str:
    """A headline figure with its interval."""
    return (in_words(found.headline) if found is not None else "") or "–"


def summary(found: Mapping[str, Comparison]) -> str:
    """The headline tests: the exact decomposition, the best other method and the best baseline, by gallery."""
    lines = [
        "| test | gallery | exact decomposition | best other method | best baseline |",
        "|---|---|---|---|---|",
    ]
    for evaluator in (evaluator_named(name)[0] for name in EVALUATORS):
        if not evaluator.headline:
            continue
        for title, comparison in found.items():
            exact = comparison.found(evaluator.name, "decomposition")
            if exact is None:
                continue
            rows = [e for e in comparison.evaluations if e.evaluator.name == evaluator.name]
            others = [e for e in rows if e.method not in BASELINES and e.method != "decomposition"]
            beside = [(e.method, e.headline) for e in rows if e.method in BASELINES]
            beside += [(name, of[exact.headline.name]) for name, of in exact.baselines.items()]
            lines.append(
                f"| {evaluator.name} | {title} | {cell(exact)} | "
                f"{_best([(e.method, e.headline) for e in others], evaluator.better)} | "
                f"{_best(beside, evaluator.better)} |"
            )
    return "\n".join(lines)


def _best(named: list, better: str) -> str:
    told = [(name, e) for name, e in named if e.trials]
    if not told:
        return "–"
    sign = 1 if better == "higher" else -1
    name, best = max(told, key=lambda one: sign * one[1].value)
    return f"{name} {in_words(best)}"


def losses(found: Mapping[str, Comparison]) -> Iterator[tuple[str, str, str, str, str]]:
    """Where the exact decomposition is beaten: (test, gallery, its figure, by what, that figure).

    By methods and by baselines; where the 95 % interval of the difference, trial by trial, lies beyond zero.
    """
    for title, comparison in found.items():
        for rival in comparison.evaluations:
            exact = comparison.found(rival.evaluator.name, "decomposition")
            if exact is None or rival.method in ("decomposition", *rival.evaluator.passed_by):
                continue
            mine, other = exact.headline, rival.headline
            if not (mine.trials and other.trials) or abs(mine.value - other.value) < ROUNDING:
                continue
            if len(other.values) < len(mine.values):  # it was asked about the first pairs only
                first = len(other.values)
                mine = replace(mine, values=mine.values[:first], clusters=mine.clusters[:first])
            low, high = lead_over(mine, other)
            if (high < 0) if rival.evaluator.better == "higher" else (low > 0):
                yield rival.evaluator.name, title, in_words(mine), rival.method, in_words(other)


def losses_table(found: Mapping[str, Comparison]) -> str:
    """One line for each test and gallery, with everything that beats the exact decomposition."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for test, title, mine, rival, figure in losses(found):
        shown = f"*{rival}*" if rival in BASELINES else f"`{rival}`"
        grouped.setdefault((test, title, mine), []).append(f"{shown} {figure}")
    if not grouped:
        return "None on these galleries."
    order = {name: place for place, name in enumerate(EVALUATORS)}
    lines = ["| test | gallery | exact decomposition | beaten by |", "|---|---|---|---|"]
    for (test, title, mine), rivals in sorted(grouped.items(), key=lambda one: order[one[0][0]]):
        lines.append(f"| {test} | {title} | {mine} | {'; '.join(rivals)} |")
    return "\n".join(lines)


def how_to_read() -> str:
    """Every evaluator: what it asks, what it does not tell, whence it comes."""
    lines = []
    for evaluator in (evaluator_named(name)[0] for name in EVALUATORS):
        test = "; a headline test" if evaluator.headline else ""
        said = f"- **{evaluator.name}** ({evaluator.better} is better{test}). {evaluator.question}"
        if evaluator.caution:
            said += f" *Beware:* {evaluator.caution.rstrip('.')}."
        if evaluator.source:
            said += f" *Source:* {evaluator.source.rstrip('.')}."
        lines.append(said)
    return "\n".join(lines)


def section(title: str, comparison: Comparison, level: str = "##") -> str:
    """One gallery: its pairs, its tables, what was not asked."""
    pairs = f"{len(comparison.pairs)} pairs: {comparison.pairs.rule}."
    return (
        f"{level} {title[0].upper()}{title[1:]}\n\n{pairs}\n\n{comparison.to_markdown(notes=False).rstrip()}"
    )


def page(
    drawn: Mapping[str, Comparison], real: Mapping[str, Comparison], localisation: str, quick: bool
) -> str:
    """The whole page."""
    versions = f"dmlviz {dv.__version__}, torch {torch.__version__.split('+')[0]}, numpy {np.__version__}"
    warning = (
        "\n**Made with --quick: a handful of pictures and methods. These figures mean nothing.**\n"
        if quick
        else ""
    )
    fewer = ", ".join(f"`{name}` {count}" for name, count in (DEAR_METHODS | DEAR_EVALUATORS).items())
    parts = [
        f"""# Is the map true? All methods by all evaluators

Written by `python -m benchmarks.faithfulness` ({versions}).
{warning}
On drawn galleries it is known which part covers which pixel and in which part two images differ, so that a map can
be right or wrong. No picture here was seen in training, and the galleries called “{UNSEEN}” played no part in
any choice of network, method or evaluator, but for one: three recipes of the birds' network were compared on theirs,
too ([evidence.md](evidence.md) has galleries that nobody had looked at). Drawn pictures are flat and mostly centred:
expect less on photographs.
Which map to trust for what, in words: [which-map-to-trust.md](which-map-to-trust.md).

## How to read it

A figure is a mean over trials; in brackets the 95 % interval of a bootstrap over labels, for images of one label are
no independent trials. Where a rate is the same for every label, as in 20 hits of 20, a bootstrap would be certain of
it; there it is Wilson's interval, with one trial for each label. An arrow in a column's head says whether more or
less is better. Names in *italics* are baselines: *random weights* is the exact decomposition of the same network
untrained, *feature norm* knows its own image and not the other one, *centre* and *uniform* know no image, *random* is
noise. **A method that does not beat its baselines has shown nothing in that column**, however high its figure.
*pairs* is how many were asked about, *ms per pair* what one explanation cost, on one thread; what an evaluator costs
stands in `benchmarks/README.md`. Asked about fewer pairs, because they take many passes through the network: {fewer};
there are 100 random masks instead of 1000. The galleries never looked at are asked nothing that is dear; on real
pictures no method is, and the dear evaluators are asked about 12 pairs, in 21 steps where they cover pixels.

Only the headline tests tell a true map from a plausible one. The others are asked because the literature quotes them.

{how_to_read()}""",
        f"## The headline tests\n\n{summary(drawn)}",
        f"""## Where the exact decomposition loses

Everything that is better than the exact decomposition, trial by trial, beyond a 95 % interval (not corrected for how
many comparisons there are: of those that are equal about one in forty gets in by chance).

{losses_table(drawn | real)}""",
        *(section(title, comparison) for title, comparison in drawn.items()),
    ]
    if real:
        parts.append(
            "## Real pictures\n\nNothing is known of parts here, so no headline test can be asked: these tables say "
            "whether a map follows the network, not whether it is right."
        )
        parts += [section(title, comparison, "###") for title, comparison in real.items()]
    return "\n\n".join([*parts, localisation.strip()]) + "\n"


def records(found: Mapping[str, Comparison]) -> str:
    """All figures as JSON, for whoever wants to reckon with them."""
    return json.dumps(
        {
            title: json.loads(comparison.to_frame().to_json(orient="records", double_precision=6))
            for title, comparison in found.items()
        },
        indent=1,
    )


def _localisation(kept: Path | None, quick: bool, few: dict[str, int]) -> str:
    path = None if kept is None or quick else kept / "localisation.md"
    if path is not None and path.exists():
        return path.read_text(encoding="utf-8")
    text = localisation_section(**few)
    if path is not None:
        path.write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Compare, gallery by gallery, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a handful of pictures and methods, for a look")
    parser.add_argument("--only", default=",".join(DRAWN), help="drawn galleries, with commas between them")
    parser.add_argument("--pairs", type=int, default=120, help="how many pairs of each gallery")
    parser.add_argument("--real", type=Path, help="folder of real galleries and their networks")
    parser.add_argument("--kept", type=Path, help="folder that keeps what is finished")
    parser.add_argument("--processes", type=int, default=2, help="how many galleries at a time")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--json", type=Path, help="also write all figures into this file")
    asked = parser.parse_args()
    if asked.quick and asked.out == PAGE:
        parser.error("--quick is for a look: give another page by --out")
    if asked.kept is not None:
        asked.kept.mkdir(parents=True, exist_ok=True)
    rest = {"pairs": 5 if asked.quick else asked.pairs, "quick": asked.quick, "kept": asked.kept}
    names = [name for name in asked.only.split(",") if name]
    jobs = [Job(name, seed, **rest) for name in names for seed in (SEED, UNSEEN_SEED)]
    if asked.quick:
        jobs = [job for job in jobs if job.seed == SEED or job.name == "birds"]
    if asked.real is not None:
        jobs += [Job(name, real=asked.real.resolve(), **rest) for name in REAL]
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        done = list(tqdm(pool.map(compared, jobs), total=len(jobs), unit="gallery"))
    drawn = {job.title: of for job, of in zip(jobs, done, strict=True) if job.real is None}
    real = {job.title: of for job, of in zip(jobs, done, strict=True) if job.real is not None}
    few = {"queries": 12, "families": 2, "per_class": 4} if asked.quick else {}
    localisation = _localisation(asked.kept, asked.quick, few)
    asked.out.write_text(page(drawn, real, localisation, asked.quick), encoding="utf-8")
    if asked.json is not None:
        asked.json.write_text(records(drawn | real), encoding="utf-8")
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
