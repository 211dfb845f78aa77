from __future__ import annotations

import pytest
from vlp_server.oip.shapes import ShapeCheck, check_sizes
from vlp_server.oip.signatures import TensorSignature
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import InvalidArgumentError, TooLargeError

IDS = TensorSignature("input_ids", "INT32", ("batch", "text"))
MASK = TensorSignature("text_mask", "INT32", ("batch", "text"))
PIXELS = TensorSignature("pixels", "UINT8", ("batch", 4, 4, 3))
WORDS = TensorSignature("text", "BYTES", ("",))


def check() -> ShapeCheck:
    return ShapeCheck({"text": AxisLimit(4, 16, 40), "batch": AxisLimit(1, 8, 64)}, 8, max_elements=5)


def test_a_shape_that_fits_has_so_many_elements() -> None:
    one = check()
    assert one.check(IDS, "INT32", (2, 3)) == 6
    assert one.check(MASK, "INT32", (2, 3)) == 6
    assert one.check(PIXELS, "UINT8", (2, 4, 4, 3)) == 96
    assert one.check(WORDS, "BYTES", (5,)) == 5


@pytest.mark.parametrize(
    ("wanted", "datatype", "shape"),
    [
        (IDS, "INT64", (2, 3)),
        (IDS, "int32", (2, 3)),
        (IDS, "", (2, 3)),
        (IDS, "INT32", (6,)),
        (IDS, "INT32", (2, 3, 1)),
        (IDS, "INT32", ()),
        (IDS, "INT32", (2, 0)),
        (IDS, "INT32", (0, 3)),
        (IDS, "INT32", (-1, 3)),
        (IDS, "INT32", (-1, -3)),
        (PIXELS, "UINT8", (2, 4, 4, 1)),
        (PIXELS, "UINT8", (2, 2**62, 4, 3)),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(wanted: TensorSignature, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=f"input '{wanted.name}'"):
        check().check(wanted, datatype, shape)


@pytest.mark.parametrize(
    ("wanted", "datatype", "shape"),
    [(IDS, "INT32", (9, 3)), (IDS, "INT32", (1, 41)), (IDS, "INT32", (1, 2**62)), (WORDS, "BYTES", (6,))],
)
def test_a_shape_over_its_limit_is_refused(wanted: TensorSignature, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(TooLargeError, match="at most"):
        check().check(wanted, datatype, shape)


@pytest.mark.parametrize("shape", [(2, 4), (1, 3)])
def test_inputs_agree_on_their_axes(shape: tuple[int, int]) -> None:
    one = check()
    one.check(IDS, "INT32", (2, 3))
    with pytest.raises(InvalidArgumentError, match="where input 'input_ids' has"):
        one.check(MASK, "INT32", shape)


@pytest.mark.parametrize("sizes", [None, 3, "12", {}, [1.0], [True], ["1"], [None], [[1]], [2**63], [1] * 17])
def test_what_is_no_shape_is_refused(sizes: object) -> None:
    with pytest.raises(InvalidArgumentError, match="shape"):
        check_sizes("x", sizes)
