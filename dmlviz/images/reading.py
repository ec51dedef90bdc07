"""From a file, a Pillow image or an array to one kind of picture: (H, W, 3) uint8, red, green, blue.

The rules, applied in this order to whatever is found:

- the camera's orientation tag (EXIF) is obeyed;
- of an animation or a multi-page file, the first frame is taken;
- 16-bit grey is divided by 257, so that 0..65535 becomes 0..255: the range of the *format*, never the
  range of the picture, so that one value means one grey in every picture (16-bit colour keeps the
  upper byte of each value, which is what Pillow reads);
- 32-bit and floating-point pixels have no agreed range and are refused;
- transparency is laid over white;
- palettes, bilevel, grey, YCbCr, HSV and CMYK are turned into RGB by Pillow's own conversion, without
  colour profiles.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


class ImageReadError(ValueError):
    """A picture that cannot be read.

    Attributes:
        name: the image's name in its set, or its path.
        reason: what was wrong, in words.
    """

    def __init__(self, name: str, reason: str = "it cannot be read") -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"image {self.name!r} cannot be read: {self.reason}. "
            "Replace it or take it out of the set; Gallery.build(..., on_error='skip') leaves it out."
        )


def read_image(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """Read a picture from a file or from the bytes of a file.

    Args:
        source: path of the file, or the file's bytes.
        name: what to call the picture in an error; the path by default.

    Returns:
        Array (H, W, 3) uint8: rows from the top, columns from the left, red, green, blue, each 0..255.

    Raises:
        ImageReadError: for a file that is missing, empty, truncated, corrupt, not an image, too large
            for Pillow's guard against decompression bombs, or of a pixel type without an agreed range.
    """
    if isinstance(source, bytes):
        name = name or "(bytes)"
        size, opener = len(source), io.BytesIO(source)
    else:
        path = Path(source)
        name = name or str(path)
        size, opener = _size_of_file(path, name), None
    if size == 0:
        raise ImageReadError(name, "the file is empty (0 bytes)")
    return _guarded(name, lambda: _decode(opener if opener is not None else Path(str(source))))


def from_pillow(image: Image.Image, name: str = "(Pillow image)") -> np.ndarray:
    """Turn a Pillow image of any mode into (H, W, 3) uint8, by the rules of this module.

    Raises:
        ImageReadError: if its pixels cannot be loaded or have no agreed range.
    """
    return _guarded(name, lambda: _to_rgb(image))


def as_rgb(image: Any, name: str = "image") -> np.ndarray:
    """Check an array that claims to be a picture, and give grey ones three channels.

    Args:
        image: (H, W, 3) or (H, W) uint8, 0..255.
        name: what to call it in an error.

    Returns:
        A new array (H, W, 3) uint8; the caller may write to it.

    Raises:
        TypeError: if it is no NumPy array or its dtype is not uint8.
        ValueError: if its shape is another, or it has no pixels.

    Examples:
        >>> import numpy as np
        >>> as_rgb(np.zeros((4, 5), np.uint8)).shape
        (4, 5, 3)
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"{name}: expected a NumPy array (H, W, 3) or (H, W) of uint8, got {type(image).__name__}; "
            "np.asarray(picture) makes an array of a Pillow image"
        )
    if image.dtype != np.uint8:
        hint = (
            "if it runs from 0 to 1, use (255 * image).round().astype('uint8')"
            if image.dtype.kind == "f"
            else "scale it to 0..255 and use .astype('uint8')"
        )
        raise TypeError(f"{name}: expected uint8 values 0..255, got {image.dtype}; {hint}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(
            f"{name}: expected shape (H, W, 3) or (H, W), got {image.shape}; "
            "channels come last, and transparency is to be removed"
        )
    if image.shape[0] == 0 or image.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one pixel, got shape {image.shape}")
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    return image.copy(order="C")


def _size_of_file(path: Path, name: str) -> int:
    try:
        if path.is_dir():
            raise ImageReadError(name, "it is a folder, not a file")
        if path.exists() and not path.is_file():
            raise ImageReadError(name, "it is no regular file")
        return path.stat().st_size
    except FileNotFoundError:
        raise ImageReadError(name, "there is no such file") from None
    except OSError as error:
        raise ImageReadError(name, f"the file cannot be opened ({error.strerror or error})") from None
    except ValueError as error:  # a path with a null character, for one
        if isinstance(error, ImageReadError):
            raise
        raise ImageReadError(name, f"it is no usable path ({error})") from None


def _guarded(name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
    """Whatever a decoder stumbles over becomes one kind of error, with the picture's name."""
    try:
        return read()
    except ImageReadError as error:
        raise ImageReadError(name, error.reason) from None
    except UnidentifiedImageError:
        raise ImageReadError(name, "it is not an image, or of a kind Pillow does not know") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageReadError(name, f"it is too large: {str(error).rstrip('.')}") from None
    except MemoryError:
        raise ImageReadError(name, "there is not enough memory to decode it") from None
    except Exception as error:
        said = str(error).rstrip(".") or type(error).__name__
        kind = "it is truncated" if "truncated" in said.lower() else "it is damaged"
        raise ImageReadError(name, f"{kind} ({said})") from error


def _decode(source: Path | io.BytesIO) -> np.ndarray:
    with Image.open(source) as image:
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> np.ndarray:
    image.load()
    pixels = _pixels(image)
    turn = _TURNS.get(_orientation(image))
    if turn is not None:
        pixels = np.asarray(Image.fromarray(pixels).transpose(turn))
    if pixels.shape[0] == 0 or pixels.shape[1] == 0:
        raise ImageReadError("", f"it has no pixels (height {pixels.shape[0]}, width {pixels.shape[1]})")
    return np.array(pixels, dtype=np.uint8, order="C")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged tag says nothing about the orientation; the pixels are sound
        return 1


def _pixels(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return _grey_of_16_bit(np.asarray(image))
    if mode in ("I", "F"):
        kind = "32-bit integer" if mode == "I" else "floating-point"
        raise ImageReadError(
            "", f"its pixels are {kind} numbers, which have no agreed range; save it with 8 or 16 bits"
        )
    if mode in _ALPHA_MODES or "transparency" in image.info:
        straight = image.convert("LA") if mode == "La" else image  # "a": colours multiplied by alpha
        return _over_white(np.asarray(straight.convert("RGBA")))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _grey_of_16_bit(values: np.ndarray) -> np.ndarray:
    grey = (
        ((values.astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8)
    )  # 65535 = 255 × 257, rounded
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    colour, alpha = rgba[:, :, :3].astype(np.uint16), rgba[:, :, 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
