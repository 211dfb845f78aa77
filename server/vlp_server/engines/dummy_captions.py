"""The dummy that writes: its words are numbers, and what it writes depends on the picture and the prompt alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from vlp_pipeline.generation import DecodingPlan, GeneratedText, fill_decoding
from vlp_pipeline.generative import CROSS_ROLE, VISION_ROLE, LookedAt
from vlp_pipeline.pipeline import Item, PreparedImage
from vlp_spec.errors import TooLargeError
from vlp_spec.tasks import CaptionQuery, CaptionResult, Decoding, ScoredCaption

from vlp_server.engines.dummy_arrays import DummyArrays, output_of

START_TOKEN, END_TOKEN, PAD_TOKEN = 1, 2, 0
POSITIONS = 600
_DEFAULTS = Decoding(max_tokens=8, min_tokens=1, num_beams=1, length_penalty=1.0)


class DummyCaptionPipeline(DummyArrays):
    """See vlp_pipeline.generative.CaptionPipeline."""

    def vision_item(self, image: PreparedImage) -> Item:
        """A picture for the graph with role "vision"."""
        return Item(image.arrays, image.sizes, VISION_ROLE)

    def cross_item(self, outputs: Mapping[str, np.ndarray]) -> Item:
        """What was seen for the graph with role "cross"."""
        return Item({"seen_states": output_of(outputs, "image_states")}, {}, CROSS_ROLE)

    def looked_at(self, cross: Mapping[str, np.ndarray]) -> LookedAt:
        """What the decoder looks at."""
        return LookedAt({f"at_{kind}_0": output_of(cross, f"cross_{kind}_0") for kind in ("key", "value")})

    def begin(self, query: CaptionQuery) -> np.ndarray:
        """The start token and the words of the prompt."""
        words = self._words(query.prompt, "prompt")["input_ids"] if query.prompt else np.zeros(0, np.int32)
        if len(words) + 2 > POSITIONS:
            raise TooLargeError(f"prompt: {len(words)} words, at most {POSITIONS - 2} are taken")
        return np.concatenate([np.array([START_TOKEN], np.int32), words])

    def plan(self, query: CaptionQuery, prompt_tokens: int) -> DecodingPlan:
        """The query's decoding with the dummy's defaults."""
        return fill_decoding(
            query.decoding,
            _DEFAULTS,
            num_texts=query.num_captions,
            room=self.room(prompt_tokens),
            end_id=END_TOKEN,
            pad_id=PAD_TOKEN,
        )

    def room(self, prompt_tokens: int) -> int:
        """Tokens that can follow a prompt."""
        return POSITIONS - prompt_tokens

    def text_of(self, query: CaptionQuery, tokens: Sequence[int]) -> str:
        """The prompt, and each token as its number."""
        return " ".join([*query.prompt.split(), *map(str, tokens)])

    def result(self, query: CaptionQuery, texts: Sequence[GeneratedText]) -> CaptionResult:
        """The captions."""
        return CaptionResult(
            tuple(
                ScoredCaption(self.text_of(query, text.tokens), text.score, len(text.tokens), text.ended)
                for text in texts
            )
        )
