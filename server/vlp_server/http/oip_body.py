"""Bytes of an inference request -> its record. JSON, JSON with binary tensors behind it, or one tensor alone.

Source: Triton's binary tensor data extension, github.com/triton-inference-server/server,
docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from vlp_spec.errors import InvalidArgumentError, TooLargeError, UnsupportedMediaError

from vlp_server.http.call import Call
from vlp_server.http.json_body import INLINE_BYTES, is_json, media_type_of, parse_object, refuse_query
from vlp_server.http.oip_schemas import BINARY_HEADER
from vlp_server.oip.records import InferRequest, InputTensor, Parameters, RequestedOutput
from vlp_server.oip.shapes import check_sizes

BINARY_SIZE = "binary_data_size"
_MAX_JSON_BYTES = 8 * 1024 * 1024
# A number of JSON takes so many times its text in memory, at worst.
_JSON_WEIGHT = 8
_MAX_PARAMETERS = 64
_MAX_TENSORS = 256
_MAX_TEXT = 1024
_BINARY_MEDIA = "application/octet-stream"
_PIECE_BYTES = 1024 * 1024
_LENGTH = re.compile(r"[0-9]{1,18}")
# What zlib calls a gzip member, and its own format.
_WINDOWS = {"gzip": 31, "deflate": 15}
_FIELDS = {"id", "parameters", "inputs", "outputs"}


async def read_infer_request(call: Call, model: str, version: str) -> InferRequest:
    """Read and parse the body of an inference request.

    Raises:
        UnsupportedMediaError: another content type or coding.
        InvalidArgumentError: not as the protocol says.
        TooLargeError: over a limit, packed or unpacked.
    """
    headers = call.request.headers
    refuse_query(call.request)
    length = _json_length(headers.get(BINARY_HEADER))
    media_type = media_type_of(call.request)
    if length != 0 and not (media_type in ("", _BINARY_MEDIA) or is_json(media_type)):
        raise UnsupportedMediaError(
            f"Content-Type: got {media_type!r:.80}, expected application/json or {_BINARY_MEDIA}"
        )
    body = await read_packed_body(call)
    if length == 0:
        return InferRequest(model, version, whole_body=body)
    json_bytes = len(body) if length is None else length
    if json_bytes > len(body):
        raise InvalidArgumentError(f"{BINARY_HEADER}: got {json_bytes}, the body has {len(body)} bytes")
    if json_bytes > _MAX_JSON_BYTES:
        raise TooLargeError(f"{json_bytes} bytes of JSON, at most {_MAX_JSON_BYTES} are read; send tensors as binary")
    call.take(json_bytes * _JSON_WEIGHT)
    if json_bytes > INLINE_BYTES:
        return await asyncio.to_thread(_parse, model, version, body, json_bytes)
    return _parse(model, version, body, json_bytes)


async def read_packed_body(call: Call) -> bytes:
    """The body, unpacked where it is packed; its size is bounded before and after.

    Raises:
        UnsupportedMediaError: a coding that is not known.
        InvalidArgumentError: packed bytes that are broken.
        TooLargeError: more than a body may have.
    """
    coding = call.request.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return await call.body.read()
    if coding not in _WINDOWS:
        raise UnsupportedMediaError(f"Content-Encoding: got {coding!r:.40}, expected gzip or deflate")
    packed, limit = await call.body.read(packed=True), call.body.max_bytes
    unpacker = zlib.decompressobj(_WINDOWS[coding])
    pieces: list[bytes] = []
    size = 0
    while packed and not unpacker.eof:
        try:
            piece = await asyncio.to_thread(unpacker.decompress, packed, _PIECE_BYTES)
        except zlib.error:
            raise InvalidArgumentError(f"body: not {coding}") from None
        size += len(piece)
        if size > limit:
            raise TooLargeError(f"body: more than {limit} bytes when unpacked; send less")
        call.take(len(piece))
        pieces.append(piece)
        if not piece and not unpacker.eof:
            break
        packed = unpacker.unconsumed_tail
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidArgumentError(f"body: does not end where its {coding} ends")
    return b"".join(pieces)


def _json_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise InvalidArgumentError(f"{BINARY_HEADER}: got {text!r:.40}, expected a number of bytes")
    return int(text)


def _parse(model: str, version: str, body: bytes, json_bytes: int) -> InferRequest:
    document = parse_object("body", body[:json_bytes])
    if unknown := sorted(set(document) - _FIELDS):
        raise InvalidArgumentError(f"unknown field {unknown[0]!r:.80}", field=unknown[0][:80])
    tail = _Tail(memoryview(body)[json_bytes:])
    inputs = [_input(each, tail) for each in _objects(document, "inputs")]
    tail.check_empty()
    return InferRequest(
        model=model,
        version=version,
        id=_text(document, "id", ""),
        inputs=inputs,
        outputs=[
            RequestedOutput(_text(each, "name"), _parameters(each, "output")) for each in _objects(document, "outputs")
        ],
        parameters=_parameters(document, "body"),
    )


class _Tail:
    """The bytes behind the JSON; tensors take theirs in turn."""

    def __init__(self, left: memoryview) -> None:
        self._left = left

    def take(self, name: str, size: Any) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self._left):
            raise InvalidArgumentError(
                f"input {name[:64]!r}: {BINARY_SIZE} {size!r:.40}, {len(self._left)} bytes are left", field=name[:64]
            )
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def check_empty(self) -> None:
        if len(self._left):
            raise InvalidArgumentError(f"body: {len(self._left)} bytes behind its last tensor")


def _input(document: Mapping[str, Any], tail: _Tail) -> InputTensor:
    name, parameters = _text(document, "name"), _parameters(document, "input")
    values, raw = document.get("data"), None
    if BINARY_SIZE in parameters:
        if values is not None:
            raise InvalidArgumentError(f"input {name!r}: has data, and {BINARY_SIZE} too", field=name)
        raw = tail.take(name, parameters[BINARY_SIZE])
    elif not isinstance(values, list):
        raise InvalidArgumentError(f"input {name!r}: data: expected a list", field=name)
    shape = check_sizes(name, document.get("shape"))
    return InputTensor(name, _text(document, "datatype"), shape, raw, values, parameters)


def _objects(document: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    values = document.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InvalidArgumentError(f"{name}: expected a list of objects", field=name)
    if len(values) > _MAX_TENSORS:
        raise TooLargeError(f"{name}: {len(values)}, at most {_MAX_TENSORS} are read")
    return values


def _text(document: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = document.get(name, default)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise InvalidArgumentError(f"{name}: expected a text of at most {_MAX_TEXT} characters", field=name)
    return value


def _parameters(document: Mapping[str, Any], owner: str) -> Parameters:
    values = document.get("parameters", {})
    if (
        not isinstance(values, dict)
        or len(values) > _MAX_PARAMETERS
        or not all(isinstance(value, bool | int | float | str) for value in values.values())
    ):
        text = (
            f"parameters of {owner}: expected an object of at most {_MAX_PARAMETERS} texts, numbers, and true or false"
        )
        raise InvalidArgumentError(text, field="parameters")
    return values
