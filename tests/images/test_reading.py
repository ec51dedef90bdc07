"""Every kind of picture file becomes (H, W, 3) uint8, or an error with its name and the reason."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dmlviz.images import ImageReadError, as_rgb, read_image
from dmlviz.images.reading import from_pillow

RNG = np.random.default_rng(4)
COLOURS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_comes_back_as_it_is(tmp_path, ending):
    path = saved(
        tmp_path / f"a.{ending}", Image.fromarray(COLOURS), **({"lossless": True} if ending == "webp" else {})
    )
    pixels = read_image(path)
    assert (pixels.dtype, pixels.shape, pixels.flags.writeable) == (np.uint8, (5, 7, 3), True)
    np.testing.assert_array_equal(pixels, COLOURS)


def test_grey_is_repeated(tmp_path):
    pixels = read_image(saved(tmp_path / "g.png", Image.fromarray(GREY)))
    np.testing.assert_array_equal(pixels, np.stack([GREY] * 3, -1))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_by_the_range_of_the_format(tmp_path, ending):
    values = np.array([[0, 128, 129, 257, 514], [1000, 32768, 65278, 65406, 65535]], np.uint16)
    path = saved(tmp_path / f"g.{ending}", Image.fromarray(values))
    by_formula = np.floor(values.astype(np.float64) * 255 / 65535 + 0.5)
    assert by_formula[1].tolist() == [4, 128, 254, 254, 255]
    np.testing.assert_array_equal(read_image(path)[..., 1], by_formula)


def test_a_dark_16_bit_picture_stays_dark(tmp_path):
    path = saved(tmp_path / "dark.png", Image.fromarray(np.full((3, 3), 2570, np.uint16)))
    np.testing.assert_array_equal(read_image(path), np.full((3, 3, 3), 10))


def test_16_bit_colour_keeps_the_upper_byte():
    values = np.array([[[0x12FF, 0xAB00, 0xFFFF]]], ">u2")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes())) + chunk(b"IEND", b"")
    assert read_image(png).tolist() == [[[0x12, 0xAB, 0xFF]]]


def test_pixels_without_an_agreed_range_are_refused(tmp_path):
    floats = saved(tmp_path / "f.tif", Image.fromarray(np.ones((3, 3), np.float32)))
    with pytest.raises(
        ImageReadError, match="floating-point numbers, which have no agreed range; save it with 8"
    ):
        read_image(floats)
    integers = saved(tmp_path / "i.tif", Image.fromarray(np.ones((3, 3), np.int32)))
    with pytest.raises(ImageReadError, match="32-bit integer numbers, which have no agreed range"):
        read_image(integers)


def test_a_palette(tmp_path):
    picture = Image.fromarray(COLOURS).quantize(8)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(read_image(saved(tmp_path / "p.png", picture)), expected)


def test_one_bit(tmp_path):
    bits = GREY > 127
    pixels = read_image(saved(tmp_path / "b.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(pixels[..., 2], np.where(bits, 255, 0))


def test_cmyk(tmp_path):
    ink = Image.frombytes("CMYK", (7, 5), RNG.integers(0, 256, (5, 7, 4), np.uint8).tobytes())
    pixels = read_image(saved(tmp_path / "c.tif", ink))
    np.testing.assert_array_equal(pixels, np.asarray(ink.convert("RGB")))
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    jpeg = read_image(saved(tmp_path / "red.jpg", red, quality=95))
    assert np.abs(jpeg.astype(int) - [255, 0, 0]).max() <= 4


def over_white_by_loops(rgba):
    out = np.zeros((*rgba.shape[:2], 3), np.uint8)
    for row in range(rgba.shape[0]):
        for col in range(rgba.shape[1]):
            alpha = rgba[row, col, 3] / 255
            for channel in range(3):
                out[row, col, channel] = np.floor(rgba[row, col, channel] * alpha + 255 * (1 - alpha) + 0.5)
    return out


def test_transparency_lies_over_white(tmp_path):
    rgba = RNG.integers(0, 256, (9, 11, 4), np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 255
    pixels = read_image(saved(tmp_path / "t.png", Image.fromarray(rgba)))
    np.testing.assert_array_equal(pixels, over_white_by_loops(rgba))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(pixels[0, 1], rgba[0, 1, :3])


def test_grey_with_transparency(tmp_path):
    la = RNG.integers(0, 256, (4, 4, 2), np.uint8)
    pixels = read_image(saved(tmp_path / "la.png", Image.fromarray(la)))
    np.testing.assert_array_equal(pixels, over_white_by_loops(la[..., [0, 0, 0, 1]]))


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_one_transparent_colour_lies_over_white(tmp_path, mode):
    black = Image.new(mode, (3, 2), 0)
    pixels = read_image(saved(tmp_path / "x.png", black, transparency=(0, 0, 0) if mode == "RGB" else 0))
    np.testing.assert_array_equal(pixels, np.full((2, 3, 3), 255))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_the_orientation_tag_is_obeyed(tmp_path, tag, ending):
    # what a camera writes for each tag: where row 0 and column 0 of the file lie in the upright picture
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[:8, 16:], upright[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    to_file = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[tag]
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"lossless": True} if ending == "webp" else {"quality": 95} if ending == "jpg" else {}
    picture = Image.fromarray(np.ascontiguousarray(to_file(upright)))
    pixels = read_image(saved(tmp_path / f"o.{ending}", picture, exif=exif, **options))
    assert pixels.shape == upright.shape
    for row, col in [(3, 3), (3, 20), (12, 3), (12, 20)]:
        assert np.abs(pixels[row, col].astype(int) - upright[row, col]).max() <= 40


@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_a_damaged_tag_leaves_the_pixels_sound(tmp_path):
    path = tmp_path / "e.webp"
    Image.fromarray(COLOURS).save(path, lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    np.testing.assert_array_equal(read_image(path), COLOURS)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_several(tmp_path, ending):
    frames = [Image.new("RGB", (6, 4), colour) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
    options = {"lossless": True} if ending == "webp" else {}
    path = saved(tmp_path / f"a.{ending}", frames[0], save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(path), np.asarray(frames[0]))


def test_one_pixel(tmp_path):
    path = saved(tmp_path / "one.png", Image.new("RGB", (1, 1), (9, 8, 7)))
    assert read_image(path).tolist() == [[[9, 8, 7]]]


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "gif", "tif", "webp"])
def test_a_truncated_file(tmp_path, ending):
    path = saved(tmp_path / f"cut.{ending}", Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(
        ImageReadError, match=rf"image '.*cut\.{ending}' cannot be read: it is (truncated|damaged|not)"
    ) as caught:
        read_image(path)
    assert caught.value.name == str(path)


def test_files_that_are_no_images(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(ImageReadError, match="it is not an image, or of a kind Pillow does not know"):
        read_image(text)
    with pytest.raises(ImageReadError, match=r"the file is empty \(0 bytes\)"):
        read_image(empty)
    with pytest.raises(ImageReadError, match="there is no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageReadError, match="it is a folder, not a file"):
        read_image(tmp_path)
    with pytest.raises(ImageReadError, match=r"'\(bytes\)' cannot be read: the file is empty"):
        read_image(b"")
    with pytest.raises(ImageReadError, match=r"no usable path|no such file"):
        read_image("a\0b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageReadError, match="it is no regular file"):
        read_image(tmp_path / "pipe.png")


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "bomb.png", Image.new("L", (300, 300)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageReadError, match=r"it is too large: Image size .90000 pixels. exceeds limit"):
        read_image(path)


def test_a_pillow_image_of_any_mode():
    for mode in [
        "1",
        "L",
        "LA",
        "P",
        "RGB",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "I;16",
        "La",
        "RGBa",
        "PA",
    ]:
        pixels = from_pillow(Image.new(mode, (3, 2)), mode)
        assert (pixels.shape, pixels.dtype) == ((2, 3, 3), np.uint8), mode


def test_as_rgb_copies():
    image = np.zeros((3, 3, 3), np.uint8)
    as_rgb(image)[:] = 1
    assert image.max() == 0


def _jpeg():
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (24, 24, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _jpeg()


@pytest.mark.filterwarnings("ignore")  # Pillow may warn of a tag that the noise hit
@settings(deadline=None, max_examples=50)
@given(where=st.integers(0, len(JPEG) - 1), value=st.integers(0, 255), cut=st.integers(0, len(JPEG)))
def test_noise_in_a_file_gives_a_picture_or_a_read_error(where, value, cut):
    data = bytearray(JPEG)
    data[where] = value
    try:
        pixels = read_image(bytes(data[:cut]), "noisy")
    except ImageReadError:
        return  # anything else fails the test
    assert pixels.ndim == 3
    assert pixels.dtype == np.uint8
