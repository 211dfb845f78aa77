import numpy as np
import pytest
from vlp_server.engines.triton_shapes import with_sizes, without_sizes
from vlp_spec.tensors import TensorSpec


@pytest.mark.parametrize(
    ("shape", "dims", "sent"),
    [
        ((3,), ("batch",), (3, 1)),
        ((3, 1), ("batch", 1), (3, 1)),
        ((3, 4), ("batch", "text"), (3, 4)),
        ((2, 4, 5), ("batch", "patches", 5), (2, 4, 5)),
        ((0,), ("batch",), (0, 1)),
    ],
)
def test_an_array_goes_with_sizes_and_comes_back_as_its_spec_says(
    shape: tuple[int, ...], dims: tuple[int | str, ...], sent: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    there = with_sizes(array)
    back = without_sizes(there, TensorSpec("x", "float32", dims))
    assert there.shape == sent
    assert back.shape == shape
    np.testing.assert_array_equal(back, array)
