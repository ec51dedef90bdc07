"""How a picture lies in the view that a network sees: one affine map each way.

A picture of h × w pixels is resized to h' × w' and the view is cut from it at (top, left), which are
negative where the view is larger and black was added. With pixel centres on whole numbers, along the rows:

    view = (pixel + ½) · h'/h − ½ − top          pixel = (view + top + ½) · h/h' − ½
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Placement:
    """Sizes are (height, width) in pixels.

    Attributes:
        image: size of the picture.
        resized: its size after resizing.
        view: size of the view.
        top: row of the resized picture that became row 0 of the view; negative: rows of black above.
        left: the same for columns.
    """

    image: tuple[int, int]
    resized: tuple[int, int]
    view: tuple[int, int]
    top: int = 0
    left: int = 0

    @classmethod
    def of(
        cls, image: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int] | None
    ) -> "Placement":
        """A central crop, or none, of a resized picture."""
        if crop is None:
            return cls(image, resized, resized)
        top, left = _middle(resized[0], crop[0]), _middle(resized[1], crop[1])
        return cls(image, resized, crop, top, left)

    def view_of_pixel(self, row: float, col: float) -> tuple[float, float]:
        """From a point of the picture to the same point of the view."""
        return (
            (row + 0.5) * self.resized[0] / self.image[0] - 0.5 - self.top,
            (col + 0.5) * self.resized[1] / self.image[1] - 0.5 - self.left,
        )

    def pixel_of_view(self, row: float, col: float) -> tuple[float, float]:
        """From a point of the view to the same point of the picture."""
        return (
            (row + self.top + 0.5) * self.image[0] / self.resized[0] - 0.5,
            (col + self.left + 0.5) * self.image[1] / self.resized[1] - 0.5,
        )

    def edge_of_pixel(self, row: int, col: int) -> tuple[float, float]:
        """The upper left corner of a resized pixel, in corner coordinates of the picture (0..h, 0..w)."""
        return row * self.image[0] / self.resized[0], col * self.image[1] / self.resized[1]

    @property
    def kept_rows(self) -> tuple[int, int]:
        """Rows [first, last) of the resized picture that are in the view."""
        return max(self.top, 0), min(self.top + self.view[0], self.resized[0])

    @property
    def kept_cols(self) -> tuple[int, int]:
        """Columns [first, last) of the resized picture that are in the view."""
        return max(self.left, 0), min(self.left + self.view[1], self.resized[1])

    def cut_to_part(self) -> "Placement":
        """The same view, cut from a resized picture of which only the kept part was made."""
        rows, cols = self.kept_rows, self.kept_cols
        made = (rows[1] - rows[0], cols[1] - cols[0])
        return replace(self, resized=made, top=self.top - rows[0], left=self.left - cols[0])


def resized_size(image: tuple[int, int], resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Size after resizing: as it is, stretched to a pair, or with the shorter side of a given length.

    The longer side is rounded down, as torchvision does it.

    Examples:
        >>> resized_size((300, 401), 256)
        (256, 342)
    """
    if resize is None:
        return image
    if isinstance(resize, tuple):
        return resize
    height, width = image
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def _middle(length: int, crop: int) -> int:
    """Where a central crop begins; torchvision's rounding (halves to even; the odd black line goes below)."""
    if crop > length:
        return -((crop - length) // 2)
    return round((length - crop) / 2.0)
