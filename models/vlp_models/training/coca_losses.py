"""CoCa's objectives in one place: one pass over pictures and one over texts give both of its losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vlp_models.families.coca import CocaModel
from vlp_models.objectives.language_modelling import next_tokens
from vlp_models.training.contrastive_losses import gather_pairs
from vlp_models.training.losses import Batch, Weighted, total_loss
from vlp_models.training.recipe_objectives import LmRecipe, ObjectivesRecipe
from vlp_models.training.writing_losses import Say, WritingLosses


class CocaLosses(WritingLosses):
    """A CoCa with its objectives.

    Args:
        model: its temperature is trained with it.
        objectives: which ones, and their weights; in the paper 1 for "itc" and 2 for "lm".

    Source: Yu et al. 2022 (arXiv:2205.01917), eq. 4.
    """

    model: CocaModel

    def __init__(self, model: CocaModel, objectives: ObjectivesRecipe) -> None:
        super().__init__(model, model.config.parts, objectives)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; the one stream is that of vlp_models.data.pairs."""
        arrays = batch["pairs"]
        losses: Weighted = {}
        metrics: dict[str, Tensor] = {}
        image = self.model.encode_image(arrays["pixels"])
        hidden, text_embeds = self.model.read(arrays["input_ids"], arrays["text_mask"])
        lm, itc, regions = self.objectives.lm, self.objectives.itc, self.objectives.regions
        if lm is not None:
            losses["lm"] = (self._say(lm, hidden, image.states, arrays, metrics), lm.weight)
        if regions is not None:
            losses["regions"] = (self.region_loss(image.patches[:, 1:], arrays, metrics), regions.weight)
        if itc is not None:
            pairs = gather_pairs(image.embeds, text_embeds)
            losses["itc"] = (self.contrast(itc, pairs, arrays, metrics), itc.weight)
        return total_loss(losses, metrics)

    def embed(self, model: CocaModel, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See ContrastiveLosses."""
        image = model.encode_image(arrays["pixels"])
        return image.embeds, model.text_embeds(arrays["input_ids"], arrays["text_mask"])

    def look_at(self, pixels: Tensor) -> Say:
        """See WritingLosses."""
        cross = self.model.text.cross_states(self.model.encode_image(pixels).states)
        return lambda ids: self.model.decode(ids[:, None], cross)[:, 0]

    def _say(
        self,
        recipe: LmRecipe,
        hidden: Tensor,
        states: Tensor,
        arrays: Mapping[str, Tensor],
        metrics: dict[str, Tensor],
    ) -> Tensor:
        # The class token, at the end, is read by nobody: what comes after it is not said.
        _, said, is_said = next_tokens(arrays["input_ids"], arrays["text_mask"], num_given=1)
        looked = self.model.say(hidden[:, :-1], self.model.text.cross_states(states))
        logits = self.model.word_logits(looked[is_said])
        return self.caption_loss(recipe, logits, said[is_said], arrays["word_scale"], metrics)
