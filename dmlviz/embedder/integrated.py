"""Integrated Jacobians: what each cell adds to the embedding of any head, along a path from a reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.as_found import evaluating
from dmlviz.embedder.cut import Cut, cut_of
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.local_embeddings import LocalEmbeddings
from dmlviz.embedder.path_integral import gauss_legendre, integrated_products

Reference = Any  # None, "zero", "blank", an array in the shape of the values at the cut, or pictures


@dataclass(frozen=True, eq=False)
class IntegratedEmbeddings:
    """An embedding taken apart by integrated Jacobians, and how much of it the parts miss.

    Attributes:
        local: One vector per cell, and the offset: the reference's embedding plus what prefix tokens add.
        embedding: (D,) float64, the network's own embedding, not normalised.
        missed: ‖parts' sum − embedding‖ / ‖embedding − the reference's embedding‖, >= 0; 0 where both are equal.
        spatial: The cells' share of the embedding, ⟨Σ cells, e⟩/⟨e, e⟩: signed, 1 where the offset adds nothing
            along the embedding; NaN where the embedding has no length.
        layer: Where the embedding was cut; "" for a feature map that no single layer gives.
        prefix: How many tokens there stand for no cell.
        reference: The reference in words.
        geometry: Where the cells lie on the view; None: not known.
    """

    local: LocalEmbeddings
    embedding: np.ndarray
    missed: float
    spatial: float
    layer: str
    prefix: int
    reference: str
    geometry: CellGeometry | None = None


def integrated_local_embeddings(
    embedder: Embedder,
    images: Sequence[Any],
    *,
    nodes: int = 8,
    reference: Reference = None,
    layer: str | None = None,
    dtype: Literal["float32", "float64"] = "float32",
) -> list[IntegratedEmbeddings]:
    """Take embeddings apart into cells, whatever the head: class tokens, bent layers, attention pooling.

    With f from the activations a at some layer to the embedding: Eᵢ = ∫₀¹ J(r + tδ) δᵢ dt, δ = a − r, and the
    offset f(r): Σᵢ Eᵢ + f(r) = f(a) up to the error of the nodes, which is stated as `missed`. Affine heads need
    one node. Heads that divide by a length (LayerNorm) hardly change between small multiples of one and the same
    map; there take another reference than zero.

    At tokens, those in front of the patches (class token, registers) stand for no cell; what they add goes into
    that image's offset.

    Args:
        embedder: Any embedder.
        images: Pictures (h, w, 3) uint8.
        nodes: Gauss–Legendre nodes on the path, >= 1.
        reference: Where the path starts. "zero": no activation at all. "blank": the activations of a picture that
            the preprocessing turns into zeros (its mean colour). An array in the shape of the activations, (C, h,
            w) or (tokens, C). Or pictures, in a list or an `ImageSet`: the mean of their activations. None: "zero"
            at a feature map, "blank" at tokens and where zeros have no finite embedding, as in heads that divide by
            its length.
        layer: Where to take the activations. None: the last feature map, or for a network of tokens the input of
            the last attention. Else the name of a layer before that which everything passes through.
        dtype: "float64" runs all in double precision.

    Returns:
        One `IntegratedEmbeddings` for each picture.

    Raises:
        ValueError: Unknown options, a reference of another shape, a layer that is not there or that not everything
            passes through, values that are not finite.
    """
    gauss_legendre(nodes)
    cut = cut_of(embedder, layer, dtype)
    with torch.no_grad(), evaluating(cut.trunk), evaluating(cut.head):
        start, said = _reference(embedder, cut, reference)
        at_start = cut.after(start)
        if reference is None and not bool(torch.isfinite(at_start).all()):
            start, said = _reference(embedder, cut, "blank")
            at_start = cut.after(start)
        if not bool(torch.isfinite(at_start).all()):
            raise ValueError(
                f"the head gives no finite embedding of {said}, where the path starts: it divides by a length of 0, "
                f"say; take another reference, such as reference='blank' or a list of pictures"
            )
        return [_taken_apart(cut, cut.values(embedder, one), start, at_start, said, nodes) for one in images]


def _taken_apart(
    cut: Cut, values: Tensor, start: Tensor, at_start: Tensor, said: str, nodes: int
) -> IntegratedEmbeddings:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            "the activations hold NaN or infinite values; look for them in the image or in the network's weights"
        )
    whole = cut.after(values).double()
    shares = integrated_products(cut.after, values, start, cut.positions, nodes).detach()
    prefix, cells = shares[: cut.prefix], shares[cut.prefix :]
    offset = at_start + prefix.sum(0)
    spatial = cells.double().sum(0)
    moved = float((whole - at_start.double()).norm())
    missed = float((spatial + offset.double() - whole).norm())
    length = float(whole @ whole)
    if not bool(torch.isfinite(shares).all()):
        raise ValueError(
            f"the head has no finite derivative on the path from {said}; take another reference, such as "
            f"reference='blank' or a list of pictures"
        )
    note = f"integrated Jacobians with {nodes} nodes, from {said}" + (
        f", at {cut.layer!r}" if cut.layer else ""
    )
    return IntegratedEmbeddings(
        local=LocalEmbeddings(
            cells.reshape(*cut.grid, -1).cpu().numpy(),
            offset.cpu().numpy(),
            f"{note}: the parts miss {missed / moved if moved else 0.0:.1e} of the way from there to the embedding",
        ),
        embedding=whole.cpu().numpy(),
        missed=missed / moved if moved else 0.0,
        spatial=float(spatial @ whole) / length if length > 0 else float("nan"),
        layer=cut.layer,
        prefix=cut.prefix,
        reference=said,
        geometry=cut.geometry,
    )


def _reference(embedder: Embedder, cut: Cut, asked: Reference) -> tuple[Tensor, str]:
    """Where the path starts, and that in words."""
    if asked is None:
        asked = "blank" if cut.of_tokens else "zero"
    blank = cut.blank(embedder)
    if isinstance(asked, str):
        if asked == "zero":
            return torch.zeros_like(blank), "zeros"
        if asked == "blank":
            return blank, "a blank picture"
        raise ValueError(
            f"reference must be 'zero', 'blank', an array of activations or a list of pictures; got {asked!r}"
        )
    is_array = isinstance(asked, np.ndarray | Tensor)
    if is_array and tuple(asked.shape) == tuple(blank.shape):
        given = torch.as_tensor(asked).to(blank)
        if not bool(torch.isfinite(given).all()):
            raise ValueError("the reference must be finite, it holds NaN or infinite values")
        return given, "a given reference"
    if is_array:
        raise ValueError(
            f"the reference must have the shape of the activations at {cut.layer or 'the feature map'!r}, "
            f"{tuple(blank.shape)}; got {tuple(asked.shape)}. Pictures are given in a list"
        )
    if len(asked) == 0:
        raise ValueError("the reference was given as pictures, but there are none")
    total = torch.zeros_like(blank, dtype=torch.float64)
    for n in range(len(asked)):
        total += cut.values(embedder, asked[n]).double()
    return (total / len(asked)).to(blank), f"the mean of {len(asked)} pictures"
