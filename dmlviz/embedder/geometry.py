"""Where the cells of a feature map lie on the image, and which cell lies under a pixel.

Pixel and cell centres lie on integers, so an image of height H spans -0.5 ... H - 0.5. All pixel
coordinates are those of the view: the image exactly as the network sees it. NumPy only.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Pair = tuple[float, float]


@dataclass(frozen=True)
class CellGeometry:
    """Stride, first centre and receptive field of the cells of a feature map, per axis (row, column).

    The centre of cell (i, j) lies at pixel `(first[0] + stride[0]·i, first[1] + stride[1]·j)`.

    Attributes:
        stride: Pixels from one cell's centre to the next, > 0.
        first: Pixel of the centre of cell (0, 0); it may lie a little outside the image.
        receptive_field: Side lengths in pixels of the window that one cell looks at.
        note: Empty, or what the arithmetic left out (for example the gates of squeeze-and-excitation
            blocks, which look at the whole image).

    Raises:
        ValueError: If a stride or receptive field is not positive, or a number is not finite.

    Examples:
        >>> resnet = CellGeometry(stride=(32, 32), first=(0, 0), receptive_field=(435, 435))
        >>> resnet.cell_of_pixel(64, 80)
        (2.0, 2.5)
        >>> resnet.pixel_of_cell(2, 2.5)
        (64.0, 80.0)
    """

    stride: Pair
    first: Pair
    receptive_field: Pair
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("stride", "first", "receptive_field"):
            pair = tuple(float(v) for v in getattr(self, name))
            if len(pair) != 2 or not np.isfinite(pair).all():
                raise ValueError(
                    f"{name} must be two finite numbers (row, column), got {getattr(self, name)!r}"
                )
            if name != "first" and min(pair) <= 0:
                raise ValueError(f"{name} must be positive, got {pair}")
            object.__setattr__(self, name, pair)

    def cell_of_pixel(self, row: Any, col: Any) -> tuple[Any, Any]:
        """Cell coordinates (row, column), not rounded and not clipped, of a pixel or of arrays of pixels."""
        return (row - self.first[0]) / self.stride[0], (col - self.first[1]) / self.stride[1]

    def pixel_of_cell(self, i: Any, j: Any) -> tuple[Any, Any]:
        """Pixel (row, column), not rounded, of the centre of a cell or of arrays of cells."""
        return self.first[0] + self.stride[0] * i, self.first[1] + self.stride[1] * j

    @classmethod
    def from_trunk(
        cls, trunk: "torch.nn.Module", input_size: tuple[int, int], channels: int = 3
    ) -> "CellGeometry":
        """Work the geometry out by arithmetic over the layers that an image passes through.

        Every convolution, pooling and padding shifts the first centre by `((k − 1)/2 − p)·jump`, multiplies
        the jump by its stride and widens the receptive field by `(k − 1)·jump` (k: dilated kernel,
        p: padding before); branches that are added or concatenated must agree.

        Args:
            trunk: Module (N, channels, H, W) -> (N, C, h, w). Run once on one random image; left as found.
            input_size: (H, W) in pixels.
            channels: Channels of the input image.

        Raises:
            ValueError: If an operation moves cells in a way the arithmetic does not know; it is named.
        """
        from dmlviz.embedder.geometry_arithmetic import geometry_of_trunk

        return geometry_of_trunk(trunk, input_size, channels)

    @classmethod
    def measured(
        cls,
        trunk: "torch.nn.Module",
        input_size: tuple[int, int],
        channels: int = 3,
        samples: int = 8,
        seed: int = 0,
    ) -> "CellGeometry":
        """Measure the geometry by gradient: the slow twin of `from_trunk`.

        The centre of a cell is the centroid of |gradient| of that cell over random images; stride and first
        centre come from two neighbouring central cells. Choose an input so large that the receptive field
        of a central cell lies inside it. See `dmlviz.embedder.geometry_by_gradient.measured_geometry`.
        """
        from dmlviz.embedder.geometry_by_gradient import measured_geometry

        return measured_geometry(trunk, input_size, channels=channels, samples=samples, seed=seed)


def half_pixel(image_size: tuple[int, int], map_size: tuple[int, int]) -> CellGeometry:
    """The geometry that resizing with half-pixel centres assumes: cells tile the image evenly.

    Used where the geometry of a trunk is not known, and then said. The receptive field, which is not known
    either, is given as one tile.

    Args:
        image_size: (H, W) of the view in pixels.
        map_size: (h, w) of the feature map in cells.

    Raises:
        ValueError: If a size is not two positive numbers.

    Examples:
        >>> half_pixel((224, 224), (7, 7)).first
        (15.5, 15.5)
    """
    _check_sizes(image_size, map_size)
    tile = (image_size[0] / map_size[0], image_size[1] / map_size[1])
    return CellGeometry(stride=tile, first=((tile[0] - 1) / 2, (tile[1] - 1) / 2), receptive_field=tile)


def cell_of_pixel(
    row: Any,
    col: Any,
    image_size: tuple[int, int],
    map_size: tuple[int, int],
    geometry: CellGeometry | None = None,
) -> tuple[Any, Any]:
    """Which cell of the feature map lies under a pixel of the view, as fractions of cells.

    With a geometry: `(p − first) / stride`. Without: `(p + 0.5)·n/N − 0.5`, half-pixel centres.

    Args:
        row: Pixel row, a number or an array, in −0.5 ... H − 0.5.
        col: Pixel column, a number or an array, in −0.5 ... W − 0.5.
        image_size: (H, W) of the view in pixels.
        map_size: (h, w) of the feature map in cells.
        geometry: Where the cells lie; None means half-pixel centres.

    Returns:
        (row, col) in cells, clipped to [−0.5, h − 0.5] and [−0.5, w − 0.5]: float, or float64 arrays
        where arrays came in.

    Raises:
        ValueError: If the pixel lies outside the image, is not finite, or a size is not positive.

    Examples:
        >>> cell_of_pixel(15.5, 47.5, (224, 224), (7, 7))
        (0.0, 1.0)
        >>> cell_of_pixel(32, 300, (224, 224), (7, 7))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: column 300.0 lies outside the image: expected -0.5 <= column <= 223.5 ...
    """
    _check_sizes(image_size, map_size)
    found = []
    used = half_pixel(image_size, map_size) if geometry is None else geometry
    for axis, (name, given) in enumerate((("row", row), ("column", col))):
        value = np.asarray(given, dtype=np.float64)
        outside = ~((value >= -0.5) & (value <= image_size[axis] - 0.5))
        if outside.any():
            raise ValueError(
                f"{name} {np.atleast_1d(value)[np.atleast_1d(outside)][0]} lies outside the image: expected "
                f"-0.5 <= {name} <= {image_size[axis] - 0.5} for a view of {image_size[0]} × {image_size[1]} "
                f"pixels (height × width); all coordinates are pixels of the view, not of the original image"
            )
        cell = np.clip((value - used.first[axis]) / used.stride[axis], -0.5, map_size[axis] - 0.5)
        found.append(float(cell) if cell.ndim == 0 else cell)
    return found[0], found[1]


def _check_sizes(image_size: tuple[int, int], map_size: tuple[int, int]) -> None:
    for name, size in (("image_size", image_size), ("map_size", map_size)):
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"{name} must be two positive numbers (height, width), got {size!r}")
