from __future__ import annotations

import pickle
from typing import Any

import msgpack
import numpy as np
import pytest
from vlp_models.data.msgpack_arrays import unpack_arrays, unpack_map

ARRAY = np.arange(6, dtype=np.float16).reshape(3, 2)


def _encoded(array: np.ndarray, **changed: Any) -> dict[bytes, Any]:
    """As msgpack-numpy writes it."""
    plain = {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}
    return {**plain, **{name.encode(): value for name, value in changed.items()}}


def _packed(**values: Any) -> bytes:
    packed: bytes = msgpack.packb(values, use_bin_type=True)
    return packed


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_arrays_come_back(dtype: str) -> None:
    arrays = unpack_arrays(
        _packed(features=_encoded(ARRAY.astype(dtype)), other="text", more=_encoded(ARRAY)), ["features"]
    )
    assert list(arrays) == ["features"]
    assert arrays["features"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(arrays["features"], ARRAY)


def test_the_older_form_comes_back() -> None:
    old = {"nd": True, "type": "<f2", "shape": [3, 2], "data": ARRAY.tobytes()}
    np.testing.assert_array_equal(unpack_arrays(_packed(conf=old), ["conf"])["conf"], ARRAY)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (_encoded(ARRAY, kind=b"O", type="|O", data=pickle.dumps(print)), "array of Python objects"),
        (_encoded(ARRAY, type="|O"), "array of Python objects"),
        (_encoded(ARRAY, kind=b"V", type=[["a", "<f4"]]), "expected an array of one of"),
        (_encoded(ARRAY, type="<i4"), "got type '<i4'"),
        (_encoded(ARRAY, nd=False), "expected an array"),
        (_encoded(ARRAY, nd=1), "expected an array"),
        (_encoded(ARRAY, shape=[3, 3]), r"its bytes are not those of shape \[3, 3\]"),
        (_encoded(ARRAY, shape=[-3, -2]), "its shape is no list"),
        (_encoded(ARRAY, shape=[2**62, 2**62]), "its bytes are not those"),
        (_encoded(ARRAY, shape=[True, 6]), "its shape is no list"),
        (_encoded(ARRAY, shape=b"32"), "its shape is no list"),
        (_encoded(ARRAY, shape=[1, 1, 1, 1, 6]), "its bytes are not those"),
        (_encoded(ARRAY, data="text of 12 b"), "its bytes are not those"),
        ({b"complex": True, b"data": b"1j"}, "expected an array"),
        ({}, "expected an array"),
        ([1.0, 2.0], "a msgpack list, expected an array"),
        (None, "a msgpack NoneType"),
    ],
)
def test_what_is_no_array_of_floats_is_refused(value: Any, names: str) -> None:
    with pytest.raises(ValueError, match=f"features: {names}|features: .*{names}"):
        unpack_arrays(_packed(features=value), ["features"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff\x00",
        b"\x91" * 100_000,
        b"\x81\x01\x02",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\x90\x01",
        b"\x81\xa2\xff\xff\x01",
        _packed(a=1) + b"\x01",
    ],
)
def test_what_is_no_msgpack_map_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not msgpack"):
        unpack_map(data)


def test_another_value_than_a_map_is_refused() -> None:
    with pytest.raises(ValueError, match="a msgpack list, expected a map"):
        unpack_map(msgpack.packb([1, 2]))


def test_a_map_cut_anywhere_is_refused() -> None:
    data = _packed(features=_encoded(ARRAY))
    for length in range(len(data)):
        with pytest.raises(ValueError, match="cut short"):
            unpack_map(data[:length])
