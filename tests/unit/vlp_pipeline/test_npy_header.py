from __future__ import annotations

import io

import numpy as np
import pytest
from vlp_pipeline.npy_header import npy_header, read_npy_header


def _saved(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def _with_header(text: str) -> bytes:
    body = text.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes_is_read(dtype: str, shape: tuple[int, ...], order: str) -> None:
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape), dtype=dtype, order=order)
    stream = io.BytesIO(_saved(array))
    header = read_npy_header(stream)
    assert (header.dtype, header.shape) == (np.dtype(dtype), shape)
    numbers = stream.read()
    assert len(numbers) == header.size_bytes
    np.testing.assert_array_equal(header.array(numbers), array)


@pytest.mark.parametrize("shape", [(3,), (123_456_789, 2048)])
def test_our_header_is_numpys_and_always_of_one_length(shape: tuple[int, ...]) -> None:
    written = npy_header(np.float16, shape)
    assert len(written) == 128
    stream = io.BytesIO(written)
    assert np.lib.format.read_magic(stream) == (1, 0)
    assert np.lib.format.read_array_header_1_0(stream) == (shape, False, np.dtype("<f2"))
    assert read_npy_header(io.BytesIO(written)).shape == shape


def test_lengths_as_python_2_wrote_them_are_read() -> None:
    data = _with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (100L, 2048L), }   \n")
    assert read_npy_header(io.BytesIO(data)).shape == (100, 2048)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", "cut short"),
        (b"\x93NUM", "cut short"),
        (b"PK\x03\x04 and more", "not an array"),
        (b"\x93NUMPY\x03\x00\x10\x00\x00\x00", "version 1 or 2"),
        (b"\x93NUMPY\x01\x00\x76", "within its header"),
        (b"\x93NUMPY\x01\x00\x76\x00{'descr'", "within its header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "4294967295 bytes, at most 4096"),
        (_saved(np.array([[1, "a"]], dtype=object))[:128], "Python objects"),
        (_saved(np.zeros(3, dtype=np.int64)), "'<i8'"),
        (_saved(np.zeros(3, dtype=">f4")), "'>f4'"),
        (_saved(np.zeros(3, dtype=[("a", "<f4")])), "plain array"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (-1, 2048), }"), r"shape \(-1, 2048\)"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (1 2), }"), "plain array"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (1e3,), }"), "plain array"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (" + "9" * 19 + ",), }"), "plain array"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (" + "0" * 4000 + "x"), "plain array"),
        (_with_header("{'descr': '<f2', 'fortran_order': False, 'shape': (1" + " " * 4000 + "x"), "plain array"),
        (_with_header("__import__('os').abort()"), "plain array"),
    ],
)
def test_what_is_no_header_of_floats_is_refused(data: bytes, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        read_npy_header(io.BytesIO(data))


def test_an_enormous_shape_allocates_nothing() -> None:
    header = read_npy_header(io.BytesIO(npy_header(np.float32, (10**12, 10**6))))
    assert header.size_bytes == 4 * 10**18
