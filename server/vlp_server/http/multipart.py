"""Reads multipart/form-data from a stream into memory, with limits on every count. Fields mean nothing here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from vlp_spec.errors import InvalidArgumentError, TooLargeError

_MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its form name, whether it is a file, and its bytes."""

    name: str
    is_file: bool
    content: bytes

    def text(self) -> str:
        """The content as text.

        Raises:
            InvalidArgumentError: it is not UTF-8.
        """
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidArgumentError(f"{self.name}: not UTF-8 text", field=self.name) from None


@dataclass(slots=True)
class _Collector:
    """Callbacks of the parser; collects parts until a limit is met."""

    max_parts: int
    max_field_bytes: int
    parts: list[Part] = field(default_factory=list)
    ended: bool = False
    _count: int = 0
    _name: str = ""
    _is_file: bool = False
    _header_field: bytes = b""
    _header_value: bytes = b""
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _content: bytearray = field(default_factory=bytearray)

    def on_part_begin(self) -> None:
        self._count += 1
        if self._count > self.max_parts:
            raise TooLargeError(f"multipart body: more than {self.max_parts} parts; send fewer fields in one call")
        self._headers, self._content = {}, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._header_field.lower()] = self._header_value
        self._header_field = self._header_value = b""

    def on_headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise InvalidArgumentError("multipart body: a part without Content-Disposition: form-data and a name")
        self._name = options[b"name"].decode("utf-8", "replace")
        if len(self._name) > _MAX_NAME_CHARS:
            raise InvalidArgumentError(f"multipart body: a field name of more than {_MAX_NAME_CHARS} characters")
        self._is_file = b"filename" in options

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]
        if not self._is_file and len(self._content) > self.max_field_bytes:
            raise TooLargeError(f"{self._name}: more than {self.max_field_bytes} bytes of text in one field")

    def on_part_end(self) -> None:
        self.parts.append(Part(self._name, self._is_file, bytes(self._content)))
        self._content = bytearray()

    def on_end(self) -> None:
        self.ended = True


async def read_multipart(
    content_type: str, chunks: AsyncIterator[bytes], *, max_parts: int, max_field_bytes: int
) -> list[Part]:
    """Read all parts of a body.

    Args:
        content_type: the request's header, with its boundary.
        chunks: the body; its own limits hold for files.
        max_parts: fields and files together.
        max_field_bytes: of one field that is not a file.

    Raises:
        InvalidArgumentError: no boundary, or not multipart as it says.
        TooLargeError: too many parts, or a field over its limit.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise InvalidArgumentError("Content-Type: multipart/form-data without a boundary; let your client set it")
    collector = _Collector(max_parts, max_field_bytes)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": collector.on_part_begin,
            "on_part_data": collector.on_part_data,
            "on_part_end": collector.on_part_end,
            "on_header_field": collector.on_header_field,
            "on_header_value": collector.on_header_value,
            "on_header_end": collector.on_header_end,
            "on_headers_finished": collector.on_headers_finished,
            "on_end": collector.on_end,
        },
    )
    try:
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise InvalidArgumentError(f"multipart body: not readable ({error})") from error
    if not collector.ended:
        raise InvalidArgumentError("multipart body: it ends before its last boundary; was the upload cut off?")
    return collector.parts
