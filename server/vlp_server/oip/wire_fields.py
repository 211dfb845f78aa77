"""Counts the fields of a message, and what it will hold, before it is parsed.

A field of two bytes may become a message of a hundred: 28 MiB of empty inputs would take 2 GiB, and seconds in which
nothing else of the process goes on. Numbers that are packed are one field, however many they are.
"""

from __future__ import annotations

from typing import Any

from vlp_spec.errors import TooLargeError

# More than any request has that is answered; each costs the count a microsecond.
MAX_FIELDS = 65_536
_MAX_VARINT = 10
_FIXED = {1: 8, 5: 4}
_GROUP_ENDS = (3, 4)


def check_fields(data: bytes, descriptor: Any) -> int:
    """Refuse a message of too many fields, those of its inner messages counted in. Broken bytes are the parser's.

    Args:
        descriptor: of the message.

    Returns:
        how many of its bytes are in no field of bytes, but maybe numbers, which take more in memory than on the wire.

    Raises:
        TooLargeError: it has more than `MAX_FIELDS`.
    """
    left, plain = MAX_FIELDS, 0
    spans = [(0, len(data), descriptor)]
    while spans:
        at, end, kind = spans.pop()
        known = kind.fields_by_number
        while at < end:
            if not left:
                raise TooLargeError(f"the request has more than {MAX_FIELDS} fields; send tensors as raw contents")
            left -= 1
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire in _FIXED:
                at += _FIXED[wire]
            elif wire == 0:
                at = _varint(data, at)[1]
            elif wire == 2:
                size, at = _varint(data, at)
                field = known.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    spans.append((at, min(at + size, end), field.message_type))
                elif field is not None and field.type == field.TYPE_BYTES:
                    plain += min(size, max(0, end - at))
                at += size
            elif wire not in _GROUP_ENDS:
                break
    return len(data) - plain


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends; behind the end of the bytes it is 0."""
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, at + index + 1
    return value, at + _MAX_VARINT
