"""A .npz file of regions, as UNITER's users have them, trusting nothing that the file says.

Sizes are taken from the zip directory and from each array's header, and checked before anything is decompressed; no
array of objects is opened. Two sets of names are read:

    features     norm_bb (R, 6)   conf     soft_labels           ChenRocks/BUTD-UNITER-NLVR2, tools/generate_npz.py
    features     boxes (R, 4)     scores   class_probabilities   the same, in the words of this project

`norm_bb` holds x0, y0, x1, y1, width, height as shares. Members of other names are passed over unread: UNITER's own
converter leaves one behind.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
from vlp_spec.errors import RequestError, TooLargeError

from vlp_pipeline.npy_header import NpyHeader, read_npy_header
from vlp_pipeline.regions import (
    DEFAULT_REGION_LIMITS,
    FIELD,
    RegionLimits,
    Regions,
    check_counts,
    check_region_shape,
    check_regions,
    invalid_regions,
)

_SUFFIX = ".npy"
_MEANINGS = {
    "features": "features",
    "boxes": "boxes",
    "norm_bb": "boxes",
    "scores": "scores",
    "conf": "scores",
    "class_probabilities": "class_probabilities",
    "soft_labels": "class_probabilities",
}
# An entry of the directory starts so; each becomes an object of Python, however few bytes it has.
_ENTRY_SIGNATURE = b"PK\x01\x02"
_MAX_MEMBERS = 64
_ENCRYPTED = 0x1
# What zipfile raises on damaged bytes.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    OverflowError,
)


def read_region_npz(data: bytes, limits: RegionLimits = DEFAULT_REGION_LIMITS) -> Regions:
    """Read a file.

    Args:
        data: the whole file, of float16, float32 or float64 arrays, compressed or not.
        limits: what it may be.

    Raises:
        InvalidArgumentError: not such a file, cut short, boxes or features missing, a member twice, arrays of objects,
            or what `check_regions` refuses; of field "regions".
        TooLargeError: the file, or what its directory and headers announce, is over a limit.
    """
    if len(data) > limits.max_bytes:
        raise TooLargeError(f"{FIELD}: a file of {len(data)} bytes, at most {limits.max_bytes} are accepted")
    if data.count(_ENTRY_SIGNATURE) > _MAX_MEMBERS:
        raise TooLargeError(f"{FIELD}: an .npz file of over {_MAX_MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = _read_members(archive, limits)
    except RequestError:
        raise
    except _DAMAGED as error:
        raise invalid_regions("not an .npz file, or a damaged or cut one", detail=repr(error)) from error
    boxes, sides = arrays["boxes"], None
    if boxes.shape[1] == 6:
        boxes, sides = boxes[:, :4], boxes[:, 4:]
    return check_regions(
        boxes,
        arrays["features"],
        sides=sides,
        scores=arrays.get("scores"),
        class_probabilities=arrays.get("class_probabilities"),
        limits=limits,
    )


def _read_members(archive: zipfile.ZipFile, limits: RegionLimits) -> dict[str, np.ndarray]:
    """The arrays by what they mean; headers of all are checked before the numbers of any are read."""
    members = _find_members(archive)
    size = sum(member.file_size for member in members.values())
    if size > limits.max_bytes:
        raise TooLargeError(f"{FIELD}: arrays of {size} bytes, at most {limits.max_bytes} are accepted")
    headers = {name: _read_header(archive, member, limits) for name, member in members.items()}
    check_counts({name: header.shape[0] for name, header in headers.items()})
    arrays = {}
    for name, member in members.items():
        header = headers[name]
        with archive.open(member) as stream:
            stream.read(header.length_bytes)
            numbers = stream.read(header.size_bytes)
            # Reading on to the end makes zipfile compare the checksum.
            if len(numbers) < header.size_bytes or stream.read(1):
                raise invalid_regions(f"{member.filename!r:.80}: cut short within its numbers")
        arrays[_MEANINGS[name]] = header.array(numbers)
    return arrays


def _find_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The known members by name without ".npy"."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(_SUFFIX)
        if name not in _MEANINGS:
            continue
        if name in members:
            raise invalid_regions(f"{member.filename!r} is in the file twice")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise invalid_regions(f"{member.filename!r} is encrypted, or compressed in a way that numpy never uses")
        members[name] = member
    meanings = [_MEANINGS[name] for name in members]
    for meaning in dict.fromkeys(_MEANINGS.values()):
        names = [name for name, meant in _MEANINGS.items() if meant == meaning]
        if meanings.count(meaning) > 1:
            raise invalid_regions(f"both {' and '.join(names)} are given; they mean the same")
        if meaning not in meanings and meaning in ("boxes", "features"):
            raise invalid_regions(f"no array {' or '.join(map(repr, names))} in the .npz file")
    return members


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: RegionLimits) -> NpyHeader:
    name = member.filename.removesuffix(_SUFFIX)
    with archive.open(member) as stream:
        try:
            header = read_npy_header(stream)
        except ValueError as error:
            raise invalid_regions(f"{member.filename!r}: {error}") from error
    shape = header.shape
    if name == "norm_bb":
        if len(shape) != 2 or shape[1] != 6:
            raise invalid_regions(f"norm_bb: got shape {shape}, expected (regions, 6)")
        shape = (shape[0], 4)
    if _MEANINGS[name] == "scores" and len(shape) == 2 and shape[1] == 1:
        shape = shape[:1]
    check_region_shape(_MEANINGS[name], shape, limits)
    size = header.length_bytes + header.size_bytes
    if size > limits.max_bytes:
        raise TooLargeError(f"{FIELD}: {name} of shape {header.shape}, at most {limits.max_bytes} bytes are accepted")
    if size != member.file_size:
        raise invalid_regions(
            f"{member.filename!r}: {member.file_size} bytes, its header speaks of {size} (shape {header.shape})"
        )
    return header
