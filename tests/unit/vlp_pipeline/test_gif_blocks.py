"""GIFs with blocks that no version of the format has, or that decoders read in different ways."""

import struct
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.image_headers import Container, early_size, gif_picture
from vlp_pipeline.images import ImageLimits, decode_image
from vlp_spec.errors import InvalidImageError, TooLargeError

Save = Callable[..., bytes]
EMPTY_CONTROL = b"!\xf9\x00"
COMMENT = b"!\xfe\x03abc\x00"


@pytest.fixture
def gif(save_picture: Save) -> tuple[bytes, bytes]:
    """A small picture in two halves: up to its first block, and from there on."""
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((2, 1), 0)
    data = save_picture(picture, "GIF", transparency=0)
    start = data.index(b"!\xf9\x04")
    return data[:start], data[start:]


@pytest.mark.parametrize(
    "between",
    [
        b"\x00",
        b"\x7f\x00\xff",
        b"\x01" * 1000,
        COMMENT,
        b"\x00" + COMMENT + b"\x99",
        b"!\x55\x02ab\x00",
        EMPTY_CONTROL,
        b"!\xff\x0bNETSCAPE2.0\x00",
        b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00",
        b"!\xf9\x01\x00\x00",
    ],
)
def test_what_is_no_part_of_the_picture_changes_nothing(between: bytes, gif: tuple[bytes, bytes]) -> None:
    head, rest = gif
    plain = decode_image(head + rest)
    assert plain.shape == (4, 6, 3)
    assert plain[1, 2].tolist() == [255, 255, 255]
    assert np.array_equal(decode_image(head + between + rest), plain)


@pytest.mark.parametrize(
    "ending", [b"", b"\x00", b"\x99\x98", b";", b"\x99;", b"!", b"!\xfe\x09ab", b"!\xf9\x04", b","]
)
def test_a_file_without_a_frame_is_damaged(ending: bytes, gif: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidImageError, match="damaged or truncated GIF"):
        decode_image(gif[0] + ending)


@pytest.mark.parametrize("hiding", [EMPTY_CONTROL, b"!\xff\x0bNETSCAPE2.0\x00"])
def test_a_large_frame_cannot_hide_behind_an_extension_without_content(hiding: bytes, gif: tuple[bytes, bytes]) -> None:
    """Pillow reads on behind such an extension: to it the small frame is the content, and the large one the first."""
    head, _ = gif
    dispose = b"!\xf9\x04\x08\x00\x00\x00\x00"
    large = b"," + struct.pack("<HHHHB", 0, 0, 13_000, 13_000, 0) + b"\x02\x01\x00\x00;"
    small = b"," + struct.pack("<HHHHB", 0, 0, 6, 4, 0)
    hidden = head + hiding + small.ljust(ord(",") + 1, b"\x01") + b"\x00" + dispose + large
    assert early_size(Container.GIF, hidden) == (6, 4)
    assert decode_image(hidden, ImageLimits(max_pixels=1000)).shape == (4, 6, 3)
    with pytest.raises(TooLargeError, match="13000x13000"):
        decode_image(head + dispose + large, ImageLimits(max_pixels=1000))


@pytest.mark.parametrize(
    "junk", [b"\x00" * 20_000_000, b"!\xfe\x00" * 6_000_000, b"!\xfe" + b"\x01a" * 9_000_000 + b"\x00"]
)
def test_millions_of_blocks_cost_little(junk: bytes, gif: tuple[bytes, bytes]) -> None:
    head, rest = gif
    started = time.process_time()
    found = gif_picture(head + junk + rest)
    assert time.process_time() - started < 1.0
    assert found == (head + rest if junk[0] == 0 else None)
