"""`Embedder`: a trunk and a head, so that an embedding can be made and taken apart."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from dmlviz.embedder.as_found import evaluating, placement, refuse_batch_statistics
from dmlviz.embedder.fingerprint import fingerprint_of, marks_of
from dmlviz.embedder.folding import HeadMode
from dmlviz.embedder.geometry import CellGeometry
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.linear_head import LinearHead
from dmlviz.embedder.local_embeddings import LocalEmbeddings
from dmlviz.embedder.mapped_head import Head, MappedHead, peeled, placed
from dmlviz.embedder.measured_preprocess import MeasuredPreprocess, as_preprocess
from dmlviz.images import Preprocess, as_rgb
from dmlviz.images.reading import from_pillow

if TYPE_CHECKING:
    from dmlviz.embedder.following import Following

Images = Any  # one (H, W, 3) uint8 array or Pillow image, or a sequence of them


class Embedder:
    """An image goes in; its embedding comes out, whole or as one local embedding per cell plus an offset.

    Embeddings are those before any final L2 normalisation. The model runs in eval mode and without gradients
    during calls and is left as it was found: modes, gradients, hooks. It is shared, not copied; when its weights
    change, a folded embedder refuses to go on (make a new one).

    Most callers use `from_module`, `from_torchvision` or `dmlviz.embedder.birds_embedder`.

    Args:
        trunk: Module (N, C, H, W) -> feature maps (N, C', h, w).
        head: `LinearHead` (or the `JacobianHead` that `from_module` makes, or the `MappedHead` of `followed_by`).
        preprocess: From a picture to the network's input: a `Preprocess`, torchvision's evaluation transforms, or
            a function from a Pillow image to a tensor (C, H, W).
        geometry: Where the cells lie on the view; None: not known, half-pixel centres are used and said.
        input_size: (H, W) fed to the network, where `preprocess` leaves it open.
        name: What to call the embedder.
        note: What every result must carry, such as that the head is linearised; "" if nothing.
        classifier: nn.Linear from the embedding (or the pooled features) to class scores, where the network was
            trained with one; class activation maps read it, embeddings do not. It reads the network's own
            embedding, before any map of `followed_by`. None: there is none.

    Attributes:
        trunk: As given.
        head: As given, on the trunk's device.
        preprocess: With `.view(image)`, `.array(view)` and a call from image to array.
        geometry: As given.
        input_size: (H, W) of the view and of the network's input, in pixels.
        map_size: (h, w) of the feature map, in cells.
        dim: Number of components D of an embedding.
        name: As given.
        note: As given.
        classifier: As given.
        exact: Whether the parts of any embedding add up with the same offset for every image.
        details: What `from_module` found out: the layer of the feature map, what was taken off, why no geometry.
        view_note: How the view comes about, in words.

    Examples:
        >>> import numpy as np
        >>> from torch import nn
        >>> from dmlviz.images import Preprocess
        >>> trunk = nn.Conv2d(3, 8, 4, stride=4)
        >>> embedder = Embedder(trunk, LinearHead("avg", nn.Linear(8, 5)), Preprocess.stretch(32))
        >>> image = np.zeros((48, 48, 3), np.uint8)
        >>> embedder.embed(image).shape, embedder.local_embeddings(image)
        ((1, 5), LocalEmbeddings(8 × 8 cells, 5 dimensions, float32))
    """

    def __init__(
        self,
        trunk: nn.Module,
        head: Head,
        preprocess: Any,
        *,
        geometry: CellGeometry | None = None,
        input_size: tuple[int, int] | None = None,
        name: str = "embedder",
        note: str = "",
        details: str = "",
        folded: bool = False,
        classifier: nn.Linear | None = None,
    ) -> None:
        if not isinstance(trunk, nn.Module):
            raise TypeError(f"trunk must be a torch.nn.Module, got {type(trunk).__name__}")
        if not isinstance(head, LinearHead | JacobianHead | MappedHead):
            raise TypeError(
                f"head must be a LinearHead, got {type(head).__name__}; Embedder.from_module makes one of any model"
            )
        if classifier is not None and not isinstance(classifier, nn.Linear):
            raise TypeError(f"classifier must be a torch.nn.Linear or None, got {type(classifier).__name__}")
        refuse_batch_statistics(trunk)
        self.classifier = classifier
        self.trunk, self.geometry, self.name, self.note, self.details = trunk, geometry, name, note, details
        self.preprocess: Preprocess | MeasuredPreprocess = as_preprocess(preprocess, input_size)
        size = self.preprocess.size or input_size
        assert size is not None  # noqa: S101 (as_preprocess has seen to it)
        self.input_size = (int(size[0]), int(size[1]))
        self.exact = isinstance(head, LinearHead) or head.exact
        device, dtype = placement(trunk)
        self._master = head
        if folded:
            head = placed(head, device, torch.float64 if dtype == torch.float64 else torch.float32)
        self.head: Head = head
        self._folded = folded
        self._following: Following | None = None
        self._double: tuple[nn.Module, Head] | None = None
        self._weights_seen = self._weights_now()
        blank = np.zeros((*self.input_size, 3), np.uint8)
        with torch.no_grad(), evaluating(self.trunk), evaluating(self.head):
            first = self._feature_maps(self._to_input([blank]))
            if first.ndim != 4:
                raise ValueError(
                    f"the trunk must return feature maps (N, C, h, w), got shape {tuple(first.shape)}"
                )
            self.map_size = (int(first.shape[2]), int(first.shape[3]))
            self.dim = int(self.head(first).shape[1])

    # ---- making one ------------------------------------------------------------------------------------------

    @classmethod
    def from_module(
        cls,
        model: nn.Module,
        preprocess: Any,
        input_size: tuple[int, int] | None = None,
        head: HeadMode = "fold",
        name: str | None = None,
    ) -> "Embedder":
        """Make an embedder of any model that ends in a feature map, pooling and affine layers.

        The model is run once on a made-up picture and every operation is noted down. The trunk is everything up
        to the last feature map (N, C, h, w) with more than one cell that the whole output follows from; what
        follows is the head. A final L2 normalisation is taken off (the gallery's cosine does it) and noted in
        `details`. See `dmlviz.embedder.folding.fold` for what becomes of the head.

        Models of timm: `timm.create_model(name, num_classes=0)`, with timm's own evaluation transform or a
        `Preprocess`. Those that end in pooling (ResNet, EfficientNet, RegNet, DenseNet, NFNet, with any of timm's
        poolings) are exact. Those that put a LayerNorm after pooling (ConvNeXt, EdgeNeXt) or a bent activation
        (MobileNetV3's `act2`) are refused by the name of that layer; ConvNeXt is exact with
        `head_norm_first=True`, and any of them with that layer set to `nn.Identity()`, which is another embedding.

        Models of Hugging Face return an object with several fields; its `image_embeds` or else its
        `pooler_output` is taken as the embedding. Use the model without its classifier (`ResNetModel`, not
        `ResNetForImageClassification`), and for the preprocessing
        `lambda picture: processor(picture, return_tensors="pt").pixel_values[0]`.

        Transformers of patches: the mean (or maximum) of the patch tokens is exact, each token a cell where its
        patch lies; with a LayerNorm after it (timm's `fc_norm`) by `head="frozen"`. An embedding that is read from
        a class token is no sum over cells: `head="linearised"` splits it by integrated Jacobians from a blank
        picture, at the tokens before the last attention; the method "integrated-jacobian" has other paths.

        Args:
            model: Any nn.Module (N, 3, H, W) -> (N, D). In whatever mode: it is run in eval mode and left as found.
            preprocess: A `dmlviz.images.Preprocess`, torchvision's evaluation transforms, or a function from a
                Pillow image to a tensor (3, H, W).
            input_size: (H, W) fed to the model, where `preprocess` leaves it open.
            head: "fold" refuses a head that is not a sum over cells; "frozen" holds the length that a LayerNorm
                after the pooling divides by at each image, which is exact then; "linearised" splits any head to
                first order at each image, and one that reads a class token along a path (see above). What was held
                or split so, every result says.
            name: What to call the embedder; the model's class name by default.

        Raises:
            HeadError: The head is not a sum over cells; `.layer` names the first layer that breaks it.
            TypeError: `model` is no nn.Module, or returns neither one tensor nor an object with an embedding.
            ValueError: Batch normalisation without running statistics, random preprocessing, an output of
                another shape.
        """
        from dmlviz.embedder.from_module import embedder_of_module

        return embedder_of_module(model, preprocess, input_size, head, name)

    @classmethod
    def from_torchvision(
        cls,
        name: str,
        weights: str | Path | None = None,
        *,
        input_size: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> "Embedder":
        """A torchvision network up to its classifier: the embedding is the average of its last feature map.

        See `dmlviz.embedder.backbones.embedder_of_torchvision`.

        Args:
            name: "resnet18", "resnet50", "densenet121", "mobilenet_v2", "mobilenet_v3_large",
                "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vgg16", "vit_b_16" or "vit_b_32" (the last
                two by their class token, which is no sum over cells).
            weights: None: random weights, works offline; "DEFAULT": torchvision's best, downloaded once; or the
                path of a state dict, .safetensors or .pth.
            input_size: (H, W), if another than the network's usual one.
            seed: Of the random weights.

        Raises:
            ValueError: An unknown name, or weights that do not fit.
            FileNotFoundError: No file at that path.
            ConnectionError: The weights could not be downloaded.
        """
        from dmlviz.embedder.backbones import embedder_of_torchvision

        return embedder_of_torchvision(name, weights, input_size=input_size, seed=seed)

    def followed_by(
        self, linear_map: Any, name: str | None = None, *, normalise_first: bool = False
    ) -> "Embedder":
        """The same network with a linear map behind it: PCA, whitening, the root of a Mahalanobis metric.

        Since the map is linear, what it makes of an embedding is still a sum over the same cells and an offset, so
        galleries rank by mapped embeddings and every map on the screen adds up to that score. With e = Σᵢ xᵢ + o:

        - y = M e + b = Σᵢ M xᵢ + (M o + b). Exact, whatever the head.
        - `normalise_first`: y = M e/‖e‖ + b = Σᵢ M xᵢ/‖e‖ + (M o/‖e‖ + b), for whitening that was fitted on
          embeddings of length 1, as papers on landmarks do (after Jégou and Chum, ECCV 2012: length 1, whiten, length
          1 again; the last is the gallery's cosine). It adds up exactly, too; but ‖e‖ follows from all cells at once,
          so it is held at each image, and the offset differs from image to image. `exact` is False then, and every
          result says what is held.

        Fit the map on embeddings of this embedder: those of another set of images, with `pca`, `learned_whitening`
        or `mahalanobis` of `dmlviz.index`. For a gallery with queries from another network, put a map behind either.
        The network is shared; its weights must not change any more, or the embedder refuses to go on.

        Args:
            linear_map: With .matrix M, (D', D), and .bias b, (D',): finite numbers, copied.
            name: What to call the new embedder.
            normalise_first: Whether embeddings are divided by their lengths before the map.

        Returns:
            An embedder of D' dimensions with the same cells, geometry and preprocessing. Its fingerprint depends on
            the map, so a gallery that was stored with it refuses this one, and one with another map.

        Raises:
            TypeError: `linear_map` has no matrix and bias, or they hold no real numbers.
            ValueError: Their shapes do not fit, or a value is NaN or infinite.

        Examples:
            >>> import dmlviz as dv
            >>> from dmlviz.embedder import birds_embedder
            >>> from dmlviz.index import pca
            >>> embedder = birds_embedder()
            >>> others = dv.birds(families=2, per_class=6, seed=7)
            >>> smaller = embedder.followed_by(pca(embedder.embed(others), dim=16))
            >>> smaller.dim, smaller.name
            (16, 'birds, avg pooling, mapped from 64 to 16')
            >>> image = dv.birds(families=1, per_class=1)[0]
            >>> parts = smaller.local_embeddings(image)
            >>> bool(abs(parts.vectors.sum((0, 1)) + parts.offset - smaller.embed(image)[0]).max() < 1e-5)
            True
        """
        from dmlviz.embedder.following import followed_by

        return followed_by(self, linear_map, name, normalise_first)

    @property
    def unmapped(self) -> "Embedder":
        """The embedder before all maps that `followed_by` put behind it; itself where there are none."""
        return self if self._following is None else self._following.embedder.unmapped

    # ---- using it --------------------------------------------------------------------------------------------

    def view(self, image: Any) -> np.ndarray:
        """The picture as the network sees it, (H, W, 3) uint8, of `input_size`."""
        return self.preprocess.view(_as_array(image))

    @property
    def view_note(self) -> str:
        """How the view comes about, in words."""
        return self.preprocess.note

    def embed(self, images: Images, batch_size: int = 64) -> np.ndarray:
        """Embed pictures.

        Args:
            images: One (h, w, 3) uint8 array or Pillow image, or a sequence of them (an `ImageSet` is one).
            batch_size: How many go through the network at once.

        Returns:
            (N, D) float32 embeddings, not normalised; N = 1 for a single picture.

        Raises:
            ValueError: If an embedding holds NaN or infinite values, or nothing was given.
        """
        rows = [self.embed_inputs(batch) for batch in self._batches(images, batch_size)]
        found = np.concatenate(rows)
        bad = np.flatnonzero(~np.isfinite(found).all(1))
        if len(bad):
            raise ValueError(
                f"the embeddings of images {bad[:5].tolist()} (of {len(found)}) hold NaN or infinite values; "
                f"look at these images and at the model's weights"
            )
        return found

    def embed_views(self, views: Images, batch_size: int = 64) -> np.ndarray:
        """Embed pictures that are views already, (H, W, 3) uint8 of `input_size` each: (N, D) float32."""
        found = []
        for start in range(0, len(views), batch_size):
            arrays = [self.preprocess.array(view) for view in views[start : start + batch_size]]
            found.append(self.embed_inputs(torch.from_numpy(np.stack(arrays))))
        return np.concatenate(found)

    @torch.no_grad()
    def embed_inputs(self, inputs: Tensor) -> np.ndarray:
        """Embed a batch that is preprocessed already, (N, C, H, W) float: (N, D) float32, not checked."""
        self._refuse_changed_weights()
        device, dtype = placement(self.trunk)
        with evaluating(self.trunk), evaluating(self.head):
            found = self.head(self._feature_maps(inputs.to(device, dtype, non_blocking=True)))
        return found.float().cpu().numpy()

    @overload
    def local_embeddings(
        self, images: np.ndarray, batch_size: int = ..., dtype: Literal["float32", "float64"] = ...
    ) -> LocalEmbeddings: ...
    @overload
    def local_embeddings(
        self, images: Sequence[Any], batch_size: int = ..., dtype: Literal["float32", "float64"] = ...
    ) -> list[LocalEmbeddings]: ...
    @torch.no_grad()
    def local_embeddings(
        self, images: Images, batch_size: int = 16, dtype: Literal["float32", "float64"] = "float32"
    ) -> LocalEmbeddings | list[LocalEmbeddings]:
        """Take the embeddings of pictures apart into their cells.

        Args:
            images: One (h, w, 3) uint8 array or Pillow image, or a sequence of them.
            batch_size: How many go through the network at once.
            dtype: "float64" runs trunk and head in double precision, on the CPU where the device has none.

        Returns:
            `LocalEmbeddings` for one picture, a list of them for a sequence.

        Raises:
            HeadError: A head that passed the probes is not a sum over cells at one of these images.
            ValueError: Values that are not finite.
        """
        if dtype not in ("float32", "float64"):
            raise ValueError(f"unknown dtype {dtype!r}: expected 'float32' or 'float64'")
        self._refuse_changed_weights()
        found: list[LocalEmbeddings] = []
        trunk, head = (self.trunk, self.head) if dtype == "float32" else self._in_double()
        device, precision = placement(trunk)
        with evaluating(trunk), evaluating(head):
            for batch in self._batches(images, batch_size):
                maps = trunk(batch.to(device, precision))
                if dtype == "float32":
                    maps = maps.float()
                found += _with_note(head.local_embeddings_batch(maps), self.note)
        return found[0] if _is_single(images) else found

    @torch.no_grad()
    def feature_maps(self, images: Images, batch_size: int = 16) -> Tensor:
        """The last feature maps of pictures, (N, C, h, w), on the embedder's device."""
        self._refuse_changed_weights()
        device, dtype = placement(self.trunk)
        with evaluating(self.trunk):
            maps = [self._feature_maps(b.to(device, dtype)) for b in self._batches(images, batch_size)]
        return torch.cat(maps)

    def zero_input(self) -> Tensor:
        """An input of zeros, (1, C, H, W) float32, with as many channels as the preprocessing gives."""
        black = np.zeros((*self.input_size, 3), dtype=np.uint8)
        return torch.zeros_like(self._to_input([black]))

    # ---- what it is ------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return placement(self.trunk)[0]

    def to(self, device: str | torch.device) -> "Embedder":
        """Move the network (the model it was made of, too: it is shared) and return the embedder itself."""
        if self._following is not None:
            self._following.embedder.to(device)
        self.trunk.to(device)
        self.head.to(device)
        self._double = None
        self._weights_seen = self._weights_now()
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over weights, layers without any, head, preprocessing and maps; the same everywhere."""
        if self._following is not None:
            return self._following.fingerprint
        settings = {
            "head": self.head.description(),
            "layer": getattr(self.trunk, "layer", ""),
            "input_size": self.input_size,
            "preprocess": self.preprocess.to_dict(),
        }
        return fingerprint_of(self.trunk, self._master, settings)

    def __repr__(self) -> str:
        h, w = self.map_size
        inner = peeled(self.head)[0]
        head = inner.extra_repr() if isinstance(inner, LinearHead) else "by its Jacobian"
        lines = [
            f"Embedder {self.name!r}: {self.input_size[0]} × {self.input_size[1]} pixels -> {h} × {w} cells -> "
            f"{self.dim} dimensions",
            f"  head: {head}" + ("" if self.exact else " (not exact)"),
            f"  cells: {self.geometry or 'half-pixel centres, the geometry is not known'}",
            f"  view: {self.view_note}",
        ]
        return "\n".join(lines + ([f"  note: {self.details}"] if self.details else []))

    # ---- inside ----------------------------------------------------------------------------------------------

    def _feature_maps(self, inputs: Tensor) -> Tensor:
        maps: Tensor = self.trunk(inputs)
        return maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps

    def _to_input(self, images: Sequence[Any]) -> Tensor:
        arrays = [self.preprocess(_as_array(image)) for image in images]
        for array in arrays:
            if array.shape[1:] != self.input_size:
                raise ValueError(
                    f"a picture gives an input of {array.shape[1:]} (height, width), the network is fed "
                    f"{self.input_size}; use Preprocess.stretch or Preprocess.resize_crop to bring all to one size"
                )
        batch = torch.from_numpy(np.stack(arrays))
        return batch.to(*placement(self.trunk))

    def _batches(self, images: Images, batch_size: int) -> Iterator[Tensor]:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        several = [images] if _is_single(images) else images
        if len(several) == 0:
            raise ValueError("no images were given")
        for start in range(0, len(several), batch_size):
            yield self._to_input([several[i] for i in range(start, min(start + batch_size, len(several)))])

    def _in_double(self) -> tuple[nn.Module, Head]:
        if self._double is None:
            device = self.device if self.device.type != "mps" else torch.device("cpu")
            trunk = copy.deepcopy(self.trunk).to(device, torch.float64)
            self._double = (trunk, placed(self._master, device, torch.float64))
        return self._double

    def _weights_now(self) -> tuple[tuple[int, ...], ...]:
        seen = marks_of(self.trunk, self.head)
        return seen if self._following is None else seen + self._following.embedder._weights_now()

    def _refuse_changed_weights(self) -> None:
        now = self._weights_now()
        if now == self._weights_seen:
            return
        if self._following is not None:
            raise RuntimeError(
                "the model's weights have changed, or were moved, since a linear map was put behind this embedder; "
                "the map was made for those that it had, so put one behind it anew with embedder.followed_by(...)"
            )
        if self._folded:
            raise RuntimeError(
                "the model's weights have changed since this embedder was made, and its folded head has not; "
                "make a new one with Embedder.from_module(model, ...)"
            )
        self._weights_seen, self._double = now, None


def _is_single(images: Images) -> bool:
    return (isinstance(images, np.ndarray) and images.ndim <= 3) or hasattr(images, "getbands")


def _as_array(image: Any) -> np.ndarray:
    return from_pillow(image) if hasattr(image, "getbands") else as_rgb(image)


def _with_note(parts: list[LocalEmbeddings], note: str) -> list[LocalEmbeddings]:
    if not note:
        return parts
    return [LocalEmbeddings(one.vectors, one.offset, note) for one in parts]
