"""Views as files that a page can show, and the still picture that stands in for a live widget."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dmlviz.embedder import CellGeometry, half_pixel

FOR, AGAINST = (221, 73, 14), (33, 97, 171)
_TILE, _GAP, _CAPTION = 132, 10, 20


def encode(view: np.ndarray, quality: int = 92) -> tuple[bytes, str]:
    """A view as a file for a page.

    Args:
        view: (H, W, 3) uint8.
        quality: JPEG's; above 90 the colours are kept at full resolution.

    Returns:
        The file's bytes and its media type.
    """
    file = io.BytesIO()
    subsampling = 0 if quality > 90 else 2
    Image.fromarray(np.ascontiguousarray(view)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue(), "image/jpeg"


def encode_small(view: np.ndarray, quality: int = 82) -> tuple[bytes, str]:
    """The same as WebP, which takes about half the room; JPEG where Pillow was built without it."""
    file = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(view)).save(file, "WEBP", quality=quality, method=4)
    except (OSError, KeyError):
        return encode(view, min(quality, 88))
    return file.getvalue(), "image/webp"


def contact_sheet(
    views: Sequence[np.ndarray],
    maps: Sequence[np.ndarray | None],
    geometries: Sequence[CellGeometry | None],
    captions: Sequence[str],
    most_bytes: int = 100_000,
) -> bytes:
    """The query and its best matches with their maps, as one small PNG.

    Args:
        views: (H, W, 3) uint8 each, the query first.
        maps: (h, w) signed, one per view; each is drawn at its own scale. None where there is no map.
        geometries: Where each map's cells lie on its view; None for the half-pixel rule.
        captions: One short line per view.
        most_bytes: The file is made smaller until it fits.

    Returns:
        A PNG file's bytes.
    """
    for tile in (_TILE, 104, 80, 56):
        sheet = _sheet(views, maps, geometries, captions, tile)
        file = io.BytesIO()
        sheet.quantize(160, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()


def _sheet(
    views: Sequence[np.ndarray],
    maps: Sequence[np.ndarray | None],
    geometries: Sequence[CellGeometry | None],
    captions: Sequence[str],
    tile: int,
) -> Image.Image:
    width = len(views) * (tile + _GAP) + _GAP
    sheet = Image.new("RGB", (width, tile + _CAPTION + 2 * _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for n, (view, values, geometry, caption) in enumerate(
        zip(views, maps, geometries, captions, strict=True)
    ):
        picture = overlaid(view, values, geometry)
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        left = _GAP + n * (tile + _GAP)
        sheet.paste(picture, (left, _GAP + (tile - picture.height) // 2))
        draw.text((left, _GAP + tile + 4), _fit(caption, font, tile), fill=(60, 60, 56), font=font)
    return sheet


def _fit(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def overlaid(
    view: np.ndarray, values: np.ndarray | None, geometry: CellGeometry | None = None
) -> Image.Image:
    """A view nearly grey under its signed map, at twice the size for small views; as it is without a map."""
    if values is None:
        return _enlarged(Image.fromarray(np.ascontiguousarray(view)))
    size, grid = view.shape[:2], values.shape
    geometry = geometry or half_pixel(size, grid)
    rows, cols = (
        np.clip((np.arange(size[axis]) - geometry.first[axis]) / geometry.stride[axis], 0, grid[axis] - 1)
        for axis in (0, 1)
    )
    drawn = _between(values, rows, cols)
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    cover = 0.85 * np.abs(drawn / limit)[..., None] ** 0.8
    hue = np.where((drawn >= 0)[..., None], np.array(FOR), np.array(AGAINST))
    grey = view.astype(np.float32).mean(2, keepdims=True)
    muted = 0.12 * view + 0.88 * grey
    muted = 128 + 0.76 * (muted - 128) + 12
    return _enlarged(Image.fromarray(((1 - cover) * muted + cover * hue).clip(0, 255).astype(np.uint8)))


def _enlarged(picture: Image.Image) -> Image.Image:
    if max(picture.size) < 160:
        picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.BICUBIC)
    return picture


def _between(values: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Bilinear values at each (row, column) of cells; both lists lie on the map."""
    top, left = rows.astype(int), cols.astype(int)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = (rows - top)[:, None], (cols - left)[None]
    upper = (1 - across) * values[top][:, left] + across * values[top][:, right]
    lower = (1 - across) * values[bottom][:, left] + across * values[bottom][:, right]
    return (1 - down) * upper + down * lower
