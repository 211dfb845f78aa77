"""The graphs of a BLIP, one by one: their modules, and the names, shapes and examples of what goes in and out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_text import MedModel
from vlp_pipeline.blip_inputs import IMAGE_STATES, PIXELS, QUESTION_IDS, QUESTION_MASK, SEEN_STATES
from vlp_pipeline.decoder_rows import BEAMS_AXIS, PAST_AXIS, TOKENS_AXIS
from vlp_pipeline.dual_encoder import OUTPUTS
from vlp_pipeline.generative import (
    AT_MASK,
    CROSS_ROLE,
    DECODER_ROLE,
    FUSION_ROLE,
    PAIR_ROLE,
    QUESTION_ROLE,
    TEXT_ROLE,
    VISION_ROLE,
)
from vlp_pipeline.label_scores import ITM_LOGITS, REASONING_LOGITS
from vlp_pipeline.pipeline import PAIR_PREFIXES, TEXT_AXIS, TEXTS_AXIS
from vlp_spec.tensors import Dim, TensorSpec

from vlp_export import blip_graphs
from vlp_export.plan import GraphPlan

# What the graphs are traced with: no two axes of one size, so that none is taken for another.
_TRACED = {"batch": 2, TEXTS_AXIS: 3, BEAMS_AXIS: 3, TOKENS_AXIS: 4, TEXT_AXIS: 5, PAST_AXIS: 6}
_VALUE = {"float32": 0.5, "int32": 1, "uint8": 0}
_TEXT_EMBEDS = OUTPUTS[TEXT_ROLE]
_IMAGE_EMBEDS = OUTPUTS["image"]


class BlipParts:
    """Makes the graphs of one model."""

    def __init__(self, model: BlipModel) -> None:
        self._model = model
        self._config = model.config
        text = self._config.hf.text_config
        self._layers, self._heads = text.num_hidden_layers, text.num_attention_heads
        self._head_size = text.hidden_size // text.num_attention_heads

    def vision(self) -> GraphPlan:
        """Pixels to states."""
        return _graph(VISION_ROLE, blip_graphs.VisionGraph(self._model), self._pixels(), [self._states(IMAGE_STATES)])

    def match_vision(self) -> GraphPlan:
        """Pixels to states and an embedding."""
        outputs = [self._states(IMAGE_STATES), self._embeds(_IMAGE_EMBEDS)]
        return _graph(VISION_ROLE, blip_graphs.MatchVisionGraph(self._model), self._pixels(), outputs)

    def cross(self, reader: MedModel) -> GraphPlan:
        """States to what the blocks of a text part look at."""
        return _graph(
            CROSS_ROLE, blip_graphs.CrossGraph(reader), [self._states(SEEN_STATES)], self._seen("cross", self._picture)
        )

    def question(self) -> GraphPlan:
        """Questions about a picture to what the decoder looks at."""
        outputs = self._blocks("question", (TEXTS_AXIS, self._heads, TEXT_AXIS, self._head_size))
        return _graph(QUESTION_ROLE, blip_graphs.QuestionGraph(self._model), self._looking(), outputs)

    def fusion(self) -> GraphPlan:
        """Texts about a picture to whether they fit."""
        outputs = [TensorSpec(ITM_LOGITS, "float32", ("batch", TEXTS_AXIS, 2))]
        return _graph(FUSION_ROLE, blip_graphs.FusionGraph(self._model), self._looking(), outputs)

    def text(self) -> GraphPlan:
        """A text to an embedding."""
        return _graph(TEXT_ROLE, blip_graphs.TextGraph(self._model), _text_inputs(), [self._embeds(_TEXT_EMBEDS)])

    def pair(self) -> GraphPlan:
        """Two pictures' states and a statement to whether it is true."""
        inputs = [*(self._states(f"{side}states") for side in PAIR_PREFIXES), *_text_inputs()]
        outputs = [TensorSpec(REASONING_LOGITS, "float32", ("batch", 2))]
        return _graph(PAIR_ROLE, blip_graphs.PairGraph(self._model), inputs, outputs)

    def decoder(self, *, masked: bool) -> GraphPlan:
        """Texts so far, and what they look at, to the next words; `masked` where that is a question."""
        past = (BEAMS_AXIS, self._heads, PAST_AXIS, self._head_size)
        new = (BEAMS_AXIS, self._heads, TOKENS_AXIS, self._head_size)
        inputs = [
            TensorSpec("input_ids", "int32", ("batch", BEAMS_AXIS, TOKENS_AXIS)),
            TensorSpec("past_lengths", "int32", ("batch",)),
            *self._blocks("past", past),
            *self._seen("at", TEXT_AXIS if masked else self._picture),
        ]
        if masked:
            inputs.append(TensorSpec(AT_MASK, "int32", ("batch", TEXT_AXIS)))
        logits = TensorSpec("logits", "float32", ("batch", BEAMS_AXIS, TOKENS_AXIS, self._config.vocab_size))
        module = blip_graphs.DecoderGraph(self._model, masked=masked)
        return _graph(DECODER_ROLE, module, inputs, [logits, *self._blocks("new", new)])

    @property
    def _picture(self) -> int:
        return self._config.image_states

    def _pixels(self) -> list[TensorSpec]:
        side = self._config.image_size
        return [TensorSpec(PIXELS, "uint8", ("batch", side, side, 3))]

    def _states(self, name: str) -> TensorSpec:
        return TensorSpec(name, "float32", ("batch", self._picture, self._config.hf.vision_config.hidden_size))

    def _embeds(self, name: str) -> TensorSpec:
        return TensorSpec(name, "float32", ("batch", self._config.dimension))

    def _looking(self) -> list[TensorSpec]:
        return [
            TensorSpec(QUESTION_IDS, "int32", ("batch", TEXTS_AXIS, TEXT_AXIS)),
            TensorSpec(QUESTION_MASK, "int32", ("batch", TEXTS_AXIS, TEXT_AXIS)),
            *self._seen("looked", self._picture),
        ]

    def _seen(self, name: str, states: Dim) -> list[TensorSpec]:
        """Keys and values of something that all texts of a row look at alike."""
        return self._blocks(name, (self._heads, states, self._head_size))

    def _blocks(self, name: str, shape: tuple[Dim, ...]) -> list[TensorSpec]:
        """Keys and values of every block, with the batch in front."""
        return [
            TensorSpec(f"{name}_{kind}_{layer}", "float32", ("batch", *shape))
            for layer in range(self._layers)
            for kind in ("key", "value")
        ]


def _text_inputs() -> list[TensorSpec]:
    return [TensorSpec(name, "int32", ("batch", TEXT_AXIS)) for name in ("input_ids", "text_mask")]


def _graph(role: str, module: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> GraphPlan:
    """A plan with an example of valid arrays: values do not matter, and small ones trace fast."""
    example = {
        spec.name: np.full(
            [_TRACED[size] if isinstance(size, str) else size for size in spec.shape], _VALUE[spec.dtype], spec.dtype
        )
        for spec in inputs
    }
    return GraphPlan(role, module.eval(), tuple(inputs), tuple(outputs), example, plain_attention=True)
