"""Texts that a decoder reads, as a row of its graph: beginnings, steps, and given answers side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vlp_pipeline.generative import DECODER_ROLE, DecoderShape, LookedAt
from vlp_pipeline.pipeline import TEXT_AXIS, Item

BEAMS_AXIS, TOKENS_AXIS, PAST_AXIS = "beams", "tokens", "past"


def decoder_item(
    shape: DecoderShape, looked_at: LookedAt, input_ids: np.ndarray, past: Mapping[str, np.ndarray] | None = None
) -> Item:
    """Texts about one thing as one row of "decoder".

    Args:
        shape: of the decoder.
        looked_at: what all of them look at.
        input_ids: (texts, tokens) int32; the start token first, where there is no past.
        past: the row of outputs new_key_{l} and new_value_{l} for what was read before, all of it; None for nothing.
    """
    names = [f"{kind}_{layer}" for layer in range(shape.layers) for kind in ("key", "value")]
    if past is None:
        # One position that is masked: an axis of no size is none to every backend.
        nothing = np.zeros((len(input_ids), shape.heads, 1, shape.head_size), np.float32)
        states, length, size = {f"past_{name}": nothing for name in names}, 0, 1
    else:
        states = {f"past_{name}": past[f"new_{name}"] for name in names}
        length = size = int(states["past_key_0"].shape[2])
    arrays = {"input_ids": input_ids, "past_lengths": np.array(length, np.int32), **states, **looked_at.arrays}
    sizes = {BEAMS_AXIS: input_ids.shape[0], TOKENS_AXIS: input_ids.shape[1], PAST_AXIS: size}
    if shape.masked:
        sizes[TEXT_AXIS] = int(looked_at.arrays["at_key_0"].shape[1])
    return Item(arrays, sizes, DECODER_ROLE)
