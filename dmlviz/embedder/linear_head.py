"""A head that is a sum over cells: pooling, then an optional linear map and batch normalisation."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dmlviz.embedder.local_embeddings import LocalEmbeddings

Pooling = Literal["avg", "max", "avg+max", "gem", "flatten"]
Ties = Literal["split", "first"]


class LinearHead(nn.Module):
    """Pooling → linear → batch normalisation, each cell's share of the result known in closed form.

    With activations a (C channels, n cells), W and b the linear map and the batch normalisation folded into
    one affine map, cell i adds `xᵢ = W pᵢ` to the embedding, and `Σᵢ xᵢ + b` is the head's own output:

    - `avg`: pᵢ = aᵢ / n.
    - `max`: pᵢ = aᵢ where aᵢ is the maximum, divided by the number of cells that tie (`ties="split"`, the
      gradient of `torch.amax`), or all of it to the first of them in row order (`ties="first"`, the gradient
      of `nn.AdaptiveMaxPool2d`).
    - `avg+max`: the sum of both.
    - `gem`: pᵢ = g · cᵢᵖ / Σⱼ cⱼᵖ with c = max(a, eps) and g = (Σⱼ cⱼᵖ / n)^(1/p) (Radenović, Tolias, Chum,
      2018, eq. 3). Equal to gradient × activation where a > eps; a cell clamped at eps keeps the share that
      eps earns, so that the sum stays exact.
    - `flatten`: aᵢ at its own place of the flattened map, channels first.

    Args:
        pooling: "avg", "max", "avg+max", "gem" or "flatten".
        linear: nn.Linear with C inputs (flatten: C·h·w), or None.
        batch_norm: nn.BatchNorm1d over the embedding, or None. Used with its running statistics and its own
            eps; in training mode the head trains as usual, but gives no local embeddings.
        p: Exponent of "gem", > 0: a number, or a tensor (C,), one per channel. An nn.Parameter stays one.
        eps: Lower clamp of the activations in "gem", > 0.
        ties: "split" (order-free) or "first", for maximum pooling.

    Raises:
        ValueError: If an argument is unknown or out of range, or the batch normalisation keeps no running
            statistics.
        TypeError: If `linear` or `batch_norm` is of another type.

    Examples:
        >>> feature_map = torch.tensor([[[1.0, 2.0], [3.0, 2.0]]])      # one channel, 2 × 2 cells
        >>> LinearHead("avg").local_embeddings(feature_map).vectors[..., 0].tolist()
        [[0.25, 0.5], [0.75, 0.5]]
        >>> LinearHead("max").local_embeddings(feature_map).vectors[..., 0].tolist()
        [[0.0, 0.0], [3.0, 0.0]]
    """

    def __init__(
        self,
        pooling: Pooling,
        linear: nn.Linear | None = None,
        batch_norm: nn.BatchNorm1d | None = None,
        p: float | Tensor = 3.0,
        eps: float = 1e-6,
        ties: Ties = "split",
    ) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise ValueError(f"unknown pooling {pooling!r}: expected one of {', '.join(get_args(Pooling))}")
        if ties not in get_args(Ties):
            raise ValueError(f"unknown ties {ties!r}: expected 'split' or 'first'")
        if linear is not None and not isinstance(linear, nn.Linear):
            raise TypeError(f"linear must be an nn.Linear or None, got {type(linear).__name__}")
        if batch_norm is not None and not isinstance(batch_norm, nn.BatchNorm1d):
            raise TypeError(f"batch_norm must be an nn.BatchNorm1d or None, got {type(batch_norm).__name__}")
        if batch_norm is not None and (batch_norm.running_mean is None or batch_norm.running_var is None):
            raise ValueError(
                "batch_norm keeps no running statistics, so the embedding of an image would depend on the "
                "batch it came in; build it with track_running_stats=True and train it"
            )
        if linear is not None and batch_norm is not None and linear.out_features != batch_norm.num_features:
            raise ValueError(
                f"linear gives {linear.out_features} features, batch_norm expects {batch_norm.num_features}"
            )
        if not eps > 0:
            raise ValueError(f"eps must be > 0, got {eps}")
        exponent = p if isinstance(p, Tensor) else torch.tensor(float(p), dtype=torch.float64)
        if exponent.ndim > 1 or not bool((exponent > 0).all()) or not bool(torch.isfinite(exponent).all()):
            raise ValueError(
                f"p must be a finite number > 0, or a tensor of them, one per channel, got {p!r}"
            )
        self.pooling, self.ties, self.eps = pooling, ties, float(eps)
        self.linear, self.batch_norm = linear, batch_norm
        self.p: Tensor
        if isinstance(p, nn.Parameter):
            self.p = p
        else:
            self.register_buffer("p", exponent.detach().clone(), persistent=pooling == "gem")

    def extra_repr(self) -> str:
        """What is printed inside the module's brackets."""
        said = f"pooling={self.pooling!r}"
        if "max" in self.pooling:
            said += f", ties={self.ties!r}"
        if self.pooling == "gem":
            exponent = f"{self.p.item():g}" if self.p.ndim == 0 else f"per channel ({self.p.numel()})"
            said += f", p={exponent}, eps={self.eps:g}"
        return said

    def forward(self, feature_map: Tensor) -> Tensor:
        """Embed feature maps.

        Args:
            feature_map: (N, C, h, w) float.

        Returns:
            (N, D) embeddings, not normalised.

        Raises:
            ValueError: If the shape does not fit the head.
        """
        self._check(feature_map, batched=True)
        e = self._pool(feature_map)
        if self.linear is not None:
            e = self.linear(e)
        return e if self.batch_norm is None else self.batch_norm(e)

    def local_embeddings(self, feature_map: Tensor) -> LocalEmbeddings:
        """Take the embedding of one image apart into its cells.

        Args:
            feature_map: (C, h, w) float tensor. Half precision is worked out in float32.

        Returns:
            Local embeddings (h, w, D) and offset (D,) whose sum is the head's own output.

        Raises:
            ValueError: If the shape does not fit, a value is not finite, or the batch normalisation is in
                training mode.
        """
        self._check(feature_map, batched=False)
        return self.local_embeddings_batch(feature_map[None])[0]

    @torch.no_grad()
    def local_embeddings_batch(self, feature_maps: Tensor) -> list[LocalEmbeddings]:
        """`local_embeddings` for a batch (N, C, h, w) of feature maps at once."""
        self._check(feature_maps, batched=True)
        if self.batch_norm is not None and self.batch_norm.training:
            raise ValueError(
                "the head's batch normalisation is in training mode, so an embedding depends on the batch it "
                "comes in and cannot be taken apart; call head.eval() first"
            )
        if not bool(torch.isfinite(feature_maps).all()):
            raise ValueError(
                "the feature map holds NaN or infinite values; look for them in the image or in the weights "
                "of the trunk"
            )
        if feature_maps.dtype in (torch.float16, torch.bfloat16):
            feature_maps = feature_maps.float()
        weight, offset = self.affine(feature_maps)
        if self.pooling == "flatten":
            vectors = self._flat_vectors(feature_maps, weight)
        else:
            shares = self._shares(feature_maps).permute(0, 2, 3, 1)
            if weight is None:
                vectors = shares.contiguous()
            elif weight.ndim == 1:
                vectors = shares * weight
            else:
                vectors = shares @ weight.T
        parts, rest = vectors.cpu().numpy(), offset.cpu().numpy()
        return [LocalEmbeddings(one, rest) for one in parts]

    @torch.no_grad()
    def affine(self, like: Tensor) -> tuple[Tensor | None, Tensor]:
        """Linear map and batch normalisation folded into one affine map, in the dtype and device of `like`.

        Args:
            like: Feature maps (N, C, h, w); they say how many channels there are.

        Returns:
            The weight (D, in), or (D,) where it is diagonal, or None where it is the identity; and the offset
            (D,). Folded in float64.
        """
        n_in = like.shape[1] * (like.shape[2] * like.shape[3] if self.pooling == "flatten" else 1)
        double = torch.float64 if like.device.type != "mps" else torch.float32
        weight: Tensor | None = None
        bias = torch.zeros(n_in, device=like.device, dtype=double)
        if self.linear is not None:
            weight = self.linear.weight.to(like.device, double)
            bias = torch.zeros(self.linear.out_features, device=like.device, dtype=double)
            if self.linear.bias is not None:
                bias = bias + self.linear.bias.to(like.device, double)
        if self.batch_norm is not None:
            bn = self.batch_norm
            assert bn.running_mean is not None  # noqa: S101 (checked in __init__)
            assert bn.running_var is not None  # noqa: S101
            scale = (bn.running_var.to(like.device, double) + bn.eps).rsqrt()
            if bn.weight is not None:
                scale = scale * bn.weight.to(like.device, double)
            bias = (bias - bn.running_mean.to(like.device, double)) * scale
            if bn.bias is not None:
                bias = bias + bn.bias.to(like.device, double)
            weight = scale if weight is None else weight * scale[:, None]
        return (None if weight is None else weight.to(like.dtype)), bias.to(like.dtype)

    def description(self) -> dict[str, Any]:
        """The settings that are not weights, as plain values (for fingerprints and sidecars)."""
        said: dict[str, Any] = {"pooling": self.pooling}
        if "max" in self.pooling:
            said["ties"] = self.ties
        if self.pooling == "gem":
            said["eps"] = self.eps
        return said

    def _pool(self, a: Tensor) -> Tensor:
        if self.pooling == "flatten":
            return a.flatten(1)
        if self.pooling == "gem":
            top, powers, exponent = self._powers(a)
            mean = powers.mean((2, 3))
            return top.squeeze((2, 3)) * mean ** (1.0 / exponent.squeeze((2, 3)))
        if self.pooling == "avg":
            return a.mean((2, 3))
        highest = a.amax((2, 3))
        if self.ties == "first":  # the same value, but the whole gradient goes to the first maximum
            where = _first_maximum(a).flatten(2).byte().argmax(2, keepdim=True)
            highest = a.flatten(2).gather(2, where)[..., 0]
        return highest + a.mean((2, 3)) if self.pooling == "avg+max" else highest

    def _powers(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The clamped maximum (N, C, 1, 1), (c / maximum)^p (N, C, h, w) in 0 ... 1, and p, to broadcast."""
        clamped = a.clamp(min=self.eps)
        exponent = self.p.to(a.device, a.dtype).reshape(1, -1, 1, 1)
        top = clamped.amax((2, 3), keepdim=True).detach()  # a scale only: it cancels, also in the gradient
        return top, (clamped / top) ** exponent, exponent

    def _shares(self, a: Tensor) -> Tensor:
        """The share pᵢ of each cell in the pooled vector, (N, C, h, w)."""
        if self.pooling == "gem":
            top, powers, exponent = self._powers(a)
            pooled = top * powers.mean((2, 3), keepdim=True) ** (1.0 / exponent)
            return pooled * powers / powers.sum((2, 3), keepdim=True)
        shares = a / (a.shape[2] * a.shape[3]) if "avg" in self.pooling else torch.zeros_like(a)
        if "max" in self.pooling:
            if self.ties == "first":
                shares = shares + a * _first_maximum(a)
            else:
                highest = a == a.amax((2, 3), keepdim=True)
                shares = shares + a * highest / highest.sum((2, 3), keepdim=True)
        return shares

    def _flat_vectors(self, a: Tensor, weight: Tensor | None) -> Tensor:
        n, c, h, w = a.shape
        if weight is not None and weight.ndim == 2:
            return torch.einsum("nchw,dchw->nhwd", a, weight.reshape(-1, c, h, w))
        # no linear map: component (channel, cell) of the embedding comes from that very cell
        own = torch.eye(h * w, dtype=a.dtype, device=a.device).reshape(h, w, 1, h, w)
        vectors = (own * a[:, None, None]).reshape(n, h, w, c * h * w)
        return vectors if weight is None else vectors * weight

    def _check(self, feature_map: Tensor, batched: bool) -> None:
        wanted = "(N, C, h, w)" if batched else "(C, h, w)"
        if not isinstance(feature_map, Tensor) or not feature_map.is_floating_point():
            kind = feature_map.dtype if isinstance(feature_map, Tensor) else type(feature_map).__name__
            raise TypeError(f"expected a floating-point feature map {wanted} as a torch tensor, got {kind}")
        if feature_map.ndim != (4 if batched else 3) or min(feature_map.shape[-3:]) == 0:
            raise ValueError(
                f"expected a feature map {wanted} with no empty axis, got shape {tuple(feature_map.shape)}"
            )
        c, h, w = feature_map.shape[-3:]
        n_in = c * h * w if self.pooling == "flatten" else c
        what = f"{c} × {h} × {w} = {n_in} flattened values" if self.pooling == "flatten" else f"{c} channels"
        if self.linear is not None and self.linear.in_features != n_in:
            raise ValueError(f"the feature map has {what}, but linear takes {self.linear.in_features}")
        if self.linear is None and self.batch_norm is not None and self.batch_norm.num_features != n_in:
            raise ValueError(
                f"the feature map has {what}, but batch_norm takes {self.batch_norm.num_features}"
            )
        if self.pooling == "gem" and self.p.numel() not in (1, c):
            raise ValueError(f"the feature map has {what}, but p has {self.p.numel()} values")


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """An nn.Linear of given numbers, (D, in) and (D,), in float64 on the CPU, without gradients.

    The global random state is left alone.
    """
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64, device="meta")
    linear = linear.to_empty(device="cpu").requires_grad_(False)
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear


def _first_maximum(a: Tensor) -> Tensor:
    """(N, C, h, w) bool: the first cell in row order that holds its channel's maximum."""
    flat = a.flatten(2)
    highest = flat == flat.amax(2, keepdim=True)
    return (highest & (highest.cumsum(2) == 1)).reshape(a.shape)
