"""Captions with BLIP: a picture's states, and a decoder that looks at them while it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import CaptionQuery, CaptionResult, ScoredCaption

from vlp_pipeline.blip_inputs import BlipInputs, BlipPipeline
from vlp_pipeline.decoder_rows import TOKENS_AXIS
from vlp_pipeline.decoding_plan import DecodingPlan
from vlp_pipeline.generation_steps import GeneratedText
from vlp_pipeline.generative import LookedAt
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, check_text
from vlp_pipeline.writing_settings import WritingSettings
from vlp_pipeline.written_text import join_pieces


@dataclass(frozen=True, slots=True)
class BlipCaptionPipeline(BlipPipeline):
    """The parts of one deployment; a CaptionPipeline.

    Attributes:
        settings: how it writes by itself.
        positions: tokens that a text may have, its beginning included.
    """

    settings: WritingSettings
    positions: int

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> BlipCaptionPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graphs.
        """
        inputs = BlipInputs.from_deployment(deployment, assets_dir, image_limits, text_limits)
        settings = WritingSettings.from_mapping(deployment.head)
        return cls(inputs, settings, deployment.axes[TOKENS_AXIS].max)

    def looked_at(self, cross: Mapping[str, np.ndarray]) -> LookedAt:
        """The row of outputs of "cross" as the decoder takes it."""
        return LookedAt({name.replace("cross_", "at_", 1): array for name, array in cross.items()})

    def begin(self, query: CaptionQuery) -> np.ndarray:
        """[DEC] and the prompt, or what captions of this model begin with; see CaptionPipeline.

        The prompt has no [CLS] and no [SEP] (salesforce/BLIP, models/blip.py, generate).
        """
        ids = self._prompt_ids(query)
        if query.prompt.strip() and not ids:
            raise InvalidArgumentError("prompt: holds no readable character; leave it out", field="prompt")
        if 1 + len(ids) > self.positions:
            raise TooLargeError(
                f"prompt: {len(ids)} tokens, the model reads and writes {self.positions - 1} at most; shorten it"
            )
        return np.array([self.inputs.start_id, *ids], np.int32)

    def plan(self, query: CaptionQuery, prompt_tokens: int) -> DecodingPlan:
        """The query's decoding with the model's defaults; see CaptionPipeline."""
        texts = self.inputs.text_processor
        return self.settings.plan(
            query.decoding,
            num_texts=query.num_captions,
            room=self.room(prompt_tokens),
            end_id=texts.sep_id,
            pad_id=texts.pad_id,
        )

    def room(self, prompt_tokens: int) -> int:
        """Tokens that can follow a prompt; see CaptionPipeline."""
        return self.positions - prompt_tokens + 1  # the last token is never read

    def text_of(self, query: CaptionQuery, tokens: Sequence[int]) -> str:
        """Words of generated tokens; see CaptionPipeline. More tokens only add to what there is."""
        texts = self.inputs.text_processor
        prompt = texts.tokens_of(self._prompt_ids(query))
        written = join_pieces([*prompt, *texts.tokens_of(tokens)])[len(join_pieces(prompt)) :]
        # As the caller wrote it: the vocabulary may know no capitals.
        own = query.prompt.strip()
        return own + written if own else written.lstrip()

    def result(self, query: CaptionQuery, texts: Sequence[GeneratedText]) -> CaptionResult:
        """The captions, in the order of `texts`."""
        return CaptionResult(
            tuple(
                ScoredCaption(self.text_of(query, text.tokens), text.score, len(text.tokens), text.ended)
                for text in texts
            )
        )

    def _prompt_ids(self, query: CaptionQuery) -> list[int]:
        prompt = query.prompt.strip()
        check_text(prompt, "prompt", self.inputs.text_limits)
        return self.inputs.text_processor.word_ids(prompt or self.settings.prompt)
