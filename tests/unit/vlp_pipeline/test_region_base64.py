from __future__ import annotations

import base64

import numpy as np
import pytest
from vlp_pipeline.region_base64 import decode_floats, split_rows
from vlp_spec.errors import InvalidArgumentError, TooLargeError

NUMBERS = np.array([1.5, -2.0, 3.25, 0.0, 7.0, 9.0], dtype="<f4")
TEXT = base64.b64encode(NUMBERS.tobytes())


def test_numbers_come_back() -> None:
    for text in (TEXT, TEXT.decode()):
        np.testing.assert_array_equal(decode_floats(text, "features", 24), NUMBERS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("no base64!", "features: not base64"),
        ("é" * 8, "features: not base64"),
        (f"b'{TEXT.decode()}'", "features: not base64"),
        (TEXT.decode()[:-1], "features: not base64"),
        (TEXT.decode() + "\n", "features: not base64"),
        ("AAAA", "3 bytes of base64 are no whole number of float32"),
    ],
)
def test_what_is_no_base64_of_floats_is_refused(text: str, names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=names):
        decode_floats(text, "features", 1000)


def test_a_long_text_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(TooLargeError, match="features: 32 characters, at most 20 bytes"):
        decode_floats(TEXT, "features", 20)


def test_numbers_are_shared_out_among_regions() -> None:
    assert split_rows(NUMBERS, 3, "features").tolist() == [[1.5, -2.0], [3.25, 0.0], [7.0, 9.0]]
    for rows in (0, 4, 7):
        with pytest.raises(InvalidArgumentError, match=f"features: 6 numbers for {rows} regions"):
            split_rows(NUMBERS, rows, "features")
    with pytest.raises(InvalidArgumentError, match="0 numbers for 3 regions"):
        split_rows(NUMBERS[:0], 3, "features")
