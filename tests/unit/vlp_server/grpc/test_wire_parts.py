"""Parts are counted as protobuf reads them, and no further than there may be."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import ListValue, Struct
from hypothesis import given
from hypothesis import strategies as st
from vlp_proto.vlp.v1 import collections_pb2 as pb
from vlp_proto.vlp.v1 import content_pb2
from vlp_server.grpc.structs import write_struct
from vlp_server.grpc.wire_parts import count_parts

ITEMS = pb.AddItemsRequest.DESCRIPTOR


def test_parts_of_parts_count() -> None:
    struct = write_struct({"a": 1, "b": [True, None]})
    # Two entries of a key and a value each; a number in the one, in the other a list of two values with a part each.
    assert count_parts(Struct.DESCRIPTOR, struct.SerializeToString()) == 2 * (1 + 2) + 1 + (1 + 2 * 2)
    item = pb.NewItem(id="a", metadata=struct, vector=content_pb2.Vector(values=[0.5] * 1000))
    whole = pb.AddItemsRequest(collection="c", items=[item] * 3)
    alone = count_parts(pb.NewItem.DESCRIPTOR, item.SerializeToString())
    assert alone is not None
    # Numbers that are packed are one part.
    assert alone < 20
    assert count_parts(ITEMS, whole.SerializeToString()) == 1 + 3 * (1 + alone)


def test_counting_ends_where_there_are_too_many() -> None:
    data = pb.AddItemsRequest(items=[pb.NewItem()] * 100).SerializeToString()
    assert count_parts(ITEMS, data, 100) == 100
    # Nothing behind the limit is looked at, nor needs to be a message.
    assert count_parts(ITEMS, data + b"\xff" * 10, 99) is None
    assert count_parts(ITEMS, b"") == 0


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x05a", b"\x0b\x0c", b"\x09\x00", b"\x12\x02\x0a\x05"])
def test_what_is_cut_off_or_has_groups_is_no_message(data: bytes) -> None:
    with pytest.raises(DecodeError):
        count_parts(ITEMS, data)


def test_depth_ends() -> None:
    data = b""
    for _ in range(60):
        # A list in a value, and that in a list.
        data = b"\x32" + _length(data) + data
        data = b"\x0a" + _length(data) + data
    with pytest.raises(DecodeError):
        count_parts(ListValue.DESCRIPTOR, data)


@given(st.binary(max_size=40))
def test_whatever_protobuf_reads_is_counted(data: bytes) -> None:
    try:
        count = count_parts(ITEMS, data)
    except DecodeError:
        return
    assert count is not None
    assert count <= len(data)


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size])
