"""From any model to an embedder: find the trunk, fold the head, check both against the model's own output."""

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating, placement, refuse_batch_statistics
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.folding import FoldedHead, HeadMode, fold
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.geometry_arithmetic import geometry_on_tape
from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.measured_preprocess import as_preprocess
from dmlviz.embedder.model_output import FieldOf, OutputError, embedding_field
from dmlviz.embedder.tape import Ref, Tape, record
from dmlviz.embedder.trunk import Trunk, possible_trunks

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}


def embedder_of_module(
    model: nn.Module, preprocess: Any, input_size: tuple[int, int] | None, head: HeadMode, name: str | None
) -> Embedder:
    """See `Embedder.from_module`."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if head not in get_args(HeadMode):
        raise ValueError(f"unknown head {head!r}: expected 'fold' or 'linearised'")
    model = _unwrapped(model)
    name = name or type(model).__name__
    refuse_batch_statistics(model)
    prepared = as_preprocess(preprocess, input_size)
    size = prepared.size or input_size
    device, dtype = placement(model)
    images = made_up_inputs(prepared, size).to(device, dtype)
    with torch.no_grad():
        model, tape = _recorded(model, images[:1])
        _check_output(tape)
        own = _own_embeddings(model, images)
        ref, trunk, folded = _best_cut(model, tape, images, head)
        _check_against_model(own, trunk, folded, images, dtype)
    geometry, why = _geometry(tape, ref)
    details = [
        f"feature map after layer '{trunk.layer}'" if trunk.layer else "feature map made inside forward"
    ]
    if isinstance(model, FieldOf):
        details.append(f"the embedding is the model's {model.field}")
    if folded.normalised:
        details.append("the final L2 normalisation was taken off; cosine similarity does the same")
    details += [text for text in (folded.note, why) if text]
    return Embedder(
        trunk,
        folded.head,
        prepared,
        geometry=geometry,
        input_size=size,
        name=name,
        note=folded.note,
        details="; ".join(details),
        folded=True,
    )


def made_up_inputs(prepared: Any, size: tuple[int, int] | None) -> Tensor:
    """Three pictures of random blobs and noise, preprocessed: (3, C, H, W) float32."""
    if size is None:
        raise ValueError("the size that the network is fed is not known; pass input_size=(height, width)")
    generator = np.random.Generator(np.random.PCG64(3))
    pictures = []
    for block in (24, 9, 2):
        h, w = (-(-n // block) for n in size)
        coarse = generator.integers(0, 256, (h, w, 3), dtype=np.uint8)
        pictures.append(np.ascontiguousarray(coarse.repeat(block, 0).repeat(block, 1)[: size[0], : size[1]]))
    return torch.from_numpy(np.stack([prepared(picture) for picture in pictures]))


def _unwrapped(model: nn.Module) -> nn.Module:
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    compiled = getattr(model, "_orig_mod", None)
    return compiled if isinstance(compiled, nn.Module) else model


def _recorded(model: nn.Module, image: Tensor) -> tuple[nn.Module, Tape]:
    """The tape of a model; of the field that holds the embedding where it returns an object with several."""
    try:
        return model, record(model, image)
    except OutputError as error:
        field = embedding_field(error.output)
        if field is None:
            raise
    model = FieldOf(model, field)
    return model, record(model, image)


def _check_output(tape: Tape) -> None:
    shape = tuple(tape.value(tape.output).shape)
    if len(shape) < 2 or shape[0] != 1 or int(np.prod(shape[2:])) != 1:
        raise ValueError(
            f"the model must return embeddings (N, D), for one image it returned {shape}; "
            f"add pooling and nn.Flatten(1) after the feature map"
        )


def _best_cut(model: nn.Module, tape: Tape, images: Tensor, mode: HeadMode) -> tuple[Ref, Trunk, FoldedHead]:
    refusal: HeadError | None = None
    cuts = possible_trunks(model, tape)
    for ref, trunk in cuts:
        try:
            return ref, trunk, fold(tape, ref, _feature_maps(trunk, images))
        except HeadError as error:
            refusal = refusal or error
    if mode == "linearised":
        ref, trunk = cuts[0]
        return ref, trunk, fold(tape, ref, _feature_maps(trunk, images), "linearised")
    raise refusal if refusal is not None else HeadError("the model has no feature map")


def _feature_maps(trunk: Trunk, images: Tensor) -> Tensor:
    maps = trunk(images).cpu().double()
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("the model's feature maps hold NaN or infinite values; look at its weights")
    return maps


def _own_embeddings(model: nn.Module, images: Tensor) -> Tensor:
    with evaluating(model):
        own = model(images).flatten(1).cpu().double()
    if not bool(torch.isfinite(own).all()):
        raise ValueError("the model's embeddings hold NaN or infinite values; look at its weights")
    if bool((own == own[0]).all()):
        raise ValueError(
            "the model gives the same embedding for three different pictures; look at its weights (a last layer of "
            "zeros, as torchvision's vision transformers start with, does that)"
        )
    return own


def _check_against_model(
    own: Tensor, trunk: Trunk, folded: FoldedHead, images: Tensor, dtype: torch.dtype
) -> None:
    """The embedding of trunk and head, and the sum of its parts, against the model's own output."""
    maps = trunk(images).cpu().double()
    ours = folded.head(maps)
    linearised = isinstance(folded.head, JacobianHead) and not folded.head.exact  # adds up by construction
    summed = ours[0] if linearised else torch.tensor(folded.head.local_embeddings(maps[0]).embedding)
    if folded.normalised:
        own = own / own.norm(dim=1, keepdim=True)
        ours, summed = ours / ours.norm(dim=1, keepdim=True), summed / summed.norm()
    allowed = _TOLERANCE.get(dtype, 1e-1) * max(float(own.abs().max()), 1e-30)
    if not float((ours - own).abs().max()) <= allowed or not float((summed - own[0]).abs().max()) <= allowed:
        raise HeadError(
            f"trunk and head give another embedding than the model itself (they differ by "
            f"{float((ours - own).abs().max()):.2g}, at most {allowed:.2g} was expected): its forward depends on "
            f"more than the feature map after layer {trunk.layer!r}",
            layer=trunk.layer,
        )


def _geometry(tape: Tape, ref: Ref) -> tuple[CellGeometry | None, str]:
    try:
        found = geometry_on_tape(tape, ref)
    except ValueError as unknown:
        return None, str(unknown)
    return found, found.note
