"""The dummy's decoder with a hold on it: calls are counted, wait at a gate, or fail."""

import threading

import numpy as np
from vlp_pipeline.generation import DecodingPlan, begin_generation
from vlp_pipeline.generative import DecoderShape, LookedAt
from vlp_server.engines.dummy_decoder import decode

VOCABULARY, START, END, PAD = 23, 1, 2, 0
POISON = 22
"""A picture's number that makes its logits NaN."""


class NumberDecoder:
    """`run` is one call of the graph."""

    def __init__(self, *, masked=False, layers=2):
        self.shape = DecoderShape(layers=layers, heads=2, head_size=3, masked=masked)
        self.calls, self.fault = [], None
        self.entered, self.go, self.gated = threading.Semaphore(0), threading.Semaphore(0), False

    def looks_at(self, number, states=4):
        arrays = {}
        for layer in range(self.shape.layers):
            for kind in ("key", "value"):
                arrays[f"at_{kind}_{layer}"] = np.full((2, states, 3), number, np.float32)
        if self.shape.masked:
            arrays["at_mask"] = np.ones(states, np.int32)
        return LookedAt(arrays)

    def run(self, feeds):
        if self.gated:
            self.entered.release()
            self.go.acquire(timeout=10)
        ids = feeds["input_ids"]
        self.calls.append(ids.shape)
        if self.fault is not None:
            raise self.fault
        for name, array in feeds.items():
            assert array.flags.c_contiguous, name
            assert len(array) == len(ids), name
        outputs = decode(feeds, VOCABULARY)
        is_poisoned = (feeds["at_key_0"][:, 0, 0, 0] == POISON)[:, None, None, None]
        outputs["logits"] = np.where(is_poisoned, np.nan, outputs["logits"])
        return outputs

    def write_alone(self, looked_at, beginning, plan):
        """The texts without any cache: every step reads everything again."""
        generation = begin_generation(plan, beginning)
        texts = [list(beginning)] * generation.rows
        step = generation.start(self._last_logits(looked_at, texts[:1])[0])
        texts = [[*text, int(token)] for text, token in zip(texts, step.tokens, strict=True)]
        while not step.done:
            step = generation.advance(self._last_logits(looked_at, texts))
            texts = [[*texts[parent], int(token)] for parent, token in zip(step.parents, step.tokens, strict=True)]
        return generation.texts()

    def _last_logits(self, looked_at, texts):
        ids = np.array(texts, np.int32)[None]
        nothing = np.zeros((1, len(texts), 2, 1, 3), np.float32)
        feeds = {name: array[None] for name, array in looked_at.arrays.items()}
        feeds |= {f"past_{kind}_{layer}": nothing for layer in range(self.shape.layers) for kind in ("key", "value")}
        return self.run(feeds | {"input_ids": ids, "past_lengths": np.zeros(1, np.int32)})["logits"][0, :, -1]


def plan(max_tokens=8, **wanted):
    """A DecodingPlan of the decoder's vocabulary."""
    defaults = {
        "min_tokens": 0,
        "num_beams": 1,
        "num_texts": 1,
        "length_penalty": 1.0,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
    }
    return DecodingPlan(max_tokens=max_tokens, end_id=END, pad_id=PAD, **(defaults | wanted))
