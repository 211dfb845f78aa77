"""google.protobuf.Struct <-> JSON values. Its numbers are all doubles: whole ones are read as integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from vlp_spec.errors import TooLargeError

# Beyond, not every integer is a double.
_EXACT = 2.0**53
# Most bytes that a message has for one of JSON text: eleven for a number of one digit and its comma.
_BYTES_A_CHAR = 6


def read_struct(struct: Struct) -> dict[str, Any]:
    """The JSON object, as deep as protobuf reads it. Numbers that are not finite stay, for others to refuse."""
    return {name: _read(value) for name, value in struct.fields.items()}


def check_struct(name: str, struct: Struct, max_json_bytes: int) -> None:
    """Refuse a message that cannot be so little JSON, before it is made into Python's objects.

    Raises:
        TooLargeError: it has more bytes.
    """
    size_bytes, limit = struct.ByteSize(), _BYTES_A_CHAR * max_json_bytes
    if size_bytes > limit:
        raise TooLargeError(f"{name}: {size_bytes} bytes, at most {limit} are accepted")


def write_struct(values: Mapping[str, Any]) -> Struct:
    """The message of a JSON object whose integers have 64 bits at most."""
    return Struct(fields={name: _write(value) for name, value in values.items()})


def _read(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return read_struct(value.struct_value)
    if kind == "list_value":
        return [_read(one) for one in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    return value.string_value if kind == "string_value" else value.bool_value if kind == "bool_value" else None


def _write(value: Any) -> Value:
    if value is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=float(value))
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, Mapping):
        return Value(struct_value=write_struct(value))
    return Value(list_value=ListValue(values=[_write(one) for one in value]))
