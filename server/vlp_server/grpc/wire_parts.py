"""How many parts a message has, counted in its bytes before it is read.

A part is whatever has a tag of its own: a text, a number, an element of a list, a message with nothing in it. On the
wire that is two bytes, in memory tens of them, and each costs time: a few megabytes of empty parts would stop the
server for seconds and fill it. Counting ends where there are more than any call needs.
"""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from vlp_spec.errors import TooLargeError

MAX_PARTS = 262_144
# About what a part takes beside its own bytes.
PART_BYTES = 80
# As deep as protobuf itself reads.
_MAX_DEPTH = 100
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_SIZES = {_FIXED_64: 8, _FIXED_32: 4}


def count_parts(kind: Descriptor, data: bytes, most: int = MAX_PARTS) -> int | None:
    """How many parts a message of the kind has, in all its depth; None for more than so many.

    Raises:
        DecodeError: it is no message, or one as nobody writes it (groups, which are as old as protobuf 1).
    """
    count = 0
    # Where a message is being counted, where it ends, and its kind; those around it wait below.
    place, end, inside = 0, len(data), _messages_in(kind)
    around: list[tuple[int, dict[int, Descriptor]]] = []
    while True:
        while place >= end:
            if place > end:
                raise DecodeError("a part goes on after its message")
            if not around:
                return count
            end, inside = around.pop()
        count += 1
        if count > most:
            return None
        tag, place = _varint(data, place, end)
        after = _after(data, tag & 7, place, end)
        child = inside.get(tag >> 3) if tag & 7 == _LENGTH else None
        if child is None:
            place = after
            continue
        if len(around) >= _MAX_DEPTH:
            raise DecodeError("messages in messages, too deep")
        around.append((end, inside))
        _, place = _varint(data, place, end)
        end, inside = after, _messages_in(child)


def _after(data: bytes, wire: int, place: int, end: int) -> int:
    """Where a part ends whose tag is before the place."""
    if wire in _SIZES:
        return place + _SIZES[wire]
    if wire not in (_VARINT, _LENGTH):
        raise DecodeError(f"wire type {wire}")
    value, place = _varint(data, place, end)
    if wire == _VARINT:
        return place
    if value > end - place:
        raise DecodeError("a part is cut off")
    return place + value


def too_many_parts() -> TooLargeError:
    """The fault of a message that has too many."""
    return TooLargeError(f"the message has more than {MAX_PARTS} parts (values, texts, items); send several calls")


@cache
def _messages_in(kind: Descriptor) -> dict[int, Descriptor]:
    """The fields that hold messages, by number."""
    return {number: field.message_type for number, field in kind.fields_by_number.items() if field.message_type}


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A number, and the place after it."""
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise DecodeError("a number has no end")
