"""`Preprocess`: from a picture to what a network is fed, and which pixel went where.

Two steps. The *view* is the picture as the network sees it, resized and cropped, still (H, W, 3) uint8:
every map of the product is drawn on it. The *array* is the view as numbers, (3, H, W) float32:

    array = (view / scale − mean) / std          per channel

Resizing is Pillow's (filters widened when shrinking, i.e. antialiased), cropping is central and pads with
black, both to the letter of torchvision's evaluation transforms on Pillow images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from dmlviz.images.placement import Placement, resized_size
from dmlviz.images.reading import as_rgb

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Channels = Literal["RGB", "BGR", "L"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_OF_GREY = {"mean": (0.449,), "std": (0.226,)}  # the average of the three above
_WHOLE_AT_MOST = 1 << 25  # pixels of a resized picture that is made whole before it is cropped


@dataclass(frozen=True)
class Preprocess:
    """What is done to a picture before a network sees it.

    Most callers use `stretch`, `resize_crop`, `as_is` or `from_torchvision`. All sizes are (height, width).

    Attributes:
        size: (H, W) that the network is fed; None: the picture's own size (after `resize`, if any). Given
            alone, the picture is stretched to it.
        resize: None: not resized; whole number: the shorter side becomes that long, proportions kept;
            (h, w): stretched to that.
        crop: None, or (h, w) cut from the middle; where the picture is smaller it is padded with black.
            A whole number means a square.
        mean: subtracted from each channel after division by `scale`; numbers in the order of `channels`.
        std: each channel is divided by it afterwards.
        interpolation: Pillow's filter.
        channels: what the network is fed: "RGB", "BGR", or "L" (one channel of grey, ITU-R 601 luma).
        scale: what grey levels 0..255 are divided by first; 255, or 1 for networks fed with 0..255.

    Raises:
        ValueError: for sizes below 1, std of zero, an unknown filter, or a size that the steps do not give.

    Examples:
        >>> import numpy as np
        >>> p = Preprocess.resize_crop(256, 224)
        >>> p.size, p(np.zeros((300, 400, 3), np.uint8)).shape
        ((224, 224), (3, 224, 224))
    """

    size: tuple[int, int] | None = None
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    channels: Channels = "RGB"
    scale: float = 255.0

    def __post_init__(self) -> None:
        size, resize, crop = _pair(self.size, "size"), _resize(self.resize), _pair(self.crop, "crop")
        if size is not None and resize is None and crop is None:
            resize = size
        given = crop or (resize if isinstance(resize, tuple) else None)
        if size is not None and size != given:
            raise ValueError(
                f"size {size} is not what these steps give: resize={resize}, crop={crop} gives {given}; "
                "leave size out, it follows from them"
            )
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation is one of {get_args(Interpolation)}, got {self.interpolation!r}")
        if self.channels not in get_args(Channels):
            raise ValueError(f"channels is one of {get_args(Channels)}, got {self.channels!r}")
        depth = 1 if self.channels == "L" else 3
        mean, std = _per_channel(self.mean, depth, "mean"), _per_channel(self.std, depth, "std")
        if 0.0 in std or not self.scale > 0:
            raise ValueError(f"std and scale divide, so they are not zero; got std={std}, scale={self.scale}")
        values = {"size": given, "resize": resize, "crop": crop, "mean": mean, "std": std}
        for name, value in (values | {"scale": float(self.scale)}).items():
            object.__setattr__(self, name, value)

    # --- the usual kinds ----------------------------------------------------------------------------

    @classmethod
    def stretch(
        cls, size: int | tuple[int, int], mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD, **rest: Any
    ) -> "Preprocess":
        """Resize to (H, W), or a square, without keeping proportions; nothing is cut off."""
        return cls(resize=_pair(size, "size"), mean=mean, std=std, **rest)

    @classmethod
    def resize_crop(
        cls,
        resize: int,
        crop: int | tuple[int, int],
        mean: Any = IMAGENET_MEAN,
        std: Any = IMAGENET_STD,
        **rest: Any,
    ) -> "Preprocess":
        """Resize the shorter side, then cut the middle out: the usual recipe of ImageNet networks."""
        return cls(resize=resize, crop=crop, mean=mean, std=std, **rest)  # type: ignore[arg-type]

    @classmethod
    def as_is(cls, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD, **rest: Any) -> "Preprocess":
        """No resizing and no cropping: the view is the picture itself, whatever its size."""
        return cls(mean=mean, std=std, **rest)

    @classmethod
    def from_torchvision(cls, transforms: Any) -> "Preprocess":
        """Read torchvision's evaluation transforms.

        Args:
            transforms: `weights.transforms()` of a classification network, or a Compose (v1 or v2) of
                Resize, CenterCrop, Grayscale, ToTensor, PILToTensor, ToImage, ConvertImageDtype, ToDtype,
                Normalize.

        Raises:
            ValueError: naming the step that it does not know or cannot follow exactly.
        """
        from dmlviz.images.torchvision_steps import read_steps

        return cls(**read_steps(transforms))

    # --- doing it -----------------------------------------------------------------------------------

    def view(self, image: np.ndarray) -> np.ndarray:
        """The picture as the network sees it.

        Args:
            image: (h, w, 3) uint8.

        Returns:
            (H, W, 3) uint8, of `size` where there is one.

        Raises:
            TypeError: if it is not uint8.
            ValueError: if its shape is another.
        """
        picture = Image.fromarray(as_rgb(image))
        if self.channels == "L":
            picture = picture.convert("L")
        place = self.placement(image.shape[:2])
        if place.resized[0] * place.resized[1] > _WHOLE_AT_MOST and self.crop is not None:
            picture, place = _resize_part(picture, place, self._filter)
        elif place.resized != place.image:
            picture = picture.resize(place.resized[::-1], self._filter)
        return _cut(as_rgb(np.asarray(picture)), place)

    def array(self, view: np.ndarray) -> np.ndarray:
        """The view as the numbers that the network is fed.

        Args:
            view: (H, W, 3) uint8, as `view` returns it.

        Returns:
            (3, H, W) float32, or (1, H, W) for channels "L".
        """
        values = as_rgb(view, "view").transpose(2, 0, 1)
        values = {"RGB": values, "BGR": values[::-1], "L": values[:1]}[self.channels]
        mean = np.array(self.mean, np.float32)[:, None, None]
        std = np.array(self.std, np.float32)[:, None, None]
        return np.ascontiguousarray((values.astype(np.float32) / np.float32(self.scale) - mean) / std)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """`array(view(image))`: (h, w, 3) uint8 to (3, H, W) float32."""
        return self.array(self.view(image))

    # --- which pixel went where ---------------------------------------------------------------------

    def placement(self, image_size: tuple[int, int]) -> Placement:
        """How a picture of this size (h, w) lies in its view."""
        height, width = int(image_size[0]), int(image_size[1])
        return Placement.of((height, width), resized_size((height, width), self.resize), self.crop)

    def view_of_pixel(self, row: float, col: float, image_size: tuple[int, int]) -> tuple[float, float]:
        """Where a pixel of the picture lies in the view; pixel centres on whole numbers.

        Args:
            row: row in the picture, may lie between pixels.
            col: column in the picture.
            image_size: (h, w) of the picture.

        Returns:
            (row, col) in the view; outside 0..H-1, 0..W-1 where the pixel was cut off.
        """
        return self.placement(image_size).view_of_pixel(row, col)

    def pixel_of_view(self, row: float, col: float, image_size: tuple[int, int]) -> tuple[float, float]:
        """Where a pixel of the view came from; the inverse of `view_of_pixel`."""
        return self.placement(image_size).pixel_of_view(row, col)

    # --- in words -----------------------------------------------------------------------------------

    @property
    def note(self) -> str:
        """How the view comes about, in words.

        Examples:
            >>> Preprocess.resize_crop(256, 224).note
            'shorter side resized to 256 (bilinear), middle 224 × 224 cut out'
        """
        steps = []
        if isinstance(self.resize, tuple):
            steps.append(f"stretched to {self.resize[0]} × {self.resize[1]} ({self.interpolation})")
        elif self.resize is not None:
            steps.append(f"shorter side resized to {self.resize} ({self.interpolation})")
        if self.crop is not None:
            steps.append(f"middle {self.crop[0]} × {self.crop[1]} cut out")
        return ", ".join(steps) or "as it is"

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON; `Preprocess(**settings)` is the way back.

        Examples:
            >>> Preprocess(**Preprocess.stretch(96).to_dict()) == Preprocess.stretch(96)
            True
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @property
    def _filter(self) -> Image.Resampling:
        return Image.Resampling[self.interpolation.upper()]


def _resize_part(
    picture: Image.Image, place: Placement, how: Image.Resampling
) -> tuple[Image.Image, Placement]:
    """Resize only what the crop keeps: a picture of 1 × 5000 would become 256 × 1,280,000 first."""
    rows, cols = place.kept_rows, place.kept_cols
    (top, left), (bottom, right) = (
        place.edge_of_pixel(rows[0], cols[0]),
        place.edge_of_pixel(rows[1], cols[1]),
    )
    part = picture.resize((cols[1] - cols[0], rows[1] - rows[0]), how, box=(left, top, right, bottom))
    return part, place.cut_to_part()


def _cut(pixels: np.ndarray, place: Placement) -> np.ndarray:
    if place.view == place.resized and (place.top, place.left) == (0, 0):
        return pixels
    view = np.zeros((*place.view, 3), np.uint8)
    rows, cols = place.kept_rows, place.kept_cols
    view[rows[0] - place.top : rows[1] - place.top, cols[0] - place.left : cols[1] - place.left] = pixels[
        rows[0] : rows[1], cols[0] : cols[1]
    ]
    return view


def _pair(value: Any, what: str) -> tuple[int, int] | None:
    if value is None:
        return None
    numbers = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(numbers) == 1:
        numbers = numbers * 2
    if len(numbers) != 2 or any(int(n) != n or n < 1 for n in numbers):
        raise ValueError(f"{what} is (height, width) in whole pixels of at least 1, got {value!r}")
    return int(numbers[0]), int(numbers[1])


def _resize(value: Any) -> int | tuple[int, int] | None:
    if value is None or not isinstance(value, int | np.integer):
        return _pair(value, "resize")
    if value < 1:
        raise ValueError(f"resize is the length of the shorter side, at least 1 pixel, got {value}")
    return int(value)


def _per_channel(value: float | Sequence[float], depth: int, what: str) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in np.atleast_1d(np.asarray(value, np.float64)))
    if len(numbers) == 1:
        numbers = numbers * depth
    if depth == 1 and numbers in (IMAGENET_MEAN, IMAGENET_STD):
        numbers = _OF_GREY[what]
    if len(numbers) != depth or not np.isfinite(numbers).all():
        raise ValueError(f"{what} is one finite number per channel ({depth}), got {value!r}")
    return numbers
