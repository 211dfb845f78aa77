"""Pictures for tests, good and bad, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def gradient(width: int = 96, height: int = 64) -> Image.Image:
    """A picture whose every cell has another colour, so that turning it changes the answer."""
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 255 // width, y * 255 // height, 128) for y in range(height) for x in range(width)])
    return image


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg() -> bytes:
    return encode(gradient(), "JPEG", quality=90)


def png() -> bytes:
    return encode(gradient(), "PNG")


def truncated_jpeg() -> bytes:
    return jpeg()[:700]


def one_pixel() -> bytes:
    return encode(Image.new("RGB", (1, 1), "red"), "PNG")


def header_bomb(side: int = 20_000) -> bytes:
    """A PNG that says it is `side` x `side`, in a few bytes."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1000))),
            (b"IEND", b""),
        )
    )


def animated() -> bytes:
    frames = [gradient(), gradient().transpose(Image.Transpose.ROTATE_180)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def cmyk() -> bytes:
    return encode(gradient().convert("CMYK"), "JPEG", quality=90)


def sixteen_bit() -> bytes:
    image = Image.new("I;16", (64, 64))
    image.putdata([index * 16 for index in range(64 * 64)])
    return encode(image, "PNG")


def exif_rotated() -> bytes:
    """The pixels of `gradient` lying on their side, with the tag that says how to put them up again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(gradient().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
