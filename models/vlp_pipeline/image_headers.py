"""What the first bytes of a picture file say: its container, its size, its Exif orientation.

Plain byte reading: nothing is decoded or allocated here, and no input makes these functions raise.
"""

from __future__ import annotations

import re
import struct
from enum import StrEnum

# GIF block codes (GIF89a specification, appendix A)
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER, _GIF_CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_GIF_BLOCK = re.compile(rb"[!,;]")
_MAX_GIF_BLOCKS = 200_000
# JPEG markers that begin a segment, or end the file; within coded pixels FF is always followed by 0 or a restart.
_JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_JPEG_START, _JPEG_END = 0xD8, 0xD9
_MAX_JPEG_SEGMENTS = 4096
_EXIF_ORIENTATION = 0x0112
_EXIF_INTEGERS = {1: "B", 3: "H", 4: "I"}


class Container(StrEnum):
    """The picture formats that are read."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"


_SIGNATURES = (
    (b"\xff\xd8\xff", Container.JPEG),
    (b"\x89PNG\r\n\x1a\n", Container.PNG),
    (b"GIF87a", Container.GIF),
    (b"GIF89a", Container.GIF),
    (b"BM", Container.BMP),
    (b"II\x2a\x00", Container.TIFF),
    (b"MM\x00\x2a", Container.TIFF),
    (b"II\x2b\x00", Container.TIFF),
    (b"MM\x00\x2b", Container.TIFF),
)


def find_container(data: bytes) -> Container | None:
    """The container by its signature; None when it is none that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container.WEBP
    return next((container for signature, container in _SIGNATURES if data.startswith(signature)), None)


def early_size(container: Container, data: bytes) -> tuple[int, int] | None:
    """Width and height, for the containers whose decoder allocates its canvas as soon as it is created.

    Returns:
        (width, height) of a GIF or WebP; None for another container or an incomplete header, whose decoder reads
        the size (or fails) before it allocates anything.
    """
    try:
        if container is Container.GIF:
            return _gif_size(data)
        return _webp_size(data) if container is Container.WEBP else None
    except (IndexError, struct.error):
        return None


def _gif_size(data: bytes) -> tuple[int, int]:
    """The canvas: the logical screen, or the first frame where that one reaches beyond the screen."""
    width, height = struct.unpack_from("<HH", data, 6)
    if (found := _find_gif_frame(data)) is None:
        return width, height
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, found[0] + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def gif_picture(data: bytes) -> bytes | None:
    """A GIF without what stands before its first frame, save the colours and the block that says how to draw it.

    Decoders disagree on what is no block of any version of the format, and on extensions without content; with neither
    in it, the frame whose size was checked is the one that is decoded. As the first version of the format says, bytes
    between blocks are passed over.

    Returns:
        None where there is no frame before the end, or within a sane number of blocks.
    """
    try:
        found = _find_gif_frame(data)
    except IndexError:
        return None
    if found is None:
        return None
    frame, control = found
    return data[: _gif_blocks_start(data)] + control + data[frame:]


def _gif_blocks_start(data: bytes) -> int:
    flags = data[10]
    return 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)


def _find_gif_frame(data: bytes) -> tuple[int, bytes] | None:
    """Where the first frame begins, and the last graphic control block before it.

    Raises:
        IndexError: the file ends within a block.
    """
    place, control, blocks = _gif_blocks_start(data), b"", 0
    while blocks < _MAX_GIF_BLOCKS:
        found = _GIF_BLOCK.search(data, place)
        if found is None or data[found.start()] == _GIF_TRAILER:
            return None
        place = found.start()
        if data[place] == _GIF_IMAGE:
            return place, control
        if data[place + 1] == _GIF_CONTROL and data[place + 2] >= 4:
            control = bytes((_GIF_EXTENSION, _GIF_CONTROL, 4)) + data[place + 3 : place + 7] + b"\0"
        place += 2
        while data[place] and blocks < _MAX_GIF_BLOCKS:
            place += data[place] + 1
            blocks += 1
        place += 1
        blocks += 1
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas by the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def jpeg_length(data: bytes) -> int:
    """Bytes of a JPEG's first picture, from its start to its end marker: a phone may append a film.

    Returns:
        `len(data)` where no end is found within a sane number of segments.
    """
    place = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_SEGMENT.search(data, place)
        if found is None:
            break
        place, code = found.end(), data[found.end() - 1]
        if code == _JPEG_END:
            return place
        if code != _JPEG_START:
            place += int.from_bytes(data[place : place + 2], "big")
    return len(data)


def exif_orientation(exif: bytes) -> int:
    """The orientation tag of an Exif block, 1 to 8; 1 (upright) where it is missing or the block is malformed.

    Pillow's reader is not used: it warns, or raises, on the malformed blocks that cameras and editors do write.
    """
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", block, entry)
            if tag == _EXIF_ORIENTATION and count == 1 and kind in _EXIF_INTEGERS:
                (value,) = struct.unpack_from(order + _EXIF_INTEGERS[kind], block, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
