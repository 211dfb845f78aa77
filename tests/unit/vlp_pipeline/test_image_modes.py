import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.image_modes import to_rgb
from vlp_pipeline.images import decode_image
from vlp_spec.errors import InvalidImageError

Save = Callable[..., bytes]
RAMP = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)


def grey(pixels: np.ndarray) -> list[int]:
    assert (pixels == pixels[..., :1]).all()
    return list(pixels[0, :, 0])


@pytest.mark.parametrize("container", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(container: str, save_picture: Save) -> None:
    data = save_picture(Image.fromarray(RAMP), container)
    assert grey(decode_image(data)) == [0, 1, 128, 255]


def test_sixteen_bit_grey_is_rounded(save_picture: Save) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = decode_image(save_picture(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(pixels[..., 0], np.round(values / 257.0).astype(np.uint8))


def test_big_endian_sixteen_bit_tiff(save_picture: Save) -> None:
    picture = Image.frombytes("I;16B", (4, 1), RAMP.astype(">u2").tobytes())
    assert grey(decode_image(save_picture(picture, "TIFF"))) == [0, 1, 128, 255]


def test_sixteen_bit_rgb_png() -> None:
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(extra: bytes) -> bytes:
        row = b"\0" + struct.pack(">6H", 0, 0xFFFF, 0x8000, 0x0100, 0x0200, 0x0300)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")

    expected = [[[0, 255, 128], [1, 2, 3]]]
    assert decode_image(png(b"")).tolist() == expected
    # A transparent colour in 16 bits cannot be found among 8-bit pixels; it is left out.
    assert decode_image(png(chunk(b"tRNS", struct.pack(">3H", 0x0100, 0x0200, 0x0300)))).tolist() == expected


def test_twelve_bit_tiff() -> None:
    entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, 1),
        (279, 4, 3),
    ]
    # Two values of 12 bits: 0xFFF (white) and 0x800.
    pixels = b"\xff\xf8\x00" + b"\0" * 5
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value)
    data = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + b"\0\0\0\0"
    assert grey(decode_image(data)) == [255, 128]


def test_thirty_two_bit_tiff_within_sixteen_bits(save_picture: Save) -> None:
    picture = Image.fromarray(RAMP.astype(np.int32))
    assert grey(decode_image(save_picture(picture, "TIFF"))) == [0, 1, 128, 255]


@pytest.mark.parametrize("values", [[[0, 70_000]], [[-1, 5]]])
def test_thirty_two_bits_without_a_defined_white(values: list[list[int]], save_picture: Save) -> None:
    data = save_picture(Image.fromarray(np.array(values, dtype=np.int32)), "TIFF")
    with pytest.raises(InvalidImageError, match="no defined white"):
        decode_image(data)


def test_floating_point(save_picture: Save) -> None:
    data = save_picture(Image.fromarray(np.zeros((2, 2), dtype=np.float32)), "TIFF")
    with pytest.raises(InvalidImageError, match="no defined white"):
        decode_image(data)


@pytest.mark.parametrize("container", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(container: str, save_picture: Save) -> None:
    # No ink is white; Pillow writes CMYK JPEG inverted with an Adobe marker, as Photoshop does.
    halves = Image.new("CMYK", (16, 8), (0, 0, 0, 0))
    halves.paste((0, 255, 255, 0), (8, 0, 16, 8))
    pixels = decode_image(save_picture(halves, container)).astype(int)
    np.testing.assert_allclose(pixels[4, 2], (255, 255, 255), atol=3)
    np.testing.assert_allclose(pixels[4, 13], (255, 0, 0), atol=3)


@pytest.mark.parametrize("mode", ["1", "L"])
@pytest.mark.parametrize("container", ["PNG", "TIFF", "BMP"])
def test_black_and_white(mode: str, container: str, save_picture: Save) -> None:
    picture = Image.fromarray(np.array([[0, 255, 0]], dtype=np.uint8)).convert(mode)
    assert grey(decode_image(save_picture(picture, container))) == [0, 255, 0]


def test_palette(picture: Image.Image, save_picture: Save) -> None:
    few = picture.convert("P")
    np.testing.assert_array_equal(decode_image(save_picture(few, "PNG")), np.asarray(few.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_over_white(mode: str, save_picture: Save) -> None:
    black = np.zeros((1, 3, 4), dtype=np.uint8)
    black[0, :, 3] = [0, 128, 255]
    assert grey(decode_image(save_picture(Image.fromarray(black).convert(mode), "PNG"))) == [255, 127, 0]


@pytest.mark.parametrize("transparency", [b"\0\xff", 0])
def test_transparent_palette_entry_lies_over_white(transparency: bytes | int, save_picture: Save) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.putpixel((1, 0), 1)
    data = save_picture(picture, "PNG", transparency=transparency)
    assert decode_image(data).tolist() == [[[255, 255, 255], [0, 0, 200]]]


def test_transparent_colour_of_an_rgb_png(save_picture: Save) -> None:
    picture = Image.fromarray(np.array([[[200, 0, 0], [0, 0, 200]]], dtype=np.uint8))
    data = save_picture(picture, "PNG", transparency=(200, 0, 0))
    assert decode_image(data).tolist() == [[[255, 255, 255], [0, 0, 200]]]


def test_transparent_gif(save_picture: Save) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.putpixel((1, 0), 1)
    assert decode_image(save_picture(picture, "GIF", transparency=0)).tolist() == [[[255] * 3, [0, 0, 200]]]


def test_alpha_blends_as_a_whole_picture_composite_does() -> None:
    values, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    layer = Image.fromarray(np.dstack([values, values, values, alpha]))
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, layer).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(to_rgb(layer)), expected)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "YCbCr", "HSV", "RGBX"])
def test_rare_modes(mode: str) -> None:
    picture = Image.new("RGB", (2, 2), (255, 255, 255))
    steps = {"La": ["LA", "La"], "RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"]}.get(mode, [mode])
    for step in steps:
        picture = picture.convert(step)
    assert picture.mode == mode
    np.testing.assert_allclose(np.asarray(to_rgb(picture)).astype(int), 255, atol=1)


def test_rgb_is_not_copied(picture: Image.Image) -> None:
    assert to_rgb(picture) is picture
