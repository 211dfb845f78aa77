"""What the losses of families that write captions have in common: the words of regions, and of captions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vlp_models.families.blip_config import BlipConfig
from vlp_models.objectives.language_modelling import language_modelling_loss
from vlp_models.objectives.region_words import region_words_loss
from vlp_models.training.contrastive_losses import ContrastiveLosses
from vlp_models.training.losses import share_of, words_among_best
from vlp_models.training.recipe_objectives import LmRecipe, ObjectivesRecipe

Say = Callable[[Tensor], Tensor]
"""Token ids (B, T) that begin with [DEC], to logits (B, T, vocabulary), about pictures that were looked at before."""


class WritingLosses(ContrastiveLosses):
    """A model that writes, with its objectives.

    Args:
        model: with a decoder where `objectives.lm` is there.
        parts: sizes and special tokens.
        objectives: which ones, and their weights.
        prompt_ids: tokens that every caption begins with, without special ones.
    """

    given: Tensor
    head_prefixes = ("region_words.",)

    def __init__(
        self, model: Any, parts: BlipConfig, objectives: ObjectivesRecipe, prompt_ids: tuple[int, ...] = ()
    ) -> None:
        super().__init__(model, objectives.itc, parts.dimension)
        self.objectives, self.parts = objectives, parts
        if objectives.regions is not None:
            self.region_words = nn.Linear(parts.hf.vision_config.hidden_size, parts.vocab_size)
        self.register_buffer("given", torch.tensor([parts.tokens.start, *prompt_ids]), persistent=False)

    @abstractmethod
    def look_at(self, pixels: Tensor) -> Say:
        """How the model goes on with texts about pictures (B, H, W, 3) uint8."""

    def caption_loss(
        self, recipe: LmRecipe, logits: Tensor, words: Tensor, scale: Tensor, metrics: dict[str, Tensor]
    ) -> Tensor:
        """Of logits (N, vocabulary) for words (N,), as their share of the step's mean."""
        metrics["lm_accuracy"] = share_of(logits.argmax(-1) == words)
        return language_modelling_loss(logits.float(), words, recipe.smoothing) * scale

    def region_loss(self, patches: Tensor, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        """Of patches (B, N, vision width) in row-major order."""
        middles = patches[arrays["region_rows"], arrays["region_slots"]]
        logits, words = self.region_words(middles).float(), arrays["region_words"]
        metrics["region_recall"] = words_among_best(logits, words)
        return region_words_loss(logits, words) * arrays["region_scale"]
