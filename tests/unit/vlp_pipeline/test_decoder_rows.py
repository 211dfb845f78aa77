from __future__ import annotations

import numpy as np
import pytest
from vlp_pipeline.decoder_rows import decoder_item
from vlp_pipeline.generative import DecoderShape, LookedAt
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

PICTURE = LookedAt({"at_key_0": np.ones((2, 5, 3), np.float32), "at_value_0": np.zeros((2, 5, 3), np.float32)})


def test_a_beginning_has_one_position_before_it_that_is_masked() -> None:
    ids = np.array([[9, 1, 2]], np.int32)
    item = decoder_item(DecoderShape(1, 2, 3, masked=False), PICTURE, ids)
    assert item.role == "decoder"
    assert item.sizes == {"beams": 1, "tokens": 3, "past": 1}
    assert item.arrays["past_lengths"] == 0
    assert item.arrays["past_key_0"].shape == item.arrays["past_value_0"].shape == (1, 2, 1, 3)
    assert item.arrays["at_key_0"] is PICTURE.arrays["at_key_0"]
    np.testing.assert_array_equal(item.arrays["input_ids"], ids)


def test_a_step_goes_on_from_what_the_graph_gave() -> None:
    looked_at = LookedAt({**PICTURE.arrays, "at_mask": np.ones(5, np.int32)})
    new = {"new_key_0": np.full((3, 2, 4, 3), 2.0, np.float32), "new_value_0": np.full((3, 2, 4, 3), 3.0, np.float32)}
    item = decoder_item(DecoderShape(1, 2, 3, masked=True), looked_at, np.ones((3, 1), np.int32), new)
    assert item.sizes == {"beams": 3, "tokens": 1, "past": 4, "text": 5}
    assert (item.arrays["past_lengths"].shape, int(item.arrays["past_lengths"])) == ((), 4)
    assert item.arrays["past_key_0"] is new["new_key_0"]
    assert item.arrays["past_value_0"] is new["new_value_0"]
    assert item.arrays["at_mask"].tolist() == [1] * 5


def test_a_decoders_shape_is_read_from_its_inputs() -> None:
    inputs = [
        TensorSpec("input_ids", "int32", ("batch", "beams", "tokens")),
        *(
            TensorSpec(f"past_{kind}_{layer}", "float32", ("batch", "beams", 4, "past", 8))
            for layer in range(3)
            for kind in ("key", "value")
        ),
    ]
    assert DecoderShape.of_inputs(inputs, "g") == DecoderShape(3, 4, 8, masked=False)
    inputs.append(TensorSpec("at_mask", "int32", ("batch", "text")))
    assert DecoderShape.of_inputs(inputs, "g").masked
    with pytest.raises(ArtifactError, match="graph g: past_key_0 is"):
        DecoderShape.of_inputs(inputs[:1], "g")
