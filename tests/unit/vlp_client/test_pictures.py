from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from vlp_client.pictures import Picture, read_picture

DATA = b"bytes of a photo"


def test_a_path_as_str_or_path_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(DATA)
    assert read_picture(path) == read_picture(str(path)) == Picture(DATA, "photo.jpg")


@pytest.mark.parametrize("source", [DATA, bytearray(DATA), memoryview(DATA), io.BytesIO(DATA)])
def test_bytes_of_every_kind(source: bytes | bytearray | memoryview | io.BytesIO) -> None:
    assert read_picture(source) == Picture(DATA, "image")


@pytest.mark.parametrize("url", ["http://example.org/a", "https://example.org/a", "HTTP://example.org/a"])
def test_a_url_is_left_to_the_server(url: str) -> None:
    assert read_picture(url) == Picture(url=url)


def test_a_str_of_another_scheme_is_a_path() -> None:
    with pytest.raises(FileNotFoundError):
        read_picture("ftp://example.org/a")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_pil_image_is_sent_without_loss(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    image.putpixel((2, 1), image.getpixel((0, 0)) if mode == "P" else Image.new(mode, (1, 1), "white").getpixel((0, 0)))
    sent = read_picture(image)
    assert sent.file_name == "image.png"
    back = Image.open(io.BytesIO(sent.content))
    assert (back.format, back.mode, back.size) == ("PNG", mode, (3, 2))
    assert list(back.tobytes()) == list(image.tobytes())


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV"])
def test_a_mode_that_png_lacks_is_converted(mode: str) -> None:
    image = Image.new("RGB", (2, 2), (200, 30, 60)).convert(mode)
    back = Image.open(io.BytesIO(read_picture(image).content))
    assert (back.mode, back.tobytes()) == ("RGB", image.convert("RGB").tobytes())


def test_the_orientation_of_a_pil_image_goes_along() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2)).save(buffer, "JPEG", exif=exif)
    sent = read_picture(Image.open(io.BytesIO(buffer.getvalue())))
    assert Image.open(io.BytesIO(sent.content)).getexif()[0x0112] == 6
