"""Rows of a tsv file of regions: a picture a line, fields between tabs, no heading.

    image_id image_w image_h num_boxes boxes features                        peteanderson80/bottom-up-attention
    img_id img_h img_w objects_id objects_conf attrs_id attrs_conf num_boxes boxes features         airsplay/lxmert

`boxes` (num_boxes, 4), x0, y0, x1, y1 in pixels, `features` (num_boxes, F) and `objects_conf` (num_boxes,) are base64
of little-endian float32. The files are of many gigabytes: a line is read at a time, and no longer than a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_pipeline.region_base64 import decode_floats, split_rows
from vlp_pipeline.region_json import MAX_SIDE_PX, shares_of_pixels
from vlp_pipeline.regions import (
    DEFAULT_REGION_LIMITS,
    FIELD,
    RegionLimits,
    Regions,
    check_region_shape,
    check_regions,
    invalid_regions,
)

_MAX_ID_CHARS = 512


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where the fields of one form stand."""

    picture_id: int
    width: int
    height: int
    count: int
    boxes: int
    features: int
    scores: int | None = None


# By the number of fields.
_FORMS = {6: _Columns(0, 1, 2, 3, 4, 5), 10: _Columns(0, 2, 1, 7, 8, 9, scores=4)}


@dataclass(frozen=True, slots=True)
class TsvLine:
    """One line; `number` counts from 1, `offset` is where it begins in the file, `text` has no line end."""

    number: int
    offset: int
    text: bytes


@dataclass(frozen=True, slots=True, eq=False)
class PictureRegions:
    """A picture's regions, and its size in pixels."""

    picture_id: str
    width_px: int
    height_px: int
    regions: Regions


def tsv_lines(stream: BinaryIO, limits: RegionLimits = DEFAULT_REGION_LIMITS) -> Iterator[TsvLine]:
    """Yield the lines that are not empty, one in memory at a time.

    Args:
        stream: a file opened in binary mode, at its start.
        limits: a line may have twice `max_bytes`, which base64 and the short fields need.

    Raises:
        TooLargeError: a longer line.
    """
    longest = 2 * limits.max_bytes
    number = offset = 0
    while line := stream.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise TooLargeError(f"{FIELD}: line {number}: over {longest} bytes; not a tsv file of regions?")
        text = line.rstrip(b"\r\n")
        if text:
            yield TsvLine(number, offset, text)
        offset += len(line)


def read_tsv(stream: BinaryIO, limits: RegionLimits = DEFAULT_REGION_LIMITS) -> Iterator[PictureRegions]:
    """Yield all pictures of a file; the first fault ends it.

    Raises:
        InvalidArgumentError: see `parse_tsv_line`; the message names the line.
        TooLargeError: over a limit.
    """
    for line in tsv_lines(stream, limits):
        try:
            yield parse_tsv_line(line.text, limits)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"line {line.number}: {error}", field=FIELD, detail=error.detail) from error
        except TooLargeError as error:
            raise TooLargeError(f"line {line.number}: {error}", detail=error.detail) from error


def tsv_picture_id(text: bytes) -> str:
    """The id of the picture of a line, without reading more of it.

    Raises:
        InvalidArgumentError: another number of fields, or an id that is none.
    """
    return _picture_id(_fields(text)[0])


def parse_tsv_line(text: bytes, limits: RegionLimits = DEFAULT_REGION_LIMITS) -> PictureRegions:
    """Read a line.

    Raises:
        InvalidArgumentError: another number of fields, a size or number of boxes that is none, base64 that is none or
            of another length, or what `check_regions` refuses; of field "regions".
        TooLargeError: over a limit.
    """
    fields = _fields(text)
    columns = _FORMS[len(fields)]
    picture_id = _picture_id(fields[columns.picture_id])
    width_px = _count(fields[columns.width], "width", 1, MAX_SIDE_PX)
    height_px = _count(fields[columns.height], "height", 1, MAX_SIDE_PX)
    rows = _count(fields[columns.count], "num_boxes", 0, 10**9)
    check_region_shape("boxes", (rows, 4), limits)

    def floats(column: int, name: str) -> np.ndarray:
        return split_rows(decode_floats(fields[column], name, limits.max_bytes), rows, name)

    boxes = floats(columns.boxes, "boxes")
    check_region_shape("boxes", boxes.shape, limits)
    regions = check_regions(
        shares_of_pixels(boxes, width_px, height_px),
        floats(columns.features, "features"),
        scores=None if columns.scores is None else floats(columns.scores, "objects_conf"),
        limits=limits,
    )
    return PictureRegions(picture_id, width_px, height_px, regions)


def _fields(text: bytes) -> list[bytes]:
    fields = text.split(b"\t", max(_FORMS))
    if len(fields) not in _FORMS:
        told = f"{len(fields)} fields" if len(fields) <= max(_FORMS) else f"over {max(_FORMS)} fields"
        raise invalid_regions(f"{told} between tabs, expected {' or '.join(map(str, _FORMS))}")
    return fields


def _picture_id(field: bytes) -> str:
    try:
        picture_id = field.decode("utf-8")
    except UnicodeDecodeError:
        picture_id = ""
    if not picture_id.strip() or len(picture_id) > _MAX_ID_CHARS:
        raise invalid_regions(f"picture's id: got {field[:40]!r}, expected up to {_MAX_ID_CHARS} characters of UTF-8")
    return picture_id


def _count(field: bytes, name: str, least: int, most: int) -> int:
    """A whole number in digits alone: int() would take "1_0", "+1" and the digits of other scripts."""
    if not field.isdigit() or len(field) > 10 or not least <= int(field) <= most:
        raise invalid_regions(f"{name}: got {field[:40]!r}, expected a whole number from {least} to {most}")
    return int(field)
