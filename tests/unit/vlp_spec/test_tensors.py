import pytest
from vlp_spec.tensors import DTYPES, Dim, TensorSpec


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_dtypes(dtype: str) -> None:
    assert TensorSpec("x", dtype, ("batch", "text", 3)).dtype == dtype


@pytest.mark.parametrize("dtype", ["", "float", "float64", "INT32", "bfloat16"])
def test_unknown_dtypes(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"tensor 'x': dtype {dtype!r} is none of uint8"):
        TensorSpec("x", dtype, ("batch",))


@pytest.mark.parametrize("shape", [(), (1,), ("text", "batch"), (1, "batch")])
def test_the_first_axis_is_the_batch(shape: tuple[Dim, ...]) -> None:
    with pytest.raises(ValueError, match="axis 0 must be 'batch'"):
        TensorSpec("x", "int32", shape)
