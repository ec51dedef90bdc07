"""From any model to an embedder: find the trunk, fold the head, check both against the model's own output."""

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating, placement, refuse_batch_statistics
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.folding import FoldedHead, HeadMode, before_normalisation, fold
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.geometry_arithmetic import geometry_on_tape
from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.measured_preprocess import as_preprocess
from dmlviz.embedder.model_output import FieldOf, OutputError, embedding_field
from dmlviz.embedder.tape import Ref, Tape, record
from dmlviz.embedder.token_places import attention_after, places_of_tokens
from dmlviz.embedder.token_trunk import TokenTrunk, geometry_of_patches, token_trunk
from dmlviz.embedder.tokens_head import TokensHead
from dmlviz.embedder.trunk import Trunk, possible_trunks

_ATTEMPTS: dict[HeadMode, tuple[HeadMode, ...]] = {
    "fold": ("fold",),
    "frozen": ("fold", "frozen"),
    "linearised": ("fold",),
}
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}


def embedder_of_module(
    model: nn.Module, preprocess: Any, input_size: tuple[int, int] | None, head: HeadMode, name: str | None
) -> Embedder:
    """See `Embedder.from_module`."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if head not in get_args(HeadMode):
        raise ValueError(f"unknown head {head!r}: expected 'fold', 'frozen' or 'linearised'")
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
    of_tokens = isinstance(trunk, TokenTrunk)
    geometry, why = _geometry(tape, ref, isinstance(folded.head, TokensHead) or of_tokens)
    what = "patch tokens" if of_tokens else "feature map"
    details = [f"{what} after layer '{trunk.layer}'" if trunk.layer else f"{what} made inside forward"]
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
    """Where the model is cut, on `tape`, the trunk up to there and the head; for tokens the map of their patches."""
    cuts = possible_trunks(model, tape)
    patch_map, first = cuts[0]
    tokens: dict[str, Ref] = {}
    if attention_after(tape, patch_map):
        tokens = places_of_tokens(tape, int(np.prod(tape.value(patch_map).shape[2:])), patch_map)
    tries: list[tuple[Tape, Ref, Ref, Trunk]] = [(tape, ref, ref, trunk) for ref, trunk in cuts]
    refusal: HeadError | None = None
    if tokens:
        of_patches = token_trunk(model, tape, patch_map, tokens)
        tries = []
        if of_patches is not None and not _joined_later(*of_patches[:2], tokens):
            tries = [(of_patches[0], of_patches[1], patch_map, of_patches[2])]
        refusal = None if tries else _of_other_tokens(list(tokens)[-1])
    for attempt in _ATTEMPTS[mode]:
        for on, start, place, trunk in tries:
            try:
                return place, trunk, fold(on, start, _feature_maps(trunk, images), attempt)
            except HeadError as error:
                refusal = refusal or error
    if mode == "linearised" and tokens:
        end, normalised = before_normalisation(tape, patch_map, _feature_maps(first, images))
        head = TokensHead(tape, patch_map, end, first(torch.zeros_like(images[:1]))[0])
        return patch_map, first, FoldedHead(head, end, normalised, head.note)
    if mode == "linearised":
        return patch_map, first, fold(tape, patch_map, _feature_maps(first, images), "linearised")
    raise refusal if refusal is not None else HeadError("the model has no feature map")


def _joined_later(tape: Tape, place: Ref, tokens: dict[str, Ref]) -> bool:
    """Whether tokens that are no patch, such as a class token, join after the map at `place` on its tape."""
    h, w = tape.value(place).shape[2:]
    behind = {(name, call): ref for name, call, ref in tape.module_outputs}
    later = [behind.get((name, 0), behind.get((f"model.{name}", 0))) for name in tokens]
    return any(
        ref is not None and ref.step > place.step and tape.value(ref).shape[1] > h * w for ref in later
    )


def _of_other_tokens(layer: str) -> HeadError:
    return HeadError(
        f"the head cannot be folded: the embedding is read from tokens that are no patch of the image, such as a "
        f"class token, after layer {layer!r}, so it is not a sum over cells. Let the model return the mean of its "
        f'patch tokens, or pass head="linearised" and explain with the method "integrated-jacobian"',
        layer=layer,
    )


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


def _geometry(tape: Tape, ref: Ref, of_patches: bool) -> tuple[CellGeometry | None, str]:
    try:
        found = geometry_of_patches(tape, ref) if of_patches else geometry_on_tape(tape, ref)
    except ValueError as unknown:
        return None, str(unknown)
    return found, found.note
