"""What is refused before it is parsed: the parser itself would take its time, and the memory."""

from __future__ import annotations

import pytest
from vlp_server.oip.gate import FreePass
from vlp_server.oip.grpc_messages import message_class
from vlp_server.oip.grpc_records import parse_infer_request, read_request
from vlp_server.oip.wire_fields import MAX_FIELDS, check_fields
from vlp_spec.errors import InvalidArgumentError, TooLargeError

REQUEST = message_class("ModelInferRequest")
NUMBER = {field.name: field.number for field in REQUEST.DESCRIPTOR.fields}
CONTENTS = {field.name: field.number for field in message_class("InferTensorContents").DESCRIPTOR.fields}


def part(number: int, content: bytes) -> bytes:
    size = len(content)
    length = b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def empty_inputs() -> bytes:
    return part(NUMBER["inputs"], b"") * (MAX_FIELDS + 1)


def empty_elements() -> bytes:
    contents = part(CONTENTS["bytes_contents"], b"") * MAX_FIELDS
    return part(NUMBER["inputs"], part(5, contents))


@pytest.mark.parametrize("made", [empty_inputs, empty_elements])
async def test_very_many_fields_are_refused(made: object) -> None:
    data = made()  # type: ignore[operator]
    REQUEST.FromString(data)
    with pytest.raises(TooLargeError, match="fields"):
        await parse_infer_request(data, FreePass())


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\x0a", b"\x0a\xff\xff\xff\x0f", b"\x0b\x0c\x0f", b"\x0d\x01"])
def test_broken_bytes_are_left_to_the_parser(data: bytes) -> None:
    check_fields(data, REQUEST.DESCRIPTOR)


async def test_large_messages_are_read_and_broken_ones_refused() -> None:
    message = REQUEST(model_name="m", id="i")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 100_000])
    tensor.contents.fp32_contents.extend([0.5] * 100_000)
    message.parameters["timeout"].int64_param = -1
    data = message.SerializeToString()
    assert await parse_infer_request(data, FreePass()) == message
    with pytest.raises(InvalidArgumentError, match="no message"):
        await parse_infer_request(data[:-1], FreePass())


class Counting(FreePass):
    def __init__(self) -> None:
        self.held = 0

    def take(self, size_bytes: int, /) -> None:
        self.held += size_bytes


@pytest.mark.parametrize(("field", "value", "times"), [("int64_contents", 1, 8), ("bytes_contents", b"a" * 100, 1)])
async def test_numbers_are_counted_as_what_they_take_in_memory(field: str, value: object, times: int) -> None:
    message = REQUEST()
    getattr(message.inputs.add().contents, field).extend([value] * 100_000 if times > 1 else [value] * 10_000)
    data = message.SerializeToString()
    passed = Counting()
    await parse_infer_request(data, passed)
    assert passed.held == pytest.approx(times * len(data), rel=0.5)
    raw = REQUEST(raw_input_contents=[data])
    passed = Counting()
    await parse_infer_request(raw.SerializeToString(), passed)
    assert passed.held == pytest.approx(len(data), rel=0.01)


def test_values_become_no_objects_before_their_number_is_checked() -> None:
    message = REQUEST()
    tensor = message.inputs.add(name="x", datatype="BOOL", shape=[1])
    tensor.contents.bool_contents.extend([True] * 3)
    (read,) = read_request(message).inputs
    assert not isinstance(read.values, list)
    assert list(read.values or ()) == [True] * 3
