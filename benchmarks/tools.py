"""Ours against pytorch-grad-cam and captum: the same network, the same pairs, the same run.

Both are optional (`pip install grad-cam captum`); what is not installed is said and not measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measuring import Duel, duel
from benchmarks.methods import networks, pairs_of
from dmlviz.embedder import Embedder
from dmlviz.embedder.cell_means import cell_means
from dmlviz.explanation import decompose_similarity
from dmlviz.explanation.gradient_maps import grad_cam
from dmlviz.explanation.rise_maps import corr_rise, rise
from dmlviz.explanation.sliding_windows import occlusion
from dmlviz.retrieval import Gallery

_GREY = 128
_MASKS = 300
_STEPS = 50


@dataclass(frozen=True)
class Likeness:
    """One line of the results: two maps of the query, over several pairs.

    Attributes:
        ours: how the first map was made.
        other: how the second was made.
        network: on what.
        correlation: Pearson correlation of the two maps, median over the pairs.
        low, high: the least and the greatest over the pairs.
        ours_misses: how far the first map and its offsets are from the sum that the method promises, median, in
            units of the score; None where it promises none. The decomposition promises the score, integrated
            gradients promise the score less that of the grey picture.
        other_misses: the same of the second map.
        pairs: how many pairs.
    """

    ours: str
    other: str
    network: str
    correlation: float
    low: float
    high: float
    ours_misses: float | None
    other_misses: float | None
    pairs: int


def missing() -> list[str]:
    """What is not installed, in words."""
    names = {"pytorch_grad_cam": "pytorch-grad-cam (`pip install grad-cam`)", "captum": "captum"}
    return [said for module, said in names.items() if find_spec(module) is None]


class _ToOne(nn.Module):
    """A network whose output is the cosine of its embedding with a fixed one, (N, 1)."""

    def __init__(self, embedder: Embedder, other: np.ndarray) -> None:
        super().__init__()
        self.trunk, self.head = embedder.trunk, embedder.head
        self.register_buffer("other", torch.from_numpy(other / np.linalg.norm(other)))

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(self.trunk(inputs)), dim=1) @ self.other[:, None]


class _Pair:
    """A pair of pictures as both sides need it."""

    def __init__(self, gallery: Gallery, number: int) -> None:
        self.embedder = gallery.embedder
        self.query, self.item = gallery.images[2 * number], gallery.images[2 * number + 1]
        self.inputs = self._inputs(self.embedder.view(self.query))
        self.back = self._inputs(self.embedder.view(self.item))
        self.grey = self._inputs(np.full((*self.embedder.input_size, 3), _GREY, np.uint8))
        rows = self.embedder.embed([self.query, self.item])
        self.model, self.model_back = (
            _ToOne(self.embedder, rows[1]).eval(),
            _ToOne(self.embedder, rows[0]).eval(),
        )
        with torch.no_grad():
            self.above_grey = float(self.model(self.inputs)[0, 0] - self.model(self.grey)[0, 0])

    def _inputs(self, view: np.ndarray) -> Tensor:
        return torch.from_numpy(self.embedder.preprocess.array(view))[None]

    @property
    def window(self) -> tuple[int, int]:
        """A window, and a stride of half of it, that fit the view without a rest."""
        side = self.embedder.input_size[0] // (6 if self.embedder.input_size[0] < 150 else 7)
        return side, side // 2

    # ---- ours ----------------------------------------------------------------------------------------------

    def decomposed(self):
        return decompose_similarity(*self.embedder.local_embeddings([self.query, self.item]))

    def grad_cam(self):
        return grad_cam(self.embedder, self.query, self.item)

    def occluded(self):
        window, stride = self.window
        return occlusion(
            self.embedder, self.query, self.item, window=window, stride=stride, fill="grey", sides=["query"],
            resolution="pixels", progress=False,
        )  # fmt: skip

    def random_masks(self, method: Callable):
        return method(self.embedder, self.query, self.item, masks=_MASKS, sides=["query"], progress=False)

    # ---- theirs --------------------------------------------------------------------------------------------

    def their_grad_cam(self, inputs: Tensor | None = None, model: nn.Module | None = None) -> np.ndarray:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        model = self.model if model is None else model
        inputs = self.inputs if inputs is None else inputs
        if not any(weight.requires_grad for weight in model.parameters()):
            inputs = inputs.clone().requires_grad_()  # it needs something to differentiate by
        with GradCAM(model, [model.trunk]) as cam:
            return cam(inputs, [ClassifierOutputTarget(0)])[0]

    def their_grad_cams(self) -> tuple[np.ndarray, np.ndarray]:
        return self.their_grad_cam(), self.their_grad_cam(self.back, self.model_back)

    @torch.no_grad()
    def their_occlusion(self) -> np.ndarray:
        from captum.attr import Occlusion

        window, stride = self.window
        found = Occlusion(self.model).attribute(
            self.inputs,
            (self.inputs.shape[1], window, window),
            (self.inputs.shape[1], stride, stride),
            baselines=self.grey,
            target=0,
            perturbations_per_eval=32,
        )
        return found[0, 0].numpy()

    def their_integrated_gradients(self) -> np.ndarray:
        from captum.attr import IntegratedGradients

        found = IntegratedGradients(self.model).attribute(
            self.inputs, self.grey, target=0, n_steps=_STEPS, internal_batch_size=_STEPS
        )
        return found[0].sum(0).detach().numpy()

    def over_cells(self, pixels: np.ndarray) -> np.ndarray:
        return cell_means(pixels, self.embedder.map_size, self.embedder.geometry)

    def over_pixels(self, cells: np.ndarray) -> np.ndarray:
        """Enlarged as pytorch-grad-cam does: half-pixel centres, bilinear."""
        enlarged = nn.functional.interpolate(
            torch.from_numpy(np.ascontiguousarray(cells, dtype=np.float64))[None, None],
            self.embedder.input_size,
            mode="bilinear",
            align_corners=False,
        )
        return enlarged[0, 0].numpy()


def speeds(quick: bool) -> Iterator[Duel]:
    """From two pictures to the maps; theirs from inputs that are already resized and normalised."""
    absent = missing()
    for network, embedder in networks().items():
        pair = _Pair(pairs_of(embedder, 1), 0)
        rounds = 3 if quick else 11
        if not any("grad-cam" in name for name in absent):
            theirs = "pytorch-grad-cam's GradCAM of both images"
            what = f"exact decomposition, all pairs of cells, {network}"
            yield duel(what, theirs, pair.decomposed, pair.their_grad_cams, rounds=rounds)
            what = f"our Grad-CAM of both images, {network}"
            yield duel(what, theirs, pair.grad_cam, pair.their_grad_cams, rounds=rounds)
        if "captum" not in absent:
            theirs = f"captum's IntegratedGradients of the query, {_STEPS} steps"
            what = f"exact decomposition, all pairs of cells, {network}"
            few = max(3, rounds // 3)
            yield duel(what, theirs, pair.decomposed, pair.their_integrated_gradients, rounds=few)
            what = f"our occlusion of the query, the same windows, {network}"
            yield duel(what, "captum's Occlusion", pair.occluded, pair.their_occlusion, rounds=few)


def likenesses(quick: bool) -> Iterator[Likeness]:
    """Do maps of the query agree, and which of them add up?"""
    absent = missing()
    for network, embedder in networks().items():
        count = 2 if quick else 6 if network == "birds" else 3
        gallery = pairs_of(embedder, count)
        pairs = [_Pair(gallery, number) for number in range(count)]
        whys = [pair.decomposed() for pair in pairs]
        exact = [why.overall_map("query") for why in whys]
        said = partial(_line, network=network)
        left = [abs(why.residual) for why in whys]
        if not any("grad-cam" in name for name in absent):
            theirs = [pair.their_grad_cam() for pair in pairs]
            ours = [p.over_pixels(p.grad_cam().query_map) for p in pairs]
            yield said("our Grad-CAM, enlarged", "pytorch-grad-cam's GradCAM", ours, theirs)
            large = [p.over_pixels(one) for p, one in zip(pairs, exact, strict=True)]
            yield said("exact decomposition, enlarged", "pytorch-grad-cam's GradCAM", large, theirs, left)
        occluded = [pair.occluded().query_map for pair in pairs]
        if "captum" not in absent:
            theirs = [pair.their_occlusion() for pair in pairs]
            yield said("our occlusion, pixels", "captum's Occlusion", occluded, theirs)
            found = [pair.their_integrated_gradients() for pair in pairs]
            missed = [abs(float(one.sum()) - p.above_grey) for p, one in zip(pairs, found, strict=True)]
            cells = [p.over_cells(one) for p, one in zip(pairs, found, strict=True)]
            other = f"captum's IntegratedGradients, {_STEPS} steps from grey, over cells"
            yield said("exact decomposition", other, exact, cells, left, missed)
        cells = [p.over_cells(one) for p, one in zip(pairs, occluded, strict=True)]
        yield said("exact decomposition", "our occlusion, over cells", exact, cells, left)
        for method, name in ((rise, "rise"), (corr_rise, "corr-rise")):
            found = [pair.random_masks(method).query_map for pair in pairs]
            yield said("exact decomposition", f"our {name}, {_MASKS} masks", exact, found, left)


def _line(
    ours: str,
    other: str,
    ours_maps: list[np.ndarray],
    other_maps: list[np.ndarray],
    ours_miss: list[float] | None = None,
    other_miss: list[float] | None = None,
    *,
    network: str,
) -> Likeness:
    found = [_pearson(a, b) for a, b in zip(ours_maps, other_maps, strict=True)]
    return Likeness(
        ours,
        other,
        network,
        float(np.median(found)),
        float(np.min(found)),
        float(np.max(found)),
        None if ours_miss is None else float(np.median(ours_miss)),
        None if other_miss is None else float(np.median(other_miss)),
        len(found),
    )


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two maps; NaN where one is the same everywhere."""
    a, b = (np.asarray(one, dtype=np.float64).ravel() - np.mean(one) for one in (a, b))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else float("nan")
