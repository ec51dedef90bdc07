"""How well a network tells drawn people apart: verification, search across cameras, hovering a part."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from dmlviz.embedder.birdnet import images_to_input
from dmlviz.embedder.smallnet import SmallNet
from dmlviz.images.face_gallery import FaceSet, faces
from dmlviz.images.look_set import LookSet
from dmlviz.images.person_gallery import persons
from dmlviz.learning.bird_export import recall_at

RECALLS: Final = (1, 2, 4, 8)
HELD_OUT: Final[dict[str, dict[str, int]]] = {
    "faces": {"people": 56, "per_person": 15, "seed": 0},
    "persons": {"people": 48, "per_camera": 6, "seed": 0, "cameras": 2},
}
"""The galleries of unseen people that cards report on: the default ones."""
_PAIRS: Final = 4000
_LEAST_VISIBLE: Final = 8
_INNER: Final = slice(1, 7)
"""The pixels of a cell, without its rim, in which a part has to lie for hovering to have hit it."""


def held_out_set(what: str, **arguments: Any) -> LookSet:
    """Make a gallery of people that no network was trained on."""
    return faces(**arguments) if what == "faces" else persons(**arguments)


def measure(net: SmallNet, images: LookSet, pictures: np.ndarray, hover: bool = False) -> dict[str, Any]:
    """Measure a network in eval mode on a gallery of unseen people.

    Args:
        net: The network.
        images: The gallery.
        pictures: Its pictures, (N, H, W, 3) uint8.
        hover: Also measure how often hovering a part finds the same part.

    Returns:
        Faces: ``recall`` (each image against all others), ``auc`` of verification over pairs of any two people and
        ``auc_of_kin`` over pairs of one family. Persons: ``recall`` across cameras as in Market-1501 (same person
        from the same camera left out). Both, if asked: ``hover``, as of `hover_rate`, and its ``hover_by_chance``.
    """
    locals_, embeddings = cells_of(net, pictures)
    labels = np.array([images.person(i) for i in range(len(images))])
    found: dict[str, Any] = {}
    if isinstance(images, FaceSet):
        found["recall"] = _recalls(recall_at(embeddings, labels, RECALLS))
        for name, kin in (("auc", 0.0), ("auc_of_kin", 1.0)):
            a, b, same = images.pairs(_PAIRS, seed=1, kin=kin)
            unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
            found[name] = round(area_under_curve((unit[a] * unit[b]).sum(1), same), 4)
    else:
        cameras = np.array([images.scene(i).camera for i in range(len(images))])
        found["recall"] = _recalls(recall_across(embeddings, labels, cameras, RECALLS))
    if hover:
        rate, chance = hover_rate(images, locals_, embeddings, labels)
        found["hover"], found["hover_by_chance"] = round(rate, 3), round(chance, 3)
    return found


@torch.no_grad()
def cells_of(net: SmallNet, pictures: np.ndarray, at_once: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Embed pictures: local embeddings (N, h, w, D) and embeddings (N, D), float32.

    Under maximum pooling a channel's maximum is the share of the cell that holds it; cells that tie share it equally.
    """
    locals_ = []
    for start in range(0, len(pictures), at_once):
        cells = net.trunk(images_to_input(pictures[start : start + at_once])).permute(0, 2, 3, 1)
        if net.pooling == "max":
            holds = (cells == cells.amax((1, 2), keepdim=True)).float()
            shares = cells * holds / holds.sum((1, 2), keepdim=True)
        else:
            shares = cells / (cells.shape[1] * cells.shape[2])
        locals_.append(net.linear(shares).numpy())
    joined = np.concatenate(locals_)
    return joined, joined.sum((1, 2))


def area_under_curve(scores: np.ndarray, same: np.ndarray) -> float:
    """Measure verification: how often a pair of one person scores higher than a pair of two, ties counting half.

    The area under the receiver operating characteristic, by ranks (Mann and Whitney, 1947).

    Args:
        scores: (n,) float, higher for more alike.
        same: (n,) bool, at least one of each kind.

    Raises:
        ValueError: All pairs are of one kind.
    """
    positives = int(same.sum())
    negatives = len(same) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(
            f"The area needs pairs of both kinds; got {positives} same and {negatives} different."
        )
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[where]
    return float((ranks[same].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def recall_across(
    embeddings: np.ndarray, labels: np.ndarray, cameras: np.ndarray, ks: tuple[int, ...]
) -> dict[int, float]:
    """Measure recall@k by cosine with every image a query and the same person from the same camera left out.

    Args:
        embeddings: (N, D) float.
        labels: (N,) integers, the people.
        cameras: (N,) integers.
        ks: Which k.

    Returns:
        For each k, the share of queries with another camera's image of the same person among the first k.

    Source:
        L. Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015, section 4.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    similarity = unit @ unit.T
    same = labels[:, None] == labels[None, :]
    similarity[same & (cameras[:, None] == cameras[None, :])] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : max(ks)]
    hit = np.take_along_axis(same & np.isfinite(similarity), order, axis=1)
    found = np.maximum.accumulate(hit, axis=1)
    return {k: float(found[:, k - 1].mean()) for k in ks}


def hover_rate(
    images: LookSet, locals_: np.ndarray, embeddings: np.ndarray, labels: np.ndarray, every: int = 7
) -> tuple[float, float]:
    """Measure how often hovering a part lights up the same part.

    The pointer rests on the cell with most of a part; the cell of the nearest image of the same person (of persons:
    from another camera) with the largest contribution must show that part.

    Args:
        images: The gallery.
        locals_: (N, h, w, D) float, the local embeddings.
        embeddings: (N, D) float.
        labels: (N,) integers, the people.
        every: One in how many images asks.

    Returns:
        The share of hits over all parts that make siblings, and the share of cells that would be hits.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    cameras = np.array([images.scene(i).camera for i in range(len(images))])
    grid = locals_.shape[1:3]
    hits, chances = [], []
    for query in range(0, len(images), every):
        others = (labels == labels[query]) & (np.arange(len(labels)) != query)
        if len(set(cameras.tolist())) > 1:
            others &= cameras != cameras[query]
        if not others.any():
            continue
        match = int(np.flatnonzero(others)[(unit[others] @ unit[query]).argmax()])
        here, there = (_by_cell(images.part_ids(i), grid) for i in (query, match))
        for part in images.scheme.siblings:
            number = images.scheme.region_id[part]
            seen, lies = here == number, (there == number)[:, :, _INNER, _INNER].any((2, 3))
            if seen.sum() < _LEAST_VISIBLE or (there == number).sum() < _LEAST_VISIBLE:
                continue
            cell = np.unravel_index(seen.sum((2, 3)).argmax(), grid)
            found = np.unravel_index((locals_[match] @ locals_[query][cell]).argmax(), grid)
            hits.append(lies[found])
            chances.append(lies.mean())
    return float(np.mean(hits)), float(np.mean(chances))


def _by_cell(ids: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Cut a part-id map into the 8 × 8 pixels of each cell: (h, w, 8, 8)."""
    h, w = grid
    return np.asarray(ids.reshape(h, ids.shape[0] // h, w, ids.shape[1] // w).transpose(0, 2, 1, 3))


def _recalls(found: dict[int, float]) -> dict[str, float]:
    return {f"@{k}": round(share, 4) for k, share in found.items()}
