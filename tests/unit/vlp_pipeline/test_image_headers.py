import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from vlp_pipeline.image_headers import Container, early_size, exif_orientation, find_container

Save = Callable[..., bytes]


def exif_block(order: str, kind: int, value: bytes, count: int = 1) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHI4s", 0x0100, 3, 1, b"\1\0\0\0") + struct.pack(
        order + "HHI4s", 0x0112, kind, count, value.ljust(4, b"\0")
    )
    return head + struct.pack(order + "IH", 8, 2) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_signatures(container: str, save_picture: Save) -> None:
    found = find_container(save_picture(Image.new("RGB", (3, 2)), container))
    assert found is not None
    assert found.name == container


@pytest.mark.parametrize("data", [b"", b"RIFF1234WAVE", b"\x89PNG", b"GIF90a", b"\xff\xd8"])
def test_no_signature(data: bytes) -> None:
    assert find_container(data) is None


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("GIF", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"lossless": False}),
        ("WEBP", {"exif": b"MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (300, 7), (2, 1025)])
def test_early_size(container: str, options: dict[str, object], size: tuple[int, int], save_picture: Save) -> None:
    data = save_picture(Image.new("RGB", size), container, **options)
    found = find_container(data)
    assert found is not None
    assert early_size(found, data) == size


def test_gif_with_extensions_before_the_frame_and_no_colour_table() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 5, 4, 0, 0, 0)
    comment = b"!\xfe\x03abc\x02de\x00"
    frame = b"," + struct.pack("<HHHHB", 3, 2, 10, 20, 0)
    assert early_size(Container.GIF, screen + comment + frame) == (13, 22)
    assert early_size(Container.GIF, screen + comment + b";" + frame) == (5, 4)
    assert early_size(Container.GIF, screen + b"!\xfe\x03ab") is None


@pytest.mark.parametrize("container", [Container.JPEG, Container.PNG, Container.BMP, Container.TIFF])
def test_other_containers_have_no_early_size(container: Container) -> None:
    assert early_size(container, b"\1" * 100) is None


@pytest.mark.parametrize(
    ("container", "data"),
    [
        (Container.GIF, b"GIF89a\1\0"),
        (Container.WEBP, b"RIFF\0\0\0\0WEBP"),
        (Container.WEBP, b"RIFF\0\0\0\0WEBPVP8 \0\0"),
        (Container.WEBP, b"RIFF\0\0\0\0WEBPVP8L\0\0"),
        (Container.WEBP, b"RIFF\0\0\0\0WEBPICCP" + b"\1" * 50),
    ],
)
def test_an_incomplete_header_has_no_early_size(container: Container, data: bytes) -> None:
    assert early_size(container, data) is None


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_both_byte_orders(prefix: bytes, order: str, orientation: int) -> None:
    assert exif_orientation(prefix + exif_block(order, 3, struct.pack(order + "H", orientation))) == orientation
    assert exif_orientation(prefix + exif_block(order, 4, struct.pack(order + "I", orientation))) == orientation


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"XX*\0\x08\0\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        exif_block("<", 3, b"\x00\0"),
        exif_block("<", 3, b"\x09\0"),
        exif_block("<", 2, b"\x06\0"),
        exif_block("<", 3, b"\x06\0", count=2),
        exif_block("<", 3, b"\x06\0")[:30],
    ],
)
def test_malformed_or_senseless_orientation_is_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1


HEADS = [b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=60))
def test_no_bytes_make_the_orientation_raise(head: bytes, noise: bytes) -> None:
    assert 1 <= exif_orientation(head + noise) <= 8


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8X"]), st.binary(max_size=60))
def test_early_size_of_noise(head: bytes, noise: bytes) -> None:
    container = Container.GIF if head.startswith(b"GIF") else Container.WEBP
    size = early_size(container, head + noise)
    assert size is None or all(0 <= side <= 1 << 24 for side in size)
