"""The decoder of a dummy that writes: a few lines of arithmetic in place of attention.

What comes next depends on every token before, on their places and on the picture, as with a real one, so that states
that are mixed up, lost or stale change its words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import AT_MASK

from vlp_server.engines.base import Feeds, Outputs

_SHARPNESS = 3.0


def decode(feeds: Feeds, vocabulary: int) -> Outputs:
    """One call of the decoder's graph.

    Args:
        feeds: as the table in vlp_pipeline.generative says.
        vocabulary: words that it knows.

    Returns:
        logits (batch, beams, tokens, vocabulary) float32, between -3 and 3, and the new keys and values.
    """
    ids, lengths = feeds["input_ids"], feeds["past_lengths"]
    batch, beams, tokens = ids.shape
    layers = sum(name.startswith("past_key_") for name in feeds)
    heads, past, size = feeds["past_key_0"].shape[2:]
    places = lengths[:, None, None] + np.arange(tokens)
    made = (ids + 1.0) * (places + 1.0)  # (batch, beams, tokens)
    is_real = np.arange(past) < lengths[:, None]
    outputs: Outputs = {}
    history = np.zeros(ids.shape)
    for layer in range(layers):
        for kind in ("key", "value"):
            new = np.broadcast_to(made[:, :, None, :, None] + layer, (batch, beams, heads, tokens, size))
            outputs[f"new_{kind}_{layer}"] = np.ascontiguousarray(new, np.float32)
            before = feeds[f"past_{kind}_{layer}"][..., 0].mean(axis=2) * is_real[:, None]
            history += before.sum(axis=2, keepdims=True) + np.cumsum(made + layer, axis=2)
    phase = 0.37 * history + _seen(feeds, layers)[:, None, None]
    waves = np.sin(phase[..., None] * (1 + 0.13 * np.arange(vocabulary)))
    outputs["logits"] = (_SHARPNESS * waves).astype(np.float32)
    return outputs


def _seen(feeds: Feeds, layers: int) -> NDArray[Any]:
    """(batch,): the sum of what is looked at, a mean over blocks, keys and values."""
    mask = feeds.get(AT_MASK, np.ones((1, 1)))
    looked = [feeds[f"at_{kind}_{layer}"][:, 0, :, 0] * mask for layer in range(layers) for kind in ("key", "value")]
    return np.asarray(np.sum(looked, axis=0).sum(axis=1) / len(looked))
