from __future__ import annotations

import numpy as np
import pytest
from vlp_server.oip.datatypes import DATATYPES, NUMPY
from vlp_server.oip.records import InputTensor, OutputTensor
from vlp_server.oip.tensor_data import raw_of, read_elements, read_numbers, values_of
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tensors import DTYPES


def length(size: int) -> bytes:
    return size.to_bytes(4, "little")


def test_every_dtype_of_a_graph_has_a_datatype() -> None:
    assert set(DATATYPES) == set(DTYPES)
    assert all(NUMPY[datatype] == np.dtype(dtype) for dtype, datatype in DATATYPES.items())


@pytest.mark.parametrize("datatype", NUMPY)
def test_numbers_come_back_as_they_were_sent(datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(NUMPY[datatype])
    sent = OutputTensor("x", datatype, array.shape, array)
    for tensor in (
        InputTensor("x", datatype, (2, 3), raw=raw_of(sent)),
        InputTensor("x", datatype, (2, 3), values=values_of(sent)),
        InputTensor("x", datatype, (2, 3), values=array.tolist()),
    ):
        read = read_numbers(tensor, 6)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


def test_elements_come_back_as_they_were_sent() -> None:
    elements = [b"", b"a", "\u00e4".encode()]
    sent = OutputTensor("x", "BYTES", (3,), elements)
    assert raw_of(sent) == length(0) + length(1) + b"a" + length(2) + elements[2]
    assert read_elements(InputTensor("x", "BYTES", (3,), raw=raw_of(sent)), 3) == elements
    assert read_elements(InputTensor("x", "BYTES", (3,), values=values_of(sent)), 3) == elements


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT32", [2**31]),
        ("INT32", [-(2**31) - 1]),
        ("INT64", [2**63]),
        ("UINT8", [-1]),
        ("UINT8", [256]),
        ("INT32", [1.0]),
        ("INT32", [True]),
        ("INT32", ["1"]),
        ("INT32", [None]),
        ("BOOL", [1]),
        ("FP32", ["1"]),
        ("FP32", [1e39]),
        ("FP16", [1e6]),
        ("FP32", [10**400]),
        ("FP32", [float("nan")]),
        ("FP32", [[1.0, 2.0]]),
        ("FP32", [1.0, 2.0]),
        ("FP32", []),
        ("FP32", [[1.0], 2.0]),
        ("FP32", [[[[1.0]]]]),
        ("FP32", [{}]),
    ],
)
def test_values_that_are_none_are_refused(datatype: str, values: list[object]) -> None:
    with pytest.raises(InvalidArgumentError, match="input 'x'"):
        read_numbers(InputTensor("x", datatype, (1,), values=values), 1)


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [
        ("INT32", b"123"),
        ("INT32", b"12345"),
        ("INT32", b""),
        ("BOOL", b"\x02"),
        ("FP32", np.array([np.nan], "<f4").tobytes()),
        ("FP16", np.array([np.inf], "<f2").tobytes()),
    ],
)
def test_bytes_that_are_no_such_tensor_are_refused(datatype: str, raw: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="input 'x'"):
        read_numbers(InputTensor("x", datatype, (1,), raw=raw), 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        length(1),
        length(2) + b"a",
        length(2**32 - 1) + b"a",
        length(1) + b"ab",
        length(1) + b"a",
        length(1) + b"a" + length(1) + b"b" + length(0),
        length(0) * 3,
    ],
)
def test_lengths_that_lie_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="input 'x'"):
        read_elements(InputTensor("x", "BYTES", (2,), raw=raw), 2)


@pytest.mark.parametrize("values", [["a", 1], ["a"], ["\ud800", "a"], [["a"], "b"]])
def test_values_that_are_no_texts_are_refused(values: list[object]) -> None:
    with pytest.raises(InvalidArgumentError, match="input 'x'"):
        read_elements(InputTensor("x", "BYTES", (2,), values=values), 2)


def test_what_is_no_text_is_not_written_as_json() -> None:
    with pytest.raises(InvalidArgumentError, match="binary"):
        values_of(OutputTensor("x", "BYTES", (1,), [b"\xff"]))


def test_many_values_are_read_as_few_are() -> None:
    values = [value % 251 for value in range(200_001)]
    assert read_numbers(InputTensor("x", "UINT8", (200_001,), values=values), 200_001).tolist() == values
    values[-1] = 256
    with pytest.raises(InvalidArgumentError):
        read_numbers(InputTensor("x", "UINT8", (200_001,), values=values), 200_001)
