"""Heads of any form, taken apart by their Jacobian at the feature map."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.local_embeddings import LocalEmbeddings
from dmlviz.embedder.passage import Passage

Function = Callable[[Tensor], Tensor]
LINEARISED = (
    "the head was linearised at each image: parts are first-order and the offset differs from image to image"
)


@cache
def load_forward_mode() -> None:
    """Have torch compile its rules for forward mode, which takes a while and warns of the way it is done."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("torch._decomp.decompositions_for_jvp")


def value_and_pull(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J(x)·x, by forward-mode differentiation or, where an operation has none, by reverse mode twice."""
    try:
        return _forward(function, x, x)
    except (NotImplementedError, RuntimeError):
        value, pull_back = _reverse(function, x)
        _, push = _reverse(lambda u: pull_back(u)[0], torch.zeros_like(value))
        return value.detach(), push(x)[0].detach()


def _forward(function: Callable[[Tensor], Any], x: Tensor, tangent: Tensor) -> tuple[Any, Any]:
    """f(x) and J(x)·tangent in forward mode."""
    load_forward_mode()
    found = torch.func.jvp(function, (x,), (tangent,))
    return found[0], found[1]


def _reverse(function: Function, x: Tensor) -> tuple[Tensor, Any]:
    """f(x) and the function u -> (Jᵀ·u,)."""
    found = torch.func.vjp(function, x)
    return found[0], found[1]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's hints that some operation is mapped slowly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def cell_products(function: Function, x: Tensor, chunk: int = 64) -> Tensor:
    """The Jacobian applied to each cell's activations: (h, w, D) for a feature map (C, h, w)."""
    _, h, w = x.shape
    cells = torch.arange(h * w, device=x.device).reshape(1, h, w)
    return contracted(function, x, x, cells, chunk).reshape(h, w, -1)


def contracted(function: Function, x: Tensor, tangent: Tensor, positions: Tensor, chunk: int = 64) -> Tensor:
    """The Jacobian at x applied to a tangent's part at each position: (n, D).

    One forward-mode pass per position or one reverse-mode pass per dimension of the embedding, whichever is fewer.

    Args:
        function: From x to (D,).
        x: Where the Jacobian is taken, any shape.
        tangent: What it is applied to, the shape of x.
        positions: int64, broadcasts to x: the position (0 ... n − 1) that each activation belongs to.
        chunk: Passes at once.
    """
    with torch.no_grad():
        dim = function(x).numel()
    count = int(positions.max()) + 1
    if count <= dim:
        try:
            return _by_positions(function, x, tangent, positions, count, chunk)
        except (NotImplementedError, RuntimeError):
            pass  # an operation without forward-mode derivative
    return _by_dimensions(function, x, tangent, positions.expand(x.shape).flatten(), count, chunk)


def _by_positions(
    function: Function, x: Tensor, tangent: Tensor, positions: Tensor, count: int, chunk: int
) -> Tensor:
    rows = []
    for some in torch.arange(count, device=x.device).split(chunk):
        alone = positions[None] == some.reshape(-1, *[1] * x.ndim)
        with _quietly():
            rows.append(torch.func.vmap(lambda t: _forward(function, x, t)[1])(tangent[None] * alone))
    return torch.cat(rows)


def _by_dimensions(
    function: Function, x: Tensor, tangent: Tensor, positions: Tensor, count: int, chunk: int
) -> Tensor:
    columns = []
    for rows in _rows(function, x, chunk):
        products = (rows * tangent).flatten(1)
        columns.append(products.new_zeros(len(rows), count).index_add_(1, positions, products))
    return torch.cat(columns).T.contiguous()


def jacobian(function: Function, x: Tensor, chunk: int = 64) -> Tensor:
    """The whole Jacobian (D, C, h, w) at a feature map (C, h, w), in reverse mode."""
    return torch.cat(list(_rows(function, x, chunk)))


def _rows(function: Function, x: Tensor, chunk: int) -> Iterator[Tensor]:
    """The rows of the Jacobian, (<= chunk, *x.shape) at a time, in reverse mode."""
    value, pull_back = _reverse(function, x)
    for part in torch.arange(value.numel(), device=x.device).split(chunk):
        one_hot = torch.zeros(len(part), value.numel(), dtype=x.dtype, device=x.device)
        one_hot[torch.arange(len(part)), part] = 1
        try:
            with _quietly():
                yield torch.func.vmap(lambda v: pull_back(v)[0])(one_hot).detach()
        except (NotImplementedError, RuntimeError):
            yield torch.stack([pull_back(v, retain_graph=True)[0].detach() for v in one_hot])


class JacobianHead(nn.Module):
    """A head without closed form: a cell's local embedding is J·(its activations), the offset is the rest.

    Exact where the head is affine or positively homogeneous in the feature map (Euler): then the offset is the
    same for every image. Otherwise it can be used only linearised, and says so.

    Attributes:
        exact: Whether the offset is the same for every image.
        note: What every result carries; empty when exact.
    """

    def __init__(self, passage: Passage, offset: Tensor | None) -> None:
        """Take the passage from the feature map to the embedding; `offset` (D,) float64, None: linearised."""
        super().__init__()
        self.passage = passage
        self.exact = offset is not None
        self.note = "" if self.exact else LINEARISED
        self.offset = offset
        self._functions: dict[tuple[torch.device, torch.dtype], Function] = {}

    def _function(self, like: Tensor) -> Function:
        key = (like.device, like.dtype)
        if key not in self._functions:
            self._functions[key] = self.passage.function(*key)
        return self._functions[key]

    def forward(self, feature_map: Tensor) -> Tensor:
        """Embed feature maps: (N, C, h, w) -> (N, D), not normalised."""
        function = self._function(feature_map)
        return torch.stack([function(one) for one in feature_map])

    def local_embeddings(self, feature_map: Tensor) -> LocalEmbeddings:
        """Take the embedding of one feature map (C, h, w) apart.

        Raises:
            HeadError: If an exact head turns out not to be exact at this feature map.
            ValueError: If a value is not finite or the shape is another than the head was built for.
        """
        self._check(feature_map)
        if feature_map.dtype in (torch.float16, torch.bfloat16):
            feature_map = feature_map.float()
        feature_map = feature_map.detach()
        function = self._function(feature_map)
        with torch.no_grad():
            whole = function(feature_map)
        vectors = cell_products(function, feature_map).detach()
        rest = whole - vectors.sum((0, 1), dtype=vectors.dtype)
        if self.offset is not None:
            known = self.offset.to(rest)
            scale = max(float(whole.abs().max()), float(vectors.abs().sum((0, 1)).max()), 1e-30)
            if float((rest - known).abs().max()) > 1e-3 * scale:
                raise HeadError(
                    "the head passed the probes but is not a sum over cells at this image; "
                    'build the embedder with head="linearised"'
                )
            rest = known
        return LocalEmbeddings(vectors.cpu().numpy(), rest.detach().cpu().numpy(), self.note)

    def _check(self, feature_map: Tensor) -> None:
        if tuple(feature_map.shape) != self.passage.shape[1:]:
            raise ValueError(
                f"the head was traced for feature maps of shape {self.passage.shape[1:]}, "
                f"got {tuple(feature_map.shape)}"
            )
        if not bool(torch.isfinite(feature_map).all()):
            raise ValueError(
                "the feature map holds NaN or infinite values; look at the image or the trunk's weights"
            )

    def local_embeddings_batch(self, feature_maps: Tensor) -> list[LocalEmbeddings]:
        """`local_embeddings` for each of (N, C, h, w) feature maps."""
        return [self.local_embeddings(one) for one in feature_maps]

    def description(self) -> dict[str, Any]:
        """The settings that are not weights, as plain values."""
        return {"pooling": "jacobian", "exact": self.exact}
