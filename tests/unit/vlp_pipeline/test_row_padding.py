from __future__ import annotations

import numpy as np
from vlp_pipeline.pipeline import Item
from vlp_pipeline.row_padding import stack_rows
from vlp_spec.tensors import TensorSpec

INPUTS = (
    TensorSpec("ids", "int32", ("batch", "beams", "tokens")),
    TensorSpec("length", "int32", ("batch",)),
    TensorSpec("past", "float32", ("batch", "beams", 2, "past", 3)),
    TensorSpec("seen", "float32", ("batch", 2, 3)),
)


def row(beams: int, tokens: int, past: int) -> Item:
    rng = np.random.default_rng(beams)
    arrays = {
        "ids": rng.integers(1, 9, (beams, tokens)).astype(np.int32),
        "length": np.array(past, np.int32),
        "past": rng.normal(size=(beams, 2, past, 3)).astype(np.float32),
        "seen": rng.normal(size=(2, 3)).astype(np.float32),
    }
    return Item(arrays, {"beams": beams, "tokens": tokens, "past": past})


def test_every_named_axis_grows_and_the_rest_stays() -> None:
    items = [row(1, 4, 2), row(3, 1, 5)]
    batch = stack_rows(items, INPUTS, {"beams": 3, "tokens": 4, "past": 8}, {"ids": 7})
    assert {name: array.shape for name, array in batch.items()} == {
        "ids": (2, 3, 4),
        "length": (2,),
        "past": (2, 3, 2, 8, 3),
        "seen": (2, 2, 3),
    }
    assert batch["length"].tolist() == [2, 5]
    for index, item in enumerate(items):
        beams, tokens, past = (item.sizes[axis] for axis in ("beams", "tokens", "past"))
        np.testing.assert_array_equal(batch["ids"][index, :beams, :tokens], item.arrays["ids"])
        np.testing.assert_array_equal(batch["past"][index, :beams, :, :past], item.arrays["past"])
        np.testing.assert_array_equal(batch["seen"][index], item.arrays["seen"])
    assert (batch["ids"][0, 1:] == 7).all()
    assert (batch["ids"][1, :, 1:] == 7).all()
    assert not batch["past"][0, 1:].any()
    assert not batch["past"][0, :, :, 2:].any()
    for spec in INPUTS:
        assert batch[spec.name].dtype == spec.dtype
        assert batch[spec.name].flags.c_contiguous


def test_one_row_is_itself() -> None:
    item = row(2, 3, 4)
    for name, array in stack_rows([item], INPUTS, item.sizes, {}).items():
        np.testing.assert_array_equal(array[0], item.arrays[name])
