"""What xCos does on the birds, which it was not made for. Writes docs/xcos.md.

    python -m benchmarks.xcos

Uses the shipped head, and trains a second one in the published order of attention (about three minutes) unless
--heads names a folder where it lies already. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

import dmlviz as dv
from benchmarks.evidence import cell, table
from dmlviz.embedder import XCos, birds_embedder, read_xcos, xcos_of
from dmlviz.embedder.xcos import grid_cosines
from dmlviz.faithfulness import Estimate
from dmlviz.faithfulness.map_pixels import cell_pixels, dilated
from dmlviz.images.bird_scene import REGIONS
from dmlviz.learning import train_xcos

PAGE = Path(__file__).parents[1] / "docs" / "xcos.md"
SEEDS = {"default (seed 0)": 0, "unseen families (seed 4001)": 4001}
TOP = 50
PUBLISHED = "xcos_published"


class Compared:
    """xCos of many pairs by one head, in both orders of attention."""

    def __init__(
        self,
        head: XCos,
        cells: torch.Tensor,
        others: torch.Tensor,
        first: np.ndarray,
        second: np.ndarray,
        batch: int = 400,
    ) -> None:
        one_way, back, cosines = [], [], []
        with torch.no_grad():
            for start in range(0, len(first), batch):
                a = cells[torch.from_numpy(first[start : start + batch])]
                b = others[torch.from_numpy(second[start : start + batch])]
                one_way.append(head.attention(a, b))
                back.append(head.attention(b, a))
                cosines.append(grid_cosines(a, b))
        self.one_way, self.back, self.cosines = (
            torch.cat(part).double().numpy() for part in (one_way, back, cosines)
        )
        self.weights = (self.one_way + self.back) / 2

    def score(self, weights: np.ndarray) -> np.ndarray:
        """XCos with these weights, (N,)."""
        return (weights * self.cosines).sum((1, 2))


def compared(head: XCos, features: torch.Tensor, first: np.ndarray, second: np.ndarray) -> Compared:
    return Compared(head, features, features, first, second)


def measure(birds: dv.ImageSet, heads: dict[str, XCos]) -> dict:
    embedder = birds_embedder("avg")
    gallery = dv.Gallery.build(birds, embedder, progress=False)
    with torch.no_grad():
        maps = embedder.feature_maps(list(birds), batch_size=96)
        features = {name: head.features(maps) for name, head in heads.items()}
    _, species = np.unique(gallery.labels, return_inverse=True)
    rankings = [gallery.search(i, k=TOP) for i in range(len(birds))]
    ids = np.stack([ranking.ids for ranking in rankings])
    cosines = np.stack([ranking.similarities for ranking in rankings]).astype(np.float64)
    first, second = np.repeat(np.arange(len(birds)), TOP), ids.reshape(-1)

    def hits(scores: np.ndarray, name: str) -> Estimate:
        best = ids[np.arange(len(ids)), scores.reshape(ids.shape).argmax(1)]
        return Estimate(name, species[best] == species, species, rate=True)

    found: dict = {"recall": {"cosine, as ranked": hits(cosines, "cosine")}, "agreement": [], "order": []}
    random = np.random.default_rng(0)
    pairs = random.integers(len(birds), size=(4000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    of_pairs = (unit(gallery.embeddings[pairs[:, 0]]) * unit(gallery.embeddings[pairs[:, 1]])).sum(1)
    for name, head in heads.items():
        top = compared(head, features[name], first, second)
        both, ordered = top.score(top.weights), top.score(top.one_way)
        found["recall"][f"xCos, {name}"] = hits(both if head.symmetric else ordered, name)
        if head.symmetric:
            equal = top.cosines.mean((1, 2))
            found["recall"]["mean cosine of the same cells, without attention"] = hits(equal, "equal")
        gap = np.abs(ordered - top.score(top.back))
        turned = top.score(top.back).reshape(ids.shape).argmax(1) != ordered.reshape(ids.shape).argmax(1)
        found["order"].append(
            (
                name,
                f"{gap.mean():.4f}",
                f"{np.quantile(gap, 0.95):.4f}",
                f"{gap.max():.4f}",
                f"{turned.mean():.3f}",
            )
        )
        apart = compared(head, features[name], *pairs.T)
        own = [both, apart.score(apart.weights)] if head.symmetric else [ordered, apart.score(apart.one_way)]
        for where, ours, theirs in (
            (f"the top {TOP}", own[0], cosines.reshape(-1)),
            ("random pairs", own[1], of_pairs),
        ):
            r, error = np.corrcoef(ours, theirs)[0, 1], np.sqrt(np.mean((ours - theirs) ** 2))
            found["agreement"].append((f"{name}, {where}", f"{r:.3f}", f"{error:.3f}", f"{theirs.std():.3f}"))
    head, name = next(iter(heads.values())), next(iter(heads))
    found["parts"] = part_shares(birds, head, features[name], ids, species)
    found |= aligned(birds, head, features[name], embedder, species, gallery.embeddings)
    return found


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def part_shares(
    birds: dv.ImageSet, head: XCos, features: torch.Tensor, ids: np.ndarray, species: np.ndarray
) -> list[tuple[str, ...]]:
    """Where on the query the attention lies, for each query and the nearest image of its species."""
    same = species[ids] == species[:, None]
    asked = np.flatnonzero(same.any(1))
    pairs = compared(head, features, asked, ids[asked, same[asked].argmax(1)])
    h, w = pairs.weights.shape[1:]
    area, attention, share = (np.zeros(len(REGIONS)) for _ in range(3))
    for k, i in enumerate(asked):
        shown = birds.part_ids(int(i))
        tiles = shown.reshape(h, shown.shape[0] // h, w, shown.shape[1] // w)
        for region in range(len(REGIONS)):
            of_cell = (tiles == region).mean((1, 3))
            area[region] += of_cell.mean()
            attention[region] += (pairs.weights[k] * of_cell).sum()
            share[region] += (pairs.weights[k] * pairs.cosines[k] * of_cell).sum()
    score = pairs.score(pairs.weights).sum()
    return [
        (
            REGIONS[region],
            f"{area[region] / len(asked):.3f}",
            f"{attention[region] / len(asked):.3f}",
            f"{attention[region] / area[region]:.2f}",
            f"{share[region] / score:.3f}",
        )
        for region in range(len(REGIONS))
    ]


def aligned(
    birds: dv.ImageSet,
    head: XCos,
    features: torch.Tensor,
    embedder: dv.Embedder,
    species: np.ndarray,
    embeddings: np.ndarray,
) -> dict:
    """Pairs in one pose, where only one part was swapped, against pairs in poses of their own."""
    parts = [birds.parts[i % len(birds.parts)] for i in range(len(birds))]
    swapped = [birds.swap(i, part) for i, part in enumerate(parts)]
    with torch.no_grad():
        others = embedder.feature_maps(swapped, batch_size=96)
        still = Compared(head, features, head.features(others), np.arange(len(birds)), np.arange(len(birds)))
    losses = {
        "weight × (1 − cosine)": still.weights * (1 - still.cosines),
        "1 − cosine": 1 - still.cosines,
    }
    pixels = cell_pixels(still.weights.shape[1:], (birds.size, birds.size), embedder.geometry).reshape(-1, 2)
    rates: dict[str, list[float]] = {name: [] for name in (*losses, "uniform")}
    seen = []
    for i, part in enumerate(parts):
        mask = dilated(birds.mask(i, part), 2)
        if not birds.mask(i, part).any():
            continue
        seen.append(i)
        for name, lost in losses.items():
            rates[name].append(bool(mask[tuple(pixels[lost[i].argmax()])]))
        rates["uniform"].append(float(mask.mean()))
    e = unit(embeddings)
    random = np.random.default_rng(1)
    family = np.array([birds.family(i) for i in range(len(birds))])
    kinds = [
        (
            "the same picture, one part swapped",
            still.score(still.weights),
            (e * unit(embedder.embed(swapped))).sum(1),
        )
    ]
    for name, allowed in (
        ("another picture of the species", species[:, None] == species),
        ("a picture of a sibling species", (family[:, None] == family) & (species[:, None] != species)),
        ("a picture of another family", family[:, None] != family),
    ):
        chances = random.random(allowed.shape) * (allowed & ~np.eye(len(birds), dtype=bool))
        partner = chances.argmax(1)
        pairs = compared(head, features, np.arange(len(birds)), partner)
        kinds.append((name, pairs.score(pairs.weights), (e * e[partner]).sum(1)))
    return {
        "swapped": {
            name: Estimate(name, np.array(hit), species[seen], rate=True) for name, hit in rates.items()
        },
        "kinds": [
            (name, *(f"{scores.mean():+.3f} ± {scores.std():.3f}" for scores in (ours, theirs)))
            for name, ours, theirs in kinds
        ],
    }


def section(name: str, found: dict) -> str:
    recall = [(what, cell(rate)) for what, rate in found["recall"].items()]
    swapped = [(what, cell(rate)) for what, rate in found["swapped"].items()]
    return "\n\n".join(
        [
            f"## {name}",
            f"### Is the first match of the right species, when the top {TOP} by cosine are ranked anew?",
            table(recall, ("ranked by", "recall@1")),
            "### How near does xCos come to the cosine that it was trained to follow?",
            table(
                found["agreement"],
                ("head and pairs", "correlation", "root of the mean squared error", "spread of the cosine"),
            ),
            f"### Does the published order matter? xCos(a, b) against xCos(b, a), top {TOP}",
            table(
                found["order"],
                (
                    "head, read in one order",
                    "mean gap",
                    "95 % below",
                    "largest gap",
                    "queries whose first match changes",
                ),
            ),
            "### Where does the attention lie? (each query with the nearest picture of its species)",
            table(
                found["parts"],
                (
                    "region of the query",
                    "share of the picture",
                    "share of the attention",
                    "ratio",
                    "share of xCos",
                ),
            ),
            "### Scores of aligned and of other pairs (mean ± standard deviation)",
            table(found["kinds"], ("a picture and ...", "xCos", "cosine")),
            "### The same picture with one part swapped: peak of what xCos loses lies on that part",
            table(swapped, ("map", "rate")),
        ]
    )


def page(sections: list[str]) -> str:
    versions = f"dmlviz {dv.__version__}, torch {torch.__version__.split('+')[0]}, numpy {np.__version__}"
    return f"""# xCos on the birds

Written by `python -m benchmarks.xcos` ({versions}).

xCos (Lin et al., [arXiv 2003.05383](https://arxiv.org/abs/2003.05383)) is a learned similarity: a 1 × 1 convolution
on the trunk's feature maps, the cosine of each cell with *the same cell* of the other image, and a weighted mean of
these cosines whose weights an attention network gives. Its score is explained by construction. It was made for faces
that have been aligned; here it is trained on the frozen trunk of the shipped birds embedder, by
`python -m dmlviz.learning.train_xcos --out DIR`, and shown with its losses.

```python
why = dv.explain(gallery, 0, 41, method="xcos")        # kind "xCos": its own score, the index's is in the note
maps = xcos_maps(embedder, image, other)               # .weights, .cosines, .score  (from dmlviz.explanation)
xcos_scores(embedder, None, image, others)             # to rank anew by
```

**What to expect.** Birds look left or right and stand where they like, so the same cell of two pictures seldom shows
the same part. A similarity that compares only the same cells loses information that the pooled embedding keeps, and
must lose against the cosine on this gallery; the first table of each section says by how much. The fifth table shows
why: to xCos, alignment weighs more than the species. Where two pictures are aligned it does what it was made for: in
the last table the cell where it loses most tells which part was swapped. In the second table, where the error is
larger than the spread, xCos is no stand-in for the cosine. Use it on aligned images, and use `decomposition` to
explain the score that ranked.

**What differs from the published code.** The attention is the mean over both orders of the two images
(`symmetric=True`), so that xCos(a, b) = xCos(b, a); `symmetric=False` is the published order, and the third table
shows what that costs. The cosine to follow comes from the network in eval mode; the published trainer leaves its
teacher in training mode, so that dropout and batch statistics blur the target. The trunk is frozen, and a few hundred
steps of AdamW take the place of a hundred epochs. Losses, margins, layers and epsilons are the published ones.

The species of both galleries were never seen in training, and the second gallery's families played no part in any
choice of the head. In brackets the 95 % interval of a bootstrap over species. The head "shipped" is symmetric;
"published order" is a second head, trained and read in one order.

{chr(10).join(s + chr(10) for s in sections)}"""


def heads_in(folder: Path) -> dict[str, XCos]:
    """The shipped head, and the one in the published order, trained in `folder` if it is not there."""
    embedder = birds_embedder("avg")
    path = folder / f"{PUBLISHED}.safetensors"
    if not path.exists():
        train_xcos.main(["--out", str(folder), "--name", PUBLISHED, "--published-order"])
    return {"shipped": xcos_of(embedder), "published order": read_xcos(path, embedder)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--heads", type=Path, help="folder of the second head; trained there if missing")
    parser.add_argument("--families", type=int, default=8, help="of each gallery; 2 for a look")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        heads = heads_in(asked.heads or Path(passing))
    sections = []
    for name, seed in SEEDS.items():
        print(name, flush=True)
        sections.append(section(name, measure(dv.birds(families=asked.families, seed=seed), heads)))
    asked.out.write_text(page(sections), encoding="utf-8")
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
