from __future__ import annotations

import json
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.grpc.structs import read_struct, write_struct

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_what_is_written_reads_back_with_its_types(values: dict[str, Any]) -> None:
    back = read_struct(write_struct(values))
    assert back == values
    assert json.dumps(back, sort_keys=True) == json.dumps(values, sort_keys=True)


def test_fractions_stay_and_whole_numbers_are_integers() -> None:
    struct = Struct(fields={"a": Value(number_value=2.0), "b": Value(number_value=0.5), "c": Value(number_value=1e300)})
    read = read_struct(struct)
    assert read == {"a": 2, "b": 0.5, "c": 1e300}
    assert [type(read[name]) for name in "abc"] == [int, float, float]


def test_numbers_that_are_not_finite_are_left_to_be_refused() -> None:
    assert read_struct(Struct(fields={"a": Value(number_value=float("inf"))})) == {"a": float("inf")}


def test_a_value_that_says_nothing_is_null() -> None:
    assert read_struct(Struct(fields={"a": Value()})) == {"a": None}
